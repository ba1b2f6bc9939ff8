//! Pairs of jobs, and what is said of each edit.

use super::{
    super::{load::load_text, overrides::Overrides},
    *,
};

const HEAD: &str = "name = \"j\"\nbatch_interval = \"2s\"\ntime_zone = \"UTC\"\n";
const SOURCE: &str = "[source]\nkind = \"kafka\"\nbrokers = \"a:1\"\ntopics = [\"x\", \"y\"]\n";

fn job(head: &str, source: &str, steps: &[&str]) -> Job {
    let steps: String = steps.iter().map(|step| format!("[[steps]]\n{step}\n")).collect();
    let text = format!("{head}{source}{steps}[[steps]]\npprint = 10\n");
    let nothing = |_: &str| None;
    let loaded = load_text("job.toml", text, &Overrides::default(), &nothing, "/".into(), None);
    loaded.unwrap_or_else(|error| panic!("{error}")).0
}

fn stepped(steps: &[&str]) -> Job {
    job(HEAD, SOURCE, steps)
}

/// `accept X` where an edit drops X, `refuse TEXT`; allowed differences are left out.
fn verdicts(old: &Job, new: &Job) -> Vec<String> {
    let show = |difference: Difference| match difference.verdict {
        Verdict::Allowed => None,
        Verdict::NeedsAcceptance { drops } => {
            let drops: Vec<String> = drops.iter().map(|dropped| format!("{dropped:?}")).collect();
            Some(format!("accept {}", drops.join(", ").replace(['"', '{', '}'], "").replace("  ", " ").trim()))
        }
        Verdict::Refused { .. } => Some(format!("refuse {}", difference.text)),
    };
    compare(old, new).into_iter().filter_map(show).collect()
}

fn check(old: &[&str], new: &[&str], expected: &[&str]) {
    assert_eq!(verdicts(&stepped(old), &stepped(new)), expected, "{old:?} -> {new:?}");
}

const UPDATE: &str = "update_state_by_key = \"lambda v, s: 1\"";
const OTHER_UPDATE: &str = "update_state_by_key = \"lambda v, s: 2\"";

#[test]
fn lambdas_stateless_steps_and_outputs_may_change() {
    check(&["map = \"lambda x: x\""], &["map = \"lambda x: 1\""], &[]);
    check(&["map = \"lambda x: x\"", UPDATE], &["filter = \"lambda x: x\"", "glom = true", UPDATE], &[]);
    check(&[UPDATE], &[OTHER_UPDATE], &[]);
    check(&[UPDATE, "pprint = 5"], &[UPDATE, "save_as_text_files = \"x\""], &[]);
    check(&["glom = true"], &["glom = true", UPDATE], &[]);
}

#[test]
fn harmless_differences_are_told() {
    let texts = |old: &[&str], new: &[&str]| {
        compare(&stepped(old), &stepped(new)).into_iter().map(|difference| difference.text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&["glom = true"], &["glom = true"]), [""; 0]);
    assert_eq!(texts(&["map = \"lambda x: x\""], &["map = \"lambda x: 1\""]), ["step `map#1` has changed"]);
    assert_eq!(texts(&["glom = true"], &["count = true"]), ["step `glom#1` is gone", "step `count#1` is new"]);
    assert_eq!(
        texts(&["glom = true"], &["glom = true", UPDATE]),
        ["step `update_state_by_key#1` is new, and begins without state"]
    );
}

#[test]
fn a_state_step_that_goes_or_changes_its_shape_needs_acceptance() {
    let dropped = "accept State step: update_state_by_key#1";
    check(&[UPDATE], &["glom = true"], &[dropped]);
    check(&[UPDATE], &["update_state_by_key = { func = \"lambda v, s: 1\", partitions = 3 }"], &[dropped]);
    check(&["name = \"a\"\nwindow = \"4s\""], &["name = \"a\"\nwindow = \"6s\""], &["accept State step: a"]);
    check(&["name = \"a\"\nwindow = \"4s\""], &["name = \"a\"\ncount_by_window = \"4s\""], &["accept State step: a"]);
    check(&["name = \"a\"\nwindow = \"4s\""], &["name = \"b\"\nwindow = \"4s\""], &["accept State step: a"]);
    let window =
        |inverse: &str| format!("reduce_by_window = {{ func = \"lambda a, b: a\", {inverse} length = \"4s\" }}");
    let (with, without) = (window("inverse = \"lambda a, b: a\","), window(""));
    check(&[&with], &[&without], &["accept State step: reduce_by_window#1"]);
}

#[test]
fn unnamed_state_steps_are_refused_where_they_could_be_confused() {
    let two = "refuse the number of unnamed steps `update_state_by_key` was 1, is 2";
    check(&[UPDATE], &[UPDATE, OTHER_UPDATE], &[two]);
    let one = "refuse the number of unnamed steps `update_state_by_key` was 2, is 1";
    check(&[UPDATE, OTHER_UPDATE], &[OTHER_UPDATE], &[one]);
    let order = "refuse the unnamed steps `update_state_by_key` stand in another order";
    check(&[UPDATE, OTHER_UPDATE], &[OTHER_UPDATE, UPDATE], &[order]);
    let named = format!("name = \"a\"\n{UPDATE}");
    let renamed = "refuse the number of unnamed steps `update_state_by_key` was 1, is 0";
    check(&[UPDATE], &[&named], &[renamed]);
    check(&[UPDATE], &[&format!("was = \"update_state_by_key#1\"\n{named}")], &[]);
    let second = format!("name = \"b\"\nwas = \"update_state_by_key#2\"\n{OTHER_UPDATE}");
    check(&[UPDATE, OTHER_UPDATE], &[&format!("was = \"update_state_by_key#1\"\n{named}"), &second], &[]);
}

#[test]
fn an_unnamed_state_step_with_another_input_is_refused() {
    let sources = "[sources.l]\nkind = \"kafka\"\nbrokers = \"a:1\"\ntopics = [\"x\"]\n\
                   [sources.r]\nkind = \"kafka\"\nbrokers = \"a:1\"\ntopics = [\"y\"]\n";
    let from = |source: &str| job(HEAD, sources, &[&format!("from = \"{source}\"\n{UPDATE}")]);
    assert_eq!(verdicts(&from("l"), &from("l")), [""; 0]);
    let expected = ["refuse step `update_state_by_key#1` has another input"];
    assert_eq!(verdicts(&from("l"), &from("r")), expected);
}

#[test]
fn branches_of_unnamed_state_steps_may_not_change_places() {
    let branch = |name: &str, filter: &str, state: &str| {
        format!("{name}from = \"source\"\nfilter = \"lambda x: x {filter}\"\n[[steps]]\n{state}")
    };
    for (state, name) in [(UPDATE, "update_state_by_key"), ("window = \"4s\"", "window")] {
        let (small, large) = (branch("", "< 5", state), branch("", ">= 5", state));
        let order = format!("refuse the unnamed steps `{name}` stand in another order");
        check(&[&small, &large], &[&large, &small], &[&order]);
        let edited = branch("", "> 6", state);
        check(&[&small, &large], &[&edited, &small], &[&order]);
        check(&[&small, &large], &[&small, &edited], &[]);
        check(&[&small, &large], &[&large, &large], &[]);
        let [named, other] = ["s", "l"].map(|name| branch(&format!("name = \"{name}\"\n"), "< 5", state));
        let input = format!("refuse step `{name}#1` has another input");
        check(&[&named], &[&other], &[&input]);
        check(&[&named], &[&small], &[]);
    }

    // By what they do, by the names before them, and by the names behind them.
    let order = "refuse the unnamed steps `update_state_by_key` stand in another order";
    let input = "refuse step `update_state_by_key#1` has another input";
    let mapped = |timeout: &str| {
        format!("from = \"in\"\nmap_with_state = {{ func = \"lambda k, v, s: (v, s)\", timeout = \"{timeout}\" }}")
    };
    let first = "name = \"in\"\nmap = \"lambda x: x\"";
    let (short, long) = (mapped("2s"), mapped("8s"));
    let other_order = order.replace("update_state_by_key", "map_with_state");
    check(&[first, &short, &long], &[first, &long, &short], &[&other_order]);
    check(&[first, &short, &long], &[first, &short, &mapped("6s")], &[]);
    let filtered = |name: &str, lambda: &str| {
        format!("name = \"{name}\"\nfrom = \"in\"\nfilter = \"{lambda}\"\n[[steps]]\n{UPDATE}")
    };
    let (a, b) = (filtered("a", "lambda x: x == 1"), filtered("b", "lambda x: x == 2"));
    let (edited_a, edited_b) = (filtered("a", "lambda y: y == 1"), filtered("b", "lambda y: y == 2"));
    check(&[first, &a, &b], &[first, &edited_a, &edited_b], &[]);
    check(&[first, &a, &b], &[first, &edited_b, &edited_a], &[input, &input.replace('1', "2")]);
    let shown = |name: &str, lambda: &str| {
        format!(
            "from = \"in\"\nfilter = \"{lambda}\"\n[[steps]]\n{UPDATE}\n[[steps]]\nname = \"{name}\"\npprint = {{ to = \"{name}\" }}"
        )
    };
    let (a, b) = (shown("a", "lambda x: x == 1"), shown("b", "lambda x: x == 2"));
    let (edited_a, edited_b) = (shown("a", "lambda y: y == 1"), shown("b", "lambda y: y == 2"));
    check(&[first, &a, &b], &[first, &edited_a, &edited_b], &[]);
    check(&[first, &a, &b], &[first, &edited_b, &edited_a], &[order]);
    check(&[first, &a, &b], &[first, &shown("b", "lambda x: x== 2"), &a], &[order]);
    let (c, edited_c) = (shown("c", "lambda x: x == 3"), shown("c", "lambda y: y == 3"));
    check(&[first, &a, &b, &c], &[first, &edited_b, &edited_c, &edited_a], &[order]);
    check(&[first, &a, &b, &c], &[first, &edited_a, &edited_b, &edited_c], &[]);
    let (one, two) = (branch("", "== 'a b'", UPDATE), branch("", "== 'a  b'", UPDATE));
    check(&[&one, &two], &[&two, &one], &[order]);
    let update = |func: &str| format!("from = \"in\"\nupdate_state_by_key = \"lambda n,{func}\"");
    let (tight, wide, twice) =
        (update("o:(o or 0)+len(n)"), update(" o: (o or 0) + len(n)"), update(" o: (o or 0) + 2 * len(n)"));
    check(&[first, &tight, &wide], &[first, &wide, &twice], &[]);
    let gone = ["1", "2"].map(|nth| format!("accept State step: update_state_by_key#{nth}"));
    check(&[first, &a, &b], &[first], &[&gone[0], &gone[1]]);
}

#[test]
fn topics_may_come_and_need_acceptance_to_go() {
    let source = |topics: &str| format!("[source]\nkind = \"kafka\"\nbrokers = \"b:2\"\n{topics}\n");
    let check = |old: &str, new: &str, expected: &[&str]| {
        let (old, new) = (job(HEAD, &source(old), &[]), job(HEAD, &source(new), &[]));
        assert_eq!(verdicts(&old, &new), expected);
    };
    check("topics = [\"x\"]", "topics = [\"x\", \"y\"]", &[]);
    check("topics = [\"x\"]\nstart = \"latest\"", "topics = [\"x\"]\nstart = \"-10m\"", &[]);
    check("topics = [\"x\", \"y\"]", "topics = [\"y\"]", &["accept Topic source: source, topic: x"]);
    check("topics = [\"x\", \"z\"]", "topic_pattern = \"x.*\"", &["accept Topic source: source, topic: z"]);
    check("topic_pattern = \"x.*\"", "topics = [\"x\"]", &["accept Unmatched source: source"]);
    let gone = "accept Partition source: source, topic: x, partition: 1";
    check("assign = { x = [0, 1] }", "assign = { x = [0] }", &[gone]);
    let other = "[sources.s]\nkind = \"kafka\"\nbrokers = \"a:1\"\ntopics = [\"x\"]\n";
    let (old, new) = (job(HEAD, SOURCE, &[]), job(HEAD, other, &[]));
    assert_eq!(verdicts(&old, &new), ["accept Source source: source"]);
    let texts: Vec<String> = compare(&old, &new).into_iter().map(|difference| difference.text).collect();
    let again =
        "source `source` is gone; source `s` reads topic `x` from its own `start` on, whatever `source` has read of it";
    assert!(texts.iter().any(|text| text == again), "{texts:?}");
}

#[test]
fn an_interval_may_change_without_windows_and_timeouts() {
    let slower = HEAD.replace("\"2s\"", "\"4s\"");
    let check = |step: &str, expected: &[&str]| {
        let (old, new) = (job(HEAD, SOURCE, &[step]), job(&slower, SOURCE, &[step]));
        assert_eq!(verdicts(&old, &new), expected);
    };
    check(UPDATE, &[]);
    check("window = { length = \"4s\", slide = \"4s\" }", &["accept State step: window#1"]);
    let timed = "map_with_state = { func = \"lambda k, v, s: (v, s)\", timeout = \"1m\" }";
    check(timed, &["accept State step: map_with_state#1"]);
}

#[test]
fn shuffle_partitions_matter_where_there_is_state() {
    let wider = format!("{HEAD}shuffle_partitions = 16\n");
    let check = |step: &str, expected: &[&str]| {
        let (old, new) = (job(HEAD, SOURCE, &[step]), job(&wider, SOURCE, &[step]));
        assert_eq!(verdicts(&old, &new), expected);
    };
    check("count_by_value = true", &[]);
    check(UPDATE, &["accept State step: update_state_by_key#1"]);
}

#[test]
fn another_job_is_refused() {
    let other = HEAD.replace("\"j\"", "\"k\"");
    let verdicts = verdicts(&job(HEAD, SOURCE, &[]), &job(&other, SOURCE, &[]));
    assert_eq!(verdicts, ["refuse the checkpoint belongs to job `j`, this is job `k`"]);
}

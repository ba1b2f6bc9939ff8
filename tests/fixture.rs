//! `kstream test`: the fixtures of the example jobs and of this suite pass; differences, updates and mistakes show.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const JOB: &str = r#"
# Doubles.
job = '''
name = "doubles"
batch_interval = "1s"
[source]
kind = "queue"
path = "jobs/data/batches.jsonl"
[[steps]]
map = "lambda x: 10 // x"
[[steps]]
pprint = 3
'''
"#;

fn kstream(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kstream"));
    command.arg("test").args(arguments).current_dir(root).env_remove("KSTREAM_BROKERS").env("RUST_BACKTRACE", "0");
    command.output().expect("kstream")
}

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).expect("fixtures");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths
}

fn pass(directory: &str, at_least: usize) {
    let paths = fixtures(directory);
    assert!(at_least <= paths.len(), "only {} fixtures in {directory}", paths.len());
    let arguments: Vec<&str> = paths.iter().map(|path| path.to_str().expect("path")).collect();
    let output = kstream(&arguments);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.ends_with(&format!("{} passed, 0 failed\n", paths.len())), "{told}");
}

#[test]
fn fixtures_of_the_example_jobs_pass() {
    pass("jobs/fixtures", 8);
}

#[test]
fn fixtures_of_windows_state_and_joins_pass() {
    pass("tests/fixture", 11);
}

/// Runs a fixture with these batches; gives the exit code, what was told, and the file afterwards.
fn run(batches: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("fixture.toml");
    fs::write(&path, format!("{JOB}{batches}")).expect("fixture");
    let output = kstream(&[arguments, &[path.to_str().expect("path")]].concat());
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = told.replace(&path.display().to_string(), "FIXTURE");
    let after = fs::read_to_string(&path).expect("fixture");
    (output.status.code(), told, after[JOB.len()..].to_owned())
}

#[test]
fn a_difference_is_shown_line_by_line_and_ends_with_7() {
    let (code, told, _) = run("[[batch]]\nsource = [1, 2, 5]\nexpect = ['10', '4', '2']\n", &[]);
    assert_eq!(code, Some(7));
    let shown =
        "FAILED   FIXTURE\n  batch 0, output pprint#1 (- expected, + given)\n      10\n    - 4\n    + 5\n      2\n";
    assert!(told.starts_with(shown), "{told}");
    assert!(told.contains("0 passed, 1 failed"), "{told}");
}

#[test]
fn the_order_of_lines_may_be_free() {
    let batch = "[[batch]]\nsource = [5, 1, 2]\nexpect = ['10', '5', '2']\n";
    assert_eq!(run(batch, &[]).0, Some(7));
    assert_eq!(run(&format!("unordered = true\n{batch}"), &[]).0, Some(0));
    assert_eq!(run(&format!("unordered = ['pprint#1']\n{batch}"), &[]).0, Some(0));
    let (code, told, _) = run(&format!("unordered = ['other']\n{batch}"), &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("`unordered`: `other` is no output of the job; it has pprint#1"), "{told}");
}

#[test]
fn an_update_rewrites_expectations_and_nothing_else() {
    let old = "\n# First.\n[[batch]]\nsource = [1]   # one\nexpect = [\n    'wrong', # gone\n]\n\n[[batch]]\nsource = [1, 2, 5, 10]\n";
    let (code, told, new) = run(old, &["--update"]);
    assert_eq!((code, told.as_str()), (Some(0), "updated  FIXTURE\n0 passed, 0 failed, 1 updated\n"));
    let expected = "\n# First.\n[[batch]]\nsource = [1]   # one\nexpect = [\n    \"10\", # gone\n]\n\n[[batch]]\nsource = [1, 2, 5, \
                    10]\nexpect = [\"10\", \"5\", \"2\", \"...\"]\n";
    assert_eq!(new, expected);
    let (code, told, same) = run(expected, &["--update"]);
    assert_eq!((code, told.as_str()), (Some(0), "ok       FIXTURE (2 batches)\n1 passed, 0 failed\n"));
    assert_eq!(same, expected);
}

#[test]
fn an_update_keeps_every_byte_that_is_no_wrong_expectation() {
    let same = |old: &str| {
        let (code, told, new) = run(old, &["--update"]);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(new, old);
    };
    same("[[batch]]\nsource = [1, 2]\nexpect = [ # all\n    '10',   # the first\n\t'5' , ] # end\n# behind\n");
    same("unordered = true\n[[batch]]\nsource = [1, 2]\nexpect = ['5', '10']\n");
    same("[[batch]]\nsource = [0]\nerror = 'The element is 0' # by its detail\n");
    same("[[batch]]\nexpect.'pprint#1' = []  # as it is\nsource = []\n");
    let becomes = |old: &str, expected: &str| {
        let (code, told, new) = run(old, &["--update"]);
        assert_eq!((code, told.starts_with("updated  ")), (Some(0), true), "{told}");
        assert_eq!(new, expected, "{told}");
        assert_eq!(run(&new, &[]).0, Some(0));
    };
    for (old, new) in [
        (
            "[[batch]]\nsource = [1, 2, 5]\nexpect = [ # all\n  '10',   # ten\n  # of five\n  '4', # was four\n  '9', # gone\n]  \
             # end\n\n# behind\n",
            "[[batch]]\nsource = [1, 2, 5]\nexpect = [ # all\n  '10',   # ten\n  # of five\n  \"5\", # was four\n  \"2\", # \
             gone\n]  # end\n\n# behind\n",
        ),
        (
            "[[batch]]\nsource = [1]\nexpect = [\n  '9', # nine\n  '10', # ten\n]\n",
            "[[batch]]\nsource = [1]\nexpect = [\n   # nine\n  '10', # ten\n]\n",
        ),
        ("[[batch]]\nexpect = ['9'] # first\nsource = [1]\n", "[[batch]]\nexpect = [\"10\"] # first\nsource = [1]\n"),
        ("[[batch]]\nsource = [1]\nexpect = '9' # text\n", "[[batch]]\nsource = [1]\nexpect = [\"10\"] # text\n"),
        (
            "[[batch]]\nsource = { partitions = [[1]] } # one\n# next\n[[batch]]\nsource = [2]\nexpect = ['5']\n",
            "[[batch]]\nsource = { partitions = [[1]] } # one\nexpect = [\"10\"]\n# next\n[[batch]]\nsource = [2]\nexpect = \
             ['5']\n",
        ),
        (
            "[[batch]]\nsource = [1]\nerror = 'modulo' # no more",
            "[[batch]]\nsource = [1]\n # no more\nexpect = [\"10\"]\n",
        ),
        (
            "[[batch]]\nsource = [0]\nexpect = [\n  '1', # one\n  '2'] # all\n",
            "[[batch]]\nsource = [0]\n# one\n # all\nerror = \"batch 0 failed: step map#1 cannot take an element: integer \
             division or modulo by zero\"\n",
        ),
        (
            "[[batch]]\nsource = [0]\nexpect.'pprint#1' = [ # all\n  '1',\n]\n",
            "[[batch]]\nsource = [0]\n# all\nerror = \"batch 0 failed: step map#1 cannot take an element: integer division or \
             modulo by zero\"\n",
        ),
        (
            "[[batch]]\nsource = [1]\n[batch.expect] # named\n'pprint#1' = ['9'] # it\n",
            "[[batch]]\nsource = [1]\n[batch.expect] # named\n'pprint#1' = [\"10\"] # it\n",
        ),
        (
            "[[batch]]\r\nsource = [1]\r\nexpect = ['9'] # it\r\n",
            "[[batch]]\r\nsource = [1]\r\nexpect = [\"10\"] # it\r\n",
        ),
    ] {
        becomes(old, new);
    }
}

#[test]
fn an_update_writes_how_a_job_is_refused() {
    let old = "set = { batch_interval = '0s' }\nerror = 'other words' # why\n";
    let (code, told, new) = run(old, &["--update"]);
    assert_eq!((code, told.starts_with("updated  FIXTURE\n")), (Some(0), true), "{told}");
    let (head, behind) = new.split_once("error = ").expect("error");
    assert_eq!(head, "set = { batch_interval = '0s' }\n");
    assert!(behind.contains("0s") && behind.ends_with(" # why\n"), "{behind}");
    assert_eq!(run(&new, &[]).0, Some(0));
    assert_eq!(run("error = 'no'\n", &["--update"]).0, Some(7), "the job is accepted: there is nothing to write");
}

#[test]
fn an_update_does_not_cut_off_batches_that_a_failure_hides() {
    let old = "[[batch]]\nsource = [0]\nexpect = []\n[[batch]]\nsource = [1]\n";
    let (code, told, same) = run(old, &["--update"]);
    assert_eq!((code, same.as_str()), (Some(2), old));
    assert!(told.contains("batch 0 fails now, so the batches behind it never run: "), "{told}");
    assert!(told.contains("by zero") && told.contains("take the batches behind it away"), "{told}");
}

#[test]
fn an_update_adds_outputs_only_where_none_is_expected() {
    let job =
        JOB.replace("pprint = 3\n", "name = 'a'\npprint = 3\n[[steps]]\nfrom = 'map#1'\nname = 'b'\npprint = 3\n");
    let job = job.replace("map = \"", "name = 'map#1'\nmap = \"").replace("'map#1'", "'tenth'");
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("fixture.toml");
    let old = "[[batch]]\nsource = [1]\nexpect.b = ['9']  # only this\n[[batch]]\nsource = [2]\n";
    fs::write(&path, format!("{job}{old}")).expect("fixture");
    let output = kstream(&["--update", path.to_str().expect("path")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let new = fs::read_to_string(&path).expect("fixture");
    let expected = "[[batch]]\nsource = [1]\nexpect.b = [\"10\"]  # only this\n[[batch]]\nsource = [2]\nexpect.a = [\"5\"]\nexpect.b \
                    = [\"5\"]\n";
    assert_eq!(&new[job.len()..], expected);
}

#[test]
fn an_expected_error_must_come_where_it_is_expected() {
    let failing = |batches: &str| run(batches, &[]).0;
    assert_eq!(failing("[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n"), Some(0));
    assert_eq!(failing("[[batch]]\nsource = [0]\nerror = 'out of range'\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [0]\nexpect = []\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [1]\nerror = 'modulo by zero'\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [1]\n[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n"), Some(0));
    let (_, told, _) = run("[[batch]]\nsource = [1]\n[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n", &[]);
    assert!(told.contains("(2 batches)"), "{told}");
}

#[test]
fn nothing_can_be_expected_behind_an_expected_error() {
    let failing = "[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n";
    for (batches, message) in [
        (
            format!("{failing}[[batch]]\nsource = [1]\nexpect = ['anything']\n"),
            "batch 1: the run ends with the `error`",
        ),
        (format!("{failing}expect = ['anything']\n"), "batch 0: a batch with an `error` gives nothing"),
    ] {
        let (code, told, _) = run(&batches, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(message), "{message}: {told}");
    }
}

#[test]
fn a_refused_job_may_be_what_is_expected() {
    assert_eq!(run("error = 'nothing to execute'\n", &[]).0, Some(7), "the job is accepted");
    let refused = |error: &str| run(&format!("set = {{ batch_interval = '0s' }}\nerror = '{error}'\n"), &[]).0;
    assert_eq!(refused("a duration must be positive"), Some(0));
    assert_eq!(refused("no such thing"), Some(7));
}

#[test]
fn mistakes_and_failures_of_a_job_in_a_fixture_are_cited_at_their_place_in_it() {
    let table = "[job]\nname = 'x'\nbatch_interval = '1s'\n[job.source]\nkind = 'queue'\npath = \
                 'jobs/data/batches.jsonl'\n[[batch]]\nsource = [0]\nexpect = []\n[[job.steps]]\nmap = 'lambda x: 10 // \
                 x'\n[[job.steps]]\npprint = 3\n";
    for (fixture, place, line) in [
        (format!("{JOB}[[batch]]\nsource = [0]\nexpect = []\n"), "10:18", "map = \"lambda x: 10 // x\""),
        (JOB.replace("lambda x: 10 // x", "lambda x: 10 // y"), "10:24", "map = \"lambda x: 10 // y\""),
        (JOB.replace("pprint = 3", "map = \"lambda x: x\""), "4:1", "name = \"doubles\""),
        (table.to_owned(), "11:18", "map = 'lambda x: 10 // x'"),
        (table.replace("// x", "// y"), "11:24", "map = 'lambda x: 10 // y'"),
        (JOB.replace("'''", "\"\"\"").replace("\"lambda x: 10 // x\"", "'lambda x: 10 // y'"), "10:24", "10 // y"),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("fixture.toml");
        fs::write(&path, &fixture).expect("fixture");
        let output = kstream(&[path.to_str().expect("path")]);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(told.contains(&format!("--> {}:{place}\n", path.display())), "{place}: {told}\n{fixture}");
        assert!(told.contains(line), "{line}: {told}");
        assert!(!told.contains("kstream-test-"), "{told}");
    }
}

#[test]
fn what_is_no_fixture_is_told_what_it_is_and_what_to_do() {
    let check = |path: &str, what: &str, hint: &str| {
        let output = kstream(&[path]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("FAILED   {path}\n  cannot run: {what}")), "{told}");
        assert!(told.contains(&format!("hint: {hint}")), "{told}");
    };
    check("jobs/top_words.toml", "it is a job file, no fixture", "Its fixture may be jobs/fixtures/top_words.toml.");
    check(
        "tests/job/ok_minimal.toml",
        "it is a job file, no fixture",
        "A fixture is a file of its own, with `job = \"tests/job/ok_minimal.toml\"`",
    );
    check("jobs", "it is a directory", "Name the fixture files in it: `kstream test jobs/fixtures/*.toml`.");
    check("tests/fixture", "it is a directory", "Name the fixture files in it: `kstream test tests/fixture/*.toml`.");
    check("tests/fixture/join.toml", "no such file", "Did you mean tests/fixture/joins.toml?");
}

#[test]
fn a_fixture_that_cannot_run_is_bad_usage() {
    for (batches, message, place) in [
        ("[[batch]]\nsource = [1]\n", "it expects nothing", ""),
        ("[[batch]]\nsuorce = [1]\nexpect = []\n", "`suorce` is no source of the job", "15:1"),
        ("[[batch]]\nexpect.pprint = []\n", "`pprint` is no output of the job; it has pprint#1", "15:8"),
        ("[[batch]]\nstate.totals = []\n", "`totals` has no keyed state; no step of the job has", "15:7"),
        ("bach = 1\n", "unknown key `bach`", "14:1"),
        ("[[batch]]\nsource = [1\n", "unclosed array", "15:12"),
        ("set = { batch_interval = '0s' }\n", "a duration must be positive", "--set:1:16"),
        ("[[batch]]\nsource = { partitions = [[1], []] }\n", "input of `source`: elements of 2 partitions", "15:12"),
        ("[[batch]]\nsource = [1]\nskip = 99999999999\n", "`skip` is a number of ticks, from 0 to 1000000", "16:1"),
        (
            "start = 9999-12-30T00:00:00Z\n[[batch]]\nskip = 999999\n",
            "its time is behind the last one there is",
            "16:1",
        ),
    ] {
        let (code, told, _) = run(batches, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("FAILED   FIXTURE\n  cannot run: ") && told.contains(message), "{message}: {told}");
        let told_at = place.is_empty() || told.contains(&format!("{place}\n"));
        assert!(told_at, "{place}: {told}");
    }
}

#[test]
fn a_broken_fixture_does_not_keep_the_others_from_running() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, batches: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("{JOB}{batches}")).expect("fixture");
        path.display().to_string()
    };
    let broken = write("broken.toml", "[[batch]]\nsource = 1\nexpect = []\n");
    let differs = write("differs.toml", "[[batch]]\nsource = [1]\nexpect = ['5']\n");
    let passes = write("passes.toml", "[[batch]]\nsource = [1]\nexpect = ['10']\n");
    let output = kstream(&[&broken, &differs, &passes]);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in [
        &format!("FAILED   {broken}\n  cannot run: batch 0: input of `source`: expected a list of elements"),
        &format!("--> {broken}:15:1\n"),
        &format!("FAILED   {differs}\n  batch 0, output pprint#1"),
        &format!("ok       {passes} (1 batch)"),
        "1 passed, 2 failed\n",
        "error: 2 of 3 fixtures failed\n  detail: 1 fixture cannot be run.",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(kstream(&[&differs, &passes]).status.code(), Some(7));
}

#[test]
fn files_that_sources_would_read_need_not_be_there() {
    let embedded =
        "kind = \"kafka\"\nbrokers = \"embedded\"\ntopics = [\"t\"]\n[source.embedded]\nlines = \"nowhere.txt\"";
    let queue = "kind = \"queue\"\npath = \"jobs/data/batches.jsonl\"";
    for (source, map) in [
        ("kind = \"queue\"\npath = \"nowhere/batches.jsonl\"", "lambda x: 10 // x"),
        (embedded, "lambda r: 10 // int(r.value)"),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("fixture.toml");
        let job = JOB.replace(queue, source).replace("lambda x: 10 // x", map);
        let batches = "[[batch]]\nsource = [1]\nexpect = ['10']\n[[batch]]\nrestart = true\nexpect = []\n";
        fs::write(&path, format!("{job}{batches}")).expect("fixture");
        let output = kstream(&[path.to_str().expect("path")]);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(job.contains("nowhere") && output.status.success(), "{told}");
    }
}

/// A job with a Kafka source that reads `topics`, and what one batch of its records gives.
fn of_kafka(topics: &str, batch: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("fixture.toml");
    let job = format!(
        "job = \"\"\"\nname = 'k'\nbatch_interval = '1s'\n[source]\nkind = 'kafka'\nbrokers = 'nowhere:9092'\n{topics}\n[[steps]]\nmap = \
         'lambda r: (r.topic, r.partition, r.key, r.value, r.timestamp, r.headers)'\n[[steps]]\npprint = \
         9\n\"\"\"\n[[batch]]\n"
    );
    fs::write(&path, format!("{job}{batch}")).expect("fixture");
    let output = kstream(&[path.to_str().expect("path")]);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told.replace(&path.display().to_string(), "FIXTURE"))
}

#[test]
fn records_lie_only_where_the_job_reads() {
    for (topics, batch, message, place) in [
        (
            "topics = ['t', 'u']",
            "source = [{ topic = 'v', value = 'x' }]",
            "the job does not read topic `v`, but `t`, `u`",
            "14:13",
        ),
        (
            "topics = ['t']",
            "source = [{ topic = '__t', value = 'x' }]",
            "the job does not read topic `__t`, but `t`",
            "14:13",
        ),
        ("topic_pattern = 'log-.*'", "source = [{ topic = 'a-log-1', value = 'x' }]", "topics like `log-.*`", "14:13"),
        ("topic_pattern = 'log-.*'", "source = ['x']", "record 0: its topic is missing", "14:11"),
        ("assign = { t = [1] }", "source = ['x']", "the job does not read partition t/0, but t/1", "14:11"),
        (
            "topics = ['t']",
            "source = ['a', { value = 'x', partition = -1 }]",
            "is a number from 0 to 999, not -1",
            "14:31",
        ),
        (
            "topics = ['t']",
            "source = [{ value = 'x', headers = ['a'] }]",
            "`headers` of a record are names and",
            "14:26",
        ),
        ("topics = ['t']", "source = [{ value = 'x', partiton = 1 }]", "`partiton` is no field of a record", "14:26"),
    ] {
        let (code, told) = of_kafka(topics, &format!("{batch}\nexpect = []\n"));
        assert_eq!(code, Some(2), "{told}");
        assert!(
            told.contains(message) && told.contains(&format!("--> FIXTURE:{place}\n")),
            "{message}, {place}: {told}"
        );
    }
}

#[test]
fn records_come_as_they_are_written() {
    for (topics, batch) in [
        (
            "topics = ['t', 'u']",
            "source = ['x', { key = 'k' }, { value = { a = 1 }, topic = 'u', partition = 1, timestamp = 5, headers = [['h', 'v'], \
             ['h', 'w']] }]\nexpect = [\"('t', 0, None, 'x', 1000, [])\", \"('t', 0, 'k', None, 1000, [])\", \"('u', 1, None, '{\\\"a\\\": 1}', 5, [('h', b'v'), ('h', b'w')])\"]",
        ),
        (
            "topic_pattern = 'log-.*'",
            "source = '[{\"topic\": \"log-1\", \"value\": null, \"headers\": {\"h\": null}}]'\nexpect = [\"('log-1', 0, None, \
             None, 1000, [('h', None)])\"]",
        ),
        (
            "assign = { t = [1, 3] }",
            "source = [{ value = 'x', partition = 3 }]\nexpect = [\"('t', 3, None, 'x', 1000, [])\"]",
        ),
    ] {
        let (code, told) = of_kafka(topics, batch);
        assert_eq!(code, Some(0), "{told}");
    }
}

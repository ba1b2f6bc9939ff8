//! What an edit of the job means for its checkpoint: which differences may stand, which drop something, which may not be.

use std::collections::BTreeMap;

use toml::Table;

use super::{
    operator::{Input, Operator, Step},
    quantity::duration_text,
    spec::{Job, KafkaSpec, SourceKind, TopicSelection},
    text::{on_error_table, source_table},
};

/// One difference between the job of the checkpoint and the job that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Lower case, no final period.
    pub text: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Goes on only where the user agrees to lose exactly this.
    NeedsAcceptance {
        drops: Vec<Dropped>,
    },
    Refused {
        hint: String,
    },
}

/// A part of the checkpoint that an edit leaves without an owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// State of the step with this id.
    State { step: String },
    /// Offsets of all partitions of a source.
    Source { source: String },
    /// Offsets of one topic of a source.
    Topic { source: String, topic: String },
    /// Offsets of one partition of a source.
    Partition { source: String, topic: String, partition: i32 },
    /// Offsets of those topics of a source that its new selection does not name.
    Unmatched { source: String },
}

/// All differences that matter to a checkpoint, and the harmless ones for the log. Pure.
pub fn compare(old: &Job, new: &Job) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare_names(old, new, &mut differences);
    compare_intervals(old, new, &mut differences);
    compare_sources(old, new, &mut differences);
    compare_unnamed_state(old, new, &mut differences);
    compare_state(old, new, &mut differences);
    compare_other_steps(old, new, &mut differences);
    compare_settings(old, new, &mut differences);
    differences
}

fn allowed(text: String) -> Difference {
    Difference { text, verdict: Verdict::Allowed }
}

fn drops(text: String, drops: Vec<Dropped>) -> Difference {
    Difference { text, verdict: Verdict::NeedsAcceptance { drops } }
}

fn state_of(step: &Step) -> Dropped {
    Dropped::State { step: step.id.to_string() }
}

fn compare_names(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    if old.name != new.name {
        let text = format!("the checkpoint belongs to job `{}`, this is job `{}`", old.name, new.name);
        let hint = format!("keep the name `{}`, or give this job a `checkpoint_dir` of its own", old.name);
        differences.push(Difference { text, verdict: Verdict::Refused { hint } });
    }
}

fn compare_intervals(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    if old.batch_interval_ms == new.batch_interval_ms {
        return;
    }
    let (before, after) = (duration_text(old.batch_interval_ms), duration_text(new.batch_interval_ms));
    let text = format!("`batch_interval` was {before}, is {after}");
    let timed = |step: &&Step| {
        step.operator.window().is_some() || matches!(step.operator, Operator::MapWithState { timeout_ms: Some(_), .. })
    };
    let lost: Vec<Dropped> = old.steps.iter().filter(timed).map(state_of).collect();
    differences.push(match lost.is_empty() {
        true => allowed(text),
        false => drops(text, lost),
    });
}

fn compare_sources(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    for source in &old.sources {
        let name = source.name.to_string();
        let lost = vec![Dropped::Source { source: name.clone() }];
        let Some(current) = new.sources.iter().find(|current| current.name == source.name) else {
            differences.push(drops(format!("source `{name}` is gone"), lost));
            continue;
        };
        match (&source.kind, &current.kind) {
            (SourceKind::Kafka(before), SourceKind::Kafka(after)) => {
                compare_topics(&name, before, after, differences);
                let (before, after) = (source_table(old, source), source_table(new, current));
                compare_reading(&name, &before, &after, differences);
            }
            (SourceKind::Queue { path: before, partitions: a }, SourceKind::Queue { path: after, partitions: b }) => {
                let hash = |job: &Job, path| job.file_hashes.get(&job.absolute(path)).cloned();
                if hash(old, before) != hash(new, after) {
                    differences.push(allowed(format!("the file of source `{name}` has another content")));
                }
                if a != b {
                    differences.push(allowed(format!("source `{name}` had {a} partitions, has {b}")));
                }
            }
            _ => differences.push(drops(format!("source `{name}` is of another kind"), lost)),
        }
    }
    for source in &new.sources {
        if !old.sources.iter().any(|before| before.name == source.name) {
            differences.push(allowed(format!("source `{}` is new", source.name)));
        }
    }
}

fn compare_topics(source: &str, before: &KafkaSpec, after: &KafkaSpec, differences: &mut Vec<Difference>) {
    use TopicSelection::{Assign, Pattern, Topics};
    let topic_gone = |topic: &str| {
        let lost = Dropped::Topic { source: source.to_owned(), topic: topic.to_owned() };
        drops(format!("source `{source}` no longer reads topic `{topic}`"), vec![lost])
    };
    let keeps_topic = |topic: &str| match &after.topics {
        Topics(topics) => topics.iter().any(|kept| **kept == *topic),
        Pattern(pattern) => pattern.is_match(topic),
        Assign(assigned) => assigned.iter().any(|tp| *tp.topic == *topic),
    };
    match (&before.topics, &after.topics) {
        (Topics(topics), _) => {
            differences.extend(topics.iter().filter(|topic| !keeps_topic(topic)).map(|topic| topic_gone(topic)));
            if let Assign(_) = after.topics
                && topics.iter().any(|topic| keeps_topic(topic))
            {
                let text = format!("source `{source}` reads assigned partitions instead of whole topics");
                differences.push(drops(text, vec![Dropped::Unmatched { source: source.to_owned() }]));
            }
        }
        (Assign(assigned), Assign(kept)) => {
            for tp in assigned.iter().filter(|tp| !kept.contains(tp)) {
                let (topic, partition) = (tp.topic.to_string(), tp.partition);
                let lost = Dropped::Partition { source: source.to_owned(), topic, partition };
                differences.push(drops(format!("source `{source}` no longer reads {tp}"), vec![lost]));
            }
        }
        (Assign(assigned), _) => {
            let mut topics: Vec<&str> = assigned.iter().map(|tp| &*tp.topic).collect();
            topics.dedup();
            differences.extend(topics.into_iter().filter(|topic| !keeps_topic(topic)).map(topic_gone));
        }
        (Pattern(a), Pattern(b)) if a.as_str() == b.as_str() => {}
        (Pattern(_), _) => {
            let text = format!("source `{source}` selects its topics differently");
            differences.push(drops(text, vec![Dropped::Unmatched { source: source.to_owned() }]));
        }
    }
    let added = match (&before.topics, &after.topics) {
        (Topics(before), Topics(after)) => after.iter().filter(|topic| !before.contains(topic)).collect(),
        _ => Vec::new(),
    };
    differences.extend(added.into_iter().map(|topic| allowed(format!("source `{source}` also reads topic `{topic}`"))));
}

/// How a source is read may change; what belongs to a start (brokers, properties) is no difference.
fn compare_reading(source: &str, before: &Table, after: &Table, differences: &mut Vec<Difference>) {
    let keys = [
        "start",
        "max_records_per_partition",
        "back_pressure",
        "on_data_loss",
        "isolation",
        "key_format",
        "value_format",
        "embedded",
        "on_error",
        "dead_letter",
    ];
    for key in keys.iter().filter(|key| before.get(**key) != after.get(**key)) {
        differences.push(allowed(format!("`{key}` of source `{source}` has changed")));
    }
}

/// The stateful steps without name, by operator.
fn unnamed_state(job: &Job) -> BTreeMap<&'static str, Vec<&Step>> {
    let mut found: BTreeMap<_, Vec<&Step>> = BTreeMap::new();
    for step in job.steps.iter().filter(|step| !step.named && step.operator.is_stateful()) {
        found.entry(step.operator.name()).or_default().push(step);
    }
    found
}

/// Steps known only by their ordinal: the state of one must not become another's unnoticed.
fn compare_unnamed_state(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let current = unnamed_state(new);
    for (operator, before) in unnamed_state(old) {
        let after = current.get(operator).map(Vec::as_slice).unwrap_or_default();
        let left: Vec<&Step> = before.into_iter().filter(|step| !adopted(new, step)).collect();
        let newly_named = new.steps.iter().any(|step| {
            step.named
                && step.was.is_none()
                && step.operator.name() == operator
                && !old.steps.iter().any(|before| before.id == step.id)
        });
        let all_gone = after.is_empty() && !newly_named;
        if left.len() != after.len() && !all_gone && !left.is_empty() {
            let text = format!("the number of unnamed steps `{operator}` was {}, is {}", left.len(), after.len());
            differences.push(Difference { text, verdict: refused_unnamed(operator, &left) });
            continue;
        }
        for (idx, (was, is)) in left.iter().zip(after).enumerate() {
            if origins(old, was) != origins(new, is) {
                let text = format!("step `{}` has another input", was.id);
                differences.push(Difference { text, verdict: refused_unnamed(operator, &left) });
            } else if left
                .iter()
                .enumerate()
                .any(|(other, step)| other != idx && !same_functions(was, is) && same_functions(step, is))
            {
                let text = format!("the unnamed steps `{operator}` stand in another order");
                differences.push(Difference { text, verdict: refused_unnamed(operator, &left) });
                break;
            }
        }
    }
}

fn refused_unnamed(operator: &str, steps: &[&Step]) -> Verdict {
    let ids: Vec<String> = steps.iter().map(|step| format!("`was = \"{}\"`", step.id)).collect();
    let hint = format!("name the steps `{operator}`, and say which takes over which state: {}", ids.join(", "));
    Verdict::Refused { hint }
}

fn adopted(new: &Job, step: &Step) -> bool {
    new.steps.iter().any(|current| current.was.as_deref() == Some(&*step.id))
}

/// The sources, named steps and stateful steps that a step's input comes from; stateless steps between do not count.
fn origins(job: &Job, step: &Step) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = vec![false; job.steps.len()];
    let mut open: Vec<Input> = step.inputs.iter().rev().copied().collect();
    while let Some(input) = open.pop() {
        match input {
            Input::Source(idx) => found.extend(job.sources.get(idx).map(|source| format!("source {}", source.name))),
            Input::Step(idx) => {
                let Some(step) = job.steps.get(idx) else { continue };
                if std::mem::replace(seen.get_mut(idx).unwrap_or(&mut true), true) {
                    continue;
                }
                match step.named && step.operator.is_stateful() {
                    true => found.push(format!("step {}", step.id)),
                    false => open.extend(step.inputs.iter().rev().copied()),
                }
            }
        }
    }
    found
}

fn same_functions(a: &Step, b: &Step) -> bool {
    functions(&a.operator) == functions(&b.operator)
}

/// Texts of the functions of a stateful operator.
fn functions(operator: &Operator) -> Vec<&str> {
    match operator {
        Operator::UpdateStateByKey { func, .. } | Operator::MapWithState { func, .. } => vec![func.source()],
        Operator::ReduceByWindow { func, inverse, .. } => {
            std::iter::once(func).chain(inverse).map(|func| func.source()).collect()
        }
        Operator::ReduceByKeyAndWindow { func, inverse, filter, .. } => {
            std::iter::once(func).chain(inverse).chain(filter).map(|func| func.source()).collect()
        }
        _ => Vec::new(),
    }
}

fn compare_state(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    for before in old.steps.iter().filter(|step| step.operator.is_stateful()) {
        let id = &before.id;
        let heir = new
            .steps
            .iter()
            .find(|step| step.was.as_deref() == Some(&**id))
            .or_else(|| new.steps.iter().find(|step| step.id == *id));
        let lost = vec![state_of(before)];
        let Some(after) = heir else {
            let refused = !before.named && differences.iter().any(|d| matches!(d.verdict, Verdict::Refused { .. }));
            if !refused {
                differences.push(drops(format!("step `{id}` is gone"), lost));
            }
            continue;
        };
        if after.id != *id {
            differences.push(allowed(format!("step `{}` takes over the state of `{id}`", after.id)));
        }
        if let Some(text) = other_shape(before, after) {
            differences.push(drops(text, lost));
        }
    }
    for step in new.steps.iter().filter(|step| step.operator.is_stateful() && step.was.is_none()) {
        if !old.steps.iter().any(|before| before.id == step.id) {
            differences.push(allowed(format!("step `{}` is new, and begins without state", step.id)));
        }
    }
}

/// Why the state of one cannot go on as the state of the other.
fn other_shape(before: &Step, after: &Step) -> Option<String> {
    let id = &before.id;
    let (a, b) = (&before.operator, &after.operator);
    if a.name() != b.name() {
        return Some(format!("step `{id}` was `{}`, is `{}`", a.name(), b.name()));
    }
    if let (Some(was), Some(is)) = (a.window(), b.window())
        && was != is
    {
        let show = |window: super::operator::WindowSpec| {
            format!("length {} and slide {}", duration_text(window.length_ms), duration_text(window.slide_ms))
        };
        return Some(format!("the window of step `{id}` had {}, has {}", show(was), show(is)));
    }
    if let (Some(was), Some(is)) = (a.partitions(), b.partitions())
        && was != is
    {
        return Some(format!("step `{id}` had {was} shuffle partitions, has {is}"));
    }
    if has_inverse(a) != has_inverse(b) {
        let (gone, come) = ("lost its inverse function", "got an inverse function");
        return Some(format!("step `{id}` {}", if has_inverse(a) { gone } else { come }));
    }
    None
}

fn has_inverse(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::ReduceByWindow { inverse: Some(_), .. } | Operator::ReduceByKeyAndWindow { inverse: Some(_), .. }
    )
}

/// Steps by id, as text: functions, parameters and inputs.
fn step_texts(job: &Job) -> BTreeMap<String, String> {
    let text = |(idx, step): (usize, &Step)| (step.id.to_string(), job.step_table(idx, step).to_string());
    job.steps.iter().enumerate().map(text).collect()
}

fn compare_other_steps(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let (before, after) = (step_texts(old), step_texts(new));
    let keeps_state = |job: &Job, id: &str| job.steps.iter().any(|step| *step.id == *id && step.operator.is_stateful());
    for (id, text) in &before {
        match after.get(id) {
            None if !keeps_state(old, id) => differences.push(allowed(format!("step `{id}` is gone"))),
            Some(current) if current != text => differences.push(allowed(format!("step `{id}` has changed"))),
            _ => {}
        }
    }
    for id in after.keys().filter(|id| !before.contains_key(*id) && !keeps_state(new, id)) {
        differences.push(allowed(format!("step `{id}` is new")));
    }
}

fn compare_settings(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let zone = |job: &Job| super::quantity::time_zone_text(&job.time_zone);
    let changed = [
        ("on_error", on_error_table(old) != on_error_table(new)),
        ("shuffle_partitions", old.shuffle_partitions != new.shuffle_partitions),
        ("time_zone", zone(old) != zone(new)),
        ("retention", old.retention != new.retention),
        ("mirror_offsets_to", old.mirror_offsets_to != new.mirror_offsets_to),
        ("functions", old.functions != new.functions),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        differences.push(allowed(format!("`{key}` has changed")));
    }
}

#[cfg(test)]
mod tests {
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
        check(
            &["name = \"a\"\nwindow = \"4s\""],
            &["name = \"a\"\ncount_by_window = \"4s\""],
            &["accept State step: a"],
        );
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
}

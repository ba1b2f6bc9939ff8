//! What an edit of the job means for its checkpoint: which differences may stand, which drop something, which may not be.

use std::collections::BTreeMap;

use super::{
    operator::{Input, Operator, Step},
    quantity::duration_text,
    spec::{Job, KafkaSpec, SourceKind, TopicSelection},
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
                compare_reading(&name, before, after, differences);
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

fn compare_reading(source: &str, before: &KafkaSpec, after: &KafkaSpec, differences: &mut Vec<Difference>) {
    let changed = [
        ("start", before.start != after.start),
        ("max_records_per_partition", before.max_records_per_partition != after.max_records_per_partition),
        ("back_pressure", before.back_pressure != after.back_pressure),
        ("on_data_loss", before.on_data_loss != after.on_data_loss),
        ("isolation", before.isolation != after.isolation),
        ("key_format", before.key_format != after.key_format),
        ("value_format", before.value_format != after.value_format),
        ("embedded", before.embedded != after.embedded),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
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
        ("on_error", old.on_error != new.on_error),
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

//! Dead letters as outputs: where a job sends them, and what a batch delivers to each place.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    error::{Class, DriverError},
    failed::one_line,
    patience::{Patience, Peer, Refusal, stopped},
    sources::EMBEDDED,
};
use crate::{
    executor::DeadLetter,
    expr::EvalError,
    job::{Job, OnError, SourceKind},
    model::{BatchId, BatchTime, Value, digest::OrderedDigest},
    operator::Cause,
    sink::{
        Content, Output, Row,
        dead_letter::{Blob, Letter, LetterRecord},
    },
    source::kafka::is_one_cluster,
};

/// Every place the job names, once, in the order of the job file.
pub fn destinations(job: &Job) -> Vec<OnError> {
    let of_sources = job.sources.iter().filter_map(|source| source.on_error.as_ref());
    let of_steps = job.steps.iter().filter_map(|step| step.on_error.as_ref());
    let mut found = Vec::new();
    for on_error in std::iter::once(&job.on_error).chain(of_sources).chain(of_steps) {
        let is_place = matches!(on_error, OnError::DeadLetterFile(_) | OnError::DeadLetterTopic { .. });
        if is_place && !found.contains(on_error) {
            found.push(on_error.clone());
        }
    }
    found
}

/// Refuses a topic of dead letters that a source of the job reads. Equal brokers were compared with the job's text; others
/// may be the same cluster in other words.
pub fn check_topics(job: &Job, patience: &mut Patience) -> Result<(), DriverError> {
    let sources: Vec<_> = job
        .sources
        .iter()
        .filter_map(|source| match &source.kind {
            SourceKind::Kafka(kafka) => Some((&source.name, kafka)),
            SourceKind::Queue { .. } => None,
        })
        .collect();
    let nothing = BTreeMap::new();
    for to in destinations(job) {
        let OnError::DeadLetterTopic { topic, brokers } = to else { continue };
        for (name, kafka) in sources.iter().filter(|(_, kafka)| kafka.topics.reads(&topic)) {
            let others = match (&brokers, sources.first()) {
                (Some(brokers), _) => (brokers.as_str(), &nothing),
                (None, Some((_, first))) => (first.brokers.as_str(), &first.properties),
                (None, None) => continue,
            };
            if others.0 == kafka.brokers || [others.0, kafka.brokers.as_str()].contains(&EMBEDDED) {
                continue;
            }
            let peer = Peer::source(name, Duration::from_millis(kafka.unreachable_limit_ms));
            let one = patience.ask(peer, |deadline| {
                is_one_cluster(kafka, others, &job.name, deadline).map_err(|error| Refusal::of_source(&error))
            })?;
            if one.ok_or_else(|| stopped(peer))? {
                let message = format!("dead letters cannot go into topic '{topic}': source {name} reads it");
                let detail = format!("{} and {} are brokers of one cluster.", others.0, kafka.brokers);
                return Err(DriverError::new(Class::Usage, message)
                    .detail(detail)
                    .hint("Give the dead letters a topic of their own.".to_owned()));
            }
        }
    }
    Ok(())
}

/// What the names of all these outputs begin with; no step has such a name.
pub const PREFIX: &str = "dead letters: ";

/// The name under which the checkpoint knows the output; the same for a job file and for its text in the checkpoint, also
/// where the directory it ran in was moved.
pub fn name(job: &Job, to: &OnError) -> String {
    match to {
        OnError::DeadLetterTopic { topic, brokers: Some(brokers) } => format!("{TOPIC}{topic} on {brokers}"),
        OnError::DeadLetterTopic { topic, brokers: None } => format!("{TOPIC}{topic}"),
        OnError::DeadLetterFile(path) => in_file(&job.as_named(path)),
        OnError::Fail | OnError::Skip => PREFIX.to_owned(),
    }
}

const TOPIC: &str = "dead letters: topic ";

pub fn in_file(path: &Path) -> String {
    let name = format!("{PREFIX}{}", path.display());
    if name.starts_with(TOPIC) { format!("{PREFIX}./{}", path.display()) } else { name }
}

/// The file of dead letters that an output of this name is, as [`Job::as_named`] gives it.
pub fn file_of(name: &str) -> Option<&Path> {
    let file = name.strip_prefix(PREFIX).filter(|_| !name.starts_with(TOPIC))?;
    Some(Path::new(file))
}

/// Whether a commit of `stored` tells of `to`. Earlier versions knew a file by where it was when the job ran.
pub fn is_named(stored: &Job, to: &OnError, found: &str) -> bool {
    match (to, file_of(found)) {
        (OnError::DeadLetterFile(path), Some(found)) => {
            let path = stored.as_named(path);
            *found == *path || *found == *stored.ran.directory.join(path)
        }
        _ => *found == name(stored, to),
    }
}

/// What of a batch's letters goes to `to`.
pub fn output(job: &Job, batch: BatchId, time: BatchTime, to: &OnError, letters: &[DeadLetter]) -> Output {
    let mut digest = OrderedDigest::default();
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for dead in letters.iter().filter(|dead| dead.to == *to) {
        let letter = letter(job, batch, time, dead);
        let mut line = Vec::new();
        // A letter is made of texts and numbers, which always have a JSON form.
        if letter.put_line(&mut line).is_err() {
            continue;
        }
        digest.add(&Value::Bytes(line.as_slice().into()));
        match to {
            // A letter's parts are texts and bytes, which Kafka always takes.
            OnError::DeadLetterTopic { topic, .. } => rows.extend(row(&job.name, &letter, topic)),
            _ => lines.extend_from_slice(&line),
        }
    }
    let content = match to {
        OnError::DeadLetterTopic { .. } => Content::Rows(rows),
        _ => Content::Parts(vec![lines]),
    };
    Output { name: name(job, to), content, digest: digest.finish() }
}

fn letter(job: &Job, batch: BatchId, time: BatchTime, dead: &DeadLetter) -> Letter {
    let at = match &dead.cause {
        Cause::Lambda(error) => failing_part(job, error),
        Cause::Element(_) => None,
    };
    let blob = |bytes: &Option<Vec<u8>>| bytes.clone().map(Blob);
    Letter {
        batch: batch.0,
        time: time.0,
        step: dead.step.clone(),
        reason: dead.cause.to_string(),
        at,
        element: dead.value.clone(),
        record: dead.origin.as_ref().map(|origin| LetterRecord {
            topic: origin.tp.topic.clone(),
            partition: origin.tp.partition,
            offset: origin.offset,
            timestamp: origin.timestamp,
            key: blob(&origin.key),
            value: blob(&origin.value),
            headers: origin.headers.iter().map(|(name, value)| (name.clone(), blob(value))).collect(),
        }),
    }
}

/// The part of a function that failed, with its place in the function: the same for a job file and for its text in the
/// checkpoint, so that a replay gives the same letter.
fn failing_part(job: &Job, error: &EvalError) -> Option<String> {
    let source = if error.in_library { job.functions.as_deref()? } else { error.function.as_deref()? };
    let before = source.get(..error.span.start)?;
    let failing = source.get(error.span.clone())?;
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let place = if error.in_library { "[functions], " } else { "" };
    Some(format!("{place}line {line}, column {column}: {}", one_line(failing)))
}

/// The record as it was, with what was wrong in more headers; an element without a record is its text.
fn row(job: &str, letter: &Letter, topic: &str) -> Option<Row> {
    let bytes = |blob: &Option<Blob>| blob.as_ref().map_or(Value::None, |blob| Value::Bytes(blob.0.as_slice().into()));
    let mut headers = Vec::new();
    let mut header = |name: &str, value: Value| headers.push(Value::pair(Value::str(name), value));
    let (mut key, mut value) = (Value::None, Value::str(&letter.element));
    if let Some(record) = &letter.record {
        record.headers.iter().for_each(|(name, value)| header(name, bytes(value)));
        header("kstream.topic", Value::str(&*record.topic));
        header("kstream.partition", Value::str(record.partition.to_string()));
        header("kstream.offset", Value::str(record.offset.to_string()));
        (key, value) = (bytes(&record.key), bytes(&record.value));
    }
    header("kstream.job", Value::str(job));
    header("kstream.batch", Value::str(letter.batch.to_string()));
    header("kstream.step", Value::str(&letter.step));
    header("kstream.reason", Value::str(&letter.reason));
    Row::of(&[Value::None, key, value, Value::list(headers), Value::None], Some(&topic.into())).ok()
}

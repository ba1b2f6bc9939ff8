//! From an output step to its sink.

use std::{io, sync::Arc, time::Duration};

use super::{
    Sink, SinkError, SinkErrorKind,
    command::CommandSink,
    console::ConsoleSink,
    disk::LocalDisk,
    kafka::KafkaOutputs,
    log::{Append, LogSink},
    text_files::{Naming, TextFilesSink},
};
use crate::job::{FileFormat, FileLayout, Job, OnError, Operator, Step};

/// The sink of an output step of `job`. Nothing is written or connected yet. `kafka` holds what Kafka outputs share;
/// `embedded` is the address of the job's embedded broker.
pub fn open(
    job: &Job,
    step: &Step,
    kafka: &mut KafkaOutputs,
    embedded: Option<&str>,
) -> Result<Box<dyn Sink>, SinkError> {
    let name = step.id.to_string();
    let disk = Arc::new(LocalDisk);
    match &step.operator {
        Operator::Pprint { to: None, .. } => {
            Ok(Box::new(ConsoleSink::new(name, job.time_zone.clone(), Box::new(io::stdout()))))
        }
        Operator::Pprint { to: Some(log), .. } => {
            let path = job.absolute(&log.path);
            let append = Append::given(log.append);
            Ok(Box::new(LogSink::new(name, path, log.rotate_bytes, append, job.time_zone.clone(), disk)))
        }
        Operator::SaveAsTextFiles { prefix, suffix } => {
            let prefix = job.absolute(prefix.as_ref()).display().to_string();
            Ok(Box::new(TextFilesSink::new(name, Naming::Prefix { prefix, suffix: suffix.clone() }, disk)))
        }
        Operator::ToFile { path, format, layout: FileLayout::Batches, .. } => {
            let extension = match format {
                FileFormat::Text => ".txt",
                FileFormat::Json => ".jsonl",
                FileFormat::Csv => ".csv",
            };
            let naming = Naming::Within { path: job.absolute(path), extension };
            Ok(Box::new(TextFilesSink::new(name, naming, disk)))
        }
        Operator::ToFile { path, layout: FileLayout::Append, append, .. } => {
            let append = Append::given(*append);
            Ok(Box::new(LogSink::new(name, job.absolute(path), None, append, job.time_zone.clone(), disk)))
        }
        Operator::ToKafka(spec) => kafka.open(job, name, spec, embedded),
        Operator::Command { run, timeout_ms } => {
            let timeout = Duration::from_millis(*timeout_ms);
            Ok(Box::new(CommandSink::new(name, &job.name, run.clone(), timeout)))
        }
        other => {
            let what = format!("`{}` is no output", other.name());
            Err(SinkError::new(SinkErrorKind::Failed, what))
        }
    }
}

/// The sink of a job's dead letters for one place: a file that grows, or a topic.
pub fn open_dead_letters(
    job: &Job,
    name: &str,
    to: &OnError,
    kafka: &mut KafkaOutputs,
    embedded: Option<&str>,
) -> Result<Box<dyn Sink>, SinkError> {
    match to {
        OnError::DeadLetterFile(path) => {
            let (path, zone) = (job.absolute(path), job.time_zone.clone());
            Ok(Box::new(LogSink::new(name, path, None, Append::Never, zone, Arc::new(LocalDisk))))
        }
        OnError::DeadLetterTopic { topic, brokers } => {
            let today = job.letters_at.get(&(topic.clone(), brokers.clone())).unwrap_or(brokers);
            kafka.open_dead_letters(job, name, topic, today.as_deref(), embedded)
        }
        OnError::Fail | OnError::Skip => {
            Err(SinkError::new(SinkErrorKind::Failed, "no place for dead letters is named"))
        }
    }
}

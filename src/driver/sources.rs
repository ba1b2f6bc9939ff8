//! Opens the sources of a job, the embedded broker among them.

use std::sync::Arc;

use super::{
    error::{Class, DriverError},
    failed::source_failed,
    inputs::Positions,
};
use crate::{
    expr::{Limits, primitive},
    job::{Job, KafkaSpec, SourceKind, TopicSelection},
    kafka_admin::embedded::EmbeddedBroker,
    model::{TopicPartition, Value},
    source::{
        Source,
        kafka::{self, Opening},
        queue::QueueSource,
    },
};

/// The word that starts the embedded broker.
pub(super) const EMBEDDED: &str = "embedded";

/// Open sources, and the embedded brokers that must outlive them.
pub struct Opened {
    pub sources: Vec<Box<dyn Source>>,
    pub brokers: Vec<EmbeddedBroker>,
}

/// Opens every source of `job`. `positions` are the stored offsets, up to which an embedded broker is refilled at once.
pub fn open(job: &Job, positions: &Positions) -> Result<Opened, DriverError> {
    let mut opened = Opened { sources: Vec::new(), brokers: Vec::new() };
    for spec in &job.sources {
        let stored = || positions.get(&spec.name).into_iter().flatten();
        let source: Box<dyn Source> = match &spec.kind {
            SourceKind::Queue { path, partitions } => {
                let path = job.absolute(path);
                let queue = QueueSource::open(&spec.name, &path, *partitions, read_json);
                let queue = queue.map_err(|error| DriverError::new(Class::Usage, error.message).hint(error.hint))?;
                if job.file_contents.get(&path).is_some_and(|loaded| *loaded != queue.content()) {
                    let message = format!("queue file {} is being changed", path.display());
                    return Err(DriverError::new(Class::Usage, message)
                        .hint("Start the job when the file is whole; it is read once, at start.".to_owned()));
                }
                Box::new(queue)
            }
            SourceKind::Kafka(kafka_spec) => {
                let brokers = if kafka_spec.brokers == EMBEDDED {
                    let offsets: Vec<_> = stored().map(|(tp, position)| (tp.clone(), position.offset)).collect();
                    let broker = start_broker(job, &spec.name, kafka_spec, &offsets)?;
                    let brokers = broker.brokers().to_owned();
                    opened.brokers.push(broker);
                    brokers
                } else {
                    kafka_spec.brokers.clone()
                };
                let stored: Vec<_> = stored().map(|(tp, position)| (tp.clone(), position.topic_id.clone())).collect();
                let opening = Opening {
                    job_name: &job.name,
                    source_name: &spec.name,
                    brokers: &brokers,
                    mirror_offsets_to: job.mirror_offsets_to.as_deref(),
                    stored: &stored,
                };
                kafka::open(kafka_spec, opening).map_err(|error| source_failed(&error))?
            }
        };
        opened.sources.push(source);
    }
    Ok(opened)
}

pub(super) fn read_json(text: &[u8]) -> Result<Value, String> {
    primitive::parse_json(text, &mut primitive::Budget::new(Limits::default())).map_err(|fault| fault.message)
}

fn start_broker(
    job: &Job,
    source: &Arc<str>,
    kafka: &KafkaSpec,
    stored: &[(TopicPartition, i64)],
) -> Result<EmbeddedBroker, DriverError> {
    let usage = |message: String| DriverError::new(Class::Usage, message);
    let Some(spec) = &kafka.embedded else {
        return Err(usage(format!("source {source} has nothing to feed the embedded broker with"))
            .hint("Say what it holds: [source.embedded] lines = \"FILE\".".to_owned()));
    };
    let mut spec = spec.clone();
    spec.lines = job.absolute(&spec.lines);
    let topics: Vec<Arc<str>> = match &kafka.topics {
        TopicSelection::Topics(topics) => topics.clone(),
        TopicSelection::Assign(partitions) => {
            let mut topics: Vec<Arc<str>> = partitions.iter().map(|tp| tp.topic.clone()).collect();
            topics.dedup();
            topics
        }
        TopicSelection::Pattern(_) => {
            return Err(usage(format!("source {source} selects topics by pattern; the embedded broker needs names"))
                .hint("Use `topics = [...]` with the embedded broker.".to_owned()));
        }
    };
    EmbeddedBroker::start(&spec, &topics, stored)
        .map_err(|error| usage(format!("cannot start the embedded broker: {error}")).hint(error.hint))
}

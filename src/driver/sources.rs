//! Opens the sources of a job, the embedded broker among them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    error::{Class, DriverError},
    inputs::{Positions, failed},
};
use crate::{
    expr::{Limits, primitive},
    job::{Job, KafkaSpec, SourceKind, TopicSelection},
    kafka_admin::embedded::EmbeddedBroker,
    model::{TopicPartition, Value},
    source::{Source, kafka, queue::QueueSource},
};

/// The word that starts the embedded broker.
pub const EMBEDDED: &str = "embedded";

/// Open sources, and the embedded broker that must outlive them.
pub struct Opened {
    pub sources: Vec<Box<dyn Source>>,
    pub broker: Option<EmbeddedBroker>,
}

/// Opens every source of `job`. `positions` are the stored offsets, up to which an embedded broker is refilled at once.
pub fn open(job: &Job, positions: &Positions) -> Result<Opened, DriverError> {
    let mut opened = Opened { sources: Vec::new(), broker: None };
    for spec in &job.sources {
        let source: Box<dyn Source> = match &spec.kind {
            SourceKind::Queue { path, partitions } => {
                let path = job.absolute(path);
                Box::new(QueueSource::open(&spec.name, &path, *partitions, read_json).map_err(|error| {
                    DriverError::new(Class::Usage, error.message.clone()).hint(error.hint.clone())
                })?)
            }
            SourceKind::Kafka(kafka_spec) => {
                let mut kafka_spec = kafka_spec.clone();
                if kafka_spec.brokers == EMBEDDED {
                    let broker = match opened.broker.take() {
                        Some(broker) => broker,
                        None => start_broker(job, positions)?,
                    };
                    kafka_spec.brokers = broker.brokers();
                    opened.broker = Some(broker);
                }
                kafka::open(&kafka_spec, &spec.name, &job.name).map_err(|error| failed(&error))?
            }
        };
        opened.sources.push(source);
    }
    Ok(opened)
}

fn read_json(text: &[u8]) -> Result<Value, String> {
    primitive::parse_json(text, &mut primitive::Budget::new(Limits::default())).map_err(|fault| fault.message)
}

/// One embedded broker serves all sources that ask for it.
fn start_broker(job: &Job, positions: &Positions) -> Result<EmbeddedBroker, DriverError> {
    let embedded = job.sources.iter().filter_map(|spec| match &spec.kind {
        SourceKind::Kafka(kafka) if kafka.brokers == EMBEDDED => Some((&spec.name, kafka)),
        _ => None,
    });
    let mut feeds = Vec::new();
    for (name, kafka) in embedded {
        let Some(spec) = &kafka.embedded else {
            return Err(DriverError::new(Class::Usage, format!("source {name} has no [source.embedded] to feed it"))
                .hint("Say what the embedded broker holds: [source.embedded] lines = \"FILE\".".to_owned()));
        };
        let mut spec = spec.clone();
        spec.lines = job.absolute(&spec.lines);
        feeds.push((spec, topics(name, kafka)?));
    }
    let stored: BTreeMap<TopicPartition, i64> = positions
        .values()
        .flatten()
        .map(|(tp, position)| (tp.clone(), position.offset))
        .collect();
    EmbeddedBroker::start(&feeds, &stored)
        .map_err(|error| DriverError::new(Class::Usage, format!("cannot start the embedded broker: {error}")))
}

fn topics(name: &Arc<str>, kafka: &KafkaSpec) -> Result<Vec<Arc<str>>, DriverError> {
    match &kafka.topics {
        TopicSelection::Topics(topics) => Ok(topics.clone()),
        TopicSelection::Assign(partitions) => {
            let mut topics: Vec<Arc<str>> = partitions.iter().map(|tp| tp.topic.clone()).collect();
            topics.dedup();
            Ok(topics)
        }
        TopicSelection::Pattern(_) => Err(DriverError::new(
            Class::Usage,
            format!("source {name} selects topics by pattern; the embedded broker needs names"),
        )
        .hint("Use `topics = [...]` with the embedded broker.".to_owned())),
    }
}

//! A job that reads what it writes: allowed, for what filters its records may mean it, but seldom meant.

use super::{
    mistake::Mistake,
    operator::{Operator, ToTopic},
    reader::Reader,
    source::ReadSource,
    spec::{SourceKind, TopicSelection},
    step::ReadStep,
};

/// Warns of outputs into topics that a source of the job reads on the same brokers.
pub fn warn_of_own_topics(reader: &mut Reader<'_>, sources: &[ReadSource], read: &[ReadStep]) {
    let kafka = |source: &ReadSource| match source.kind() {
        Some(SourceKind::Kafka(kafka)) => Some((source.name.clone(), kafka.brokers.clone(), kafka.topics.clone())),
        _ => None,
    };
    let sources: Vec<_> = sources.iter().filter_map(kafka).collect();
    for step in read {
        let Some(Operator::ToKafka(spec)) = step.operator.as_ref().map(|operator| &operator.operator) else { continue };
        let (ToTopic::Name(topic), Some((_, default, _))) = (&spec.topic, sources.first()) else { continue };
        let brokers = spec.brokers.as_ref().unwrap_or(default);
        let reads = |topics: &TopicSelection| match topics {
            TopicSelection::Topics(topics) => topics.iter().any(|read| **read == **topic),
            TopicSelection::Pattern(pattern) => pattern.is_match(topic),
            TopicSelection::Assign(partitions) => partitions.iter().any(|tp| *tp.topic == **topic),
        };
        if let Some((source, ..)) = sources.iter().find(|(_, read_from, topics)| read_from == brokers && reads(topics))
        {
            let message = format!("`to_kafka` writes to topic '{topic}', which source `{source}` reads");
            let warning = Mistake::at(&step.key_span, message).label("what is written is read again, without end");
            reader.warn(warning.hint("write to another topic".to_owned()));
        }
    }
}

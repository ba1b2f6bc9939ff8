//! A job that reads what it writes: allowed, for what filters its records may mean it, but seldom meant. Dead letters are
//! never meant: what could not be taken once is no better the next time.

use super::{
    mistake::Mistake,
    operator::{Operator, ToTopic},
    reader::{LetterTopic, Reader},
    spec::{SourceKind, TopicSelection},
    written::{ReadSource, ReadStep},
};

/// Warns of outputs into topics that a source of the job reads on the same brokers.
pub fn warn_of_own_topics(reader: &mut Reader<'_>, sources: &[ReadSource], read: &[ReadStep]) {
    let sources = kafka(sources);
    for step in read {
        let Some(Operator::ToKafka(spec)) = step.operator.as_ref().map(|operator| &operator.operator) else { continue };
        let (ToTopic::Name(topic), Some((_, default, _))) = (&spec.topic, sources.first()) else { continue };
        let brokers = spec.brokers.as_ref().unwrap_or(default);
        if let Some(source) = reader_of(&sources, brokers, topic) {
            let message = format!("`to_kafka` writes to topic '{topic}', which source `{source}` reads");
            let warning = Mistake::at(&step.key_span, message).label("what is written is read again, without end");
            reader.warn(warning.hint("write to another topic".to_owned()));
        }
    }
}

/// Refuses dead letters into a topic whose brokers nothing names, and into one that a source of the job reads on the same brokers.
pub fn report_read_letters(reader: &mut Reader<'_>, sources: &[ReadSource]) {
    let letters = std::mem::take(&mut reader.letter_topics);
    // A job that has run is taken as it is.
    if reader.files.recorded {
        return;
    }
    let is_torn = sources.is_empty() || sources.iter().any(|source| source.spec.is_none());
    let sources = kafka(sources);
    let default = sources.first().map(|(_, brokers, _)| brokers);
    for LetterTopic { topic, brokers, span } in letters {
        let Some(brokers) = brokers.as_ref().or(default) else {
            if !is_torn {
                let mistake = Mistake::at(&span, "dead letters lack `brokers`: the job has no kafka source");
                reader.report(mistake.hint("add `brokers = \"localhost:9092\"`".to_owned()));
            }
            continue;
        };
        if let Some(source) = reader_of(&sources, brokers, &topic) {
            let mistake = Mistake::at(&span, "dead letters cannot go into a topic that the job reads");
            let mistake = mistake.label(format!("source `{source}` would read them again, without end"));
            reader.report(mistake.hint("give them a topic of their own".to_owned()));
        }
    }
}

type Read = (String, String, TopicSelection);

fn kafka(sources: &[ReadSource]) -> Vec<Read> {
    let kafka = |source: &ReadSource| match source.kind() {
        Some(SourceKind::Kafka(kafka)) => Some((source.name.to_string(), kafka.brokers.clone(), kafka.topics.clone())),
        _ => None,
    };
    sources.iter().filter_map(kafka).collect()
}

/// The source that reads `topic` on `brokers`.
fn reader_of<'s>(sources: &'s [Read], brokers: &str, topic: &str) -> Option<&'s str> {
    let reads = |(_, read_from, topics): &&Read| *read_from == *brokers && topics.reads(topic);
    sources.iter().find(reads).map(|(source, ..)| source.as_str())
}

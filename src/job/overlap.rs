//! One topic partition belongs to one source, as far as the text of the job shows it.

use super::{
    mistake::Mistake,
    reader::Reader,
    spec::{KafkaSpec, SourceKind, TopicSelection},
    written::ReadSource,
};

pub fn report_overlaps(reader: &mut Reader<'_>, sources: &[ReadSource]) {
    for (idx, source) in sources.iter().enumerate() {
        for earlier in sources.iter().take(idx) {
            let (Some(SourceKind::Kafka(a)), Some(SourceKind::Kafka(b))) = (earlier.kind(), source.kind()) else {
                continue;
            };
            if a.brokers == b.brokers
                && let Some(shared) = shared(a, b)
            {
                let message = format!("`{}` and `{}` both read {shared}", earlier.name, source.name);
                let mistake = Mistake::at(&source.name_span, message);
                let hint = "let one source read it, and both branches say `from` that source";
                reader.report(mistake.hint(hint.to_owned()));
            }
        }
    }
}

/// What two sources both read, as far as their texts show it.
pub(super) fn shared(a: &KafkaSpec, b: &KafkaSpec) -> Option<String> {
    use TopicSelection::{Assign, Pattern, Topics};
    let topic = |topic: &str| format!("topic `{topic}`");
    match (&a.topics, &b.topics) {
        (Topics(a), Topics(b)) => a.iter().find(|name| b.contains(name)).map(|name| topic(name)),
        (Topics(topics), Pattern(pattern)) | (Pattern(pattern), Topics(topics)) => {
            topics.iter().find(|name| pattern.is_match(name)).map(|name| topic(name))
        }
        (Assign(a), Assign(b)) => a.iter().find(|tp| b.contains(tp)).map(|tp| tp.to_string()),
        (Topics(topics), Assign(assigned)) | (Assign(assigned), Topics(topics)) => {
            assigned.iter().find(|tp| topics.contains(&tp.topic)).map(|tp| tp.to_string())
        }
        (Pattern(pattern), Assign(assigned)) | (Assign(assigned), Pattern(pattern)) => {
            assigned.iter().find(|tp| pattern.is_match(&tp.topic)).map(|tp| tp.to_string())
        }
        (Pattern(a), Pattern(b)) => (a.as_str() == b.as_str()).then(|| "the same topics".to_owned()),
    }
}

//! Sources, topics and partitions that come and go, and how they are read.

use toml::Table;

use super::{
    super::{
        overlap::shared,
        spec::{Job, KafkaSpec, SourceKind, TopicSelection},
        text::source_table,
    },
    Difference, Dropped, Verdict, allowed, drops,
};

pub fn compare_sources(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    for source in &old.sources {
        let name = source.name.to_string();
        let lost = vec![Dropped::Source { source: name.clone() }];
        let Some(current) = new.sources.iter().find(|current| current.name == source.name) else {
            let begun = begun_by_another(&source.kind, &name, old, new);
            differences.push(drops(format!("source `{name}` is gone{begun}"), lost));
            continue;
        };
        match (&source.kind, &current.kind) {
            (SourceKind::Kafka(before), SourceKind::Kafka(after)) => {
                compare_topics((&name, old, new), before, after, differences);
                let (before, after) = (source_table(old, source), source_table(new, current));
                compare_reading(&name, &before, &after, differences);
            }
            (SourceKind::Queue { path: before, partitions: a }, SourceKind::Queue { path: after, partitions: b }) => {
                let content = |job: &Job, path| job.file_contents.get(&job.absolute(path)).copied();
                if content(old, before) != content(new, after) {
                    differences.push(allowed(format!("the file of source `{name}` has another content")));
                }
                if a != b {
                    // A line is dealt out over them: with others, lines would be read twice or not at all.
                    let text = format!("source `{name}` had {a} partitions, has {b}");
                    let hint = "a queue keeps its `partitions`: take the edit back, or set another `checkpoint_dir`";
                    differences.push(Difference { text, verdict: Verdict::Refused { hint: hint.to_owned() } });
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

/// That another source begins to read what `kind` was read by as source `name`: not where that one stood.
fn begun_by_another(kind: &SourceKind, name: &str, old: &Job, new: &Job) -> String {
    let SourceKind::Kafka(before) = kind else { return String::new() };
    let shared_by = |job: &Job, other: &str| {
        job.sources.iter().filter(|source| *source.name == *other && *source.name != *name).find_map(|source| {
            match &source.kind {
                SourceKind::Kafka(kafka) => shared(before, kafka),
                SourceKind::Queue { .. } => None,
            }
        })
    };
    let takes = new.sources.iter().find_map(|source| {
        let what = shared_by(new, &source.name).filter(|_| shared_by(old, &source.name).is_none())?;
        Some(format!(
            "; source `{}` reads {what} from its own `start` on, whatever `{name}` has read of it",
            source.name
        ))
    });
    takes.unwrap_or_default()
}

fn compare_topics(
    (source, old, new): (&str, &Job, &Job),
    before: &KafkaSpec,
    after: &KafkaSpec,
    differences: &mut Vec<Difference>,
) {
    use TopicSelection::{Assign, Pattern, Topics};
    let topic_gone = |topic: &str| {
        let lost = Dropped::Topic { source: source.to_owned(), topic: topic.to_owned() };
        let only = KafkaSpec { topics: Topics(vec![topic.into()]), ..before.clone() };
        let begun = begun_by_another(&SourceKind::Kafka(only), source, old, new);
        drops(format!("source `{source}` no longer reads topic `{topic}`{begun}"), vec![lost])
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

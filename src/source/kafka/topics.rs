//! Which topic partitions a source's selection means, given what the cluster has. Pure.

use std::{collections::BTreeMap, sync::Arc};

use regex::Regex;

use crate::{job::TopicSelection, model::TopicPartition, source::SourceError};

/// A selection ready to be asked.
#[derive(Debug, Clone)]
pub enum Selection {
    Topics(Vec<Arc<str>>),
    /// Matches whole names.
    Pattern(Regex),
    Assign(Vec<TopicPartition>),
}

impl Selection {
    pub fn new(selection: &TopicSelection) -> Result<Selection, SourceError> {
        Ok(match selection {
            TopicSelection::Topics(topics) => Selection::Topics(sorted(topics.clone())),
            TopicSelection::Assign(partitions) => {
                let mut partitions = partitions.clone();
                partitions.sort();
                partitions.dedup();
                Selection::Assign(partitions)
            }
            TopicSelection::Pattern(pattern) => {
                let whole = format!("^(?:{})$", pattern.as_str());
                Selection::Pattern(Regex::new(&whole).map_err(|error| {
                    SourceError::refused(format!("topic_pattern cannot be used: {error}"), "Correct the pattern.")
                })?)
            }
        })
    }

    /// Topics named one by one; `None` for a pattern.
    pub fn named(&self) -> Option<Vec<Arc<str>>> {
        match self {
            Selection::Topics(topics) => Some(topics.clone()),
            Selection::Assign(partitions) => Some(sorted(partitions.iter().map(|tp| tp.topic.clone()).collect())),
            Selection::Pattern(_) => None,
        }
    }

    /// The topics of `all` that a pattern takes; never an internal one.
    pub fn matching(&self, all: Vec<(String, i32)>) -> BTreeMap<Arc<str>, i32> {
        let Selection::Pattern(pattern) = self else { return BTreeMap::new() };
        let taken = all.into_iter().filter(|(name, _)| !name.starts_with("__") && pattern.is_match(name));
        taken.map(|(name, partitions)| (Arc::from(name), partitions)).collect()
    }

    /// The selected partitions of the topics that exist, sorted by topic, then number.
    pub fn partitions(&self, topics: &BTreeMap<Arc<str>, i32>) -> Vec<TopicPartition> {
        match self {
            Selection::Assign(partitions) => {
                let exists = |tp: &&TopicPartition| {
                    topics.get(&tp.topic).is_some_and(|partitions| 0 <= tp.partition && tp.partition < *partitions)
                };
                partitions.iter().filter(exists).cloned().collect()
            }
            _ => topics
                .iter()
                .flat_map(|(topic, partitions)| {
                    (0..*partitions).map(|number| TopicPartition::new(topic.clone(), number))
                })
                .collect(),
        }
    }
}

fn sorted(mut topics: Vec<Arc<str>>) -> Vec<Arc<str>> {
    topics.sort();
    topics.dedup();
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Vec<(String, i32)> {
        [("a", 2), ("ab", 1), ("words-1", 1), ("words-2", 2), ("__consumer_offsets", 50)]
            .map(|(name, partitions)| (name.to_owned(), partitions))
            .to_vec()
    }

    #[test]
    fn a_pattern_matches_whole_names_and_never_internal_topics() {
        let check = |pattern: &str, expected: &[&str]| {
            let pattern = TopicSelection::Pattern(Regex::new(pattern).unwrap());
            let matching = Selection::new(&pattern).unwrap().matching(cluster());
            assert_eq!(matching.keys().map(|name| &**name).collect::<Vec<_>>(), expected);
        };
        check("words-.*", &["words-1", "words-2"]);
        check("words", &[]);
        check("a|ab", &["a", "ab"]);
        check(".*", &["a", "ab", "words-1", "words-2"]);
        check("__consumer_offsets", &[]);
    }

    #[test]
    fn partitions_come_by_topic_then_number() {
        let topics = BTreeMap::from([(Arc::from("b"), 2), (Arc::from("a"), 1)]);
        let all = Selection::new(&TopicSelection::Topics(vec!["b".into(), "a".into()])).unwrap();
        let names: Vec<String> = all.partitions(&topics).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a/0", "b/0", "b/1"]);
        let some = [TopicPartition::new("b", 1), TopicPartition::new("b", 7)];
        let some = Selection::new(&TopicSelection::Assign(some.to_vec())).unwrap();
        assert_eq!(some.partitions(&topics), [TopicPartition::new("b", 1)]);
    }
}

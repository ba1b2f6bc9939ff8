//! The truth of a history: one topic, what each of its offsets holds, and what retention has taken.

use std::{collections::BTreeMap, sync::Arc};

use kstream::model::TopicPartition;

use super::super::support::Random;

pub const TOPIC: &str = "words";

#[derive(Debug, Clone, Default)]
pub struct Log {
    /// What each offset holds, from 0 on; none for a transaction marker, an aborted or a compacted record.
    pub offsets: Vec<Option<Arc<str>>>,
    /// The first offset that can still be read.
    pub earliest: i64,
    /// Everything below an offset that was still there when a partition without a position was resolved.
    pub starts: Vec<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Topic {
    pub partitions: Vec<Log>,
    /// Changes when the topic is deleted and made anew.
    pub id: u64,
}

impl Log {
    pub fn end(&self) -> i64 {
        self.offsets.len() as i64
    }

    pub fn visible(&self, start: i64, until: i64) -> impl Iterator<Item = (i64, &Arc<str>)> {
        let records = self.offsets.iter().zip(0..).filter(move |(_, offset)| start <= *offset && *offset < until);
        records.filter_map(|(value, offset)| Some((offset, value.as_ref()?)))
    }
}

impl Topic {
    pub fn new(random: &mut Random) -> Topic {
        let mut topic = Topic { partitions: vec![Log::default(); 1 + random.below(3) as usize], id: 1 };
        topic.append(random, 20);
        for log in &mut topic.partitions {
            log.earliest = random.below(1 + log.end() as u64 / 2) as i64;
        }
        topic
    }

    /// Up to `most` more offsets in each partition; some of them hold nothing, at times many in a row.
    pub fn append(&mut self, random: &mut Random, most: u64) -> usize {
        let mut appended = 0;
        for log in &mut self.partitions {
            let count = random.below(most + 1);
            let mut hole = 0;
            for _ in 0..count {
                if random.below(12) == 0 {
                    hole = 1 + random.below(9);
                }
                let word: Arc<str> = format!("w{}", random.below(7)).into();
                log.offsets.push(if hole > 0 { None } else { Some(word) });
                hole = u64::saturating_sub(hole, 1);
            }
            appended += count as usize;
        }
        appended
    }

    pub fn tp(partition: usize) -> TopicPartition {
        TopicPartition::new(TOPIC, partition as i32)
    }

    pub fn log(&self, tp: &TopicPartition) -> Option<&Log> {
        usize::try_from(tp.partition).ok().and_then(|partition| self.partitions.get(partition))
    }

    pub fn ends(&self) -> BTreeMap<TopicPartition, i64> {
        self.partitions.iter().enumerate().map(|(partition, log)| (Topic::tp(partition), log.end())).collect()
    }
}

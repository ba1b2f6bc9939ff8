//! Topic partitions and half-open offset ranges.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// One Kafka partition, printed as `topic/partition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What can be read of one topic partition now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailablePartition {
    pub tp: TopicPartition,
    /// First offset that still exists (log start).
    pub earliest: i64,
    /// One past the last offset that may be read: the last stable offset under read_committed, else the high watermark.
    pub latest: i64,
    /// Kafka's topic id, where the broker told it.
    pub topic_id: Option<String>,
    pub leader_epoch: Option<i32>,
}

/// The offsets `start <= offset < until` of one topic partition, as planned for one batch.
///
/// Offsets may have gaps (compaction, transaction markers, aborted records): `len` counts offsets, not records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// Name of the job's source that owns the topic partition (`source` for a `[source]` table).
    pub source: Arc<str>,
    pub tp: TopicPartition,
    pub start: i64,
    pub until: i64,
    /// Kafka's topic id, where the broker told it; another id at the same name is a recreated topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Leader epoch known when the range was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// Leader epoch known when the offsets before `start` were planned: if the log's records of it end before `start`,
    /// the log was cut behind what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_epoch: Option<i32>,
}

impl OffsetRange {
    pub fn len(&self) -> u64 {
        u64::try_from(self.until - self.start).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.until <= self.start
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}..{}", self.tp, self.start, self.until)
    }
}

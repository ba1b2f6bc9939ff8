//! What is made durable of a batch: its plan before any effect, its commit after all of them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::model::{
    BatchId, BatchIdentity, BatchTime, OffsetRange, RunEpoch, Timeline, TopicPartition, digest::Digest,
};

/// What a sink wants remembered with the commit and gives back at the next start, e.g. the committed length of a log
/// and the checksum of its tail. JSON of the sink's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkFacts(pub serde_json::Value);

/// Name of a stored job text: the xxh3-128 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobTextHash(pub Arc<str>);

impl JobTextHash {
    pub fn of(text: &[u8]) -> JobTextHash {
        JobTextHash(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text)).into())
    }
}

impl fmt::Display for JobTextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub use crate::planner::{LossReason, LostRange};

/// Where a bounded run ends: fixed with its first plan, kept until a run reaches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundedEnd {
    /// By source name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<Arc<str>, Vec<(TopicPartition, i64)>>,
    /// Of every source that reads them; only in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<(TopicPartition, i64)>>,
}

/// A batch's whole input, durable before any effect outside memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    pub batch: BatchId,
    pub time: BatchTime,
    pub timeline: Timeline,
    pub run_epoch: RunEpoch,
    /// One a topic partition, empty ones included where the planner wants the partition seen; in fold order.
    pub ranges: Vec<OffsetRange>,
    pub job_text: JobTextHash,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostRange>,
    /// Topic partitions whose position is given up before this plan (removed topics, accepted by the user): where the
    /// plan reads one all the same, it begins anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped_partitions: Vec<DroppedPartition>,
    /// States that begin anew with this batch (dropped, accepted by the user).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped_states: Vec<String>,
    /// States that go on under another name from this batch on: the new name and the old. Both begin anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed_states: Vec<(String, String)>,
    /// What sinks that are new with this batch found before it (a log's base length), by output name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<String, SinkFacts>,
    /// Wall clock when the plan was made, milliseconds since the epoch; for people, nothing is decided by it.
    pub planned_at_ms: i64,
    /// How often this plan was replaced by a smaller one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl PlanRecord {
    /// Whether the position of `tp` in `source` is given up before this plan.
    pub fn drops(&self, source: &str, tp: &TopicPartition) -> bool {
        self.dropped_partitions.iter().any(|dropped| match &dropped.source {
            Some(of) => dropped.tp == *tp && **of == *source,
            // Of every source, as it was when plans did not say, but of none that has taken it over.
            None => dropped.tp == *tp && !self.ranges.iter().any(|range| *range.source == *source && range.tp == *tp),
        })
    }

    /// What sinks store beside the batch; `checkpoint` is the uuid of the checkpoint.
    pub fn identity(&self, checkpoint: &str) -> BatchIdentity {
        BatchIdentity { checkpoint: checkpoint.to_owned(), timeline: self.timeline, batch: self.batch, time: self.time }
    }
}

/// A topic partition that a source no longer reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedPartition {
    /// None in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    #[serde(flatten)]
    pub tp: TopicPartition,
}

/// Where a topic partition continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    pub source: Arc<str>,
    pub tp: TopicPartition,
    /// First offset that is not committed.
    pub offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// The batch that moved it last.
    pub batch: BatchId,
}

impl Position {
    /// The position after `range` was committed as part of `batch`.
    pub fn after(range: &OffsetRange, batch: BatchId) -> Position {
        Position {
            source: range.source.clone(),
            tp: range.tp.clone(),
            offset: range.until.max(range.start),
            topic_id: range.topic_id.clone(),
            leader_epoch: range.leader_epoch,
            batch,
        }
    }
}

/// What one output delivered in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRecord {
    pub name: String,
    /// Hash of the output's settings; digests are compared only between equal ones.
    pub settings: String,
    #[serde(with = "digest_text")]
    pub digest: Digest,
}

mod digest_text {
    //! A digest as the text it prints, for facts that people read.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::digest::Digest;

    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Elements dropped at a step under `on_error = "skip"` or sent to a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoisonCount {
    pub step: String,
    pub count: u64,
}

/// A batch is done: written in one transaction with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitRecord {
    pub batch: BatchId,
    pub time: BatchTime,
    pub timeline: Timeline,
    /// The run that committed it, which need not be the one that planned it.
    pub run_epoch: RunEpoch,
    pub outputs: Vec<OutputRecord>,
    /// What each sink wants back at the next start, by output name.
    pub sinks: BTreeMap<String, SinkFacts>,
    pub records_read: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poison: Vec<PoisonCount>,
    /// Microseconds by verb (`execute`, `stage`, `publish` ...).
    pub durations_us: BTreeMap<String, u64>,
    /// State blobs written with this commit; filled in by the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateWritten>,
    /// Wall clock, milliseconds since the epoch; for people.
    pub committed_at_ms: i64,
}

/// Names a state blob in its commit, so that one that vanished is missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateWritten {
    pub state: String,
    /// A snapshot's slot and how many slots the state has; none for the batch's delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<(u32, u32)>,
    pub crc: u32,
}

/// Changes of the batch to one state, in the state's own encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDelta {
    pub state: String,
    pub blob: Vec<u8>,
}

/// One slot of a state as it is after the batch. A state is whole once all of its `slots` have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSnapshot {
    pub state: String,
    pub slot: u32,
    /// Never changes for a state.
    pub slots: u32,
    pub blob: Vec<u8>,
}

/// What a commit writes of keyed state: at most one delta a state, at most one snapshot a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateWrites {
    pub deltas: Vec<StateDelta>,
    pub snapshots: Vec<StateSnapshot>,
}

//! Batch id, batch time, timeline and run epoch: how one batch is told from every other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Dense number of a batch within a checkpoint; the first batch is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub u64);

impl BatchId {
    pub const FIRST: BatchId = BatchId(0);

    pub fn next(self) -> BatchId {
        BatchId(self.0 + 1)
    }

    pub fn previous(self) -> Option<BatchId> {
        self.0.checked_sub(1).map(BatchId)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// End of a batch's interval, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchTime(pub i64);

/// Raised by `rewind`: the same batch id on a higher timeline is another batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(pub u64);

/// Number of a process start on a checkpoint; used for fencing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunEpoch(pub u64);

/// What a sink stores beside a batch's output, so that it can later say what it has published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchIdentity {
    /// Uuid of the checkpoint, drawn when it was created.
    pub checkpoint: String,
    pub timeline: Timeline,
    pub batch: BatchId,
    pub time: BatchTime,
}

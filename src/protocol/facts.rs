//! All that recovery decides from: what the checkpoint says, read before anything is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BoundedEnd, CommitRecord, JobTextHash, PlanRecord, Position, SinkFacts};
use crate::model::{BatchId, BatchTime, RunEpoch, Timeline};

/// What a sink remembered, and the batch that said so; none for a base.
pub type SaidOfSink = (SinkFacts, Option<BatchId>);

/// A checkpoint's facts at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Version of the format it is written in.
    pub format: u32,
    /// Uuid drawn at creation.
    pub checkpoint: String,
    pub job: String,
    pub timeline: Timeline,
    /// Number of the last run; 0 before the first.
    pub run_epoch: RunEpoch,
    pub batch_interval_ms: i64,
    /// First batch time minus the interval: the grid of windows.
    pub zero: BatchTime,
    /// What the checkpoint's head says, to be met by the rows below.
    pub head_planned: Option<BatchId>,
    pub head_committed: Option<BatchId>,
    /// Oldest kept batch, as the head says; 0 before the first purge.
    pub head_first: BatchId,
    /// Every kept batch that has a plan, a commit or both, by id.
    pub batches: BTreeMap<BatchId, BatchFacts>,
    /// Where each topic partition continues, sorted by source, topic and partition.
    pub positions: Vec<Position>,
    /// What each sink remembered last, by output name.
    pub sinks: BTreeMap<String, SaidOfSink>,
    pub bounded_end: Option<BoundedEnd>,
    /// A rewind whose sinks may not have followed yet.
    pub rewind: Option<RewindRecord>,
    /// State blobs that recovery needs and that are not there.
    pub missing_state: Vec<MissingState>,
}

impl Facts {
    /// The last batch that is done.
    pub fn committed(&self) -> Option<&CommitRecord> {
        self.batches.values().rev().find_map(|batch| batch.commit.as_ref())
    }

    /// The batch that is planned and not committed.
    pub fn in_flight(&self) -> Option<&PlanRecord> {
        let last = self.batches.values().next_back()?;
        if last.commit.is_some() { None } else { last.plan.as_ref() }
    }

    /// Time of the last planned or committed batch.
    pub fn last_time(&self) -> Option<BatchTime> {
        let last = self.batches.values().next_back()?;
        last.plan.as_ref().map(|plan| plan.time).or(last.commit.as_ref().map(|commit| commit.time))
    }

    /// The id the next fresh plan has.
    pub fn next_batch(&self) -> BatchId {
        self.head_committed.map_or(BatchId::FIRST, BatchId::next)
    }
}

/// One batch's row of the ledger.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchFacts {
    pub plan: Option<PlanRecord>,
    pub commit: Option<CommitRecord>,
}

/// A rewind that is decided and durable: sinks are cut to their targets before anything else happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewindRecord {
    /// The batch that is the last committed one now; none when everything was taken back.
    pub to: Option<BatchId>,
    /// The timeline it began.
    pub timeline: Timeline,
    /// What each sink had remembered then, by output name; none for a sink that had never written.
    pub sinks: BTreeMap<String, Option<SinkFacts>>,
    /// The job that wrote what is taken back, whose sinks are cut; none in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_text: Option<JobTextHash>,
    /// The jobs before it that wrote some of it, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_job_texts: Vec<JobTextHash>,
}

/// A state blob that a commit names and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingState {
    pub state: String,
    pub batch: BatchId,
    pub slot: Option<u32>,
}

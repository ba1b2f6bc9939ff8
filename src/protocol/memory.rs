//! The protocol's log in memory: for jobs without a checkpoint (fixtures), and for tests.

use std::collections::BTreeMap;

use super::{BatchFacts, CommitRecord, FORMAT, Facts, PlanRecord, Position, StateDelta, StateWrites, Store};
use crate::model::{BatchId, BatchTime, RunEpoch, Timeline, TopicPartition};

/// Holds the same facts as a checkpoint on disk, for as long as the process lives.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    facts: Facts,
    positions: BTreeMap<(std::sync::Arc<str>, TopicPartition), Position>,
    deltas: BTreeMap<BatchId, Vec<StateDelta>>,
}

/// A call that contradicts the facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch {batch} cannot be {step}: last planned {planned:?}, last committed {committed:?}")]
pub struct MemoryError {
    pub batch: BatchId,
    pub step: &'static str,
    pub planned: Option<BatchId>,
    pub committed: Option<BatchId>,
}

impl MemoryStore {
    pub fn new(job: &str) -> Self {
        Self {
            facts: Facts {
                format: FORMAT,
                checkpoint: "memory".to_owned(),
                job: job.to_owned(),
                timeline: Timeline(0),
                run_epoch: RunEpoch(1),
                batch_interval_ms: 1000,
                zero: BatchTime(0),
                head_planned: None,
                head_committed: None,
                head_first: BatchId::FIRST,
                batches: BTreeMap::new(),
                positions: Vec::new(),
                sinks: BTreeMap::new(),
                bounded_end: None,
                rewind: None,
                missing_state: Vec::new(),
            },
            positions: BTreeMap::new(),
            deltas: BTreeMap::new(),
        }
    }

    pub fn facts(&self) -> Facts {
        Facts { positions: self.positions.values().cloned().collect(), ..self.facts.clone() }
    }

    /// The state deltas of a committed batch.
    pub fn deltas(&self, batch: BatchId) -> &[StateDelta] {
        self.deltas.get(&batch).map(Vec::as_slice).unwrap_or_default()
    }

    fn expect(&self, holds: bool, batch: BatchId, step: &'static str) -> Result<(), MemoryError> {
        let (planned, committed) = (self.facts.head_planned, self.facts.head_committed);
        if holds { Ok(()) } else { Err(MemoryError { batch, step, planned, committed }) }
    }

    fn in_flight(&self) -> Option<BatchId> {
        self.facts.in_flight().map(|plan| plan.batch)
    }
}

impl Store for MemoryStore {
    type Error = MemoryError;

    fn log_planned(&mut self, plan: &PlanRecord) -> Result<(), MemoryError> {
        let due = self.in_flight().is_none() && plan.batch == self.facts.next_batch();
        self.expect(due, plan.batch, "planned")?;
        self.positions.retain(|(source, tp), _| !plan.drops(source, tp));
        for (name, base) in &plan.bases {
            self.facts.sinks.insert(name.clone(), (base.clone(), None));
        }
        self.facts.head_planned = Some(plan.batch);
        self.facts.batches.insert(plan.batch, BatchFacts { plan: Some(plan.clone()), commit: None });
        Ok(())
    }

    fn replace_plan(&mut self, plan: &PlanRecord) -> Result<(), MemoryError> {
        self.expect(self.in_flight() == Some(plan.batch), plan.batch, "replaced")?;
        self.facts.batches.entry(plan.batch).or_default().plan = Some(plan.clone());
        Ok(())
    }

    fn log_committed(
        &mut self,
        commit: &CommitRecord,
        state: &StateWrites,
        next: Option<&PlanRecord>,
    ) -> Result<(), MemoryError> {
        self.expect(self.in_flight() == Some(commit.batch), commit.batch, "committed")?;
        let row = self.facts.batches.entry(commit.batch).or_default();
        for range in row.plan.iter().flat_map(|plan| &plan.ranges) {
            let key = (range.source.clone(), range.tp.clone());
            self.positions.insert(key, Position::after(range, commit.batch));
        }
        row.commit = Some(commit.clone());
        for (name, facts) in &commit.sinks {
            self.facts.sinks.insert(name.clone(), (facts.clone(), Some(commit.batch)));
        }
        self.facts.head_committed = Some(commit.batch);
        self.deltas.insert(commit.batch, state.deltas.clone());
        next.map_or(Ok(()), |next| self.log_planned(next))
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! Plans and commits in a line, for tests.

    use super::*;
    use crate::{
        model::OffsetRange,
        protocol::{JobTextHash, OutputRecord, SinkFacts},
    };

    pub const TEXT: &str = "text-1";

    /// Batch `batch` at one second a batch, reading `(partition, start, until)` of topic `words`.
    pub fn plan(batch: u64, ranges: &[(i32, i64, i64)]) -> PlanRecord {
        PlanRecord {
            batch: BatchId(batch),
            time: BatchTime((batch as i64 + 1) * 1000),
            timeline: Timeline(0),
            run_epoch: RunEpoch(1),
            ranges: ranges.iter().map(|&(partition, start, until)| range(partition, start, until)).collect(),
            job_text: JobTextHash(TEXT.into()),
            lost: Vec::new(),
            dropped_partitions: Vec::new(),
            dropped_states: Vec::new(),
            renamed_states: Vec::new(),
            bases: BTreeMap::new(),
            planned_at_ms: 5,
            replaced: 0,
        }
    }

    pub fn range(partition: i32, start: i64, until: i64) -> OffsetRange {
        OffsetRange {
            source: "source".into(),
            tp: TopicPartition::new("words", partition),
            start,
            until,
            topic_id: Some("id".to_owned()),
            leader_epoch: None,
            start_epoch: None,
        }
    }

    pub fn commit(batch: u64) -> CommitRecord {
        let digest = "000000000000000000000000000000ff:3".parse().unwrap();
        CommitRecord {
            batch: BatchId(batch),
            time: BatchTime((batch as i64 + 1) * 1000),
            timeline: Timeline(0),
            run_epoch: RunEpoch(1),
            outputs: vec![OutputRecord { name: "pprint#1".to_owned(), settings: "s".to_owned(), digest }],
            sinks: BTreeMap::from([("pprint#1".to_owned(), SinkFacts(serde_json::json!({ "len": batch * 100 })))]),
            records_read: 10,
            poison: Vec::new(),
            durations_us: BTreeMap::from([("execute".to_owned(), 7)]),
            state: Vec::new(),
            committed_at_ms: 9,
        }
    }
}

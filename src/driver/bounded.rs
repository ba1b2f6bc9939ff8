//! A bounded run: it ends where input was available when it began.
//!
//! A job on queues is always one: its clock is a logical one, which moves on by a batch interval with each batch and
//! never waits, and its input ends.

use std::collections::BTreeMap;

use super::inputs::Inputs;
use crate::{
    checkpoint::Checkpoint,
    model::{BatchTime, TopicPartition},
    planner::end_offsets,
    protocol::BoundedEnd,
    source::Available,
    telemetry::Bar,
};

/// The ends, kept in the checkpoint from the first plan until they are reached.
#[derive(Default)]
pub struct Bounded {
    pub ends: BTreeMap<TopicPartition, i64>,
    /// Whether `ends` are those of an interrupted run, whose batch times go on.
    pub resumed: bool,
    /// Whether batch times follow each other as those of a live job would, whatever the clock shows: from the job's
    /// zero on, one interval each, also from one process to the next.
    pub logical: bool,
    /// Time of the next batch, once the first is known.
    pub next_time: Option<BatchTime>,
    pub bar: Option<Bar>,
}

impl Bounded {
    pub fn from_stored(stored: Option<&BoundedEnd>) -> Bounded {
        match stored {
            Some(end) => Bounded { ends: end.offsets.iter().cloned().collect(), resumed: true, ..Bounded::default() },
            None => Bounded::default(),
        }
    }

    /// A job on queues: it ends where they end now, however far an earlier process meant to go.
    pub fn by_logical_clock() -> Bounded {
        Bounded { logical: true, ..Bounded::default() }
    }

    /// Fixes the ends, unless an interrupted run has left some that are not reached. Gives the batches needed.
    pub fn settle_ends(&mut self, available: &[Available], inputs: &Inputs, checkpoint: &mut Checkpoint) -> u64 {
        let left = inputs.batches_needed(&self.ends);
        if self.resumed && left > 0 {
            return left;
        }
        self.resumed = false;
        self.ends = available.iter().flat_map(|source| end_offsets(&source.partitions)).collect();
        if self.logical {
            return inputs.batches_needed(&self.ends);
        }
        let offsets = self.ends.iter().map(|(tp, end)| (tp.clone(), *end)).collect();
        checkpoint.set_bounded_end(Some(BoundedEnd { offsets }));
        inputs.batches_needed(&self.ends)
    }
}

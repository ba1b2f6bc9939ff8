//! A bounded run: it ends where input was available when it began.

use std::collections::BTreeMap;

use super::inputs::{Inputs, Positions};
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

    /// Fixes the ends, unless an interrupted run has left some that are not reached. Gives the batches needed.
    pub fn settle_ends(
        &mut self,
        available: &[Available],
        inputs: &Inputs,
        positions: &Positions,
        checkpoint: &mut Checkpoint,
    ) -> u64 {
        let left = inputs.batches_needed(positions, &self.ends);
        if self.resumed && left > 0 {
            return left;
        }
        self.resumed = false;
        self.ends = available.iter().flat_map(|source| end_offsets(&source.partitions)).collect();
        let offsets = self.ends.iter().map(|(tp, end)| (tp.clone(), *end)).collect();
        checkpoint.set_bounded_end(Some(BoundedEnd { offsets }));
        inputs.batches_needed(positions, &self.ends)
    }
}

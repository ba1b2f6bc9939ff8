//! A bounded run: it ends where input was available when it began.
//!
//! A job on queues is always one: its clock is a logical one, which moves on by a batch interval with each batch and
//! never waits, and its input ends.

use std::{collections::BTreeMap, sync::Arc};

use super::inputs::{Ends, Inputs};
use crate::{
    checkpoint::Checkpoint,
    job::Job,
    model::{BatchTime, TopicPartition},
    protocol::BoundedEnd,
    source::Available,
    telemetry::Bar,
};

/// The ends, kept in the checkpoint from the first plan until they are reached.
#[derive(Default)]
pub struct Bounded {
    pub ends: Ends,
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
    pub fn from_stored(stored: Option<&BoundedEnd>, job: &Job) -> Bounded {
        let Some(end) = stored else { return Bounded::default() };
        let of_any =
            end.offsets.iter().flat_map(|offsets| job.sources.iter().map(move |source| (&source.name, offsets)));
        let ends = end.sources.iter().chain(of_any);
        let ends = ends.map(|(source, offsets)| (source.clone(), offsets.iter().cloned().collect())).collect();
        Bounded { ends, resumed: true, ..Bounded::default() }
    }

    /// A job on queues: it ends where they end now, however far an earlier process meant to go.
    pub fn by_logical_clock() -> Bounded {
        Bounded { logical: true, ..Bounded::default() }
    }

    /// Fixes the ends, unless an interrupted run has left some that are not reached. Gives the batches needed.
    pub fn settle_ends(&mut self, available: &[Available], inputs: &Inputs, checkpoint: &mut Checkpoint) -> u64 {
        let now = inputs.ends(available);
        self.resumed = self.resumed && inputs.batches_needed(&self.ends) > 0;
        if self.resumed {
            // A source that the interrupted run did not have ends where it ends now.
            now.into_iter().for_each(|(source, ends)| _ = self.ends.entry(source).or_insert(ends));
        } else {
            self.ends = now;
        }
        if !self.logical {
            checkpoint.set_bounded_end(Some(self.to_stored()));
        }
        inputs.batches_needed(&self.ends)
    }

    fn to_stored(&self) -> BoundedEnd {
        let of_source = |(source, ends): (&Arc<str>, &BTreeMap<TopicPartition, i64>)| {
            (source.clone(), ends.iter().map(|(tp, end)| (tp.clone(), *end)).collect())
        };
        BoundedEnd { sources: self.ends.iter().map(of_source).collect(), offsets: None }
    }
}

//! The next batch: when it is due, what it reads, and its durable plan.

use std::time::{Duration, Instant};

use super::{
    edited::Accepted,
    error::DriverError,
    failed::checkpoint_failed,
    in_hand::{Hand, Next, Run},
    inputs::{Bound, Inputs},
};
use crate::{
    crash,
    model::{BatchId, BatchTime},
    planner::{self, next_catch_up},
    protocol::{BatchPlan, PlanRecord, PlannedBatch},
    source::Available,
};

/// A question that takes so long has waited, for a topic that is missed, say: that makes no batch slow.
const WAITED: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Whether no further batch may be planned after `committed` ones.
    fn is_finished(&mut self, committed: u64) -> bool {
        self.patience.drain.requested() || self.max_batches.is_some_and(|max| committed >= max)
    }

    /// A live job begins where its sources stand when it starts, not where they stand at its first tick.
    pub(super) fn find_starts(&mut self) -> Result<(), DriverError> {
        if self.bounded.is_none() && self.inputs.may_begin_at_a_moment() && self.available()?.is_some() {
            tracing::info!("where the first batch begins is found");
        }
        Ok(())
    }

    /// Waits for the trigger, asks what is available, plans, makes the plan durable. `None` at the end of the run.
    pub(super) fn plan_next(&mut self) -> Result<Option<PlannedBatch>, DriverError> {
        if self.is_finished(self.committed_batches) {
            return Ok(None);
        }
        let mut hand = Hand::default();
        if self.bounded.is_none() {
            self.await_trigger(&mut hand);
            if hand.trigger.is_none() {
                self.patience.drain.now();
                return Ok(None);
            }
        }
        let batch = Self::following(self.checkpoint.committed());
        let began = Instant::now();
        hand.began = Some(began);
        let Some(available) = self.available()? else { return Ok(None) };
        hand.took.available = began.elapsed();
        self.patience.explain_missed_ticks(WAITED <= hand.took.available);
        let Some(plan) = self.plan(batch, &available, &mut hand)? else { return Ok(None) };
        crash::point("plan: decided");
        let began = Instant::now();
        let planned = plan.log_planned(&mut self.checkpoint).map_err(|error| checkpoint_failed(&error))?;
        hand.took.log_planned = began.elapsed();
        self.hand = hand;
        Ok(Some(planned))
    }

    /// The plan of the batch after `plan`, where it is due before that one is committed: both become durable at once.
    pub(super) fn plan_following(
        &mut self,
        plan: &PlanRecord,
        next: Next,
    ) -> Result<Option<(BatchPlan, Hand)>, DriverError> {
        if next == Next::Never || self.hand.recovering || self.is_finished(self.committed_batches + 1) {
            return Ok(None);
        }
        if self.bounded.is_none() && !self.ticks.is_due(self.clock) {
            return Ok(None);
        }
        if self.may_catch_up() {
            return Ok(None);
        }
        self.advance(plan);
        let began = Instant::now();
        // What is published waits for its commit: it must not wait for brokers as well.
        let Some(available) = self.available_at_once()? else { return Ok(None) };
        let mut hand = Hand { began: Some(began), ..Hand::default() };
        hand.took.available = began.elapsed();
        if self.bounded.is_none() {
            self.await_trigger(&mut hand);
        }
        let following = self.plan(plan.batch.next(), &available, &mut hand)?;
        Ok(following.map(|following| (following, hand)))
    }

    /// The clock says a batch is due: now, where the last one stood for a skipped time.
    fn await_trigger(&mut self, hand: &mut Hand) {
        hand.trigger = self.ticks.wait(self.last_time, self.clock, self.patience.drain.channel());
        hand.after_outage = self.patience.explains_missed_ticks();
    }

    /// Whether the next batch may be one at a skipped time. Which, if any, is known only once the windows have taken
    /// the batch before.
    fn may_catch_up(&self) -> bool {
        self.bounded.as_ref().is_none_or(|bounded| bounded.next_time.is_none()) && !self.engine.windows().is_empty()
    }

    /// Positions and batch time as they are once `plan` is committed. Done twice, it changes nothing more.
    pub(super) fn advance(&mut self, plan: &PlanRecord) {
        self.inputs.advance(plan);
        self.last_time = Some(plan.time);
    }

    /// `None` where a bounded run has nothing left.
    fn plan(
        &mut self,
        batch: BatchId,
        available: &[Available],
        hand: &mut Hand,
    ) -> Result<Option<BatchPlan>, DriverError> {
        let began = Instant::now();
        let record = self.decide(batch, available, hand)?;
        hand.took.plan = began.elapsed();
        Ok(record.map(|record| BatchPlan::new(record, self.checkpoint.uuid())))
    }

    /// What can be read now; `None` when asked to drain meanwhile.
    fn available(&mut self) -> Result<Option<Vec<Available>>, DriverError> {
        if let Some(known) = self.known_available() {
            return Ok(Some(known));
        }
        let Some(available) = self.inputs.available(&mut self.patience)? else { return Ok(None) };
        self.resolved(available)
    }

    /// As `available`; `None` also where a source does not answer at once.
    fn available_at_once(&mut self) -> Result<Option<Vec<Available>>, DriverError> {
        if let Some(known) = self.known_available() {
            return Ok(Some(known));
        }
        let Some(available) = self.inputs.available_at_once() else { return Ok(None) };
        self.resolved(available)
    }

    /// A bounded run asks once: it ends at what it found then.
    fn known_available(&self) -> Option<Vec<Available>> {
        self.bounded.as_ref().and_then(|_| self.reporter.known_available())
    }

    fn resolved(&mut self, available: Vec<Available>) -> Result<Option<Vec<Available>>, DriverError> {
        if !self.inputs.resolve_starts(&available, &mut self.patience)? {
            return Ok(None);
        }
        self.reporter.remember_available(&available);
        Ok(Some(available))
    }

    /// The next batch as a record.
    fn decide(
        &mut self,
        batch: BatchId,
        available: &[Available],
        hand: &mut Hand,
    ) -> Result<Option<PlanRecord>, DriverError> {
        let Some(due) = self.due_time(available, hand)? else { return Ok(None) };
        let skipped =
            self.last_time.and_then(|previous| next_catch_up(self.zero, previous, due, &self.engine.windows()));
        let ranges = match (&self.bounded, skipped) {
            (_, Some(_)) => self.nothing_to_read(available)?,
            (Some(bounded), None) => self.inputs.plan(available, &Bound::Ends(&bounded.ends), self.interval)?,
            (None, None) => self.inputs.plan(available, &Bound::Live, self.interval)?,
        };
        if let (Some(bounded), None) = (&mut self.bounded, skipped) {
            if ranges.is_empty() && ranges.lost.is_empty() && !must_be_stored(&self.accepted, &self.inputs, &ranges) {
                self.checkpoint.set_bounded_end(None);
                return Ok(None);
            }
            bounded.next_time = Some(self.interval.following(due));
        }
        ranges.lost.iter().for_each(|lost| tracing::warn!(%lost, "offsets are lost and skipped"));
        hand.catching_up = skipped.is_some();
        if hand.catching_up {
            self.ticks.hold(hand.trigger);
        }
        let accepted = std::mem::take(&mut self.accepted);
        let bases = self.engine.bases(&self.known_sinks, &mut self.patience)?;
        self.known_sinks.extend(bases.iter().map(|(name, base)| (name.clone(), (base.clone(), None))));
        Ok(Some(PlanRecord {
            batch,
            time: skipped.unwrap_or(due),
            timeline: self.checkpoint.timeline(),
            run_epoch: self.checkpoint.run_epoch(),
            ranges: ranges.ranges,
            job_text: self.engine.job_text.clone(),
            lost: ranges.lost,
            dropped_partitions: accepted.partitions,
            dropped_states: accepted.states,
            renamed_states: accepted.renamed_states,
            bases,
            planned_at_ms: self.clock.now_ms(),
            replaced: 0,
        }))
    }

    /// The batch time that is due; `None` where a bounded run has nothing left.
    fn due_time(&mut self, available: &[Available], hand: &Hand) -> Result<Option<BatchTime>, DriverError> {
        let Some(bounded) = &mut self.bounded else { return Ok(hand.trigger.map(|trigger| trigger.time)) };
        if bounded.next_time.is_some() {
            return Ok(bounded.next_time);
        }
        let mut needed = bounded.settle_ends(available, &self.inputs, &mut self.checkpoint);
        if needed == 0 {
            // Nothing to read: what was lost must be seen all the same, and one batch records it where it is skipped.
            let ranges = self.inputs.plan(available, &Bound::Ends(&bounded.ends), self.interval)?;
            if ranges.lost.is_empty() && !must_be_stored(&self.accepted, &self.inputs, &ranges) {
                self.checkpoint.set_bounded_end(None);
                return Ok(None);
            }
            needed = 1;
        }
        bounded.bar = Some(self.reporter.bar(needed));
        let time = match self.last_time {
            Some(previous) if bounded.resumed || bounded.logical => self.interval.following(previous),
            None if bounded.logical => self.interval.following(self.zero),
            last_time => self.interval.bounded_first_time(last_time, self.clock.now_ms(), needed),
        };
        Ok(Some(time))
    }

    /// Every known partition with nothing to read: a batch at a skipped time.
    fn nothing_to_read(&self, available: &[Available]) -> Result<planner::Ranges, DriverError> {
        let mut ranges = self.inputs.plan(available, &Bound::Live, self.interval)?;
        ranges.lost.clear();
        // A partition without a committed position waits for the batch that reads it.
        let known = |range: &crate::model::OffsetRange| {
            self.inputs.positions.get(&range.source).and_then(|of_source| of_source.get(&range.tp)).map(|at| at.offset)
        };
        ranges.ranges.retain(|range| known(range) == Some(range.start));
        ranges.ranges.iter_mut().for_each(|range| range.until = range.start);
        Ok(ranges)
    }

    /// The id of the batch after `last`.
    pub(super) fn following(last: Option<BatchId>) -> BatchId {
        last.map_or(BatchId::FIRST, BatchId::next)
    }
}

/// Whether a batch is worth its plan though it reads nothing: it holds where a job begins that has found its start by the
/// moment it asked, or what the user has agreed to lose.
fn must_be_stored(accepted: &Accepted, inputs: &Inputs, ranges: &planner::Ranges) -> bool {
    accepted.consented || inputs.begin_at_a_moment(&ranges.ranges)
}

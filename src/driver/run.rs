//! One run of a job: recovery, then batch after batch until it is asked to stop or has reached its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crossbeam_channel::Receiver;

use super::{
    bounded::Bounded,
    clock::Clock,
    drain::Drain,
    edges::{Edges, World},
    engine::{Engine, sink_failed},
    error::DriverError,
    inputs::{Bound, Inputs},
    options::RunOptions,
    patience::Patience,
    progress::{Durations, Reporter},
    recovery::{self, Accepted, Around, checkpoint_failed},
    trigger::{Ticks, Trigger},
};
use crate::{
    checkpoint::Checkpoint,
    crash,
    job::Job,
    kafka_admin::embedded::EmbeddedBroker,
    model::{BatchId, BatchTime},
    planner::{self, Interval, next_catch_up, rate::Completed},
    protocol::{BatchPlan, CommittedBatch, PlanRecord, PlannedBatch, SinkFacts},
    source::Available,
    telemetry::Bars,
};

/// Everything a run works with.
pub struct Run<'a> {
    pub(super) engine: Engine,
    pub(super) inputs: Inputs,
    pub(super) checkpoint: Checkpoint,
    pub(super) clock: &'a dyn Clock,
    /// Requests to drain, and the wait for brokers that are away.
    pub(super) patience: Patience,
    pub(super) interval: Interval,
    pub(super) zero: BatchTime,
    pub(super) ticks: Ticks,
    /// A run that ends where input was available when it began; none for a live one.
    pub(super) bounded: Option<Bounded>,
    pub(super) max_batches: Option<u64>,
    pub(super) reporter: Reporter,
    pub(super) last_time: Option<BatchTime>,
    /// What sinks remembered, by output.
    pub(super) known_sinks: BTreeMap<String, (SinkFacts, Option<BatchId>)>,
    /// Drops that the user accepted, for the next plan.
    pub(super) accepted: Accepted,
    pub(super) hand: Hand,
    /// Batches this process has planned and committed.
    pub(super) committed_batches: u64,
    /// Outlives the sources that read from it.
    pub(super) _brokers: Vec<EmbeddedBroker>,
}

/// What belongs to the batch in hand.
#[derive(Default)]
pub(super) struct Hand {
    /// Whether an earlier process planned it.
    pub recovering: bool,
    /// Whether it stands for a batch time that was skipped.
    pub catching_up: bool,
    pub trigger: Option<Trigger>,
    /// The ticks that were missed before it are no news: brokers were away, and that has been told.
    pub after_outage: bool,
    pub began: Option<Instant>,
    pub took: Durations,
    /// Outputs that have something staged, by name.
    pub staged: BTreeSet<String>,
    /// Outputs that this process has let publish it, whatever came of that.
    pub tried: BTreeSet<String>,
    /// Records read, by range.
    pub records: Vec<u64>,
}

/// Whether the batch after this one may be planned together with its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    IfDue,
    Never,
}

/// Runs `job` until it is asked to drain, reaches its bound, or fails.
pub fn run(
    job: Job,
    options: &RunOptions,
    clock: &dyn Clock,
    requests: Receiver<()>,
    bars: &Bars,
) -> Result<(), DriverError> {
    run_between(&World::default(), job, options, clock, requests, bars)
}

/// [`run`] with sources and sinks from `edges`.
pub fn run_between(
    edges: &dyn Edges,
    job: Job,
    options: &RunOptions,
    clock: &dyn Clock,
    requests: Receiver<()>,
    bars: &Bars,
) -> Result<(), DriverError> {
    let mut run = recovery::open(job, options, Around { clock, drain: Drain::new(requests), bars, edges })?;
    let mut due = None;
    loop {
        let planned = match due.take() {
            Some(planned) => Some(planned),
            None => run.plan_next()?,
        };
        let Some(planned) = planned else { break };
        due = run.one_batch(planned, Next::IfDue)?.next;
        run.purge()?;
    }
    run.finish()
}

impl Run<'_> {
    /// Whether no further batch may be planned after `committed` ones.
    fn is_finished(&mut self, committed: u64) -> bool {
        self.patience.drain.requested() || self.max_batches.is_some_and(|max| committed >= max)
    }

    /// Waits for the trigger, asks what is available, plans, makes the plan durable. `None` at the end of the run.
    fn plan_next(&mut self) -> Result<Option<PlannedBatch>, DriverError> {
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
        let Some(plan) = self.plan(batch, &mut hand)? else { return Ok(None) };
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
        let mut hand = Hand::default();
        if self.bounded.is_none() {
            self.await_trigger(&mut hand);
        }
        let following = self.plan(plan.batch.next(), &mut hand)?;
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
    fn advance(&mut self, plan: &PlanRecord) {
        self.inputs.advance(plan);
        self.last_time = Some(plan.time);
    }

    /// Available, then plan. `None` where a bounded run has nothing left, or the run was asked to drain.
    fn plan(&mut self, batch: BatchId, hand: &mut Hand) -> Result<Option<BatchPlan>, DriverError> {
        let began = Instant::now();
        hand.began = Some(began);
        let Some(available) = self.available()? else { return Ok(None) };
        hand.took.available = began.elapsed();
        let began = Instant::now();
        let record = self.decide(batch, &available, hand)?;
        hand.took.plan = began.elapsed();
        Ok(record.map(|record| BatchPlan::new(record, self.checkpoint.uuid())))
    }

    /// What can be read now. A bounded run asks once: it ends at what it found then.
    fn available(&mut self) -> Result<Option<Vec<Available>>, DriverError> {
        if self.bounded.is_some()
            && let Some(known) = self.reporter.known_available()
        {
            return Ok(Some(known));
        }
        let Some(available) = self.inputs.available(&mut self.patience)? else { return Ok(None) };
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
            if ranges.is_empty() && ranges.lost.is_empty() {
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
            let ends = Bound::Ends(&bounded.ends);
            if self.inputs.plan(available, &ends, self.interval)?.lost.is_empty() {
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

    /// What follows a durable commit.
    pub(super) fn committed(&mut self, committed: &CommittedBatch, following: Option<Hand>) -> Result<(), DriverError> {
        self.advance(&committed.plan);
        let identity = committed.plan.identity(self.checkpoint.uuid());
        for output in self.engine.outputs.iter_mut().filter(|output| self.hand.staged.contains(&output.name)) {
            output.sink.committed(&identity).map_err(|error| sink_failed(&output.name, &error))?;
            crash::point("commit: one sink told");
        }
        for (name, facts) in &committed.commit.sinks {
            self.known_sinks.insert(name.clone(), (facts.clone(), Some(committed.plan.batch)));
        }
        self.committed_batches += u64::from(!self.hand.recovering);
        self.patience.is_over();
        self.inputs.mirror();
        self.report(committed)?;
        self.learn(&committed.plan);
        self.hand = following.unwrap_or_default();
        Ok(())
    }

    /// Back-pressure learns from a batch.
    fn learn(&mut self, plan: &PlanRecord) {
        let now_ms = self.clock.now_ms();
        let processing_ms = self.hand.took.processing().as_millis() as i64;
        let since_tick_ms = self.hand.trigger.map_or(0, |trigger| now_ms - trigger.tick_ms);
        for (source, estimator) in self.inputs.estimators() {
            let own = plan.ranges.iter().zip(&self.hand.records).filter(|(range, _)| range.source == *source);
            estimator.complete(Completed {
                time_ms: now_ms,
                records: own.map(|(_, records)| records).sum(),
                processing_ms: processing_ms.max(1),
                scheduling_ms: (since_tick_ms - processing_ms).max(0),
            });
        }
    }

    /// Drops what no recovery, replay or retention setting can still need.
    pub(super) fn purge(&mut self) -> Result<(), DriverError> {
        let began = Instant::now();
        let now = BatchTime(self.clock.now_ms());
        let retention = &self.engine.job().retention;
        self.checkpoint.purge(retention, None, now).map_err(|error| checkpoint_failed(&error))?;
        self.reporter.purge_took(began.elapsed());
        Ok(())
    }

    /// The orderly end of a run.
    fn finish(mut self) -> Result<(), DriverError> {
        self.checkpoint.flush().map_err(|error| checkpoint_failed(&error))?;
        self.inputs.mirror();
        self.inputs.settle_mirrors();
        tracing::info!(batches = self.committed_batches, "stopped");
        Ok(())
    }
}

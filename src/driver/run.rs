//! One run of a job: recovery, then batch after batch until it is asked to stop or has reached its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use super::{
    clock::Clock,
    drain::Drain,
    engine::Engine,
    error::{Class, DriverError},
    inputs::{Bound, Inputs, Positions},
    options::{RunOptions, Until},
    progress::{Durations, Reporter},
    recovery::{self, checkpoint_failed},
    trigger::{Ticks, Trigger},
};
use crate::{
    checkpoint::Checkpoint,
    job::Job,
    model::{BatchId, BatchTime, TopicPartition},
    planner::{self, Interval, Position, WindowInput, end_offsets, next_catch_up},
    protocol::{BatchPlan, BoundedEnd, CommittedBatch, PlanRecord, PlannedBatch, PoisonCount, SinkFacts},
    source::Available,
    telemetry::{self, Bars},
};

/// Everything a run works with.
pub struct Run<'a> {
    pub(super) engine: Engine,
    pub(super) inputs: Inputs,
    pub(super) checkpoint: Checkpoint,
    pub(super) clock: &'a dyn Clock,
    pub(super) drain: Drain,
    pub(super) interval: Interval,
    pub(super) zero: BatchTime,
    pub(super) positions: Positions,
    pub(super) last_time: Option<BatchTime>,
    /// What sinks remembered, by output.
    pub(super) known_sinks: BTreeMap<String, (SinkFacts, Option<BatchId>)>,
    pub(super) reporter: Reporter,
    pub(super) staged: BTreeSet<usize>,
    /// Whether the batch in hand was planned by an earlier process.
    pub(super) recovering: bool,
    pub(super) trouble_since: Option<Instant>,
    pub(super) took: Durations,
    pub(super) last_result: Option<(Vec<u64>, Vec<PoisonCount>)>,
    pub(super) trigger: Option<Trigger>,
    pub(super) began: Option<Instant>,
    pub(super) bounded: Option<Bounded>,
    pub(super) committed_batches: u64,
    pub(super) max_batches: Option<u64>,
    pub(super) ticks: Ticks,
    /// Planned durations of the batch that was planned with the commit before it.
    pub(super) planning: Durations,
    /// Drops that the user accepted, for the next plan.
    pub(super) accepted: recovery::Accepted,
}

/// A bounded run: where it ends and which batch time comes next.
pub struct Bounded {
    pub ends: BTreeMap<TopicPartition, i64>,
    pub next_time: Option<BatchTime>,
    bar: Option<telemetry::Bar>,
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
    let mut drain = Drain::new(requests);
    let Some(mut run) = recovery::open(job, options, clock, &mut drain, bars)? else { return Ok(()) };
    let mut next = run.take_recovered();
    loop {
        let planned = match next.take() {
            Some(planned) => planned,
            None => match run.plan_next()? {
                Some(planned) => planned,
                None => break,
            },
        };
        let committed = run.one_batch(planned, Next::IfDue)?;
        next = committed.next;
        run.purge()?;
        if next.is_none() && run.is_finished() {
            break;
        }
    }
    run.finish()
}

impl Run<'_> {
    fn take_recovered(&mut self) -> Option<PlannedBatch> {
        None
    }

    /// Whether no further batch may be planned.
    fn is_finished(&mut self) -> bool {
        self.drain.requested() || self.max_batches.is_some_and(|max| self.committed_batches >= max)
    }

    /// Waits for the trigger, asks what is available, plans, makes the plan durable.
    fn plan_next(&mut self) -> Result<Option<PlannedBatch>, DriverError> {
        if self.is_finished() {
            return Ok(None);
        }
        if self.bounded.is_none() {
            let Some(trigger) = self.ticks.wait(self.last_time, self.clock, self.drain.channel()) else {
                self.drain.now();
                return Ok(None);
            };
            self.trigger = Some(trigger);
        }
        let mut took = Durations::default();
        let Some(plan) = self.plan(&mut took)? else { return Ok(None) };
        let began = Instant::now();
        let planned = plan.log_planned(&mut self.checkpoint).map_err(|error| checkpoint_failed(&error))?;
        took.log_planned = began.elapsed();
        self.planning = took;
        Ok(Some(planned))
    }

    /// The plan of the batch after the one in hand, where it is due before that one is committed.
    pub(super) fn plan_following(
        &mut self,
        plan: &PlanRecord,
        next: Next,
        took: &mut Durations,
    ) -> Result<Option<BatchPlan>, DriverError> {
        let last = self.max_batches.is_some_and(|max| self.committed_batches + 1 >= max);
        if next == Next::Never || last || self.recovering || self.bounded.is_none() || self.drain.requested() {
            return Ok(None);
        }
        self.advance(plan);
        let mut planning = Durations::default();
        let following = self.plan(&mut planning)?;
        took.available_next = planning.available;
        self.planning = planning;
        Ok(following)
    }

    /// Positions and batch time as they are once `plan` is committed. Done twice, it changes nothing more.
    fn advance(&mut self, plan: &PlanRecord) {
        for range in &plan.ranges {
            let of_source = self.positions.entry(range.source.clone()).or_default();
            of_source.insert(range.tp.clone(), Position::after(range));
        }
        for lost in plan.lost.iter().filter(|lost| lost.resumes_at.is_none()) {
            self.positions.entry(lost.source.clone()).or_default().remove(&lost.tp);
        }
        for tp in &plan.dropped_partitions {
            self.positions.values_mut().for_each(|of_source| {
                of_source.remove(tp);
            });
        }
        self.last_time = Some(plan.time);
    }

    /// Available, then plan. `None` where a bounded run has nothing left, or the run was asked to drain.
    fn plan(&mut self, took: &mut Durations) -> Result<Option<BatchPlan>, DriverError> {
        let began = Instant::now();
        self.began = Some(began);
        let Some(available) = self.ask()? else { return Ok(None) };
        took.available = began.elapsed();
        let began = Instant::now();
        let record = self.decide(&available)?;
        took.plan = began.elapsed();
        Ok(record.map(|record| BatchPlan::new(record, self.checkpoint.uuid())))
    }

    fn ask(&mut self) -> Result<Option<Vec<Available>>, DriverError> {
        if let Some(known) = self.reporter.known_available(self.bounded.is_some()) {
            return Ok(Some(known));
        }
        let Some(available) = self.inputs.available(&mut self.drain)? else { return Ok(None) };
        if !self.inputs.resolve_starts(&available, &self.positions, &mut self.drain)? {
            return Ok(None);
        }
        self.reporter.remember_available(&available);
        Ok(Some(available))
    }

    /// The next batch as a record; pure but for what it remembers of a bounded run.
    fn decide(&mut self, available: &[Available]) -> Result<Option<PlanRecord>, DriverError> {
        let time = match self.time_of_next(available)? {
            Some(time) => time,
            None => return Ok(None),
        };
        let catch_up = self.catch_up_time(time);
        let ranges = match (&self.bounded, catch_up) {
            (_, Some(_)) => self.empty_ranges(available)?,
            (Some(bounded), None) => {
                self.inputs.plan(available, &self.positions, &Bound::Ends(&bounded.ends), self.interval)?
            }
            (None, None) => self.inputs.plan(available, &self.positions, &Bound::Live, self.interval)?,
        };
        if self.bounded.is_some() && catch_up.is_none() && ranges.is_empty() && ranges.lost.is_empty() {
            self.checkpoint.set_bounded_end(None);
            return Ok(None);
        }
        if let (Some(bounded), None) = (&mut self.bounded, catch_up) {
            bounded.next_time = Some(self.interval.following(time));
        }
        for lost in &ranges.lost {
            tracing::warn!(lost = %lost, "offsets are lost and skipped");
        }
        self.reporter.planned(catch_up.is_some());
        let accepted = std::mem::take(&mut self.accepted);
        let mut bases = self.engine.bases(&self.known_sinks)?;
        for (name, base) in &bases {
            self.known_sinks.insert(name.clone(), (base.clone(), None));
        }
        bases.retain(|_, base| !base.0.is_null());
        Ok(Some(PlanRecord {
            batch: self.next_batch(),
            time: catch_up.unwrap_or(time),
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

    fn next_batch(&self) -> BatchId {
        self.reporter.in_flight().or(self.checkpoint.committed()).map_or(BatchId::FIRST, BatchId::next)
    }

    /// The batch time that is due now.
    fn time_of_next(&mut self, available: &[Available]) -> Result<Option<BatchTime>, DriverError> {
        let Some(bounded) = &mut self.bounded else {
            return Ok(self.trigger.map(|trigger| trigger.time));
        };
        if let Some(time) = bounded.next_time {
            return Ok(Some(time));
        }
        if bounded.ends.is_empty() {
            bounded.ends = available.iter().flat_map(|source| end_offsets(&source.partitions)).collect();
            let offsets = bounded.ends.iter().map(|(tp, end)| (tp.clone(), *end)).collect();
            self.checkpoint.set_bounded_end(Some(BoundedEnd { offsets }));
        }
        let batches = self.inputs.batches_needed(&self.positions, &bounded.ends);
        bounded.bar = Some(self.reporter.bar(batches));
        if batches == 0 {
            self.checkpoint.set_bounded_end(None);
            return Ok(None);
        }
        let time = self.interval.bounded_first_time(self.last_time, self.clock.now_ms(), batches);
        bounded.next_time = Some(time);
        Ok(Some(time))
    }

    /// A skipped batch time before `next` at which a window still holds records; it runs first, with empty ranges.
    fn catch_up_time(&self, next: BatchTime) -> Option<BatchTime> {
        let previous = self.last_time?;
        let windows: Vec<WindowInput> = self.engine.windows();
        next_catch_up(self.zero, previous, next, &windows)
    }

    /// Every partition with nothing to read: a batch at a skipped time.
    fn empty_ranges(&self, available: &[Available]) -> Result<planner::Ranges, DriverError> {
        let mut ranges = self.inputs.plan(available, &self.positions, &Bound::Live, self.interval)?;
        ranges.ranges.iter_mut().for_each(|range| range.until = range.start);
        ranges.lost.clear();
        // A partition without a committed position keeps its start for the batch that reads it.
        ranges.ranges.retain(|range| {
            self.positions.get(&range.source).is_some_and(|of_source| of_source.contains_key(&range.tp))
        });
        Ok(ranges)
    }

    /// What follows a durable commit.
    pub(super) fn committed(&mut self, committed: &CommittedBatch) -> Result<(), DriverError> {
        let following = committed.next.is_some();
        self.advance(&committed.plan);
        for (name, facts) in &committed.commit.sinks {
            self.known_sinks.insert(name.clone(), (facts.clone(), Some(committed.plan.batch)));
        }
        self.committed_batches += u64::from(!self.recovering);
        self.trouble_since = None;
        self.reporter.settled(following.then_some(committed.plan.batch.next()));
        self.report(committed)?;
        self.recovering = false;
        self.learn(committed);
        Ok(())
    }

    /// Back-pressure learns from a batch.
    fn learn(&mut self, committed: &CommittedBatch) {
        let Some((records, _)) = &self.last_result else { return };
        let (now_ms, processing) = (self.clock.now_ms(), self.took.processing());
        let scheduling_ms = self.trigger.map_or(0, |trigger| (now_ms - trigger.tick_ms).max(0));
        for (source, estimator) in self.inputs.estimators() {
            let own = committed.plan.ranges.iter().zip(records).filter(|(range, _)| range.source == *source);
            estimator.complete(planner::rate::Completed {
                time_ms: now_ms,
                records: own.map(|(_, records)| records).sum(),
                processing_ms: (processing.as_millis() as i64).max(1),
                scheduling_ms: (scheduling_ms - processing.as_millis() as i64).max(0),
            });
        }
    }

    /// Drops what no recovery, replay or retention setting can still need.
    fn purge(&mut self) -> Result<(), DriverError> {
        let began = Instant::now();
        let retention = self.engine.job().retention.clone();
        let now = BatchTime(self.clock.now_ms());
        self.checkpoint.purge(&retention, None, now).map_err(|error| checkpoint_failed(&error))?;
        self.reporter.purge_took(began.elapsed());
        Ok(())
    }

    /// The orderly end of a run.
    fn finish(mut self) -> Result<(), DriverError> {
        self.checkpoint.flush().map_err(|error| checkpoint_failed(&error))?;
        if let Some(Bounded { bar: Some(bar), .. }) = self.bounded.take() {
            drop(bar);
        }
        tracing::info!(batches = self.committed_batches, "stopped");
        Ok(())
    }

    pub(super) fn advance_bar(&mut self, rate: f64) {
        if let Some(Bounded { bar: Some(bar), .. }) = &self.bounded {
            bar.advance(rate);
        }
    }
}

/// The bounded part of a run, from its options and an interrupted run before it.
pub(super) fn bounded(until: Until, stored: Option<&BoundedEnd>, previous: Option<BatchTime>, interval: Interval) -> Option<Bounded> {
    if until != Until::CaughtUp {
        return None;
    }
    let resumed = stored.zip(previous);
    Some(Bounded {
        ends: stored.map(|end| end.offsets.iter().cloned().collect()).unwrap_or_default(),
        next_time: resumed.map(|(_, previous)| interval.following(previous)),
        bar: None,
    })
}

/// Names of sources, for messages.
pub(super) fn source_names(job: &Job) -> Vec<Arc<str>> {
    job.sources.iter().map(|source| source.name.clone()).collect()
}

/// A run that has been idle for less than this is not worth a message.
pub(super) const QUIET: Duration = Duration::from_millis(1);

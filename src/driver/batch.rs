//! The life of a batch.
//!
//! ```text
//! trigger > available > plan > log planned > execute > stage > publish > log committed > purge
//! ```

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    dead_letters,
    engine::Delivers,
    error::{Class, DriverError},
    failed::{batch_failed, checkpoint_failed, sink_failed, source_failed},
    in_hand::{Hand, Next, Run},
    patience::{Peer, stopped_amid_batch},
    rewind::target,
    snapshot,
};
use crate::{
    crash,
    executor::{BatchFailure, BatchInput, Executed, Held},
    model::{BatchIdentity, OffsetRange, digest::Digest},
    operator::output::Delivered,
    planner::{halve, readable_rest, rest_after_cut},
    protocol::{
        BatchPlan, CommitRecord, CommittedBatch, Exposure, Failed, Holds, OutputRecord, PlanRecord, PlannedBatch,
        PoisonCount, PublishPermit, StateDelta, StateWrites,
    },
    sink::{Output, Published, SinkErrorKind},
    source::{SourceError, SourceErrorKind},
};

/// How often a batch is tried again in one process where its failure is transient.
const RETRIES: u32 = 3;
const FIRST_BACK_OFF: Duration = Duration::from_millis(200);

/// What staging leaves for the commit.
#[derive(Debug)]
pub struct StagedResult {
    pub outputs: Vec<(String, String, Digest)>,
    pub records: Vec<u64>,
    pub poison: Vec<PoisonCount>,
    pub deltas: Vec<(usize, Vec<u8>)>,
}

impl Run<'_> {
    /// One batch, from its durable plan to its durable commit. Gives the next batch too, where that was due already.
    pub fn one_batch(&mut self, planned: PlannedBatch, next: Next) -> Result<CommittedBatch, DriverError> {
        let mut planned = planned;
        let mut tries = 0;
        loop {
            tries += 1;
            let began = Instant::now();
            let failed = match self.attempt(planned, next)? {
                Attempt::Committed(committed) => return Ok(*committed),
                Attempt::Failed(failed) => failed,
            };
            self.engine.outputs.iter_mut().for_each(|output| output.sink.discard());
            planned = self.mend(*failed, tries, began)?;
        }
    }

    fn attempt(&mut self, planned: PlannedBatch, next: Next) -> Result<Attempt, DriverError> {
        self.inputs.assign(&planned.plan().ranges)?;

        crash::point("execute: begun");
        let began = Instant::now();
        let executed =
            match planned.execute(|plan| self.execute(plan).and_then(|executed| self.confirmed(plan, executed))) {
                Ok(executed) => executed,
                Err(Failed { batch, error }) => return Ok(Attempt::failed(batch, Trouble::Execution(error))),
            };
        self.hand.took.execute = began.elapsed();
        crash::point("execute: done");

        let began = Instant::now();
        let staged = match executed.stage(|identity, result| self.stage(identity, result)) {
            Ok(staged) => staged,
            Err(Failed { batch, error }) => return Ok(Attempt::failed(batch, error)),
        };
        self.hand.took.stage = began.elapsed();
        crash::point("stage: done");

        let began = Instant::now();
        let published = match staged.publish(|permit, _| self.publish(permit)) {
            Ok(published) => published,
            Err(Failed { batch, error }) => return Ok(Attempt::failed(batch, error)),
        };
        self.hand.took.publish = began.elapsed();
        crash::point("publish: done");

        // What is published is committed, whatever becomes of the batch behind it.
        let (planned, failed) = match self.plan_following(published.plan(), next) {
            Ok(planned) => (planned, None),
            Err(error) => (None, Some(error)),
        };
        let (following, hand): (Option<BatchPlan>, Option<Hand>) = planned.unzip();
        let began = Instant::now();
        let (commit, writes) = self.commit_record(published.plan(), published.result())?;
        let committed = published
            .log_committed(commit, writes, following, &mut self.checkpoint)
            .map_err(|error| checkpoint_failed(&error))?;
        self.hand.took.log_committed = began.elapsed();
        self.committed(&committed, hand)?;
        if committed.plan.replaced == 0 {
            self.inputs.grow();
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Attempt::Committed(Box::new(committed))),
        }
    }

    /// Reads the ranges and runs the stages; no effect outside memory.
    fn execute(&self, plan: &PlanRecord) -> Result<Executed, BatchFailure> {
        self.engine.executor.execute(&BatchInput {
            time: plan.time,
            zero: self.zero,
            sources: &self.inputs.sources,
            ranges: &plan.ranges,
            states: &self.engine.states,
        })
    }

    /// What was executed, of the topics that the plan is of.
    fn confirmed(&self, plan: &PlanRecord, executed: Executed) -> Result<Executed, BatchFailure> {
        self.inputs.confirm(&plan.ranges).map(|()| executed)
    }

    /// Every sink writes where nobody looks.
    fn stage(&mut self, identity: &BatchIdentity, executed: Executed) -> Result<StagedResult, Trouble> {
        let job = self.engine.executor.job();
        let mut outputs = Vec::new();
        self.hand.staged.clear();
        let mut delivered: HashMap<usize, Delivered> = executed.outputs.into_iter().collect();
        for output in &mut self.engine.outputs {
            let staged = match &output.of {
                Delivers::Step(step) => match delivered.remove(step) {
                    Some(delivered) => {
                        Output { name: output.name.clone(), content: delivered.content, digest: delivered.digest }
                    }
                    // Its stream yields nothing at this time.
                    None => continue,
                },
                Delivers::DeadLetters(to) => {
                    dead_letters::output(job, identity.batch, identity.time, to, &executed.dead_letters)
                }
            };
            outputs.push((output.name.clone(), output.settings.clone(), staged.digest));
            output.sink.stage(identity, staged).map_err(|error| Trouble::Sink(output.name.clone(), error))?;
            self.hand.staged.insert(output.name.clone());
            crash::point("stage: one output");
        }
        Ok(StagedResult { outputs, records: executed.records, poison: executed.poison, deltas: executed.deltas })
    }

    /// Each sink is asked; those that have not published do, once.
    fn publish(&mut self, permit: &PublishPermit) -> Result<(), Trouble> {
        let mut outputs: Vec<_> =
            self.engine.outputs.iter_mut().filter(|output| self.hand.staged.contains(&output.name)).collect();
        outputs.sort_by_key(|output| output.sink.publication_order());
        for output in outputs {
            let trouble = |error| Trouble::Sink(output.name.clone(), error);
            let published = output.sink.published(permit.identity()).map_err(trouble)?;
            crash::point("publish: asked");
            if published != Published::Whole {
                self.hand.tried.insert(output.name.clone());
                output.sink.publish(permit).map_err(trouble)?;
                crash::point("publish: one output");
            }
        }
        Ok(())
    }

    /// What the commit makes durable. The states take the batch's changes first, so that snapshots show them.
    fn commit_record(
        &mut self,
        plan: &PlanRecord,
        result: &StagedResult,
    ) -> Result<(CommitRecord, StateWrites), DriverError> {
        let engine = &mut self.engine;
        let mut writes = StateWrites::default();
        for (step, delta) in &result.deltas {
            let name = engine.state_name(*step);
            let (Some(state), Some(rolling)) = (engine.states.get_mut(step), engine.rolling.get_mut(step)) else {
                continue;
            };
            state.apply(delta).map_err(|error| {
                DriverError::new(Class::Failed, format!("the state of step {name} does not take its own change"))
                    .detail(format!("{error}."))
            })?;
            let mut blob = engine.initial.remove(step).unwrap_or_default();
            blob.extend_from_slice(delta);
            let due = rolling.due(blob.len(), &**state);
            if !blob.is_empty() || !rolling.begun {
                rolling.begun = true;
                writes.deltas.push(StateDelta { state: name.clone(), blob });
            }
            writes.snapshots.extend(snapshot::slots(&name, &**state, due));
        }
        // Also of a step that yields nothing at this time: from this batch on it is known by this name alone.
        let whole: Vec<usize> =
            engine.rolling.iter().filter(|(_, rolling)| rolling.whole).map(|(&step, _)| step).collect();
        for step in whole {
            let name = engine.state_name(step);
            let (Some(state), Some(rolling)) = (engine.states.get(&step), engine.rolling.get_mut(&step)) else {
                continue;
            };
            rolling.begun = true;
            writes.deltas.push(StateDelta { state: name.clone(), blob: Vec::new() });
            writes.snapshots.extend(snapshot::slots(&name, &**state, rolling.due(0, &**state)));
        }
        let outputs = result.outputs.iter().map(|(name, settings, digest)| OutputRecord {
            name: name.clone(),
            settings: settings.clone(),
            digest: *digest,
        });
        let staged = &self.hand.staged;
        let sinks = engine.outputs.iter().filter(|output| staged.contains(&output.name));
        let commit = CommitRecord {
            batch: plan.batch,
            time: plan.time,
            timeline: plan.timeline,
            run_epoch: self.checkpoint.run_epoch(),
            outputs: outputs.collect(),
            sinks: sinks.filter_map(|output| Some((output.name.clone(), output.sink.facts()?))).collect(),
            records_read: result.records.iter().sum(),
            poison: result.poison.clone(),
            durations_us: self.hand.took.by_verb_us(),
            state: Vec::new(),
            committed_at_ms: self.clock.now_ms(),
        };
        self.hand.records.clone_from(&result.records);
        Ok((commit, writes))
    }

    /// After a failed attempt: another try, a smaller plan, or the end.
    fn mend(&mut self, failed: FailedAttempt, tries: u32, began: Instant) -> Result<PlannedBatch, DriverError> {
        let FailedAttempt { batch, trouble } = failed;
        match &trouble {
            Trouble::Execution(BatchFailure::Memory { what, .. }) if *what == Held::Batch => {
                self.halve(batch, &trouble)
            }
            Trouble::Execution(BatchFailure::Source { range, error }) => match &error.kind {
                SourceErrorKind::Recreated | SourceErrorKind::DataLoss { .. } => {
                    self.read_the_rest(batch, range, &trouble)
                }
                SourceErrorKind::Unreachable => {
                    self.outlast_source(&range.source, error, began)?;
                    Ok(batch)
                }
                _ => Err(self.explain(&batch, &trouble)),
            },
            Trouble::Sink(name, error) if error.kind == SinkErrorKind::Unreachable => {
                let peer = Peer::output(name, self.engine.job().unreachable_limit());
                self.patience.outlast_batch(peer, began, sink_failed(name, error))?;
                Ok(batch)
            }
            Trouble::Sink(name, error) if error.kind == SinkErrorKind::Transient && tries <= RETRIES => {
                let error = sink_failed(name, error).on_one_line();
                let attempt = format_args!("{tries} of {RETRIES}");
                tracing::warn!(batch = batch.plan().batch.0, %attempt, %error, "trying the batch again");
                let back_off = FIRST_BACK_OFF * 2u32.pow(tries);
                if self.patience.drain.wait(back_off) {
                    return Err(self.explain(&batch, &trouble));
                }
                Ok(batch)
            }
            _ => Err(self.explain(&batch, &trouble)),
        }
    }

    /// Brokers went away while a batch was read: waits until they answer again, within the limit.
    fn outlast_source(&mut self, source: &str, error: &SourceError, began: Instant) -> Result<(), DriverError> {
        self.inputs.forget_assignment();
        let peer = self.inputs.peer(source);
        self.patience.outlast_batch(peer, began, source_failed(error))?;
        let available = self.inputs.available(&mut self.patience)?.ok_or_else(|| stopped_amid_batch(peer))?;
        self.reporter.renew_available(&available);
        Ok(())
    }

    /// A batch over the memory limit: half of each range, durably, if none of it has been published.
    fn halve(&mut self, mut batch: PlannedBatch, trouble: &Trouble) -> Result<PlannedBatch, DriverError> {
        self.ask_sinks(&mut batch)?;
        let Some(ranges) = halve(&batch.plan().ranges) else { return Err(self.explain(&batch, trouble)) };
        if batch.exposure() != Exposure::None {
            return Err(self.published_and_too_large(&batch, trouble));
        }
        tracing::warn!(batch = batch.plan().batch.0, reason = %trouble.text(), "reading half of the batch");
        self.inputs.shrink_to(&ranges);
        self.replace(batch, |plan| plan.ranges = ranges)
    }

    /// Offsets of the plan are gone: the readable rest, durably, where the job skips losses.
    fn read_the_rest(
        &mut self,
        mut batch: PlannedBatch,
        range: &OffsetRange,
        trouble: &Trouble,
    ) -> Result<PlannedBatch, DriverError> {
        self.ask_sinks(&mut batch)?;
        if batch.exposure() != Exposure::None {
            return Err(self.published_and_lost(&batch, trouble));
        }
        if !self.inputs.skips_data_loss(&range.source) {
            return Err(self.explain(&batch, trouble));
        }
        self.inputs.forget_assignment();
        let peer = self.inputs.peer(&range.source);
        let available = self.inputs.available(&mut self.patience)?.ok_or_else(|| stopped_amid_batch(peer))?;
        self.reporter.renew_available(&available);
        let now = |range: &OffsetRange| self.inputs.find(&available, range).cloned();
        let cut = || match trouble {
            Trouble::Execution(BatchFailure::Source { error, .. }) => match &error.kind {
                SourceErrorKind::DataLoss { latest, .. } => {
                    rest_after_cut(&batch.plan().ranges, range, *latest, &now(range)?)
                }
                _ => None,
            },
            _ => None,
        };
        let Some((rest, lost)) = readable_rest(&batch.plan().ranges, now).or_else(cut) else {
            return Err(self.explain(&batch, trouble));
        };
        let replaced = self.replace(batch, |plan| {
            plan.ranges = rest;
            plan.lost.extend(lost.iter().cloned());
        })?;
        for loss in &lost {
            tracing::warn!(batch = replaced.plan().batch.0, lost = %loss, "offsets are lost and skipped");
        }
        Ok(replaced)
    }

    /// A batch that outputs hold in part can neither be read again nor be planned anew.
    fn published_and_lost(&self, batch: &PlannedBatch, trouble: &Trouble) -> DriverError {
        let back = format!("`kstream rewind JOB --to {} --leave-published`", target(batch.plan().batch.previous()));
        self.explain(batch, trouble)
            .detail("Outputs may hold some of the batch already, so its plan stands.")
            .hint(format!("To go on without the lost records: {back}, then run with on_data_loss = \"skip\"."))
    }

    /// A batch that an earlier process may have given to somebody, and that does not fit in memory, is not halved.
    fn published_and_too_large(&self, batch: &PlannedBatch, trouble: &Trouble) -> DriverError {
        let to = target(batch.plan().batch.previous());
        let error = DriverError { detail: Vec::new(), ..self.explain(batch, trouble) };
        error.detail("Outputs may hold some of the batch already, so its plan stands, and half of it is no way on.").hint(
            format!(
                "Raise memory_limit; or take the plan back with `kstream rewind JOB --to {to}` (`--leave-published` where an \
                 output cannot be taken back), and the next run plans it anew."
            ),
        )
    }

    fn replace(
        &mut self,
        batch: PlannedBatch,
        change: impl FnOnce(&mut PlanRecord),
    ) -> Result<PlannedBatch, DriverError> {
        let mut plan = batch.plan().clone();
        change(&mut plan);
        batch.replace(plan, &mut self.checkpoint).map_err(|failed| {
            let mut error = DriverError::new(Class::Failed, failed.error.to_string());
            if let crate::protocol::ReplaceError::Store(store) = &failed.error {
                error = checkpoint_failed(store);
            }
            error
        })
    }

    /// Whether any sink shows something of a batch that an earlier process may have published.
    fn ask_sinks(&mut self, batch: &mut PlannedBatch) -> Result<(), DriverError> {
        if batch.exposure() == Exposure::None {
            return Ok(());
        }
        let identity = batch.identity();
        let limit = self.engine.job().unreachable_limit();
        let mut answers = Vec::new();
        for output in &mut self.engine.outputs {
            let peer = Peer::output(&output.name, limit);
            answers.push(match self.patience.ask_output(peer, || output.sink.holds(&identity))? {
                // Of a batch that this process planned, only an output it has tried can hold something.
                Holds::Unknown if !self.hand.recovering && !self.hand.tried.contains(&output.name) => Holds::Nothing,
                answer => answer,
            });
        }
        batch.asked(answers);
        Ok(())
    }

    fn explain(&self, batch: &PlannedBatch, trouble: &Trouble) -> DriverError {
        let id = batch.plan().batch;
        match trouble {
            Trouble::Sink(name, error) => sink_failed(name, error),
            Trouble::Execution(failure) => batch_failed(id, failure, self.engine.job()),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Trouble {
    Execution(BatchFailure),
    Sink(String, crate::sink::SinkError),
}

impl Trouble {
    fn text(&self) -> String {
        match self {
            Trouble::Execution(failure) => failure.to_string(),
            Trouble::Sink(name, error) => format!("output {name}: {error}"),
        }
    }
}

enum Attempt {
    Committed(Box<CommittedBatch>),
    Failed(Box<FailedAttempt>),
}

struct FailedAttempt {
    batch: PlannedBatch,
    trouble: Trouble,
}

impl Attempt {
    fn failed(batch: PlannedBatch, trouble: Trouble) -> Attempt {
        Attempt::Failed(Box::new(FailedAttempt { batch, trouble }))
    }
}

//! From a checkpoint directory to a run that is ready for its next batch.
//!
//! Facts are read first and nothing is written until the decision is not "refuse": look at the facts, compare the job
//! with the one that ran last, open sources, sinks and states, then take the batch in flight to its end.

use std::{collections::BTreeMap, path::Path};

use super::{
    bounded::Bounded,
    clock::Clock,
    dead_letters,
    drain::Drain,
    edges::Edges,
    edited::{Accepted, edited},
    elsewhere::{self, About},
    engine::{Engine, Origins},
    error::{Class, DriverError},
    failed::checkpoint_failed,
    in_hand::{Hand, Next, Run},
    inputs::{Inputs, Positions},
    letter_files::LetterFiles,
    options::{RunOptions, Until},
    patience::Patience,
    recorded,
    reporter::Reporter,
    rewind,
    stored::{hold, inspect, inspect_before_lock, job_of, last_job, positions, reading_job, standing, state_image},
    trigger::Ticks,
};
use crate::{
    checkpoint::{self, Checkpoint, Lock, NewCheckpoint},
    crash,
    job::{Job, SourceKind, SourceSpec},
    model::{BatchId, BatchTime},
    planner::Interval,
    protocol::{Decision, Expected, Facts, JobTextHash, PlanRecord, PlannedBatch, decide},
    telemetry::Bars,
};

/// What surrounds a run and outlives its job.
pub struct Around<'a, 'b> {
    pub clock: &'a dyn Clock,
    pub drain: Drain,
    pub bars: &'b Bars,
    pub edges: &'b dyn Edges,
}

/// Opens everything and finishes a batch in flight.
pub fn open<'a>(job: Job, options: &RunOptions, around: Around<'a, '_>) -> Result<Run<'a>, DriverError> {
    let clock = around.clock;
    let dir = job.absolute(&job.checkpoint_dir);
    let facts = inspect_before_lock(&dir, &job)?;
    let lock = hold(&dir, clock.now_ms())?;
    // Another process may have worked on it between the look and the lock.
    let mut facts = inspect(&dir, &job)?.or(facts);
    let before = match &mut facts {
        Some(facts) => Before::look(&dir, facts, &job, options)?,
        None => Before::default(),
    };
    if options.start.is_some() {
        check_start(&job, facts.as_ref(), &dir)?;
    }
    let mut run = Run::open(job, options, around, lock, facts, before.accepted)?;
    if let Some(last) = &before.last {
        run.inputs.ran_before(last);
    }
    Ok(run)
}

/// What the checkpoint tells of the runs before.
#[derive(Default)]
struct Before {
    /// The job of the last plan.
    last: Option<Job>,
    /// What the user lets the edits since then change.
    accepted: Accepted,
}

impl Before {
    /// Refuses what does not fit `job`. Nothing is written.
    fn look(dir: &Path, facts: &mut Facts, job: &Job, options: &RunOptions) -> Result<Before, DriverError> {
        let archive = checkpoint::Archive::open(dir).map_err(|error| checkpoint_failed(&error))?;
        check_in_flight(&archive, facts, job)?;
        if let Some(unfinished) = &facts.rewind {
            rewind::check_left(unfinished, &archive, job)?;
        }
        let Some(last) = last_job(&archive, facts, job)? else { return Ok(Before::default()) };
        LetterFiles::of(&archive, facts, job)?.know_by_each(&mut facts.sinks);
        let accepted = edited(dir, &last, job, options)?;
        Ok(Before { last: Some(last), accepted })
    }
}

/// Whether there is anything for `--start` to say.
fn check_start(job: &Job, facts: Option<&Facts>, dir: &Path) -> Result<(), DriverError> {
    if facts.is_some_and(|facts| !facts.batches.is_empty()) {
        return Err(DriverError::new(Class::Usage, "--start is only for a job without checkpoint")
            .detail(format!("The checkpoint in {} has batches; the job continues after them.", dir.display()))
            .hint("Leave --start out, or set another checkpoint_dir.".to_owned()));
    }
    let is_queue = |source: &SourceSpec| matches!(source.kind, SourceKind::Queue { .. });
    if job.sources.iter().all(is_queue) {
        return Err(DriverError::new(Class::Usage, "--start is for kafka sources, and the job has none")
            .hint("Leave --start out: a queue is read from its first line.".to_owned()));
    }
    Ok(())
}

/// Whether the batch in flight can be read again from the files it was planned on.
fn check_in_flight(archive: &checkpoint::Archive, facts: &Facts, job: &Job) -> Result<(), DriverError> {
    let Some(plan) = facts.in_flight() else { return Ok(()) };
    let planned = job_of(archive, &plan.job_text, job)?;
    elsewhere::check(&planned, job, About::FinishingABatch)?;
    if facts.head_committed.is_none() {
        recorded::check_initial(&planned)?;
    }
    recorded::check_queues(&planned, job, &plan.ranges, plan.batch)
}

impl<'a> Run<'a> {
    /// Opens sources, checkpoint, states and sinks, and takes a batch in flight to its end.
    fn open(
        job: Job,
        options: &RunOptions,
        around: Around<'a, '_>,
        lock: Lock,
        facts: Option<Facts>,
        mut accepted: Accepted,
    ) -> Result<Run<'a>, DriverError> {
        let Around { clock, drain, bars, edges } = around;
        let now_ms = clock.now_ms();
        let interval = Interval::new(job.batch_interval_ms);
        let facts = facts.unwrap_or_else(|| no_facts(&job, interval.zero(interval.first_time(now_ms))));
        let text = job.text();
        let job_text = JobTextHash::of(text.as_bytes());
        let planned = planned_by_another(&facts, &lock, &job, &job_text)?;
        let start = options.start.clone().map(|start| start.resolve(now_ms, &job.time_zone));
        let mut patience = Patience::new(drain);
        let mut brokers = Vec::new();
        let mut open_inputs = |job: &Job, positions: Positions| -> Result<Inputs, DriverError> {
            let mut opened = edges.sources(job, &positions)?;
            brokers.append(&mut opened.brokers);
            recorded::check_lengths(job, &mut opened.sources, &positions)?;
            let mut inputs = Inputs::new(job, opened.sources, positions, start.as_ref(), now_ms);
            inputs.watched_by(&patience);
            Ok(inputs)
        };
        // The batch in flight reads what the job read that planned it.
        let in_flight = match &planned {
            Some((planned, _)) => Some(open_inputs(&reading_job(planned, &job), positions(&facts))?),
            None => None,
        };
        let mut stored = positions(&facts);
        let given_up = accepted.give_up(&job, &mut stored);
        let inputs = open_inputs(&job, stored)?;
        let logical = inputs.on_logical_clock();
        let (inputs, next_inputs) = match in_flight {
            Some(in_flight) => (in_flight, Some(inputs)),
            None => {
                accepted.note(given_up);
                (inputs, None)
            }
        };
        dead_letters::check_topics(&job, &mut patience)?;
        let in_hand = planned.unwrap_or_else(|| (job.clone(), job_text.clone()));
        let engine = engine_in_hand(in_hand, options, &lock, &facts, &accepted, edges, &mut patience)?;
        // Nothing has refused: from here on the checkpoint is written.
        let mut checkpoint = if facts.checkpoint.is_empty() {
            let new = NewCheckpoint {
                job: &job.name,
                batch_interval_ms: job.batch_interval_ms,
                zero: facts.zero,
                created_at_ms: now_ms,
            };
            Checkpoint::create(lock, &new)
        } else {
            Checkpoint::resume(lock, &facts)
        }
        .map_err(|error| checkpoint_failed(&error))?;
        checkpoint.remember_job_text(&text);
        let last_time = facts.committed().map(|commit| commit.time);
        let zero = interval.zero_from(facts.zero, facts.last_time().unwrap_or(facts.zero));
        if (facts.batch_interval_ms, facts.zero) != (job.batch_interval_ms, zero) {
            checkpoint.set_grid(job.batch_interval_ms, zero);
        }
        if !logical
            && let Some(ahead_ms) = last_time.map(|last| last.0 - now_ms).filter(|ahead_ms| *ahead_ms > interval.ms())
        {
            tracing::warn!(ahead_ms, "batch times are ahead of the clock; the distance stays");
        }
        let bounded = match options.until {
            _ if logical => Some(Bounded::by_logical_clock()),
            Until::CaughtUp => Some(Bounded::from_stored(facts.bounded_end.as_ref(), &job)),
            Until::Stopped => None,
        };
        let ticks = Ticks::new(interval, facts.last_time(), clock);
        let mut run = Run {
            engine,
            inputs,
            checkpoint,
            clock,
            patience,
            interval,
            zero: facts.zero,
            last_time,
            known_sinks: facts.sinks.clone(),
            reporter: Reporter::new(options.progress.as_deref(), bars)?,
            hand: Hand::default(),
            bounded,
            committed_batches: 0,
            max_batches: options.max_batches,
            ticks,
            accepted,
            _brokers: brokers,
        };
        tracing::info!(
            job = %job.name,
            checkpoint = %run.checkpoint.uuid(),
            run_epoch = run.checkpoint.run_epoch().0,
            next = Run::following(facts.head_committed).0,
            "started"
        );
        run.engine.settle_sinks(&mut run.patience)?;
        run.settle(facts, &job, &job_text, options, edges)?;
        run.zero = zero;
        if let Some(inputs) = next_inputs {
            run.go_on_with(inputs, &job, &job_text, options, edges)?;
        }
        Ok(run)
    }

    /// Finishes what an earlier process left: a rewind, a batch in flight.
    fn settle(
        &mut self,
        facts: Facts,
        job: &Job,
        job_text: &JobTextHash,
        options: &RunOptions,
        edges: &dyn Edges,
    ) -> Result<(), DriverError> {
        if let Some(record) = &facts.rewind {
            rewind::finish_left(record, job, &mut self.checkpoint, &facts.sinks, edges)?;
            self.engine.inspect_sinks(&standing(&facts, options.assume), &mut self.patience)?;
        }
        let facts = Facts { rewind: None, ..facts };
        let Decision::ReExecute(planned) = decide(facts, Expected { job: &job.name }) else { return Ok(()) };
        let is_edited = self.engine.job_text != *job_text;
        let plan = planned.plan().clone();
        self.recover(planned).map_err(|error| if is_edited { as_planned(error, &plan, job) } else { error })
    }

    /// The batch in flight was that of another job: from here on it is `job`, with `inputs`.
    fn go_on_with(
        &mut self,
        mut inputs: Inputs,
        job: &Job,
        job_text: &JobTextHash,
        options: &RunOptions,
        edges: &dyn Edges,
    ) -> Result<(), DriverError> {
        let archive = self.checkpoint.archive();
        let mut facts = archive.facts().map_err(|error| checkpoint_failed(&error))?;
        LetterFiles::of(archive, &facts, job)?.know_by_each(&mut facts.sinks);
        inputs.positions = positions(&facts);
        let given_up = self.accepted.give_up(job, &mut inputs.positions);
        self.accepted.note(given_up);
        self.inputs = inputs;
        self.known_sinks.clone_from(&facts.sinks);
        // What the outputs of the old job hold open is closed before those of the new one open it.
        self.engine.outputs.clear();
        let given = (job.clone(), job_text.clone());
        let origins = self.accepted.origins();
        self.engine = engine(given, options, Some(archive), (&facts, origins), edges, &mut self.patience)?;
        Ok(())
    }

    fn recover(&mut self, planned: PlannedBatch) -> Result<(), DriverError> {
        tracing::info!(batch = planned.plan().batch.0, "finishing the batch in flight");
        self.hand.recovering = true;
        crash::point("recover: decided");
        self.one_batch(planned, Next::Never)?;
        crash::point("recover: done");
        self.purge()
    }
}

/// A batch in flight that fails as the job was: an edit of the job does not mend it.
fn as_planned(error: DriverError, plan: &PlanRecord, job: &Job) -> DriverError {
    if error.class != Class::Failed {
        return error;
    }
    let batch = plan.batch;
    let to = rewind::target(batch.previous());
    let again = match rewind::planned_start(plan, job).filter(|_| batch == BatchId::FIRST) {
        Some(start) => format!(", and with `--start {start}` where it began"),
        None => String::new(),
    };
    error.detail(format!("Batch {batch} was planned before the job was edited, and runs as the job was then.")).hint(
        format!(
            "Take its plan back with `kstream rewind JOB --to {to}` (`--leave-published` where an output cannot be taken back); \
             the next run plans it with the job as it is now{again}."
        ),
    )
}

/// The job that planned the batch in flight, where that is another text than the one at hand.
fn planned_by_another(
    facts: &Facts,
    lock: &Lock,
    job: &Job,
    job_text: &JobTextHash,
) -> Result<Option<(Job, JobTextHash)>, DriverError> {
    let Some(plan) = facts.in_flight().filter(|plan| plan.job_text != *job_text) else { return Ok(None) };
    let archive = checkpoint::Archive::open(lock.dir()).map_err(|error| checkpoint_failed(&error))?;
    Ok(Some((job_of(&archive, &plan.job_text, job)?, plan.job_text.clone())))
}

/// The engine of the batch in flight, or else of the next one. Nothing is written.
fn engine_in_hand(
    given: (Job, JobTextHash),
    options: &RunOptions,
    lock: &Lock,
    facts: &Facts,
    accepted: &Accepted,
    edges: &dyn Edges,
    patience: &mut Patience,
) -> Result<Engine, DriverError> {
    if facts.checkpoint.is_empty() {
        return engine(given, options, None, (facts, accepted.origins()), edges, patience);
    }
    let archive = checkpoint::Archive::open(lock.dir()).map_err(|error| checkpoint_failed(&error))?;
    let origins = facts.in_flight().map_or_else(|| accepted.origins(), Origins::of_plan);
    engine(given, options, Some(&archive), (facts, origins), edges, patience)
}

/// An engine with its states as of the last commit and its sinks, each of which has looked at what it holds.
fn engine(
    (job, job_text): (Job, JobTextHash),
    options: &RunOptions,
    archive: Option<&checkpoint::Archive>,
    (facts, origins): (&Facts, Origins<'_>),
    edges: &dyn Edges,
    patience: &mut Patience,
) -> Result<Engine, DriverError> {
    let mut engine = Engine::new(job, job_text, options.threads)?;
    engine.restore_states(origins, |name| match (archive, facts.head_committed) {
        (Some(archive), Some(at)) => state_image(archive, name, at),
        _ => Ok(None),
    })?;
    engine.open_sinks(&facts.sinks, edges)?;
    engine.watch_sinks(patience);
    // A rewind that was not finished at the sinks comes first: they still hold what it takes back.
    if facts.rewind.is_none() {
        engine.inspect_sinks(&standing(facts, options.assume), patience)?;
    }
    Ok(engine)
}

fn no_facts(job: &Job, zero: BatchTime) -> Facts {
    Facts {
        format: crate::protocol::FORMAT,
        checkpoint: String::new(),
        job: job.name.clone(),
        timeline: crate::model::Timeline(0),
        run_epoch: crate::model::RunEpoch(0),
        batch_interval_ms: job.batch_interval_ms,
        zero,
        head_planned: None,
        head_committed: None,
        head_first: BatchId::FIRST,
        batches: BTreeMap::new(),
        positions: Vec::new(),
        sinks: BTreeMap::new(),
        bounded_end: None,
        rewind: None,
        missing_state: Vec::new(),
    }
}

//! From a checkpoint directory to a run that is ready for its next batch.
//!
//! Facts are read first and nothing is written until the decision is not "refuse": look at the facts, compare the job
//! with the one that ran last, open sources, sinks and states, then take the batch in flight to its end.

use std::{collections::BTreeMap, path::Path};

use super::{
    batch::one_line,
    bounded::Bounded,
    clock::Clock,
    dead_letters,
    drain::Drain,
    edges::Edges,
    engine::Engine,
    error::{Class, DriverError},
    inputs::{Inputs, Positions},
    options::{AcceptChanges, RunOptions, Until},
    patience::Patience,
    progress::Reporter,
    recorded,
    run::{Hand, Next, Run},
    trigger::Ticks,
};
use crate::{
    checkpoint::{self, Checkpoint, CheckpointError, Holder, Lock, NewCheckpoint, StateImage},
    crash,
    executor::{BatchFailure, Held},
    job::{self, Dropped, Job, Verdict},
    model::{BatchId, BatchIdentity, BatchTime, TopicPartition},
    operator::Cause,
    planner::{Interval, Position},
    protocol::{Decision, Expected, Facts, JobTextHash, PlannedBatch, decide},
    sink::{Assume, Standing},
    telemetry::Bars,
};

/// What the user agreed to lose; goes into the next plan.
#[derive(Debug, Default)]
pub struct Accepted {
    pub partitions: Vec<TopicPartition>,
    pub states: Vec<String>,
}

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
    let facts = inspect(&dir, &job)?;
    let holder = Holder::this_process(clock.now_ms());
    let lock = Lock::take(&dir, &holder).map_err(|error| checkpoint_failed(&error))?;
    // Another process may have worked on it between the look and the lock.
    let facts = inspect(&dir, &job)?.or(facts);
    let accepted = match &facts {
        Some(facts) => {
            check_in_flight(&dir, facts, &job)?;
            edited(&dir, facts, &job, options)?
        }
        None => Accepted::default(),
    };
    if facts.as_ref().is_some_and(|facts| !facts.batches.is_empty()) && options.start.is_some() {
        return Err(DriverError::new(Class::Usage, "--start is only for a job without checkpoint")
            .detail(format!("The checkpoint in {} has batches; the job continues after them.", dir.display()))
            .hint("Leave --start out, or set another checkpoint_dir.".to_owned()));
    }
    let mut run = Run::open(job, options, around, lock, facts)?;
    run.accepted = accepted;
    Ok(run)
}

/// The facts of a checkpoint, after the decision that they may be used; `None` where there is none.
pub fn inspect(dir: &Path, job: &Job) -> Result<Option<Facts>, DriverError> {
    let facts = match checkpoint::inspect(dir) {
        Ok(facts) => facts,
        Err(CheckpointError::Absent { .. }) => return Ok(None),
        Err(error) => return Err(checkpoint_failed(&error)),
    };
    match decide(facts.clone(), Expected { job: &job.name }) {
        Decision::Refuse(reason) => Err(checkpoint_failed(&CheckpointError::Refused { dir: dir.to_owned(), reason })),
        _ => Ok(Some(facts)),
    }
}

/// Whether the batch in flight can be read again from the files it was planned on.
fn check_in_flight(dir: &Path, facts: &Facts, job: &Job) -> Result<(), DriverError> {
    let Some(plan) = facts.in_flight() else { return Ok(()) };
    let archive = checkpoint::Archive::open(dir).map_err(|error| checkpoint_failed(&error))?;
    let text = archive.job_text_of(&plan.job_text).map_err(|error| checkpoint_failed(&error))?;
    let planned = from_text(&text, job)?;
    if facts.head_committed.is_none() {
        recorded::check_initial(&planned)?;
    }
    recorded::check_queues(&planned, job, &plan.ranges, plan.batch)
}

/// Compares the job with the one that ran last: refuses, or says what goes.
fn edited(dir: &Path, facts: &Facts, job: &Job, options: &RunOptions) -> Result<Accepted, DriverError> {
    let Some(last) = facts.batches.values().next_back().and_then(|row| row.plan.as_ref()) else {
        return Ok(Accepted::default());
    };
    let archive = checkpoint::Archive::open(dir).map_err(|error| checkpoint_failed(&error))?;
    let text = archive.job_text_of(&last.job_text).map_err(|error| checkpoint_failed(&error))?;
    let old = from_text(&text, job)?;
    let (mut refused, mut needs, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for difference in job::compare(&old, job) {
        match difference.verdict {
            Verdict::Allowed => tracing::info!(change = %difference.text, "the job has changed"),
            Verdict::NeedsAcceptance { drops } => {
                needs.push(difference.text);
                dropped.extend(drops);
            }
            Verdict::Refused { hint } => refused.push((difference.text, hint)),
        }
    }
    let base = || DriverError::new(Class::Refused, format!("the edited job does not fit checkpoint {}", dir.display()));
    if let Some((_, hint)) = refused.first() {
        let hint = sentence(hint);
        let error = refused.iter().fold(base(), |error, (text, _)| error.detail(sentence(text)));
        return Err(error.hint(hint));
    }
    if !needs.is_empty() && options.accept_changes == AcceptChanges::Refuse {
        let error = needs.iter().fold(base(), |error, text| error.detail(sentence(text)));
        return Err(error.hint("Run with --accept-changes to drop exactly this, or take the edit back.".to_owned()));
    }
    Ok(accepted(facts, job, &dropped))
}

/// What exactly goes: topic partitions and states by name.
fn accepted(facts: &Facts, job: &Job, dropped: &[Dropped]) -> Accepted {
    let mut accepted = Accepted::default();
    for drop in dropped {
        let gone = |source: &str, tp: &TopicPartition| match drop {
            Dropped::State { .. } => false,
            Dropped::Source { source: of } => of == source,
            Dropped::Topic { source: of, topic } => of == source && **topic == *tp.topic,
            Dropped::Partition { source: of, topic, partition } => {
                of == source && **topic == *tp.topic && *partition == tp.partition
            }
            Dropped::Unmatched { source: of } => of == source && !selects(job, source, tp),
        };
        if let Dropped::State { step } = drop {
            tracing::warn!(state = %step, "dropping state");
            accepted.states.push(step.clone());
        }
        for position in facts.positions.iter().filter(|position| gone(&position.source, &position.tp)) {
            tracing::warn!(partition = %position.tp, offset = position.offset, "dropping the position of a removed topic");
            accepted.partitions.push(position.tp.clone());
        }
    }
    accepted
}

fn selects(job: &Job, source: &str, tp: &TopicPartition) -> bool {
    job.sources.iter().filter(|spec| &*spec.name == source).any(|spec| match &spec.kind {
        job::SourceKind::Queue { .. } => true,
        job::SourceKind::Kafka(kafka) => match &kafka.topics {
            job::TopicSelection::Topics(topics) => topics.contains(&tp.topic),
            job::TopicSelection::Pattern(pattern) => pattern.is_match(&tp.topic),
            job::TopicSelection::Assign(partitions) => partitions.contains(tp),
        },
    })
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// A job text of the checkpoint as a job.
pub fn from_text(text: &str, connection: &Job) -> Result<Job, DriverError> {
    Job::from_text(text, connection).map_err(|error| {
        DriverError::new(Class::Refused, "the job text in the checkpoint cannot be used").detail(error.to_string())
    })
}

/// Committed positions by source.
pub fn positions(facts: &Facts) -> Positions {
    let mut positions = Positions::new();
    for position in &facts.positions {
        let known = Position {
            offset: position.offset,
            topic_id: position.topic_id.clone(),
            leader_epoch: position.leader_epoch,
        };
        positions.entry(position.source.clone()).or_default().insert(position.tp.clone(), known);
    }
    positions
}

impl<'a> Run<'a> {
    /// Opens sources, checkpoint, states and sinks, and takes a batch in flight to its end.
    fn open(
        job: Job,
        options: &RunOptions,
        around: Around<'a, '_>,
        lock: Lock,
        facts: Option<Facts>,
    ) -> Result<Run<'a>, DriverError> {
        let Around { clock, drain, bars, edges } = around;
        let now_ms = clock.now_ms();
        let interval = Interval::new(job.batch_interval_ms);
        let facts = facts.unwrap_or_else(|| no_facts(&job, interval.zero(interval.first_time(now_ms))));
        let positions = positions(&facts);
        let opened = edges.sources(&job, &positions)?;
        let start = options.start.clone().map(|start| start.resolve(now_ms, &job.time_zone));
        let mut inputs = Inputs::new(&job, opened.sources, positions, start.as_ref(), now_ms);
        let text = job.text();
        let job_text = JobTextHash::of(text.as_bytes());
        let mut patience = Patience::new(drain);
        inputs.watched_by(&patience);
        dead_letters::check_topics(&job, &mut patience)?;
        let engine = engine_in_hand(&job, &job_text, options, &lock, &facts, edges, &mut patience)?;
        // Nothing has refused: from here on the checkpoint is written.
        let logical = inputs.on_logical_clock();
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
        if facts.batch_interval_ms != job.batch_interval_ms {
            checkpoint.set_grid(job.batch_interval_ms, facts.zero);
        }
        if !logical
            && let Some(ahead_ms) = last_time.map(|last| last.0 - now_ms).filter(|ahead_ms| *ahead_ms > interval.ms())
        {
            tracing::warn!(ahead_ms, "batch times are ahead of the clock; the distance stays");
        }
        let bounded = match options.until {
            _ if logical => Some(Bounded::by_logical_clock()),
            Until::CaughtUp => Some(Bounded::from_stored(facts.bounded_end.as_ref())),
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
            accepted: Accepted::default(),
            _brokers: opened.brokers,
        };
        tracing::info!(
            job = %job.name,
            checkpoint = %run.checkpoint.uuid(),
            run_epoch = run.checkpoint.run_epoch().0,
            next = Run::following(facts.head_committed).0,
            "started"
        );
        run.settle(facts, &job, &job_text, options, edges)?;
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
        if let Some(rewind) = &facts.rewind {
            super::rewind::finish(&mut self.engine, &mut self.checkpoint, rewind)?;
            self.engine.inspect_sinks(&standing(&facts, options.assume), &mut self.patience)?;
        }
        let facts = Facts { rewind: None, ..facts };
        let Decision::ReExecute(planned) = decide(facts, Expected { job: &job.name }) else { return Ok(()) };
        self.recover(planned)?;
        if self.engine.job_text != *job_text {
            let archive = self.checkpoint.archive();
            let facts = archive.facts().map_err(|error| checkpoint_failed(&error))?;
            // What the outputs of the old job hold open is closed before those of the new one open it.
            self.engine.outputs.clear();
            let text = job_text.clone();
            self.engine = engine(job.clone(), text, options, Some(archive), &facts, edges, &mut self.patience)?;
        }
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

/// The engine of the batch in flight, by the job text that planned it, or else of `job`. Nothing is written.
fn engine_in_hand(
    job: &Job,
    job_text: &JobTextHash,
    options: &RunOptions,
    lock: &Lock,
    facts: &Facts,
    edges: &dyn Edges,
    patience: &mut Patience,
) -> Result<Engine, DriverError> {
    if facts.checkpoint.is_empty() {
        return engine(job.clone(), job_text.clone(), options, None, facts, edges, patience);
    }
    let archive = checkpoint::Archive::open(lock.dir()).map_err(|error| checkpoint_failed(&error))?;
    let (job, text) = match facts.in_flight() {
        Some(plan) if plan.job_text != *job_text => {
            let text = archive.job_text_of(&plan.job_text).map_err(|error| checkpoint_failed(&error))?;
            (from_text(&text, job)?, plan.job_text.clone())
        }
        _ => (job.clone(), job_text.clone()),
    };
    engine(job, text, options, Some(&archive), facts, edges, patience)
}

/// An engine with its states as of the last commit and its sinks, each of which has looked at what it holds.
fn engine(
    job: Job,
    job_text: JobTextHash,
    options: &RunOptions,
    archive: Option<&checkpoint::Archive>,
    facts: &Facts,
    edges: &dyn Edges,
    patience: &mut Patience,
) -> Result<Engine, DriverError> {
    let mut engine = Engine::new(job, job_text, options.threads)?;
    engine.restore_states(facts.zero.0, |name| match (archive, facts.head_committed) {
        (Some(archive), Some(at)) => state_image(archive, name, at),
        _ => Ok(None),
    })?;
    engine.open_sinks(&facts.sinks, edges)?;
    engine.watch_sinks(patience);
    // A rewind that was not finished at the sinks comes first: they still hold what it takes back.
    if archive.is_some() && facts.rewind.is_none() {
        engine.inspect_sinks(&standing(facts, options.assume), patience)?;
    }
    Ok(engine)
}

/// Where the job stands by the facts of its checkpoint.
fn standing(facts: &Facts, assume: Option<Assume>) -> Standing {
    let in_flight = facts.in_flight();
    let next = match in_flight {
        Some(plan) => plan.identity(&facts.checkpoint),
        None => BatchIdentity {
            checkpoint: facts.checkpoint.clone(),
            timeline: facts.timeline,
            batch: facts.next_batch(),
            time: facts.last_time().unwrap_or(facts.zero),
        },
    };
    Standing { next, in_flight: in_flight.is_some(), assume }
}

/// A state as it was after a batch; `None` where it had not begun.
pub fn state_image(archive: &checkpoint::Archive, name: &str, at: BatchId) -> Result<Option<StateImage>, DriverError> {
    let image = archive.state(name, at).map_err(|error| checkpoint_failed(&error))?;
    Ok((!image.snapshots.is_empty() || !image.deltas.is_empty()).then_some(image))
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

/// A checkpoint's error as the end of a run.
pub fn checkpoint_failed(error: &CheckpointError) -> DriverError {
    let class = match error.class() {
        checkpoint::Class::Refused => Class::Refused,
        checkpoint::Class::Unusable => Class::Usage,
        checkpoint::Class::InUse => Class::InUse,
        checkpoint::Class::Io => Class::Failed,
    };
    let mut failed = DriverError::new(class, error.to_string()).hint(error.hint().map(str::to_owned));
    failed.detail.extend(error.detail());
    failed
}

/// The part of a function that failed, as it stands in its file.
fn excerpt(job: &Job, line: usize, cause: &Cause) -> Option<String> {
    let Cause::Lambda(error) = cause else { return None };
    job.places.excerpt(line, error)
}

/// A batch that cannot be executed as the end of a run.
pub fn batch_failed(batch: BatchId, failure: &BatchFailure, job: &Job) -> DriverError {
    let message = |class| DriverError::new(class, format!("batch {batch} failed: {}", one_line(&failure.to_string())));
    match failure {
        BatchFailure::Source { range, error } => {
            let class = super::inputs::failed(error).class;
            DriverError::new(class, format!("cannot read planned input of batch {batch}"))
                .detail(sentence(&format!("topic partition {range}: {}", error.message)))
                .hint(error.hint.clone())
        }
        BatchFailure::Poison { step, line, cause, value, position } => {
            let mut error = message(Class::Failed);
            error = error.detail(format!("Step {step} is at line {line} of the job file."));
            error = error.excerpt(excerpt(job, *line, cause));
            if let Some(position) = position {
                error = error.detail(format!("The element comes of {position}."));
            }
            if !value.is_empty() {
                error = error.detail(format!("The element is {}", one_line(value)));
            }
            error.hint("Set on_error = \"skip\" on the step or the job to leave such elements out.".to_owned())
        }
        BatchFailure::Step { step, line, failure } => {
            let error = message(Class::Failed).detail(format!("Step {step} is at line {line} of the job file."));
            let error = error.excerpt(excerpt(job, *line, &failure.cause));
            match &failure.key {
                Some(key) => error.detail(format!("The key is {}", one_line(&crate::model::text::repr(key)))),
                None => error,
            }
        }
        BatchFailure::Memory { what, .. } => message(Class::Failed)
            .detail(match what {
                Held::State => "No smaller batch helps: the state itself does not fit.",
                Held::Batch => "One record a partition, beside the state, does not fit.",
                Held::Element => "One element does not fit.",
            })
            .hint("Raise memory_limit.".to_owned()),
        BatchFailure::Panicked { .. } | BatchFailure::Moot => message(Class::Failed),
    }
}

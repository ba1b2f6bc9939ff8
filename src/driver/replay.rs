//! Stored batches, executed again from their logged offset ranges. No checkpoint is touched.
//!
//! To verify, each batch runs with the job that ran it, sources included: an edit of the job file since then changes no
//! digest, and is told. The given job says where the sources are; without that a batch cannot be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use super::{
    dead_letters,
    drain::Drain,
    engine::{Engine, Origins},
    error::{Class, DriverError},
    failed::{batch_failed, checkpoint_failed},
    inputs::{Inputs, Positions},
    options::{ReplayMode, ReplayOptions, WhichBatches},
    patience::Patience,
    recorded::check_queues,
    sources,
    stored::{from_text, inspect, positions, reading_job, state_image},
};
use crate::{
    checkpoint::{Archive, CheckpointError, RestorePoint, StateImage},
    executor::{BatchInput, Executed},
    job::{self, Job, SourceKind},
    kafka_admin::embedded::EmbeddedBroker,
    model::{BatchId, OffsetRange},
    planner::Position,
    protocol::{JobTextHash, OutputRecord},
    sink::{Content, pprint},
    telemetry::{Bars, progress::rows_per_second},
};

/// Replays the batches that `options` names, with `job` or (to verify) with the job that ran each.
pub fn replay(job: &Job, options: &ReplayOptions, now_ms: i64, bars: &Bars) -> Result<(), DriverError> {
    let dir = job.absolute(&job.checkpoint_dir);
    let Some(facts) = inspect(&dir, job)? else { return Err(checkpoint_failed(&CheckpointError::Absent { dir })) };
    let archive = Archive::open(&dir).map_err(|error| checkpoint_failed(&error))?;
    let batches = chosen(&archive, options, now_ms, job)?;
    let mut replay = Replay {
        job,
        options,
        positions: positions(&facts),
        now_ms,
        reading: None,
        archive,
        engine: None,
        then: None,
        differences: Vec::new(),
        incomparable: BTreeMap::new(),
    };
    let bar = bars.batches("replay", batches.len() as u64);
    let (mut replayed, mut left_out) = (0, Vec::new());
    for &batch in &batches {
        match replay.one(batch, bars) {
            Ok(rows_per_second) => bar.advance(rows_per_second),
            // A job that runs meanwhile keeps its latest batches only.
            Err(_) if !matches!(options.which, WhichBatches::One(_)) && replay.is_purged(batch) => {
                left_out.push(batch);
                continue;
            }
            Err(error) => return Err(error),
        }
        replayed += 1;
    }
    drop(bar);
    if let (Some(first), Some(last)) = (left_out.first(), left_out.last()) {
        tracing::warn!(%first, %last, "left out: the job that runs meanwhile has not kept these batches");
    }
    replay.finish(replayed)
}

/// The ids to replay, ascending; every one is kept and committed.
fn chosen(archive: &Archive, options: &ReplayOptions, now_ms: i64, job: &Job) -> Result<Vec<BatchId>, DriverError> {
    let failed = |error| checkpoint_failed(&error);
    let Some((first, last)) = archive.kept().map_err(failed)? else {
        return match options.which {
            WhichBatches::All | WhichBatches::Since(_) => Ok(Vec::new()),
            WhichBatches::One(batch) | WhichBatches::Range { from: batch, .. } => Err(checkpoint_failed(
                &archive
                    .restore_point(batch)
                    .map(|_| ())
                    .err()
                    .unwrap_or_else(|| CheckpointError::Absent { dir: archive.dir().to_owned() }),
            )),
        };
    };
    let (from, to) = match options.which {
        WhichBatches::All => (first, last),
        WhichBatches::One(batch) => (batch, batch),
        WhichBatches::Range { from, to } => (from, to.unwrap_or(last)),
        WhichBatches::Since(moment) => {
            let since_ms = moment.resolve(now_ms, &job.time_zone);
            let rows = archive.ledger(first..=last).map_err(failed)?;
            let from = rows.iter().find(|row| row.plan.time.0 >= since_ms).map(|row| row.plan.batch);
            return Ok(from.map_or(Vec::new(), |from| (from.0..=last.0).map(BatchId).collect()));
        }
    };
    for wanted in [from, to] {
        if wanted < first || last < wanted {
            return Err(DriverError::new(Class::Usage, format!("batch {wanted} is not kept"))
                .detail(format!("Batches {first} to {last} are kept.")));
        }
    }
    if to < from {
        return Err(DriverError::new(Class::Usage, format!("no batch is from {from} on and up to {to}"))
            .hint("Name the earlier batch first: --from, then --to.".to_owned()));
    }
    Ok((from.0..=to.0).map(BatchId).collect())
}

struct Replay<'a> {
    job: &'a Job,
    options: &'a ReplayOptions,
    positions: Positions,
    now_ms: i64,
    reading: Option<Reading>,
    archive: Archive,
    /// The engine of the batch before, and that batch: its states have taken that batch's changes.
    engine: Option<(Engine, BatchId)>,
    /// The job of a text of then, and whose states of it the job at hand goes on with ([`job::heirs`]).
    then: Option<(JobTextHash, Job, BTreeMap<String, String>)>,
    differences: Vec<String>,
    /// Outputs whose digests of then and now cover different things, with the first such batch.
    incomparable: BTreeMap<String, BatchId>,
}

/// The sources of one job text, and the embedded brokers that must outlive them.
struct Reading {
    of: JobTextHash,
    inputs: Inputs,
    _brokers: Vec<EmbeddedBroker>,
}

impl Replay<'_> {
    /// Replays one batch, and returns the records it read in a second.
    fn one(&mut self, batch: BatchId, bars: &Bars) -> Result<f64, DriverError> {
        let point = self.archive.restore_point(batch).map_err(|error| checkpoint_failed(&error))?;
        // What is missing of a batch that is no longer kept is no damage.
        let mut engine = self.engine_for(&point).map_err(|error| {
            let purged = self.archive.restore_point(batch).err().filter(|_| error.class == Class::Refused);
            purged.map_or(error, |purged| checkpoint_failed(&purged))
        })?;
        if self.options.mode == ReplayMode::Verify {
            check_queues(engine.job(), self.job, &point.plan.ranges, batch)?;
        }
        if self.options.mode == ReplayMode::Show {
            reads_them(self.job, &point.plan.ranges, batch)?;
        }
        let inputs = self.inputs(&engine, batch)?;
        still_there(inputs, &point.plan.ranges)?;
        inputs.assign(&point.plan.ranges)?;
        let executed = engine
            .executor
            .execute(&BatchInput {
                time: point.plan.time,
                zero: point.zero,
                sources: &inputs.sources,
                ranges: &point.plan.ranges,
                states: &engine.states,
            })
            .and_then(|executed| inputs.confirm(&point.plan.ranges).map(|()| executed))
            .map_err(|failure| gone_for_good(batch_failed(batch, &failure, engine.job())))?;
        for (step, delta) in &executed.deltas {
            if let Some(state) = engine.states.get_mut(step) {
                state.apply(delta).map_err(|error| DriverError::new(Class::Failed, error.to_string()))?;
            }
        }
        match self.options.mode {
            ReplayMode::Verify => self.compare(&engine, &point, &executed),
            ReplayMode::Show => show(&engine, &point, &executed, bars)?,
        }
        self.engine = Some((engine, batch));
        Ok(rows_per_second(executed.records.iter().sum(), executed.duration))
    }

    /// The engine of the batch before where it fits, else a new one with the state as it was before the batch.
    fn engine_for(&mut self, point: &RestorePoint) -> Result<Engine, DriverError> {
        let before = self.engine.take().filter(|(_, batch)| Some(*batch) == point.before).map(|(engine, _)| engine);
        let origins = Origins::of_plan(&point.plan);
        match self.options.mode {
            ReplayMode::Verify => {
                let text = &point.plan.job_text;
                if let Some(engine) = before.filter(|engine| engine.job_text == *text && origins.is_the_batch_before())
                {
                    return Ok(engine);
                }
                let then = from_text(&point.job_text, self.job)?;
                let mut engine = Engine::new(then, text.clone(), self.options.threads)?;
                engine.restore_states(origins, |name| self.image(name, point.before))?;
                Ok(engine)
            }
            ReplayMode::Show => {
                let text = &point.plan.job_text;
                let mut come = BTreeSet::new();
                let (then, heirs) = match self.then.take() {
                    Some((of, then, heirs)) if of == *text => (then, heirs),
                    earlier => {
                        let then = from_text(&point.job_text, self.job)?;
                        let heirs = job::heirs(&then, self.job);
                        let had = |step: &&String| earlier.as_ref().is_none_or(|(.., had)| had.contains_key(*step));
                        come = heirs.keys().filter(|step| !had(step)).cloned().collect();
                        (then, heirs)
                    }
                };
                // One that the run has gone on with goes on here.
                for step in std::mem::take(&mut come) {
                    let stored = heirs.get(&step).and_then(|then| origins.of(then));
                    if stored.map_or(Ok(None), |stored| self.image(stored, point.before))?.is_none() {
                        come.insert(step);
                    }
                }
                let (_, then, heirs) = self.then.insert((text.clone(), then, heirs));
                if let Some(mut engine) = before {
                    // Its states are those of the job at hand by now, but for what the run dropped or began.
                    let dropped = |step: &str| match heirs.get(step) {
                        Some(then) => origins.of(then).is_none() || come.contains(step),
                        None => origins.ends(step),
                    };
                    engine.drop_states(dropped)?;
                    return Ok(engine);
                }
                let (then, heirs) = (then.clone(), heirs.clone());
                self.at_hand(point, &then, &heirs)
            }
        }
    }

    /// The job at hand, with what it would go on with of the states before a batch of `then`.
    fn at_hand(
        &self,
        point: &RestorePoint,
        then: &Job,
        heirs: &BTreeMap<String, String>,
    ) -> Result<Engine, DriverError> {
        let origins = Origins::of_plan(&point.plan);
        let (mut dropped, mut renamed) = (Vec::new(), Vec::new());
        for step in self.job.steps.iter().filter(|step| step.operator.is_stateful()) {
            let (id, heir) = (step.id.to_string(), heirs.get(&*step.id));
            let is_known = |id: &str| then.steps.iter().any(|then| then.operator.is_stateful() && *then.id == *id);
            if heir.is_none() && (is_known(&id) || step.was.as_deref().is_some_and(is_known)) {
                let batch = point.plan.batch.0;
                tracing::warn!(batch, state = id, "the state of then does not fit the job, which begins without it");
            }
            match heir.and_then(|then| origins.of(then)) {
                Some(stored) => renamed.push((id, stored.to_owned())),
                None => dropped.push(id),
            }
        }
        let mut engine = Engine::new(self.job.clone(), JobTextHash("given".into()), self.options.threads)?;
        let origins = Origins { dropped: &dropped, renamed: &renamed };
        engine.restore_states(origins, |name| self.image(name, point.before))?;
        Ok(engine)
    }

    fn image(&self, state: &str, before: Option<BatchId>) -> Result<Option<StateImage>, DriverError> {
        before.map_or(Ok(None), |before| state_image(&self.archive, state, before))
    }

    fn is_purged(&self, batch: BatchId) -> bool {
        matches!(self.archive.restore_point(batch), Err(CheckpointError::NotKept { .. }))
    }

    /// The sources of the engine's job: those of the batch before, where it is the same job.
    fn inputs(&mut self, engine: &Engine, batch: BatchId) -> Result<&mut Inputs, DriverError> {
        let reading = match self.reading.take() {
            Some(reading) if reading.of == engine.job_text => reading,
            _ => {
                let job = match self.options.mode {
                    ReplayMode::Verify => self.reading_job(engine.job(), batch)?,
                    ReplayMode::Show => self.job.clone(),
                };
                let opened = sources::open(&job, &self.positions)?;
                let inputs = Inputs::new(&job, opened.sources, Positions::new(), None, self.now_ms);
                Reading { of: engine.job_text.clone(), inputs, _brokers: opened.brokers }
            }
        };
        Ok(&mut self.reading.insert(reading).inputs)
    }

    /// The job that ran `batch` with its sources where the given job finds them. Tells what the job file says otherwise.
    fn reading_job(&self, stored: &Job, batch: BatchId) -> Result<Job, DriverError> {
        let mut gone = Vec::new();
        for source in &stored.sources {
            let given = self.job.sources.iter().find(|given| given.name == source.name).map(|given| &given.kind);
            match (&source.kind, given) {
                (SourceKind::Kafka(_), Some(SourceKind::Kafka(_)))
                | (SourceKind::Queue { .. }, Some(SourceKind::Queue { .. })) => {}
                (_, None) => gone.push(format!("Source `{}` is gone from the job file.", source.name)),
                (_, Some(_)) => gone.push(format!("Source `{}` is of another kind now.", source.name)),
            }
        }
        if !gone.is_empty() {
            let error = DriverError::new(Class::Refused, format!("batch {batch} cannot be compared with its commit"));
            return Err(gone.into_iter().fold(error, DriverError::detail).hint(
                "Put the source back into the job file under its name: it says where the records are.".to_owned(),
            ));
        }
        let changes: Vec<String> = job::compare(stored, self.job).into_iter().map(|change| change.text).collect();
        if !changes.is_empty() {
            let changes = changes.join("; ");
            tracing::warn!(
                from = batch.0,
                changes,
                "the job file has changed; batches are verified with the job that ran them"
            );
        }
        Ok(reading_job(stored, self.job))
    }

    /// Compares digests with those stored at commit, where the outputs' settings are equal.
    fn compare(&mut self, engine: &Engine, point: &RestorePoint, executed: &Executed) {
        let batch = point.plan.batch;
        for stored in &point.commit.outputs {
            let steps = &engine.job().steps;
            if stored.name.starts_with(dead_letters::PREFIX) {
                self.compare_letters(engine, point, executed, stored);
                continue;
            }
            let now = executed.outputs.iter().find(|(step, _)| *steps[*step].id == *stored.name);
            let Some((step, delivered)) = now else {
                self.differences.push(format!("Batch {batch}, output {}: nothing was delivered.", stored.name));
                continue;
            };
            if super::engine::output_settings(&steps[*step].operator) != stored.settings {
                self.incomparable.entry(stored.name.clone()).or_insert(batch);
            } else if delivered.digest != stored.digest {
                self.differences.push(format!(
                    "Batch {batch}, output {}: digest {} at commit, {} now.",
                    stored.name, stored.digest, delivered.digest
                ));
            }
        }
    }

    fn compare_letters(&mut self, engine: &Engine, point: &RestorePoint, executed: &Executed, stored: &OutputRecord) {
        let (job, batch) = (engine.job(), point.plan.batch);
        let to = dead_letters::destinations(job).into_iter().find(|to| dead_letters::is_named(job, to, &stored.name));
        let now = to.map(|to| dead_letters::output(job, batch, point.plan.time, &to, &executed.dead_letters).digest);
        if now != Some(stored.digest) {
            let now = now.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
            self.differences
                .push(format!("Batch {batch}, {}: digest {} at commit, {now} now.", stored.name, stored.digest));
        }
    }

    fn finish(self, batches: usize) -> Result<(), DriverError> {
        if !self.incomparable.is_empty() && self.differences.is_empty() {
            let error = DriverError::new(Class::Refused, "some outputs cannot be compared with their commit");
            let from =
                |(output, batch)| format!("The digest of output {output} covers something else from batch {batch} on.");
            let error = self.incomparable.into_iter().map(from).fold(error, DriverError::detail);
            return Err(error.hint("Verify with the version of kstream that ran them.".to_owned()));
        }
        if self.differences.is_empty() {
            let verb = if self.options.mode == ReplayMode::Verify { "verified" } else { "replayed" };
            tracing::info!(batches, "{verb}");
            return Ok(());
        }
        let outputs = if self.differences.len() == 1 { "output differs" } else { "outputs differ" };
        let text = format!("{} {outputs} from the commit, of {batches} batches", self.differences.len());
        Err(self.differences.into_iter().fold(DriverError::new(Class::Difference, text), DriverError::detail))
    }
}

/// A run may skip what is lost; a replay gives what a batch gave, or nothing.
fn gone_for_good(error: DriverError) -> DriverError {
    match error.class {
        Class::DataLoss => error.hint(Some(
            "This batch cannot be run again. Replay later ones: `--from ID`, with an id that `kstream batches` lists."
                .to_owned(),
        )),
        _ => error,
    }
}

/// Whether the given job reads what the batch read: an edit since then may have taken sources or topics out.
fn reads_them(job: &Job, ranges: &[OffsetRange], batch: BatchId) -> Result<(), DriverError> {
    let unread = ranges.iter().filter(|range| !range.is_empty()).filter_map(|range| {
        let source = job.sources.iter().find(|source| source.name == range.source);
        match source.map(|source| &source.kind) {
            None => Some(format!("Source `{}`, which read {}, is gone from the job file.", range.source, range.tp)),
            Some(SourceKind::Kafka(kafka)) if !kafka.topics.reads_partition(&range.tp) => {
                Some(format!("Source `{}` no longer reads {}.", range.source, range.tp))
            }
            Some(_) => None,
        }
    });
    let unread: Vec<String> = unread.collect();
    if unread.is_empty() {
        return Ok(());
    }
    let error = DriverError::new(Class::Refused, format!("this job does not read what batch {batch} read"));
    let hint = "Replay it by the job file of that time, or later batches: `--from ID`.".to_owned();
    Err(unread.into_iter().fold(error, DriverError::detail).hint(hint))
}

/// Whether Kafka still holds every offset of the ranges.
fn still_there(inputs: &mut Inputs, ranges: &[OffsetRange]) -> Result<(), DriverError> {
    let (_keep, never) = crossbeam_channel::bounded(1);
    let mut patience = Patience::new(Drain::new(never));
    let available = inputs.available(&mut patience)?.unwrap_or_default();
    let gone: Vec<String> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .filter_map(|range| match inputs.find(&available, range) {
            None => Some(format!("Topic partition {range} does not exist any more.")),
            Some(found) if !Position::after(range).is_of(found) => Some(format!(
                "Topic {} was deleted and created again; what {} held of {}..{} is gone.",
                range.tp.topic, range.tp, range.start, range.until
            )),
            Some(found) if found.earliest > range.start => Some(format!(
                "Topic partition {} starts at offset {}; the batch needs {}..{}. Offsets {}..{} are gone.",
                range.tp,
                found.earliest,
                range.start,
                range.until,
                range.start,
                found.earliest.min(range.until)
            )),
            Some(found) if found.latest < range.until => Some(format!(
                "Topic partition {} ends at offset {}; the batch needs {}..{}.",
                range.tp, found.latest, range.start, range.until
            )),
            Some(_) => None,
        })
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let error = gone_for_good(DriverError::new(Class::DataLoss, "what Kafka no longer holds cannot be replayed"));
    Err(gone.into_iter().fold(error, DriverError::detail))
}

/// pprint outputs to stdout, the others counted.
fn show(engine: &Engine, point: &RestorePoint, executed: &Executed, bars: &Bars) -> Result<(), DriverError> {
    for (step, delivered) in &executed.outputs {
        let step = &engine.job().steps[*step];
        match &delivered.content {
            Content::Shown { elements, more } => {
                let block = pprint::block(point.plan.time, &engine.job().time_zone, elements, *more);
                // Only what is written to the terminal: a log line waits for the bars itself.
                let written = bars.suspend(|| {
                    let mut out = io::stdout().lock();
                    out.write_all(block.as_bytes()).and_then(|()| out.flush())
                });
                written.map_err(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => DriverError::new(Class::ReaderGone, "the reader of stdout has gone"),
                    _ => DriverError::new(Class::Failed, format!("cannot write to stdout: {error}")),
                })?;
            }
            _ => tracing::info!(
                batch = point.plan.batch.0,
                output = %step.id,
                elements = delivered.digest.count,
                "replayed, not delivered"
            ),
        }
    }
    if !executed.dead_letters.is_empty() {
        let letters = executed.dead_letters.len();
        tracing::info!(batch = point.plan.batch.0, letters, "dead letters, not delivered");
    }
    Ok(())
}

//! Going back: a kept batch becomes the last committed one, or the job begins anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    clock::Clock,
    dead_letters,
    drain::Drain,
    edges::{Edges, World},
    elsewhere::{self, About},
    engine::{Engine, OutputSink},
    error::{Class, DriverError},
    failed::{checkpoint_failed, sink_failed},
    letter_files::{self, LetterFiles},
    options::{LeavePublished, RewindOptions},
    patience::Patience,
    stored::{hold, inspect, job_of, standing},
};
use crate::{
    checkpoint::{Archive, Checkpoint, CheckpointError},
    crash,
    job::{Begin, Displaced, Job, SourceKind, Start},
    model::BatchId,
    protocol::{Facts, JobTextHash, PlanRecord, RewindRecord, SaidOfSink},
    sink::SinkFacts,
};

/// Makes `options.to` the last committed batch and cuts the logs back to it.
pub fn rewind(job: &Job, options: &RewindOptions, clock: &dyn Clock) -> Result<(), DriverError> {
    let dir = job.absolute(&job.checkpoint_dir);
    let mut lock = Some(hold(&dir, clock.now_ms())?);
    let Some(mut facts) = inspect(&dir, job)? else {
        return Err(checkpoint_failed(&CheckpointError::Absent { dir }));
    };
    let failed = |error| checkpoint_failed(&error);
    let archive = Archive::open(&dir).map_err(failed)?;
    let world = World::default();
    let files = LetterFiles::of(&archive, &facts, job)?;
    files.know_by_each(&mut facts.sinks);
    check_version(&archive, &facts, job, options.to)?;
    let mut resume = || match lock.take() {
        Some(lock) => Checkpoint::resume(lock, &facts).map_err(failed),
        None => Err(DriverError::new(Class::Failed, "the checkpoint is open already")),
    };
    let mut resumed = None;
    if let Some(unfinished) = &facts.rewind {
        check_left(unfinished, &archive, job)?;
        if unfinished.to == options.to {
            return finish_left(unfinished, job, &mut resume()?, &facts.sinks, &world);
        }
    }
    let kept = archive.kept().map_err(failed)?;
    let is_kept = match options.to {
        Some(to) => kept.is_some_and(|(first, last)| first <= to && to <= last),
        None => facts.head_first == BatchId::FIRST,
    };
    if !is_kept {
        return Err(not_kept(options.to, kept));
    }
    let texts = written_by(&facts, options.to);
    let mut jobs = Vec::with_capacity(texts.len());
    for text in &texts {
        jobs.push((job_of(&archive, text, job)?, text.clone()));
    }
    if jobs.is_empty() {
        // Nothing has been planned.
        jobs.push(at_hand(job));
    }
    elsewhere::check(&jobs[0].0, job, About::CuttingBack)?;
    if let Some(unfinished) = &facts.rewind {
        let mut checkpoint = resume()?;
        finish_left(unfinished, job, &mut checkpoint, &facts.sinks, &world)?;
        resumed = Some(checkpoint);
    }
    let targets = files.targets(archive.sinks_as_of(options.to).map_err(failed)?);
    let mut writers = Writers::open(jobs, job, &facts.sinks, &files, &world)?;
    let left = writers.check(&facts, &targets, &files, job, options)?;
    // Nothing has refused: from here on the checkpoint is written.
    let mut checkpoint = match resumed {
        Some(checkpoint) => checkpoint,
        None => resume()?,
    };
    let complete = |record: &mut RewindRecord| {
        record.sinks.extend(targets.clone());
        record.sinks.retain(|name, _| !left.contains(name));
        record.job_text = texts.first().cloned();
        record.earlier_job_texts = texts.iter().skip(1).cloned().collect();
    };
    let record = checkpoint.rewind(options.to, complete).map_err(failed)?;
    if options.to.is_none() {
        tell_where_it_began(&facts, job);
    }
    writers.finish(&mut checkpoint, &record)
}

/// What an earlier version wrote into a file that it knew by where it was is not cut.
fn check_version(archive: &Archive, facts: &Facts, job: &Job, to: Option<BatchId>) -> Result<(), DriverError> {
    let Some(last) = letter_files::of_earlier_version(archive, facts, job, to)? else { return Ok(()) };
    let what = "an earlier version of kstream wrote the dead letters, and knew their file by another name";
    Err(DriverError::new(Class::Refused, what)
        .detail(format!("Its last batch was {last}."))
        .hint(format!("Rewind to batch {last} or a later one, or begin anew with another checkpoint_dir.")))
}

/// A job, and the name of its text.
fn at_hand(job: &Job) -> (Job, JobTextHash) {
    (job.clone(), JobTextHash::of(job.text().as_bytes()))
}

/// The jobs that planned what is taken back, the last one first; the one that planned last where nothing is.
fn written_by(facts: &Facts, to: Option<BatchId>) -> Vec<JobTextHash> {
    let mut texts: Vec<JobTextHash> = Vec::new();
    for (&batch, row) in facts.batches.iter().rev() {
        let is_taken_back = to.is_none_or(|to| batch > to);
        let Some(plan) = row.plan.as_ref().filter(|_| is_taken_back || texts.is_empty()) else { continue };
        if !texts.contains(&plan.job_text) {
            texts.push(plan.job_text.clone());
        }
    }
    texts
}

/// The outputs of the jobs that wrote what is taken back: each as the last of these jobs has it that has one of its kind.
struct Writers {
    engines: Vec<Engine>,
    /// Outputs whose files may be those of another job: of the one whose checkpoint this is a copy of.
    foreign: BTreeMap<String, Displaced>,
}

impl Writers {
    /// `jobs` are in the order of [`written_by`].
    fn open(
        jobs: Vec<(Job, JobTextHash)>,
        current: &Job,
        sinks: &BTreeMap<String, SaidOfSink>,
        files: &LetterFiles,
        edges: &dyn Edges,
    ) -> Result<Writers, DriverError> {
        let mut names = BTreeSet::new();
        let mut engines = Vec::with_capacity(jobs.len());
        let (mut foreign, mut other_checkpoint) = (BTreeMap::new(), None);
        for (mut job, text) in jobs {
            // Who ran before another checkpoint was written, and does not say where, ran with that one.
            match job.ran_with_this_checkpoint() {
                Some(false) => other_checkpoint.clone_from(&job.ran.checkpoint),
                // What follows may still be older than the other one: each text is here once, where it was last.
                Some(true) => {}
                None => job.ran.checkpoint.clone_from(&other_checkpoint),
            }
            // The last one was checked. What an earlier one wrote to files of the original is not cut from a copy.
            let displaced = match engines.is_empty() {
                true => Vec::new(),
                false => elsewhere::displaced(&job, current, About::CuttingBack),
            };
            let displaced: BTreeMap<String, Displaced> =
                displaced.into_iter().map(|output| (elsewhere::name(&job, &output), output)).collect();
            let mut engine = Engine::new(job, text, None)?;
            engine.open_sinks(sinks, edges)?;
            engine.outputs.retain(|output| {
                // Of another kind it was another output: a log that is shown on stdout since is still cut.
                let name = files.names(&output.name).min().map(str::to_owned);
                let kind = (name, output.sink.publication_order(), output.sink.takes_back());
                if !names.insert(kind) {
                    return false;
                }
                // What is known of the name is of the file that was written last: an older one of ours is not that.
                let of_another = displaced.get(&output.name).filter(|_| output.sink.takes_back());
                if let Some(of_another) = of_another {
                    foreign.entry(output.name.clone()).or_insert_with(|| of_another.clone());
                }
                of_another.is_none()
            });
            engines.push(engine);
        }
        Ok(Writers { engines, foreign })
    }

    fn outputs(&mut self) -> impl Iterator<Item = &mut OutputSink> {
        self.engines.iter_mut().flat_map(|engine| &mut engine.outputs)
    }

    /// Refuses what would not come out as it is told, before anything is written. Gives the outputs that are left as they
    /// are though they could be cut: the user wants that, and the job does not have them any more.
    fn check(
        &mut self,
        facts: &Facts,
        targets: &BTreeMap<String, Option<SinkFacts>>,
        files: &LetterFiles,
        job: &Job,
        options: &RewindOptions,
    ) -> Result<BTreeSet<String>, DriverError> {
        let refuses = options.published == LeavePublished::Refuse;
        let after: Vec<_> =
            facts.batches.iter().filter(|(batch, _)| options.to.is_none_or(|to| **batch > to)).collect();
        let in_flight = after.last().is_some_and(|(_, row)| row.commit.is_none());
        let wrote = |name: &str| {
            let commits = after.iter().filter_map(|(_, row)| row.commit.as_ref());
            let mut outputs = commits.flat_map(|commit| &commit.outputs);
            in_flight || outputs.any(|output| files.names(name).any(|name| output.name == *name))
        };
        let stays = |output: &&mut OutputSink| !output.sink.takes_back() && wrote(&output.name);
        let stays: BTreeSet<String> = self.outputs().filter(stays).map(|output| output.name.clone()).collect();
        if refuses && !stays.is_empty() {
            return Err(DriverError::new(Class::Refused, "what these outputs have published cannot be taken back")
                .detail(format!("Outputs: {}.", Vec::from_iter(stays).join(", ")))
                .hint("Run with --leave-published to leave it where it is.".to_owned()));
        }
        // Where nothing was planned, nothing is cut.
        if refuses && !facts.batches.is_empty() {
            self.inspect(facts)?;
        }
        let now = |name: &str| job.steps.iter().any(|step| *step.id == *name) || name.starts_with(dead_letters::PREFIX);
        self.tell_foreign(wrote);
        let ours: BTreeSet<&str> = self
            .engines
            .iter()
            .flat_map(|engine| &engine.outputs)
            .flat_map(|output| files.names(&output.name))
            .collect();
        let foreign = self.foreign.keys().filter(|name| !ours.contains(name.as_str()));
        let mut left: BTreeSet<String> = foreign.cloned().collect();
        for output in self.outputs().filter(|output| output.sink.takes_back()) {
            let cut = match targets.get(&output.name) {
                Some(Some(target)) => {
                    output.sink.may_take_back(target).map_err(|error| sink_failed(&output.name, &error))
                }
                Some(None) if wrote(&output.name) => Err(nobody_knows(&output.name, options.to)),
                Some(None) | None => Ok(()),
            };
            let Err(error) = cut else { continue };
            if refuses || (now(&output.name) && targets.get(&output.name).is_some_and(Option::is_some)) {
                return Err(error);
            }
            tracing::warn!(output = %output.name, reason = %error.on_one_line(), "it is left as it is");
            left.insert(output.name.clone());
        }
        Ok(left.iter().flat_map(|name| files.names(name)).map(str::to_owned).collect())
    }

    fn tell_foreign(&self, wrote: impl Fn(&str) -> bool) {
        let mut told = BTreeSet::new();
        for (output, Displaced { recorded, here, .. }) in self.foreign.iter().filter(|(output, _)| wrote(output)) {
            let copy = here.as_ref().filter(|here| here.exists()).map(|here| tracing::field::display(here.display()));
            if told.insert(recorded) {
                tracing::warn!(
                    output,
                    file = %recorded.display(),
                    copy,
                    "it is left as it is: it was written while the checkpoint was in another place, and may be another job's"
                );
            }
        }
    }

    /// What an output holds that the checkpoint does not know of is older than the rewind, or somebody else's.
    fn inspect(&mut self, facts: &Facts) -> Result<(), DriverError> {
        let (_keep, never) = crossbeam_channel::bounded(1);
        let mut patience = Patience::new(Drain::new(never));
        let standing = standing(facts, None);
        for engine in &mut self.engines {
            engine.watch_sinks(&patience);
            engine.inspect_sinks(&standing, &mut patience).map_err(|error| match error.class {
                Class::Refused => {
                    let first = error.hint.clone().map(|hint| format!("{hint} ")).unwrap_or_default();
                    error.hint(format!("{first}{ALL_THE_SAME}"))
                }
                _ => error,
            })?;
        }
        Ok(())
    }

    /// Cuts the sinks back to where the rewind says; done again at any next start until it is recorded as finished.
    fn finish(&mut self, checkpoint: &mut Checkpoint, rewind: &RewindRecord) -> Result<(), DriverError> {
        for output in self.outputs().filter(|output| output.sink.takes_back()) {
            if let Some(target) = rewind.sinks.get(&output.name) {
                output.sink.take_back(target.as_ref()).map_err(|error| sink_failed(&output.name, &error))?;
                crash::point("rewind: one sink");
            }
        }
        checkpoint.rewind_finished().map_err(|error| checkpoint_failed(&error))?;
        crash::point("rewind: finished");
        tracing::info!(to = target(rewind.to), timeline = rewind.timeline.0, "rewound");
        Ok(())
    }
}

const ALL_THE_SAME: &str =
    "Or run with --leave-published to rewind all the same: files are cut back, what is delivered stays.";

fn nobody_knows(output: &str, to: Option<BatchId>) -> DriverError {
    let place = to.map_or_else(|| "the start".to_owned(), |to| format!("batch {to}"));
    let what = format!("output {output} cannot be cut back to {place}");
    DriverError::new(Class::Refused, what)
        .detail("An earlier version of kstream wrote the checkpoint, and what it knew of the file then is no longer kept.".to_owned())
        .hint(
            "Rewind to a later batch; or run with --leave-published to leave the file as it is: the batches that come again \
             are written behind it."
                .to_owned(),
        )
}

/// As `kstream rewind --to` takes it.
pub fn target(to: Option<BatchId>) -> String {
    to.map_or_else(|| "start".to_owned(), |batch| batch.to_string())
}

fn not_kept(wanted: Option<BatchId>, kept: Option<(BatchId, BatchId)>) -> DriverError {
    let detail = match kept {
        Some((first, last)) => format!("Batches {first} to {last} are kept."),
        None => "No batch has been committed; `--to start` takes back what is planned.".to_owned(),
    };
    let wanted = wanted.unwrap_or(BatchId::FIRST);
    DriverError::new(Class::Usage, format!("batch {wanted} is not kept")).detail(detail)
}

/// A start that is found by the moment will be another one: what lies between is not read, unless it is told where to begin.
fn tell_where_it_began(facts: &Facts, job: &Job) {
    let first = facts.batches.values().next().and_then(|row| row.plan.as_ref());
    if let Some(start) = first.and_then(|plan| planned_start(plan, job)) {
        tracing::warn!(
            start,
            "the next run finds its start anew, which may be behind what was taken back; `--start` with this begins there"
        );
    }
}

/// Where a first batch begins, as `--start` takes it; `None` where the job finds the same start at any moment.
pub fn planned_start(plan: &PlanRecord, job: &Job) -> Option<String> {
    let by_moment = job.sources.iter().any(|source| match &source.kind {
        SourceKind::Kafka(kafka) => {
            matches!(kafka.start, Begin::At(Start::Latest | Start::Time(_)) | Begin::Ago { .. })
        }
        SourceKind::Queue { .. } => false,
    });
    let starts = plan.ranges.iter().map(|range| format!("{}:{}:{}", range.tp.topic, range.tp.partition, range.start));
    (by_moment && !plan.ranges.is_empty()).then(|| starts.collect::<Vec<_>>().join(","))
}

/// Whether an unfinished rewind may cut the files that it is about.
pub fn check_left(record: &RewindRecord, archive: &Archive, job: &Job) -> Result<(), DriverError> {
    let Some(text) = &record.job_text else { return Ok(()) };
    elsewhere::check(&job_of(archive, text, job)?, job, About::CuttingBack)
}

/// Finishes what an earlier process began to take back, by the sinks of the jobs that wrote it; `job` is the one at hand,
/// which may have been edited or moved since.
pub fn finish_left(
    record: &RewindRecord,
    job: &Job,
    checkpoint: &mut Checkpoint,
    sinks: &BTreeMap<String, SaidOfSink>,
    edges: &dyn Edges,
) -> Result<(), DriverError> {
    let mut jobs = Vec::new();
    for text in record.job_text.iter().chain(&record.earlier_job_texts) {
        jobs.push((job_of(checkpoint.archive(), text, job)?, text.clone()));
    }
    if jobs.is_empty() {
        // Nothing had been planned, or an earlier version did not say.
        jobs.push(at_hand(job));
    }
    let mut record = record.clone();
    let files = LetterFiles::new(&jobs.iter().map(|(stored, _)| stored).collect::<Vec<_>>(), sinks, job);
    files.complete(&mut record.sinks);
    let mut writers = Writers::open(jobs, job, sinks, &files, edges)?;
    writers.tell_foreign(|_| true);
    writers.finish(checkpoint, &record)
}

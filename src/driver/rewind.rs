//! Going back: a kept batch becomes the last committed one, or the job begins anew.

use std::collections::BTreeMap;

use super::{
    clock::Clock,
    dead_letters,
    edges::{Edges, World},
    elsewhere::{self, About},
    engine::Engine,
    error::{Class, DriverError},
    failed::{checkpoint_failed, sink_failed},
    options::{LeavePublished, RewindOptions},
    stored::{hold, inspect, job_of},
};
use crate::{
    checkpoint::{Archive, Checkpoint, CheckpointError},
    crash,
    job::{Begin, Job, SourceKind, Start},
    model::BatchId,
    protocol::{Facts, PlanRecord, RewindRecord},
    sink::SinkFacts,
};

/// Makes `options.to` the last committed batch and cuts the logs back to it.
pub fn rewind(job: &Job, options: &RewindOptions, clock: &dyn Clock) -> Result<(), DriverError> {
    let dir = job.absolute(&job.checkpoint_dir);
    let lock = hold(&dir, clock.now_ms())?;
    let Some(facts) = inspect(&dir, job)? else {
        return Err(checkpoint_failed(&CheckpointError::Absent { dir }));
    };
    let failed = |error| checkpoint_failed(&error);
    let archive = Archive::open(&dir).map_err(failed)?;
    let Some(last) = facts.batches.values().next_back().and_then(|row| row.plan.as_ref()) else {
        return Err(not_kept(options.to, None));
    };
    let kept = archive.kept().map_err(failed)?;
    let is_kept = match options.to {
        Some(to) => kept.is_some_and(|(first, last)| first <= to && to <= last),
        None => facts.head_first == BatchId::FIRST,
    };
    if !is_kept {
        return Err(not_kept(options.to, kept));
    }
    // The sinks of the job that wrote last know what can be taken back.
    let wrote = job_of(&archive, &last.job_text, job)?;
    elsewhere::check(&wrote, job, About::CuttingBack)?;
    let target_text = options.to.and_then(|to| facts.batches.get(&to)?.plan.as_ref()).map(|plan| plan.job_text.clone());
    let mut checkpoint = Checkpoint::resume(lock, &facts).map_err(failed)?;
    let mut engine = Engine::new(wrote, last.job_text.clone(), None)?;
    engine.open_sinks(&facts.sinks, &World::default())?;
    if let Some(unfinished) = &facts.rewind {
        finish_left(unfinished, &mut engine, &mut checkpoint, &facts.sinks, &World::default())?;
    }
    let stays: Vec<&str> =
        engine.outputs.iter().filter(|output| !output.sink.takes_back()).map(|output| &*output.name).collect();
    let goes_back = facts.head_planned.is_some_and(|planned| options.to.is_none_or(|to| planned > to));
    if goes_back && !stays.is_empty() && options.published == LeavePublished::Refuse {
        return Err(DriverError::new(Class::Refused, "what these outputs have published cannot be taken back")
            .detail(format!("Outputs: {}.", stays.join(", ")))
            .hint("Run with --leave-published to leave it where it is.".to_owned()));
    }
    let then = target_text.map(|then| job_of(&archive, &then, job)).transpose()?;
    let complete = |record: &mut RewindRecord| {
        if let Some(then) = &then {
            dead_letters::follow(&mut record.sinks, then, engine.job());
        }
        record.job_text = Some(engine.job_text.clone());
    };
    let record = checkpoint.rewind(options.to, complete).map_err(failed)?;
    if options.to.is_none() {
        tell_where_it_began(&facts, job);
    }
    finish(&mut engine, &mut checkpoint, &record)?;
    tracing::info!(to = target(options.to), timeline = record.timeline.0, "rewound");
    Ok(())
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

/// Finishes what an earlier process began to take back, by the sinks of the job that wrote it; `engine` has those of the
/// job at hand, which may have been edited or moved since.
pub fn finish_left(
    record: &RewindRecord,
    engine: &mut Engine,
    checkpoint: &mut Checkpoint,
    sinks: &BTreeMap<String, (SinkFacts, Option<BatchId>)>,
    edges: &dyn Edges,
) -> Result<(), DriverError> {
    let Some(text) = &record.job_text else { return finish(engine, checkpoint, record) };
    let mut wrote = Engine::new(job_of(checkpoint.archive(), text, engine.job())?, text.clone(), None)?;
    wrote.open_sinks(sinks, edges)?;
    finish(&mut wrote, checkpoint, record)
}

/// Cuts the sinks back to where the rewind says; done again at any next start until it is recorded as finished.
fn finish(engine: &mut Engine, checkpoint: &mut Checkpoint, rewind: &RewindRecord) -> Result<(), DriverError> {
    for output in engine.outputs.iter_mut().filter(|output| output.sink.takes_back()) {
        if let Some(target) = rewind.sinks.get(&output.name) {
            output.sink.take_back(target.as_ref()).map_err(|error| sink_failed(&output.name, &error))?;
            crash::point("rewind: one sink");
        }
    }
    checkpoint.rewind_finished().map_err(|error| checkpoint_failed(&error))?;
    crash::point("rewind: finished");
    Ok(())
}

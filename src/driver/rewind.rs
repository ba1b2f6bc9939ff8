//! Going back: a kept batch becomes the last committed one, or the job begins anew.

use super::{
    clock::Clock,
    dead_letters,
    edges::World,
    elsewhere::{self, About},
    engine::Engine,
    error::{Class, DriverError},
    failed::{checkpoint_failed, sink_failed},
    options::{LeavePublished, RewindOptions},
    stored::{from_text, inspect},
};
use crate::{
    checkpoint::{Archive, Checkpoint, CheckpointError, Holder, Lock},
    crash,
    job::Job,
    model::BatchId,
    protocol::RewindRecord,
};

/// Makes `options.to` the last committed batch and cuts the logs back to it.
pub fn rewind(job: &Job, options: &RewindOptions, clock: &dyn Clock) -> Result<(), DriverError> {
    let dir = job.absolute(&job.checkpoint_dir);
    let lock = Lock::take(&dir, &Holder::this_process(clock.now_ms())).map_err(|error| checkpoint_failed(&error))?;
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
    let wrote = from_text(&archive.job_text_of(&last.job_text).map_err(failed)?, job)?;
    elsewhere::check(&wrote, job, About::CuttingBack)?;
    let target_text = options.to.and_then(|to| facts.batches.get(&to)?.plan.as_ref()).map(|plan| plan.job_text.clone());
    let mut checkpoint = Checkpoint::resume(lock, &facts).map_err(failed)?;
    let mut engine = Engine::new(wrote, last.job_text.clone(), None)?;
    engine.open_sinks(&facts.sinks, &World::default())?;
    if let Some(unfinished) = &facts.rewind {
        finish(&mut engine, &mut checkpoint, unfinished)?;
    }
    let stays: Vec<&str> =
        engine.outputs.iter().filter(|output| !output.sink.takes_back()).map(|output| &*output.name).collect();
    let goes_back = facts.head_planned.is_some_and(|planned| options.to.is_none_or(|to| planned > to));
    if goes_back && !stays.is_empty() && options.published == LeavePublished::Refuse {
        return Err(DriverError::new(Class::Refused, "what these outputs have published cannot be taken back")
            .detail(format!("Outputs: {}.", stays.join(", ")))
            .hint("Run with --leave-published to leave it where it is.".to_owned()));
    }
    let mut record = checkpoint.rewind(options.to).map_err(failed)?;
    if let Some(then) = target_text {
        let then = from_text(&checkpoint.archive().job_text_of(&then).map_err(failed)?, job)?;
        dead_letters::follow(&mut record.sinks, &then, engine.job());
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

/// Cuts the sinks back to where the rewind says; done again at any next start until it is recorded as finished.
pub fn finish(engine: &mut Engine, checkpoint: &mut Checkpoint, rewind: &RewindRecord) -> Result<(), DriverError> {
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

//! Files that a job reads in part or only once: whether they still hold what a stored batch read from them.
//!
//! The job text of a batch says what each file held when the job was loaded. A queue file may grow by lines; a change of
//! what was there, or another initial state, would make a re-execution differ, so it is refused before anything runs.

use std::{fs, path::Path, time::Instant};

use super::{
    error::{Class, DriverError},
    failed::source_failed,
    inputs::Positions,
};
use crate::{
    job::{Content, Job, SourceKind},
    model::{BatchId, OffsetRange},
    source::Source,
};

/// The file with the initial state of a step, if it is the one the job was loaded with.
pub fn initial(job: &Job, path: &Path) -> Result<Vec<u8>, DriverError> {
    let absolute = job.absolute(path);
    let now = fs::read(&absolute).map_err(|error| {
        DriverError::new(Class::Usage, format!("cannot read initial state {}", path.display()))
            .detail(format!("{error}."))
    })?;
    match job.file_contents.get(&absolute) {
        Some(then) if *then != Content::of(&now) => {
            let message = format!("initial state {} is not what the job began with", path.display());
            Err(refused(message, then, &now)
                .hint("Put the file back, or begin anew with another checkpoint_dir.".to_owned()))
        }
        _ => Ok(now),
    }
}

/// Whether every initial state of a job is the one it was loaded with.
pub fn check_initial(job: &Job) -> Result<(), DriverError> {
    job.steps.iter().filter_map(|step| step.operator.initial()).try_for_each(|path| initial(job, path).map(drop))
}

/// Whether the queues of `current` hold what the job `stored` read `ranges` of `batch` from.
pub fn check_queues(stored: &Job, current: &Job, ranges: &[OffsetRange], batch: BatchId) -> Result<(), DriverError> {
    for source in &stored.sources {
        let reads = ranges.iter().any(|range| range.source == source.name && !range.is_empty());
        let (SourceKind::Queue { path, .. }, true) = (&source.kind, reads) else { continue };
        let Some(then) = stored.file_contents.get(&stored.absolute(path)) else { continue };
        let now = current.sources.iter().find(|now| now.name == source.name).map(|now| &now.kind);
        let Some(SourceKind::Queue { path, .. }) = now else { continue };
        let content = fs::read(current.absolute(path)).map_err(|error| {
            DriverError::new(Class::Usage, format!("cannot read queue file {}", path.display()))
                .detail(format!("{error}."))
        })?;
        if !then.is_kept_in(&content) {
            let message = format!("queue file {} is not what batch {batch} was read from", path.display());
            let hint = "Put the file back; lines may be added at its end. To give the batch up, rewind to one before it, or begin \
                        anew with another checkpoint_dir.";
            return Err(refused(message, then, &content).hint(hint.to_owned()));
        }
    }
    Ok(())
}

/// Whether the queues of `job` hold as many batches as were read of them.
pub fn check_lengths(job: &Job, sources: &mut [Box<dyn Source>], positions: &Positions) -> Result<(), DriverError> {
    for (spec, source) in job.sources.iter().zip(sources) {
        let own = positions.get(&spec.name).into_iter().flatten().filter(|(tp, _)| *tp.topic == *spec.name);
        let read = own.map(|(_, position)| position.offset).max();
        let (SourceKind::Queue { path, .. }, Some(read)) = (&spec.kind, read) else { continue };
        // A queue answers at once: it lies in memory.
        let available = source.available(Instant::now()).map_err(|error| source_failed(&error))?;
        let held = available.partitions.iter().map(|partition| partition.latest).max().unwrap_or_default();
        if held < read {
            let name = path.display();
            let lines = |count: i64| if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
            let message = format!("queue file {name} has fewer lines than were read");
            return Err(DriverError::new(Class::Refused, message)
                .detail(format!("It has {} with a batch; {} have been read and committed.", lines(held), lines(read)))
                .hint(
                    "Put the file back; lines may be added at its end. To go on with what it holds, rewind to the batch of \
                     its last line, or begin anew with another checkpoint_dir."
                        .to_owned(),
                ));
        }
    }
    Ok(())
}

/// Names what was expected and what was found.
fn refused(message: String, then: &Content, now: &[u8]) -> DriverError {
    let error = DriverError::new(Class::Refused, message);
    let length = usize::try_from(then.bytes).unwrap_or(usize::MAX);
    match now.get(..length) {
        Some(beginning) if length < now.len() => error.detail(format!(
            "Expected its first {length} bytes as {then} (xxh3-128/bytes); found {}, and {} bytes more.",
            Content::of(beginning),
            now.len() - length
        )),
        _ => error.detail(format!("Expected {then} (xxh3-128/bytes); found {}.", Content::of(now))),
    }
}

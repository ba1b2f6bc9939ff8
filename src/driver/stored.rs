//! What is read of a stored checkpoint: its facts, once they may be used, its jobs, positions and states.

use std::path::Path;

use super::{
    error::{Class, DriverError},
    failed::checkpoint_failed,
    inputs::Positions,
};
use crate::{
    checkpoint::{self, Archive, CheckpointError, Holder, Lock, StateImage},
    job::{Job, SourceKind},
    model::{BatchId, BatchIdentity},
    planner::Position,
    protocol::{Decision, Expected, Facts, JobTextHash, decide},
    sink::{Assume, Standing},
};

/// Takes the lock of a checkpoint directory, and takes back what a killed process left half written in it.
pub fn hold(dir: &Path, now_ms: i64) -> Result<Lock, DriverError> {
    let failed = |error| checkpoint_failed(&error);
    let lock = Lock::take(dir, &Holder::this_process(now_ms)).map_err(failed)?;
    checkpoint::take_back(&lock).map_err(failed)?;
    Ok(lock)
}

/// As [`inspect`], without the lock: what only its holder can take back is left to the look after it.
pub fn inspect_before_lock(dir: &Path, job: &Job) -> Result<Option<Facts>, DriverError> {
    usable(checkpoint::inspect(dir), dir, job, |error| matches!(error, CheckpointError::HalfWritten { .. }))
}

/// The facts of a checkpoint, after the decision that they may be used; `None` where there is none.
pub fn inspect(dir: &Path, job: &Job) -> Result<Option<Facts>, DriverError> {
    usable(checkpoint::inspect(dir), dir, job, |_| false)
}

fn usable(
    found: Result<Facts, CheckpointError>,
    dir: &Path,
    job: &Job,
    passes: impl Fn(&CheckpointError) -> bool,
) -> Result<Option<Facts>, DriverError> {
    let facts = match found {
        Ok(facts) => facts,
        Err(CheckpointError::Absent { .. }) => return Ok(None),
        Err(error) if passes(&error) => return Ok(None),
        Err(error) => return Err(checkpoint_failed(&error)),
    };
    match decide(facts.clone(), Expected { job: &job.name }) {
        Decision::Refuse(reason) => Err(checkpoint_failed(&CheckpointError::Refused { dir: dir.to_owned(), reason })),
        _ => Ok(Some(facts)),
    }
}

/// The job of a text that the checkpoint holds.
pub fn job_of(archive: &Archive, text: &JobTextHash, connection: &Job) -> Result<Job, DriverError> {
    from_text(&archive.job_text_of(text).map_err(|error| checkpoint_failed(&error))?, connection)
}

/// The job of the last plan; `None` where there is none.
pub fn last_job(archive: &Archive, facts: &Facts, connection: &Job) -> Result<Option<Job>, DriverError> {
    let last = facts.batches.values().next_back().and_then(|row| row.plan.as_ref());
    last.map(|plan| job_of(archive, &plan.job_text, connection)).transpose()
}

/// `stored` as the job that reads its sources now: where `given` says that they are, as long as it has them.
pub fn reading_job(stored: &Job, given: &Job) -> Job {
    let mut job = stored.clone();
    job.file_contents.clone_from(&given.file_contents);
    for source in &mut job.sources {
        let given = given.sources.iter().find(|given| given.name == source.name).map(|given| &given.kind);
        match (&mut source.kind, given) {
            (SourceKind::Kafka(stored), Some(SourceKind::Kafka(given))) => {
                stored.embedded.clone_from(&given.embedded);
                stored.on_data_loss = given.on_data_loss;
            }
            (SourceKind::Queue { path, .. }, Some(SourceKind::Queue { path: now, .. })) => path.clone_from(now),
            _ => {}
        }
    }
    job
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

/// A state as it was after a batch; `None` where it had not begun.
pub fn state_image(archive: &checkpoint::Archive, name: &str, at: BatchId) -> Result<Option<StateImage>, DriverError> {
    let image = archive.state(name, at).map_err(|error| checkpoint_failed(&error))?;
    Ok((!image.snapshots.is_empty() || !image.deltas.is_empty()).then_some(image))
}

/// Where the job stands by the facts of its checkpoint.
pub fn standing(facts: &Facts, assume: Option<Assume>) -> Standing {
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

//! A checkpoint that was copied: its stored jobs name the files of the original.
//!
//! Only a batch in flight and a rewind are done by a stored job; whatever else runs is the job at hand, with its own files.

use std::{fs, io, path::Path};

use super::{
    dead_letters,
    error::{Class, DriverError},
};
use crate::job::{Displaced, Job, Whereabouts, Writer, is_rotation, resolved};

/// What is about to be done by the stored job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The batch in flight writes to every output.
    FinishingABatch,
    /// A rewind cuts files; what it cannot take back is left.
    CuttingBack,
}

/// The outputs of a stored job that would be written and may be another job's. A rewind writes only to files that it cuts;
/// those of this checkpoint are its own, and one that is gone with the directory it was in is nobody's.
pub fn displaced(stored: &Job, current: &Job, about: About) -> Vec<Displaced> {
    let mut displaced = stored.displaced(current);
    if about == About::CuttingBack {
        let are_ours = stored.ran_with_this_checkpoint() == Some(true);
        let is_anothers = |output: &Displaced| output.here.is_some() || is_there(&output.recorded);
        displaced.retain(|output| output.is_cut && !are_ours && is_anothers(output));
    }
    displaced
}

/// Whether there is anything of a log, also where it has rotated and not been written since; in doubt there is.
fn is_there(log: &Path) -> bool {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let stands = |log: &Path| match (fs::symlink_metadata(log), log.parent().map(fs::read_dir)) {
        (Err(error), Some(Ok(entries))) if is_absent(&error) => {
            entries.into_iter().any(|entry| entry.is_ok_and(|entry| is_rotation(&entry.path(), log)))
        }
        (Err(error), Some(Err(of_directory))) => !is_absent(&error) || !is_absent(&of_directory),
        _ => true,
    };
    stands(log) || stands(&resolved(log))
}

/// The name under which the checkpoint knows an output.
pub fn name(stored: &Job, displaced: &Displaced) -> String {
    match &displaced.of {
        Writer::Step(step) => step.to_string(),
        Writer::DeadLetters => dead_letters::in_file(&stored.as_named(&displaced.recorded)),
    }
}

/// Refuses to write, by a stored job, to files that may be another job's.
pub fn check(stored: &Job, current: &Job, about: About) -> Result<(), DriverError> {
    if let Whereabouts::Moved { from } = &stored.ran.whereabouts {
        tracing::info!(from = %from.display(), to = %current.directory.display(), "the directory of the job was moved");
    }
    let displaced = displaced(stored, current, about);
    if displaced.is_empty() {
        return Ok(());
    }
    let what = match about {
        About::FinishingABatch => "the batch in flight was planned for files that the job at hand does not write",
        About::CuttingBack => "the files to cut back are none that the job at hand writes",
    };
    let error = displaced.iter().fold(DriverError::new(Class::Refused, what), |error, output| {
        let of = match &output.of {
            Writer::Step(step) => format!("output {step}"),
            Writer::DeadLetters => "the file of dead letters".to_owned(),
        };
        let here = output.here.as_ref().map(|here| format!(", here it would be {}", here.display()));
        let (recorded, here) = (output.recorded.display(), here.unwrap_or_default());
        error.detail(format!("By the checkpoint {of} is {recorded}{here}."))
    });
    let by_directory = match &stored.ran.whereabouts {
        Whereabouts::Elsewhere { at } if displaced.iter().any(|output| output.here.is_some()) => Some(at),
        _ => None,
    };
    let error = match (by_directory, &stored.ran.checkpoint) {
        (None, Some(then)) => error.detail(format!("The checkpoint was then in {}.", then.display())),
        _ => error,
    };
    let hint = match (by_directory, about) {
        (Some(at), About::FinishingABatch) => {
            let (at, here) = (at.display(), current.directory.display());
            format!(
                "Run the job in {at}. If {here} is a copy of it, copy it again once the batch is committed there, or set \
                 another checkpoint_dir; a directory that was moved goes on as soon as {at} is gone."
            )
        }
        (Some(at), About::CuttingBack) => {
            let (at, here) = (at.display(), current.directory.display());
            format!(
                "Rewind in {at}. If {here} is a copy of it, run the copy for a batch first, and its own files are cut; a \
                 directory that was moved goes on as soon as {at} is gone."
            )
        }
        (None, About::FinishingABatch) => "If this is a copy of that checkpoint, run the job with that one and copy it again once \
             the batch is committed, or set another checkpoint_dir. If it was moved, move it and the files back, or give the \
             job the outputs that it had until the batch is committed."
            .to_owned(),
        (None, About::CuttingBack) => "If this is a copy of that checkpoint, run it for a batch first, and its own files are cut. \
             If it was moved, give the job the outputs that it had."
            .to_owned(),
    };
    Err(error.detail("Nothing was changed.").hint(hint))
}

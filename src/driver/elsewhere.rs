//! A checkpoint that was copied together with what its job writes: its stored job names the files of the original.
//!
//! Only a batch in flight and a rewind are done by a stored job; whatever else runs is the job at hand, with its own files.

use super::error::{Class, DriverError};
use crate::job::{Displaced, Job, Whereabouts};

/// What is about to be done by the stored job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The batch in flight writes to every output.
    FinishingABatch,
    /// A rewind cuts files; what it cannot take back is left.
    CuttingBack,
}

/// Refuses to write, by a stored job, to files that belong to the directory it ran in and are none of the job at hand.
pub fn check(stored: &Job, current: &Job, about: About) -> Result<(), DriverError> {
    let at = match &stored.ran.whereabouts {
        Whereabouts::Elsewhere { at } => at.display(),
        _ if stored.is_of_copy() => stored.ran.checkpoint.parent().unwrap_or(&stored.ran.checkpoint).display(),
        Whereabouts::Here => return Ok(()),
        Whereabouts::Moved { from } => {
            tracing::info!(from = %from.display(), to = %current.directory.display(), "the directory of the job was moved");
            return Ok(());
        }
    };
    let is_written = |displaced: &Displaced| about == About::FinishingABatch || displaced.is_cut;
    let displaced: Vec<Displaced> = stored.displaced(current).into_iter().filter(is_written).collect();
    if displaced.is_empty() {
        return Ok(());
    }
    let what = match about {
        About::FinishingABatch => "the batch in flight was planned for outputs in another directory",
        About::CuttingBack => "the outputs to cut back are in another directory",
    };
    let error = DriverError::new(Class::Refused, what);
    let error = displaced.iter().fold(error, |error, Displaced { output, recorded, here, .. }| {
        error.detail(format!(
            "By the checkpoint {output} is {}, here it would be {}.",
            recorded.display(),
            here.display()
        ))
    });
    let here = current.directory.display();
    let hint = match about {
        About::FinishingABatch => format!(
            "Run the job in {at}. If {here} is a copy of it, copy it again once the batch is committed there, or set another \
             checkpoint_dir; a directory that was moved goes on as soon as {at} is gone."
        ),
        About::CuttingBack => format!(
            "Rewind in {at}. If {here} is a copy of it, run the copy for a batch first, and its own files are cut; a \
             directory that was moved goes on as soon as {at} is gone."
        ),
    };
    Err(error.detail("Nothing was changed.").hint(hint))
}

//! What can go wrong with a checkpoint: what was found, what was expected, the ways on.

use std::{io, path::PathBuf};

use super::Holder;
use crate::{model::BatchId, open_files, protocol::Reason};

/// Numbers of the system that have no name of their own in the standard library.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The facts forbid to go on; nothing was changed.
    #[error("checkpoint {} is refused", dir.display())]
    Refused { dir: PathBuf, reason: Reason },
    #[error("there is no checkpoint in {}", dir.display())]
    Absent { dir: PathBuf },
    /// A kill left a write of the database half done; the holder of the lock takes it back.
    #[error("checkpoint {} was left in the middle of a write", dir.display())]
    HalfWritten { dir: PathBuf },
    /// The directory cannot hold a checkpoint.
    #[error("checkpoint directory {} cannot be used", dir.display())]
    Unusable { dir: PathBuf, what: String },
    #[error("checkpoint {} is in use", dir.display())]
    InUse { dir: PathBuf, holder: Option<Holder> },
    /// Another process wrote to the checkpoint although this one holds its lock.
    #[error("checkpoint {} was taken over by another process", dir.display())]
    Fenced { dir: PathBuf, what: String },
    /// The files that this process has open are not in their directory any more.
    #[error("checkpoint {} is gone", dir.display())]
    Gone { dir: PathBuf, what: String },
    #[error("batch {wanted} is not kept in checkpoint {}", dir.display())]
    NotKept { dir: PathBuf, wanted: BatchId, kept: Option<(BatchId, BatchId)> },
    /// A read, write or fsync failed. After a write nothing is known about what is durable.
    #[error("cannot {doing} checkpoint {}", dir.display())]
    Io { dir: PathBuf, doing: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// An earlier write failed; the process should have ended.
    #[error("checkpoint {} is not written to after a failed write", dir.display())]
    Poisoned { dir: PathBuf },
}

/// What the error means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Exit 3.
    Refused,
    /// Exit 2: bad usage, or a directory that cannot be used at all.
    Unusable,
    /// Exit 5.
    InUse,
    /// Exit 1.
    Io,
}

impl CheckpointError {
    pub fn class(&self) -> Class {
        match self {
            CheckpointError::Refused { .. } => Class::Refused,
            CheckpointError::Absent { .. }
            | CheckpointError::HalfWritten { .. }
            | CheckpointError::Unusable { .. }
            | CheckpointError::NotKept { .. } => Class::Unusable,
            CheckpointError::InUse { .. } | CheckpointError::Fenced { .. } => Class::InUse,
            CheckpointError::Gone { .. } | CheckpointError::Io { .. } | CheckpointError::Poisoned { .. } => Class::Io,
        }
    }

    /// What was found and what was expected, as a sentence.
    pub fn detail(&self) -> Option<String> {
        Some(match self {
            CheckpointError::Refused { reason, .. } => format!("Nothing was changed: {reason}."),
            CheckpointError::HalfWritten { .. } => {
                "The process that wrote was killed, and what it had begun was not taken back yet.".to_owned()
            }
            CheckpointError::Unusable { what, .. }
            | CheckpointError::Fenced { what, .. }
            | CheckpointError::Gone { what, .. } => format!("{what}."),
            CheckpointError::InUse { holder: Some(holder), .. } => format!("It is held by {holder}."),
            CheckpointError::InUse { holder: None, .. } => "Its holder has not written who it is.".to_owned(),
            CheckpointError::NotKept { kept: Some((first, last)), .. } => {
                format!("Batches {first} to {last} are kept.")
            }
            CheckpointError::NotKept { kept: None, .. } => "No batch has been committed.".to_owned(),
            CheckpointError::Io { source, .. } => format!("{source}."),
            CheckpointError::Absent { .. } | CheckpointError::Poisoned { .. } => return None,
        })
    }

    /// The ways on.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            CheckpointError::Refused { reason, .. } => match reason {
                Reason::NewerFormat { .. } => "Run the kstream that wrote it, or set another checkpoint_dir.",
                Reason::ForeignJob { .. } => {
                    "Give each job a checkpoint_dir of its own, or set the job's name back to the one found."
                }
                Reason::StateMissing(_) => {
                    "Restore the whole checkpoint directory from a copy made while no job ran on it, go back to an \
                     earlier batch with `kstream rewind`, or set a new checkpoint_dir."
                }
                Reason::Behind { .. } => {
                    "Restore the whole checkpoint directory from a copy made while no job ran on it, or set a new \
                     checkpoint_dir to begin again. To run the lost batches again instead, delete checkpoint.mark; \
                     outputs that hold them already may refuse."
                }
                _ => {
                    "Restore the whole checkpoint directory from a copy made while no job ran on it, or set a new \
                     checkpoint_dir to begin again."
                }
            },
            CheckpointError::Absent { .. } => "Run the job first, or correct checkpoint_dir.",
            CheckpointError::HalfWritten { .. } => "Start the job: it takes the half write back and goes on.",
            CheckpointError::Unusable { .. } => "Set checkpoint_dir to a local directory that this user may write to.",
            CheckpointError::InUse { .. } => "Stop that process first; one process at a time works on a checkpoint.",
            CheckpointError::Fenced { .. } => {
                "Make sure that one process at a time works on the checkpoint, on a file system whose locks work."
            }
            CheckpointError::Gone { .. } => {
                "Put back the directory as it was, or set a new checkpoint_dir; the outputs hold what was delivered."
            }
            CheckpointError::Io { .. } | CheckpointError::Poisoned { .. } => {
                "Put the disk right and start the job again; it continues from what is durable."
            }
            CheckpointError::NotKept { .. } => return None,
        })
    }

    /// A failed call of SQLite or of the system; SQLite does not say why it could not open a file.
    pub(super) fn io(
        dir: PathBuf,
        doing: &'static str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = error.into();
        let source = match open_files::shortage() {
            Some(_) => open_files::explain(source.to_string()).into(),
            None => source,
        };
        CheckpointError::Io { dir, doing, source }
    }

    /// The directory is no place for a checkpoint, or its disk is out of order at the moment.
    pub(super) fn unusable(dir: &std::path::Path, doing: &'static str, error: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull, TimedOut};
        let passes = matches!(error.kind(), StorageFull | QuotaExceeded | TimedOut)
            || matches!(error.raw_os_error(), Some(EIO | ENFILE | EMFILE));
        if passes {
            let full = if error.kind() == StorageFull { "the disk is full: " } else { "" };
            let source = format!("{full}cannot {doing}: {error}").into();
            return CheckpointError::Io { dir: dir.to_owned(), doing: "use", source };
        }
        CheckpointError::Unusable { dir: dir.to_owned(), what: format!("Cannot {doing}: {error}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_out_of_order_is_a_failure_and_a_directory_of_no_use_is_bad_usage() {
        let check = |errno, class| {
            let error = io::Error::from_raw_os_error(errno);
            let failed = CheckpointError::unusable(std::path::Path::new("dir"), "open its lock file", error);
            assert_eq!(failed.class(), class, "{errno}");
            assert!(failed.detail().is_some_and(|detail| detail.contains("open its lock file")), "{failed:?}");
        };
        check(28, Class::Io);
        check(122, Class::Io);
        check(EIO, Class::Io);
        check(EMFILE, Class::Io);
        check(ENFILE, Class::Io);
        check(13, Class::Unusable);
        check(20, Class::Unusable);
        check(30, Class::Unusable);
    }
}

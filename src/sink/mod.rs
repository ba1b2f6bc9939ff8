//! Sinks: stage a batch's output where nobody looks, say what of it is already published, publish it once.
//!
//! The driver calls `stage` for every output of a batch, then `published`, and `publish` (with a permit of the protocol)
//! only where the answer is not "whole". A sink never decides whether a batch counts (`protocol` does) and never touches
//! the checkpoint; what it needs remembered it returns as [`SinkFacts`], which the commit stores. `rewind` asks it to take
//! back what it published after an earlier batch. All files are written through `disk`, which tests break.

use std::{io, sync::Arc};

use crate::{
    model::{BatchIdentity, Value, digest::Digest, text::on_one_line},
    protocol::PublishPermit,
};

pub mod command;
pub mod console;
pub mod dead_letter;
pub mod disk;
pub mod kafka;
pub mod line;
pub mod log;
pub mod open;
pub mod pprint;
pub mod text_files;
pub mod watch;

pub use self::{
    kafka::row::Row,
    open::{open, open_dead_letters},
};
pub use crate::protocol::{Holds, SinkFacts};

/// What one output operator produced in one batch.
#[derive(Debug, Clone)]
pub struct Output {
    /// The step's name in the checkpoint and in messages: its `name`, else `operator#ordinal`.
    pub name: String,
    pub content: Content,
    /// What it delivers (design: "Digest"); stored at commit, compared by `replay --verify`.
    pub digest: Digest,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// pprint: the elements shown, in order, and whether there were more.
    Shown { elements: Vec<Value>, more: bool },
    /// Text files: the lines of each part (each ends in `\n`), in part order.
    Parts(Vec<Vec<u8>>),
    /// Command: elements of all partitions, in order.
    Elements(Vec<Value>),
    /// Kafka: messages of all partitions, in order.
    Rows(Vec<Row>),
}

/// What a sink shows of a staged batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Nothing, or a torn beginning that `publish` completes.
    No,
    /// All of it, and equal to what is staged.
    Whole,
    /// The sink cannot say (stdout, command): publish again.
    Unknown,
}

/// Where the job stands when it starts, before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The batch in flight, or else the one that comes next, with the time of the last one.
    pub next: BatchIdentity,
    /// Whether that batch is planned already.
    pub in_flight: bool,
    /// What the user says of it where a sink has forgotten.
    pub assume: Option<Assume>,
}

/// What to take the batch in flight for where the output cluster does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assume {
    Published,
    Unpublished,
}

/// One output of a job, for the life of the process.
pub trait Sink: Send {
    fn name(&self) -> &str;

    /// Told once, before anything else: who is asked while this sink waits inside a call.
    fn watched_by(&mut self, _watch: &Arc<dyn watch::Watch>) {}

    /// Where this sink stands in the order of publication: stdout and command 0, files and logs 1, Kafka 2.
    fn publication_order(&self) -> u8;

    /// Asked without `stage`: whether anything of the batch is visible. Decides whether its plan may be replaced.
    fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError>;

    /// Facts to store with the plan of the first batch that writes to this sink (a log's base length).
    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError>;

    /// Told at start: what the last commit (or else the plan) remembered. Looks at nothing.
    fn restore(&mut self, facts: Option<&SinkFacts>) -> Result<(), SinkError>;

    /// Told after `restore`, of every output that the checkpoint knows and the job no longer has.
    fn restore_beside(&mut self, _facts: &SinkFacts) {}

    /// Told after `restore`, before anything is written for this start: looks, and refuses what must not go on.
    fn inspect(&mut self, _standing: &Standing) -> Result<(), SinkError> {
        Ok(())
    }

    /// Told once nothing has refused: what the user said of it while no batch is in flight is recorded where the next start
    /// finds it.
    fn settle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError>;

    /// Asked after `stage`, before `publish`. A batch of ours that differs from what is staged is a refusal.
    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError>;

    /// Makes the staged output visible.
    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError>;

    /// After `publish` (or `published` = whole): what the commit stores.
    fn facts(&self) -> Option<SinkFacts>;

    /// The batch failed before publication: drop what was staged.
    fn discard(&mut self);

    /// The batch is committed: drop what was only kept in case it were not.
    fn committed(&mut self, _batch: &BatchIdentity) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether `rewind` can remove what was published; where it cannot, it asks the user first.
    fn takes_back(&self) -> bool;

    /// Whether `take_back` will find what it cuts back to. Looks, and refuses; nothing is changed.
    fn may_take_back(&mut self, _target: &SinkFacts) -> Result<(), SinkError> {
        Ok(())
    }

    /// Removes what was published after `target` (none: nothing was ever published before). May be called again after
    /// a crash; afterwards the sink stands as after `restore(target)`.
    fn take_back(&mut self, target: Option<&SinkFacts>) -> Result<(), SinkError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkErrorKind {
    /// Worth another try in this process.
    Transient,
    /// Kafka is away: tried until the limit, then the job stops (exit 6).
    Unreachable,
    /// Kafka refuses: credentials, an ACL (exit 6).
    Denied,
    /// The batch fails and the job stops (exit 1).
    Failed,
    /// What the sink holds contradicts the checkpoint (exit 3).
    Refused,
    /// Another process has taken over (exit 5).
    Fenced,
    /// The reader of stdout has gone: drain quietly, exit 0, the batch is not committed.
    ReaderGone,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    pub kind: SinkErrorKind,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl SinkError {
    pub fn new(kind: SinkErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None }
    }

    pub fn with(self, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), hint: Some(hint.into()), ..self }
    }

    /// The message and its detail, for a line of the log.
    pub fn on_one_line(&self) -> String {
        let detail = self.detail.iter().map(|detail| format!("; {}", on_one_line(detail).trim_end_matches('.')));
        std::iter::once(on_one_line(&self.message)).chain(detail).collect()
    }
}

/// The facts of an output that had the name before.
fn of_another_kind(name: &str, error: &dyn std::fmt::Display) -> SinkError {
    let what = format!("what the checkpoint knows of output {name} is of another kind of output");
    let hint = "Give the step another `name`, which makes it a new output; or put back the checkpoint as it was.";
    SinkError::new(SinkErrorKind::Refused, what).with(format!("{error}."), hint)
}

/// A failed file operation. A full disk may have room again on the next attempt.
fn file_error(message: &str, error: &io::Error) -> SinkError {
    use io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull, TimedOut};
    let transient = matches!(error.kind(), StorageFull | QuotaExceeded | Interrupted | TimedOut);
    let kind = if transient { SinkErrorKind::Transient } else { SinkErrorKind::Failed };
    SinkError::new(kind, message).with(format!("{error}."), way_on(error.kind()))
}

/// What to do about a file that cannot be read or written.
fn way_on(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{
        FileTooLarge, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    match kind {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "Make room for it and start the job again; it continues from the last commit."
        }
        PermissionDenied | ReadOnlyFilesystem => {
            "Let this user write there, or give the output another path, and start the job again."
        }
        IsADirectory | NotADirectory | InvalidFilename | InvalidInput => {
            "Give the output another path and start the job again."
        }
        _ => "Put the disk right and start the job again; it continues from the last commit.",
    }
}

/// A failed fsync is never tried again: what it left is unknown to this process.
fn sync_error(message: &str, error: &io::Error) -> SinkError {
    SinkError { kind: SinkErrorKind::Failed, ..file_error(message, error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_file_operation_says_what_to_do() {
        let check = |errno, kind, hint: &str| {
            let error = file_error("cannot write to log x", &io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind, kind, "{errno}");
            let told = error.hint.unwrap();
            assert!(told.contains(hint) && told.contains("start the job again"), "{errno}: {told}");
        };
        check(28, SinkErrorKind::Transient, "Make room");
        check(122, SinkErrorKind::Transient, "Make room");
        check(27, SinkErrorKind::Failed, "Make room");
        check(13, SinkErrorKind::Failed, "Let this user write there");
        check(30, SinkErrorKind::Failed, "Let this user write there");
        check(22, SinkErrorKind::Failed, "another path");
        check(5, SinkErrorKind::Failed, "Put the disk right");
        let sync = sync_error("cannot make log x durable", &io::Error::from_raw_os_error(28));
        assert_eq!(sync.kind, SinkErrorKind::Failed, "never tried again");
    }
}

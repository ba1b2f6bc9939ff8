//! Sources: which offsets exist, and the records of one offset range.
//!
//! Two planes are kept apart. The **control plane** ([`Source::available`], [`Source::start_offsets`]) asks what exists;
//! the **data plane** ([`Source::read`]) gives the records of one range, in order, as chunks. The driver plans with the
//! first, the executor's tasks (one a topic partition) read with the second. A source never decides what a batch reads
//! (`planner` does) and never stores an offset (`checkpoint` does).

pub mod kafka;

use std::{sync::Arc, time::Instant};

pub use crate::model::AvailablePartition;
use crate::model::{Column, OffsetRange, TopicPartition};

pub mod queue;
pub mod watch;

/// What can be read of a source now, sorted by topic name, then partition number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Available {
    pub partitions: Vec<AvailablePartition>,
}

pub use crate::job::Start;

/// One input of a job.
pub trait Source: Send + Sync {
    /// The job's name for it.
    fn name(&self) -> &str;

    /// Told once, before anything else: who is asked while this source waits inside a call.
    fn watched_by(&mut self, _watch: &Arc<dyn watch::Watch>) {}

    /// Refreshes metadata and asks for the offsets that exist now, under the source's isolation level.
    fn available(&mut self, deadline: Instant) -> Result<Available, SourceError>;

    /// A batch could not be read as it was planned: whatever [`Source::available`] remembers is asked anew.
    fn distrust(&mut self) {}

    /// Resolves `start` for partitions that have no stored offset: one offset each, in the order given.
    fn start_offsets(
        &mut self,
        partitions: &[AvailablePartition],
        start: &Start,
        deadline: Instant,
    ) -> Result<Vec<i64>, SourceError>;

    /// Tells the data plane which partitions will be read and where each continues, so that it can run ahead.
    /// Called between batches only, whenever the set changes, and before the first read.
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError>;

    /// The records of `range`, in offset order. Called concurrently for different topic partitions.
    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError>;

    /// Asked once `ranges` were read, and before anything that came of them is written: whether all of it is of the topics
    /// they were planned for. [`SourceErrorKind::Unreachable`] where that is in doubt: they must be read again.
    fn confirm(&self, _ranges: &[OffsetRange], _deadline: Instant) -> Result<(), SourceError> {
        Ok(())
    }

    /// Whether its batches follow each other without waiting, at times of a logical clock, until it ends.
    fn on_logical_clock(&self) -> bool {
        false
    }

    /// Copies committed offsets to the consumer group that lag tools look at, where the job names one. Called after a
    /// commit with all positions of the source; sends those that have changed, and does not wait. The checkpoint stays
    /// the truth: a failure is worth a warning, nothing more.
    fn mirror(&mut self, _positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    /// Waits, at most until `deadline`, for what was mirrored last.
    fn settle_mirror(&mut self, _deadline: Instant) {}
}

#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Most records of a chunk.
    pub chunk_records: usize,
    /// The range must be complete by then, else [`SourceErrorKind::Unreachable`]; renewed with every record that arrives.
    pub stall_timeout_ms: u64,
}

/// The records of one range.
pub trait RangeReader {
    /// The next chunk, never empty; `None` once the range is done (by position, never by count).
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError>;
}

/// What the driver does about a source's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The same call may succeed later: brokers away, leader moving, deadline passed.
    Unreachable,
    /// Asking again will not help: credentials, ACLs, a property librdkafka refuses, a topic that never existed.
    Refused,
    /// The job asks for what is not there: a start offset, an assigned partition. Its author can put that right.
    Usage,
    /// The plan is of a topic that was deleted; another one has its name now.
    Recreated,
    /// Offsets of the plan do not exist (any more): retention, deleted or truncated topic.
    DataLoss { tp: TopicPartition, planned: (i64, i64), earliest: i64, latest: i64 },
    /// Bytes from the broker that fail their checksum or cannot be parsed, also after a retry.
    Corrupt,
}

/// `message` names broker or topic and the limit that passed; `hint` can be acted on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    pub kind: SourceErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

//! What the command line asks of the driver, resolved: plain structs without flags.

use std::{num::NonZeroUsize, path::PathBuf};

use crate::{
    model::{BatchId, TopicPartition},
    source::Start,
};

/// The job file and what overrides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobRef {
    pub path: PathBuf,
    /// `--brokers`
    pub brokers: Option<String>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<(String, String)>,
}

/// `kstream run`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    pub until: Until,
    /// Stop after this many committed batches.
    pub max_batches: Option<u64>,
    /// Where a job without checkpoint begins, in place of the job's `start`.
    pub start: Option<Where>,
    pub accept_changes: AcceptChanges,
    /// Rayon workers; cores if not given.
    pub threads: Option<NonZeroUsize>,
    /// File for one JSON record a batch.
    pub progress: Option<PathBuf>,
}

/// How long a run goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// Ticks are waited for, until a signal comes.
    #[default]
    Stopped,
    /// What is available at start is processed without waiting for ticks.
    CaughtUp,
}

/// Whether an edited job may drop state or topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AcceptChanges {
    #[default]
    Refuse,
    DropWhatIsListed,
}

/// `kstream replay`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOptions {
    pub which: WhichBatches,
    pub mode: ReplayMode,
    pub threads: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichBatches {
    /// Every batch that is kept.
    All,
    One(BatchId),
    /// Both included; to the last committed one if no end is given.
    Range {
        from: BatchId,
        to: Option<BatchId>,
    },
    /// Batch times at or after it.
    Since(Moment),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayMode {
    /// With the given job: pprint outputs go to stdout, the others are counted, commands do not run.
    Show,
    /// With the job that ran each batch: digests are compared with those stored at commit.
    Verify,
}

/// `kstream rewind`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewindOptions {
    /// The batch that becomes the last committed one.
    pub to: BatchId,
    pub published: LeavePublished,
}

/// What happens to output that cannot be taken back (Kafka, commands, batch directories).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeavePublished {
    /// The rewind is refused.
    Refuse,
    Leave,
}

/// `kstream test`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOptions {
    pub files: Vec<PathBuf>,
}

/// A moment given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since the epoch.
    At(i64),
    /// Milliseconds before now.
    Ago(i64),
}

impl Moment {
    /// Milliseconds since the epoch.
    pub fn resolve(self, now_ms: i64) -> i64 {
        match self {
            Moment::At(ms) => ms,
            Moment::Ago(ms) => now_ms.saturating_sub(ms),
        }
    }
}

/// Where reading begins, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    Earliest,
    Latest,
    Moment(Moment),
    Offsets(Vec<(TopicPartition, i64)>),
}

impl Where {
    pub fn resolve(self, now_ms: i64) -> Start {
        match self {
            Where::Earliest => Start::Earliest,
            Where::Latest => Start::Latest,
            Where::Moment(moment) => Start::Time(moment.resolve(now_ms)),
            Where::Offsets(offsets) => Start::Offsets(offsets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ago_are_counted_from_now() {
        assert_eq!(Where::Moment(Moment::Ago(600)).resolve(1_000), Start::Time(400));
        assert_eq!(Where::Moment(Moment::At(600)).resolve(1_000), Start::Time(600));
        assert_eq!(Moment::Ago(i64::MAX).resolve(i64::MIN), i64::MIN);
    }
}

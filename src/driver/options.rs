//! What the command line asks of the driver, resolved: plain structs without flags.

use std::{num::NonZeroUsize, path::PathBuf};

use jiff::{civil::DateTime, tz::TimeZone};

use crate::{
    model::{BatchId, TopicPartition},
    sink::Assume,
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
    /// Stop after this many committed batches; never 0.
    pub max_batches: Option<u64>,
    /// Where a job without checkpoint begins, in place of the job's `start`.
    pub start: Option<Where>,
    pub accept_changes: AcceptChanges,
    /// What to take the batch in flight for where an output cluster has forgotten.
    pub assume: Option<Assume>,
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
    /// The batch that becomes the last committed one; none for a job that begins anew.
    pub to: Option<BatchId>,
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
    /// Write what the jobs give into the fixtures.
    pub update: bool,
}

/// A moment given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since the epoch.
    At(i64),
    /// Milliseconds before now.
    Ago(i64),
    /// In the job's time zone.
    Local(DateTime),
}

impl Moment {
    /// Milliseconds since the epoch.
    pub fn resolve(self, now_ms: i64, zone: &TimeZone) -> i64 {
        match self {
            Moment::At(ms) => ms,
            Moment::Ago(ms) => now_ms.saturating_sub(ms),
            // A time that the zone skips is read as after the gap, one that it repeats as the first. A date at the very
            // edge of the calendar is as good as the beginning.
            Moment::Local(local) => {
                local.to_zoned(zone.clone()).map_or(i64::MIN, |zoned| zoned.timestamp().as_millisecond())
            }
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
    pub fn resolve(self, now_ms: i64, zone: &TimeZone) -> Start {
        match self {
            Where::Earliest => Start::Earliest,
            Where::Latest => Start::Latest,
            Where::Moment(moment) => Start::Time(moment.resolve(now_ms, zone)),
            Where::Offsets(offsets) => Start::Offsets(offsets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_milliseconds() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let local = jiff::civil::date(2018, 12, 11).at(1, 31, 21, 0);
        for (moment, expected) in [
            (Moment::Ago(600), 400),
            (Moment::At(600), 600),
            (Moment::Local(local), 1_544_463_081_000),
            (Moment::Ago(i64::MIN), i64::MAX),
        ] {
            assert_eq!(Where::Moment(moment).resolve(1_000, &shanghai), Start::Time(expected));
        }
    }
}

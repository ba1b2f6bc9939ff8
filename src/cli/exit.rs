//! Exit codes: a public contract.

use std::process::ExitCode;

/// How a kstream process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Drained, a bounded run finished, or the reader of stdout has gone (that batch is not committed).
    Done = 0,
    /// The job failed.
    JobFailed = 1,
    /// Bad usage or bad job file; also a checkpoint directory that cannot be used at all, and a batch that is not kept.
    Usage = 2,
    /// Checkpoint refused: corrupt, newer, another job's, an incompatible edit, a sink that is ahead.
    CheckpointRefused = 3,
    /// Data loss: retention, a deleted or recreated topic, a truncated log.
    DataLoss = 4,
    /// The checkpoint is in use, or this process was fenced by another.
    InUse = 5,
    /// Kafka cannot be reached or refuses (credentials, ACL).
    Kafka = 6,
    /// A replay or a test gave something else than it should.
    Difference = 7,
    // 130 and 143, second SIGINT and SIGTERM, are left to `driver::signal`: they end the process on the spot.
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The end of `kstream --help`.
pub const HELP: &str = "\
Exit codes:
  0        drained, a bounded run finished, or the reader of stdout has gone
  1        the job failed
  2        bad usage or bad job file
  3        checkpoint refused: corrupt, newer, another job's, an incompatible edit
  4        data loss: retention, a deleted or recreated topic, a truncated log
  5        the checkpoint is in use, or this process was fenced
  6        Kafka cannot be reached, or refuses
  7        a replay or a test found a difference
  130,143  stopped by a second SIGINT or SIGTERM";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        use Exit::*;
        for exit in [Done, JobFailed, Usage, CheckpointRefused, DataLoss, InUse, Kafka, Difference] {
            assert!(HELP.lines().any(|line| line.starts_with(&format!("  {} ", exit as u8))), "{exit:?}");
        }
    }
}

//! Why a batch could not be executed.

use crate::{
    model::OffsetRange,
    operator::{Cause, StepFailure},
    source::SourceError,
};

/// Everything the driver needs to decide between another try and the end of the job, and to say why.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BatchFailure {
    /// A poison element under `on_error = "fail"`.
    #[error("step {step} cannot take an element: {cause}")]
    Poison {
        step: String,
        /// Line of the step in the job file.
        line: usize,
        cause: Cause,
        /// The element's text, shortened.
        value: String,
        /// `topic/partition offset 17`, where the element comes of one record.
        position: Option<String>,
    },
    /// A function over several records failed.
    #[error("step {step} failed: {}", failure.cause)]
    Step { step: String, line: usize, failure: StepFailure },
    #[error("cannot read {range}: {error}")]
    Source { range: OffsetRange, error: SourceError },
    #[error("step {step} {} {bytes} bytes {what}; memory_limit is {limit_bytes}", what.verb())]
    Memory { step: String, what: Held, bytes: u64, limit_bytes: u64 },
    /// Before any batch.
    #[error("cannot start {threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
    /// A defect of ours; contained.
    #[error("a task panicked: {message}")]
    Panicked { message: String },
    /// A lane behind one that failed; never reported.
    #[error("another task failed first")]
    Moot,
}

/// What it is that does not fit in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Of this batch: aggregates, results, chunks under way.
    Batch,
    /// State before the batch has begun: no smaller batch helps.
    State,
    /// Of one call of a lambda.
    Element,
}

impl Held {
    fn verb(self) -> &'static str {
        match self {
            Held::Batch | Held::State => "holds",
            Held::Element => "asks for more than",
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Held::Batch => "of a batch",
            Held::State => "of state",
            Held::Element => "for one element",
        })
    }
}

//! What fails in the rooms below, as the end of a run: its class, its facts, and what to do.

use super::error::{Class, DriverError};
use crate::{
    checkpoint::{self, CheckpointError},
    executor::{BatchFailure, Held},
    job::Job,
    model::BatchId,
    operator::Cause,
    sink::{SinkError, SinkErrorKind},
    source::{SourceError, SourceErrorKind},
};

/// A source's error as the end of a run.
pub fn source_failed(error: &SourceError) -> DriverError {
    let class = match error.kind {
        SourceErrorKind::Unreachable | SourceErrorKind::Refused => Class::Kafka,
        SourceErrorKind::Usage => Class::Usage,
        SourceErrorKind::Recreated | SourceErrorKind::DataLoss { .. } => Class::DataLoss,
        SourceErrorKind::Corrupt => Class::Failed,
    };
    DriverError::new(class, error.message.clone()).hint(error.hint.clone())
}

/// A sink's error as the end of a run.
pub fn sink_failed(output: &str, error: &SinkError) -> DriverError {
    let class = match error.kind {
        SinkErrorKind::Transient | SinkErrorKind::Failed => Class::Failed,
        SinkErrorKind::Unreachable | SinkErrorKind::Denied => Class::Kafka,
        SinkErrorKind::Refused => Class::Refused,
        SinkErrorKind::Fenced => Class::InUse,
        SinkErrorKind::ReaderGone => Class::ReaderGone,
    };
    let mut failed = DriverError::new(class, format!("output {output}: {}", error.message)).hint(error.hint.clone());
    failed.detail.extend(error.detail.clone());
    failed
}

/// A checkpoint's error as the end of a run.
pub fn checkpoint_failed(error: &CheckpointError) -> DriverError {
    let class = match error.class() {
        checkpoint::Class::Refused => Class::Refused,
        checkpoint::Class::Unusable => Class::Usage,
        checkpoint::Class::InUse => Class::InUse,
        checkpoint::Class::Io => Class::Failed,
    };
    let mut failed = DriverError::new(class, error.to_string()).hint(error.hint().map(str::to_owned));
    failed.detail.extend(error.detail());
    failed
}

/// The part of a function that failed, as it stands in its file.
fn excerpt(job: &Job, line: usize, cause: &Cause) -> Option<String> {
    let Cause::Lambda(error) = cause else { return None };
    job.places.excerpt(line, error)
}

/// A batch that cannot be executed as the end of a run.
pub fn batch_failed(batch: BatchId, failure: &BatchFailure, job: &Job) -> DriverError {
    let message = |class| DriverError::new(class, format!("batch {batch} failed: {}", one_line(&failure.to_string())));
    match failure {
        BatchFailure::Source { range, error } => {
            let class = source_failed(error).class;
            DriverError::new(class, format!("cannot read planned input of batch {batch}"))
                .detail(sentence(&format!("topic partition {range}: {}", error.message)))
                .hint(error.hint.clone())
        }
        BatchFailure::Poison { step, line, cause, value, position } => {
            let mut error = message(Class::Failed);
            error = error.detail(format!("Step {step} is at line {line} of {}.", job.places.text_name()));
            error = error.excerpt(excerpt(job, *line, cause));
            if let Some(position) = position {
                error = error.detail(format!("The element comes of {position}."));
            }
            if !value.is_empty() {
                error = error.detail(format!("The element is {}", one_line(value)));
            }
            error.hint("Set on_error = \"skip\" on the step or the job to leave such elements out.".to_owned())
        }
        BatchFailure::Step { step, line, failure } => {
            let error =
                message(Class::Failed).detail(format!("Step {step} is at line {line} of {}.", job.places.text_name()));
            let error = error.excerpt(excerpt(job, *line, &failure.cause));
            match &failure.key {
                Some(key) => error.detail(format!("The key is {}", one_line(&crate::model::text::repr(key)))),
                None => error,
            }
        }
        BatchFailure::Memory { what, .. } => message(Class::Failed)
            .detail(match what {
                Held::State => "No smaller batch helps: the state itself does not fit.",
                Held::Batch => "One record a partition, beside the state, does not fit.",
                Held::Element => "One element does not fit.",
            })
            .hint("Raise memory_limit.".to_owned()),
        BatchFailure::Threads { .. } => no_threads(failure),
        BatchFailure::Panicked { .. } | BatchFailure::Moot => message(Class::Failed),
    }
}

/// Threads that the system does not give, which is no matter of a batch.
pub fn no_threads(failure: &BatchFailure) -> DriverError {
    DriverError::new(Class::Failed, failure.to_string())
        .detail("A user and a container may have so many processes and threads (`ulimit -u`, a limit on pids).")
        .hint("Ask for fewer with --threads, or raise the limit.".to_owned())
}

/// A text as a sentence of a detail or hint.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// Text of a record or a lambda on one line of a message: control characters escaped, so that no record can write to a
/// terminal.
pub fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

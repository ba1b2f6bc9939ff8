//! How this room words what went wrong.

use crate::{
    model::TopicPartition,
    source::{SourceError, SourceErrorKind},
};

/// Asking again later may help.
pub fn unreachable(message: impl Into<String>) -> SourceError {
    SourceError { kind: SourceErrorKind::Unreachable, message: message.into(), hint: None }
}

/// Whether the topic was made again, or a broker is behind, is for the plan's side to find out.
pub fn of_another_topic(tp: &TopicPartition) -> SourceError {
    unreachable(format!("brokers give {tp} another topic id than the plan: it was made again, or a broker is behind"))
}

/// Asking again will not help.
pub fn refused(message: impl Into<String>, hint: Option<&str>) -> SourceError {
    SourceError { kind: SourceErrorKind::Refused, message: message.into(), hint: hint.map(str::to_owned) }
}

pub fn corrupt(message: impl Into<String>) -> SourceError {
    SourceError {
        kind: SourceErrorKind::Corrupt,
        message: message.into(),
        hint: Some("The broker's log, or something between it and here, is damaged; no record was skipped.".into()),
    }
}

pub fn is_refused(error: &SourceError) -> bool {
    error.kind == SourceErrorKind::Refused
}

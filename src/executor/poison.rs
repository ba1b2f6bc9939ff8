//! What becomes of poison elements: counted, kept for a dead letter, or the end of the batch.

pub use crate::protocol::PoisonCount;
use crate::{job::OnError, model::TopicPartition, operator::Cause};

/// An element kept for the dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Where it goes.
    pub to: OnError,
    pub step: String,
    pub cause: Cause,
    /// The element's text.
    pub value: String,
    /// The record it came of, with its undecoded key and value.
    pub origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub tp: TopicPartition,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where the broker has none.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Adds up the counts of all tasks, one a step, by step name.
pub(super) fn count_up(counts: &mut Vec<PoisonCount>) {
    counts.sort_by(|a, b| a.step.cmp(&b.step));
    counts.dedup_by(|next, kept| {
        let same = next.step == kept.step;
        if same {
            kept.count += next.count;
        }
        same
    });
}

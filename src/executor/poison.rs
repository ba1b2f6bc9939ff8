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

impl DeadLetter {
    /// Bytes held, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let origin = self.origin.as_ref().map_or(0, |origin| {
            let headers = origin.headers.iter().map(|(name, value)| 48 + name.len() + bytes(value)).sum::<usize>();
            bytes(&origin.key) + bytes(&origin.value) + headers
        });
        size_of::<DeadLetter>() + self.step.len() + self.value.len() + origin
    }
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

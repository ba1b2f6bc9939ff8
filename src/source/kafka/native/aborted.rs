//! Which batches belong to aborted transactions, by the rules of the protocol.
//!
//! A Fetch response under read_committed lists, for each partition, the aborted transactions that overlap what it
//! returned: producer id and first offset. A transaction begins to count once a batch reaches its first offset, and ends
//! at the producer's abort marker; the same producer may appear again later in the list.

use super::batch::Batch;

/// Type of a control record: the second 16-bit number of its key.
const ABORT_MARKER: i16 = 0;

/// State while one record set is read front to back. Visiting a batch again changes nothing.
#[derive(Debug, Clone, Default)]
pub struct AbortedTransactions {
    /// (first offset, producer id), the next one last.
    pending: Vec<(i64, i64)>,
    active: Vec<i64>,
}

impl AbortedTransactions {
    /// From (producer id, first offset) pairs in any order.
    pub fn new(list: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut pending: Vec<(i64, i64)> = list.into_iter().map(|(producer, first)| (first, producer)).collect();
        pending.sort_unstable_by(|a, b| b.cmp(a));
        Self { pending, active: Vec::new() }
    }

    /// Whether the records of a data batch are to be skipped. Call for each batch, in order.
    pub fn hides(&mut self, batch: &Batch) -> bool {
        self.begin_until(batch.last_offset);
        batch.is_transactional() && self.active.contains(&batch.producer_id)
    }

    /// Sees a control batch: an abort marker ends its producer's transaction. `records` are the batch's own bytes.
    pub fn marker(&mut self, batch: &Batch, records: &[u8]) {
        self.begin_until(batch.last_offset);
        if control_type(records) == Some(ABORT_MARKER) {
            self.active.retain(|&producer| producer != batch.producer_id);
        }
    }

    fn begin_until(&mut self, last_offset: i64) {
        while let Some(&(first, producer)) = self.pending.last()
            && first <= last_offset
        {
            self.pending.pop();
            if !self.active.contains(&producer) {
                self.active.push(producer);
            }
        }
    }
}

/// Type of the first control record: after length, attributes, time and offset deltas comes a key of two 16-bit numbers.
fn control_type(records: &[u8]) -> Option<i16> {
    let mut at = 0;
    super::varint::read(records, &mut at)?;
    at += 1;
    super::varint::read(records, &mut at)?;
    super::varint::read(records, &mut at)?;
    let key_len = super::varint::read(records, &mut at)?;
    if key_len < 4 {
        return None;
    }
    records.get(at + 2..)?.first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
}

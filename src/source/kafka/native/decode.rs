//! A whole record set at once: what a reader makes of given bytes. For tests and fuzzers, which have no broker.

use bytes::Bytes;

use super::{aborted::AbortedTransactions, chunk::ChunkShape, compression::Decompressor, record_set::RecordSet};
use crate::model::{RecordColumn, TopicPartition, ValueFormat};

/// The records of `bytes` with offsets `start <= offset < until`, in chunks of at most `chunk_records`; under
/// read_committed where `aborted` lists producer and first offset of aborted transactions. An error says what is wrong
/// with the bytes.
pub fn decode(
    bytes: &[u8],
    (start, until): (i64, i64),
    aborted: Option<&[(i64, i64)]>,
    chunk_records: usize,
) -> Result<Vec<RecordColumn>, String> {
    let aborted = aborted.map(|list| AbortedTransactions::new(list.iter().copied()));
    let shape = ChunkShape {
        tp: TopicPartition::new("topic", 0),
        key_format: ValueFormat::Utf8,
        value_format: ValueFormat::Utf8,
    };
    let mut set = RecordSet::new(Bytes::copy_from_slice(bytes), aborted);
    let (mut position, mut chunks) = (start, Vec::new());
    let mut decompressor = Decompressor::default();
    loop {
        match set.next_chunk(&mut position, until, chunk_records, &shape, &mut decompressor) {
            Ok(Some(chunk)) => chunks.push(chunk),
            Ok(None) => return Ok(chunks),
            Err(error) => return Err(error.to_string()),
        }
    }
}

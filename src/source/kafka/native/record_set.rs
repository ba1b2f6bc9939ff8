//! A fetched record set, read front to back as chunks.
//!
//! Batches are checked, decompressed and parsed in place: a chunk of uncompressed batches is views into the received
//! bytes, a chunk of compressed ones views into one buffer that several batches were decompressed into. A chunk never
//! mixes buffers. The position moves by `base offset + last offset delta + 1` of each batch, whatever compaction,
//! markers or aborted transactions left out, so that a range ends by arithmetic.

use bytes::Bytes;

use super::{
    aborted::AbortedTransactions,
    batch::{Batch, Malformed},
    chunk::{ChunkBuilder, ChunkShape},
    compression::{Codec, DECOMPRESSED_BATCH_LIMIT, DecompressError, Decompressor},
    records::{Progress, Stop, Wanted},
};
use crate::model::RecordColumn;

/// A chunk takes no further batch once so much has been decompressed for it.
const DECOMPRESSED_CHUNK_TARGET: usize = 2 << 20;

/// The unread part of a record set, whole batches or a cut-off last one.
pub struct RecordSet {
    bytes: Bytes,
    at: usize,
    /// `None` under read_uncommitted, where aborted records are read like others.
    aborted: Option<AbortedTransactions>,
    open: Option<OpenBatch>,
}

/// A batch of which some records have been read.
struct OpenBatch {
    buffer: Bytes,
    in_set: bool,
    progress: Progress,
}

/// Where the views of the chunk under construction point.
enum Buffer {
    Unused,
    Set,
    Frozen(Bytes),
    Growing(Vec<u8>),
}

impl RecordSet {
    pub fn new(bytes: Bytes, aborted: Option<AbortedTransactions>) -> Self {
        Self { bytes, at: 0, aborted, open: None }
    }

    /// The next records with offsets `position <= offset < until`, at most `max_records`, and moves `position` behind
    /// what has been seen. `None` once the set is used up or `position` has reached `until`; what lies behind `until`
    /// stays for the next range. After an error the set is of no further use, and `position` is where it was.
    pub fn next_chunk(
        &mut self,
        position: &mut i64,
        until: i64,
        max_records: usize,
        shape: &ChunkShape,
        decompressor: &mut Decompressor,
    ) -> Result<Option<RecordColumn>, Malformed> {
        let wanted = Wanted { from: *position, until, max_records: max_records.max(1) };
        let mut chunk = ChunkBuilder::default();
        let mut buffer = Buffer::Unused;
        let mut reached = *position;
        while reached < until && chunk.len() < wanted.max_records {
            if self.open.is_none() && !self.open_next(&mut reached, until, &chunk, &mut buffer, decompressor)? {
                break;
            }
            let Some(mut open) = self.open.take() else { continue };
            let data = match &buffer {
                Buffer::Growing(bytes) => bytes.as_slice(),
                _ => &open.buffer,
            };
            let stop = open
                .progress
                .parse(data, &mut chunk, wanted)
                .map_err(|what| Malformed::Batch { offset: open.progress.base_offset(), what })?;
            if let Buffer::Unused = buffer {
                buffer = if open.in_set { Buffer::Set } else { Buffer::Frozen(open.buffer.clone()) };
            }
            match stop {
                Stop::Done => reached = reached.max(open.progress.next_offset().min(until)),
                Stop::Pending => {
                    let full = chunk.len() >= wanted.max_records;
                    reached = if full { reached.max(open.progress.position()) } else { until };
                    self.open = Some(open);
                }
            }
        }
        let data = match buffer {
            Buffer::Unused => Bytes::new(),
            Buffer::Set => self.bytes.clone(),
            Buffer::Frozen(bytes) => bytes,
            Buffer::Growing(bytes) => {
                let bytes = decompressor.buffers.freeze(bytes);
                if let Some(open) = self.open.as_mut().filter(|open| !open.in_set) {
                    open.buffer = bytes.clone();
                }
                bytes
            }
        };
        *position = reached;
        Ok((!chunk.is_empty()).then(|| chunk.finish(data, shape)))
    }

    /// Whether nothing at or behind `position` is in it.
    pub fn is_used_up(&self, position: i64) -> bool {
        if self.open.is_some() {
            return false;
        }
        let mut at = self.at;
        while let Ok(Some(batch)) = Batch::peek(&self.bytes, at) {
            if position <= batch.last_offset {
                return false;
            }
            at = batch.end;
        }
        true
    }

    /// Opens the next batch that holds wanted records and whose buffer fits the chunk. `false`: there is none.
    fn open_next(
        &mut self,
        reached: &mut i64,
        until: i64,
        chunk: &ChunkBuilder,
        buffer: &mut Buffer,
        decompressor: &mut Decompressor,
    ) -> Result<bool, Malformed> {
        while *reached < until {
            let Some(batch) = Batch::peek(&self.bytes, self.at)? else { return Ok(false) };
            if until <= batch.base_offset {
                *reached = until;
                return Ok(false);
            }
            let codec = codec_of(&batch)?;
            if !chunk.is_empty() && !fits(buffer, codec) {
                return Ok(false);
            }
            let unread = *reached <= batch.last_offset;
            if unread || batch.is_control() {
                batch.verify(&self.bytes)?;
            }
            let hidden = self.hides(&batch);
            self.at = batch.end;
            if !unread || hidden {
                *reached = (*reached).max(batch.next_offset().min(until));
                continue;
            }
            if chunk.is_empty() {
                *buffer = Buffer::Unused;
            }
            self.open = Some(match codec {
                Codec::None => {
                    *buffer = Buffer::Set;
                    let records = batch.records();
                    let progress = Progress::begin(&batch, records.start, records.end);
                    OpenBatch { buffer: self.bytes.clone(), in_set: true, progress }
                }
                codec => {
                    let progress = self.decompress(&batch, codec, buffer, decompressor)?;
                    OpenBatch { buffer: Bytes::new(), in_set: false, progress }
                }
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the batch holds nothing to deliver: transaction markers, or records of an aborted transaction.
    fn hides(&mut self, batch: &Batch) -> bool {
        if batch.is_control() {
            if let Some(aborted) = &mut self.aborted {
                aborted.marker(batch, self.bytes.get(batch.records()).unwrap_or_default());
            }
            return true;
        }
        self.aborted.as_mut().is_some_and(|aborted| aborted.hides(batch))
    }

    fn decompress(
        &self,
        batch: &Batch,
        codec: Codec,
        buffer: &mut Buffer,
        decompressor: &mut Decompressor,
    ) -> Result<Progress, Malformed> {
        let mut output = match std::mem::replace(buffer, Buffer::Unused) {
            Buffer::Growing(output) => output,
            _ => decompressor.buffers.take(DECOMPRESSED_CHUNK_TARGET),
        };
        let start = output.len();
        let input = self.bytes.get(batch.records()).unwrap_or_default();
        let result = decompressor.append(codec, input, &mut output, DECOMPRESSED_BATCH_LIMIT);
        let progress = Progress::begin(batch, start, output.len());
        *buffer = Buffer::Growing(output);
        match result {
            Ok(()) => Ok(progress),
            Err(DecompressError::TooLarge) => {
                Err(Malformed::TooLarge { offset: batch.base_offset, limit: DECOMPRESSED_BATCH_LIMIT })
            }
            Err(DecompressError::Invalid(reason)) => {
                Err(Malformed::Compression { offset: batch.base_offset, codec: codec.name(), reason })
            }
        }
    }
}

fn codec_of(batch: &Batch) -> Result<Codec, Malformed> {
    Codec::from_id(batch.codec_id())
        .ok_or(Malformed::Batch { offset: batch.base_offset, what: "its compression codec is unknown" })
}

/// Whether a batch of this codec can share the chunk's buffer.
fn fits(buffer: &Buffer, codec: Codec) -> bool {
    match buffer {
        Buffer::Unused => true,
        Buffer::Set => codec == Codec::None,
        Buffer::Frozen(_) => false,
        Buffer::Growing(bytes) => codec != Codec::None && bytes.len() < DECOMPRESSED_CHUNK_TARGET,
    }
}

#[cfg(test)]
mod tests;

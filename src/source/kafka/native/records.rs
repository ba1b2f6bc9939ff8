//! The records of one batch, decompressed: parsed in place into a chunk, resumable at any record.

use super::{batch::Batch, chunk::ChunkBuilder, varint};
use crate::model::View;

/// Where parsing of a batch's records stands.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Next byte, and the end of the batch's records, in the buffer that holds them.
    at: usize,
    end: usize,
    remaining: u32,
    last_delta: i64,
    base_offset: i64,
    final_delta: i64,
    base_timestamp: i64,
    log_append_time: Option<i64>,
}

/// Why parsing returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Every record of the batch has been seen.
    Done,
    /// The chunk is full, or the next record lies behind the range.
    Pending,
}

/// Which records are wanted: offsets `from <= offset < until`, until the chunk holds `max_records`.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub from: i64,
    pub until: i64,
    pub max_records: usize,
}

impl Progress {
    /// At the first record of `batch`, whose records lie at `at..end` of some buffer.
    pub fn begin(batch: &Batch, at: usize, end: usize) -> Progress {
        Progress {
            at,
            end,
            remaining: batch.count,
            last_delta: -1,
            base_offset: batch.base_offset,
            final_delta: batch.last_offset - batch.base_offset,
            base_timestamp: batch.base_timestamp,
            log_append_time: batch.log_append_time(),
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub fn next_offset(&self) -> i64 {
        self.base_offset + self.final_delta + 1
    }

    /// Offset behind the last record that was parsed.
    pub fn position(&self) -> i64 {
        self.base_offset + self.last_delta + 1
    }

    /// Parses on, appending the wanted records to `chunk`. An error says what is wrong with the batch.
    pub fn parse(&mut self, buffer: &[u8], chunk: &mut ChunkBuilder, wanted: Wanted) -> Result<Stop, &'static str> {
        let region = buffer.get(..self.end).ok_or("its records are cut off")?;
        chunk.reserve((self.remaining as usize).min(wanted.max_records.saturating_sub(chunk.len())).min(region.len()));
        let mut at = self.at;
        while self.remaining > 0 {
            let len = varint::read(region, &mut at).ok_or("a record's length is cut off")?;
            let end =
                usize::try_from(len).ok().and_then(|len| at.checked_add(len)).ok_or("a record's length is negative")?;
            let record = region.get(..end).ok_or("a record is longer than its batch")?;
            let start = at;
            at += 1;
            let time_delta = varint::read(record, &mut at).ok_or(CUT_OFF)?;
            let delta = varint::read(record, &mut at).ok_or(CUT_OFF)?;
            if delta <= self.last_delta || delta > self.final_delta {
                return Err("its records are out of order");
            }
            let offset = self.base_offset + delta;
            if wanted.until <= offset || chunk.len() >= wanted.max_records {
                return Ok(Stop::Pending);
            }
            let key = bytes(record, &mut at).ok_or(CUT_OFF)?;
            let value = bytes(record, &mut at).ok_or(CUT_OFF)?;
            let headers = varint::read(record, &mut at).ok_or(CUT_OFF)?;
            if headers != 0 {
                read_headers(record, &mut at, headers, chunk)?;
            }
            if at != end || start == end {
                return Err("a record's length does not fit its parts");
            }
            if wanted.from <= offset {
                let timestamp = self.log_append_time.unwrap_or(self.base_timestamp.wrapping_add(time_delta));
                chunk.push(offset, timestamp, key, value);
            } else if headers != 0 {
                chunk.drop_headers_of_next();
            }
            self.at = at;
            self.last_delta = delta;
            self.remaining -= 1;
        }
        match at == self.end {
            true => Ok(Stop::Done),
            false => Err("it has bytes behind its last record"),
        }
    }
}

const CUT_OFF: &str = "a record is cut off";

/// A length and so many bytes; length -1 is null.
#[inline(always)]
fn bytes(record: &[u8], at: &mut usize) -> Option<View> {
    let len = varint::read(record, at)?;
    if len < 0 {
        return (len == -1).then_some(View::NULL);
    }
    let start = *at;
    if len as u64 > (record.len() - start.min(record.len())) as u64 {
        return None;
    }
    *at = start + len as usize;
    Some(View { offset: start as u32, len: len as u32 })
}

#[inline(never)]
fn read_headers(record: &[u8], at: &mut usize, count: i64, chunk: &mut ChunkBuilder) -> Result<(), &'static str> {
    if count < 0 {
        return Err("a record's header count is negative");
    }
    for _ in 0..count {
        let name = bytes(record, at).filter(|name| !name.is_null()).ok_or(CUT_OFF)?;
        let value = bytes(record, at).ok_or(CUT_OFF)?;
        chunk.push_header(name, value);
    }
    Ok(())
}

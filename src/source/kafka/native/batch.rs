//! The header of a record batch (magic 2): where it lies in a record set, what it says, whether its bytes are whole.
//!
//! ```text
//! 0           8       12        16    17   21          23                 27          35
//! base offset | length | leader  |magic| CRC | attributes | last offset delta | base time | ...
//!                        epoch                ^^^^^^^^^^^^ the CRC-32C covers from here to the end
//! ... 35         43            51          53         57      61
//!     | max time | producer id | its epoch | sequence | count | records
//! ```

use std::ops::Range;

/// Bytes before what `length` counts.
const LOG_OVERHEAD: usize = 12;
pub const HEADER_LEN: usize = 61;
const MAGIC_AT: usize = 16;
const CRC_COVERS_FROM: usize = 21;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// Why bytes are no record set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("message format {0} (magic {0}) is older than Kafka 0.11's, which kstream does not read")]
    OldMagic(i8),
    #[error("the record batch at offset {offset} says magic {magic}, which no Kafka writes")]
    UnknownMagic { offset: i64, magic: i8 },
    #[error("the record batch at offset {offset} has checksum {found:08x} where its header says {expected:08x}")]
    Checksum { offset: i64, expected: u32, found: u32 },
    #[error("the record batch at offset {offset}: {what}")]
    Batch { offset: i64, what: &'static str },
    #[error("the record batch at offset {offset} cannot be decompressed with {codec}: {reason}")]
    Compression { offset: i64, codec: &'static str, reason: String },
    #[error("the record batch at offset {offset} decompresses to more than {limit} bytes")]
    TooLarge { offset: i64, limit: usize },
}

impl Malformed {
    /// Whether other bytes may come when the same offset is fetched again.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Malformed::OldMagic(_) | Malformed::TooLarge { .. })
    }
}

/// One batch of a record set. `end - start` bytes lie in the set; `base_offset <= last_offset`, both valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub start: usize,
    pub end: usize,
    pub base_offset: i64,
    /// Offset of the last record written, whether or not compaction removed it since.
    pub last_offset: i64,
    pub leader_epoch: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub count: u32,
    crc: u32,
    attributes: i16,
}

impl Batch {
    /// Reads the header at `at`. `None` where the set ends there, or where the batch is cut off.
    pub fn peek(set: &[u8], at: usize) -> Result<Option<Batch>, Malformed> {
        let Some(bytes) = set.get(at..) else { return Ok(None) };
        let (Some(base_offset), Some(length)) = (i64_at(bytes, 0), i32_at(bytes, 8)) else { return Ok(None) };
        let Some(&magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
        let malformed = |what| Malformed::Batch { offset: base_offset, what };
        match magic as i8 {
            2 => {}
            old @ (0 | 1) => return Err(Malformed::OldMagic(old)),
            magic => return Err(Malformed::UnknownMagic { offset: base_offset, magic }),
        }
        let length = usize::try_from(length).map_err(|_| malformed("its length is negative"))?;
        if length < HEADER_LEN - LOG_OVERHEAD {
            return Err(malformed("its length is shorter than a header"));
        }
        if bytes.len() < LOG_OVERHEAD + length {
            return Ok(None);
        }
        let header = Header(bytes);
        let (last_delta, count) = (header.i32(23), header.i32(57));
        let last_offset = base_offset.checked_add(i64::from(last_delta));
        match last_offset {
            Some(last) if base_offset >= 0 && last_delta >= 0 && last < i64::MAX => {}
            _ => return Err(malformed("its offsets are out of range")),
        }
        Ok(Some(Batch {
            start: at,
            end: at + LOG_OVERHEAD + length,
            base_offset,
            last_offset: last_offset.unwrap_or(base_offset),
            leader_epoch: header.i32(12),
            crc: header.i32(17) as u32,
            attributes: header.i16(21),
            base_timestamp: header.i64(27),
            max_timestamp: header.i64(35),
            producer_id: header.i64(43),
            count: u32::try_from(count).map_err(|_| malformed("its record count is negative"))?,
        }))
    }

    /// Bytes that the batch beginning at `at` would need, where that much of the header is there.
    pub fn wanted_len(set: &[u8], at: usize) -> Option<usize> {
        let length = usize::try_from(i32_at(set.get(at..)?, 8)?).ok()?;
        Some(LOG_OVERHEAD + length)
    }

    /// Checks the CRC-32C over everything behind it.
    pub fn verify(&self, set: &[u8]) -> Result<(), Malformed> {
        let covered = set.get(self.start + CRC_COVERS_FROM..self.end).unwrap_or_default();
        let found = crc_fast::crc32_iscsi(covered);
        match found == self.crc {
            true => Ok(()),
            false => Err(Malformed::Checksum { offset: self.base_offset, expected: self.crc, found }),
        }
    }

    /// The first offset behind the batch, whatever compaction left of it.
    pub fn next_offset(&self) -> i64 {
        self.last_offset + 1
    }

    /// Where the (possibly compressed) records lie in the set.
    pub fn records(&self) -> Range<usize> {
        self.start + HEADER_LEN..self.end
    }

    pub fn codec_id(&self) -> i16 {
        self.attributes & CODEC_BITS
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// The one timestamp of all its records, where the broker stamped them.
    pub fn log_append_time(&self) -> Option<i64> {
        (self.attributes & LOG_APPEND_TIME_BIT != 0).then_some(self.max_timestamp)
    }
}

/// Fixed fields of a header whose presence `peek` has made sure of; zero where they are not.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn i16(&self, at: usize) -> i16 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| i16::from_be_bytes(*bytes))
    }

    fn i32(&self, at: usize) -> i32 {
        i32_at(self.0, at).unwrap_or(0)
    }

    fn i64(&self, at: usize) -> i64 {
        i64_at(self.0, at).unwrap_or(0)
    }
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes.get(at..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// What the fetching side must know of a set without touching its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of whole batches.
    pub complete_len: usize,
    /// Where the next fetch begins; `None` without a whole batch.
    pub next_offset: Option<i64>,
    /// Leader epoch of the last whole batch.
    pub leader_epoch: i32,
    /// Size of the batch that was cut off, where its header tells.
    pub cut_off_len: Option<usize>,
    /// What is wrong behind the whole batches.
    pub damage: Option<Malformed>,
}

/// Walks the headers of `set`, one cache line a batch. The checksum does not cover a batch's base offset: that offsets
/// rise from batch to batch is checked here.
pub fn extent(set: &[u8]) -> Extent {
    let mut extent = Extent { complete_len: 0, next_offset: None, leader_epoch: -1, cut_off_len: None, damage: None };
    loop {
        match Batch::peek(set, extent.complete_len) {
            Ok(Some(batch)) if extent.next_offset.is_some_and(|next| batch.base_offset < next) => {
                let what = "it begins before the batch ahead of it ends";
                extent.damage = Some(Malformed::Batch { offset: batch.base_offset, what });
                return extent;
            }
            Ok(Some(batch)) => {
                extent.complete_len = batch.end;
                extent.next_offset = Some(batch.next_offset());
                extent.leader_epoch = batch.leader_epoch;
            }
            Ok(None) => {
                extent.cut_off_len = Batch::wanted_len(set, extent.complete_len);
                return extent;
            }
            Err(damage) => {
                extent.damage = Some(damage);
                return extent;
            }
        }
    }
}

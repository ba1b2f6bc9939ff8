//! Record batches made by hand for this room's tests: any field can be wrong.

use std::io::Write;

use super::compression::Codec;

#[derive(Debug, Clone)]
pub struct MadeRecord {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub struct MadeBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub log_append_time: Option<i64>,
    /// Producer id of a transactional batch.
    pub transaction: Option<i64>,
    pub control: bool,
    pub records: Vec<MadeRecord>,
}

pub fn record(offset: i64, key: Option<&str>, value: Option<&str>) -> MadeRecord {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    MadeRecord { offset, timestamp: 1_000 + offset, key: bytes(key), value: bytes(value), headers: Vec::new() }
}

impl MadeBatch {
    /// Plain records of value `v<offset>`.
    pub fn of(offsets: impl IntoIterator<Item = i64>) -> MadeBatch {
        let records: Vec<_> = offsets.into_iter().map(|i| record(i, None, Some(&format!("v{i}")))).collect();
        Self::with(records)
    }

    pub fn with(records: Vec<MadeRecord>) -> MadeBatch {
        MadeBatch {
            base_offset: records[0].offset,
            last_offset: records[records.len() - 1].offset,
            leader_epoch: 0,
            codec: Codec::None,
            log_append_time: None,
            transaction: None,
            control: false,
            records,
        }
    }

    pub fn codec(mut self, codec: Codec) -> MadeBatch {
        self.codec = codec;
        self
    }

    pub fn transaction(mut self, producer: i64) -> MadeBatch {
        self.transaction = Some(producer);
        self
    }

    /// A commit (`kind` 1) or abort (0) marker.
    pub fn marker(offset: i64, producer: i64, kind: i16) -> MadeBatch {
        let mut marker = record(offset, None, Some("\0\0\0\0\0\0"));
        marker.key = Some([0i16.to_be_bytes(), kind.to_be_bytes()].concat());
        MadeBatch { control: true, ..Self::with(vec![marker]).transaction(producer) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let base_timestamp = self.records.first().map_or(0, |record| record.timestamp);
        let plain: Vec<u8> =
            self.records.iter().flat_map(|record| record_bytes(record, self.base_offset, base_timestamp)).collect();
        let records = compress(self.codec, &plain);
        let codec = match self.codec {
            Codec::None => 0i16,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        };
        let flags = i16::from(self.log_append_time.is_some()) << 3
            | i16::from(self.transaction.is_some()) << 4
            | i16::from(self.control) << 5;
        let mut covered = Vec::new();
        covered.extend((codec | flags).to_be_bytes());
        covered.extend(((self.last_offset - self.base_offset) as i32).to_be_bytes());
        covered.extend(base_timestamp.to_be_bytes());
        covered.extend(self.log_append_time.unwrap_or(base_timestamp).to_be_bytes());
        covered.extend(self.transaction.unwrap_or(-1).to_be_bytes());
        covered.extend(0i16.to_be_bytes());
        covered.extend(0i32.to_be_bytes());
        covered.extend((self.records.len() as i32).to_be_bytes());
        covered.extend(records);
        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend((covered.len() as i32 + 9).to_be_bytes());
        bytes.extend(self.leader_epoch.to_be_bytes());
        bytes.push(2);
        bytes.extend(crc_fast::crc32_iscsi(&covered).to_be_bytes());
        bytes.extend(covered);
        bytes
    }
}

/// Writes the checksum that fits the changed bytes of a batch at the front of `bytes`.
pub fn seal(bytes: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

pub fn varint(number: i64, to: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

fn record_bytes(record: &MadeRecord, base_offset: i64, base_timestamp: i64) -> Vec<u8> {
    let mut body = vec![0];
    varint(record.timestamp - base_timestamp, &mut body);
    varint(record.offset - base_offset, &mut body);
    let field = |bytes: Option<&[u8]>, body: &mut Vec<u8>| {
        varint(bytes.map_or(-1, |bytes| bytes.len() as i64), body);
        body.extend(bytes.unwrap_or_default());
    };
    field(record.key.as_deref(), &mut body);
    field(record.value.as_deref(), &mut body);
    varint(record.headers.len() as i64, &mut body);
    for (name, value) in &record.headers {
        field(Some(name.as_bytes()), &mut body);
        field(value.as_deref(), &mut body);
    }
    let mut bytes = Vec::new();
    varint(body.len() as i64, &mut bytes);
    bytes.extend(body);
    bytes
}

pub fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
    }
}

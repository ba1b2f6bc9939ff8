//! Records under construction: vectors that become a [`RecordColumn`] once their buffer is complete.

use std::ops::Range;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::model::{RawColumn, RecordColumn, TopicPartition, ValueFormat, View, column::Headers};

/// What every chunk of a partition says beside its records.
#[derive(Debug, Clone)]
pub struct ChunkShape {
    pub tp: TopicPartition,
    pub key_format: ValueFormat,
    pub value_format: ValueFormat,
}

/// Views refer to one buffer, which may still be growing.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<View>,
    values: Vec<View>,
    headers: Vec<Header>,
}

/// One header of record `record`.
#[derive(Debug)]
struct Header {
    record: u32,
    name: View,
    value: View,
}

impl ChunkBuilder {
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn reserve(&mut self, records: usize) {
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.keys.reserve(records);
        self.values.reserve(records);
    }

    #[inline(always)]
    pub fn push(&mut self, offset: i64, timestamp: i64, key: View, value: View) {
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        self.keys.push(key);
        self.values.push(value);
    }

    /// Adds a header to the record that is pushed next.
    pub fn push_header(&mut self, name: View, value: View) {
        self.headers.push(Header { record: self.offsets.len() as u32, name, value });
    }

    /// Forgets headers of a record that was not pushed.
    pub fn drop_headers_of_next(&mut self) {
        let next = self.offsets.len() as u32;
        while self.headers.last().is_some_and(|header| header.record == next) {
            self.headers.pop();
        }
    }

    pub fn finish(self, buffer: Bytes, shape: &ChunkShape) -> RecordColumn {
        let headers = match self.headers.is_empty() {
            true => Vec::new(),
            false => collect_headers(&self.headers, &buffer, self.offsets.len()),
        };
        RecordColumn {
            tp: shape.tp.clone(),
            key_format: shape.key_format,
            value_format: shape.value_format,
            offsets: self.offsets,
            timestamps: self.timestamps,
            keys: RawColumn { buffer: buffer.clone(), views: self.keys },
            values: RawColumn { buffer, views: self.values },
            headers,
        }
    }
}

fn collect_headers(headers: &[Header], buffer: &Bytes, records: usize) -> Vec<Headers> {
    let slice = |range: Range<usize>| match range.end <= buffer.len() {
        true => buffer.slice(range),
        false => Bytes::new(),
    };
    let mut by_record = vec![Headers::new(); records];
    for header in headers {
        let name = SmolStr::new(String::from_utf8_lossy(&slice(header.name.range())));
        let value = (!header.value.is_null()).then(|| slice(header.value.range()));
        if let Some(of_record) = by_record.get_mut(header.record as usize) {
            of_record.push((name, value));
        }
    }
    by_record
}

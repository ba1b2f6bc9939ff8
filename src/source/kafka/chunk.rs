//! Records from librdkafka as one column: payloads copied once, into one buffer a chunk, and views into it.

use std::sync::Arc;

use bytes::Bytes;

use super::raw::RawMessage;
use crate::model::{Column, RawColumn, RecordColumn, TopicPartition, ValueFormat, View, column::Headers};

/// A chunk's buffer is closed at this size; views are 32 bits wide.
const CHUNK_BYTES: usize = 32 << 20;

/// How keys and values are to be decoded later.
#[derive(Debug, Clone, Copy)]
pub struct Formats {
    pub key: ValueFormat,
    pub value: ValueFormat,
}

#[derive(Default)]
pub struct ChunkBuilder {
    buffer: Vec<u8>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<View>,
    values: Vec<View>,
    headers: Vec<Headers>,
}

impl ChunkBuilder {
    pub fn with_capacity(records: usize, bytes: usize) -> ChunkBuilder {
        ChunkBuilder {
            buffer: Vec::with_capacity(bytes.min(CHUNK_BYTES)),
            offsets: Vec::with_capacity(records),
            timestamps: Vec::with_capacity(records),
            keys: Vec::with_capacity(records),
            values: Vec::with_capacity(records),
            headers: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether `message` would make the buffer larger than a chunk may be; one record alone always fits.
    pub fn overflows(&self, message: &RawMessage) -> bool {
        let more = message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len);
        !self.offsets.is_empty() && self.buffer.len() + more > CHUNK_BYTES
    }

    pub fn push(&mut self, message: &RawMessage) {
        let headers = message.headers();
        if headers.is_some() || !self.headers.is_empty() {
            self.headers.resize_with(self.offsets.len(), Headers::new);
            self.headers.push(headers.unwrap_or_default());
        }
        self.offsets.push(message.offset());
        self.timestamps.push(message.timestamp());
        let key = self.copy(message.key());
        self.keys.push(key);
        let value = self.copy(message.value());
        self.values.push(value);
    }

    fn copy(&mut self, bytes: Option<&[u8]>) -> View {
        let Some(bytes) = bytes else { return View::NULL };
        let offset = self.buffer.len() as u32; // below CHUNK_BYTES, or one record alone
        self.buffer.extend_from_slice(bytes);
        View { offset, len: bytes.len() as u32 }
    }

    pub fn finish(self, tp: &TopicPartition, formats: Formats) -> Column {
        let buffer = Bytes::from(self.buffer);
        Column::Record(Arc::new(RecordColumn {
            tp: tp.clone(),
            key_format: formats.key,
            value_format: formats.value,
            offsets: self.offsets,
            timestamps: self.timestamps,
            keys: RawColumn { buffer: buffer.clone(), views: self.keys },
            values: RawColumn { buffer, views: self.values },
            headers: self.headers,
        }))
    }
}

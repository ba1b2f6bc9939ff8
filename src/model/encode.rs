//! The canonical value encoding: one byte sequence a value, the same on every run and machine.
//!
//! Digests, state and the checkpoint are made of it; [`VALUE_ENCODING`] names its version and is stored in job texts.
//!
//! ```text
//! None 0x00 | False 0x01 | True 0x02 | int 0x03 zigzag-varint | big int 0x04 len bytes (signed, little-endian)
//! float 0x05 8 bytes (bits, big-endian) | str 0x06 len utf-8 | bytes 0x07 len bytes | list 0x08 count items
//! tuple 0x09 count items | dict 0x0a count (key value)* in insertion order | struct 0x0b count (name value)*
//! record 0x0c topic partition offset timestamp key value headers
//! ```
//! `len`, `count` and the integers of a record are varints (LEB128; zigzag where signed).

use std::sync::Arc;

use num_bigint::BigInt;
use smol_str::SmolStr;

use super::{Dict, Record, Struct, TopicPartition, Value, key::Key};

/// Name and version of this encoding.
pub const VALUE_ENCODING: &str = "kstream-value/1";

/// How deep a value may nest where it leaves a lambda: JSON (512) and what a lambda puts around it.
pub const MAX_VALUE_DEPTH: usize = 544;

/// How deep what is written may nest: the rest is room for what operators and state put around a value.
pub const MAX_DEPTH: usize = 600;

/// No value has this tag: an opaque one was written, and cannot be read.
const OPAQUE: u8 = 0xff;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("value ends early")]
    Truncated,
    #[error("unknown value tag {0:#04x}")]
    UnknownTag(u8),
    #[error("text is not valid UTF-8")]
    NotUtf8,
    #[error("number out of range")]
    OutOfRange,
    #[error("a {0} is no key")]
    NoKey(&'static str),
    #[error("a {0} cannot be kept")]
    Opaque(SmolStr),
    #[error("values nest deeper than {MAX_DEPTH}")]
    TooDeep,
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends `value`. An opaque value, which no lambda returns, is written as what no reader takes.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => out.push(0x00),
        Value::Opaque(opaque) => {
            out.push(OPAQUE);
            put_bytes(out, opaque.type_name().as_bytes());
        }
        Value::Bool(b) => out.push(if *b { 0x02 } else { 0x01 }),
        Value::Int(int) => {
            out.push(0x03);
            put_zigzag(out, *int);
        }
        Value::BigInt(big) => {
            out.push(0x04);
            put_bytes(out, &big.to_signed_bytes_le());
        }
        Value::Float(float) => {
            out.push(0x05);
            out.extend_from_slice(&float.to_bits().to_be_bytes());
        }
        Value::Str(text) => {
            out.push(0x06);
            put_bytes(out, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(0x07);
            put_bytes(out, bytes);
        }
        Value::List(items) => put_items(out, 0x08, items),
        Value::Tuple(items) => put_items(out, 0x09, items),
        Value::Dict(dict) => {
            out.push(0x0a);
            put_varint(out, dict.len() as u64);
            for (key, value) in dict.iter() {
                put_value(out, key.value());
                put_value(out, value);
            }
        }
        Value::Struct(fields) => {
            out.push(0x0b);
            put_named(out, &fields.fields);
        }
        Value::Record(record) => {
            out.push(0x0c);
            put_bytes(out, record.tp.topic.as_bytes());
            put_zigzag(out, i64::from(record.tp.partition));
            put_zigzag(out, record.offset);
            put_zigzag(out, record.timestamp);
            put_value(out, &record.key);
            put_value(out, &record.value);
            put_named(out, &record.headers);
        }
    }
}

fn put_items(out: &mut Vec<u8>, tag: u8, items: &[Value]) {
    out.push(tag);
    put_varint(out, items.len() as u64);
    items.iter().for_each(|item| put_value(out, item));
}

fn put_named(out: &mut Vec<u8>, fields: &[(SmolStr, Value)]) {
    put_varint(out, fields.len() as u64);
    for (name, value) in fields {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

/// Reads what the `put_*` functions wrote, from the front of `rest`.
#[derive(Debug)]
pub struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::OutOfRange);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::OutOfRange)
    }

    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange)?;
        self.take(len)
    }

    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8)
    }

    /// A count of things of at least one byte each, so that a damaged count cannot ask for absurd memory.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange)?;
        if count > self.rest.len() { Err(DecodeError::Truncated) } else { Ok(count) }
    }

    pub fn value(&mut self) -> Result<Value, DecodeError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        Ok(match self.byte()? {
            0x00 => Value::None,
            0x01 => Value::Bool(false),
            0x02 => Value::Bool(true),
            0x03 => Value::Int(self.zigzag()?),
            0x04 => Value::int(BigInt::from_signed_bytes_le(self.bytes()?)),
            0x05 => {
                let bits = self.take(8)?.try_into().map_err(|_| DecodeError::Truncated)?;
                Value::Float(f64::from_bits(u64::from_be_bytes(bits)))
            }
            0x06 => Value::str(self.text()?),
            0x07 => Value::Bytes(Arc::from(self.bytes()?)),
            0x08 => Value::list(self.items(depth)?),
            0x09 => Value::Tuple(self.items(depth)?.into()),
            0x0a => {
                let count = self.count()?;
                let mut dict = Dict::with_capacity(count);
                for _ in 0..count {
                    let key = Key::new(self.nested(depth + 1)?).map_err(DecodeError::NoKey)?;
                    dict.insert(key, self.nested(depth + 1)?);
                }
                Value::Dict(Arc::new(dict))
            }
            0x0b => Value::Struct(Arc::new(Struct { fields: self.named(depth)? })),
            0x0c => Value::Record(Arc::new(Record {
                tp: TopicPartition::new(
                    self.text()?,
                    i32::try_from(self.zigzag()?).map_err(|_| DecodeError::OutOfRange)?,
                ),
                offset: self.zigzag()?,
                timestamp: self.zigzag()?,
                key: self.nested(depth + 1)?,
                value: self.nested(depth + 1)?,
                headers: self.named(depth)?,
            })),
            OPAQUE => return Err(DecodeError::Opaque(self.text()?.into())),
            tag => return Err(DecodeError::UnknownTag(tag)),
        })
    }

    /// Reads over a value: whether it could be read, without making it.
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        self.skip_nested(0)
    }

    /// Reads over a value that is to be a key.
    pub fn skip_key(&mut self) -> Result<(), DecodeError> {
        self.key_tag()?;
        self.skip_nested(0)
    }

    fn key_tag(&self) -> Result<(), DecodeError> {
        let name = match self.rest.first() {
            Some(0x08) => "list",
            Some(0x0a) => "dict",
            Some(0x0b) => "struct",
            Some(0x0c) => "record",
            _ => return Ok(()),
        };
        Err(DecodeError::NoKey(name))
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        match self.byte()? {
            0x00..=0x02 => {}
            0x03 => drop(self.varint()?),
            0x04 | 0x06 | 0x07 => drop(self.bytes()?),
            0x05 => drop(self.take(8)?),
            0x08 | 0x09 => {
                for _ in 0..self.count()? {
                    self.skip_nested(depth + 1)?;
                }
            }
            0x0a => {
                for _ in 0..self.count()? {
                    self.key_tag()?;
                    self.skip_nested(depth + 1)?;
                    self.skip_nested(depth + 1)?;
                }
            }
            0x0b => self.skip_named(depth)?,
            0x0c => {
                self.bytes()?;
                for _ in 0..3 {
                    self.varint()?;
                }
                self.skip_nested(depth + 1)?;
                self.skip_nested(depth + 1)?;
                self.skip_named(depth)?;
            }
            OPAQUE => return Err(DecodeError::Opaque(self.text()?.into())),
            tag => return Err(DecodeError::UnknownTag(tag)),
        }
        Ok(())
    }

    fn skip_named(&mut self, depth: usize) -> Result<(), DecodeError> {
        for _ in 0..self.count()? {
            self.bytes()?;
            self.skip_nested(depth + 1)?;
        }
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let count = self.count()?;
        (0..count).map(|_| self.nested(depth + 1)).collect()
    }

    fn named(&mut self, depth: usize) -> Result<Vec<(SmolStr, Value)>, DecodeError> {
        let count = self.count()?;
        (0..count).map(|_| Ok((SmolStr::new(self.text()?), self.nested(depth + 1)?))).collect()
    }
}

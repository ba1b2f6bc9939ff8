//! Window state: what each batch brought, as long as a window can still hold it, and a running fold a key.
//!
//! ```text
//!  batch times   t1   t2   t3   t4   t5        length 3, slide 2
//!  window at t3 [----------------]
//!  window at t5           [----------------]   t1 and t2 leave, t4 and t5 come
//! ```
//! A batch of elements has as many partitions as it came in, and each part the number of its own for a key; one of an
//! older checkpoint has no such numbers and is one partition. A batch's content is combined per key before it gets here wherever the operator allows it. Deltas may be put one
//! behind the other:
//!
//! ```text
//! 0x00 time(zigzag) horizon(zigzag) count (key value records(varint))*     a batch; those up to the horizon go
//! 0x01 grid(zigzag) count (0x00 key | 0x01 key value records(varint))*     the running fold as of grid time
//! 0x02 time(zigzag) partitions(varint)                                     how many partitions a batch has
//! ```

use std::{any::Any, collections::VecDeque};

use hashbrown::HashMap;

use super::StepState;
use crate::{
    model::{
        Value,
        encode::{DecodeError, Reader, put_value, put_varint, put_zigzag},
        key::Key,
    },
    shuffle::accumulator::value_bytes,
};

/// One key's part of a batch, or of the running fold.
#[derive(Debug, Clone)]
pub struct Part {
    pub key: Key,
    pub value: Value,
    /// Records behind `value`.
    pub records: u64,
}

/// What one batch brought.
#[derive(Debug, Clone, Default)]
pub struct WindowBatch {
    pub time_ms: i64,
    pub parts: Vec<Part>,
}

/// The running fold of one key.
#[derive(Debug, Clone)]
pub struct Running {
    pub value: Value,
    pub records: u64,
}

#[derive(Debug, Default)]
pub struct WindowState {
    /// Oldest first; only batches with records.
    pub batches: VecDeque<WindowBatch>,
    pub running: HashMap<Key, Running>,
    /// Batch times and how many partitions each batch has, oldest first; also batches without records.
    partitions: VecDeque<(i64, usize)>,
    /// Grid time of `running`.
    pub grid_ms: Option<i64>,
    bytes: u64,
}

impl WindowState {
    /// The batches with time in `(after, until]`, oldest first.
    pub fn between(&self, after_ms: i64, until_ms: i64) -> impl Iterator<Item = &WindowBatch> {
        self.batches.iter().filter(move |batch| after_ms < batch.time_ms && batch.time_ms <= until_ms)
    }

    /// Batches in `(after, until]` whose partitions are known, oldest first: time, and how many.
    pub fn partitions_between(&self, after_ms: i64, until_ms: i64) -> impl Iterator<Item = (i64, usize)> {
        let within = move |time_ms: i64| after_ms < time_ms && time_ms <= until_ms;
        self.partitions.iter().copied().filter(move |(time_ms, _)| within(*time_ms))
    }

    /// Time of the newest batch with records.
    pub fn last_records_ms(&self) -> Option<i64> {
        self.batches.back().map(|batch| batch.time_ms)
    }

    fn push(&mut self, batch: WindowBatch, horizon_ms: i64) {
        while let Some(gone) = self.batches.pop_front_if(|old| old.time_ms <= horizon_ms) {
            self.bytes -= gone.parts.iter().map(part_bytes).sum::<u64>();
        }
        while self.partitions.pop_front_if(|(time_ms, _)| *time_ms <= horizon_ms).is_some() {}
        if !batch.parts.is_empty() {
            self.bytes += batch.parts.iter().map(part_bytes).sum::<u64>();
            self.batches.push_back(batch);
        }
    }
}

fn part_bytes(part: &Part) -> u64 {
    (size_of::<Part>() + value_bytes(part.key.value()) + value_bytes(&part.value)) as u64
}

/// Appends the part of a delta that brings a batch; batches with time up to `horizon_ms` are no longer needed.
pub fn put_batch(delta: &mut Vec<u8>, batch: &WindowBatch, horizon_ms: i64) {
    delta.push(0);
    put_zigzag(delta, batch.time_ms);
    put_zigzag(delta, horizon_ms);
    put_varint(delta, batch.parts.len() as u64);
    for part in &batch.parts {
        put_value(delta, part.key.value());
        put_value(delta, &part.value);
        put_varint(delta, part.records);
    }
}

/// Appends the part of a delta that says how many partitions a batch has.
pub fn put_partitions(delta: &mut Vec<u8>, time_ms: i64, partitions: usize) {
    delta.push(2);
    put_zigzag(delta, time_ms);
    put_varint(delta, partitions as u64);
}

/// Appends the part of a delta that changes the running fold; `None` is a key that left.
pub fn put_running<'a>(
    delta: &mut Vec<u8>,
    grid_ms: i64,
    changes: impl ExactSizeIterator<Item = (&'a Key, Option<&'a Running>)>,
) {
    delta.push(1);
    put_zigzag(delta, grid_ms);
    put_varint(delta, changes.len() as u64);
    for (key, running) in changes {
        delta.push(u8::from(running.is_some()));
        put_value(delta, key.value());
        if let Some(running) = running {
            put_value(delta, &running.value);
            put_varint(delta, running.records);
        }
    }
}

impl StepState for WindowState {
    fn apply(&mut self, delta: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(delta);
        while !reader.rest.is_empty() {
            match reader.byte()? {
                0 => {
                    let time_ms = reader.zigzag()?;
                    let horizon_ms = reader.zigzag()?;
                    let count = reader.count()?;
                    let parts = (0..count).map(|_| read_part(&mut reader)).collect::<Result<_, _>>()?;
                    self.push(WindowBatch { time_ms, parts }, horizon_ms);
                }
                1 => {
                    self.grid_ms = Some(reader.zigzag()?);
                    for _ in 0..reader.count()? {
                        self.apply_running(&mut reader)?;
                    }
                }
                2 => self.partitions.push_back(read_partitions(&mut reader)?),
                tag => return Err(DecodeError::UnknownTag(tag)),
            }
        }
        Ok(())
    }

    fn check(&self, delta: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(delta);
        while !reader.rest.is_empty() {
            match reader.byte()? {
                0 => {
                    reader.zigzag()?;
                    reader.zigzag()?;
                    for _ in 0..reader.count()? {
                        skip_part(&mut reader)?;
                    }
                }
                1 => {
                    reader.zigzag()?;
                    for _ in 0..reader.count()? {
                        match reader.byte()? {
                            0 => reader.skip_key()?,
                            _ => skip_part(&mut reader)?,
                        }
                    }
                }
                2 => drop(read_partitions(&mut reader)?),
                tag => return Err(DecodeError::UnknownTag(tag)),
            }
        }
        Ok(())
    }

    fn slots(&self) -> u32 {
        1
    }

    fn snapshot(&self, _: u32) -> Vec<u8> {
        let mut snapshot = Vec::new();
        // A horizon as far back as can be: nothing goes while a snapshot is read back.
        self.batches.iter().for_each(|batch| put_batch(&mut snapshot, batch, i64::MIN));
        self.partitions.iter().for_each(|(time_ms, count)| put_partitions(&mut snapshot, *time_ms, *count));
        if let Some(grid_ms) = self.grid_ms {
            put_running(&mut snapshot, grid_ms, self.running.iter().map(|(key, running)| (key, Some(running))));
        }
        snapshot
    }

    fn restore(&mut self, _: u32, snapshot: &[u8]) -> Result<(), DecodeError> {
        *self = WindowState::default();
        self.apply(snapshot)
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.parts.len() as u64).sum::<u64>() + self.running.len() as u64
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
            + (self.partitions.capacity() * size_of::<(i64, usize)>()) as u64
            + (self.running.capacity() * (size_of::<(Key, Running)>() + 8)) as u64
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl WindowState {
    fn apply_running(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let gone = reader.byte()? == 0;
        let key = Key::new(reader.value()?).map_err(DecodeError::NoKey)?;
        let held = |key: &Key, value: &Value| (value_bytes(key.value()) + value_bytes(value)) as u64;
        let old = if gone {
            self.running.remove(&key)
        } else {
            let running = Running { value: reader.value()?, records: reader.varint()? };
            self.bytes += held(&key, &running.value);
            self.running.insert(key.clone(), running)
        };
        self.bytes -= old.map_or(0, |old| held(&key, &old.value));
        Ok(())
    }
}

fn read_partitions(reader: &mut Reader<'_>) -> Result<(i64, usize), DecodeError> {
    let time_ms = reader.zigzag()?;
    // Fewer than topics have anywhere: a damaged number must not make as many partitions.
    match reader.varint()? {
        count if count < 1 << 24 => Ok((time_ms, count as usize)),
        _ => Err(DecodeError::OutOfRange),
    }
}

fn skip_part(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.skip_key()?;
    reader.skip()?;
    reader.varint().map(drop)
}

fn read_part(reader: &mut Reader<'_>) -> Result<Part, DecodeError> {
    let key = Key::new(reader.value()?).map_err(DecodeError::NoKey)?;
    Ok(Part { key, value: reader.value()?, records: reader.varint()? })
}

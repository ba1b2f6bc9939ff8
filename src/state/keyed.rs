//! Keyed state: one value a key, in slots by the partitioning hash.
//!
//! Slots are a multiple of the shuffle partitions, so that a slot belongs to one partition and partitions can be worked
//! on in parallel; a snapshot writes one slot at a time.
//!
//! Delta and snapshot have one format, a run of entries; deltas may be put one behind the other:
//!
//! ```text
//! 0x00 key                          the key is gone
//! 0x01 touched(zigzag) key value    the key's value, and the batch time (ms) at which it was last touched
//! ```

use std::any::Any;

use hashbrown::HashMap;

use super::StepState;
use crate::{
    model::{
        Value,
        encode::{DecodeError, Reader, put_value, put_zigzag},
        key::Key,
    },
    shuffle::accumulator::value_bytes,
};

/// Least number of slots; more shuffle partitions have more.
const MIN_SLOTS: usize = 64;

/// Where no batch has touched a key yet: initial state.
pub const UNTOUCHED_MS: i64 = i64::MIN;

/// What is held of one key.
#[derive(Debug, Clone)]
pub struct Held {
    pub value: Value,
    /// Batch time at which the key was last touched, milliseconds; or [`UNTOUCHED_MS`].
    pub touched_ms: i64,
}

/// Keys and values of one stateful step.
#[derive(Debug)]
pub struct KeyedState {
    slots: Vec<HashMap<Key, Held>>,
    partitions: usize,
    rows: u64,
    bytes: u64,
}

impl KeyedState {
    pub fn new(partitions: u32) -> Self {
        let partitions = partitions.max(1) as usize;
        let slots = partitions * MIN_SLOTS.div_ceil(partitions);
        Self { slots: vec![HashMap::new(); slots], partitions, rows: 0, bytes: 0 }
    }

    pub fn get(&self, key: &Key) -> Option<&Held> {
        self.slots[self.slot(key)].get(key)
    }

    /// The entries of one shuffle partition, in no particular order.
    pub fn partition(&self, partition: usize) -> impl Iterator<Item = (&Key, &Held)> {
        self.slots.iter().skip(partition).step_by(self.partitions).flatten()
    }

    /// All entries, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.slots.iter().flatten()
    }

    fn slot(&self, key: &Key) -> usize {
        (key.partition_hash() % self.slots.len() as u64) as usize
    }

    fn put(&mut self, key: Key, held: Held) {
        let slot = self.slot(&key);
        self.bytes += entry_bytes(&key, &held.value);
        let key_bytes = value_bytes(key.value());
        match self.slots[slot].insert(key, held) {
            Some(old) => self.bytes -= ENTRY_BYTES + (key_bytes + value_bytes(&old.value)) as u64,
            None => self.rows += 1,
        }
    }

    fn remove(&mut self, key: &Key) {
        let slot = self.slot(key);
        if let Some(old) = self.slots[slot].remove(key) {
            self.rows -= 1;
            self.bytes -= entry_bytes(key, &old.value);
        }
    }
}

/// Bytes of an entry in its table, without what key and value hold elsewhere.
const ENTRY_BYTES: u64 = (size_of::<(Key, Held)>() + 8) as u64;

fn entry_bytes(key: &Key, value: &Value) -> u64 {
    ENTRY_BYTES + (value_bytes(key.value()) + value_bytes(value)) as u64
}

/// Appends an entry of a delta: the key's new value, or that it is gone.
pub fn put_entry(delta: &mut Vec<u8>, key: &Value, held: Option<&Held>) {
    match held {
        None => {
            delta.push(0);
            put_value(delta, key);
        }
        Some(held) => {
            delta.push(1);
            put_zigzag(delta, held.touched_ms);
            put_value(delta, key);
            put_value(delta, &held.value);
        }
    }
}

impl StepState for KeyedState {
    fn apply(&mut self, delta: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(delta);
        while !reader.rest.is_empty() {
            match reader.byte()? {
                0 => {
                    let key = Key::new(reader.value()?).map_err(DecodeError::NoKey)?;
                    self.remove(&key);
                }
                1 => {
                    let touched_ms = reader.zigzag()?;
                    let key = Key::new(reader.value()?).map_err(DecodeError::NoKey)?;
                    let value = reader.value()?;
                    self.put(key, Held { value, touched_ms });
                }
                tag => return Err(DecodeError::UnknownTag(tag)),
            }
        }
        Ok(())
    }

    fn check(&self, delta: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(delta);
        while !reader.rest.is_empty() {
            match reader.byte()? {
                0 => reader.skip_key()?,
                1 => {
                    reader.zigzag()?;
                    reader.skip_key()?;
                    reader.skip()?;
                }
                tag => return Err(DecodeError::UnknownTag(tag)),
            }
        }
        Ok(())
    }

    fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    fn snapshot(&self, slot: u32) -> Vec<u8> {
        let mut snapshot = Vec::new();
        if let Some(slot) = self.slots.get(slot as usize) {
            slot.iter().for_each(|(key, held)| put_entry(&mut snapshot, key.value(), Some(held)));
        }
        snapshot
    }

    fn restore(&mut self, slot: u32, snapshot: &[u8]) -> Result<(), DecodeError> {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            let gone = std::mem::take(slot);
            self.rows -= gone.len() as u64;
            self.bytes -= gone.iter().map(|(key, held)| entry_bytes(key, &held.value)).sum::<u64>();
        }
        self.apply(snapshot)
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn memory_bytes(&self) -> u64 {
        let empty: usize = self.slots.iter().map(|slot| slot.capacity() - slot.len()).sum();
        self.bytes + empty as u64 * ENTRY_BYTES
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text)
    }

    #[test]
    fn a_state_restored_from_snapshots_and_deltas_equals_the_one_that_was_never_lost() {
        let mut live = KeyedState::new(8);
        let mut delta = Vec::new();
        for i in 0..500 {
            let held = Held { value: Value::Int(i), touched_ms: i };
            put_entry(&mut delta, &Value::str(format!("key {i}")), Some(&held));
        }
        live.apply(&delta).unwrap();
        let snapshots: Vec<_> = (0..live.slots()).map(|slot| live.snapshot(slot)).collect();
        let mut later = Vec::new();
        put_entry(&mut later, &Value::str("key 7"), None);
        put_entry(&mut later, &Value::str("key 8"), Some(&Held { value: Value::None, touched_ms: 9 }));
        live.apply(&later).unwrap();

        let mut restored = KeyedState::new(8);
        snapshots.iter().zip(0..).for_each(|(snapshot, slot)| restored.restore(slot, snapshot).unwrap());
        restored.apply(&later).unwrap();
        assert_eq!((restored.rows(), restored.bytes), (499, live.bytes));
        assert!(restored.get(&key("key 7")).is_none());
        assert_eq!(restored.get(&key("key 8")).map(|held| held.touched_ms), Some(9));
        let by_partition: usize = (0..8).map(|partition| restored.partition(partition).count()).sum();
        assert_eq!(by_partition, 499);
    }

    #[test]
    fn a_check_takes_what_can_be_applied() {
        #[derive(Debug)]
        struct Range;
        impl crate::model::Opaque for Range {
            fn type_name(&self) -> &'static str {
                "range"
            }
            fn as_any(&self) -> &dyn Any {
                self
            }
        }
        let check = |value: Value, expected: Result<(), DecodeError>| {
            let mut delta = Vec::new();
            put_entry(&mut delta, &Value::str("key"), Some(&Held { value, touched_ms: 0 }));
            assert_eq!(KeyedState::new(1).check(&delta), expected);
            assert_eq!(KeyedState::new(1).apply(&delta), expected);
        };
        let nested = |depth: usize| (0..depth).fold(Value::Int(1), |inner, _| Value::list(vec![inner]));
        let (deepest, too_deep) = (crate::model::encode::MAX_DEPTH, DecodeError::TooDeep);
        check(nested(deepest), Ok(()));
        check(nested(deepest + 1), Err(too_deep));
        check(Value::Opaque(std::sync::Arc::new(Range)), Err(DecodeError::Opaque("range".into())));
        let dict = [(Key::from("a"), Value::tuple([Value::Float(1.5), Value::None]))].into_iter().collect();
        check(Value::Dict(std::sync::Arc::new(dict)), Ok(()));
        let mut no_key = vec![0];
        put_entry(&mut no_key, &Value::None, None);
        no_key[1] = 0x08;
        assert_eq!(KeyedState::new(1).check(&no_key), Err(DecodeError::NoKey("list")));
    }

    #[test]
    fn a_damaged_delta_is_an_error() {
        let mut delta = Vec::new();
        put_entry(&mut delta, &Value::str("key"), Some(&Held { value: Value::Int(1), touched_ms: 0 }));
        for len in 1..delta.len() {
            assert!(KeyedState::new(1).apply(&delta[..len]).is_err());
            assert!(KeyedState::new(1).check(&delta[..len]).is_err());
        }
    }
}

//! The str part of a [`super::KeyTable`]: keys of at most 16 bytes lie inside the table.
//!
//! A probe of a short key is one masked load, one multiplication and integer comparisons; it does not leave the table
//! (ClickHouse and DuckDB do the same). Longer keys go to a second table whose bytes lie in one arena.

use hashbrown::HashTable;

use crate::model::View;

/// Keys up to this many bytes are stored inline.
const INLINE_BYTES: usize = 16;

/// A free slot; no key has this number.
const FREE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    low: u64,
    high: u64,
    len: u32,
    number: u32,
}

/// Keys whose slots are looked at together: their loads overlap, where one after the other each would be waited for.
const BLOCK: usize = 16;

/// Keeps the first `len` bytes of a little-endian number.
const MASKS: [u128; INLINE_BYTES + 1] = {
    let mut masks = [u128::MAX; INLINE_BYTES + 1];
    let mut len = 0;
    while len < INLINE_BYTES {
        masks[len] = (1 << (len * 8)) - 1;
        len += 1;
    }
    masks
};

const EMPTY: Slot = Slot { low: 0, high: 0, len: 0, number: FREE };

/// Maps str keys to numbers chosen by the caller.
#[derive(Debug)]
pub struct StrTable {
    /// A power of two of slots, open addressing with linear probing, at most three quarters full.
    slots: Vec<Slot>,
    short: usize,
    long: HashTable<Long>,
    arena: Vec<u8>,
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Long {
    offset: usize,
    len: u32,
    number: u32,
}

impl StrTable {
    pub fn new(seed: u64) -> Self {
        Self { slots: vec![EMPTY; 64], short: 0, long: HashTable::new(), arena: Vec::new(), seed }
    }

    pub fn len(&self) -> usize {
        self.short + self.long.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held. Where the table is about to grow, those of the new slots beside the old.
    pub fn memory_bytes(&self) -> usize {
        let grows = self.short * 5 > self.slots.len() * 3;
        self.slots.capacity() * size_of::<Slot>() * if grows { 3 } else { 1 }
            + self.long.capacity() * (size_of::<Long>() + 1)
            + self.arena.capacity()
    }

    /// The number of the key `buffer[start..start + len]`; a key not yet known gets `next`.
    /// True in the second place where it was not known.
    #[inline]
    pub fn number(&mut self, buffer: &[u8], start: usize, len: usize, next: u32) -> (u32, bool) {
        if len > INLINE_BYTES {
            return self.long_number(&buffer[start..start + len], next);
        }
        self.make_room(1);
        let (low, high) = load(buffer, start, len);
        let at = self.hash(low, high, len) as usize & (self.slots.len() - 1);
        self.place(low, high, len, at, next)
    }

    /// Appends the number of every view's bytes to `numbers`; keys not yet known get `next`, `next + 1` and so on.
    /// Gives the number after the last one used.
    pub fn number_all(&mut self, buffer: &[u8], views: &[View], next: u32, numbers: &mut Vec<u32>) -> u32 {
        let mut next = next;
        // What the first slot of each key says: its number, or that one must look further.
        let mut first = [FREE; BLOCK];
        numbers.reserve(views.len());
        for block in views.chunks(BLOCK) {
            self.make_room(BLOCK);
            let mask = self.slots.len() - 1;
            for (number, view) in first.iter_mut().zip(block) {
                let len = view.len as usize;
                if len > INLINE_BYTES {
                    *number = FREE;
                    continue;
                }
                let (low, high) = load(buffer, view.offset as usize, len);
                let at = self.hash(low, high, len) as usize & mask;
                let slot = self.slots[at];
                // No branch here: it would have to wait for the slot, and be guessed wrong for every other new word.
                // The empty key is like a free slot, whose number then says that it is none.
                let difference = (slot.low ^ low) | (slot.high ^ high) | u64::from(slot.len ^ view.len);
                *number = slot.number | u32::from(difference != 0).wrapping_neg();
            }
            let first = &mut first[..block.len()];
            for (number, view) in first.iter_mut().zip(block).filter(|(number, _)| **number == FREE) {
                let (found, new) = self.number(buffer, view.offset as usize, view.len as usize, next);
                next += u32::from(new);
                *number = found;
            }
            numbers.extend_from_slice(first);
        }
        next
    }

    /// Looks from slot `at` on for a short key, and puts it into the first free one if it is not there.
    #[inline]
    fn place(&mut self, low: u64, high: u64, len: usize, at: usize, next: u32) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut at = at;
        loop {
            let slot = &mut self.slots[at];
            if slot.number == FREE {
                *slot = Slot { low, high, len: len as u32, number: next };
                self.short += 1;
                return (next, true);
            }
            if slot.low == low && slot.high == high && slot.len == len as u32 {
                return (slot.number, false);
            }
            at = (at + 1) & mask;
        }
    }

    /// So that so many more keys leave a quarter of the slots free.
    #[inline]
    fn make_room(&mut self, keys: usize) {
        while (self.short + keys) * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    /// One multiplication whose halves are folded; the seed keeps both factors from being chosen.
    #[inline]
    fn hash(&self, low: u64, high: u64, len: usize) -> u64 {
        let a = low ^ self.seed;
        let b = high ^ self.seed.rotate_left(32) ^ (len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ (product >> 64) as u64
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![EMPTY; old.len() * 2];
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.number != FREE) {
            let mut at = self.hash(slot.low, slot.high, slot.len as usize) as usize & mask;
            while self.slots[at].number != FREE {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    fn long_number(&mut self, key: &[u8], next: u32) -> (u32, bool) {
        let seed = self.seed;
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key, seed);
        let arena = &self.arena;
        let bytes = |long: &Long| &arena[long.offset..long.offset + long.len as usize];
        if let Some(long) = self.long.find(hash, |long| bytes(long) == key) {
            return (long.number, false);
        }
        let long = Long { offset: self.arena.len(), len: key.len() as u32, number: next };
        let rehash = |long: &Long| {
            let bytes = &self.arena[long.offset..long.offset + long.len as usize];
            xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
        };
        self.long.insert_unique(hash, long, rehash);
        self.arena.extend_from_slice(key);
        (next, true)
    }

    /// Calls `visit` with every key and its number, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], u32)) {
        for slot in self.slots.iter().filter(|slot| slot.number != FREE) {
            let mut bytes = [0; INLINE_BYTES];
            bytes[..8].copy_from_slice(&slot.low.to_le_bytes());
            bytes[8..].copy_from_slice(&slot.high.to_le_bytes());
            visit(&bytes[..slot.len as usize], slot.number);
        }
        for long in &self.long {
            visit(&self.arena[long.offset..long.offset + long.len as usize], long.number);
        }
    }
}

/// At most 16 bytes as two little-endian words, padded with zeros.
#[inline]
fn load(buffer: &[u8], start: usize, len: usize) -> (u64, u64) {
    let bytes = match buffer.get(start..start + INLINE_BYTES) {
        Some(ahead) => u128::from_le_bytes(ahead.try_into().unwrap_or_default()),
        None => {
            let mut padded = [0; INLINE_BYTES];
            padded[..len].copy_from_slice(&buffer[start..start + len]);
            u128::from_le_bytes(padded)
        }
    };
    let masked = bytes & MASKS[len];
    (masked as u64, (masked >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_keep_their_numbers() {
        let text: Vec<u8> = (0..4000u32).map(|i| (i % 251) as u8).collect();
        let mut table = StrTable::new(7);
        let mut known = std::collections::HashMap::new();
        for start in (0..3900).step_by(3) {
            for len in [0, 1, 7, 8, 9, 15, 16, 17, 40] {
                let next = known.len() as u32;
                let expected = *known.entry(text[start..start + len].to_vec()).or_insert(next);
                assert_eq!(table.number(&text, start, len, next), (expected, expected == next));
            }
        }
        assert_eq!(table.len(), known.len());
        let mut seen = 0;
        table.for_each(|key, number| {
            assert_eq!(known.get(key), Some(&number));
            seen += 1;
        });
        assert_eq!(seen, known.len());
    }

    #[test]
    fn a_column_gets_the_numbers_its_keys_would_get_one_by_one() {
        let buffer: Vec<u8> = (0..6000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let views: Vec<View> = (0..5900).map(|i| View { offset: i, len: i * 31 % 23 }).collect();
        let (mut one_by_one, mut together) = (StrTable::new(3), StrTable::new(99));
        let mut expected = Vec::new();
        let mut next = 0;
        for view in &views {
            let (number, new) = one_by_one.number(&buffer, view.offset as usize, view.len as usize, next);
            next += u32::from(new);
            expected.push(number);
        }
        let mut found = Vec::new();
        let middle = together.number_all(&buffer, &views[..1001], 0, &mut found);
        assert_eq!(together.number_all(&buffer, &views[1001..], middle, &mut found), next);
        assert_eq!(found, expected);
        assert!(next > 1_000, "keys enough to grow: {next}");
    }

    #[test]
    fn trailing_zero_bytes_are_part_of_a_key() {
        let mut table = StrTable::new(1);
        assert_eq!(table.number(b"a\0\0", 0, 1, 0), (0, true));
        assert_eq!(table.number(b"a\0\0", 0, 2, 1), (1, true));
        assert_eq!(table.number(b"a\0\0", 0, 3, 2), (2, true));
        assert_eq!(table.number(b"a", 0, 1, 3), (0, false));
    }

    #[test]
    fn a_key_at_the_very_end_of_its_buffer_is_found_again() {
        let mut table = StrTable::new(1);
        assert_eq!(table.number(b"word and more behind it", 0, 4, 0), (0, true));
        assert_eq!(table.number(b"word", 0, 4, 1), (0, false));
    }
}

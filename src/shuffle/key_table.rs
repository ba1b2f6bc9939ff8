//! Distinct keys of one task, numbered in the order in which they were first seen.

use hashbrown::HashTable;

use super::str_table::StrTable;
use crate::model::{
    Column, StrColumn, Value,
    column::StrBuilder,
    key::{self, Key},
};

/// Numbers keys 0, 1, 2, ... as they come. Strs and ints have tables of their own; any other key goes to `others`.
///
/// Equal numbers of different types are one key, in the form that came first: a float equal to a 64-bit integer is
/// looked up among the ints, and `float_forms` remembers the ints that were first seen as floats.
#[derive(Debug)]
pub struct KeyTable {
    strs: StrTable,
    ints: HashTable<(i64, u32)>,
    others: hashbrown::HashMap<Key, u32>,
    float_forms: Vec<(u32, f64)>,
    len: u32,
    seed: u64,
}

/// Most keys one table numbers.
pub const MAX_KEYS: usize = u32::MAX as usize - 1;

impl Default for KeyTable {
    fn default() -> Self {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u64);
        Self {
            strs: StrTable::new(seed),
            ints: HashTable::new(),
            others: hashbrown::HashMap::new(),
            float_forms: Vec::new(),
            len: 0,
            seed,
        }
    }
}

impl KeyTable {
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn memory_bytes(&self) -> usize {
        let other = size_of::<(Key, u32)>() + 32;
        self.strs.memory_bytes() + self.ints.capacity() * 17 + self.others.capacity() * other
    }

    /// Appends the number of every key of a str column to `numbers`.
    pub fn number_strs(&mut self, column: &StrColumn, numbers: &mut Vec<u32>) {
        self.len = self.strs.number_all(&column.buffer, &column.views, self.len, numbers);
    }

    pub fn number_str(&mut self, text: &[u8]) -> u32 {
        let (number, new) = self.strs.number(text, 0, text.len(), self.len);
        self.len += u32::from(new);
        number
    }

    #[inline]
    pub fn number_int(&mut self, int: i64) -> u32 {
        let seed = self.seed;
        let hash = |int: i64| {
            let product = u128::from(int as u64 ^ seed) * 0xa076_1d64_78bd_642f;
            (product as u64) ^ (product >> 64) as u64
        };
        let entry = self.ints.entry(hash(int), |(known, _)| *known == int, |(known, _)| hash(*known));
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => found.get().1,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let number = self.len;
                vacant.insert((int, number));
                self.len += 1;
                number
            }
        }
    }

    /// The number of any key; errors with the type's name where the value is no key.
    pub fn number(&mut self, value: &Value) -> Result<u32, &'static str> {
        match value {
            Value::Str(text) => Ok(self.number_str(text.as_bytes())),
            Value::Int(int) => Ok(self.number_int(*int)),
            Value::Float(float) if is_small_int(*float) => {
                let before = self.len;
                let number = self.number_int(*float as i64);
                if self.len > before {
                    self.float_forms.push((number, *float));
                }
                Ok(number)
            }
            other => {
                let key = Key::new(other.clone())?;
                let next = self.len;
                let number = *self.others.entry(key).or_insert(next);
                self.len += u32::from(number == next);
                Ok(number)
            }
        }
    }

    /// Every key with its number, in the order in which keys were first seen.
    pub fn entries_as_seen(&self) -> Vec<Entry> {
        // Numbers are dense, so every key knows its place: cheaper than sorting millions of them.
        let mut seen = vec![Entry { key: EntryKey::Int(0), number: 0 }; self.len()];
        for entry in self.entries() {
            if let Some(place) = seen.get_mut(entry.number as usize) {
                *place = entry;
            }
        }
        seen
    }

    /// Every key with its number, in no particular order.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.len());
        self.strs.for_each(|bytes, number| {
            // Only valid UTF-8 was ever put in.
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            entries.push(Entry { key: EntryKey::Str(text.into()), number });
        });
        let floats: hashbrown::HashMap<u32, f64> = self.float_forms.iter().copied().collect();
        entries.extend(self.ints.iter().map(|(int, number)| {
            let key = match floats.get(number) {
                Some(float) => EntryKey::Other(Value::Float(*float)),
                None => EntryKey::Int(*int),
            };
            Entry { key, number: *number }
        }));
        entries.extend(
            self.others
                .iter()
                .map(|(key, number)| Entry { key: EntryKey::Other(key.value().clone()), number: *number }),
        );
        entries
    }
}

fn is_small_int(float: f64) -> bool {
    float.fract() == 0.0 && (-9.2e18..9.2e18).contains(&float)
}

/// A key taken out of a table.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: EntryKey,
    pub number: u32,
}

#[derive(Debug, Clone)]
pub enum EntryKey {
    Str(smol_str::SmolStr),
    Int(i64),
    Other(Value),
}

impl EntryKey {
    pub fn partition_hash(&self) -> u64 {
        match self {
            EntryKey::Str(text) => key::hash_str(text.as_bytes()),
            EntryKey::Int(int) => key::hash_int(*int),
            EntryKey::Other(value) => Key::new(value.clone()).map_or(0, |key| key.partition_hash()),
        }
    }

    pub fn compare(&self, other: &EntryKey) -> std::cmp::Ordering {
        match (self, other) {
            (EntryKey::Str(a), EntryKey::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
            (EntryKey::Int(a), EntryKey::Int(b)) => a.cmp(b),
            (a, b) => key::compare(&a.value(), &b.value()),
        }
    }

    pub fn value(&self) -> Value {
        match self {
            EntryKey::Str(text) => Value::Str(text.clone()),
            EntryKey::Int(int) => Value::Int(*int),
            EntryKey::Other(value) => value.clone(),
        }
    }
}

/// The keys as the narrowest column.
pub fn key_column<'a>(keys: impl Iterator<Item = &'a EntryKey> + Clone) -> Column {
    if keys.clone().all(|key| matches!(key, EntryKey::Str(_))) {
        let mut builder = StrBuilder::default();
        for key in keys {
            if let EntryKey::Str(text) = key {
                builder.push(text);
            }
        }
        return Column::Str(builder.finish());
    }
    Column::from_values(keys.map(EntryKey::value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_share_a_number_and_keep_the_first_form() {
        let mut table = KeyTable::default();
        let keys = [Value::Float(1.0), Value::Int(1), Value::Int(2), Value::Float(2.0), Value::Bool(true), Value::None];
        let numbers: Vec<u32> = keys.iter().map(|key| table.number(key).unwrap()).collect();
        assert_eq!(numbers, [0, 0, 1, 1, 2, 3]);
        let mut entries = table.entries();
        entries.sort_by(|a, b| a.key.compare(&b.key));
        let forms: Vec<String> = entries.iter().map(|entry| format!("{:?}", entry.key.value())).collect();
        assert_eq!(forms, ["None", "Bool(true)", "Float(1.0)", "Int(2)"]);
        assert_eq!(table.number(&Value::list(vec![])), Err("list"));
    }
}

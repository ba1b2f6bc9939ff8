//! Keys: which values may be one, when two are equal, how they are ordered, and the partitioning hash.
//!
//! Order: None < bool < numbers by value < str < bytes < tuple. `1 == 1.0` (the first form seen is kept), NaN is one
//! key (after all other numbers), `-0.0 == 0.0`, bool is a type of its own. Lists, dicts, structs and records are no keys.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use num_bigint::BigInt;
use num_traits::{FromPrimitive, Zero};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Value;

/// Name and version of [`Key::partition_hash`], stored in the checkpoint: another name means another placement of keys.
pub const PARTITIONING_HASH: &str = "xxh3-64/1";

/// A value that may be a key.
#[derive(Debug, Clone)]
pub struct Key(Value);

impl Key {
    /// Errors with the name of the type that cannot be a key.
    pub fn new(value: Value) -> Result<Key, &'static str> {
        check(&value)?;
        Ok(Key(value))
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    pub fn into_value(self) -> Value {
        self.0
    }

    /// Stable across runs, machines and versions (see [`PARTITIONING_HASH`]). Equal keys hash alike.
    pub fn partition_hash(&self) -> u64 {
        hash_value(&self.0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Value::str(text))
    }
}

/// Whether a value may be a key; else the name of the type that cannot.
pub fn check(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => Ok(()),
        Value::Str(_) | Value::Bytes(_) => Ok(()),
        Value::Tuple(parts) => parts.iter().try_for_each(check),
        other => Err(other.type_name()),
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        compare(&self.0, &other.0) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash_value(&self.0));
    }
}

/// Total order of keys. Values that are no keys compare by rank only.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Tuple(a), Value::Tuple(b)) => {
            let different = a.iter().zip(b.iter()).map(|(a, b)| compare(a, b)).find(|o| o.is_ne());
            different.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (a, b) if rank(a) == NUMBER && rank(b) == NUMBER => compare_numbers(a, b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

const NUMBER: u8 = 2;

fn rank(value: &Value) -> u8 {
    match value {
        Value::None => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => NUMBER,
        Value::Str(_) => 3,
        Value::Bytes(_) => 4,
        Value::Tuple(_) => 5,
        _ => 6,
    }
}

/// Exact: integers and floats compare by value, never by rounding one to the other. NaN is the greatest number.
pub fn compare_numbers(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => compare_floats(*a, *b),
        (Value::Float(a), b) => compare_float_to_int(*a, b),
        (a, Value::Float(b)) => compare_float_to_int(*b, a).reverse(),
        (a, b) => big(a).cmp(&big(b)),
    }
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn compare_float_to_int(float: f64, int: &Value) -> Ordering {
    if float.is_nan() || float == f64::INFINITY {
        return Ordering::Greater;
    }
    if float == f64::NEG_INFINITY {
        return Ordering::Less;
    }
    let whole = BigInt::from_f64(float.floor()).unwrap_or_default();
    let fraction = if float.floor() < float { Ordering::Greater } else { Ordering::Equal };
    whole.cmp(&big(int)).then(fraction)
}

fn big(value: &Value) -> BigInt {
    match value {
        Value::Int(small) => BigInt::from(*small),
        Value::BigInt(big) => (**big).clone(),
        _ => BigInt::zero(),
    }
}

/// Seeds of the partitioning hash, one a type: part of [`PARTITIONING_HASH`].
mod seed {
    pub const NONE: u64 = 0;
    pub const BOOL: u64 = 1;
    pub const NUMBER: u64 = 2;
    pub const STR: u64 = 3;
    pub const BYTES: u64 = 4;
    pub const TUPLE: u64 = 5;
}

/// The partitioning hash of a str key, without building a value.
pub fn hash_str(text: &[u8]) -> u64 {
    xxh3_64_with_seed(text, seed::STR)
}

/// The partitioning hash of an int key, without building a value.
pub fn hash_int(int: i64) -> u64 {
    xxh3_64_with_seed(&int.to_le_bytes(), seed::NUMBER)
}

fn hash_value(value: &Value) -> u64 {
    match value {
        Value::Bool(b) => xxh3_64_with_seed(&[u8::from(*b)], seed::BOOL),
        Value::Int(int) => hash_int(*int),
        Value::BigInt(big) => xxh3_64_with_seed(&big.to_signed_bytes_le(), seed::NUMBER),
        Value::Float(float) => hash_float(*float),
        Value::Str(text) => hash_str(text.as_bytes()),
        Value::Bytes(bytes) => xxh3_64_with_seed(bytes, seed::BYTES),
        Value::Tuple(parts) => {
            let hashes: Vec<u8> = parts.iter().flat_map(|part| hash_value(part).to_le_bytes()).collect();
            xxh3_64_with_seed(&hashes, seed::TUPLE)
        }
        _ => xxh3_64_with_seed(&[], seed::NONE),
    }
}

/// A float equal to an integer hashes as that integer.
fn hash_float(float: f64) -> u64 {
    if float.is_nan() {
        return xxh3_64_with_seed(b"nan", seed::NUMBER);
    }
    if float.fract() == 0.0
        && let Some(big) = BigInt::from_f64(float)
    {
        return hash_value(&Value::int(big));
    }
    xxh3_64_with_seed(&float.to_bits().to_be_bytes(), seed::NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Value) -> Key {
        Key::new(value).unwrap()
    }

    #[test]
    fn keys_are_ordered_none_bool_number_str_bytes_tuple() {
        let ordered = [
            Value::None,
            Value::Bool(false),
            Value::Bool(true),
            Value::Float(f64::NEG_INFINITY),
            Value::Int(i64::MIN),
            Value::Int(1),
            Value::Float(1.5),
            Value::int(BigInt::from(i64::MAX) + 1),
            Value::Float(f64::INFINITY),
            Value::Float(f64::NAN),
            Value::str(""),
            Value::str("a"),
            Value::Bytes(Arc::from(*b"a")),
            Value::tuple([]),
            Value::tuple([Value::Int(1)]),
            Value::tuple([Value::Int(1), Value::None]),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn equal_numbers_of_different_types_are_one_key() {
        for (a, b) in [
            (Value::Int(1), Value::Float(1.0)),
            (Value::Float(0.0), Value::Float(-0.0)),
            (Value::Float(f64::NAN), Value::Float(-f64::NAN)),
            (Value::int(BigInt::from(1u64 << 63)), Value::Float(9223372036854775808.0)),
        ] {
            assert_eq!(key(a.clone()), key(b.clone()));
            assert_eq!(key(a).partition_hash(), key(b).partition_hash());
        }
        assert_ne!(key(Value::Int(i64::MAX)), key(Value::Float(i64::MAX as f64)));
        assert_ne!(key(Value::Bool(true)), key(Value::Int(1)));
    }

    #[test]
    fn partitioning_hash_is_pinned() {
        assert_eq!(key(Value::str("spark")).partition_hash(), 0xc669_c785_a5fc_9d1f);
    }

    use std::sync::Arc;
}

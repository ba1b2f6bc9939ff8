//! One dynamic value: what lambdas see and what outputs print.

use std::{any::Any, fmt, sync::Arc};

use indexmap::IndexMap;
use num_bigint::BigInt;
use smol_str::SmolStr;

use super::{TopicPartition, key::Key};

/// A value of the lambda language. Values are immutable and cheap to clone.
///
/// `Int` holds every integer that fits 64 bits; `BigInt` only those that do not (see [`Value::int`]), so that equal
/// integers have one form. `Bool` is a type of its own and no number.
#[derive(Debug, Clone)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Arc<BigInt>),
    Float(f64),
    Str(SmolStr),
    Bytes(Arc<[u8]>),
    List(Arc<Vec<Value>>),
    Tuple(Arc<[Value]>),
    Dict(Arc<Dict>),
    Struct(Arc<Struct>),
    Record(Arc<Record>),
    /// A function, range, module or match object of the lambda language; never leaves a lambda.
    Opaque(Arc<dyn Opaque>),
}

/// Insertion-ordered, as Python's dict. Keys follow [`Key`]'s equality.
pub type Dict = IndexMap<Key, Value>;

/// `struct(a = 1, b = 2)`: named fields, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Struct {
    pub fields: Vec<(SmolStr, Value)>,
}

impl Struct {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// One Kafka record as a single value. Indexes, unpacks and prints as `(key, value)`.
#[derive(Debug, Clone)]
pub struct Record {
    pub tp: TopicPartition,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where the broker has none.
    pub timestamp: i64,
    /// Decoded by the source's `key_format`.
    pub key: Value,
    /// Decoded by the source's `value_format`.
    pub value: Value,
    /// Name and value (bytes or None) in the order of the record.
    pub headers: Vec<(SmolStr, Value)>,
}

/// A value that only the evaluator understands.
pub trait Opaque: fmt::Debug + Send + Sync {
    /// The name `type()` gives it.
    fn type_name(&self) -> &'static str;
    fn as_any(&self) -> &dyn Any;
    /// Python's text of it.
    fn repr(&self) -> String {
        format!("<{}>", self.type_name())
    }
}

impl Value {
    /// Bytes a value holds on the heap, roughly.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Str(text) if text.is_heap_allocated() => text.len() + 16,
            Value::Bytes(bytes) => bytes.len() + 16,
            Value::BigInt(_) => 64,
            Value::List(items) => 40 + items.capacity() * 24 + items.iter().map(Value::heap_bytes).sum::<usize>(),
            Value::Tuple(items) => 16 + items.len() * 24 + items.iter().map(Value::heap_bytes).sum::<usize>(),
            Value::Dict(dict) => {
                64 + dict.iter().map(|(key, value)| 72 + key.value().heap_bytes() + value.heap_bytes()).sum::<usize>()
            }
            Value::Struct(fields) => 40 + fields.fields.iter().map(|(_, value)| 48 + value.heap_bytes()).sum::<usize>(),
            Value::Record(record) => 160 + record.key.heap_bytes() + record.value.heap_bytes(),
            _ => 0,
        }
    }

    /// The one form of an integer: `Int` if it fits 64 bits, else `BigInt`.
    pub fn int(value: BigInt) -> Value {
        match i64::try_from(&value) {
            Ok(small) => Value::Int(small),
            Err(_) => Value::BigInt(Arc::new(value)),
        }
    }

    pub fn str(text: impl AsRef<str>) -> Value {
        Value::Str(SmolStr::new(text))
    }

    pub fn tuple(parts: impl IntoIterator<Item = Value>) -> Value {
        Value::Tuple(parts.into_iter().collect())
    }

    pub fn list(parts: Vec<Value>) -> Value {
        Value::List(Arc::new(parts))
    }

    /// `(key, value)`
    pub fn pair(key: Value, value: Value) -> Value {
        Value::Tuple(Arc::new([key, value]))
    }

    /// The two parts of a pair: a tuple or list of two, or a record's key and value.
    pub fn as_pair(&self) -> Option<(&Value, &Value)> {
        match self {
            Value::Tuple(parts) if parts.len() == 2 => Some((&parts[0], &parts[1])),
            Value::List(parts) if parts.len() == 2 => Some((&parts[0], &parts[1])),
            Value::Record(record) => Some((&record.key, &record.value)),
            _ => None,
        }
    }

    /// The name Python's `type(x).__name__` would give.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::BigInt(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Struct(_) => "struct",
            Value::Record(_) => "record",
            Value::Opaque(opaque) => opaque.type_name(),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::str(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}

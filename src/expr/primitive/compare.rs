//! Equality, order, truth and membership.

use std::cmp::Ordering;

use super::{CompareOp, Fault};
use crate::{
    expr::EvalErrorKind,
    model::{
        Value,
        key::{Key, compare_numbers},
    },
};

/// How deep values are compared; a lambda builds none that nest deeper.
const MAX_DEPTH: usize = 1000;

/// Python's `==`: numbers by value, containers part by part; NaN is not equal to itself; bool is no number.
#[inline]
pub fn equal(a: &Value, b: &Value) -> bool {
    equal_within(a, b, MAX_DEPTH)
}

fn equal_within(a: &Value, b: &Value, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    let all =
        |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_within(a, b, depth - 1));
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => all(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => all(a, b),
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal_within(value, other, depth - 1)))
        }
        (Value::Struct(a), Value::Struct(b)) => {
            a.fields.len() == b.fields.len()
                && a.fields
                    .iter()
                    .all(|(name, value)| b.get(name).is_some_and(|other| equal_within(value, other, depth - 1)))
        }
        (Value::Record(a), Value::Record(b)) => a.tp == b.tp && a.offset == b.offset,
        (Value::Opaque(a), Value::Opaque(b)) => match (super::range::of(a), super::range::of(b)) {
            (Some(a), Some(b)) => a.same_elements(b),
            _ => std::ptr::addr_eq(std::sync::Arc::as_ptr(a), std::sync::Arc::as_ptr(b)),
        },
        (a, b) if is_number(a) && is_number(b) => !is_nan(a) && !is_nan(b) && compare_numbers(a, b) == Ordering::Equal,
        _ => false,
    }
}

pub(super) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_))
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(float) if float.is_nan())
}

/// Python's comparisons; values of types that have no order are a Type fault.
#[inline]
pub fn compare(op: CompareOp, a: &Value, b: &Value) -> Result<bool, Fault> {
    match op {
        CompareOp::Equal => Ok(equal(a, b)),
        CompareOp::NotEqual => Ok(!equal(a, b)),
        _ => order(op, a, b, MAX_DEPTH),
    }
}

fn symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "==",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
    }
}

fn holds(op: CompareOp, order: Ordering) -> bool {
    match op {
        CompareOp::Less => order.is_lt(),
        CompareOp::LessOrEqual => order.is_le(),
        CompareOp::Greater => order.is_gt(),
        CompareOp::GreaterOrEqual => order.is_ge(),
        CompareOp::Equal => order.is_eq(),
        CompareOp::NotEqual => order.is_ne(),
    }
}

fn order(op: CompareOp, a: &Value, b: &Value, depth: usize) -> Result<bool, Fault> {
    if depth == 0 {
        return Err(Fault::new(EvalErrorKind::Limit, "values nest too deep to compare"));
    }
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(holds(op, a.cmp(b))),
        (Value::Str(a), Value::Str(b)) => Ok(holds(op, a.cmp(b))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(holds(op, a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) => Ok(holds(op, a.cmp(b))),
        (a, b) if is_number(a) && is_number(b) => Ok(!is_nan(a) && !is_nan(b) && holds(op, compare_numbers(a, b))),
        (Value::List(a), Value::List(b)) => sequences(op, a, b, depth),
        (Value::Tuple(a), Value::Tuple(b)) => sequences(op, a, b, depth),
        (a, b) => Err(Fault::type_error(format!(
            "'{}' not supported between instances of '{}' and '{}'",
            symbol(op),
            a.type_name(),
            b.type_name()
        ))),
    }
}

/// The first parts that are not equal decide.
fn sequences(op: CompareOp, a: &[Value], b: &[Value], depth: usize) -> Result<bool, Fault> {
    match a.iter().zip(b).find(|(a, b)| !equal(a, b)) {
        Some((a, b)) => order(op, a, b, depth - 1),
        None => Ok(holds(op, a.len().cmp(&b.len()))),
    }
}

/// Python's truth: None, False, zero and empty are false.
#[inline]
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(b) => *b,
        Value::Int(int) => *int != 0,
        Value::BigInt(_) | Value::Struct(_) | Value::Record(_) => true,
        Value::Float(float) => *float != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Tuple(items) => !items.is_empty(),
        Value::Dict(dict) => !dict.is_empty(),
        Value::Opaque(opaque) => super::range::of(opaque).is_none_or(|range| range.len() > 0),
    }
}

/// Python's `in`.
pub fn contains(container: &Value, item: &Value) -> Result<bool, Fault> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => Ok(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()),
        (Value::Str(_), other) => {
            Err(Fault::type_error(format!("'in <string>' requires string as left operand, not {}", other.type_name())))
        }
        (Value::Bytes(bytes), Value::Bytes(part)) => Ok(memchr::memmem::find(bytes, part).is_some()),
        (Value::Bytes(bytes), Value::Int(byte)) => match u8::try_from(*byte) {
            Ok(byte) => Ok(bytes.contains(&byte)),
            Err(_) => Err(Fault::value_error("byte must be in range(0, 256)")),
        },
        (Value::Bytes(_), other) => {
            Err(Fault::type_error(format!("a bytes-like object is required, not '{}'", other.type_name())))
        }
        (Value::List(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::Tuple(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::Record(record), item) => Ok(equal(&record.key, item) || equal(&record.value, item)),
        (Value::Dict(dict), item) => Ok(dict.contains_key(&key(item)?)),
        (Value::Opaque(opaque), item) => match (super::range::of(opaque), item) {
            (Some(range), Value::Int(int)) => Ok(range.contains(*int)),
            (Some(_), _) => Ok(false),
            (None, _) => Err(not_a_container(container)),
        },
        _ => Err(not_a_container(container)),
    }
}

fn not_a_container(value: &Value) -> Fault {
    Fault::type_error(format!("argument of type '{}' is not iterable", value.type_name()))
}

/// A value as a dict's key.
pub(super) fn key(value: &Value) -> Result<Key, Fault> {
    Key::new(value.clone()).map_err(|name| Fault::type_error(format!("unhashable type: '{name}'")))
}

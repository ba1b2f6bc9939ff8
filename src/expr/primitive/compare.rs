//! Comparison, equality, truth and membership.

use std::cmp::Ordering;

use super::{Fault, range};
use crate::model::{
    Value,
    key::{Key, compare_numbers},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl CompareOp {
    fn sign(self) -> &'static str {
        match self {
            CompareOp::Equal => "==",
            CompareOp::NotEqual => "!=",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
        }
    }

    #[inline]
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            CompareOp::Equal => ordering.is_eq(),
            CompareOp::NotEqual => ordering.is_ne(),
            CompareOp::Less => ordering.is_lt(),
            CompareOp::LessOrEqual => ordering.is_le(),
            CompareOp::Greater => ordering.is_gt(),
            CompareOp::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// `a op b`. Numbers compare by value, never by rounding; bool is no number; values of different types have no order.
#[inline]
pub fn compare(op: CompareOp, a: &Value, b: &Value) -> Result<bool, Fault> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => return Ok(op.holds(a.cmp(b))),
        (Value::Str(a), Value::Str(b)) => return Ok(op.holds(a.as_str().cmp(b.as_str()))),
        _ => {}
    }
    match op {
        CompareOp::Equal => Ok(equal(a, b)),
        CompareOp::NotEqual => Ok(!equal(a, b)),
        op => Ok(order(op, a, b)?.is_some_and(|ordering| op.holds(ordering))),
    }
}

/// None where NaN is compared.
fn order(op: CompareOp, a: &Value, b: &Value) -> Result<Option<Ordering>, Fault> {
    Ok(Some(match (a, b) {
        (Value::Str(a), Value::Str(b)) => a.as_str().cmp(b.as_str()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) if is_number(a) && is_number(b) => match is_nan(a) || is_nan(b) {
            true => return Ok(None),
            false => compare_numbers(a, b),
        },
        (Value::List(a), Value::List(b)) => return order_items(op, a, b),
        (Value::Tuple(a), Value::Tuple(b)) => return order_items(op, a, b),
        (a, b) => {
            let (sign, a, b) = (op.sign(), a.type_name(), b.type_name());
            let message = format!("'{sign}' not supported between instances of '{a}' and '{b}'");
            return Err(Fault::of_type(message));
        }
    }))
}

/// By the first elements that are not equal, else by length.
fn order_items(op: CompareOp, a: &[Value], b: &[Value]) -> Result<Option<Ordering>, Fault> {
    match a.iter().zip(b).find(|(a, b)| !equal(a, b)) {
        Some((a, b)) => order(op, a, b),
        None => Ok(Some(a.len().cmp(&b.len()))),
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_))
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(float) if float.is_nan())
}

/// `a == b`
#[inline]
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => equal_others(a, b),
    }
}

fn equal_others(a: &Value, b: &Value) -> bool {
    let all = |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b));
    match (a, b) {
        (a, b) if is_number(a) && is_number(b) => !is_nan(a) && !is_nan(b) && compare_numbers(a, b).is_eq(),
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => all(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => all(a, b),
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        (Value::Struct(a), Value::Struct(b)) => {
            let same = |((name, a), (other, b)): (&(_, Value), &(_, Value))| name == other && equal(a, b);
            a.fields.len() == b.fields.len() && a.fields.iter().zip(&b.fields).all(same)
        }
        (Value::Record(a), Value::Record(b)) => {
            a.tp == b.tp && a.offset == b.offset && equal(&a.key, &b.key) && equal(&a.value, &b.value)
        }
        (Value::Opaque(x), Value::Opaque(y)) => {
            std::sync::Arc::ptr_eq(x, y)
                || matches!((range::of(a), range::of(b)), (Some(a), Some(b)) if a.same_elements(b))
                || (x.repr() == y.repr() && x.repr().starts_with("<built-in"))
        }
        _ => false,
    }
}

/// Python's `bool(value)`.
#[inline]
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(bool) => *bool,
        Value::Int(int) => *int != 0,
        Value::Float(float) => *float != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Tuple(items) => !items.is_empty(),
        Value::Dict(dict) => !dict.is_empty(),
        Value::BigInt(_) | Value::Struct(_) | Value::Record(_) => true,
        Value::Opaque(_) => range::of(value).is_none_or(|range| range.len() > 0),
    }
}

/// `item in container`
pub fn contains(container: &Value, item: &Value) -> Result<bool, Fault> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => Ok(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()),
        (Value::Str(_), other) => {
            let name = other.type_name();
            Err(Fault::of_type(format!("'in <string>' requires string as left operand, not {name}")))
        }
        (Value::Bytes(bytes), Value::Bytes(part)) => Ok(memchr::memmem::find(bytes, part).is_some()),
        (Value::Bytes(bytes), Value::Int(byte)) => match u8::try_from(*byte) {
            Ok(byte) => Ok(bytes.contains(&byte)),
            Err(_) => Err(Fault::of_value("byte must be in range(0, 256)")),
        },
        (Value::Bytes(_), other) => {
            let name = other.type_name();
            Err(Fault::of_type(format!("a bytes-like object is required, not '{name}'")))
        }
        (Value::List(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::Tuple(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::Dict(dict), item) => match Key::new(item.clone()) {
            Ok(key) => Ok(dict.contains_key(&key)),
            Err(name) => Err(Fault::of_type(format!("unhashable type: '{name}'"))),
        },
        (Value::Record(record), item) => Ok(equal(&record.key, item) || equal(&record.value, item)),
        (other, item) => match (range::of(other), item) {
            (Some(range), Value::Int(int)) => Ok(range.contains(*int)),
            (Some(range), Value::Float(float)) if float.fract() == 0.0 && float.abs() < 9e18 => {
                Ok(range.contains(*float as i64))
            }
            (Some(_), _) => Ok(false),
            (None, _) => Err(Fault::of_type(format!("argument of type '{}' is not iterable", other.type_name()))),
        },
    }
}

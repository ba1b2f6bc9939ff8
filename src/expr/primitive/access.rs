//! Index, slice, iteration and attributes.

use std::sync::Arc;

use super::{Budget, Fault, module, range};
use crate::{
    expr::EvalErrorKind,
    model::{Value, key::Key, text::repr},
};

/// `value[idx]`
pub fn index(value: &Value, idx: &Value) -> Result<Value, Fault> {
    let at = |len: usize, name: &str, out: &str| position(idx, len, name, out);
    match value {
        Value::Tuple(items) => {
            at(items.len(), "tuple indices must be integers or slices, not", "tuple index out of range")
                .map(|at| items.get(at).cloned().unwrap_or(Value::None))
        }
        Value::List(items) => {
            at(items.len(), "list indices must be integers or slices, not", "list index out of range")
                .map(|at| items.get(at).cloned().unwrap_or(Value::None))
        }
        Value::Dict(dict) => {
            let key = key(idx)?;
            dict.get(&key).cloned().ok_or_else(|| Fault::new(EvalErrorKind::Key, repr(idx)))
        }
        Value::Str(text) => {
            if !matches!(idx, Value::Int(_) | Value::BigInt(_)) {
                let message = format!("string indices must be integers, not '{}'", idx.type_name());
                return Err(Fault::of_type(message));
            }
            let count = if text.is_ascii() { text.len() } else { text.chars().count() };
            let at = at(count, "", "string index out of range")?;
            Ok(match text.is_ascii() {
                true => Value::str(text.get(at..=at).unwrap_or_default()),
                false => Value::str(text.chars().nth(at).unwrap_or_default().encode_utf8(&mut [0; 4])),
            })
        }
        Value::Bytes(bytes) => at(bytes.len(), "byte indices must be integers or slices, not", "index out of range")
            .map(|at| Value::Int(bytes.get(at).copied().map_or(0, i64::from))),
        Value::Record(record) => {
            match at(2, "record indices must be integers or slices, not", "record index out of range")? {
                0 => Ok(record.key.clone()),
                _ => Ok(record.value.clone()),
            }
        }
        other => match range::of(other) {
            Some(range) => {
                let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
                let out = "range object index out of range";
                let at = at(len, "range indices must be integers or slices, not", out)?;
                Ok(Value::Int(range.get(at as u64).unwrap_or(0)))
            }
            None => Err(Fault::of_type(format!("'{}' object is not subscriptable", other.type_name()))),
        },
    }
}

fn position(idx: &Value, len: usize, wrong: &str, out: &str) -> Result<usize, Fault> {
    let at = match idx {
        Value::Int(at) => i128::from(*at),
        Value::BigInt(_) => i128::MAX,
        other => return Err(Fault::of_type(format!("{wrong} {}", other.type_name()))),
    };
    let at = if at < 0 { at + len as i128 } else { at };
    usize::try_from(at).ok().filter(|at| *at < len).ok_or_else(|| Fault::new(EvalErrorKind::Index, out))
}

/// The key, or why the value cannot be one.
pub fn key(value: &Value) -> Result<Key, Fault> {
    Key::new(value.clone()).map_err(|name| Fault::of_type(format!("unhashable type: '{name}'")))
}

/// `value[start:stop:step]`
pub fn slice(value: &Value, start: Option<&Value>, stop: Option<&Value>, step: Option<&Value>) -> Result<Value, Fault> {
    let len = match value {
        Value::Str(text) if text.is_ascii() => text.len(),
        Value::Str(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Tuple(items) => items.len(),
        Value::Record(_) => 2,
        other => match range::of(other) {
            Some(range) => usize::try_from(range.len()).unwrap_or(usize::MAX),
            None => return Err(Fault::of_type(format!("'{}' object is not subscriptable", other.type_name()))),
        },
    };
    let picked = Picked::new(len, start, stop, step)?;
    Ok(match value {
        Value::Str(text) if text.is_ascii() && picked.step == 1 => {
            Value::str(text.get(picked.from()..picked.until()).unwrap_or_default())
        }
        Value::Str(text) if picked.step == 1 => {
            Value::str(text.chars().skip(picked.from()).take(picked.count).collect::<String>())
        }
        Value::Str(text) => {
            let letters: Vec<char> = text.chars().collect();
            Value::str(picked.of(&letters).into_iter().collect::<String>())
        }
        Value::Bytes(bytes) => Value::Bytes(picked.of(bytes).into()),
        Value::List(items) => Value::list(picked.of(items)),
        Value::Tuple(items) => Value::Tuple(picked.of(items).into()),
        Value::Record(record) => Value::Tuple(picked.of(&[record.key.clone(), record.value.clone()]).into()),
        other => match range::of(other) {
            Some(range) => {
                let at = |idx: i128| i128::from(range.start) + i128::from(range.step) * idx;
                let fit = |value: i128| value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
                let stop = picked.start + picked.step * picked.count as i128;
                Value::Opaque(Arc::new(range::Range {
                    start: fit(at(picked.start)),
                    stop: fit(at(stop)),
                    step: fit(i128::from(range.step) * picked.step),
                }))
            }
            None => other.clone(),
        },
    })
}

/// The positions a slice takes.
struct Picked {
    start: i128,
    step: i128,
    count: usize,
}

impl Picked {
    fn new(len: usize, start: Option<&Value>, stop: Option<&Value>, step: Option<&Value>) -> Result<Picked, Fault> {
        let len = len as i128;
        let step = bound(step)?.unwrap_or(1);
        if step == 0 {
            return Err(Fault::of_value("slice step cannot be zero"));
        }
        let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let clamp = |at: i128| (if at < 0 { at + len } else { at }).clamp(lowest, highest);
        let first = bound(start)?.map_or(if step > 0 { lowest } else { highest }, clamp);
        let last = bound(stop)?.map_or(if step > 0 { highest } else { lowest }, clamp);
        let distance = if step > 0 { last - first } else { first - last };
        let count = if distance <= 0 { 0 } else { (distance - 1) / step.abs() + 1 };
        Ok(Picked { start: first, step, count: count as usize })
    }

    fn from(&self) -> usize {
        self.start as usize
    }

    fn until(&self) -> usize {
        self.from() + self.count
    }

    fn of<T: Clone>(&self, items: &[T]) -> Vec<T> {
        let at = |idx: usize| usize::try_from(self.start + self.step * idx as i128).ok();
        (0..self.count).filter_map(|idx| items.get(at(idx)?).cloned()).collect()
    }
}

fn bound(value: Option<&Value>) -> Result<Option<i128>, Fault> {
    use num_traits::Signed;
    const FAR: i128 = 1 << 70;
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Int(at)) => Ok(Some(i128::from(*at))),
        Some(Value::BigInt(big)) => Ok(Some(if big.is_negative() { -FAR } else { FAR })),
        Some(_) => Err(Fault::of_type("slice indices must be integers or None or have an __index__ method")),
    }
}

/// The elements a `for` goes over: list, tuple, range, dict (its keys), record (key and value). A str is refused.
pub fn iterate(value: &Value, budget: &mut Budget) -> Result<Vec<Value>, Fault> {
    match value {
        Value::List(items) => {
            budget.elements(items.len())?;
            Ok(items.to_vec())
        }
        Value::Tuple(items) => {
            budget.elements(items.len())?;
            Ok(items.to_vec())
        }
        Value::Dict(dict) => {
            budget.elements(dict.len())?;
            Ok(dict.keys().map(|key| key.value().clone()).collect())
        }
        Value::Record(record) => Ok(vec![record.key.clone(), record.value.clone()]),
        Value::Str(_) => Err(Fault::of_type("'str' object is not iterable: write x.elems() for its characters")),
        Value::Bytes(_) => Err(Fault::of_type("'bytes' object is not iterable: write x.elems() for its bytes")),
        other => match range::of(other) {
            Some(range) => {
                budget.elements(usize::try_from(range.len()).unwrap_or(usize::MAX))?;
                Ok(range.values().collect())
            }
            None => Err(Fault::of_type(format!("'{}' object is not iterable", other.type_name()))),
        },
    }
}

/// `value.name`: fields of records and structs, members of modules.
pub fn attribute(value: &Value, name: &str) -> Result<Value, Fault> {
    let found = match value {
        Value::Record(record) => match name {
            "key" => Some(record.key.clone()),
            "value" => Some(record.value.clone()),
            "topic" => Some(Value::str(&*record.tp.topic)),
            "partition" => Some(Value::Int(i64::from(record.tp.partition))),
            "offset" => Some(Value::Int(record.offset)),
            "timestamp" => Some(Value::Int(record.timestamp)),
            "headers" => Some(Value::list(
                record.headers.iter().map(|(name, value)| Value::pair(Value::str(name), value.clone())).collect(),
            )),
            _ => None,
        },
        Value::Struct(fields) => fields.get(name).cloned(),
        other => module::constant(other, name),
    };
    found.ok_or_else(|| {
        let message = format!("'{}' object has no attribute '{name}'", value.type_name());
        Fault::new(EvalErrorKind::Attribute, message)
    })
}

//! Indexing, slicing, iterating and attributes.

use super::{Budget, Fault, compare::key, range};
use crate::{
    expr::EvalErrorKind,
    model::{Value, text::repr},
};

fn index_fault(what: &str) -> Fault {
    Fault::new(EvalErrorKind::Index, format!("{what} index out of range"))
}

/// A Python index into `len` elements; negative ones count from the end.
fn position(idx: &Value, len: usize, what: &str) -> Result<usize, Fault> {
    match idx {
        Value::Int(idx) => {
            let at = if *idx < 0 { idx.saturating_add(len as i64) } else { *idx };
            usize::try_from(at).ok().filter(|at| *at < len).ok_or_else(|| index_fault(what))
        }
        Value::BigInt(_) => Err(Fault::new(EvalErrorKind::Index, "cannot fit 'int' into an index-sized integer")),
        other => {
            let name = if what == "string" { "string indices must be integers" } else { "" };
            match name {
                "" => {
                    let message = format!("{what} indices must be integers or slices, not {}", other.type_name());
                    Err(Fault::type_error(message))
                }
                name => Err(Fault::type_error(format!("{name}, not '{}'", other.type_name()))),
            }
        }
    }
}

/// `value[idx]`; strings by character, a record as (key, value).
pub fn index(value: &Value, idx: &Value) -> Result<Value, Fault> {
    match value {
        Value::Tuple(items) => Ok(items[position(idx, items.len(), "tuple")?].clone()),
        Value::List(items) => Ok(items[position(idx, items.len(), "list")?].clone()),
        Value::Record(record) => match position(idx, 2, "tuple")? {
            0 => Ok(record.key.clone()),
            _ => Ok(record.value.clone()),
        },
        Value::Dict(dict) => match dict.get(&key(idx)?) {
            Some(value) => Ok(value.clone()),
            None => Err(Fault::new(EvalErrorKind::Key, repr(idx))),
        },
        Value::Str(text) if text.is_ascii() => {
            let at = position(idx, text.len(), "string")?;
            Ok(Value::str(&text[at..at + 1]))
        }
        Value::Str(text) => {
            let at = position(idx, text.chars().count(), "string")?;
            text.chars().nth(at).map(|c| Value::str(c.encode_utf8(&mut [0; 4]))).ok_or_else(|| index_fault("string"))
        }
        Value::Bytes(bytes) => Ok(Value::Int(i64::from(bytes[position(idx, bytes.len(), "index")?]))),
        Value::Opaque(opaque) => match range::of(opaque) {
            Some(range) => {
                let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
                Ok(Value::Int(range.get(position(idx, len, "range object")? as u64)))
            }
            None => Err(not_subscriptable(value)),
        },
        other => Err(not_subscriptable(other)),
    }
}

fn not_subscriptable(value: &Value) -> Fault {
    Fault::type_error(format!("'{}' object is not subscriptable", value.type_name()))
}

/// Which elements of `len` a slice takes: first, step, how many (as Python's `slice.indices`).
fn bounds(
    len: usize,
    start: Option<&Value>,
    stop: Option<&Value>,
    step: Option<&Value>,
) -> Result<(i64, i64, usize), Fault> {
    let number = |value: Option<&Value>| match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Int(int)) => Ok(Some(*int)),
        Some(Value::BigInt(int)) => {
            let negative = int.sign() == num_bigint::Sign::Minus;
            Ok(Some(if negative { i64::MIN / 2 } else { i64::MAX / 2 }))
        }
        Some(_) => Err(Fault::type_error("slice indices must be integers or None")),
    };
    let step = number(step)?.unwrap_or(1);
    if step == 0 {
        return Err(Fault::value_error("slice step cannot be zero"));
    }
    let len = len as i64;
    let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |value: i64| {
        let value = if value < 0 { value.saturating_add(len) } else { value };
        value.clamp(lowest, highest)
    };
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let start = number(start)?.map_or(first, clamp);
    let stop = number(stop)?.map_or(last, clamp);
    let distance = if step > 0 { stop - start } else { start - stop };
    let count = if distance <= 0 { 0 } else { (distance as u64 - 1) / step.unsigned_abs() + 1 };
    Ok((start, step, count as usize))
}

/// `value[start:stop:step]`
pub fn slice(value: &Value, start: Option<&Value>, stop: Option<&Value>, step: Option<&Value>) -> Result<Value, Fault> {
    fn pick<T: Clone>(items: &[T], (start, step, count): (i64, i64, usize)) -> Vec<T> {
        if step == 1 {
            return items[start as usize..start as usize + count].to_vec();
        }
        (0..count).map(|nth| items[(start + nth as i64 * step) as usize].clone()).collect()
    }
    match value {
        Value::Str(text) if text.is_ascii() => {
            let bytes = pick(text.as_bytes(), bounds(text.len(), start, stop, step)?);
            Ok(Value::str(String::from_utf8(bytes).unwrap_or_default()))
        }
        Value::Str(text) => {
            let chars: Vec<char> = text.chars().collect();
            Ok(Value::str(pick(&chars, bounds(chars.len(), start, stop, step)?).into_iter().collect::<String>()))
        }
        Value::Bytes(bytes) => Ok(Value::Bytes(pick(bytes, bounds(bytes.len(), start, stop, step)?).into())),
        Value::List(items) => Ok(Value::list(pick(items, bounds(items.len(), start, stop, step)?))),
        Value::Tuple(items) => Ok(Value::Tuple(pick(items, bounds(items.len(), start, stop, step)?).into())),
        Value::Record(record) => {
            let pair = [record.key.clone(), record.value.clone()];
            Ok(Value::Tuple(pick(&pair, bounds(2, start, stop, step)?).into()))
        }
        Value::Opaque(opaque) => match range::of(opaque) {
            Some(range) => {
                let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
                let (first, by, count) = bounds(len, start, stop, step)?;
                let start = range.start.saturating_add(first.saturating_mul(range.step));
                let step = range.step.saturating_mul(by);
                let stop = start.saturating_add(step.saturating_mul(count as i64));
                Ok(range::Range { start, stop, step }.value())
            }
            None => Err(not_subscriptable(value)),
        },
        other => Err(not_subscriptable(other)),
    }
}

/// The elements of a list, tuple, range, dict (its keys) or record (key and value).
pub fn iterate(value: &Value, budget: &mut Budget) -> Result<Vec<Value>, Fault> {
    match value {
        Value::List(items) => {
            budget.values(items.len())?;
            Ok(items.to_vec())
        }
        Value::Tuple(items) => {
            budget.values(items.len())?;
            Ok(items.to_vec())
        }
        Value::Dict(dict) => {
            budget.values(dict.len())?;
            Ok(dict.keys().map(|key| key.value().clone()).collect())
        }
        Value::Record(record) => Ok(vec![record.key.clone(), record.value.clone()]),
        Value::Opaque(opaque) if range::of(opaque).is_some() => {
            let Some(range) = range::of(opaque) else { return Ok(Vec::new()) };
            budget.values(usize::try_from(range.len()).unwrap_or(usize::MAX))?;
            Ok((0..range.len()).map(|idx| Value::Int(range.get(idx))).collect())
        }
        Value::Str(_) => Err(Fault::type_error("'str' object is not iterable; use its .elems() for the characters")),
        Value::Bytes(_) => Err(Fault::type_error("'bytes' object is not iterable; index it, or use .elems()")),
        other => Err(Fault::type_error(format!("'{}' object is not iterable", other.type_name()))),
    }
}

/// `value.name`: fields of records and structs, members of modules.
pub fn attribute(value: &Value, name: &str) -> Result<Value, Fault> {
    let found = match value {
        Value::Record(record) => match name {
            "key" => Some(record.key.clone()),
            "value" => Some(record.value.clone()),
            "topic" => Some(Value::str(&record.tp.topic)),
            "partition" => Some(Value::Int(i64::from(record.tp.partition))),
            "offset" => Some(Value::Int(record.offset)),
            "timestamp" => Some(Value::Int(record.timestamp)),
            "headers" => {
                let pairs =
                    record.headers.iter().map(|(name, value)| Value::pair(Value::Str(name.clone()), value.clone()));
                Some(Value::list(pairs.collect()))
            }
            _ => None,
        },
        Value::Struct(fields) => fields.get(name).cloned(),
        Value::Opaque(opaque) => match opaque.as_any().downcast_ref::<super::Module>() {
            Some(module) => super::module_constant(module.0, name),
            None => match (range::of(opaque), name) {
                (Some(range), "start") => Some(Value::Int(range.start)),
                (Some(range), "stop") => Some(Value::Int(range.stop)),
                (Some(range), "step") => Some(Value::Int(range.step)),
                _ => None,
            },
        },
        _ => None,
    };
    found.ok_or_else(|| {
        let message = format!("'{}' object has no attribute '{name}'", value.type_name());
        Fault::new(EvalErrorKind::Attribute, message)
    })
}

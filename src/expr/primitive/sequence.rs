//! Methods of lists, tuples and ranges that change nothing.

use super::{Arguments, Caller, Fault, MethodFn, builtin::position, equal, iterate};
use crate::model::Value;

pub const NAMES: &[&str] = &["copy", "count", "index"];

/// Methods of every sequence.
pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "count" => count,
        "index" => index,
        _ => return None,
    })
}

pub fn list_method(name: &str) -> Option<MethodFn> {
    match name {
        "copy" => Some(|list, _, _| Ok(list.clone())),
        name => method(name),
    }
}

fn count(sequence: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let item = arguments.take("count", ["value"], 1)?[0].unwrap_or(&Value::None);
    let items = iterate(sequence, caller.budget())?;
    Ok(Value::Int(items.iter().filter(|other| equal(other, item)).count() as i64))
}

fn index(sequence: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [item, start, stop] = arguments.take("index", ["value", "start", "stop"], 1)?;
    let items = iterate(sequence, caller.budget())?;
    let bound = |value: Option<&Value>, default: usize| match value {
        Some(Value::Int(at)) if *at < 0 => items.len().saturating_sub(at.unsigned_abs() as usize),
        Some(Value::Int(at)) => (*at as usize).min(items.len()),
        _ => default,
    };
    let start = bound(start, 0);
    let stop = bound(stop, items.len()).max(start);
    let item = item.unwrap_or(&Value::None);
    match position(&items[start..stop], item) {
        Some(at) => Ok(Value::Int((start + at) as i64)),
        None => Err(Fault::value_error(match sequence {
            Value::List(_) => format!("{} is not in list", crate::model::text::repr(item)),
            Value::Tuple(_) => "tuple.index(x): x not in tuple".to_owned(),
            _ => format!("{} is not in range", crate::model::text::repr(item)),
        })),
    }
}

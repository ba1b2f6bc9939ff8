//! Builtins over the elements of something: `sorted`, `sum`, `zip` ...

use std::sync::Arc;

use super::{
    Arguments, BinaryOp, Caller, CompareOp, Fault,
    access::{iterate, key},
    argument::{flag, int, one, take},
    binary, compare, range, truthy,
};
use crate::model::{Dict, Value, key::Key};

pub fn list(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    match take("list", arguments, [""], 0)? {
        [Some(value)] => iterate(value, caller.budget()).map(Value::list),
        [None] => Ok(Value::list(Vec::new())),
    }
}

pub fn tuple(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    match take("tuple", arguments, [""], 0)? {
        [Some(value)] => iterate(value, caller.budget()).map(|items| Value::Tuple(items.into())),
        [None] => Ok(Value::tuple([])),
    }
}

pub fn dict(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut dict = Dict::new();
    if arguments.positional.len() > 1 {
        let message = format!("dict expected at most 1 argument, got {}", arguments.positional.len());
        return Err(Fault::of_type(message));
    }
    if let Some(value) = arguments.positional.first() {
        extend(&mut dict, value, caller)?;
    }
    for (name, value) in arguments.named {
        dict.insert(Key::from(name.as_str()), value.clone());
    }
    Ok(Value::Dict(Arc::new(dict)))
}

/// Puts the pairs of a dict, or of a list of pairs, into a dict.
pub fn extend(dict: &mut Dict, value: &Value, caller: &mut dyn Caller) -> Result<(), Fault> {
    if let Value::Dict(other) = value {
        caller.budget().elements(other.len() * 2)?;
        dict.extend(other.iter().map(|(key, value)| (key.clone(), value.clone())));
        return Ok(());
    }
    for (idx, pair) in iterate(value, caller.budget())?.iter().enumerate() {
        let parts = match pair {
            Value::Tuple(parts) => parts.to_vec(),
            Value::List(parts) => parts.to_vec(),
            Value::Record(record) => vec![record.key.clone(), record.value.clone()],
            _ => {
                let message = format!("cannot convert dictionary update sequence element #{idx} to a sequence");
                return Err(Fault::of_type(message));
            }
        };
        let [name, value] = parts.as_slice() else {
            let len = parts.len();
            let message = format!("dictionary update sequence element #{idx} has length {len}; 2 is required");
            return Err(Fault::of_value(message));
        };
        dict.insert(key(name)?, value.clone());
    }
    Ok(())
}

pub fn all(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::Bool(iterate(one("all", arguments)?, caller.budget())?.iter().all(truthy)))
}

pub fn any(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::Bool(iterate(one("any", arguments)?, caller.budget())?.iter().any(truthy)))
}

pub fn enumerate(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(over), start] = take("enumerate", arguments, ["iterable", "start"], 1)? else { return Ok(Value::None) };
    let start = start.map_or(Ok(0), int)?;
    let items = iterate(over, caller.budget())?;
    caller.budget().elements(items.len() * 3)?;
    let numbered = items.into_iter().zip(start..).map(|(item, idx)| Value::pair(Value::Int(idx), item));
    Ok(Value::list(numbered.collect()))
}

pub fn zip(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    if let Some((name, _)) = arguments.named.first() {
        return Err(Fault::of_type(format!("zip() got an unexpected keyword argument '{name}'")));
    }
    let mut columns = Vec::new();
    for value in arguments.positional {
        columns.push(iterate(value, caller.budget())?);
    }
    let len = columns.iter().map(Vec::len).min().unwrap_or(0);
    caller.budget().elements(len * (columns.len() + 1))?;
    let row = |idx: usize| Value::tuple(columns.iter().filter_map(|column| column.get(idx).cloned()));
    Ok(Value::list((0..len).map(row).collect()))
}

pub fn reversed(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let value = one("reversed", arguments)?;
    if !matches!(value, Value::List(_) | Value::Tuple(_) | Value::Dict(_)) && range::of(value).is_none() {
        return Err(Fault::of_type(format!("'{}' object is not reversible", value.type_name())));
    }
    let mut items = iterate(value, caller.budget())?;
    items.reverse();
    Ok(Value::list(items))
}

pub fn map(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let Some((function, over)) = arguments.positional.split_first().filter(|(_, over)| !over.is_empty()) else {
        return Err(Fault::of_type("map() must have at least two arguments."));
    };
    let mut columns = Vec::new();
    for value in over {
        columns.push(iterate(value, caller.budget())?);
    }
    let len = columns.iter().map(Vec::len).min().unwrap_or(0);
    let mut results = Vec::new();
    for idx in 0..len {
        caller.budget().elements(1)?;
        let row: Vec<Value> = columns.iter().filter_map(|column| column.get(idx).cloned()).collect();
        results.push(caller.call(function, &row)?);
    }
    Ok(Value::list(results))
}

pub fn filter(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(function), Some(over)] = take("filter", arguments, ["", ""], 2)? else { return Ok(Value::None) };
    let mut kept = Vec::new();
    for item in iterate(over, caller.budget())? {
        let keep = match function {
            Value::None => truthy(&item),
            function => truthy(&caller.call(function, std::slice::from_ref(&item))?),
        };
        if keep {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

pub fn sum(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(over), start] = take("sum", arguments, ["", "start"], 1)? else { return Ok(Value::None) };
    let start = start.cloned().unwrap_or(Value::Int(0));
    if let Value::Str(_) = start {
        return Err(Fault::of_type("sum() can't sum strings [use ''.join(seq) instead]"));
    }
    let mut total = start;
    for item in iterate(over, caller.budget())? {
        total = binary(BinaryOp::Add, &total, &item, caller.budget())?;
    }
    Ok(total)
}

pub fn min(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    extreme("min", CompareOp::Less, arguments, caller)
}

pub fn max(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    extreme("max", CompareOp::Greater, arguments, caller)
}

/// The first element that no other beats.
fn extreme(name: &str, beats: CompareOp, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let options = Arguments { positional: &[], named: arguments.named };
    let [function, default] = take(name, &options, ["key", "default"], 0)?;
    let items = match arguments.positional {
        [] => return Err(Fault::of_type(format!("{name} expected at least 1 argument, got 0"))),
        [over] => iterate(over, caller.budget())?,
        several => several.to_vec(),
    };
    let mut best: Option<(Value, Value)> = None;
    for item in items {
        let weight = match function {
            None | Some(Value::None) => item.clone(),
            Some(function) => caller.call(function, std::slice::from_ref(&item))?,
        };
        let better = match &best {
            Some((_, heaviest)) => compare(beats, &weight, heaviest)?,
            None => true,
        };
        if better {
            best = Some((item, weight));
        }
    }
    match (best, default) {
        (Some((item, _)), _) => Ok(item),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(Fault::of_value(format!("{name}() arg is an empty sequence"))),
    }
}

pub fn sorted(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(over), function, reverse] = take("sorted", arguments, ["", "key", "reverse"], 1)? else {
        return Ok(Value::None);
    };
    let items = iterate(over, caller.budget())?;
    sort(items, function, flag(reverse), caller).map(Value::list)
}

/// A stable sort, as Python's.
fn sort(
    items: Vec<Value>,
    function: Option<&Value>,
    reverse: bool,
    caller: &mut dyn Caller,
) -> Result<Vec<Value>, Fault> {
    let mut weighed = Vec::with_capacity(items.len());
    for item in items {
        let weight = match function {
            None | Some(Value::None) => None,
            Some(function) => Some(caller.call(function, std::slice::from_ref(&item))?),
        };
        weighed.push((weight, item));
    }
    caller.budget().steps(weighed.len() as u64)?;
    let mut fault = None;
    // Whether the later one goes first. Equal elements keep their order, also in reverse.
    let mut swaps = |earlier: &(Option<Value>, Value), later: &(Option<Value>, Value)| {
        let (earlier, later) = (earlier.0.as_ref().unwrap_or(&earlier.1), later.0.as_ref().unwrap_or(&later.1));
        let (a, b) = if reverse { (earlier, later) } else { (later, earlier) };
        compare(CompareOp::Less, a, b).unwrap_or_else(|found| {
            fault.get_or_insert(found);
            false
        })
    };
    merge_sort(&mut weighed, &mut swaps);
    match fault {
        Some(fault) => Err(fault),
        None => Ok(weighed.into_iter().map(|(_, item)| item).collect()),
    }
}

/// The standard library's sort may panic where NaN breaks the order, so this one is ours: merges of longer and longer
/// runs.
fn merge_sort<T: Clone>(items: &mut Vec<T>, swaps: &mut impl FnMut(&T, &T) -> bool) {
    let len = items.len();
    let mut width = 1;
    while width < len {
        let mut merged = Vec::with_capacity(len);
        for start in (0..len).step_by(width * 2) {
            let middle = (start + width).min(len);
            let end = (start + 2 * width).min(len);
            let (Some(left), Some(right)) = (items.get(start..middle), items.get(middle..end)) else { continue };
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                let next = if swaps(a, b) { right.next() } else { left.next() };
                merged.extend(next.cloned());
            }
            merged.extend(left.cloned());
            merged.extend(right.cloned());
        }
        *items = merged;
        width *= 2;
    }
}

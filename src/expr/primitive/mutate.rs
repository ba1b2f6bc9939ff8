//! Methods that change a list or dict: the evaluator calls them on a variable, whose value is replaced.

use std::sync::Arc;

use super::{Arguments, Caller, Fault, builtin, compare::key, equal, iterate, truthy};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Value, text::repr},
};

pub const NAMES: &[&str] =
    &["append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"];

/// Runs the method `name`, if `receiver`'s type has one that changes it. Gives the method's result.
pub fn mutate(
    name: &str,
    receiver: &mut Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    match receiver {
        Value::List(items) => list(name, Arc::make_mut(items), arguments, caller),
        Value::Dict(dict) => dict_method(name, Arc::make_mut(dict), arguments, caller),
        _ => None,
    }
}

fn list(
    name: &str,
    items: &mut Vec<Value>,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    let run = |items: &mut Vec<Value>, caller: &mut dyn Caller| -> Result<Value, Fault> {
        match name {
            "append" => {
                let [item] = arguments.take(name, ["object"], 1)?;
                caller.budget().values(1)?;
                items.extend(item.cloned());
            }
            "extend" => {
                let [more] = arguments.take(name, ["iterable"], 1)?;
                items.extend(iterate(more.unwrap_or(&Value::None), caller.budget())?);
            }
            "insert" => {
                let [at, item] = arguments.take(name, ["index", "object"], 2)?;
                caller.budget().values(1)?;
                let at = index(at.unwrap_or(&Value::None), items.len())?;
                items.insert(at, item.cloned().unwrap_or(Value::None));
            }
            "pop" => return pop(items, arguments),
            "remove" => {
                let [item] = arguments.take(name, ["value"], 1)?;
                let item = item.unwrap_or(&Value::None);
                match items.iter().position(|other| equal(other, item)) {
                    Some(at) => drop(items.remove(at)),
                    None => return Err(Fault::value_error("list.remove(x): x not in list")),
                }
            }
            "clear" => items.clear(),
            "reverse" => items.reverse(),
            _ => {
                let mut keyed = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let sort_key = match arguments.named("key").filter(|key| !matches!(key, Value::None)) {
                        Some(function) => caller.call(function, std::slice::from_ref(item))?,
                        None => item.clone(),
                    };
                    keyed.push((sort_key, item.clone()));
                }
                builtin::sort(&mut keyed, arguments.named("reverse").is_some_and(truthy), caller)?;
                *items = keyed.into_iter().map(|(_, item)| item).collect();
            }
        }
        Ok(Value::None)
    };
    let known = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
    known.contains(&name).then(|| run(items, caller))
}

/// Where `insert` puts an element: clamped, negative from the end.
fn index(at: &Value, len: usize) -> Result<usize, Fault> {
    match at {
        Value::Int(at) if *at < 0 => Ok(len.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX))),
        Value::Int(at) => Ok((*at as usize).min(len)),
        other => Err(Fault::type_error(format!("'{}' object cannot be interpreted as an integer", other.type_name()))),
    }
}

fn pop(items: &mut Vec<Value>, arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let [at] = arguments.take("pop", ["index"], 0)?;
    if items.is_empty() {
        return Err(Fault::new(EvalErrorKind::Index, "pop from empty list"));
    }
    let at = match at {
        None => items.len() - 1,
        Some(Value::Int(at)) => {
            let at = if *at < 0 { at.saturating_add(items.len() as i64) } else { *at };
            match usize::try_from(at).ok().filter(|at| *at < items.len()) {
                Some(at) => at,
                None => return Err(Fault::new(EvalErrorKind::Index, "pop index out of range")),
            }
        }
        Some(other) => {
            let message = format!("'{}' object cannot be interpreted as an integer", other.type_name());
            return Err(Fault::type_error(message));
        }
    };
    Ok(items.remove(at))
}

fn dict_method(
    name: &str,
    dict: &mut Dict,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    let run = |dict: &mut Dict, caller: &mut dyn Caller| -> Result<Value, Fault> {
        match name {
            "setdefault" => {
                let [wanted, default] = arguments.take(name, ["key", "default"], 1)?;
                caller.budget().values(2)?;
                let default = default.cloned().unwrap_or(Value::None);
                Ok(dict.entry(key(wanted.unwrap_or(&Value::None))?).or_insert(default).clone())
            }
            "pop" => {
                let [wanted, default] = arguments.take(name, ["key", "default"], 1)?;
                let wanted = wanted.unwrap_or(&Value::None);
                match (dict.shift_remove(&key(wanted)?), default) {
                    (Some(value), _) => Ok(value),
                    (None, Some(default)) => Ok(default.clone()),
                    (None, None) => Err(Fault::new(EvalErrorKind::Key, repr(wanted))),
                }
            }
            "popitem" => match dict.pop() {
                Some((key, value)) => Ok(Value::pair(key.into_value(), value)),
                None => Err(Fault::new(EvalErrorKind::Key, "'popitem(): dictionary is empty'")),
            },
            "clear" => {
                dict.clear();
                Ok(Value::None)
            }
            _ => {
                for (key, value) in updates(arguments, caller)? {
                    dict.insert(key, value);
                }
                Ok(Value::None)
            }
        }
    };
    ["clear", "pop", "popitem", "setdefault", "update"].contains(&name).then(|| run(dict, caller))
}

/// What `update` puts in: as `dict(...)` would.
fn updates(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Dict, Fault> {
    let make = builtin::builtin("dict").ok_or_else(|| Fault::type_error("no dict"))?;
    match make(arguments, caller)? {
        Value::Dict(dict) => Ok(Arc::unwrap_or_clone(dict)),
        _ => Ok(Dict::new()),
    }
}

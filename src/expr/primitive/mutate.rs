//! Methods that change a list or dict. The evaluator calls them on containers that may change.

use std::sync::Arc;

use super::{
    Arguments, Caller, Fault,
    access::{iterate, key},
    argument::{int, none, one, take},
    collect, equal,
};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Value, key::Key, text::repr},
};

pub const NAMES: &[&str] = &["append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "popitem"];

/// Calls a changing method; none if the receiver has no such method.
pub fn mutate(
    name: &str,
    receiver: &mut Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    match receiver {
        Value::List(items) => list(name, items, arguments, caller),
        Value::Dict(dict) => self::dict(name, dict, arguments, caller),
        _ => None,
    }
}

fn list(
    name: &str,
    items: &mut Arc<Vec<Value>>,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    let nothing = |result: Result<(), Fault>| Some(result.map(|()| Value::None));
    match name {
        "append" => nothing(one("list.append", arguments).map(|item| Arc::make_mut(items).push(item.clone()))),
        "extend" => nothing(one("list.extend", arguments).and_then(|more| {
            let more = iterate(more, caller.budget())?;
            Arc::make_mut(items).extend(more);
            Ok(())
        })),
        "insert" => nothing(take("insert", arguments, ["", ""], 2).and_then(|found| {
            let [Some(at), Some(item)] = found else { return Ok(()) };
            let len = items.len() as i64;
            let at = int(at)?;
            let at = if at < 0 { at.saturating_add(len).max(0) } else { at.min(len) };
            Arc::make_mut(items).insert(at as usize, item.clone());
            Ok(())
        })),
        "remove" => nothing(one("list.remove", arguments).and_then(|item| {
            let at = items.iter().position(|other| equal(other, item));
            let at = at.ok_or_else(|| Fault::of_value("list.remove(x): x not in list"))?;
            Arc::make_mut(items).remove(at);
            Ok(())
        })),
        "clear" => nothing(none("list.clear", arguments).map(|()| Arc::make_mut(items).clear())),
        "pop" => Some(take("pop", arguments, [""], 0).and_then(|[at]| {
            let len = items.len() as i64;
            let at = at.map_or(Ok(-1), int)?;
            if len == 0 {
                return Err(Fault::new(EvalErrorKind::Index, "pop from empty list"));
            }
            let at = if at < 0 { at.saturating_add(len) } else { at };
            match (0..len).contains(&at) {
                true => Ok(Arc::make_mut(items).remove(at as usize)),
                false => Err(Fault::new(EvalErrorKind::Index, "pop index out of range")),
            }
        })),
        _ => None,
    }
}

fn dict(
    name: &str,
    dict: &mut Arc<Dict>,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Option<Result<Value, Fault>> {
    match name {
        "update" => Some(update(Arc::make_mut(dict), arguments, caller).map(|()| Value::None)),
        "setdefault" => Some(take("setdefault", arguments, ["", ""], 1).and_then(|found| {
            let [Some(name), default] = found else { return Ok(Value::None) };
            let default = default.cloned().unwrap_or(Value::None);
            Ok(Arc::make_mut(dict).entry(key(name)?).or_insert(default).clone())
        })),
        "pop" => Some(take("pop", arguments, ["", ""], 1).and_then(|found| {
            let [Some(name), default] = found else { return Ok(Value::None) };
            match (Arc::make_mut(dict).shift_remove(&key(name)?), default) {
                (Some(value), _) => Ok(value),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(Fault::new(EvalErrorKind::Key, repr(name))),
            }
        })),
        "popitem" => Some(none("dict.popitem", arguments).and_then(|()| match Arc::make_mut(dict).pop() {
            Some((key, value)) => Ok(Value::pair(key.into_value(), value)),
            None => Err(Fault::new(EvalErrorKind::Key, "popitem(): dictionary is empty")),
        })),
        "clear" => Some(none("dict.clear", arguments).map(|()| {
            Arc::make_mut(dict).clear();
            Value::None
        })),
        _ => None,
    }
}

fn update(dict: &mut Dict, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<(), Fault> {
    if arguments.positional.len() > 1 {
        let message = format!("update expected at most 1 argument, got {}", arguments.positional.len());
        return Err(Fault::of_type(message));
    }
    if let Some(more) = arguments.positional.first() {
        collect::extend(dict, more, caller)?;
    }
    for (name, value) in arguments.named {
        dict.insert(Key::from(name.as_str()), value.clone());
    }
    Ok(())
}

//! Methods of list, tuple and range that do not change them.

use super::{
    Arguments, Caller, Fault, MethodFn,
    access::iterate,
    argument::{int, one, take},
    builtin::shown,
    equal,
};
use crate::model::Value;

pub const NAMES: &[&str] = &["count", "index", "copy"];

pub fn list_method(name: &str) -> Option<MethodFn> {
    match name {
        "copy" => Some(|value, arguments, _| {
            super::argument::none("list.copy", arguments)?;
            Ok(value.clone())
        }),
        other => tuple_method(other),
    }
}

pub fn tuple_method(name: &str) -> Option<MethodFn> {
    match name {
        "count" => Some(count),
        "index" => Some(index),
        _ => None,
    }
}

fn count(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let item = one("count", arguments)?;
    let items = iterate(value, caller.budget())?;
    Ok(Value::Int(items.iter().filter(|other| equal(other, item)).count() as i64))
}

fn index(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(item), start, stop] = take("index", arguments, ["", "", ""], 1)? else { return Ok(Value::None) };
    let items = iterate(value, caller.budget())?;
    let len = items.len() as i64;
    let clamp = |at: i64| if at < 0 { (at + len).max(0) } else { at.min(len) };
    let start = start.map_or(Ok(0), int).map(clamp)? as usize;
    let stop = stop.map_or(Ok(len), int).map(clamp)? as usize;
    let found = items.iter().enumerate().take(stop).skip(start).find(|(_, other)| equal(other, item));
    match (found, value) {
        (Some((at, _)), _) => Ok(Value::Int(at as i64)),
        (None, Value::Tuple(_)) => Err(Fault::of_value("tuple.index(x): x not in tuple")),
        (None, Value::List(_)) => Err(Fault::of_value(format!("{} is not in list", shown(item)))),
        (None, _) => Err(Fault::of_value(format!("{} is not in range", shown(item)))),
    }
}

//! Methods of dicts that change nothing.

use super::{Arguments, Caller, Fault, MethodFn, compare::key};
use crate::model::{Dict, Value};

pub const NAMES: &[&str] = &["copy", "get", "items", "keys", "values"];

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "copy" => |dict, _, _| Ok(dict.clone()),
        "get" => get,
        "items" => |dict, a, c| {
            listed("items", dict, a, c, |dict| {
                dict.iter().map(|(key, value)| Value::pair(key.value().clone(), value.clone())).collect()
            })
        },
        "keys" => |dict, a, c| listed("keys", dict, a, c, |dict| dict.keys().map(|key| key.value().clone()).collect()),
        "values" => |dict, a, c| listed("values", dict, a, c, |dict| dict.values().cloned().collect()),
        _ => return None,
    })
}

fn of(value: &Value) -> Result<&Dict, Fault> {
    match value {
        Value::Dict(dict) => Ok(dict),
        other => Err(Fault::type_error(format!("expected a dict, got '{}'", other.type_name()))),
    }
}

fn get(dict: &Value, arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [wanted, default] = arguments.take("get", ["key", "default"], 1)?;
    let found = of(dict)?.get(&key(wanted.unwrap_or(&Value::None))?);
    Ok(found.or(default).cloned().unwrap_or(Value::None))
}

fn listed(
    name: &str,
    dict: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    list: fn(&Dict) -> Vec<Value>,
) -> Result<Value, Fault> {
    arguments.take(name, [], 0)?;
    let dict = of(dict)?;
    caller.budget().values(dict.len())?;
    Ok(Value::list(list(dict)))
}

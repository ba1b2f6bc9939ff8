//! Methods of dict that do not change it.

use super::{
    Fault, MethodFn,
    access::key,
    argument::{none, take},
};
use crate::model::{Dict, Value};

pub const NAMES: &[&str] = &["get", "items", "keys", "values", "copy"];

fn dict(value: &Value) -> Result<&Dict, Fault> {
    match value {
        Value::Dict(dict) => Ok(dict),
        other => Err(Fault::of_type(format!("a dict is needed, not '{}'", other.type_name()))),
    }
}

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "get" => |value, arguments, _| {
            let [Some(name), default] = take("get", arguments, ["", ""], 1)? else { return Ok(Value::None) };
            let found = dict(value)?.get(&key(name)?);
            Ok(found.or(default).cloned().unwrap_or(Value::None))
        },
        "items" => |value, arguments, caller| {
            none("dict.items", arguments)?;
            let dict = dict(value)?;
            caller.budget().elements(dict.len() * 3)?;
            Ok(Value::list(dict.iter().map(|(key, value)| Value::pair(key.value().clone(), value.clone())).collect()))
        },
        "keys" => |value, arguments, caller| {
            none("dict.keys", arguments)?;
            let dict = dict(value)?;
            caller.budget().elements(dict.len())?;
            Ok(Value::list(dict.keys().map(|key| key.value().clone()).collect()))
        },
        "values" => |value, arguments, caller| {
            none("dict.values", arguments)?;
            let dict = dict(value)?;
            caller.budget().elements(dict.len())?;
            Ok(Value::list(dict.values().cloned().collect()))
        },
        "copy" => |value, arguments, _| {
            none("dict.copy", arguments)?;
            Ok(value.clone())
        },
        _ => return None,
    })
}

//! Searching in str: positions are characters.

use super::{
    Arguments, Fault, MethodFn,
    argument::{int, take, text},
    str_method::of,
};
use crate::model::Value;

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "find" => |value, arguments, _| Ok(Value::Int(find("find", value, arguments, false)?.unwrap_or(-1))),
        "rfind" => |value, arguments, _| Ok(Value::Int(find("rfind", value, arguments, true)?.unwrap_or(-1))),
        "index" => |value, arguments, _| must(find("index", value, arguments, false)?),
        "rindex" => |value, arguments, _| must(find("rindex", value, arguments, true)?),
        "count" => |value, arguments, _| {
            let [Some(part), start, stop] = take("count", arguments, ["", "", ""], 1)? else { return Ok(Value::None) };
            let part = text(part, |name| format!("must be str, not {name}"))?;
            let Some((_, within)) = window(of(value)?, start, stop)? else { return Ok(Value::Int(0)) };
            let count = match part.is_empty() {
                true => within.chars().count() + 1,
                false => memchr::memmem::find_iter(within.as_bytes(), part).count(),
            };
            Ok(Value::Int(count as i64))
        },
        "startswith" => |value, arguments, _| edge("startswith", value, arguments, |text, part| text.starts_with(part)),
        "endswith" => |value, arguments, _| edge("endswith", value, arguments, |text, part| text.ends_with(part)),
        _ => return None,
    })
}

fn must(found: Option<i64>) -> Result<Value, Fault> {
    found.map(Value::Int).ok_or_else(|| Fault::of_value("substring not found"))
}

/// The part of the text between two positions, and how many characters stand before it; none where the start lies
/// behind the end.
fn window<'a>(text: &'a str, start: Option<&Value>, stop: Option<&Value>) -> Result<Option<(usize, &'a str)>, Fault> {
    let given = |bound: Option<&Value>| match bound {
        None | Some(Value::None) => Ok(None),
        Some(Value::Int(at)) => Ok(Some(*at)),
        Some(other) => int(other)
            .map(Some)
            .map_err(|_| Fault::of_type("slice indices must be integers or None or have an __index__ method")),
    };
    let (start, stop) = (given(start)?, given(stop)?);
    if start.is_none() && stop.is_none() {
        return Ok(Some((0, text)));
    }
    let len = text.chars().count() as i64;
    let clamp = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, stop) = (start.map_or(0, clamp), stop.map_or(len, clamp).min(len));
    if start > stop || start > len {
        return Ok(None);
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((start as usize, text.get(byte(start)..byte(stop)).unwrap_or_default())))
}

fn find(name: &str, value: &Value, arguments: &Arguments<'_>, last: bool) -> Result<Option<i64>, Fault> {
    let [Some(part), start, stop] = take(name, arguments, ["", "", ""], 1)? else { return Ok(None) };
    let part = text(part, |name| format!("must be str, not {name}"))?;
    let Some((before, within)) = window(of(value)?, start, stop)? else { return Ok(None) };
    let found = match last {
        false => memchr::memmem::find(within.as_bytes(), part.as_bytes()),
        true => memchr::memmem::rfind(within.as_bytes(), part.as_bytes()),
    };
    let characters = |at: usize| within.get(..at).map_or(0, |head| head.chars().count());
    Ok(found.map(|at| (before + characters(at)) as i64))
}

fn edge(name: &str, value: &Value, arguments: &Arguments<'_>, matches: fn(&str, &str) -> bool) -> Result<Value, Fault> {
    let [Some(part), start, stop] = take(name, arguments, ["", "", ""], 1)? else { return Ok(Value::None) };
    let window = window(of(value)?, start, stop)?;
    let matches = |part: &str| window.is_some_and(|(_, within)| matches(within, part));
    match part {
        Value::Str(part) => Ok(Value::Bool(matches(part))),
        Value::Tuple(parts) => {
            let mut found = false;
            for part in parts.iter() {
                let part = text(part, |other| format!("tuple for {name} must only contain str, not {other}"))?;
                found |= matches(part);
            }
            Ok(Value::Bool(found))
        }
        other => {
            let other = other.type_name();
            Err(Fault::of_type(format!("{name} first arg must be str or a tuple of str, not {other}")))
        }
    }
}

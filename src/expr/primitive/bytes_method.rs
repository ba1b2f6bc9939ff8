//! Methods of bytes.

use super::{Arguments, Caller, Fault, MethodFn};
use crate::{expr::EvalErrorKind, model::Value};

pub const NAMES: &[&str] = &[
    "count",
    "decode",
    "elems",
    "endswith",
    "find",
    "hex",
    "lower",
    "replace",
    "split",
    "startswith",
    "strip",
    "upper",
];

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "count" => |b, a, _| {
            let [part] = parts("count", a)?;
            Ok(Value::Int(memchr::memmem::find_iter(of(b), part).count() as i64))
        },
        "decode" => decode,
        "elems" => |b, a, c| {
            a.take("elems", [], 0)?;
            c.budget().values(of(b).len())?;
            Ok(Value::list(of(b).iter().map(|byte| Value::Int(i64::from(*byte))).collect()))
        },
        "endswith" => |b, a, _| {
            let [part] = parts("endswith", a)?;
            Ok(Value::Bool(of(b).ends_with(part)))
        },
        "find" => |b, a, _| {
            let [part] = parts("find", a)?;
            Ok(Value::Int(memchr::memmem::find(of(b), part).map_or(-1, |at| at as i64)))
        },
        "hex" => |b, a, c| {
            a.take("hex", [], 0)?;
            c.budget().allocate(of(b).len() as u64 * 2)?;
            Ok(Value::str(of(b).iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        },
        "lower" => |b, a, c| mapped("lower", b, a, c, <[u8]>::to_ascii_lowercase),
        "replace" => replace,
        "split" => split,
        "startswith" => |b, a, _| {
            let [part] = parts("startswith", a)?;
            Ok(Value::Bool(of(b).starts_with(part)))
        },
        "strip" => |b, a, c| mapped("strip", b, a, c, |bytes| trimmed(bytes).to_vec()),
        "upper" => |b, a, c| mapped("upper", b, a, c, <[u8]>::to_ascii_uppercase),
        _ => return None,
    })
}

/// With the vertical tab, which Rust's white space lacks.
fn is_space(byte: &u8) -> bool {
    matches!(byte, 9..=13 | b' ')
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

fn of(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

/// Exactly so many arguments, all bytes.
fn parts<'a, const N: usize>(name: &str, arguments: &Arguments<'a>) -> Result<[&'a [u8]; N], Fault> {
    let taken: [Option<&Value>; N] = arguments.take(name, [""; N], N)?;
    let mut parts = [&[][..]; N];
    for (part, value) in parts.iter_mut().zip(taken) {
        match value {
            Some(Value::Bytes(bytes)) => *part = bytes,
            other => {
                let type_name = other.map_or("NoneType", Value::type_name);
                return Err(Fault::type_error(format!("a bytes-like object is required, not '{type_name}'")));
            }
        }
    }
    Ok(parts)
}

fn mapped(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    change: fn(&[u8]) -> Vec<u8>,
) -> Result<Value, Fault> {
    arguments.take(name, [], 0)?;
    caller.budget().allocate(of(value).len() as u64)?;
    Ok(Value::Bytes(change(of(value)).into()))
}

fn decode(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [encoding, errors] = arguments.take("decode", ["encoding", "errors"], 0)?;
    let name = |value: Option<&Value>, default: &str| match value {
        Some(Value::Str(name)) => name.to_ascii_lowercase().replace('_', "-"),
        _ => default.to_owned(),
    };
    let (encoding, errors) = (name(encoding, "utf-8"), name(errors, "strict"));
    let bytes = of(value);
    caller.budget().allocate(bytes.len() as u64 * 3)?;
    match &*encoding {
        "latin-1" | "latin1" | "iso-8859-1" => {
            Ok(Value::str(bytes.iter().map(|byte| char::from(*byte)).collect::<String>()))
        }
        "utf-8" | "utf8" | "ascii" => {
            let ascii_end = if encoding == "ascii" { bytes.iter().position(|byte| *byte > 0x7f) } else { None };
            match (std::str::from_utf8(bytes), ascii_end, &*errors) {
                (Ok(text), None, _) => Ok(Value::str(text)),
                (_, _, "replace") => Ok(Value::str(String::from_utf8_lossy(bytes))),
                (_, _, "ignore") => Ok(Value::str(String::from_utf8_lossy(bytes).replace('\u{fffd}', ""))),
                (result, at, _) => {
                    let at = at.or_else(|| result.err().map(|error| error.valid_up_to())).unwrap_or(0);
                    let byte = bytes.get(at).copied().unwrap_or(0);
                    let message = format!("'{encoding}' codec can't decode byte {byte:#04x} in position {at}");
                    Err(Fault::new(EvalErrorKind::Decode, message))
                }
            }
        }
        other => Err(Fault::value_error(format!("unknown encoding: {other}"))),
    }
}

fn replace(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [old, new] = parts("replace", arguments)?;
    let bytes = of(value);
    if old.is_empty() {
        return Err(Fault::value_error("replace of empty bytes is not supported"));
    }
    let count = memchr::memmem::find_iter(bytes, old).count();
    caller.budget().allocate((bytes.len() as u64).saturating_add((count as u64).saturating_mul(new.len() as u64)))?;
    let mut out = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(bytes, old) {
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(&bytes[from..]);
    Ok(Value::Bytes(out.into()))
}

fn split(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let bytes = of(value);
    caller.budget().allocate(bytes.len() as u64)?;
    let [separator] = match arguments.positional {
        [] => {
            let words = bytes.split(is_space).filter(|word| !word.is_empty());
            return Ok(Value::list(words.map(|word| Value::Bytes(word.into())).collect()));
        }
        _ => parts("split", arguments)?,
    };
    if separator.is_empty() {
        return Err(Fault::value_error("empty separator"));
    }
    let (mut words, mut from) = (Vec::new(), 0);
    for at in memchr::memmem::find_iter(bytes, separator) {
        words.push(Value::Bytes(bytes[from..at].into()));
        from = at + separator.len();
    }
    words.push(Value::Bytes(bytes[from..].into()));
    caller.budget().values(words.len())?;
    Ok(Value::list(words))
}

//! Methods of bytes.

use memchr::memmem;

use super::{
    Arguments, Fault, MethodFn,
    access::iterate,
    argument::{int, none, one, take},
};
use crate::{expr::EvalErrorKind, model::Value};

pub const NAMES: &[&str] = &[
    "decode",
    "elems",
    "hex",
    "startswith",
    "endswith",
    "find",
    "count",
    "split",
    "strip",
    "lstrip",
    "rstrip",
    "replace",
    "join",
    "lower",
    "upper",
    "isdigit",
    "isalpha",
    "isspace",
];

fn of(value: &Value) -> Result<&[u8], Fault> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(Fault::of_type(format!("a bytes-like object is required, not '{}'", other.type_name()))),
    }
}

fn bytes(bytes: impl Into<Vec<u8>>) -> Value {
    Value::Bytes(bytes.into().into())
}

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "decode" => decode,
        "elems" => |value, arguments, caller| {
            none("bytes.elems", arguments)?;
            let inner = of(value)?;
            caller.budget().elements(inner.len())?;
            Ok(Value::list(inner.iter().map(|byte| Value::Int(i64::from(*byte))).collect()))
        },
        "hex" => |value, arguments, caller| {
            none("bytes.hex", arguments)?;
            let inner = of(value)?;
            caller.budget().allocate(inner.len() as u64 * 2)?;
            Ok(Value::str(inner.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        },
        "startswith" => {
            |value, arguments, _| Ok(Value::Bool(of(value)?.starts_with(of(one("startswith", arguments)?)?)))
        }
        "endswith" => |value, arguments, _| Ok(Value::Bool(of(value)?.ends_with(of(one("endswith", arguments)?)?))),
        "find" => |value, arguments, _| {
            let found = memmem::find(of(value)?, of(one("find", arguments)?)?);
            Ok(Value::Int(found.map_or(-1, |at| at as i64)))
        },
        "count" => |value, arguments, _| {
            let (inner, part) = (of(value)?, of(one("count", arguments)?)?);
            let count = if part.is_empty() { inner.len() + 1 } else { memmem::find_iter(inner, part).count() };
            Ok(Value::Int(count as i64))
        },
        "split" => split,
        "strip" => |value, arguments, _| strip("strip", value, arguments),
        "lstrip" => |value, arguments, _| strip("lstrip", value, arguments),
        "rstrip" => |value, arguments, _| strip("rstrip", value, arguments),
        "replace" => |value, arguments, caller| {
            let [Some(old), Some(new)] = take("replace", arguments, ["", ""], 2)? else { return Ok(Value::None) };
            let (inner, old, new) = (of(value)?, of(old)?, of(new)?);
            if old.is_empty() {
                return Err(Fault::of_value("replace() of nothing in bytes is not known"));
            }
            let count = memmem::find_iter(inner, old).count();
            caller.budget().allocate(inner.len() as u64 + (count as u64).saturating_mul(new.len() as u64))?;
            let mut out = Vec::with_capacity(inner.len());
            let mut start = 0;
            for at in memmem::find_iter(inner, old) {
                out.extend_from_slice(inner.get(start..at).unwrap_or_default());
                out.extend_from_slice(new);
                start = at + old.len();
            }
            out.extend_from_slice(inner.get(start..).unwrap_or_default());
            Ok(bytes(out))
        },
        "join" => |value, arguments, caller| {
            let separator = of(value)?;
            let items = iterate(one("bytes.join", arguments)?, caller.budget())?;
            let mut out = Vec::new();
            for (idx, item) in items.iter().enumerate() {
                let Value::Bytes(item) = item else {
                    let name = item.type_name();
                    let message = format!("sequence item {idx}: expected a bytes-like object, {name} found");
                    return Err(Fault::of_type(message));
                };
                caller.budget().allocate((separator.len() + item.len()) as u64)?;
                out.extend_from_slice(if idx > 0 { separator } else { b"" });
                out.extend_from_slice(item);
            }
            Ok(bytes(out))
        },
        "lower" => |value, arguments, _| {
            none("bytes.lower", arguments)?;
            Ok(bytes(of(value)?.to_ascii_lowercase()))
        },
        "upper" => |value, arguments, _| {
            none("bytes.upper", arguments)?;
            Ok(bytes(of(value)?.to_ascii_uppercase()))
        },
        "isdigit" => |value, arguments, _| every("isdigit", value, arguments, u8::is_ascii_digit),
        "isalpha" => |value, arguments, _| every("isalpha", value, arguments, u8::is_ascii_alphabetic),
        "isspace" => |value, arguments, _| every("isspace", value, arguments, is_space),
        _ => return None,
    })
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

fn every(name: &str, value: &Value, arguments: &Arguments<'_>, test: fn(&u8) -> bool) -> Result<Value, Fault> {
    none(name, arguments)?;
    let inner = of(value)?;
    Ok(Value::Bool(!inner.is_empty() && inner.iter().all(test)))
}

fn decode(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn super::Caller) -> Result<Value, Fault> {
    let [encoding, errors] = take("decode", arguments, ["encoding", "errors"], 0)?;
    let inner = of(value)?;
    caller.budget().allocate(inner.len() as u64 * 3)?;
    let name = |value: Option<&Value>, default: &str| match value {
        Some(Value::Str(name)) => name.to_string(),
        _ => default.to_owned(),
    };
    match name(encoding, "utf-8").to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => match (std::str::from_utf8(inner), name(errors, "strict").as_str()) {
            (Ok(text), _) => Ok(Value::str(text)),
            (Err(_), "replace") => Ok(Value::str(String::from_utf8_lossy(inner))),
            (Err(_), "ignore") => {
                let text: String = inner.utf8_chunks().map(|chunk| chunk.valid()).collect();
                Ok(Value::str(text))
            }
            (Err(error), _) => {
                let at = error.valid_up_to();
                let byte = inner.get(at).copied().unwrap_or(0);
                let message = format!("'utf-8' codec can't decode byte {byte:#04x} in position {at}");
                Err(Fault::new(EvalErrorKind::Decode, message))
            }
        },
        "latin-1" | "latin1" | "iso-8859-1" => {
            Ok(Value::str(inner.iter().map(|byte| char::from(*byte)).collect::<String>()))
        }
        "ascii" | "us-ascii" if inner.is_ascii() => Ok(Value::str(String::from_utf8_lossy(inner))),
        "ascii" | "us-ascii" => {
            Err(Fault::new(EvalErrorKind::Decode, "'ascii' codec can't decode a byte that is no ASCII"))
        }
        other => Err(Fault::of_value(format!("unknown encoding: {other}"))),
    }
}

fn split(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn super::Caller) -> Result<Value, Fault> {
    let [separator, most] = take("split", arguments, ["sep", "maxsplit"], 0)?;
    let inner = of(value)?;
    let most = match most.map_or(Ok(-1), int)? {
        most if most < 0 => usize::MAX,
        most => most as usize,
    };
    let mut parts = Vec::new();
    match separator {
        None | Some(Value::None) => {
            parts.extend(inner.split(|byte| is_space(byte)).filter(|part| !part.is_empty()).map(bytes));
        }
        Some(separator) => {
            let separator = of(separator)?;
            if separator.is_empty() {
                return Err(Fault::of_value("empty separator"));
            }
            let mut start = 0;
            for at in memmem::find_iter(inner, separator).take(most) {
                parts.push(bytes(inner.get(start..at).unwrap_or_default()));
                start = at + separator.len();
            }
            parts.push(bytes(inner.get(start..).unwrap_or_default()));
        }
    }
    caller.budget().allocate(inner.len() as u64 + parts.len() as u64 * 24)?;
    Ok(Value::list(parts))
}

fn strip(name: &str, value: &Value, arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let [letters] = take(name, arguments, [""], 0)?;
    let mut inner = of(value)?;
    let letters = match letters {
        None | Some(Value::None) => b" \t\n\r\x0b\x0c",
        Some(letters) => of(letters)?,
    };
    if name != "rstrip" {
        while let Some((_, rest)) = inner.split_first().filter(|(first, _)| letters.contains(first)) {
            inner = rest;
        }
    }
    if name != "lstrip" {
        while let Some((_, rest)) = inner.split_last().filter(|(last, _)| letters.contains(last)) {
            inner = rest;
        }
    }
    Ok(bytes(inner))
}

//! Python's texts of values: `str()`, `repr()`, and the line `print` shows.

use super::Value;

/// Appends `repr(value)` as Python writes it.
pub fn put_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::BigInt(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&format!("{f:?}")),
        Value::Str(s) => {
            out.push('\'');
            out.push_str(s);
            out.push('\'');
        }
        Value::Tuple(items) => {
            out.push('(');
            for (i, v) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                put_repr(out, v);
            }
            if items.len() == 1 {
                out.push(',');
            }
            out.push(')');
        }
        Value::List(items) => {
            out.push('[');
            for (i, v) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                put_repr(out, v);
            }
            out.push(']');
        }
        Value::Record(r) => put_repr(out, &Value::pair(r.key.clone(), r.value.clone())),
        other => out.push_str(&format!("{other:?}")),
    }
}

/// Appends `str(value)` as Python writes it: a bare str without quotes, anything else as `repr`.
pub fn put_str(out: &mut String, value: &Value) {
    match value {
        Value::Str(text) => out.push_str(text),
        other => put_repr(out, other),
    }
}

/// `repr(value)`
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    put_repr(&mut out, value);
    out
}

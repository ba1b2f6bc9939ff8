//! Python's texts of values: `str()`, `repr()`, and the line `print` shows.

use super::Value;

/// Appends `repr(value)` as Python writes it.
pub fn put_repr(_out: &mut String, _value: &Value) {
    todo!()
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

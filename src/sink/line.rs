//! One element as one line of a file: text, JSON (as Python's `json.dumps`) or CSV (RFC 4180, lines end in `\n`).
//!
//! Whoever computes an output's parts calls this; the sinks only see the bytes.

use crate::{
    job::FileFormat,
    model::{Value, encode::MAX_DEPTH, text},
};

/// A value that the format has no text for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("a {0} has no JSON form")]
    NoJson(&'static str),
    #[error("values nest deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Appends the line of `element`, its end included; on an error `out` is as before.
pub fn put_line(out: &mut Vec<u8>, element: &Value, format: FileFormat) -> Result<(), LineError> {
    match (format, element) {
        (FileFormat::Text, Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        (FileFormat::Text, other) => put_text(out, other),
        (FileFormat::Json, other) => out.extend_from_slice(to_json(other)?.as_bytes()),
        (FileFormat::Csv, Value::Tuple(fields)) => put_fields(out, fields),
        (FileFormat::Csv, Value::List(fields)) => put_fields(out, fields),
        (FileFormat::Csv, Value::Record(record)) => put_fields(out, &[record.key.clone(), record.value.clone()]),
        (FileFormat::Csv, other) => put_field(out, other),
    }
    out.push(b'\n');
    Ok(())
}

/// The JSON text of a value, without a line's end.
pub fn to_json(value: &Value) -> Result<String, LineError> {
    let mut text = String::new();
    put_json(&mut text, value, 0)?;
    Ok(text)
}

fn put_text(out: &mut Vec<u8>, value: &Value) {
    let mut line = String::new();
    text::put_str(&mut line, value);
    out.extend_from_slice(line.as_bytes());
}

fn put_fields(out: &mut Vec<u8>, fields: &[Value]) {
    for (idx, field) in fields.iter().enumerate() {
        if idx > 0 {
            out.push(b',');
        }
        put_field(out, field);
    }
}

/// None is the empty field; the empty text is a quoted one.
fn put_field(out: &mut Vec<u8>, field: &Value) {
    let mut plain = String::new();
    match field {
        Value::None => return,
        other => text::put_str(&mut plain, other),
    }
    if !plain.is_empty() && !plain.contains([',', '"', '\n', '\r']) {
        return out.extend_from_slice(plain.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(plain.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

fn put_json(out: &mut String, value: &Value, depth: usize) -> Result<(), LineError> {
    if depth > MAX_DEPTH {
        return Err(LineError::TooDeep);
    }
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Float(float) if float.is_nan() => out.push_str("NaN"),
        Value::Float(float) if float.is_infinite() => {
            out.push_str(if *float > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::BigInt(int) => out.push_str(&int.to_string()),
        Value::Float(_) => text::put_repr(out, value),
        Value::Str(text) => put_json_str(out, text),
        Value::List(items) => put_array(out, items, depth)?,
        Value::Tuple(items) => put_array(out, items, depth)?,
        Value::Record(record) => put_array(out, &[record.key.clone(), record.value.clone()], depth)?,
        Value::Dict(dict) => {
            let mut entries = Vec::with_capacity(dict.len());
            for (key, value) in dict.iter() {
                entries.push((json_key(key.value())?, value));
            }
            put_object(out, &entries, depth)?;
        }
        Value::Struct(fields) => {
            let entries: Vec<_> = fields.fields.iter().map(|(name, value)| (name.to_string(), value)).collect();
            put_object(out, &entries, depth)?;
        }
        Value::Bytes(_) | Value::Opaque(_) => return Err(LineError::NoJson(value.type_name())),
    }
    Ok(())
}

fn put_array(out: &mut String, items: &[Value], depth: usize) -> Result<(), LineError> {
    out.push('[');
    for (idx, item) in items.iter().enumerate() {
        if idx > 0 {
            out.push_str(", ");
        }
        put_json(out, item, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

fn put_object(out: &mut String, entries: &[(String, &Value)], depth: usize) -> Result<(), LineError> {
    out.push('{');
    for (idx, (key, value)) in entries.iter().enumerate() {
        if idx > 0 {
            out.push_str(", ");
        }
        put_json_str(out, key);
        out.push_str(": ");
        put_json(out, value, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// Keys of JSON objects are texts; numbers, bools and None become theirs, as in Python.
fn json_key(key: &Value) -> Result<String, LineError> {
    match key {
        Value::Str(text) => Ok(text.to_string()),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
            let mut text = String::new();
            put_json(&mut text, key, 0)?;
            Ok(text)
        }
        other => Err(LineError::NoJson(other.type_name())),
    }
}

/// ASCII only, as Python's default.
fn put_json_str(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Dict, key::Key};

    fn check(format: FileFormat, value: Value, expected: Result<&str, LineError>) {
        let mut out = Vec::new();
        let result = put_line(&mut out, &value, format);
        assert_eq!(result.map(|()| String::from_utf8(out).unwrap()), expected.map(str::to_owned), "{value:?}");
    }

    fn pair(a: &str, b: i64) -> Value {
        Value::pair(Value::str(a), Value::Int(b))
    }

    #[test]
    fn json_lines_are_pythons() {
        let dict: Dict = [(Key::from("a"), Value::None), (Key::new(Value::Int(1)).unwrap(), Value::Bool(true))].into();
        check(FileFormat::Json, pair("hello", 1), Ok("[\"hello\", 1]\n"));
        check(FileFormat::Json, Value::Dict(Arc::new(dict)), Ok("{\"a\": null, \"1\": true}\n"));
        check(FileFormat::Json, Value::str("é\"\n\u{1f600}\u{7f}"), Ok("\"\\u00e9\\\"\\n\\ud83d\\ude00\\u007f\"\n"));
        check(FileFormat::Json, Value::Float(f64::NEG_INFINITY), Ok("-Infinity\n"));
        check(FileFormat::Json, Value::Bytes(Arc::from(*b"a")), Err(LineError::NoJson("bytes")));
        let deep = (0..=MAX_DEPTH).fold(Value::None, |inner, _| Value::list(vec![inner]));
        check(FileFormat::Json, deep, Err(LineError::TooDeep));
    }

    #[test]
    fn csv_quotes_what_must_be_quoted() {
        let row = |fields: &[&str]| Value::tuple(fields.iter().map(Value::str));
        check(FileFormat::Csv, row(&["a", "b c"]), Ok("a,b c\n"));
        check(
            FileFormat::Csv,
            row(&["a,b", "say \"x\"", "two\nlines", ""]),
            Ok("\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\"\"\n"),
        );
        check(FileFormat::Csv, Value::tuple([Value::None, Value::str("x")]), Ok(",x\n"));
        check(FileFormat::Csv, Value::str("alone"), Ok("alone\n"));
    }

    #[test]
    fn text_lines_are_str_and_bytes_as_they_are() {
        check(FileFormat::Text, Value::str("it's"), Ok("it's\n"));
        check(FileFormat::Text, Value::Bytes(Arc::from(*b"raw")), Ok("raw\n"));
    }
}

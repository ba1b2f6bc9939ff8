//! Python's texts of values: `str()`, `repr()`, and the line `print` shows.

use std::fmt::Write;

use super::Value;

/// Appends `repr(value)` as Python writes it. A record is written as the tuple (key, value).
pub fn put_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => put_display(out, int),
        Value::BigInt(int) => put_display(out, int),
        Value::Float(float) => put_float(out, *float),
        Value::Str(text) => put_str_literal(out, text),
        Value::Bytes(bytes) => put_bytes_literal(out, bytes),
        Value::List(items) => {
            out.push('[');
            put_items(out, items);
            out.push(']');
        }
        Value::Tuple(items) => {
            out.push('(');
            put_items(out, items);
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(dict) => {
            out.push('{');
            for (idx, (key, value)) in dict.iter().enumerate() {
                separate(out, idx);
                put_repr(out, key.value());
                out.push_str(": ");
                put_repr(out, value);
            }
            out.push('}');
        }
        Value::Struct(fields) => {
            out.push_str("struct(");
            for (idx, (name, value)) in fields.fields.iter().enumerate() {
                separate(out, idx);
                out.push_str(name);
                out.push('=');
                put_repr(out, value);
            }
            out.push(')');
        }
        Value::Record(record) => {
            out.push('(');
            put_repr(out, &record.key);
            out.push_str(", ");
            put_repr(out, &record.value);
            out.push(')');
        }
        Value::Opaque(opaque) => out.push_str(&opaque.repr()),
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

fn put_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(out, "{value}");
}

fn separate(out: &mut String, idx: usize) {
    if idx > 0 {
        out.push_str(", ");
    }
}

fn put_items(out: &mut String, items: &[Value]) {
    for (idx, item) in items.iter().enumerate() {
        separate(out, idx);
        put_repr(out, item);
    }
}

/// The shortest text that reads back as the same float; an exponent below -4 and from 16 on.
pub fn put_float(out: &mut String, float: f64) {
    if float.is_nan() {
        return out.push_str("nan");
    }
    if float.is_infinite() {
        return out.push_str(if float > 0.0 { "inf" } else { "-inf" });
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let start = out.len();
        put_display(out, float);
        if !out[start..].contains('.') {
            out.push_str(".0");
        }
    } else {
        out.push_str(digits);
        let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
    }
}

/// Single quotes, unless the text has one and no double quote.
fn put_str_literal(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if is_printable(c) => out.push(c),
            c => put_escape(out, c),
        }
    }
    out.push(quote);
}

fn put_escape(out: &mut String, c: char) {
    let code = u32::from(c);
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

fn put_bytes_literal(out: &mut String, bytes: &[u8]) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    out.push('b');
    out.push(char::from(quote));
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            byte if byte == quote => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(char::from(quote));
}

/// Python's `isprintable` of a character: not a control, format, separator, private, surrogate or
/// unassigned one. The standard library escapes the same classes in debug texts, but for the marks that extend a
/// character, which it escapes and Python shows.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    if c.is_control() || c.is_whitespace() || is_format(c) {
        return false;
    }
    // A preceding letter keeps a combining mark from being escaped for its own sake.
    let pair: String = ['a', c].iter().collect();
    pair.escape_debug().nth(2).is_none()
}

/// Characters of the category "format", which steer text and show nothing.
fn is_format(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x600..=0x605
            | 0x61c
            | 0x6dd
            | 0x70f
            | 0x890..=0x891
            | 0x8e2
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0x110bd
            | 0x110cd
            | 0x13430..=0x1343f
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0001
            | 0xe0020..=0xe007f
            | 0xe000..=0xf8ff
            | 0xf0000..=0x10ffff
    )
}

/// Lines of a message on one line of a log: a line break after a colon becomes a space, any other ` | `.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        match line.chars().next_back() {
            None => {}
            Some(':') => line.push(' '),
            Some(_) => line.push_str(" | "),
        }
        line.extend(part.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Dict, key::Key};

    #[test]
    fn floats_read_as_python_writes_them() {
        for (float, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (9007199254740993.0, "9007199254740992.0"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e22, "1e+22"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(repr(&Value::Float(float)), expected);
        }
    }

    #[test]
    fn strings_are_quoted_and_escaped_as_python_does() {
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("a\n\t\r\\", "'a\\n\\t\\r\\\\'"),
            ("\u{0}\u{7f}\u{a0}", "'\\x00\\x7f\\xa0'"),
            ("é漢🎉", "'é漢🎉'"),
            ("\u{200b}\u{feff}\u{e000}", "'\\u200b\\ufeff\\ue000'"),
            ("e\u{301}", "'e\u{301}'"),
            ("\u{10ffff}", "'\\U0010ffff'"),
        ] {
            assert_eq!(repr(&Value::str(text)), expected);
        }
    }

    #[test]
    fn containers_are_written_part_by_part() {
        let dict = Dict::from_iter([(Key::from("a"), Value::Int(1)), (Key::from("b"), Value::None)]);
        for (value, expected) in [
            (Value::tuple([]), "()"),
            (Value::tuple([Value::Int(1)]), "(1,)"),
            (Value::pair(Value::str("hello"), Value::Int(1)), "('hello', 1)"),
            (Value::list(vec![Value::Bool(true), Value::Float(2.5)]), "[True, 2.5]"),
            (Value::Dict(Arc::new(dict)), "{'a': 1, 'b': None}"),
            (Value::Bytes(Arc::from(*b"a'\x00\xff")), "b\"a'\\x00\\xff\""),
        ] {
            assert_eq!(repr(&value), expected);
        }
        let mut text = String::new();
        put_str(&mut text, &Value::str("it's"));
        assert_eq!(text, "it's");
    }
}

//! Python's texts of values: `str()`, `repr()`, and the line `print` shows.

use std::fmt::Write as _;

use super::Value;

/// Appends `repr(value)` as Python writes it.
pub fn put_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => put(out, int),
        Value::BigInt(big) => put(out, big),
        Value::Float(float) => put_float(out, *float),
        Value::Str(text) => put_quoted(out, text),
        Value::Bytes(bytes) => put_bytes(out, bytes),
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
                out.push_str(if idx > 0 { ", " } else { "" });
                put_repr(out, key.value());
                out.push_str(": ");
                put_repr(out, value);
            }
            out.push('}');
        }
        Value::Struct(fields) => {
            out.push_str("struct(");
            for (idx, (name, value)) in fields.fields.iter().enumerate() {
                out.push_str(if idx > 0 { ", " } else { "" });
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

fn put_items(out: &mut String, items: &[Value]) {
    for (idx, item) in items.iter().enumerate() {
        out.push_str(if idx > 0 { ", " } else { "" });
        put_repr(out, item);
    }
}

fn put(out: &mut String, shown: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{shown}");
}

/// The shortest digits that read back as the same float; an exponent from 1e16 on and below 1e-4.
pub fn put_float(out: &mut String, float: f64) {
    if float.is_nan() {
        return out.push_str("nan");
    }
    if float.is_infinite() {
        return out.push_str(if float > 0.0 { "inf" } else { "-inf" });
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let shown = format!("{float:e}");
        let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return put(out, format_args!("{digits}e{sign}{exponent:0>2}"));
    }
    put(out, format_args!("{float:?}"));
}

fn put_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            ' '..='~' => out.push(letter),
            letter if is_printable(letter) => out.push(letter),
            letter => match letter as u32 {
                code @ 0..=0xff => put(out, format_args!("\\x{code:02x}")),
                code @ 0x100..=0xffff => put(out, format_args!("\\u{code:04x}")),
                code => put(out, format_args!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` of one character, by the Unicode tables of the standard library: what its debug form
/// escapes behind another letter is not printable.
pub fn is_printable(letter: char) -> bool {
    if letter.is_ascii() {
        return matches!(letter, ' '..='~');
    }
    let mut buffer = [b'a'; 5];
    let len = letter.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=len]).is_ok_and(|text| text.escape_debug().nth(2).is_none())
}

fn put_bytes(out: &mut String, bytes: &[u8]) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    out.push('b');
    out.push(quote as char);
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if *byte == quote => {
                out.push('\\');
                out.push(*byte as char);
            }
            b' '..=b'~' => out.push(*byte as char),
            byte => put(out, format_args!("\\x{byte:02x}")),
        }
    }
    out.push(quote as char);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        for (float, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123456789.125, "123456789.125"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(&Value::Float(float)), expected);
        }
    }

    #[test]
    fn strings_and_bytes_are_quoted_as_python_does() {
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("\\\n\t\r\0\x7f", "'\\\\\\n\\t\\r\\x00\\x7f'"),
            ("ä€𝄞", "'ä€𝄞'"),
            ("\u{a0}\u{ad}\u{200b}\u{e000}\u{2028}", "'\\xa0\\xad\\u200b\\ue000\\u2028'"),
            ("e\u{301}", "'e\u{301}'"),
            ("\u{e0001}", "'\\U000e0001'"),
        ] {
            assert_eq!(repr(&Value::str(text)), expected);
        }
        assert_eq!(repr(&Value::Bytes(b"a'\xff\n"[..].into())), "b\"a'\\xff\\n\"");
    }

    #[test]
    fn containers_are_written_as_python_does() {
        let one = Value::Int(1);
        for (value, expected) in [
            (Value::tuple([]), "()"),
            (Value::tuple([one.clone()]), "(1,)"),
            (Value::pair(Value::str("a"), Value::None), "('a', None)"),
            (Value::list(vec![Value::Bool(true), Value::list(vec![])]), "[True, []]"),
        ] {
            assert_eq!(repr(&value), expected);
        }
    }
}

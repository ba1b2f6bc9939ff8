//! JSON: Python's `json.loads` and `json.dumps`, and the compact text of outputs.

use std::{fmt::Write, sync::Arc};

use super::{Arguments, Arities, Budget, BuiltinFn, Caller, Fault, compare::key, new_str, number::parse_int, truthy};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Value, text::put_float},
};

/// Deeper texts are refused: a reader must not be made to use up its stack.
const MAX_DEPTH: usize = 512;

pub const MEMBERS: Arities =
    &[("loads", 1, Some(1)), ("decode", 1, Some(1)), ("dumps", 1, Some(1)), ("encode", 1, Some(1))];

pub fn member(name: &str) -> Option<BuiltinFn> {
    match name {
        "loads" | "decode" => Some(loads),
        "dumps" | "encode" => Some(dumps),
        _ => None,
    }
}

fn loads(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    match arguments.take("loads", ["s"], 1)?[0] {
        Some(Value::Str(text)) => parse_json(text.as_bytes(), caller.budget()),
        Some(Value::Bytes(bytes)) => parse_json(bytes, caller.budget()),
        other => {
            let name = other.map_or("NoneType", Value::type_name);
            Err(Fault::type_error(format!("the JSON object must be str, bytes or bytearray, not {name}")))
        }
    }
}

fn dumps(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, indent, sort_keys, ascii, separators] =
        arguments.take("dumps", ["obj", "indent", "sort_keys", "ensure_ascii", "separators"], 1)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Int(width)) => Some(usize::try_from(*width).unwrap_or(0).min(64)),
        Some(other) => {
            return Err(Fault::type_error(format!("indent must be an int, not {}", other.type_name())));
        }
    };
    let (mut item, mut pair) = (if indent.is_some() { "," } else { ", " }, ": ");
    match separators.and_then(Value::as_pair) {
        Some((Value::Str(between), Value::Str(after))) => (item, pair) = (between, after),
        Some(_) => return Err(Fault::type_error("separators must be two strings")),
        None => {}
    }
    let style = Style { item, pair, indent, sort_keys: sort_keys.is_some_and(truthy), ascii: ascii.is_none_or(truthy) };
    let mut out = String::new();
    style.put(&mut out, value.unwrap_or(&Value::None), 0)?;
    new_str(out, caller.budget())
}

/// How a value is written.
struct Style<'a> {
    item: &'a str,
    pair: &'a str,
    indent: Option<usize>,
    sort_keys: bool,
    ascii: bool,
}

/// Appends what `json.dumps(value)` gives.
pub fn write_json(out: &mut Vec<u8>, value: &Value) -> Result<(), Fault> {
    let style = Style { item: ", ", pair: ": ", indent: None, sort_keys: false, ascii: true };
    let mut text = String::new();
    style.put(&mut text, value, 0)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Without spaces, and characters as they are: what outputs write.
pub fn encode_json_compact(out: &mut Vec<u8>, value: &Value) -> Result<(), Fault> {
    let style = Style { item: ",", pair: ":", indent: None, sort_keys: false, ascii: false };
    let mut text = String::new();
    style.put(&mut text, value, 0)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

impl Style<'_> {
    fn put(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::value_error("values nest too deep for JSON"));
        }
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(int) => drop(write!(out, "{int}")),
            Value::BigInt(int) => drop(write!(out, "{int}")),
            Value::Float(float) => put_json_float(out, *float),
            Value::Str(text) => self.put_text(out, text),
            Value::List(items) => self.put_items(out, items, depth)?,
            Value::Tuple(items) => self.put_items(out, items, depth)?,
            Value::Record(record) => self.put_items(out, &[record.key.clone(), record.value.clone()], depth)?,
            Value::Dict(dict) => {
                let mut pairs = Vec::with_capacity(dict.len());
                for (key, value) in dict.iter() {
                    pairs.push((key_text(key.value())?, value));
                }
                self.put_pairs(out, pairs, depth)?;
            }
            Value::Struct(fields) => {
                let pairs = fields.fields.iter().map(|(name, value)| (name.to_string(), value)).collect();
                self.put_pairs(out, pairs, depth)?;
            }
            Value::Bytes(_) | Value::Opaque(_) => {
                let message = format!("Object of type {} is not JSON serializable", value.type_name());
                return Err(Fault::type_error(message));
            }
        }
        Ok(())
    }

    fn put_items(&self, out: &mut String, items: &[Value], depth: usize) -> Result<(), Fault> {
        out.push('[');
        for (idx, item) in items.iter().enumerate() {
            self.separate(out, idx, depth + 1);
            self.put(out, item, depth + 1)?;
        }
        self.close(out, items.len(), depth);
        out.push(']');
        Ok(())
    }

    fn put_pairs(&self, out: &mut String, mut pairs: Vec<(String, &Value)>, depth: usize) -> Result<(), Fault> {
        if self.sort_keys {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        out.push('{');
        for (idx, (key, value)) in pairs.iter().enumerate() {
            self.separate(out, idx, depth + 1);
            self.put_text(out, key);
            out.push_str(self.pair);
            self.put(out, value, depth + 1)?;
        }
        self.close(out, pairs.len(), depth);
        out.push('}');
        Ok(())
    }

    fn separate(&self, out: &mut String, idx: usize, depth: usize) {
        if idx > 0 {
            out.push_str(self.item);
        }
        self.new_line(out, depth);
    }

    fn close(&self, out: &mut String, len: usize, depth: usize) {
        if len > 0 {
            self.new_line(out, depth);
        }
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(width) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    fn put_text(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || self.ascii && c > '~' => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        // Writing to a string does not fail.
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn put_json_float(out: &mut String, float: f64) {
    match float {
        float if float.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        float => put_float(out, float),
    }
}

/// Keys that are no strings become strings as Python makes them.
fn key_text(key: &Value) -> Result<String, Fault> {
    Ok(match key {
        Value::Str(text) => text.to_string(),
        Value::None => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(_) | Value::BigInt(_) => crate::model::text::repr(key),
        Value::Float(float) => {
            let mut text = String::new();
            put_json_float(&mut text, *float);
            text
        }
        other => {
            let message = format!("keys must be str, int, float, bool or None, not {}", other.type_name());
            return Err(Fault::type_error(message));
        }
    })
}

/// What `json.loads` gives: ints of any size, the last of equal keys, `NaN` and `Infinity` as Python knows them.
pub fn parse_json(text: &[u8], budget: &mut Budget) -> Result<Value, Fault> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let message = format!("JSON is not valid UTF-8 at byte {}", error.valid_up_to());
        Fault::new(EvalErrorKind::Decode, message)
    })?;
    budget.allocate(text.len() as u64)?;
    let mut parser = Parser { text: text.as_bytes(), at: 0, budget };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.fault("Extra data")),
    }
}

struct Parser<'a, 'b> {
    text: &'a [u8],
    at: usize,
    budget: &'b mut Budget,
}

impl Parser<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn fault(&self, what: &str) -> Fault {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        let char = String::from_utf8_lossy(before).chars().count();
        Fault::new(EvalErrorKind::Decode, format!("{what}: line {line} column {column} (char {char})"))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > MAX_DEPTH {
            return Err(self.fault(&format!("values nest deeper than {MAX_DEPTH}")));
        }
        self.budget.values(1)?;
        match self.peek() {
            Some(b'"') => self.string().map(|text| Value::Str(text.into())),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let words: [(&[u8], Value); 5] = [
                    (b"null", Value::None),
                    (b"true", Value::Bool(true)),
                    (b"false", Value::Bool(false)),
                    (b"NaN", Value::Float(f64::NAN)),
                    (b"Infinity", Value::Float(f64::INFINITY)),
                ];
                let rest = &self.text[self.at..];
                match words.into_iter().find(|(word, _)| rest.starts_with(word)) {
                    Some((word, value)) => {
                        self.at += word.len();
                        Ok(value)
                    }
                    None => Err(self.fault("Expecting value")),
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                _ => return Err(self.fault("Expecting ',' delimiter")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut dict = Dict::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Dict(Arc::new(dict)));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("Expecting property name enclosed in double quotes"));
            }
            let name = Value::Str(self.string()?.into());
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.fault("Expecting ':' delimiter"));
            }
            self.at += 1;
            self.skip_space();
            let value = self.value(depth + 1)?;
            self.budget.values(2)?;
            dict.insert(key(&name)?, value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Dict(Arc::new(dict)));
                }
                _ => return Err(self.fault("Expecting ',' delimiter")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.text[start..].starts_with(b"-Infinity") {
            self.at += 9;
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => {
                self.at = start;
                return Err(self.fault("Expecting value"));
            }
        }
        let mut is_float = false;
        if self.peek() == Some(b'.') && self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            is_float = true;
            self.at += 1;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            let sign = usize::from(matches!(self.text.get(self.at + 1), Some(b'+' | b'-')));
            if self.text.get(self.at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                is_float = true;
                self.at += 1 + sign;
                self.digits();
            }
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if is_float {
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        match text.parse::<i64>() {
            Ok(int) => Ok(Value::Int(int)),
            Err(_) => parse_int(text, 10).map_err(|fault| Fault::new(EvalErrorKind::Decode, fault.message)),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let run = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            text.push_str(std::str::from_utf8(&self.text[run..self.at]).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) => return Err(self.fault("Invalid control character at")),
                None => {
                    self.at = start;
                    return Err(self.fault("Unterminated string starting at"));
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Fault> {
        let simple = match self.text.get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(text),
            _ => return Err(self.fault("Invalid \\escape")),
        };
        text.push(simple);
        self.at += 2;
        Ok(())
    }

    /// `\uXXXX`, or two of them for one character. A lone surrogate is no character: refused.
    fn unicode(&mut self, text: &mut String) -> Result<(), Fault> {
        let first = self.unit(self.at)?;
        let second = if (0xd800..0xdc00).contains(&first) && self.text[self.at + 6..].starts_with(b"\\u") {
            Some(self.unit(self.at + 6)?)
        } else {
            None
        };
        let units = [first, second.unwrap_or(0)];
        let taken = &units[..1 + usize::from(second.is_some())];
        let Some(Ok(c)) = char::decode_utf16(taken.iter().copied()).next() else {
            return Err(self.fault("Lone surrogate in \\u escape"));
        };
        text.push(c);
        self.at += 6 * taken.len();
        Ok(())
    }

    fn unit(&self, at: usize) -> Result<u16, Fault> {
        let digits = self.text.get(at + 2..at + 6).and_then(|digits| std::str::from_utf8(digits).ok());
        let unit = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or_else(|| self.fault("Invalid \\uXXXX escape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expr::Limits, model::text::repr};

    fn parsed(text: &str) -> String {
        match parse_json(text.as_bytes(), &mut Budget::new(Limits::default())) {
            Ok(value) => repr(&value),
            Err(fault) => format!("{:?}: {}", fault.kind, fault.message),
        }
    }

    #[test]
    fn json_is_read_as_python_reads_it() {
        for (text, expected) in [
            (r#" {"a": [1, 2.5, null, true], "b": {}} "#, "{'a': [1, 2.5, None, True], 'b': {}}"),
            (r#"{"a": 1, "b": 2, "a": 3}"#, "{'a': 3, 'b': 2}"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[NaN, -Infinity]", "[nan, -inf]"),
            (r#""\u00e9\ud83c\udf89\n""#, "'é🎉\\n'"),
            ("1e5", "100000.0"),
            ("-0", "0"),
            ("", "Decode: Expecting value: line 1 column 1 (char 0)"),
            ("[1,]", "Decode: Expecting value: line 1 column 4 (char 3)"),
            ("{\"a\" 1}", "Decode: Expecting ':' delimiter: line 1 column 6 (char 5)"),
            ("1 2", "Decode: Extra data: line 1 column 3 (char 2)"),
            ("01", "Decode: Extra data: line 1 column 2 (char 1)"),
            ("\"a", "Decode: Unterminated string starting at: line 1 column 1 (char 0)"),
            (r#""\ud800""#, "Decode: Lone surrogate in \\u escape: line 1 column 2 (char 1)"),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_a_stack() {
        let deep = "[".repeat(100_000);
        assert!(parsed(&deep).starts_with("Decode: values nest deeper than 512"));
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = parse_json(
            r#"{"a": [1, 2.5, null, true, "é\n\""], "b": {}}"#.as_bytes(),
            &mut Budget::new(Limits::default()),
        )
        .unwrap();
        let mut out = Vec::new();
        write_json(&mut out, &value).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a": [1, 2.5, null, true, "\u00e9\n\""], "b": {}}"#);
        let mut out = Vec::new();
        encode_json_compact(&mut out, &value).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":[1,2.5,null,true,"é\n\""],"b":{}}"#);
        assert!(write_json(&mut Vec::new(), &Value::Bytes(Arc::from([]))).is_err());
    }
}

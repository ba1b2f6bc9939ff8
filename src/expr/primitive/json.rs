//! The module `json`: Python's reading and writing.

use std::{fmt::Write as _, sync::Arc};

use num_bigint::BigInt;

use super::{
    Arguments, Budget, Caller, Entry, Fault,
    argument::{one, take},
    convert::MAX_INT_DIGITS,
    truthy,
};
use crate::{
    expr::EvalErrorKind,
    model::{
        Dict, Value,
        key::Key,
        text::{put_float, repr},
    },
};

/// Deepest nesting of a document.
const MAX_DEPTH: usize = 512;

pub const ENTRIES: &[Entry] = &[
    ("json.loads", loads, 1, Some(1)),
    ("json.decode", loads, 1, Some(1)),
    ("json.dumps", dumps, 1, Some(1)),
    ("json.encode", encode, 1, Some(1)),
];

fn loads(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    match one("json.loads", arguments)? {
        Value::Str(text) => parse_json(text.as_bytes(), caller.budget()),
        Value::Bytes(bytes) => parse_json(bytes, caller.budget()),
        other => {
            let name = other.type_name();
            Err(Fault::of_type(format!("the JSON object must be str, bytes or bytearray, not {name}")))
        }
    }
}

/// Reads a document as `json.loads`: integers of any size, of a key that is there twice the last value, NaN.
pub fn parse_json(bytes: &[u8], budget: &mut Budget) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the document is not valid UTF-8 at byte {}", error.valid_up_to());
        Fault::new(EvalErrorKind::Decode, message)
    })?;
    budget.allocate(bytes.len() as u64)?;
    let mut reader = Reader { text, bytes, at: 0, depth: 0, budget };
    reader.space();
    let value = reader.value()?;
    reader.space();
    match reader.at < bytes.len() {
        true => Err(reader.wrong("Extra data", reader.at)),
        false => Ok(value),
    }
}

struct Reader<'a, 'b> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    budget: &'b mut Budget,
}

impl Reader<'_, '_> {
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    #[cold]
    fn wrong(&self, message: &str, at: usize) -> Fault {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let letter = before.chars().count();
        Fault::of_value(format!("{message}: line {line} column {column} (char {letter})"))
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.at += 1;
        self.depth += 1;
        self.budget.allocate(48)?;
        match self.depth > MAX_DEPTH {
            true => Err(Fault::of_value(format!("the document is nested more than {MAX_DEPTH} deep"))),
            false => Ok(()),
        }
    }

    fn value(&mut self) -> Result<Value, Fault> {
        self.budget.allocate(24)?;
        match self.peek() {
            b'"' => self.string().map(|text| Value::Str(text.into())),
            b'{' => self.object(),
            b'[' => self.array(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                const WORDS: [(&str, Value); 5] = [
                    ("null", Value::None),
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("NaN", Value::Float(f64::NAN)),
                    ("Infinity", Value::Float(f64::INFINITY)),
                ];
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let found = WORDS.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes()));
                let (word, value) = found.ok_or_else(|| self.wrong("Expecting value", self.at))?;
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn object(&mut self) -> Result<Value, Fault> {
        self.enter()?;
        let mut dict = Dict::new();
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                if self.peek() != b'"' {
                    return Err(self.wrong("Expecting property name enclosed in double quotes", self.at));
                }
                let name = self.string()?;
                self.space();
                if self.peek() != b':' {
                    return Err(self.wrong("Expecting ':' delimiter", self.at));
                }
                self.at += 1;
                self.space();
                let value = self.value()?;
                dict.insert(Key::from(name.as_str()), value);
                self.space();
                match self.peek() {
                    b',' => self.at += 1,
                    b'}' => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(self.wrong("Expecting ',' delimiter", self.at)),
                }
                self.space();
            }
        }
        self.depth -= 1;
        Ok(Value::Dict(Arc::new(dict)))
    }

    fn array(&mut self) -> Result<Value, Fault> {
        self.enter()?;
        let mut items = Vec::new();
        self.space();
        if self.peek() == b']' {
            self.at += 1;
        } else {
            loop {
                items.push(self.value()?);
                self.space();
                match self.peek() {
                    b',' => self.at += 1,
                    b']' => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(self.wrong("Expecting ',' delimiter", self.at)),
                }
                self.space();
            }
        }
        self.depth -= 1;
        Ok(Value::list(items))
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        if negative && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"Infinity")) {
            self.at += "Infinity".len();
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.wrong("Expecting value", start)),
        }
        let mut whole = true;
        if self.peek() == b'.' && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            whole = false;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(), b'e' | b'E') {
            let sign = usize::from(matches!(self.bytes.get(self.at + 1), Some(b'+' | b'-')));
            if self.bytes.get(self.at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                whole = false;
                self.at += 1 + sign;
                self.digits();
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if !whole {
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        if let Ok(int) = text.parse::<i64>() {
            return Ok(Value::Int(int));
        }
        if text.len() - usize::from(negative) > MAX_INT_DIGITS {
            let message = format!("Exceeds the limit ({MAX_INT_DIGITS} digits) for integer string conversion");
            return Err(Fault::of_value(message));
        }
        Ok(Value::int(text.parse::<BigInt>().unwrap_or_default()))
    }

    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let open = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            let run = self.text.get(start..self.at).unwrap_or_default();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    if out.is_empty() {
                        return Ok(run.to_owned());
                    }
                    out.push_str(run);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(run);
                    self.escape(&mut out, open)?;
                }
                Some(_) => return Err(self.wrong("Invalid control character at", self.at)),
                None => return Err(self.wrong("Unterminated string starting at", open)),
            }
        }
    }

    fn escape(&mut self, out: &mut String, open: usize) -> Result<(), Fault> {
        let at = self.at;
        let Some(letter) = self.bytes.get(at + 1) else {
            return Err(self.wrong("Unterminated string starting at", open));
        };
        self.at += 2;
        out.push(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(out, at),
            _ => return Err(self.wrong("Invalid \\escape", at)),
        });
        Ok(())
    }

    fn unicode(&mut self, out: &mut String, at: usize) -> Result<(), Fault> {
        let code = self.hex(at)?;
        let is_low = |code: u32| (0xdc00..0xe000).contains(&code);
        if (0xd800..0xdc00).contains(&code) && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            let second = self.at;
            self.at += 2;
            let low = self.hex(second)?;
            if is_low(low) {
                let code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                out.extend(char::from_u32(code));
                return Ok(());
            }
        }
        match char::from_u32(code) {
            Some(letter) => {
                out.push(letter);
                Ok(())
            }
            None => Err(self.wrong("half of a surrogate pair", at)),
        }
    }

    fn hex(&mut self, at: usize) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.wrong("Invalid \\uXXXX escape", at + 1))
    }
}

/// How a document is written.
struct Style<'a> {
    ascii: bool,
    item: &'a str,
    key: &'a str,
    indent: Option<&'a str>,
    sort_keys: bool,
}

const PYTHON: Style<'_> = Style { ascii: true, item: ", ", key: ": ", indent: None, sort_keys: false };
const COMPACT: Style<'_> = Style { ascii: false, item: ",", key: ":", indent: None, sort_keys: false };

fn dumps(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let names = ["", "indent", "sort_keys", "ensure_ascii", "separators"];
    let [Some(value), indent, sort_keys, ascii, separators] = take("json.dumps", arguments, names, 1)? else {
        return Ok(Value::None);
    };
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Int(width)) => Some(" ".repeat((*width).clamp(0, 64) as usize)),
        Some(Value::Str(text)) => Some(text.to_string()),
        Some(_) => return Err(Fault::of_type("json.dumps() indent must be an int or a str")),
    };
    let (item, key) = match separators {
        None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }, ": "),
        Some(Value::Tuple(parts)) => match &**parts {
            [Value::Str(item), Value::Str(key)] => (item.as_str(), key.as_str()),
            _ => return Err(Fault::of_type("json.dumps() separators must be a tuple of two str")),
        },
        Some(_) => return Err(Fault::of_type("json.dumps() separators must be a tuple of two str")),
    };
    let style = Style {
        ascii: ascii.is_none_or(truthy),
        item,
        key,
        indent: indent.as_deref(),
        sort_keys: sort_keys.is_some_and(truthy),
    };
    let mut out = String::new();
    Writer { style: &style, budget: Some(caller.budget()) }.write(&mut out, value, 0)?;
    Ok(Value::Str(out.into()))
}

fn encode(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut out = String::new();
    let value = one("json.encode", arguments)?;
    Writer { style: &COMPACT, budget: Some(caller.budget()) }.write(&mut out, value, 0)?;
    Ok(Value::Str(out.into()))
}

/// Appends what `json.dumps(value)` gives.
pub fn write_json(out: &mut Vec<u8>, value: &Value) -> Result<(), Fault> {
    let mut text = String::new();
    Writer { style: &PYTHON, budget: None }.write(&mut text, value, 0)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends the value without spaces, letters as they are.
pub fn encode_json_compact(out: &mut Vec<u8>, value: &Value) -> Result<(), Fault> {
    let mut text = String::new();
    Writer { style: &COMPACT, budget: None }.write(&mut text, value, 0)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

struct Writer<'a> {
    style: &'a Style<'a>,
    budget: Option<&'a mut Budget>,
}

impl Writer<'_> {
    fn write(&mut self, out: &mut String, value: &Value, depth: usize) -> Result<(), Fault> {
        if depth > 2 * MAX_DEPTH {
            return Err(Fault::of_value("the value is nested too deep"));
        }
        if let Some(budget) = &mut self.budget {
            let len = if let Value::Str(text) = value { text.len() } else { 8 };
            budget.allocate(len as u64 + depth as u64)?;
        }
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
            Value::Int(_) | Value::BigInt(_) => out.push_str(&repr(value)),
            Value::Float(float) => write_float(out, *float),
            Value::Str(text) => self.string(out, text),
            Value::List(items) => self.array(out, items, depth)?,
            Value::Tuple(items) => self.array(out, items, depth)?,
            Value::Record(record) => self.array(out, &[record.key.clone(), record.value.clone()], depth)?,
            Value::Dict(dict) => self.object(out, dict, depth)?,
            Value::Struct(fields) => {
                let dict =
                    fields.fields.iter().map(|(name, value)| (Key::from(name.as_str()), value.clone())).collect();
                self.object(out, &dict, depth)?;
            }
            other => {
                let name = other.type_name();
                return Err(Fault::of_type(format!("Object of type {name} is not JSON serializable")));
            }
        }
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    fn array(&mut self, out: &mut String, items: &[Value], depth: usize) -> Result<(), Fault> {
        if items.is_empty() {
            out.push_str("[]");
            return Ok(());
        }
        out.push('[');
        for (idx, item) in items.iter().enumerate() {
            out.push_str(if idx > 0 { self.style.item } else { "" });
            self.line(out, depth + 1);
            self.write(out, item, depth + 1)?;
        }
        self.line(out, depth);
        out.push(']');
        Ok(())
    }

    fn object(&mut self, out: &mut String, dict: &Dict, depth: usize) -> Result<(), Fault> {
        if dict.is_empty() {
            out.push_str("{}");
            return Ok(());
        }
        let mut members: Vec<(&Key, &Value)> = dict.iter().collect();
        if self.style.sort_keys {
            members.sort_by(|a, b| a.0.cmp(b.0));
        }
        out.push('{');
        for (idx, (key, value)) in members.into_iter().enumerate() {
            out.push_str(if idx > 0 { self.style.item } else { "" });
            self.line(out, depth + 1);
            match key.value() {
                Value::Str(name) => self.string(out, name),
                Value::None => out.push_str("\"null\""),
                Value::Bool(bool) => out.push_str(if *bool { "\"true\"" } else { "\"false\"" }),
                Value::Int(_) | Value::BigInt(_) => put(out, format_args!("\"{}\"", repr(key.value()))),
                Value::Float(float) => {
                    out.push('"');
                    write_float(out, *float);
                    out.push('"');
                }
                other => {
                    let name = other.type_name();
                    return Err(Fault::of_type(format!("keys must be str, int, float, bool or None, not {name}")));
                }
            }
            out.push_str(self.style.key);
            self.write(out, value, depth + 1)?;
        }
        self.line(out, depth);
        out.push('}');
        Ok(())
    }

    fn string(&self, out: &mut String, text: &str) {
        out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '\0'..='\x1f' => put(out, format_args!("\\u{:04x}", letter as u32)),
                '\x7f'.. if self.style.ascii && letter != '\x7f' => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        put(out, format_args!("\\u{unit:04x}"));
                    }
                }
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

fn put(out: &mut String, shown: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(shown);
}

fn write_float(out: &mut String, float: f64) {
    match float {
        float if float.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        float => put_float(out, float),
    }
}

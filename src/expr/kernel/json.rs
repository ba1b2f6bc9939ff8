//! `json.loads(x)["a"]["b"]`: the field alone, without building the document.
//!
//! Every byte of the document is checked all the same, by the strict grammar of RFC 8259. What Python takes beyond it
//! (NaN), keys with escapes, and what would raise (a missing key) is left to the evaluator.

use std::{ops::Range, sync::Arc};

use super::{operand::str_column, walk::Frame};
use crate::{
    expr::{
        builder::Builder,
        node::{Callee, Kind, Node},
        primitive::{self, Budget},
    },
    model::{Column, StrColumn, Value, View},
};

/// Deepest nesting that is read here.
const MAX_DEPTH: usize = 100;

/// The column of a node that is a chain of str keys on `json.loads`; none if it is not, or to give up.
pub fn project(frame: &Frame<'_>, node: &Node) -> Option<Column> {
    let mut path = Vec::new();
    let document = chain(node, &mut path)?;
    let column = frame.eval(document)?;
    let texts = str_column(&column)?;
    let mut found = Vec::with_capacity(texts.len());
    for idx in 0..texts.len() {
        let mut scanner = Scanner { bytes: texts.bytes(idx), at: 0, depth: 0 };
        scanner.space();
        let range = scanner.field(&path)?;
        scanner.space();
        if scanner.at != scanner.bytes.len() {
            return None;
        }
        found.push(range);
    }
    collect(texts, found, frame)
}

fn chain<'a>(node: &'a Node, path: &mut Vec<&'a str>) -> Option<&'a Node> {
    match &node.kind {
        Kind::Index(pair) => {
            let Kind::Constant(Value::Str(key)) = &pair.1.kind else { return None };
            let document = chain(&pair.0, path)?;
            path.push(key);
            Some(document)
        }
        Kind::Call(call) => match (&call.callee, &*call.positional) {
            (Callee::Builtin(builtin), [document]) if builtin.name == "json.loads" && call.named.is_empty() => {
                Some(document)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The values at these ranges of the texts, one a text.
fn collect(texts: &StrColumn, found: Vec<Range<usize>>, frame: &Frame<'_>) -> Option<Column> {
    let bytes = |idx: usize, range: &Range<usize>| texts.bytes(idx).get(range.clone());
    let is_plain_text = |bytes: &[u8]| bytes.first() == Some(&b'"') && memchr::memchr(b'\\', bytes).is_none();
    if found.iter().enumerate().all(|(idx, range)| bytes(idx, range).is_some_and(is_plain_text)) {
        let views = found.iter().zip(texts.views.iter());
        let views: Vec<View> = views
            .map(|(range, view)| View { offset: view.offset + range.start as u32 + 1, len: (range.len() - 2) as u32 })
            .collect();
        return Some(Column::Str(StrColumn { buffer: texts.buffer.clone(), views: Arc::new(views) }));
    }
    let mut builder = Builder::default();
    let mut budget = Budget::new(frame.limits);
    for (idx, range) in found.iter().enumerate() {
        let bytes = bytes(idx, range)?;
        builder.push(match short_int(bytes) {
            Some(int) => Value::Int(int),
            None => {
                budget.reset();
                primitive::parse_json(bytes, &mut budget).ok()?
            }
        });
    }
    Some(builder.finish())
}

fn short_int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let short = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    let value = short.then(|| digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0')))?;
    Some(if digits.len() < bytes.len() { -value } else { value })
}

/// Reads a document; none where it is not strictly JSON.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// The bytes of the value at a path of keys; of a key that is there twice, the last.
    fn field(&mut self, path: &[&str]) -> Option<Range<usize>> {
        let Some((key, rest)) = path.split_first() else {
            let start = self.at;
            self.value()?;
            return Some(start..self.at);
        };
        let mut found = None;
        self.object(|scanner, name| {
            if name == key.as_bytes() {
                found = Some(scanner.field(rest)?);
                Some(())
            } else {
                scanner.value()
            }
        })?;
        found
    }

    /// Calls `member` at the value of every member.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take(b'}').is_none() {
            loop {
                let name = self.text()?;
                let bytes = self.bytes;
                let name = bytes.get(name)?;
                if memchr::memchr(b'\\', name).is_some() {
                    return None;
                }
                self.space();
                self.take(b':')?;
                self.space();
                member(self, name)?;
                self.space();
                if self.take(b',').is_none() {
                    break;
                }
                self.space();
            }
            self.take(b'}')?;
        }
        self.depth -= 1;
        Some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.peek() {
            b'"' => self.text().map(|_| ()),
            b'{' => self.object(|scanner, _| scanner.value()),
            b'[' => self.array(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn array(&mut self) -> Option<()> {
        self.take(b'[')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take(b']').is_none() {
            loop {
                self.value()?;
                self.space();
                if self.take(b',').is_none() {
                    break;
                }
                self.space();
            }
            self.take(b']')?;
        }
        self.depth -= 1;
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// A string; gives the range between the quotes.
    fn text(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// Surrogates need pairing; those are left to the parser.
    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) || digits.first()?.eq_ignore_ascii_case(&b'd') {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }
}

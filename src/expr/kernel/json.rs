//! JSON documents as columns: checked once, decoded where a value is asked for, their members found without decoding.
//!
//! Every byte of a document is checked by the strict grammar of RFC 8259. What Python takes beyond it (NaN), names with
//! escapes, documents that are no objects, and what would raise (a missing member) is left to the evaluator.

use std::{ops::Range, sync::Arc};

use super::{
    operand::{same_str, str_column},
    walk::Frame,
};
use crate::{
    expr::{
        Limits,
        builder::Builder,
        primitive::{self, Budget},
    },
    model::{Column, JsonColumn, StrColumn, Value, View, json_column::Member},
};

/// Deepest nesting that is read here.
const MAX_DEPTH: usize = 100;
/// Longest number that is read here; Python has a limit of its own.
const MAX_NUMBER_BYTES: usize = 300;
/// Most bytes and steps that decoding takes for a byte of text. Documents that could pass an element's limits by that
/// are left to the evaluator, which counts.
const MOST_BYTES_A_BYTE: u64 = 64;
const MOST_STEPS_A_BYTE: u64 = 4;

/// `json.loads(x)`: known from an earlier call on the same texts, or read now.
pub fn loads(frame: &Frame<'_>, argument: &Column) -> Option<Column> {
    let texts = str_column(argument)?;
    let is_same =
        |known: &StrColumn| Arc::ptr_eq(&known.views, &texts.views) && known.buffer.as_ptr() == texts.buffer.as_ptr();
    let mut loaded = frame.loaded.borrow_mut();
    if let Some((_, column)) = loaded.iter().find(|(known, _)| is_same(known)) {
        return Some(Column::Json(column.clone()));
    }
    let column = documents(texts, frame.limits)?;
    loaded.push((texts.clone(), column.clone()));
    Some(Column::Json(column))
}

/// The texts as JSON objects; none if one of them is something else.
pub fn documents(texts: &StrColumn, limits: Limits) -> Option<JsonColumn> {
    let most = (limits.memory_bytes / MOST_BYTES_A_BYTE).min(limits.steps / MOST_STEPS_A_BYTE);
    let mut starts = Vec::with_capacity(texts.len() + 1);
    let mut members = Vec::with_capacity(texts.len() * 8);
    starts.push(0);
    for (idx, text) in texts.views.iter().enumerate() {
        if u64::from(text.len) > most {
            return None;
        }
        let mut scanner = Scanner { bytes: texts.bytes(idx), at: 0, depth: 0 };
        let view = |range: Range<usize>| View { offset: text.offset + range.start as u32, len: range.len() as u32 };
        scanner.space();
        scanner.object(|name, value| members.push(Member { name: view(name), value: view(value) }))?;
        scanner.space();
        if scanner.at != scanner.bytes.len() {
            return None;
        }
        starts.push(u32::try_from(members.len()).ok()?);
    }
    let has_escape = |member: &Member| memchr::memchr(b'\\', &texts.buffer[member.name.range()]).is_some();
    if members.iter().any(has_escape) {
        return None;
    }
    Some(JsonColumn::new(texts.clone(), starts, members, decode))
}

/// Makes a value of a document that has been checked.
fn decode(text: &[u8]) -> Value {
    let mut unbounded = Budget::new(Limits { steps: u64::MAX, memory_bytes: u64::MAX, host_bytes: u64::MAX });
    primitive::parse_json(text, &mut unbounded).unwrap_or(Value::None)
}

/// `documents[name]`; none where a document has no such member.
pub fn index(documents: &JsonColumn, name: &Column, limits: Limits) -> Option<Column> {
    let name = same_str(name)?.as_bytes();
    let views: Option<Vec<View>> = (0..documents.len()).map(|idx| documents.member(idx, name)).collect();
    values(&documents.pieces(views?), limits)
}

/// `documents.get(name)`, `documents.get(name, default)`
pub fn get(documents: &JsonColumn, arguments: &[Column], limits: Limits) -> Option<Column> {
    let (name, default) = arguments.split_first()?;
    if default.len() > 1 {
        return None;
    }
    if let Some(column) = index(documents, name, limits) {
        return Some(column);
    }
    let name = same_str(name)?.as_bytes();
    let found: Vec<Option<View>> = (0..documents.len()).map(|idx| documents.member(idx, name)).collect();
    let column = values(&documents.pieces(found.iter().flatten().copied().collect()), limits)?;
    let mut builder = Builder::default();
    let mut next = 0;
    for (idx, view) in found.iter().enumerate() {
        builder.push(match (view, default.first()) {
            (Some(_), _) => {
                next += 1;
                column.get(next - 1)?
            }
            (None, Some(default)) => default.get(idx)?,
            (None, None) => Value::None,
        });
    }
    Some(builder.finish())
}

/// `name in documents`
pub fn contains(documents: &JsonColumn, name: &Column) -> Option<Vec<bool>> {
    let name = same_str(name)?.as_bytes();
    Some((0..documents.len()).map(|idx| documents.member(idx, name).is_some()).collect())
}

/// The values of members, from their texts.
fn values(texts: &StrColumn, limits: Limits) -> Option<Column> {
    let is_plain_text = |bytes: &[u8]| bytes.first() == Some(&b'"') && memchr::memchr(b'\\', bytes).is_none();
    let mut all = (0..texts.len()).map(|idx| texts.bytes(idx));
    match texts.views.first().and_then(|view| texts.buffer.get(view.offset as usize)) {
        Some(b'"') if all.clone().all(is_plain_text) => {
            let views = texts.views.iter().map(|view| View { offset: view.offset + 1, len: view.len - 2 }).collect();
            return Some(Column::Str(StrColumn { buffer: texts.buffer.clone(), views: Arc::new(views) }));
        }
        Some(b'-' | b'0'..=b'9') => {
            if let Some(ints) = all.clone().map(short_int).collect::<Option<Vec<i64>>>() {
                return Some(Column::Int(Arc::new(ints)));
            }
        }
        Some(b'{') => {
            if let Some(documents) = documents(texts, limits) {
                return Some(Column::Json(documents));
            }
        }
        _ => {}
    }
    let mut builder = Builder::default();
    let mut budget = Budget::new(limits);
    all.try_for_each(|text| {
        budget.reset();
        builder.push(primitive::parse_json(text, &mut budget).ok()?);
        Some(())
    })?;
    Some(builder.finish())
}

#[inline]
fn short_int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
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

    /// Gives `member` the name and the value of every member.
    fn object(&mut self, mut member: impl FnMut(Range<usize>, Range<usize>)) -> Option<()> {
        self.take(b'{')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take(b'}').is_none() {
            loop {
                let name = self.text()?;
                self.space();
                self.take(b':')?;
                self.space();
                let start = self.at;
                self.value()?;
                member(name, start..self.at);
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
            b'{' => self.object(|_, _| {}),
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
        let start = self.at;
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
        (self.at - start <= MAX_NUMBER_BYTES).then_some(())
    }

    /// A string; gives the range between the quotes.
    #[inline]
    fn text(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            self.run();
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

    /// Passes plain text, up to what may end it: most names and words by the first step, long texts by blocks.
    #[inline]
    fn run(&mut self) {
        if self.step() {
            return;
        }
        while let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let words = block.as_chunks().0.iter().map(|eight| ends_of_run(u64::from_le_bytes(*eight)));
            if words.fold(0, |ends, word| ends | word) != 0 {
                break;
            }
            self.at += BLOCK;
        }
        while !self.step() {}
    }

    /// Passes at most eight bytes; true at the end of a run, or where no eight bytes are left.
    #[inline]
    fn step(&mut self) -> bool {
        let Some(eight) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) else { return true };
        let ends = ends_of_run(u64::from_le_bytes(*eight));
        self.at += ends.trailing_zeros() as usize / 8;
        ends != 0
    }

    /// A surrogate without its other half is no character.
    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let first = self.unit(self.at)?;
                self.at += 6;
                match first {
                    0xd800..0xdc00 => {
                        let second = self.unit(self.at)?;
                        self.at += 6;
                        (0xdc00..0xe000).contains(&second).then_some(())?;
                    }
                    0xdc00..0xe000 => return None,
                    _ => {}
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The code of a `\\uXXXX`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)? as u16))
    }
}

/// Bytes of a long text that are looked at together, by vector instructions.
const BLOCK: usize = 32;
const ONES: u64 = u64::MAX / 0xff;
const HIGHS: u64 = ONES << 7;

/// Of eight bytes, a high bit at the first that ends a run of plain text: a quote, a backslash or a control character.
/// Bits above the first mean nothing; none at all is 0.
#[inline]
fn ends_of_run(eight: u64) -> u64 {
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (zero(eight ^ (ONES * u64::from(b'"'))) | zero(eight ^ (ONES * u64::from(b'\\'))) | control) & HIGHS
}

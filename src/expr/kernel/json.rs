//! `json.loads(x)["a"]["b"]`: the field alone, without building the document.
//!
//! Every byte of the document is checked all the same, by the strict grammar of RFC 8259. What Python takes beyond it
//! (NaN), keys with escapes, and what would raise (a missing key) is left to the evaluator.

use std::{cell::RefCell, ops::Range, sync::Arc};

use smol_str::SmolStr;

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

/// Most fields that one reading finds.
const MAX_FIELDS: usize = 64;
/// Longest number that is read here; Python has a limit of its own.
const MAX_NUMBER_BYTES: usize = 300;

/// The fields that a function takes of documents, so that one reading of a document finds them all.
#[derive(Default)]
pub struct Documents<'a> {
    fields: Vec<(Document, Vec<&'a str>)>,
    /// Fields that have been read, for the texts they were read from.
    known: RefCell<Vec<Known>>,
}

/// Texts, the document in them, and the columns of its fields.
type Known = (StrColumn, Document, Vec<Option<Column>>);

/// The simple expressions a document may be.
#[derive(Clone, PartialEq)]
enum Document {
    Local(u32),
    Attribute(u32, SmolStr),
    Index(u32, i64),
}

impl<'a> Documents<'a> {
    pub fn of(node: &'a Node) -> Documents<'a> {
        let mut documents = Documents::default();
        documents.visit(node);
        documents
    }

    fn visit(&mut self, node: &'a Node) {
        let mut path = Vec::new();
        match chain(node, &mut path).and_then(Document::of) {
            Some(document) if !path.is_empty() && self.fields.len() < MAX_FIELDS => {
                self.fields.push((document, path));
            }
            _ => node.children(&mut |child| self.visit(child)),
        }
    }

    /// The field at `path`: read before, or read now together with all others of this document.
    fn get(&self, document: &Document, path: &[&str], texts: &StrColumn, frame: &Frame<'_>) -> Option<Column> {
        let fields = || self.fields.iter().filter(|(of, _)| of == document).map(|(_, path)| path.as_slice());
        let at = fields().position(|field| field == path)?;
        let same = |known: &StrColumn| {
            Arc::ptr_eq(&known.views, &texts.views) && known.buffer.as_ptr() == texts.buffer.as_ptr()
        };
        let mut known = self.known.borrow_mut();
        if let Some((.., columns)) = known.iter().find(|(texts, of, _)| same(texts) && of == document) {
            return columns.get(at)?.clone();
        }
        let columns = read(texts, &fields().collect::<Vec<_>>(), frame);
        let column = columns.as_ref().and_then(|columns| columns.get(at)?.clone());
        known.push((texts.clone(), document.clone(), columns.unwrap_or_default()));
        column
    }
}

impl Document {
    fn of(node: &Node) -> Option<Document> {
        let local = |node: &Node| match &node.kind {
            Kind::Local(slot) => Some(*slot),
            _ => None,
        };
        match &node.kind {
            Kind::Local(slot) => Some(Document::Local(*slot)),
            Kind::Attribute(of, name) => Some(Document::Attribute(local(of)?, name.clone())),
            Kind::Index(pair) => match &pair.1.kind {
                Kind::Constant(Value::Int(idx)) => Some(Document::Index(local(&pair.0)?, *idx)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The column of a node that is a chain of str keys on `json.loads`; none if it is not, or to give up.
pub fn project(frame: &Frame<'_>, node: &Node) -> Option<Column> {
    let mut path = Vec::new();
    let document = chain(node, &mut path)?;
    let column = frame.eval(document)?;
    let texts = str_column(&column)?;
    let shared = Document::of(document).and_then(|document| frame.documents.get(&document, &path, texts, frame));
    shared.or_else(|| read(texts, &[&path], frame)?.pop()?)
}

/// Reads every document once. A field that is missing anywhere has no column.
fn read(texts: &StrColumn, paths: &[&[&str]], frame: &Frame<'_>) -> Option<Vec<Option<Column>>> {
    let mut found: Vec<Vec<Option<Range<usize>>>> = vec![Vec::with_capacity(texts.len()); paths.len()];
    let mut ranges = vec![None; paths.len()];
    let all = u64::MAX >> (64 - paths.len().clamp(1, MAX_FIELDS));
    for idx in 0..texts.len() {
        ranges.fill(None);
        let mut scanner = Scanner { bytes: texts.bytes(idx), at: 0, depth: 0 };
        scanner.space();
        scanner.fields(paths, all, 0, &mut ranges)?;
        scanner.space();
        if scanner.at != scanner.bytes.len() {
            return None;
        }
        found.iter_mut().zip(&ranges).for_each(|(found, range)| found.push(range.clone()));
    }
    let columns = found.into_iter().map(|found| collect(texts, found.into_iter().collect::<Option<_>>()?, frame));
    Some(columns.collect())
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

    /// The bytes of the values at paths of keys, those in the set `active`, whose first `level` keys led here. Of a key
    /// that is there twice, the last counts.
    fn fields(
        &mut self,
        paths: &[&[&str]],
        active: u64,
        level: usize,
        found: &mut [Option<Range<usize>>],
    ) -> Option<()> {
        let start = self.at;
        let members = |active: u64| (0..paths.len()).filter(move |idx| active & (1 << idx) != 0);
        let deeper = members(active).any(|idx| paths.get(idx).is_some_and(|path| path.len() > level));
        match deeper && self.peek() == b'{' {
            false => self.value()?,
            true => self.object(|scanner, name| {
                let mut next = 0u64;
                for idx in members(active) {
                    if paths.get(idx)?.get(level).is_some_and(|key| key.as_bytes() == name) {
                        next |= 1 << idx;
                        *found.get_mut(idx)? = None;
                    }
                }
                match next {
                    0 => scanner.value(),
                    next => scanner.fields(paths, next, level + 1, found),
                }
            })?,
        }
        for idx in members(active) {
            if paths.get(idx)?.len() == level {
                *found.get_mut(idx)? = Some(start..self.at);
            }
        }
        Some(())
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

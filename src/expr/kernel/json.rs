//! JSON documents as columns: checked once, decoded where a value is asked for, their members found without decoding.
//!
//! Every byte of a document is checked by the strict grammar of RFC 8259. What Python takes beyond it (NaN), names with
//! escapes, documents that are no objects, and what would raise (a missing member) is left to the evaluator.

use std::sync::Arc;

use super::{
    json_scan::{Look, Scanner, Shape},
    operand::{same_str, str_column},
    walk::Frame,
};
use crate::{
    expr::{
        Limits,
        builder::Builder,
        primitive::{self, Budget},
    },
    model::{
        Column, JsonColumn, RawColumn, StrColumn, Value, View,
        json_column::{Found, Member},
    },
};

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
    let found = read(&texts.buffer, &texts.views, limits)?;
    Some(JsonColumn::new(texts.clone(), found, decode))
}

/// The same of bytes that need not be UTF-8, nor be there.
pub fn raw_documents(raw: &RawColumn, limits: Limits) -> Option<JsonColumn> {
    let found = read(&raw.buffer, &raw.views, limits)?;
    let texts = StrColumn { buffer: raw.buffer.clone(), views: Arc::new(raw.views.clone()) };
    Some(JsonColumn::new(texts, found, decode))
}

/// What the texts hold, if all of them are JSON objects in UTF-8.
fn read(buffer: &[u8], texts: &[View], limits: Limits) -> Option<Found> {
    let most = (limits.memory_bytes / MOST_BYTES_A_BYTE).min(limits.steps / MOST_STEPS_A_BYTE);
    let mut found = Found {
        starts: Vec::with_capacity(texts.len() + 1),
        members: Vec::with_capacity(texts.len() * 8),
        shapes: Vec::with_capacity(texts.len()),
        is_plain: true,
    };
    found.starts.push(0);
    let mut like = Shape::default();
    for text in texts {
        if u64::from(text.len) > most {
            return None;
        }
        let bytes = buffer.get(text.range())?;
        let look = Look::at(bytes);
        if look.is_ascii || std::str::from_utf8(bytes).is_ok() {
            found.is_plain &= look.is_plain;
        } else {
            return None;
        }
        let first = found.members.len();
        let is_alike = Scanner::new(buffer, *text, look.is_plain).document(&mut found.members, &like)?;
        let shape = found.shapes.last().map_or(0, |before| before + u32::from(!is_alike));
        found.shapes.push(shape);
        like = Shape { start: text.offset as usize, members: first..found.members.len() };
        found.starts.push(u32::try_from(found.members.len()).ok()?);
    }
    let has_escape = |member: &Member| memchr::memchr(b'\\', &buffer[member.name.range()]).is_some();
    if !found.is_plain && found.members.iter().any(has_escape) {
        return None;
    }
    Some(found)
}

/// Makes a value of a document that has been checked.
fn decode(text: &[u8]) -> Value {
    let mut unbounded = Budget::new(Limits { steps: u64::MAX, memory_bytes: u64::MAX, ..Limits::default() });
    primitive::parse_json(text, &mut unbounded).unwrap_or(Value::None)
}

/// `documents[name]`; none where a document has no such member.
pub fn index(documents: &JsonColumn, name: &Column, limits: Limits) -> Option<Column> {
    let name = same_str(name)?.as_bytes();
    let views: Option<Vec<View>> = documents.each(name).collect();
    values(&documents.pieces(views?), documents.is_plain(), limits)
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
    let found: Vec<Option<View>> = documents.each(name).collect();
    let views = found.iter().flatten().copied().collect();
    let column = values(&documents.pieces(views), documents.is_plain(), limits)?;
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
    Some(documents.each(name).map(|view| view.is_some()).collect())
}

/// The values of members, from their texts; in plain ones nothing is escaped.
fn values(texts: &StrColumn, is_plain: bool, limits: Limits) -> Option<Column> {
    let is_plain_text =
        |bytes: &[u8]| bytes.first() == Some(&b'"') && (is_plain || memchr::memchr(b'\\', bytes).is_none());
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

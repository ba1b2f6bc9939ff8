//! Text: views into the same buffer where the result is a part of the input, else one new buffer.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use memchr::memmem;

use super::{
    general,
    list::position,
    operand::{Ints, Strs, ints, same, same_str, str_column, strs},
    select, split,
    walk::{Frame, bools},
};
use crate::{
    expr::{
        Limits,
        node::FormatPart,
        primitive::{self, Arguments, Budget},
    },
    model::{Column, StrColumn, Value, View, column::ListColumn, text::put_str},
};

/// Writes a string column.
struct Writer {
    buffer: Vec<u8>,
    views: Vec<View>,
    start: usize,
    most: usize,
}

impl Writer {
    fn of(limits: Limits) -> Writer {
        Writer { buffer: Vec::new(), views: Vec::new(), start: 0, most: limits.column_bytes }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Ends an element; none where the column grew too large.
    fn end(&mut self) -> Option<()> {
        let end = self.buffer.len();
        self.views.push(View { offset: self.start as u32, len: (end - self.start) as u32 });
        self.start = end;
        (end <= self.most).then_some(())
    }

    fn finish(self) -> Column {
        Column::Str(StrColumn { buffer: Bytes::from(self.buffer), views: Arc::new(self.views) })
    }
}

/// Views into the buffer of `column`.
fn parts(column: &StrColumn, views: Vec<View>) -> StrColumn {
    StrColumn { buffer: column.buffer.clone(), views: Arc::new(views) }
}

pub fn concat(a: Strs<'_>, b: Strs<'_>, len: usize, limits: Limits) -> Option<Column> {
    let mut writer = Writer::of(limits);
    for idx in 0..len {
        writer.put(a.get(idx));
        writer.put(b.get(idx));
        writer.end()?;
    }
    Some(writer.finish())
}

/// Methods of str.
pub fn method(name: &str, of: &Column, arguments: &[Column], limits: Limits) -> Option<Column> {
    if let ("join", Some(separator), [Column::List(lists)]) = (name, same_str(of), arguments) {
        return join(separator, lists, limits);
    }
    let column = str_column(of)?;
    let first = arguments.first();
    let one = if arguments.len() == 1 { first.and_then(same_str) } else { None };
    match (name, arguments.len()) {
        ("split", 0) => split::at_spaces(column),
        ("split", 1) if matches!(first.and_then(same), Some(Value::None)) => split::at_spaces(column),
        ("split", 1) => split::at(column, one?),
        ("strip", 0) => Some(strip(column, |text| text.trim_matches(is_space))),
        ("lstrip", 0) => Some(strip(column, |text| text.trim_start_matches(is_space))),
        ("rstrip", 0) => Some(strip(column, |text| text.trim_end_matches(is_space))),
        ("strip" | "lstrip" | "rstrip", 1) => {
            let letters: Vec<char> = one?.chars().collect();
            let letters = letters.as_slice();
            Some(match name {
                "strip" => strip(column, |text| text.trim_matches(letters)),
                "lstrip" => strip(column, |text| text.trim_start_matches(letters)),
                _ => strip(column, |text| text.trim_end_matches(letters)),
            })
        }
        ("lower", 0) => case(column, name, limits, <[u8]>::make_ascii_lowercase),
        ("upper", 0) => case(column, name, limits, <[u8]>::make_ascii_uppercase),
        ("startswith", 1) => {
            let prefix = one?.as_bytes();
            Some(bools((0..column.len()).map(|idx| column.bytes(idx).starts_with(prefix)).collect()))
        }
        ("endswith", 1) => {
            let suffix = one?.as_bytes();
            Some(bools((0..column.len()).map(|idx| column.bytes(idx).ends_with(suffix)).collect()))
        }
        ("find", 1) => find(column, one?),
        ("replace", 2) => replace(column, one_of(first)?, one_of(arguments.get(1))?, limits),
        _ => None,
    }
}

fn one_of(column: Option<&Column>) -> Option<&str> {
    column.and_then(same_str)
}

/// Python's white space of str.
pub(super) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\x1c'..='\x1f')
}

/// The view of `part`, a piece of `whole`, which `view` shows.
pub(super) fn part(view: &View, whole: &str, part: &str) -> View {
    let before = part.as_ptr() as usize - whole.as_ptr() as usize;
    View { offset: view.offset + before as u32, len: part.len() as u32 }
}

fn strip(column: &StrColumn, strip: impl Fn(&str) -> &str) -> Column {
    let views = column.views.iter().enumerate().map(|(idx, view)| {
        let whole = column.str(idx);
        part(view, whole, strip(whole))
    });
    Column::Str(parts(column, views.collect()))
}

fn case(column: &StrColumn, name: &str, limits: Limits, ascii: fn(&mut [u8])) -> Option<Column> {
    let mut writer = Writer::of(limits);
    let mut other = None;
    for idx in 0..column.len() {
        let bytes = column.bytes(idx);
        if bytes.is_ascii() {
            let start = writer.buffer.len();
            writer.put(bytes);
            if let Some(written) = writer.buffer.get_mut(start..) {
                ascii(written);
            }
        } else {
            let other = other.get_or_insert_with(|| general::Alone::new(limits));
            let Value::Str(changed) = other.str_method(name, column.str(idx))? else { return None };
            writer.put(changed.as_bytes());
        }
        writer.end()?;
    }
    Some(writer.finish())
}

/// Counts characters, so only ASCII is left to bytes.
fn find(column: &StrColumn, needle: &str) -> Option<Column> {
    let finder = memmem::Finder::new(needle);
    let mut found = Vec::with_capacity(column.len());
    for idx in 0..column.len() {
        let bytes = column.bytes(idx);
        found.push(match finder.find(bytes) {
            Some(at) => characters(bytes.get(..at)?) as i64,
            None => -1,
        });
    }
    Some(Column::Int(found.into()))
}

fn replace(column: &StrColumn, old: &str, new: &str, limits: Limits) -> Option<Column> {
    if old.is_empty() {
        return None;
    }
    let finder = memmem::Finder::new(old);
    let mut writer = Writer::of(limits);
    for idx in 0..column.len() {
        let bytes = column.bytes(idx);
        let mut start = 0;
        for at in finder.find_iter(bytes) {
            writer.put(bytes.get(start..at)?);
            writer.put(new.as_bytes());
            start = at + old.len();
        }
        writer.put(bytes.get(start..)?);
        writer.end()?;
    }
    Some(writer.finish())
}

fn join(separator: &str, lists: &ListColumn, limits: Limits) -> Option<Column> {
    let items = str_column(&lists.values)?;
    let mut writer = Writer::of(limits);
    for idx in 0..lists.len() {
        for (count, item) in lists.range(idx).enumerate() {
            if count > 0 {
                writer.put(separator.as_bytes());
            }
            writer.put(items.bytes(item));
        }
        writer.end()?;
    }
    Some(writer.finish())
}

/// `item in container` for str in str.
pub fn contains(item: &Column, container: &Column, len: usize) -> Option<Vec<bool>> {
    let container = strs(container)?;
    if let Some(needle) = same_str(item) {
        let finder = memmem::Finder::new(needle);
        return Some((0..len).map(|idx| finder.find(container.get(idx)).is_some()).collect());
    }
    let item = strs(item)?;
    Some((0..len).map(|idx| memmem::find(container.get(idx), item.get(idx)).is_some()).collect())
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

/// Builtins over columns.
pub fn builtin(name: &str, arguments: &[Column], len: usize) -> Option<Column> {
    match (name, arguments) {
        ("len", [Column::Str(column)]) => {
            let counts: Vec<i64> = (0..len).map(|idx| characters(column.bytes(idx)) as i64).collect();
            Some(Column::Int(counts.into()))
        }
        ("len", [Column::List(lists)]) => {
            let counts: Vec<i64> = lists.offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])).collect();
            Some(Column::Int(counts.into()))
        }
        ("len", [Column::Tuple(parts)]) => Some(Column::Const(Value::Int(parts.len() as i64), len)),
        ("str", [column @ Column::Str(_)]) | ("int", [column @ Column::Int(_)]) => Some(column.clone()),
        ("float", [column @ Column::Float(_)]) | ("bool", [column @ Column::Bool(_)]) => Some(column.clone()),
        ("float", [Column::Int(values)]) => {
            Some(Column::Float(values.iter().map(|value| *value as f64).collect::<Vec<_>>().into()))
        }
        ("str", [Column::Int(values)]) => {
            let mut writer = Writer::of(Limits::default());
            let mut digits = String::new();
            for value in values.iter() {
                digits.clear();
                write!(digits, "{value}").ok()?;
                writer.put(digits.as_bytes());
                writer.end()?;
            }
            Some(writer.finish())
        }
        ("int", [Column::Str(column)]) => {
            let parsed: Option<Vec<i64>> = (0..len).map(|idx| int(column.bytes(idx))).collect();
            Some(Column::Int(parsed?.into()))
        }
        ("bool", [column]) => select::truthy(column).map(bools),
        ("abs", [Column::Int(values)]) => {
            let values: Option<Vec<i64>> = values.iter().map(|value| value.checked_abs()).collect();
            Some(Column::Int(values?.into()))
        }
        ("min", [a, b]) => extreme(ints(a)?, ints(b)?, len, i64::min),
        ("max", [a, b]) => extreme(ints(a)?, ints(b)?, len, i64::max),
        ("sum", [Column::List(lists)]) => {
            let Column::Int(values) = &*lists.values else { return None };
            let sum = |idx| values.get(lists.range(idx))?.iter().try_fold(0i64, |sum, value| sum.checked_add(*value));
            Some(Column::Int((0..len).map(sum).collect::<Option<Vec<i64>>>()?.into()))
        }
        _ => None,
    }
}

fn extreme(a: Ints<'_>, b: Ints<'_>, len: usize, f: fn(i64, i64) -> i64) -> Option<Column> {
    let values: Option<Vec<i64>> = (0..len).map(|idx| Some(f(a.get(idx)?, b.get(idx)?))).collect();
    Some(Column::Int(values?.into()))
}

/// Plain decimal digits with a sign; anything else is for Python's grammar.
fn int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if digits.len() < bytes.len() { -value } else { value })
}

/// `text[at]` of ASCII text.
pub fn letter(column: &StrColumn, at: Ints<'_>) -> Option<Column> {
    let mut views = Vec::with_capacity(column.len());
    for (idx, view) in column.views.iter().enumerate() {
        let bytes = column.bytes(idx);
        let at = position(at.get(idx)?, bytes.len())?;
        if !bytes.is_ascii() {
            return None;
        }
        views.push(View { offset: view.offset + at as u32, len: 1 });
    }
    Some(Column::Str(parts(column, views)))
}

/// `of[start:stop:step]`
pub fn slice(of: &Column, bounds: &[Option<Column>; 3], len: usize) -> Option<Column> {
    if let [start, stop, None] = bounds
        && let Some(column) = str_column(of)
        && let Some(sliced) = slice_ascii(column, start.as_ref(), stop.as_ref())
    {
        return Some(sliced);
    }
    let mut columns = vec![of];
    columns.extend(bounds.iter().flatten());
    general::each(&columns, len, Limits::default(), |row| {
        let (of, mut rest) = row.split_first()?;
        let mut next = |given: &Option<Column>| match given {
            Some(_) => {
                let (first, others) = rest.split_first()?;
                rest = others;
                Some(first)
            }
            None => None,
        };
        let (start, stop, step) = (next(&bounds[0]), next(&bounds[1]), next(&bounds[2]));
        primitive::slice(of, start, stop, step).ok()
    })
}

fn slice_ascii(column: &StrColumn, start: Option<&Column>, stop: Option<&Column>) -> Option<Column> {
    let bound = |bound: Option<&Column>| match bound.map(|column| same(column)) {
        None | Some(Some(Value::None)) => Some(None),
        Some(Some(Value::Int(at))) => Some(Some(*at)),
        _ => None,
    };
    let (start, stop) = (bound(start)?, bound(stop)?);
    let mut views = Vec::with_capacity(column.len());
    for (idx, view) in column.views.iter().enumerate() {
        if !column.bytes(idx).is_ascii() {
            return None;
        }
        let len = i64::from(view.len);
        let clamp = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at.min(len) };
        let (from, until) = (start.map_or(0, clamp), stop.map_or(len, clamp));
        views.push(View { offset: view.offset + from as u32, len: (until - from).max(0) as u32 });
    }
    Some(Column::Str(parts(column, views)))
}

/// An f-string.
pub fn format(frame: &Frame<'_>, pieces: &[FormatPart]) -> Option<Column> {
    let mut columns = Vec::with_capacity(pieces.len());
    for piece in pieces {
        columns.push(match piece {
            FormatPart::Text(_) => None,
            FormatPart::Field(node, _) => Some(frame.eval(node)?),
        });
    }
    let mut writer = Writer::of(frame.limits);
    let mut budget = Budget::new(frame.limits);
    let mut shown = String::new();
    for idx in 0..frame.len {
        budget.reset();
        for (piece, column) in pieces.iter().zip(&columns) {
            match (piece, column) {
                (FormatPart::Text(text), _) => writer.put(text.as_bytes()),
                (FormatPart::Field(_, field), Some(column)) => match (strs(column), field.is_empty()) {
                    (Some(column), true) => writer.put(column.get(idx)),
                    (None, true) => {
                        shown.clear();
                        put_str(&mut shown, &column.get(idx)?);
                        writer.put(shown.as_bytes());
                    }
                    (_, false) => {
                        let value = [column.get(idx)?];
                        let arguments = Arguments { positional: &value, named: &[] };
                        let Value::Str(text) = primitive::dot_format(field, &arguments, &mut budget).ok()? else {
                            return None;
                        };
                        writer.put(text.as_bytes());
                    }
                },
                _ => return None,
            }
        }
        writer.end()?;
    }
    Some(writer.finish())
}

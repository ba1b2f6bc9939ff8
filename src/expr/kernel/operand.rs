//! Columns as operands: one value for all elements, or one an element.

use crate::model::{Column, StrColumn, Value};

/// Ints, of a column or a constant.
#[derive(Clone, Copy)]
pub enum Ints<'a> {
    Same(i64),
    Each(&'a [i64]),
}

impl Ints<'_> {
    #[inline]
    pub fn get(self, idx: usize) -> Option<i64> {
        match self {
            Ints::Same(value) => Some(value),
            Ints::Each(values) => values.get(idx).copied(),
        }
    }
}

pub fn ints(column: &Column) -> Option<Ints<'_>> {
    match column {
        Column::Const(Value::Int(value), _) => Some(Ints::Same(*value)),
        Column::Int(values) => Some(Ints::Each(values)),
        _ => None,
    }
}

/// Floats and ints, as floats.
#[derive(Clone, Copy)]
pub enum Floats<'a> {
    Same(f64),
    Each(&'a [f64]),
    Ints(&'a [i64]),
}

impl Floats<'_> {
    #[inline]
    pub fn get(self, idx: usize) -> Option<f64> {
        match self {
            Floats::Same(value) => Some(value),
            Floats::Each(values) => values.get(idx).copied(),
            Floats::Ints(values) => values.get(idx).map(|int| *int as f64),
        }
    }
}

/// The operands of float arithmetic: at least one of both is of floats.
pub fn floats<'a>(left: &'a Column, right: &'a Column) -> Option<(Floats<'a>, Floats<'a>)> {
    fn one(column: &Column) -> Option<(Floats<'_>, bool)> {
        match column {
            Column::Const(Value::Float(value), _) => Some((Floats::Same(*value), true)),
            Column::Float(values) => Some((Floats::Each(values), true)),
            Column::Const(Value::Int(value), _) => Some((Floats::Same(*value as f64), false)),
            Column::Int(values) => Some((Floats::Ints(values), false)),
            _ => None,
        }
    }
    let ((left, a), (right, b)) = (one(left)?, one(right)?);
    (a || b).then_some((left, right))
}

/// Strings, of a column or a constant; bytes of valid UTF-8.
#[derive(Clone, Copy)]
pub enum Strs<'a> {
    Same(&'a [u8]),
    Each(&'a StrColumn),
}

impl<'a> Strs<'a> {
    #[inline]
    pub fn get(self, idx: usize) -> &'a [u8] {
        match self {
            Strs::Same(text) => text,
            Strs::Each(column) => column.bytes(idx),
        }
    }
}

pub fn strs(column: &Column) -> Option<Strs<'_>> {
    match column {
        Column::Const(Value::Str(text), _) => Some(Strs::Same(text.as_bytes())),
        Column::Str(column) => Some(Strs::Each(column)),
        _ => None,
    }
}

pub fn str_column(column: &Column) -> Option<&StrColumn> {
    match column {
        Column::Str(column) => Some(column),
        _ => None,
    }
}

/// The value that all elements are.
pub fn same(column: &Column) -> Option<&Value> {
    match column {
        Column::Const(value, _) => Some(value),
        _ => None,
    }
}

pub fn same_str(column: &Column) -> Option<&str> {
    match column {
        Column::Const(Value::Str(text), _) => Some(text),
        _ => None,
    }
}

//! Columns as operands: one value for all elements, or one an element.

use crate::model::{Column, StrColumn, Value};

/// Numbers, of a column or a constant.
#[derive(Clone, Copy)]
pub enum Operand<'a, T> {
    Same(T),
    Each(&'a [T]),
}

pub type Ints<'a> = Operand<'a, i64>;

impl<T: Copy> Operand<'_, T> {
    #[inline]
    pub fn get(self, idx: usize) -> Option<T> {
        match self {
            Operand::Same(value) => Some(value),
            Operand::Each(values) => values.get(idx).copied(),
        }
    }

    /// The results of `f` for all pairs. A loop for each shape, so that each is plain enough for vector instructions.
    #[inline]
    pub fn zip<R: Clone>(self, other: Self, len: usize, mut f: impl FnMut(T, T) -> R) -> Vec<R> {
        match (self, other) {
            (Operand::Each(a), Operand::Each(b)) => a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect(),
            (Operand::Each(a), Operand::Same(b)) => a.iter().map(|a| f(*a, b)).collect(),
            (Operand::Same(a), Operand::Each(b)) => b.iter().map(|b| f(a, *b)).collect(),
            (Operand::Same(a), Operand::Same(b)) => vec![f(a, b); len],
        }
    }
}

pub fn ints(column: &Column) -> Option<Ints<'_>> {
    match column {
        Column::Const(Value::Int(value), _) => Some(Operand::Same(*value)),
        Column::Int(values) => Some(Operand::Each(values)),
        _ => None,
    }
}

/// Floats and ints, as floats.
pub enum Floats<'a> {
    Of(Operand<'a, f64>),
    Converted(Vec<f64>),
}

impl Floats<'_> {
    pub fn operand(&self) -> Operand<'_, f64> {
        match self {
            Floats::Of(operand) => *operand,
            Floats::Converted(values) => Operand::Each(values),
        }
    }
}

/// The operands of float arithmetic: at least one of both is of floats.
pub fn floats<'a>(left: &'a Column, right: &'a Column) -> Option<(Floats<'a>, Floats<'a>)> {
    let is_float = |column: &Column| matches!(column, Column::Float(_) | Column::Const(Value::Float(_), _));
    fn one(column: &Column) -> Option<Floats<'_>> {
        Some(match column {
            Column::Const(Value::Float(value), _) => Floats::Of(Operand::Same(*value)),
            Column::Float(values) => Floats::Of(Operand::Each(values)),
            Column::Const(Value::Int(value), _) => Floats::Of(Operand::Same(*value as f64)),
            Column::Int(values) => Floats::Converted(values.iter().map(|int| *int as f64).collect()),
            _ => return None,
        })
    }
    if !is_float(left) && !is_float(right) {
        return None;
    }
    Some((one(left)?, one(right)?))
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

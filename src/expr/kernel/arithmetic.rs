//! Arithmetic and comparisons.

use std::cmp::Ordering;

use super::{
    general,
    operand::{Ints, floats, ints, strs},
    text,
    walk::{bools, constant_compare},
};
use crate::{
    expr::{
        Limits,
        node::UnaryOp,
        primitive::{self, BinaryOp, CompareOp},
    },
    model::{Column, Value},
};

pub fn unary(op: UnaryOp, of: &Column) -> Option<Column> {
    match (op, of) {
        (UnaryOp::Negate, Column::Int(values)) => {
            let values: Option<Vec<i64>> = values.iter().map(|value| value.checked_neg()).collect();
            Some(Column::Int(values?.into()))
        }
        (UnaryOp::Negate, Column::Float(values)) => {
            Some(Column::Float(values.iter().map(|value| -value).collect::<Vec<_>>().into()))
        }
        (UnaryOp::Plus, Column::Int(_) | Column::Float(_)) => Some(of.clone()),
        (op, of) => general::each(&[of], of.len(), |values| {
            match op {
                UnaryOp::Negate => primitive::negate(values.first()?),
                UnaryOp::Plus => primitive::plus(values.first()?),
                UnaryOp::BitNot => primitive::bit_not(values.first()?),
            }
            .ok()
        }),
    }
}

pub fn binary(op: BinaryOp, left: &Column, right: &Column, len: usize, limits: Limits) -> Option<Column> {
    if let (Some(a), Some(b)) = (ints(left), ints(right))
        && let Some(result) = int_binary(op, a, b, len)
    {
        return Some(Column::Int(result.into()));
    }
    if let Some(result) = float_binary(op, left, right, len) {
        return Some(Column::Float(result.into()));
    }
    if let (BinaryOp::Add, Some(a), Some(b)) = (op, strs(left), strs(right)) {
        return text::concat(a, b, len);
    }
    general::binary(op, left, right, len, limits)
}

/// Exact in 64 bits, or none.
fn int_binary(op: BinaryOp, a: Ints<'_>, b: Ints<'_>, len: usize) -> Option<Vec<i64>> {
    let each = |f: fn(i64, i64) -> Option<i64>| (0..len).map(|idx| f(a.get(idx)?, b.get(idx)?)).collect();
    match op {
        BinaryOp::Add => each(i64::checked_add),
        BinaryOp::Subtract => each(i64::checked_sub),
        BinaryOp::Multiply => each(i64::checked_mul),
        BinaryOp::FloorDivide => each(|a, b| {
            let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
            Some(if rest != 0 && (rest < 0) != (b < 0) { quotient - 1 } else { quotient })
        }),
        BinaryOp::Percent => each(|a, b| {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }),
        BinaryOp::BitAnd => each(|a, b| Some(a & b)),
        BinaryOp::BitOr => each(|a, b| Some(a | b)),
        BinaryOp::BitXor => each(|a, b| Some(a ^ b)),
        BinaryOp::Divide | BinaryOp::LeftShift | BinaryOp::RightShift => None,
    }
}

/// The largest integer up to which all are floats too.
const EXACT: i64 = 1 << 53;

fn float_binary(op: BinaryOp, left: &Column, right: &Column, len: usize) -> Option<Vec<f64>> {
    if let (BinaryOp::Divide, Some(a), Some(b)) = (op, ints(left), ints(right)) {
        let divide = |idx| {
            let (a, b) = (a.get(idx)?, b.get(idx)?);
            let exact = b != 0 && a.unsigned_abs() <= EXACT as u64 && b.unsigned_abs() <= EXACT as u64;
            exact.then(|| a as f64 / b as f64)
        };
        return (0..len).map(divide).collect();
    }
    let (a, b) = floats(left, right)?;
    let each = |f: fn(f64, f64) -> Option<f64>| (0..len).map(|idx| f(a.get(idx)?, b.get(idx)?)).collect();
    match op {
        BinaryOp::Add => each(|a, b| Some(a + b)),
        BinaryOp::Subtract => each(|a, b| Some(a - b)),
        BinaryOp::Multiply => each(|a, b| Some(a * b)),
        BinaryOp::Divide => each(|a, b| (b != 0.0).then(|| a / b)),
        _ => None,
    }
}

pub fn compare(op: CompareOp, left: &Column, right: &Column, len: usize) -> Option<Column> {
    if let Some(column) = constant_compare(op, left, right, len) {
        return Some(column);
    }
    if let (Some(a), Some(b)) = (ints(left), ints(right)) {
        let each = |idx| Some(holds(op, a.get(idx)?.cmp(&b.get(idx)?)));
        return (0..len).map(each).collect::<Option<Vec<bool>>>().map(bools);
    }
    if let (Some(a), Some(b)) = (strs(left), strs(right)) {
        return Some(bools((0..len).map(|idx| holds(op, a.get(idx).cmp(b.get(idx)))).collect()));
    }
    if let (
        Column::Float(_) | Column::Const(Value::Float(_), _),
        Column::Float(_) | Column::Const(Value::Float(_), _),
    ) = (left, right)
    {
        let (a, b) = floats(left, right)?;
        let each = |idx| {
            let (a, b) = (a.get(idx)?, b.get(idx)?);
            Some(match op {
                CompareOp::Equal => a == b,
                CompareOp::NotEqual => a != b,
                CompareOp::Less => a < b,
                CompareOp::LessOrEqual => a <= b,
                CompareOp::Greater => a > b,
                CompareOp::GreaterOrEqual => a >= b,
            })
        };
        return (0..len).map(each).collect::<Option<Vec<bool>>>().map(bools);
    }
    general::compare(op, left, right, len)
}

#[inline]
fn holds(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Equal => ordering.is_eq(),
        CompareOp::NotEqual => ordering.is_ne(),
        CompareOp::Less => ordering.is_lt(),
        CompareOp::LessOrEqual => ordering.is_le(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::GreaterOrEqual => ordering.is_ge(),
    }
}

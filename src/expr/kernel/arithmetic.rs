//! Arithmetic and comparisons.

use std::cmp::Ordering;

use super::{
    general,
    operand::{Ints, Operand, floats, ints, strs},
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

#[cfg(test)]
thread_local! {
    /// Makes subtraction wrong on this thread, for the test of the test that compares kernels with the evaluator.
    pub static PLANTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

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
        (op, of) => general::each(&[of], of.len(), Limits::default(), |values| {
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
        return text::concat(a, b, len, limits);
    }
    general::binary(op, left, right, len, limits)
}

/// Exact in 64 bits, or none.
fn int_binary(op: BinaryOp, a: Ints<'_>, b: Ints<'_>, len: usize) -> Option<Vec<i64>> {
    match op {
        BinaryOp::Add => exact(a, b, len, i64::overflowing_add),
        #[cfg(test)]
        BinaryOp::Subtract if PLANTED.get() => exact(a, b, len, |a, b| (a.wrapping_sub(b).wrapping_add(1), false)),
        BinaryOp::Subtract => exact(a, b, len, i64::overflowing_sub),
        BinaryOp::Multiply => exact(a, b, len, i64::overflowing_mul),
        BinaryOp::FloorDivide => exact(a, b, len, |a, b| {
            let (quotient, rest, is_none) = divide(a, b);
            (quotient - i64::from(rest != 0 && (rest < 0) != (b < 0)), is_none)
        }),
        BinaryOp::Percent => exact(a, b, len, |a, b| {
            let (_, rest, is_none) = divide(a, b);
            (if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }, is_none)
        }),
        BinaryOp::BitAnd => Some(a.zip(b, len, |a, b| a & b)),
        BinaryOp::BitOr => Some(a.zip(b, len, |a, b| a | b)),
        BinaryOp::BitXor => Some(a.zip(b, len, |a, b| a ^ b)),
        BinaryOp::Divide | BinaryOp::LeftShift | BinaryOp::RightShift => None,
    }
}

/// All results, or none where one of them does not fit. That is asked once, at the end: a loop that may stop anywhere
/// takes several times as long.
#[inline]
fn exact<T: Copy, R: Clone>(
    a: Operand<'_, T>,
    b: Operand<'_, T>,
    len: usize,
    f: impl Fn(T, T) -> (R, bool),
) -> Option<Vec<R>> {
    let mut overflows = false;
    let results = a.zip(b, len, |a, b| {
        let (result, overflow) = f(a, b);
        overflows |= overflow;
        result
    });
    (!overflows).then_some(results)
}

/// Quotient and rest as the machine has them, and whether there are none in 64 bits.
#[inline]
fn divide(a: i64, b: i64) -> (i64, i64, bool) {
    match b {
        0 => (0, 0, true),
        b => {
            let (quotient, overflow) = a.overflowing_div(b);
            (quotient, a.wrapping_sub(quotient.wrapping_mul(b)), overflow)
        }
    }
}

/// The largest integer up to which all are floats too.
const EXACT: u64 = 1 << 53;

fn float_binary(op: BinaryOp, left: &Column, right: &Column, len: usize) -> Option<Vec<f64>> {
    if let (BinaryOp::Divide, Some(a), Some(b)) = (op, ints(left), ints(right)) {
        return exact(a, b, len, |a, b| {
            (a as f64 / b as f64, b == 0 || a.unsigned_abs() > EXACT || b.unsigned_abs() > EXACT)
        });
    }
    let (left, right) = floats(left, right)?;
    let (a, b) = (left.operand(), right.operand());
    match op {
        BinaryOp::Add => Some(a.zip(b, len, |a, b| a + b)),
        BinaryOp::Subtract => Some(a.zip(b, len, |a, b| a - b)),
        BinaryOp::Multiply => Some(a.zip(b, len, |a, b| a * b)),
        BinaryOp::Divide => exact(a, b, len, |a, b| (a / b, b == 0.0)),
        _ => None,
    }
}

pub fn compare(op: CompareOp, left: &Column, right: &Column, len: usize) -> Option<Column> {
    if let Some(column) = constant_compare(op, left, right, len) {
        return Some(column);
    }
    if let (Some(a), Some(b)) = (ints(left), ints(right)) {
        return Some(compare_numbers(op, a, b, len));
    }
    if let (Some(a), Some(b)) = (strs(left), strs(right)) {
        return Some(bools((0..len).map(|idx| holds(op, a.get(idx).cmp(b.get(idx)))).collect()));
    }
    if let (
        Column::Float(_) | Column::Const(Value::Float(_), _),
        Column::Float(_) | Column::Const(Value::Float(_), _),
    ) = (left, right)
    {
        let (left, right) = floats(left, right)?;
        return Some(compare_numbers(op, left.operand(), right.operand(), len));
    }
    general::compare(op, left, right, len)
}

fn compare_numbers<T: Copy + PartialOrd>(op: CompareOp, a: Operand<'_, T>, b: Operand<'_, T>, len: usize) -> Column {
    bools(match op {
        CompareOp::Equal => a.zip(b, len, |a, b| a == b),
        CompareOp::NotEqual => a.zip(b, len, |a, b| a != b),
        CompareOp::Less => a.zip(b, len, |a, b| a < b),
        CompareOp::LessOrEqual => a.zip(b, len, |a, b| a <= b),
        CompareOp::Greater => a.zip(b, len, |a, b| a > b),
        CompareOp::GreaterOrEqual => a.zip(b, len, |a, b| a >= b),
    })
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

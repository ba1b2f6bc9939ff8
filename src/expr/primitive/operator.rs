//! Arithmetic and the other binary and unary operators: ints exact at any size, floats as IEEE 754, `//` and `%` of signs
//! as Python floors them.

use std::sync::Arc;

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

use super::{BinaryOp, Budget, Fault};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Value},
};

#[inline]
pub fn binary(op: BinaryOp, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => small_ints(op, *a, *b, budget),
        (Value::Float(a), Value::Float(b)) => floats(op, *a, *b),
        (Value::Str(text), Value::Str(other)) if op == BinaryOp::Add => concat(text, other, budget),
        _ => general(op, a, b, budget),
    }
}

fn concat(a: &str, b: &str, budget: &mut Budget) -> Result<Value, Fault> {
    budget.allocate((a.len() + b.len()) as u64)?;
    let mut text = String::with_capacity(a.len() + b.len());
    text.push_str(a);
    text.push_str(b);
    Ok(Value::Str(text.into()))
}

fn zero_division(message: &str) -> Fault {
    Fault::new(EvalErrorKind::ZeroDivision, message)
}

#[inline]
fn small_ints(op: BinaryOp, a: i64, b: i64, budget: &mut Budget) -> Result<Value, Fault> {
    let exact = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Subtract => a.checked_sub(b),
        BinaryOp::Multiply => a.checked_mul(b),
        BinaryOp::BitAnd => Some(a & b),
        BinaryOp::BitOr => Some(a | b),
        BinaryOp::BitXor => Some(a ^ b),
        BinaryOp::FloorDivide if b != 0 => a.checked_div(b).map(|quotient| match a % b {
            0 => quotient,
            rest if (rest < 0) != (b < 0) => quotient - 1,
            _ => quotient,
        }),
        BinaryOp::Percent if b != 0 => a.checked_rem(b).map(|rest| match rest {
            0 => 0,
            rest if (rest < 0) != (b < 0) => rest + b,
            rest => rest,
        }),
        BinaryOp::RightShift if b >= 0 => Some(a >> b.min(63)),
        _ => None,
    };
    match exact {
        Some(int) => Ok(Value::Int(int)),
        None => big_ints(op, &BigInt::from(a), &BigInt::from(b), budget),
    }
}

fn big_ints(op: BinaryOp, a: &BigInt, b: &BigInt, budget: &mut Budget) -> Result<Value, Fault> {
    let bytes = |value: &BigInt| value.bits() / 8 + 8;
    budget.allocate(bytes(a) + bytes(b))?;
    // Long multiplication and division cost the product of the lengths.
    budget.steps((a.bits() / 64 + 1).saturating_mul(b.bits() / 64 + 1))?;
    Ok(Value::int(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => return true_division(a, b),
        BinaryOp::FloorDivide | BinaryOp::Percent => {
            if b.is_zero() {
                return Err(zero_division("integer division or modulo by zero"));
            }
            let (mut quotient, mut rest) = (a / b, a % b);
            if !rest.is_zero() && (rest.sign() == Sign::Minus) != (b.sign() == Sign::Minus) {
                quotient -= 1;
                rest += b;
            }
            if op == BinaryOp::Percent { rest } else { quotient }
        }
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        BinaryOp::LeftShift | BinaryOp::RightShift => {
            if b.is_negative() {
                return Err(Fault::value_error("negative shift count"));
            }
            match (op, b.to_u64()) {
                (BinaryOp::LeftShift, Some(by)) => {
                    budget.allocate(if a.is_zero() { 0 } else { by / 8 })?;
                    if a.is_zero() { BigInt::zero() } else { a << by }
                }
                (BinaryOp::LeftShift, None) => {
                    return Err(Fault::new(EvalErrorKind::Overflow, "shift count too large"));
                }
                (_, Some(by)) => a >> by,
                (_, None) => BigInt::from(if a.is_negative() { -1 } else { 0 }),
            }
        }
    }))
}

/// Correctly rounded, also where an operand is larger than a float can be.
fn true_division(a: &BigInt, b: &BigInt) -> Result<Value, Fault> {
    if b.is_zero() {
        return Err(zero_division("division by zero"));
    }
    let small = 1i64 << 53;
    if let (Some(x), Some(y)) = (a.to_i64(), b.to_i64())
        && x.abs() <= small
        && y.abs() <= small
    {
        return Ok(Value::Float(x as f64 / y as f64));
    }
    // A quotient of at least 55 bits, the last of which stands for everything behind it, rounds as the exact one.
    let shift = 64 - (a.bits() as i64 - b.bits() as i64);
    let (scaled, divisor) =
        if shift >= 0 { (a.abs() << shift as u64, b.abs()) } else { (a.abs(), b.abs() << shift.unsigned_abs()) };
    let mut quotient = &scaled / &divisor;
    if !(&scaled % &divisor).is_zero() {
        quotient |= BigInt::from(1);
    }
    let magnitude = scale(&quotient, -shift);
    match magnitude {
        Some(float) if a.is_negative() != b.is_negative() => Ok(Value::Float(-float)),
        Some(float) => Ok(Value::Float(float)),
        None => Err(Fault::new(EvalErrorKind::Overflow, "integer division result too large for a float")),
    }
}

/// `value * 2^exponent`, rounded to nearest, ties to even; `None` where it is too large.
fn scale(value: &BigInt, exponent: i64) -> Option<f64> {
    if value.is_zero() {
        return Some(0.0);
    }
    let top = value.bits() as i64 + exponent;
    // Bits that a float of this size has; fewer below the smallest normal number.
    let bits = (top + 1074).min(53);
    if bits < 0 {
        return Some(0.0);
    }
    let drop = value.bits() as i64 - bits;
    let (mut kept, mut exponent) = (value.clone(), exponent);
    if drop > 0 {
        let half = BigInt::from(1) << (drop - 1) as u64;
        let rest = value & ((BigInt::from(1) << drop as u64) - 1);
        kept = value >> drop as u64;
        if rest > half || rest == half && (&kept & BigInt::from(1)) == BigInt::from(1) {
            kept += 1;
        }
        exponent += drop;
    }
    let mantissa = kept.to_u64()? as f64;
    let (first, second) = (exponent / 2, exponent - exponent / 2);
    let float = mantissa * 2f64.powi(first as i32) * 2f64.powi(second as i32);
    float.is_finite().then_some(float)
}

fn floats(op: BinaryOp, a: f64, b: f64) -> Result<Value, Fault> {
    Ok(Value::Float(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide if b == 0.0 => return Err(zero_division("float division by zero")),
        BinaryOp::Divide => a / b,
        BinaryOp::FloorDivide if b == 0.0 => return Err(zero_division("float floor division by zero")),
        BinaryOp::Percent if b == 0.0 => return Err(zero_division("float modulo")),
        BinaryOp::FloorDivide => floor_divide(a, b).0,
        BinaryOp::Percent => floor_divide(a, b).1,
        _ => return Err(unsupported(op, &Value::Float(a), &Value::Float(b))),
    }))
}

/// Quotient and rest as CPython computes them.
pub(super) fn floor_divide(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 {
        if (b < 0.0) != (rest < 0.0) {
            rest += b;
            quotient -= 1.0;
        }
    } else {
        rest = 0f64.copysign(b);
    }
    let floored = if quotient == 0.0 {
        0f64.copysign(a / b)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    };
    (floored, rest)
}

/// An int as the nearest float; too large is a fault, as in Python.
pub(super) fn to_float(value: &Value) -> Option<Result<f64, Fault>> {
    Some(match value {
        Value::Float(float) => Ok(*float),
        Value::Int(int) => Ok(*int as f64),
        Value::BigInt(int) => match int.to_f64() {
            Some(float) if float.is_finite() => Ok(float),
            _ => Err(Fault::new(EvalErrorKind::Overflow, "int too large to convert to float")),
        },
        _ => return None,
    })
}

pub(super) fn to_big(value: &Value) -> Option<BigInt> {
    match value {
        Value::Int(int) => Some(BigInt::from(*int)),
        Value::BigInt(int) => Some((**int).clone()),
        _ => None,
    }
}

fn general(op: BinaryOp, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    if let (BinaryOp::Percent, Value::Str(format)) = (op, a) {
        return super::percent_format(format, b, budget);
    }
    if let (Some(a), Some(b)) = (to_big(a), to_big(b)) {
        return big_ints(op, &a, &b, budget);
    }
    if let (Some(a), Some(b)) = (to_float(a), to_float(b)) {
        return floats(op, a?, b?);
    }
    match (op, a, b) {
        (BinaryOp::Add, Value::List(left), Value::List(right)) => {
            budget.values(left.len() + right.len())?;
            Ok(Value::list(left.iter().chain(right.iter()).cloned().collect()))
        }
        (BinaryOp::Add, Value::Tuple(left), Value::Tuple(right)) => {
            budget.values(left.len() + right.len())?;
            Ok(Value::tuple(left.iter().chain(right.iter()).cloned()))
        }
        (BinaryOp::Add, Value::Bytes(left), Value::Bytes(right)) => {
            budget.allocate((left.len() + right.len()) as u64)?;
            Ok(Value::Bytes([&left[..], &right[..]].concat().into()))
        }
        (BinaryOp::BitOr, Value::Dict(left), Value::Dict(right)) => {
            budget.values(2 * (left.len() + right.len()))?;
            let mut joined: Dict = (**left).clone();
            joined.extend(right.iter().map(|(key, value)| (key.clone(), value.clone())));
            Ok(Value::Dict(Arc::new(joined)))
        }
        (BinaryOp::Multiply, sequence, Value::Int(_) | Value::BigInt(_)) => repeat(sequence, b, a, b, budget),
        (BinaryOp::Multiply, Value::Int(_) | Value::BigInt(_), sequence) => repeat(sequence, a, a, b, budget),
        (BinaryOp::Add, Value::Str(_), other) => {
            Err(Fault::type_error(format!("can only concatenate str (not \"{}\") to str", other.type_name())))
        }
        (BinaryOp::Add, Value::List(_), other) => {
            Err(Fault::type_error(format!("can only concatenate list (not \"{}\") to list", other.type_name())))
        }
        (BinaryOp::Add, Value::Tuple(_), other) => {
            Err(Fault::type_error(format!("can only concatenate tuple (not \"{}\") to tuple", other.type_name())))
        }
        _ => Err(unsupported(op, a, b)),
    }
}

fn repeat(sequence: &Value, times: &Value, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    let times = match times {
        Value::Int(times) => u64::try_from(*times).unwrap_or(0),
        Value::BigInt(times) if times.is_negative() => 0,
        _ => u64::MAX,
    };
    let fits = |len: usize, size: usize, budget: &mut Budget| -> Result<usize, Fault> {
        budget.allocate((len as u64).saturating_mul(size as u64).saturating_mul(times))?;
        Ok(if len == 0 { 0 } else { times as usize })
    };
    match sequence {
        Value::Str(text) => {
            let times = fits(text.len(), 1, budget)?;
            Ok(Value::str(text.repeat(times)))
        }
        Value::Bytes(bytes) => {
            let times = fits(bytes.len(), 1, budget)?;
            Ok(Value::Bytes(bytes.repeat(times).into()))
        }
        Value::List(items) => {
            let times = fits(items.len(), size_of::<Value>(), budget)?;
            Ok(Value::list((0..times).flat_map(|_| items.iter().cloned()).collect()))
        }
        Value::Tuple(items) => {
            let times = fits(items.len(), size_of::<Value>(), budget)?;
            Ok(Value::tuple((0..times).flat_map(|_| items.iter().cloned())))
        }
        _ => Err(unsupported(BinaryOp::Multiply, a, b)),
    }
}

fn unsupported(op: BinaryOp, a: &Value, b: &Value) -> Fault {
    let symbol = match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::FloorDivide => "//",
        BinaryOp::Percent => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::LeftShift => "<<",
        BinaryOp::RightShift => ">>",
    };
    let types = format!("'{}' and '{}'", a.type_name(), b.type_name());
    Fault::type_error(format!("unsupported operand type(s) for {symbol}: {types}"))
}

pub fn negate(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(int) => Ok(int.checked_neg().map_or_else(|| Value::int(-BigInt::from(*int)), Value::Int)),
        Value::BigInt(int) => Ok(Value::int(-(**int).clone())),
        Value::Float(float) => Ok(Value::Float(-float)),
        other => Err(bad_operand("-", other)),
    }
}

pub fn plus(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => Ok(value.clone()),
        other => Err(bad_operand("+", other)),
    }
}

pub fn bit_not(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(int) => Ok(Value::Int(!int)),
        Value::BigInt(int) => Ok(Value::int(-(**int).clone() - 1)),
        other => Err(bad_operand("~", other)),
    }
}

fn bad_operand(symbol: &str, value: &Value) -> Fault {
    Fault::type_error(format!("bad operand type for unary {symbol}: '{}'", value.type_name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expr::Limits, model::text::repr};

    fn check(op: BinaryOp, a: Value, b: Value, expected: &str) {
        let mut budget = Budget::new(Limits::default());
        let found = match binary(op, &a, &b, &mut budget) {
            Ok(value) => repr(&value),
            Err(fault) => format!("{:?}: {}", fault.kind, fault.message),
        };
        assert_eq!(found, expected, "{a:?} {op:?} {b:?}");
    }

    #[test]
    fn ints_floor_as_python_does() {
        for (a, b, quotient, rest) in [(7, 2, "3", "1"), (-7, 2, "-4", "1"), (7, -2, "-4", "-1"), (-7, -2, "3", "-1")] {
            check(BinaryOp::FloorDivide, Value::Int(a), Value::Int(b), quotient);
            check(BinaryOp::Percent, Value::Int(a), Value::Int(b), rest);
        }
        check(BinaryOp::FloorDivide, Value::Int(i64::MIN), Value::Int(-1), "9223372036854775808");
        check(BinaryOp::Percent, Value::Int(5), Value::Int(0), "ZeroDivision: integer division or modulo by zero");
        check(BinaryOp::Divide, Value::Int(1), Value::Int(0), "ZeroDivision: division by zero");
    }

    #[test]
    fn floats_floor_as_python_does() {
        check(BinaryOp::FloorDivide, Value::Float(7.5), Value::Int(-2), "-4.0");
        check(BinaryOp::Percent, Value::Float(7.5), Value::Int(-2), "-0.5");
        check(BinaryOp::Percent, Value::Float(-1e-20), Value::Int(3), "3.0");
        check(BinaryOp::FloorDivide, Value::Float(0.0), Value::Int(-2), "-0.0");
    }

    #[test]
    fn overflow_leaves_64_bits_and_comes_back() {
        check(BinaryOp::Add, Value::Int(i64::MAX), Value::Int(1), "9223372036854775808");
        check(BinaryOp::Multiply, Value::Int(1 << 62), Value::Int(4), "18446744073709551616");
        let big = Value::int(BigInt::from(i64::MAX) + 1);
        check(BinaryOp::Subtract, big, Value::Int(1), "9223372036854775807");
        check(BinaryOp::LeftShift, Value::Int(1), Value::Int(70), "1180591620717411303424");
    }

    #[test]
    fn true_division_is_rounded_once() {
        let big = |text: &str| Value::int(text.parse::<BigInt>().unwrap());
        check(BinaryOp::Divide, big("100000000000000000000000000000000"), big("3"), "3.3333333333333334e+31");
        check(BinaryOp::Divide, Value::Int(9007199254740993), Value::Int(1), "9007199254740992.0");
        check(BinaryOp::Divide, Value::Int(-1), Value::Int(3), "-0.3333333333333333");
        let huge = Value::int(BigInt::from(1) << 2000u32);
        check(BinaryOp::Divide, huge.clone(), huge.clone(), "1.0");
        check(BinaryOp::Divide, huge, Value::Int(1), "Overflow: integer division result too large for a float");
    }

    #[test]
    fn repetition_asks_before_it_allocates() {
        let limit = "Limit: more than 268435456 bytes for one element";
        check(BinaryOp::Multiply, Value::str("a"), Value::Int(1 << 50), limit);
        check(BinaryOp::Multiply, Value::list(vec![Value::Int(0)]), Value::Int(1 << 50), limit);
        check(BinaryOp::LeftShift, Value::Int(1), Value::Int(1 << 50), limit);
        check(BinaryOp::Multiply, Value::str("ab"), Value::Int(2), "'abab'");
        check(BinaryOp::Multiply, Value::Int(-3), Value::str("ab"), "''");
    }

    #[test]
    fn wrong_types_are_named() {
        check(
            BinaryOp::Add,
            Value::Int(1),
            Value::str("a"),
            "Type: unsupported operand type(s) for +: 'int' and 'str'",
        );
        check(
            BinaryOp::Add,
            Value::Bool(true),
            Value::Int(1),
            "Type: unsupported operand type(s) for +: 'bool' and 'int'",
        );
        check(BinaryOp::Add, Value::str("a"), Value::Int(1), "Type: can only concatenate str (not \"int\") to str");
    }
}

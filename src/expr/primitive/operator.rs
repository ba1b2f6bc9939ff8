//! Operators: `+ - * / // % & | ^ << >>` and the unary ones.

use std::sync::Arc;

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

use super::{Budget, Fault, percent};
use crate::{expr::EvalErrorKind, model::Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Percent,
    BitAnd,
    BitOr,
    BitXor,
    LeftShift,
    RightShift,
}

impl BinaryOp {
    fn sign(self) -> &'static str {
        match self {
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
        }
    }
}

/// `a op b`
#[inline]
pub fn binary(op: BinaryOp, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    match (a, b) {
        (Value::Int(x), Value::Int(y)) => {
            let fast = match op {
                BinaryOp::Add => x.checked_add(*y),
                BinaryOp::Subtract => x.checked_sub(*y),
                BinaryOp::Multiply => x.checked_mul(*y),
                BinaryOp::FloorDivide if *y > 0 => Some(x.div_euclid(*y)),
                BinaryOp::Percent if *y > 0 => Some(x.rem_euclid(*y)),
                _ => None,
            };
            match fast {
                Some(result) => Ok(Value::Int(result)),
                None => integers(op, &BigInt::from(*x), &BigInt::from(*y), budget),
            }
        }
        (Value::Float(x), Value::Float(y)) => floats(op, *x, *y, a, b),
        _ => other(op, a, b, budget),
    }
}

#[inline(never)]
fn other(op: BinaryOp, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    if let (Some(x), Some(y)) = (big(a), big(b)) {
        return integers(op, &x, &y, budget);
    }
    match (a, b) {
        (Value::Float(x), b) if big(b).is_some() => return floats(op, *x, float(b)?, a, b),
        (a, Value::Float(y)) if big(a).is_some() => return floats(op, float(a)?, *y, a, b),
        _ => {}
    }
    match (op, a, b) {
        (BinaryOp::Add, Value::Str(x), Value::Str(y)) => {
            budget.allocate((x.len() + y.len()) as u64)?;
            let mut joined = String::with_capacity(x.len() + y.len());
            joined.push_str(x);
            joined.push_str(y);
            Ok(Value::Str(joined.into()))
        }
        (BinaryOp::Add, Value::Bytes(x), Value::Bytes(y)) => {
            budget.allocate((x.len() + y.len()) as u64)?;
            Ok(Value::Bytes([&x[..], &y[..]].concat().into()))
        }
        (BinaryOp::Add, Value::List(x), Value::List(y)) => {
            budget.elements(x.len() + y.len())?;
            Ok(Value::list([&x[..], &y[..]].concat()))
        }
        (BinaryOp::Add, Value::Tuple(x), Value::Tuple(y)) => {
            budget.elements(x.len() + y.len())?;
            Ok(Value::Tuple([&x[..], &y[..]].concat().into()))
        }
        (BinaryOp::Add, Value::Str(_) | Value::List(_) | Value::Tuple(_), b) => {
            Err(Fault::of_type(format!("can only concatenate {0} (not \"{1}\") to {0}", a.type_name(), b.type_name())))
        }
        (BinaryOp::Add, Value::Bytes(_), b) => Err(Fault::of_type(format!("can't concat {} to bytes", b.type_name()))),
        (BinaryOp::Multiply, sequence, count) if is_sequence(sequence) => repeat(sequence, count, budget),
        (BinaryOp::Multiply, count, sequence) if is_sequence(sequence) => repeat(sequence, count, budget),
        (BinaryOp::Percent, Value::Str(_) | Value::Bytes(_), arguments) => {
            percent::percent_format(a, arguments, budget)
        }
        (BinaryOp::BitOr, Value::Dict(x), Value::Dict(y)) => {
            budget.elements((x.len() + y.len()) * 2)?;
            let mut merged = (**x).clone();
            merged.extend(y.iter().map(|(key, value)| (key.clone(), value.clone())));
            Ok(Value::Dict(Arc::new(merged)))
        }
        (BinaryOp::BitAnd, Value::Bool(x), Value::Bool(y)) => Ok(Value::Bool(x & y)),
        (BinaryOp::BitOr, Value::Bool(x), Value::Bool(y)) => Ok(Value::Bool(x | y)),
        (BinaryOp::BitXor, Value::Bool(x), Value::Bool(y)) => Ok(Value::Bool(x ^ y)),
        _ => Err(unsupported(op, a, b)),
    }
}

fn unsupported(op: BinaryOp, a: &Value, b: &Value) -> Fault {
    let names = (a.type_name(), b.type_name());
    Fault::of_type(format!("unsupported operand type(s) for {}: '{}' and '{}'", op.sign(), names.0, names.1))
}

fn is_sequence(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_))
}

fn repeat(sequence: &Value, count: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    let count = match count {
        Value::Int(count) => (*count).max(0) as u64,
        Value::BigInt(big) if big.is_negative() => 0,
        Value::BigInt(_) => u64::MAX,
        other => {
            let message = format!("can't multiply sequence by non-int of type '{}'", other.type_name());
            return Err(Fault::of_type(message));
        }
    };
    let (len, size) = match sequence {
        Value::Str(text) => (text.len(), 1),
        Value::Bytes(bytes) => (bytes.len(), 1),
        Value::List(items) => (items.len(), 24),
        Value::Tuple(items) => (items.len(), 24),
        _ => (0, 1),
    };
    budget.allocate((len as u64).saturating_mul(size).saturating_mul(count))?;
    let count = if len == 0 { 0 } else { count as usize };
    Ok(match sequence {
        Value::Str(text) => Value::Str(text.repeat(count).into()),
        Value::Bytes(bytes) => Value::Bytes(bytes.repeat(count).into()),
        Value::List(items) => Value::list(repeated(items, count)),
        Value::Tuple(items) => Value::Tuple(repeated(items, count).into()),
        other => other.clone(),
    })
}

fn repeated(items: &[Value], count: usize) -> Vec<Value> {
    let mut all = Vec::with_capacity(items.len() * count);
    (0..count).for_each(|_| all.extend_from_slice(items));
    all
}

/// The integer, of any size; bool is none.
pub fn big(value: &Value) -> Option<BigInt> {
    match value {
        Value::Int(int) => Some(BigInt::from(*int)),
        Value::BigInt(big) => Some((**big).clone()),
        _ => None,
    }
}

/// A number as float.
pub fn float(value: &Value) -> Result<f64, Fault> {
    match value {
        Value::Float(float) => Ok(*float),
        Value::Int(int) => Ok(*int as f64),
        Value::BigInt(big) => match big.to_f64() {
            Some(float) if float.is_finite() => Ok(float),
            _ => Err(Fault::new(EvalErrorKind::Overflow, "int too large to convert to float")),
        },
        other => Err(Fault::of_type(format!("must be real number, not {}", other.type_name()))),
    }
}

fn zero(message: &str) -> Fault {
    Fault::new(EvalErrorKind::ZeroDivision, message)
}

fn integers(op: BinaryOp, a: &BigInt, b: &BigInt, budget: &mut Budget) -> Result<Value, Fault> {
    let bytes = |bits: u64| bits / 8 + 8;
    Ok(Value::int(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => {
            budget.allocate(bytes(a.bits() + b.bits()))?;
            // The work grows with both lengths.
            budget.steps((a.bits() / 64).saturating_mul(b.bits() / 64) / 64)?;
            a * b
        }
        BinaryOp::Divide => return divide(a, b).map(Value::Float),
        BinaryOp::FloorDivide => {
            if b.is_zero() {
                return Err(zero("integer division or modulo by zero"));
            }
            budget.steps((a.bits() / 64).saturating_mul(b.bits() / 64) / 64)?;
            div_mod(a, b).0
        }
        BinaryOp::Percent => {
            if b.is_zero() {
                return Err(zero("integer modulo by zero"));
            }
            budget.steps((a.bits() / 64).saturating_mul(b.bits() / 64) / 64)?;
            div_mod(a, b).1
        }
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        BinaryOp::LeftShift | BinaryOp::RightShift => {
            if b.is_negative() {
                return Err(Fault::of_value("negative shift count"));
            }
            if op == BinaryOp::RightShift {
                let by = b.to_u64().unwrap_or(u64::MAX).min(a.bits() + 1);
                a >> by
            } else if a.is_zero() {
                BigInt::zero()
            } else {
                let by = b.to_u64().unwrap_or(u64::MAX);
                budget.allocate(bytes(a.bits().saturating_add(by)))?;
                a << by
            }
        }
    }))
}

/// Quotient and remainder with the sign of the divisor; the divisor is not zero.
pub fn div_mod(a: &BigInt, b: &BigInt) -> (BigInt, BigInt) {
    let (quotient, rest) = (a / b, a % b);
    match !rest.is_zero() && rest.is_negative() != b.is_negative() {
        true => (quotient - 1, rest + b),
        false => (quotient, rest),
    }
}

/// `a / b`, the float nearest to the exact quotient.
fn divide(a: &BigInt, b: &BigInt) -> Result<f64, Fault> {
    const EXACT: u64 = 53;
    if b.is_zero() {
        return Err(zero("division by zero"));
    }
    if a.bits() <= EXACT && b.bits() <= EXACT {
        return Ok(a.to_f64().unwrap_or_default() / b.to_f64().unwrap_or(1.0));
    }
    let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    let (a, b) = (a.abs(), b.abs());
    // A quotient of at least 64 bits, its last bit also standing for all that follow; no more bits than a float of that
    // size has, so that it is rounded once.
    let size = a.bits() as i64 - b.bits() as i64;
    let shift = (66 - size).min(1074 + 2);
    let (scaled, divisor) = match shift >= 0 {
        true => (a << shift as u64, b),
        false => (a, b << (-shift) as u64),
    };
    let (quotient, rest) = (&scaled / &divisor, &scaled % &divisor);
    let sticky = quotient | BigInt::from(u8::from(!rest.is_zero()));
    let nearest = scale(sticky.to_u128().unwrap_or(u128::MAX), -shift);
    match nearest.is_finite() {
        true => Ok(if negative { -nearest } else { nearest }),
        false => Err(Fault::new(EvalErrorKind::Overflow, "integer division result too large for a float")),
    }
}

/// `mantissa * 2^exponent`, rounded once.
fn scale(mantissa: u128, exponent: i64) -> f64 {
    let bits = i64::from(128 - mantissa.leading_zeros());
    // Bits of the result: 53, fewer where it is subnormal.
    let keep = 53.min(bits + exponent + 1074).max(0);
    let drop = (bits - keep).max(0) as u32;
    if drop >= 128 {
        return 0.0;
    }
    let (kept, rest) = (mantissa >> drop, mantissa & ((1u128 << drop) - 1));
    let half = if drop == 0 { 1 } else { 1u128 << (drop - 1) };
    let up = drop > 0 && (rest > half || (rest == half && kept & 1 == 1));
    let rounded = (kept + u128::from(up)) as f64;
    let power = exponent + i64::from(drop);
    // Two exact steps: a power of two may be beyond a float where the product is not.
    let first = (power / 2) as i32;
    rounded * 2f64.powi(first) * 2f64.powi(power as i32 - first)
}

fn floats(op: BinaryOp, x: f64, y: f64, a: &Value, b: &Value) -> Result<Value, Fault> {
    Ok(Value::Float(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Subtract => x - y,
        BinaryOp::Multiply => x * y,
        BinaryOp::Divide if y == 0.0 => return Err(zero("float division by zero")),
        BinaryOp::Divide => x / y,
        BinaryOp::FloorDivide if y == 0.0 => return Err(zero("float floor division by zero")),
        BinaryOp::FloorDivide => float_div_mod(x, y).0,
        BinaryOp::Percent if y == 0.0 => return Err(zero("float modulo")),
        BinaryOp::Percent => float_div_mod(x, y).1,
        _ => return Err(unsupported(op, a, b)),
    }))
}

/// Python's floor division and modulo of floats; `y` is not zero.
pub fn float_div_mod(x: f64, y: f64) -> (f64, f64) {
    let mut rest = x % y;
    let mut quotient = (x - rest) / y;
    if rest != 0.0 {
        if (y < 0.0) != (rest < 0.0) {
            rest += y;
            quotient -= 1.0;
        }
    } else {
        rest = 0f64.copysign(y);
    }
    let floor = match quotient != 0.0 {
        true => {
            let floor = quotient.floor();
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
        false => 0f64.copysign(x / y),
    };
    (floor, rest)
}

/// `-value`
pub fn negate(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(int) => Ok(int.checked_neg().map_or_else(|| Value::int(-BigInt::from(*int)), Value::Int)),
        Value::BigInt(big) => Ok(Value::int(-(**big).clone())),
        Value::Float(float) => Ok(Value::Float(-float)),
        other => Err(bad_operand("-", other)),
    }
}

/// `+value`
pub fn plus(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => Ok(value.clone()),
        other => Err(bad_operand("+", other)),
    }
}

/// `~value`
pub fn bit_not(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(int) => Ok(Value::Int(!int)),
        Value::BigInt(big) => Ok(Value::int(!(**big).clone())),
        other => Err(bad_operand("~", other)),
    }
}

fn bad_operand(sign: &str, value: &Value) -> Fault {
    Fault::of_type(format!("bad operand type for unary {sign}: '{}'", value.type_name()))
}

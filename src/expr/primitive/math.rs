//! The module `math`.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::{
    Arguments, Arities, BuiltinFn, Caller, Fault,
    number::truncate,
    operator::{to_big, to_float},
};
use crate::{expr::EvalErrorKind, model::Value};

pub const MEMBERS: Arities = &[
    ("acos", 1, Some(1)),
    ("asin", 1, Some(1)),
    ("atan", 1, Some(1)),
    ("atan2", 2, Some(2)),
    ("ceil", 1, Some(1)),
    ("copysign", 2, Some(2)),
    ("cos", 1, Some(1)),
    ("degrees", 1, Some(1)),
    ("exp", 1, Some(1)),
    ("fabs", 1, Some(1)),
    ("factorial", 1, Some(1)),
    ("floor", 1, Some(1)),
    ("fmod", 2, Some(2)),
    ("gcd", 0, None),
    ("hypot", 0, None),
    ("isfinite", 1, Some(1)),
    ("isinf", 1, Some(1)),
    ("isnan", 1, Some(1)),
    ("lcm", 0, None),
    ("log", 1, Some(2)),
    ("log10", 1, Some(1)),
    ("log2", 1, Some(1)),
    ("pow", 2, Some(2)),
    ("radians", 1, Some(1)),
    ("sin", 1, Some(1)),
    ("sqrt", 1, Some(1)),
    ("tan", 1, Some(1)),
    ("trunc", 1, Some(1)),
];

pub fn constant(name: &str) -> Option<Value> {
    Some(Value::Float(match name {
        "pi" => std::f64::consts::PI,
        "e" => std::f64::consts::E,
        "tau" => std::f64::consts::TAU,
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => return None,
    }))
}

pub fn member(name: &str) -> Option<BuiltinFn> {
    Some(match name {
        "acos" => |a, _| real("acos", a, f64::acos),
        "asin" => |a, _| real("asin", a, f64::asin),
        "atan" => |a, _| real("atan", a, f64::atan),
        "atan2" => |a, _| two("atan2", a, f64::atan2),
        "ceil" => |a, _| whole("ceil", a, f64::ceil),
        "copysign" => |a, _| two("copysign", a, f64::copysign),
        "cos" => |a, _| real("cos", a, f64::cos),
        "degrees" => |a, _| Ok(Value::Float(one("degrees", a)?.to_degrees())),
        "exp" => |a, _| real("exp", a, f64::exp),
        "fabs" => |a, _| real("fabs", a, f64::abs),
        "factorial" => factorial,
        "floor" => |a, _| whole("floor", a, f64::floor),
        "fmod" => |a, _| two("fmod", a, |x, y| x % y),
        "gcd" => |a, c| fold(a, c, BigInt::zero(), gcd),
        "hypot" => hypot,
        "isfinite" => |a, _| Ok(Value::Bool(one("isfinite", a)?.is_finite())),
        "isinf" => |a, _| Ok(Value::Bool(one("isinf", a)?.is_infinite())),
        "isnan" => |a, _| Ok(Value::Bool(one("isnan", a)?.is_nan())),
        "lcm" => |a, c| {
            fold(a, c, BigInt::from(1), |a, b| {
                if a.is_zero() || b.is_zero() { BigInt::zero() } else { (&a / gcd(a.clone(), b.clone()) * b).abs() }
            })
        },
        "log" => log,
        "log10" => |a, _| logarithm("log10", a.take("log10", ["x"], 1)?[0], f64::log10),
        "log2" => |a, _| logarithm("log2", a.take("log2", ["x"], 1)?[0], f64::log2),
        "pow" => |a, _| two("pow", a, f64::powf),
        "radians" => |a, _| real("radians", a, f64::to_radians),
        "sin" => |a, _| real("sin", a, f64::sin),
        "sqrt" => |a, _| real("sqrt", a, f64::sqrt),
        "tan" => |a, _| real("tan", a, f64::tan),
        "trunc" => |a, _| whole("trunc", a, f64::trunc),
        _ => return None,
    })
}

fn float(value: Option<&Value>) -> Result<f64, Fault> {
    let value = value.unwrap_or(&Value::None);
    to_float(value).unwrap_or_else(|| Err(Fault::type_error(format!("must be real number, not {}", value.type_name()))))
}

fn one(name: &str, arguments: &Arguments<'_>) -> Result<f64, Fault> {
    float(arguments.take(name, ["x"], 1)?[0])
}

/// A result that is no number, of arguments that are, is outside the function's domain; an infinite one is too large.
fn checked(result: f64, arguments_finite: bool, arguments_nan: bool) -> Result<Value, Fault> {
    if result.is_nan() && !arguments_nan {
        return Err(Fault::value_error("math domain error"));
    }
    if result.is_infinite() && arguments_finite {
        return Err(Fault::new(EvalErrorKind::Overflow, "math range error"));
    }
    Ok(Value::Float(result))
}

fn real(name: &str, arguments: &Arguments<'_>, function: fn(f64) -> f64) -> Result<Value, Fault> {
    let x = one(name, arguments)?;
    checked(function(x), x.is_finite(), x.is_nan())
}

fn two(name: &str, arguments: &Arguments<'_>, function: fn(f64, f64) -> f64) -> Result<Value, Fault> {
    let [x, y] = arguments.take(name, ["x", "y"], 2)?;
    let (x, y) = (float(x)?, float(y)?);
    if name == "pow" && x == 0.0 && y < 0.0 {
        return Err(Fault::value_error("math domain error"));
    }
    checked(function(x, y), x.is_finite() && y.is_finite(), x.is_nan() || y.is_nan())
}

fn whole(name: &str, arguments: &Arguments<'_>, function: fn(f64) -> f64) -> Result<Value, Fault> {
    match arguments.take(name, ["x"], 1)?[0] {
        Some(int @ (Value::Int(_) | Value::BigInt(_))) => Ok(int.clone()),
        other => truncate(function(float(other)?)),
    }
}

fn logarithm(name: &str, value: Option<&Value>, function: fn(f64) -> f64) -> Result<Value, Fault> {
    let value = value.unwrap_or(&Value::None);
    // Ints past the largest float have logarithms, too.
    if let Value::BigInt(int) = value
        && int.is_positive()
    {
        let shift = int.bits().saturating_sub(64);
        let top = (&**int >> shift).to_f64().unwrap_or(f64::NAN);
        return Ok(Value::Float(function(top) + shift as f64 * function(2.0)));
    }
    let x = float(Some(value))?;
    if x <= 0.0 {
        return Err(Fault::value_error("math domain error"));
    }
    let _ = name;
    Ok(Value::Float(function(x)))
}

fn log(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [x, base] = arguments.take("log", ["x", "base"], 1)?;
    let number = logarithm("log", x, f64::ln)?;
    let (Value::Float(number), Some(base)) = (&number, base) else { return Ok(number) };
    match logarithm("log", Some(base), f64::ln)? {
        Value::Float(0.0) => Err(Fault::new(EvalErrorKind::ZeroDivision, "float division by zero")),
        Value::Float(base) => Ok(Value::Float(number / base)),
        other => Ok(other),
    }
}

fn hypot(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let parts: Vec<f64> = arguments.positional.iter().map(|value| float(Some(value))).collect::<Result<_, _>>()?;
    Ok(Value::Float(parts.into_iter().fold(0.0, f64::hypot)))
}

fn integer(value: &Value) -> Result<BigInt, Fault> {
    to_big(value)
        .ok_or_else(|| Fault::type_error(format!("'{}' object cannot be interpreted as an integer", value.type_name())))
}

fn gcd(a: BigInt, b: BigInt) -> BigInt {
    let (mut a, mut b) = (a.abs(), b.abs());
    while !b.is_zero() {
        (a, b) = (b.clone(), a % b);
    }
    a
}

fn fold(
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    start: BigInt,
    join: fn(BigInt, BigInt) -> BigInt,
) -> Result<Value, Fault> {
    let mut result = start;
    for value in arguments.positional {
        let value = integer(value)?;
        caller.budget().steps(value.bits() / 8 + 1)?;
        result = join(result, value);
    }
    Ok(Value::int(result))
}

fn factorial(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let value = integer(arguments.take("factorial", ["n"], 1)?[0].unwrap_or(&Value::None))?;
    if value.is_negative() {
        return Err(Fault::value_error("factorial() not defined for negative values"));
    }
    let n = value.to_u64().unwrap_or(u64::MAX);
    // The result has about n * log2(n) bits.
    caller.budget().allocate(n.saturating_mul(u64::from(64 - n.leading_zeros())) / 8)?;
    caller.budget().steps(n.saturating_mul(n / 64 + 1))?;
    Ok(Value::int((2..=n).fold(BigInt::from(1), |product, factor| product * factor)))
}

//! The module `math`.

use num_bigint::BigInt;
use num_traits::Zero;

use super::{
    Arguments, Caller, Entry, Fault,
    argument::{one, take},
    builtin::power,
    convert::float_to_int,
    operator::{big, float},
};
use crate::{expr::EvalErrorKind, model::Value};

pub const CONSTANTS: &[&str] = &["pi", "e", "tau", "inf", "nan"];

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

macro_rules! function {
    ($name:literal, $function:expr) => {
        (concat!("math.", $name), |arguments, _| real($name, arguments, $function), 1, Some(1))
    };
}

macro_rules! test {
    ($name:literal, $test:expr) => {
        (
            concat!("math.", $name),
            |arguments, _| {
                let test: fn(f64) -> bool = $test;
                Ok(Value::Bool(test(float(one($name, arguments)?)?)))
            },
            1,
            Some(1),
        )
    };
}

pub const ENTRIES: &[Entry] = &[
    ("math.floor", |arguments, _| whole("floor", arguments, f64::floor), 1, Some(1)),
    ("math.ceil", |arguments, _| whole("ceil", arguments, f64::ceil), 1, Some(1)),
    ("math.trunc", |arguments, _| whole("trunc", arguments, f64::trunc), 1, Some(1)),
    function!("sqrt", f64::sqrt),
    function!("exp", f64::exp),
    function!("fabs", f64::abs),
    function!("sin", f64::sin),
    function!("cos", f64::cos),
    function!("tan", f64::tan),
    function!("asin", f64::asin),
    function!("acos", f64::acos),
    function!("atan", f64::atan),
    function!("sinh", f64::sinh),
    function!("cosh", f64::cosh),
    function!("tanh", f64::tanh),
    function!("degrees", f64::to_degrees),
    function!("radians", f64::to_radians),
    function!("log2", |x| if x > 0.0 { x.log2() } else { f64::NAN }),
    function!("log10", |x| if x > 0.0 { x.log10() } else { f64::NAN }),
    function!("log1p", |x| if x > -1.0 { x.ln_1p() } else { f64::NAN }),
    function!("expm1", f64::exp_m1),
    test!("isnan", f64::is_nan),
    test!("isinf", f64::is_infinite),
    test!("isfinite", f64::is_finite),
    ("math.log", log, 1, Some(2)),
    ("math.pow", |arguments, _| two("pow", arguments).and_then(|(a, b)| power(a, b)), 2, Some(2)),
    ("math.atan2", |arguments, _| two("atan2", arguments).map(|(a, b)| Value::Float(a.atan2(b))), 2, Some(2)),
    ("math.copysign", |arguments, _| two("copysign", arguments).map(|(a, b)| Value::Float(a.copysign(b))), 2, Some(2)),
    ("math.fmod", fmod, 2, Some(2)),
    ("math.hypot", hypot, 0, None),
    ("math.gcd", gcd, 0, None),
];

fn domain() -> Fault {
    Fault::of_value("math domain error")
}

/// A function of a real number: a result that is no number is an error, as is one that is too large.
fn real(name: &str, arguments: &Arguments<'_>, function: fn(f64) -> f64) -> Result<Value, Fault> {
    let x = float(one(name, arguments)?)?;
    checked(x, function(x)).map(Value::Float)
}

fn checked(x: f64, result: f64) -> Result<f64, Fault> {
    if result.is_nan() && !x.is_nan() {
        return Err(domain());
    }
    match result.is_infinite() && x.is_finite() {
        true => Err(Fault::new(EvalErrorKind::Overflow, "math range error")),
        false => Ok(result),
    }
}

fn whole(name: &str, arguments: &Arguments<'_>, function: fn(f64) -> f64) -> Result<Value, Fault> {
    match one(name, arguments)? {
        int @ (Value::Int(_) | Value::BigInt(_)) => Ok(int.clone()),
        other => float_to_int(function(float(other)?)),
    }
}

fn two(name: &str, arguments: &Arguments<'_>) -> Result<(f64, f64), Fault> {
    match take(name, arguments, ["", ""], 2)? {
        [Some(a), Some(b)] => Ok((float(a)?, float(b)?)),
        _ => Err(domain()),
    }
}

fn log(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(x), base] = take("log", arguments, ["", ""], 1)? else { return Ok(Value::None) };
    let ln = |value: &Value| -> Result<f64, Fault> {
        let number = match (float(value), big(value)) {
            // Beyond floats: by the number of bits.
            (Err(_), Some(big)) if big > BigInt::zero() => {
                let shift = big.bits().saturating_sub(64);
                let head = float(&Value::int(big >> shift))?;
                return Ok(head.ln() + shift as f64 * std::f64::consts::LN_2);
            }
            (number, _) => number?,
        };
        if number > 0.0 || number.is_nan() { Ok(number.ln()) } else { Err(domain()) }
    };
    let x = ln(x)?;
    match base {
        None => Ok(Value::Float(x)),
        Some(base) => match ln(base)? {
            0.0 => Err(Fault::new(EvalErrorKind::ZeroDivision, "float division by zero")),
            base => Ok(Value::Float(x / base)),
        },
    }
}

fn fmod(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let (x, y) = two("fmod", arguments)?;
    match (y == 0.0 || x.is_infinite()) && !x.is_nan() && !y.is_nan() {
        true => Err(domain()),
        false => Ok(Value::Float(x % y)),
    }
}

fn hypot(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let mut length = 0f64;
    for value in arguments.positional {
        length = length.hypot(float(value)?);
    }
    Ok(Value::Float(length))
}

fn gcd(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut divisor = BigInt::zero();
    for value in arguments.positional {
        let mut other = big(value).ok_or_else(|| {
            Fault::of_type(format!("'{}' object cannot be interpreted as an integer", value.type_name()))
        })?;
        while !other.is_zero() {
            caller.budget().steps(1 + other.bits() / 64)?;
            let rest = &divisor % &other;
            divisor = std::mem::replace(&mut other, rest);
        }
    }
    Ok(Value::int(if divisor < BigInt::zero() { -divisor } else { divisor }))
}

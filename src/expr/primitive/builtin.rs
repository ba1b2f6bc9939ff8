//! The builtins by name; those over several elements are in `collect`, conversions in `convert`.

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::{
    Arguments, Caller, Entry, Fault,
    argument::{int, one, take, text},
    collect, convert, operator,
    range::{self, Range},
};
use crate::{
    expr::EvalErrorKind,
    model::{Struct, Value, text::repr},
};

/// Name, function, fewest and most positional arguments.
pub const ENTRIES: &[Entry] = &[
    ("abs", abs, 1, Some(1)),
    ("all", collect::all, 1, Some(1)),
    ("any", collect::any, 1, Some(1)),
    ("bool", convert::to_bool, 0, Some(1)),
    ("bytes", convert::to_bytes, 0, Some(2)),
    ("chr", convert::chr, 1, Some(1)),
    ("dict", collect::dict, 0, Some(1)),
    ("dir", dir, 1, Some(1)),
    ("divmod", divmod, 2, Some(2)),
    ("enumerate", collect::enumerate, 1, Some(2)),
    ("fail", fail, 0, None),
    ("filter", collect::filter, 2, Some(2)),
    ("float", convert::to_float, 0, Some(1)),
    ("getattr", getattr, 2, Some(3)),
    ("hasattr", hasattr, 2, Some(2)),
    ("hash", convert::hash, 1, Some(1)),
    ("int", convert::to_int, 0, Some(2)),
    ("len", len, 1, Some(1)),
    ("list", collect::list, 0, Some(1)),
    ("map", collect::map, 2, None),
    ("max", collect::max, 1, None),
    ("min", collect::min, 1, None),
    ("ord", convert::ord, 1, Some(1)),
    ("pow", pow, 2, Some(3)),
    ("range", range, 1, Some(3)),
    ("repr", convert::to_repr, 1, Some(1)),
    ("reversed", collect::reversed, 1, Some(1)),
    ("round", convert::round, 1, Some(2)),
    ("sorted", collect::sorted, 1, Some(1)),
    ("str", convert::to_str, 0, Some(1)),
    ("struct", make_struct, 0, Some(0)),
    ("sum", collect::sum, 1, Some(2)),
    ("tuple", collect::tuple, 0, Some(1)),
    ("type", type_of, 1, Some(1)),
    ("zip", collect::zip, 0, None),
];

fn abs(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match one("abs", arguments)? {
        Value::Int(int) => Ok(int.checked_abs().map_or_else(|| Value::int(BigInt::from(*int).abs()), Value::Int)),
        Value::BigInt(big) => Ok(Value::int(big.abs())),
        Value::Float(float) => Ok(Value::Float(float.abs())),
        other => Err(Fault::of_type(format!("bad operand type for abs(): '{}'", other.type_name()))),
    }
}

fn len(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let value = one("len", arguments)?;
    let count = match value {
        Value::Str(text) if text.is_ascii() => text.len(),
        Value::Str(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Tuple(items) => items.len(),
        Value::Dict(dict) => dict.len(),
        Value::Record(_) => 2,
        other => match range::of(other) {
            Some(range) => usize::try_from(range.len()).unwrap_or(usize::MAX),
            None => return Err(Fault::of_type(format!("object of type '{}' has no len()", other.type_name()))),
        },
    };
    Ok(Value::Int(count as i64))
}

fn fail(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let mut message = String::new();
    for (idx, value) in arguments.positional.iter().enumerate() {
        message.push_str(if idx > 0 { " " } else { "" });
        crate::model::text::put_str(&mut message, value);
    }
    Err(Fault::new(EvalErrorKind::Failed, message))
}

fn type_of(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::str(one("type", arguments)?.type_name()))
}

fn make_struct(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    if !arguments.positional.is_empty() {
        return Err(Fault::of_type("struct() takes named arguments only"));
    }
    let mut fields = arguments.named.to_vec();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Struct(Arc::new(Struct { fields })))
}

fn range(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let (start, stop, step) = match arguments.positional {
        [stop] if arguments.named.is_empty() => (0, int(stop)?, 1),
        [start, stop] if arguments.named.is_empty() => (int(start)?, int(stop)?, 1),
        [start, stop, step] if arguments.named.is_empty() => (int(start)?, int(stop)?, int(step)?),
        [] => return Err(Fault::of_type("range expected at least 1 argument, got 0")),
        more if arguments.named.is_empty() => {
            return Err(Fault::of_type(format!("range expected at most 3 arguments, got {}", more.len())));
        }
        _ => return Err(Fault::of_type("range() takes no keyword arguments")),
    };
    match step {
        0 => Err(Fault::of_value("range() arg 3 must not be zero")),
        step => Ok(Value::Opaque(Arc::new(Range { start, stop, step }))),
    }
}

fn name_of<'a>(function: &str, value: &'a Value) -> Result<&'a str, Fault> {
    text(value, |name| format!("{function}(): attribute name must be string, not '{name}'"))
}

fn getattr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(of), Some(name), default] = take("getattr", arguments, ["", "", ""], 2)? else {
        return Ok(Value::None);
    };
    match (super::attribute(of, name_of("getattr", name)?), default) {
        (Err(fault), Some(default)) if fault.kind == EvalErrorKind::Attribute => Ok(default.clone()),
        (result, _) => result,
    }
}

fn hasattr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(of), Some(name)] = take("hasattr", arguments, ["", ""], 2)? else { return Ok(Value::None) };
    let name = name_of("hasattr", name)?;
    Ok(Value::Bool(super::attribute(of, name).is_ok() || super::method(of.type_name(), name).is_some()))
}

fn dir(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let value = one("dir", arguments)?;
    let mut names: Vec<&str> = match value {
        Value::Record(_) => vec!["headers", "key", "offset", "partition", "timestamp", "topic", "value"],
        Value::Struct(fields) => fields.fields.iter().map(|(name, _)| name.as_str()).collect(),
        other => {
            super::method_names().into_iter().filter(|name| super::method(other.type_name(), name).is_some()).collect()
        }
    };
    names.sort_unstable();
    names.dedup();
    Ok(Value::list(names.into_iter().map(Value::str).collect()))
}

fn divmod(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(a), Some(b)] = take("divmod", arguments, ["", ""], 2)? else { return Ok(Value::None) };
    if let (Some(a), Some(b)) = (operator::big(a), operator::big(b)) {
        if b.is_zero() {
            return Err(Fault::new(EvalErrorKind::ZeroDivision, "integer division or modulo by zero"));
        }
        caller.budget().steps((a.bits() / 64).saturating_mul(b.bits() / 64) / 64)?;
        let (quotient, rest) = operator::div_mod(&a, &b);
        return Ok(Value::pair(Value::int(quotient), Value::int(rest)));
    }
    match (operator::float(a), operator::float(b)) {
        (Ok(_), Ok(0.0)) => Err(Fault::new(EvalErrorKind::ZeroDivision, "float divmod()")),
        (Ok(a), Ok(b)) => {
            let (quotient, rest) = operator::float_div_mod(a, b);
            Ok(Value::pair(Value::Float(quotient), Value::Float(rest)))
        }
        _ => {
            let (a, b) = (a.type_name(), b.type_name());
            Err(Fault::of_type(format!("unsupported operand type(s) for divmod(): '{a}' and '{b}'")))
        }
    }
}

fn pow(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(base), Some(exponent), modulus] = take("pow", arguments, ["base", "exp", "mod"], 2)? else {
        return Ok(Value::None);
    };
    let unsupported = || {
        let (a, b) = (base.type_name(), exponent.type_name());
        Fault::of_type(format!("unsupported operand type(s) for ** or pow(): '{a}' and '{b}'"))
    };
    let integers = (operator::big(base), operator::big(exponent));
    if let Some(modulus) = modulus.filter(|modulus| !matches!(modulus, Value::None)) {
        let ((Some(a), Some(b)), Some(m)) = (integers, operator::big(modulus)) else { return Err(unsupported()) };
        if m.is_zero() {
            return Err(Fault::of_value("pow() 3rd argument cannot be 0"));
        }
        if b.is_negative() {
            return Err(Fault::of_value("pow() with a negative exponent and a modulus is not known"));
        }
        let words = m.bits() / 64 + 1;
        caller.budget().steps(b.bits().saturating_mul(words).saturating_mul(words))?;
        let power = a.modpow(&b, &m);
        return Ok(Value::int(power));
    }
    match integers {
        (Some(a), Some(b)) if !b.is_negative() => {
            if b.is_zero() || a.is_one() {
                return Ok(Value::Int(1));
            }
            if a.is_zero() {
                return Ok(Value::Int(0));
            }
            let odd = b.bit(0);
            if a.abs().is_one() {
                return Ok(Value::Int(if odd { -1 } else { 1 }));
            }
            let exponent = b.to_u64().unwrap_or(u64::MAX);
            let bits = a.bits().saturating_mul(exponent);
            caller.budget().allocate(bits / 8)?;
            caller.budget().steps((bits / 64).saturating_mul(bits / 64) / 64)?;
            Ok(Value::int(a.pow(exponent as u32)))
        }
        _ => {
            let (Ok(a), Ok(b)) = (operator::float(base), operator::float(exponent)) else {
                return Err(match (base, exponent) {
                    (Value::BigInt(_), _) | (_, Value::BigInt(_)) => {
                        Fault::new(EvalErrorKind::Overflow, "int too large to convert to float")
                    }
                    _ => unsupported(),
                });
            };
            power(a, b)
        }
    }
}

/// `pow` of floats.
pub fn power(a: f64, b: f64) -> Result<Value, Fault> {
    if a == 0.0 && b < 0.0 {
        let message = "0.0 cannot be raised to a negative power";
        return Err(Fault::new(EvalErrorKind::ZeroDivision, message));
    }
    let result = a.powf(b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(Fault::new(EvalErrorKind::Overflow, "(34, 'Numerical result out of range')"));
    }
    if result.is_nan() && !a.is_nan() && !b.is_nan() {
        return Err(Fault::of_value("a negative number has no fractional power here"));
    }
    Ok(Value::Float(result))
}

/// For messages: `repr` of a value, cut where it is long.
pub fn shown(value: &Value) -> String {
    let text = repr(value);
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

//! The builtin functions.

use std::{cmp::Ordering, sync::Arc};

use num_traits::{Signed, ToPrimitive};
use smol_str::SmolStr;

use super::{
    Arguments, Arities, BinaryOp, BuiltinFn, Caller, CompareOp, Fault, binary, compare,
    compare::key,
    equal, iterate, new_str,
    number::{parse_float, parse_int, round, truncate},
    operator::{floor_divide, to_big, to_float},
    range, truthy,
};
use crate::{
    expr::EvalErrorKind,
    model::{
        Dict, Struct, Value,
        text::{put_repr, put_str},
    },
};

/// Name, least and most positional arguments.
pub const BUILTINS: Arities = &[
    ("abs", 1, Some(1)),
    ("all", 1, Some(1)),
    ("any", 1, Some(1)),
    ("bin", 1, Some(1)),
    ("bool", 0, Some(1)),
    ("bytes", 0, Some(2)),
    ("chr", 1, Some(1)),
    ("dict", 0, Some(1)),
    ("divmod", 2, Some(2)),
    ("enumerate", 1, Some(2)),
    ("fail", 0, None),
    ("filter", 2, Some(2)),
    ("float", 0, Some(1)),
    ("getattr", 2, Some(3)),
    ("hasattr", 2, Some(2)),
    ("hash", 1, Some(1)),
    ("hex", 1, Some(1)),
    ("int", 0, Some(2)),
    ("len", 1, Some(1)),
    ("list", 0, Some(1)),
    ("map", 2, None),
    ("max", 1, None),
    ("min", 1, None),
    ("oct", 1, Some(1)),
    ("ord", 1, Some(1)),
    ("pow", 2, Some(3)),
    ("range", 1, Some(3)),
    ("repr", 1, Some(1)),
    ("reversed", 1, Some(1)),
    ("round", 1, Some(2)),
    ("sorted", 1, Some(1)),
    ("str", 0, Some(1)),
    ("struct", 0, Some(0)),
    ("sum", 1, Some(2)),
    ("tuple", 0, Some(1)),
    ("type", 1, Some(1)),
    ("zip", 0, None),
];

pub fn builtin(name: &str) -> Option<BuiltinFn> {
    Some(match name {
        "abs" => abs,
        "all" => |a, c| Ok(Value::Bool(sequence("all", a, c)?.iter().all(truthy))),
        "any" => |a, c| Ok(Value::Bool(sequence("any", a, c)?.iter().any(truthy))),
        "bin" => |a, c| in_base("bin", a, c, 2, "0b"),
        "bool" => |a, _| Ok(Value::Bool(a.take("bool", ["x"], 0)?[0].is_some_and(truthy))),
        "bytes" => bytes,
        "chr" => chr,
        "dict" => dict,
        "divmod" => divmod,
        "enumerate" => enumerate,
        "fail" => fail,
        "filter" => filter,
        "float" => float,
        "getattr" => getattr,
        "hasattr" => hasattr,
        "hash" => hash,
        "hex" => |a, c| in_base("hex", a, c, 16, "0x"),
        "int" => int,
        "len" => len,
        "list" => |a, c| Ok(Value::list(optional_sequence("list", a, c)?)),
        "map" => map,
        "max" => |a, c| extreme("max", CompareOp::Greater, a, c),
        "min" => |a, c| extreme("min", CompareOp::Less, a, c),
        "oct" => |a, c| in_base("oct", a, c, 8, "0o"),
        "ord" => ord,
        "pow" => pow,
        "range" => make_range,
        "repr" => repr,
        "reversed" => |a, c| {
            let mut items = sequence("reversed", a, c)?;
            items.reverse();
            Ok(Value::list(items))
        },
        "round" => |a, _| {
            let [number, digits] = a.take("round", ["number", "ndigits"], 1)?;
            let digits = match digits {
                None | Some(Value::None) => None,
                Some(Value::Int(digits)) => Some(*digits),
                Some(other) => return Err(not_an_integer(other)),
            };
            round(number.unwrap_or(&Value::None), digits)
        },
        "sorted" => sorted,
        "str" => text,
        "struct" => make_struct,
        "sum" => sum,
        "tuple" => |a, c| Ok(Value::Tuple(optional_sequence("tuple", a, c)?.into())),
        "type" => |a, _| Ok(Value::str(a.take("type", ["x"], 1)?[0].map_or("NoneType", Value::type_name))),
        "zip" => zip,
        _ => return None,
    })
}

fn one<'a>(function: &str, arguments: &Arguments<'a>) -> Result<&'a Value, Fault> {
    let message = || {
        let given = arguments.positional.len();
        Fault::type_error(format!("{function}() takes exactly one argument ({given} given)"))
    };
    match (arguments.positional, arguments.named) {
        ([value], []) => Ok(value),
        _ => Err(message()),
    }
}

fn sequence(function: &str, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Vec<Value>, Fault> {
    iterate(one(function, arguments)?, caller.budget())
}

fn optional_sequence(function: &str, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Vec<Value>, Fault> {
    match arguments.take(function, ["iterable"], 0)? {
        [Some(value)] => iterate(value, caller.budget()),
        [None] => Ok(Vec::new()),
    }
}

fn not_an_integer(value: &Value) -> Fault {
    Fault::type_error(format!("'{}' object cannot be interpreted as an integer", value.type_name()))
}

fn abs(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match one("abs", arguments)? {
        Value::Float(float) => Ok(Value::Float(float.abs())),
        other => match to_big(other) {
            Some(int) => Ok(Value::int(int.abs())),
            None => Err(Fault::type_error(format!("bad operand type for abs(): '{}'", other.type_name()))),
        },
    }
}

fn in_base(
    function: &str,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    base: u32,
    prefix: &str,
) -> Result<Value, Fault> {
    let value = one(function, arguments)?;
    let int = to_big(value).ok_or_else(|| not_an_integer(value))?;
    let sign = if int.is_negative() { "-" } else { "" };
    new_str(format!("{sign}{prefix}{}", int.abs().to_str_radix(base)), caller.budget())
}

fn bytes(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [source, encoding] = arguments.take("bytes", ["source", "encoding"], 0)?;
    match (source, encoding) {
        (None, _) => Ok(Value::Bytes(Arc::from([]))),
        (Some(Value::Str(text)), Some(Value::Str(name))) if matches!(&*name.to_ascii_lowercase(), "utf-8" | "utf8") => {
            caller.budget().allocate(text.len() as u64)?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        (Some(Value::Str(_)), None) => Err(Fault::type_error("string argument without an encoding")),
        (Some(Value::Str(_)), Some(_)) => Err(Fault::value_error("bytes() knows the encoding 'utf-8' only")),
        (Some(Value::Bytes(bytes)), _) => Ok(Value::Bytes(bytes.clone())),
        (Some(Value::Int(len)), _) => {
            let len = u64::try_from(*len).map_err(|_| Fault::value_error("negative count"))?;
            caller.budget().allocate(len)?;
            Ok(Value::Bytes(vec![0; len as usize].into()))
        }
        (Some(other), _) => {
            let items = iterate(other, caller.budget())?;
            let byte = |item: &Value| match item {
                Value::Int(int) => u8::try_from(*int).map_err(|_| Fault::value_error("bytes must be in range(0, 256)")),
                other => Err(not_an_integer(other)),
            };
            Ok(Value::Bytes(items.iter().map(byte).collect::<Result<Vec<u8>, _>>()?.into()))
        }
    }
}

fn chr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match one("chr", arguments)? {
        Value::Int(code) => match u32::try_from(*code).ok().and_then(char::from_u32) {
            Some(c) => Ok(Value::str(c.encode_utf8(&mut [0; 4]))),
            None => Err(Fault::value_error("chr() arg not in range(0x110000)")),
        },
        other => Err(not_an_integer(other)),
    }
}

fn ord(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match one("ord", arguments)? {
        Value::Str(text) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Ok(Value::Int(i64::from(u32::from(c)))),
                _ => {
                    let len = text.chars().count();
                    Err(Fault::type_error(format!("ord() expected a character, but string of length {len} found")))
                }
            }
        }
        Value::Bytes(bytes) if bytes.len() == 1 => Ok(Value::Int(i64::from(bytes[0]))),
        other => Err(Fault::type_error(format!("ord() expected string of length 1, but {} found", other.type_name()))),
    }
}

fn dict(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut dict = match arguments.positional {
        [] => Dict::new(),
        [Value::Dict(dict)] => (**dict).clone(),
        [pairs] => {
            let mut dict = Dict::new();
            for (idx, pair) in iterate(pairs, caller.budget())?.iter().enumerate() {
                let Some((first, second)) = pair.as_pair() else {
                    let message =
                        format!("cannot convert dictionary update sequence element #{idx} to a sequence of 2");
                    return Err(Fault::type_error(message));
                };
                dict.insert(key(first)?, second.clone());
            }
            dict
        }
        more => {
            let message = format!("dict expected at most 1 argument, got {}", more.len());
            return Err(Fault::type_error(message));
        }
    };
    caller.budget().values(dict.len() + arguments.named.len())?;
    for (name, value) in arguments.named {
        dict.insert(key(&Value::Str(name.clone()))?, value.clone());
    }
    Ok(Value::Dict(Arc::new(dict)))
}

fn divmod(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(a), Some(b)] = arguments.take("divmod", ["a", "b"], 2)? else { return Ok(Value::None) };
    if let (Value::Float(_), _) | (_, Value::Float(_)) = (a, b)
        && let (Some(x), Some(y)) = (to_float(a), to_float(b))
    {
        let (x, y) = (x?, y?);
        if y == 0.0 {
            return Err(Fault::new(EvalErrorKind::ZeroDivision, "float divmod()"));
        }
        let (quotient, rest) = floor_divide(x, y);
        return Ok(Value::pair(Value::Float(quotient), Value::Float(rest)));
    }
    let quotient = binary(BinaryOp::FloorDivide, a, b, caller.budget())?;
    Ok(Value::pair(quotient, binary(BinaryOp::Percent, a, b, caller.budget())?))
}

fn enumerate(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [items, start] = arguments.take("enumerate", ["iterable", "start"], 1)?;
    let start = match start {
        None => 0,
        Some(Value::Int(start)) => *start,
        Some(other) => return Err(not_an_integer(other)),
    };
    let items = iterate(items.unwrap_or(&Value::None), caller.budget())?;
    caller.budget().values(items.len() * 2)?;
    let pairs = items.into_iter().zip(0..).map(|(item, idx)| Value::pair(Value::Int(start.saturating_add(idx)), item));
    Ok(Value::list(pairs.collect()))
}

fn fail(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let mut message = String::new();
    for (idx, part) in arguments.positional.iter().enumerate() {
        if idx > 0 {
            message.push(' ');
        }
        put_str(&mut message, part);
    }
    Err(Fault::new(EvalErrorKind::Failed, message))
}

fn filter(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(function), Some(items)] = arguments.take("filter", ["function", "iterable"], 2)? else {
        return Ok(Value::None);
    };
    let mut kept = Vec::new();
    for item in iterate(items, caller.budget())? {
        let keep = match function {
            Value::None => truthy(&item),
            function => truthy(&caller.call(function, std::slice::from_ref(&item))?),
        };
        if keep {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn map(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let Some((function, sequences)) = arguments.positional.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(Fault::type_error("map() must have at least two arguments."));
    };
    let rows = rows(sequences, caller)?;
    let mut mapped = Vec::with_capacity(rows.len());
    for row in rows {
        mapped.push(caller.call(function, &row)?);
    }
    Ok(Value::list(mapped))
}

fn zip(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::list(rows(arguments.positional, caller)?.into_iter().map(|row| Value::Tuple(row.into())).collect()))
}

/// The n-th elements of all sequences, as long as each has one.
fn rows(sequences: &[Value], caller: &mut dyn Caller) -> Result<Vec<Vec<Value>>, Fault> {
    let mut columns = Vec::new();
    for sequence in sequences {
        columns.push(iterate(sequence, caller.budget())?.into_iter());
    }
    let len = columns.iter().map(ExactSizeIterator::len).min().unwrap_or(0);
    caller.budget().values(len * (columns.len() + 1))?;
    Ok((0..len).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()).collect())
}

fn float(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match arguments.take("float", ["x"], 0)?[0] {
        None => Ok(Value::Float(0.0)),
        Some(Value::Str(text)) => parse_float(text).map(Value::Float),
        Some(other) => match to_float(other) {
            Some(float) => float.map(Value::Float),
            None => Err(Fault::type_error(format!(
                "float() argument must be a string or a real number, not '{}'",
                other.type_name()
            ))),
        },
    }
}

fn int(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, base] = arguments.take("int", ["x", "base"], 0)?;
    match (value, base) {
        (None, _) => Ok(Value::Int(0)),
        (Some(Value::Str(text)), None) => parse_int(text, 10),
        (Some(Value::Str(text)), Some(Value::Int(base))) => match u32::try_from(*base) {
            Ok(base) if base == 0 || (2..=36).contains(&base) => parse_int(text, base),
            _ => Err(Fault::value_error("int() base must be >= 2 and <= 36, or 0")),
        },
        (Some(Value::Str(_)), Some(other)) => Err(not_an_integer(other)),
        (Some(_), Some(_)) => Err(Fault::type_error("int() can't convert non-string with explicit base")),
        (Some(Value::Float(float)), None) => truncate(*float),
        (Some(value @ (Value::Int(_) | Value::BigInt(_))), None) => Ok(value.clone()),
        (Some(Value::Bool(flag)), None) => Ok(Value::Int(i64::from(*flag))),
        (Some(other), None) => Err(Fault::type_error(format!(
            "int() argument must be a string, a bytes-like object or a real number, not '{}'",
            other.type_name()
        ))),
    }
}

fn getattr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, name, default] = arguments.take("getattr", ["object", "name", "default"], 2)?;
    let Some(Value::Str(name)) = name else {
        return Err(Fault::type_error("attribute name must be string"));
    };
    match (super::attribute(value.unwrap_or(&Value::None), name), default) {
        (Err(fault), Some(default)) if fault.kind == EvalErrorKind::Attribute => Ok(default.clone()),
        (found, _) => found,
    }
}

fn hasattr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, name] = arguments.take("hasattr", ["object", "name"], 2)?;
    let (Some(value), Some(Value::Str(name))) = (value, name) else {
        return Err(Fault::type_error("attribute name must be string"));
    };
    Ok(Value::Bool(super::attribute(value, name).is_ok() || super::method(value.type_name(), name).is_some()))
}

/// kstream's own hash, the same on every run and machine.
fn hash(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::Int(key(one("hash", arguments)?)?.partition_hash() as i64))
}

fn len(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let len = match one("len", arguments)? {
        Value::Str(text) if text.is_ascii() => text.len(),
        Value::Str(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Tuple(items) => items.len(),
        Value::Dict(dict) => dict.len(),
        Value::Record(_) => 2,
        other => {
            let range = if let Value::Opaque(opaque) = other { range::of(opaque) } else { None };
            match range {
                Some(range) => usize::try_from(range.len()).unwrap_or(usize::MAX),
                None => {
                    return Err(Fault::type_error(format!("object of type '{}' has no len()", other.type_name())));
                }
            }
        }
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

/// `min` and `max`: the first of equals; `key` and `default` by name.
fn extreme(
    function: &str,
    better: CompareOp,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Result<Value, Fault> {
    let items = match arguments.positional {
        [] => return Err(Fault::type_error(format!("{function} expected at least 1 argument, got 0"))),
        [sequence] => iterate(sequence, caller.budget())?,
        several => several.to_vec(),
    };
    let by = arguments.named("key").filter(|key| !matches!(key, Value::None));
    let mut best: Option<(Value, Value)> = None;
    for item in items {
        caller.budget().step()?;
        let sort_key = match by {
            Some(function) => caller.call(function, std::slice::from_ref(&item))?,
            None => item.clone(),
        };
        let replace = match &best {
            Some((_, best_key)) => compare(better, &sort_key, best_key)?,
            None => true,
        };
        if replace {
            best = Some((item, sort_key));
        }
    }
    match (best, arguments.named("default")) {
        (Some((item, _)), _) => Ok(item),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(Fault::value_error(format!("{function}() arg is an empty sequence"))),
    }
}

/// Steps that a multiplication of whole numbers of so many bits counts for, or their text: more than in proportion.
fn work_of(bits: u64) -> u64 {
    let words = bits / 64 + 1;
    words.saturating_mul(words.isqrt())
}

fn pow(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(base), Some(exponent), modulus] = arguments.take("pow", ["base", "exp", "mod"], 2)? else {
        return Ok(Value::None);
    };
    let modulus = modulus.filter(|modulus| !matches!(modulus, Value::None));
    let no_modulus = || Fault::type_error("pow() 3rd argument not allowed unless all arguments are integers");
    if let (Some(base), Some(exponent)) = (to_big(base), to_big(exponent)) {
        if let Some(modulus) = modulus {
            let modulus = to_big(modulus).ok_or_else(no_modulus)?;
            if exponent.is_negative() || modulus.sign() == num_bigint::Sign::NoSign {
                return Err(Fault::value_error("pow() 3rd argument cannot be 0, and needs an exponent of 0 or more"));
            }
            caller.budget().steps(exponent.bits().saturating_mul(work_of(modulus.bits())))?;
            return Ok(Value::int(base.modpow(&exponent, &modulus)));
        }
        if !exponent.is_negative() {
            let trivial = base.bits() <= 1;
            let power = exponent.to_u64().unwrap_or(u64::MAX);
            if !trivial {
                let bits = base.bits().saturating_mul(power);
                caller.budget().allocate(bits / 8)?;
                caller.budget().steps(work_of(bits))?;
            }
            let power = if trivial { (power & 1) as u32 + if power > 1 { 2 } else { 0 } } else { power as u32 };
            return Ok(Value::int(base.pow(power)));
        }
    }
    if modulus.is_some() {
        return Err(no_modulus());
    }
    match (to_float(base), to_float(exponent)) {
        (Some(base), Some(exponent)) => {
            let (base, exponent) = (base?, exponent?);
            if base == 0.0 && exponent < 0.0 {
                let message = "0.0 cannot be raised to a negative power";
                return Err(Fault::new(EvalErrorKind::ZeroDivision, message));
            }
            let power = base.powf(exponent);
            if power.is_nan() && !base.is_nan() && !exponent.is_nan() {
                return Err(Fault::value_error("a negative number cannot be raised to a fractional power"));
            }
            if power.is_infinite() && base.is_finite() && exponent.is_finite() {
                return Err(Fault::new(EvalErrorKind::Overflow, "Result too large"));
            }
            Ok(Value::Float(power))
        }
        _ => {
            let types = format!("'{}' and '{}'", base.type_name(), exponent.type_name());
            Err(Fault::type_error(format!("unsupported operand type(s) for pow(): {types}")))
        }
    }
}

fn make_range(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let number = |value: &Value| match value {
        Value::Int(int) => Ok(*int),
        Value::BigInt(_) => Err(Fault::new(EvalErrorKind::Overflow, "range() arguments must fit 64 bits")),
        other => Err(not_an_integer(other)),
    };
    let (start, stop, step) = match arguments.positional {
        [stop] => (0, number(stop)?, 1),
        [start, stop] => (number(start)?, number(stop)?, 1),
        [start, stop, step] => (number(start)?, number(stop)?, number(step)?),
        other => {
            return Err(Fault::type_error(format!("range expected 1 to 3 arguments, got {}", other.len())));
        }
    };
    if step == 0 {
        return Err(Fault::value_error("range() arg 3 must not be zero"));
    }
    Ok(range::Range { start, stop, step }.value())
}

fn repr(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut text = String::new();
    put_repr(&mut text, one("repr", arguments)?);
    new_str(text, caller.budget())
}

fn text(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut text = String::new();
    match arguments.take("str", ["object"], 0)?[0] {
        Some(value @ Value::Str(_)) => return Ok(value.clone()),
        Some(value) => {
            if let Value::BigInt(number) = value {
                caller.budget().steps(work_of(number.bits()))?;
            }
            put_str(&mut text, value);
        }
        None => {}
    }
    new_str(text, caller.budget())
}

fn sorted(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let items = match arguments.positional {
        [items] => iterate(items, caller.budget())?,
        other => {
            return Err(Fault::type_error(format!("sorted expected 1 argument, got {}", other.len())));
        }
    };
    let reverse = arguments.named("reverse").is_some_and(truthy);
    let by = arguments.named("key").filter(|key| !matches!(key, Value::None));
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        let sort_key = match by {
            Some(function) => caller.call(function, std::slice::from_ref(&item))?,
            None => item.clone(),
        };
        keyed.push((sort_key, item));
    }
    sort(&mut keyed, reverse, caller)?;
    Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect()))
}

/// Stable, also in reverse. The first comparison that fails is the fault.
pub(super) fn sort(keyed: &mut [(Value, Value)], reverse: bool, caller: &mut dyn Caller) -> Result<(), Fault> {
    caller.budget().steps(keyed.len() as u64)?;
    let mut fault = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let (a, b) = if reverse { (b, a) } else { (a, b) };
        let less = |a, b| compare(CompareOp::Less, a, b);
        match (less(a, b), less(b, a)) {
            (Ok(true), _) => Ordering::Less,
            (_, Ok(true)) => Ordering::Greater,
            (Err(failed), _) | (_, Err(failed)) => {
                fault.get_or_insert(failed);
                Ordering::Equal
            }
            _ => Ordering::Equal,
        }
    });
    fault.map_or(Ok(()), Err)
}

fn make_struct(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    if !arguments.positional.is_empty() {
        return Err(Fault::type_error("struct() takes named arguments only"));
    }
    caller.budget().values(arguments.named.len())?;
    let mut fields: Vec<(SmolStr, Value)> = arguments.named.to_vec();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Value::Struct(Arc::new(Struct { fields })))
}

fn sum(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [items, start] = arguments.take("sum", ["iterable", "start"], 1)?;
    let mut total = start.cloned().unwrap_or(Value::Int(0));
    if matches!(total, Value::Str(_)) {
        return Err(Fault::type_error("sum() can't sum strings [use ''.join(seq) instead]"));
    }
    for item in iterate(items.unwrap_or(&Value::None), caller.budget())? {
        total = binary(BinaryOp::Add, &total, &item, caller.budget())?;
    }
    Ok(total)
}

/// Where `item` first is in `items`.
pub(super) fn position(items: &[Value], item: &Value) -> Option<usize> {
    items.iter().position(|other| equal(other, item))
}

//! Conversions: `int`, `float`, `str`, `bytes`, `round`, `chr`, `ord`, `hash` ...

use num_bigint::{BigInt, Sign};
use num_traits::{FromPrimitive, Signed, Zero};

use super::{
    Arguments, Caller, Fault,
    access::{iterate, key},
    argument::{int, one, take},
    builtin::shown,
    operator, truthy,
};
use crate::{
    expr::EvalErrorKind,
    model::{Value, text::put_repr, text::put_str},
};

/// Most digits of an integer that is read from or written as text, as in Python.
pub const MAX_INT_DIGITS: usize = 4300;

pub fn to_bool(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value] = take("bool", arguments, [""], 0)?;
    Ok(Value::Bool(value.is_some_and(truthy)))
}

pub fn to_str(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [value] = take("str", arguments, ["object"], 0)?;
    match value {
        None => Ok(Value::str("")),
        Some(Value::Str(text)) => Ok(Value::Str(text.clone())),
        Some(value) => {
            let mut out = String::new();
            put_str(&mut out, value);
            caller.budget().allocate(out.len() as u64)?;
            Ok(Value::Str(out.into()))
        }
    }
}

pub fn to_repr(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let mut out = String::new();
    put_repr(&mut out, one("repr", arguments)?);
    caller.budget().allocate(out.len() as u64)?;
    Ok(Value::Str(out.into()))
}

pub fn to_int(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, base] = take("int", arguments, ["", "base"], 0)?;
    let Some(value) = value else { return Ok(Value::Int(0)) };
    let base = match base {
        None => None,
        Some(base) => Some(int(base)?),
    };
    match (value, base) {
        (Value::Str(text), base) => parse_int(text, base.unwrap_or(10)),
        (Value::Bytes(bytes), base) => parse_int(&String::from_utf8_lossy(bytes), base.unwrap_or(10)),
        (_, Some(_)) => Err(Fault::of_type("int() can't convert non-string with explicit base")),
        (Value::Int(_) | Value::BigInt(_), None) => Ok(value.clone()),
        (Value::Bool(bool), None) => Ok(Value::Int(i64::from(*bool))),
        (Value::Float(float), None) => float_to_int(*float),
        (other, None) => {
            let name = other.type_name();
            let message =
                format!("int() argument must be a string, a bytes-like object or a real number, not '{name}'");
            Err(Fault::of_type(message))
        }
    }
}

/// Towards zero.
pub fn float_to_int(float: f64) -> Result<Value, Fault> {
    if float.is_nan() {
        return Err(Fault::of_value("cannot convert float NaN to integer"));
    }
    match BigInt::from_f64(float.trunc()) {
        Some(big) => Ok(Value::int(big)),
        None => Err(Fault::new(EvalErrorKind::Overflow, "cannot convert float infinity to integer")),
    }
}

/// Python's white space of str.
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\x1c'..='\x1f')
}

/// Python's text of integers: white space around, a sign, a prefix for the base, single underscores between digits.
fn parse_int(text: &str, base: i64) -> Result<Value, Fault> {
    let wrong = || {
        let shown = shown(&Value::str(text));
        Fault::of_value(format!("invalid literal for int() with base {base}: {shown}"))
    };
    if base != 0 && !(2..=36).contains(&base) {
        return Err(Fault::of_value("int() base must be >= 2 and <= 36, or 0"));
    }
    let trimmed = text.trim_matches(is_space);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, trimmed.get(1..).unwrap_or_default()),
        Some(b'+') => (false, trimmed.get(1..).unwrap_or_default()),
        _ => (false, trimmed),
    };
    if base == 10 && digits.len() <= 18 && !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        let value = digits.bytes().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Ok(Value::Int(if negative { -value } else { value }));
    }
    let lower = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    let prefix = match lower.as_str() {
        "0x" => Some(16),
        "0o" => Some(8),
        "0b" => Some(2),
        _ => None,
    };
    let (radix, mut digits) = match prefix {
        Some(radix) if base == 0 || base == radix => {
            let rest = digits.get(2..).unwrap_or_default();
            (radix, rest.strip_prefix('_').unwrap_or(rest))
        }
        _ if base == 0 => {
            let octal = digits.len() > 1 && digits.starts_with('0') && digits.trim_matches(['0', '_']) != "";
            if octal {
                return Err(wrong());
            }
            (10, digits)
        }
        _ => (base, digits),
    };
    let cleaned: String;
    if digits.contains('_') {
        if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
            return Err(wrong());
        }
        cleaned = digits.replace('_', "");
        digits = &cleaned;
    }
    let decimal: String;
    if !digits.is_ascii() {
        decimal = digits.chars().map(|letter| decimal_digit(letter).unwrap_or('?')).collect();
        digits = &decimal;
    }
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix as u32)) {
        return Err(wrong());
    }
    if digits.len() > MAX_INT_DIGITS && !matches!(radix, 2 | 4 | 8 | 16 | 32) {
        return Err(Fault::of_value(format!(
            "Exceeds the limit ({MAX_INT_DIGITS} digits) for integer string conversion: value has {} digits",
            digits.len()
        )));
    }
    let big = BigInt::parse_bytes(digits.as_bytes(), radix as u32).ok_or_else(wrong)?;
    Ok(Value::int(if negative { -big } else { big }))
}

/// The ASCII form of a decimal digit of any script that has its ten digits in a row.
pub fn decimal_digit(letter: char) -> Option<char> {
    const ZEROS: [u32; 22] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20,
        0x1040, 0x17e0, 0x1810, 0xff10, 0x1d7ce, 0x1d7d8, 0x1d7e2,
    ];
    if letter.is_ascii() {
        return Some(letter);
    }
    let code = letter as u32;
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

pub fn to_float(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [value] = take("float", arguments, [""], 0)?;
    let Some(value) = value else { return Ok(Value::Float(0.0)) };
    match value {
        Value::Str(text) => parse_float(text, value),
        Value::Bytes(bytes) => parse_float(&String::from_utf8_lossy(bytes), value),
        Value::Bool(bool) => Ok(Value::Float(f64::from(u8::from(*bool)))),
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => operator::float(value).map(Value::Float),
        other => {
            let name = other.type_name();
            Err(Fault::of_type(format!("float() argument must be a string or a real number, not '{name}'")))
        }
    }
}

fn parse_float(text: &str, value: &Value) -> Result<Value, Fault> {
    let wrong = || Fault::of_value(format!("could not convert string to float: {}", shown(value)));
    let trimmed = text.trim_matches(is_space);
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let negative = trimmed.starts_with('-');
    match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => return Ok(Value::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY })),
        "nan" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    let mut digits = String::with_capacity(unsigned.len());
    let mut before = None;
    let letters: Vec<char> = unsigned.chars().collect();
    for (idx, letter) in letters.iter().enumerate() {
        let letter = decimal_digit(*letter).ok_or_else(wrong)?;
        if letter == '_' {
            let after = letters.get(idx + 1).is_some_and(|next| next.is_ascii_digit());
            if !after || !before.is_some_and(|before: char| before.is_ascii_digit()) {
                return Err(wrong());
            }
        } else if letter.is_ascii_digit() || matches!(letter, '.' | 'e' | 'E' | '+' | '-') {
            digits.push(letter);
        } else {
            return Err(wrong());
        }
        before = Some(letter);
    }
    if digits.starts_with(['+', '-']) {
        return Err(wrong());
    }
    let parsed: f64 = digits.parse().map_err(|_| wrong())?;
    Ok(Value::Float(if negative { -parsed } else { parsed }))
}

pub fn to_bytes(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [value, encoding] = take("bytes", arguments, ["", "encoding"], 0)?;
    match (value, encoding) {
        (None, _) => Ok(Value::Bytes([][..].into())),
        (Some(Value::Str(text)), Some(Value::Str(name))) => super::str_method::encode_as(text, name),
        // Starlark's bytes(str); Python asks for the encoding.
        (Some(Value::Str(text)), None) => Ok(Value::Bytes(text.as_bytes().into())),
        (Some(Value::Bytes(bytes)), None) => Ok(Value::Bytes(bytes.clone())),
        (Some(Value::Int(len)), None) => {
            let len = u64::try_from(*len).map_err(|_| Fault::of_value("negative count"))?;
            caller.budget().allocate(len)?;
            Ok(Value::Bytes(vec![0; len as usize].into()))
        }
        (Some(other), _) => {
            let mut bytes = Vec::new();
            for item in iterate(other, caller.budget())? {
                let byte = u8::try_from(int(&item)?);
                bytes.push(byte.map_err(|_| Fault::of_value("bytes must be in range(0, 256)"))?);
            }
            Ok(Value::Bytes(bytes.into()))
        }
    }
}

pub fn chr(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let code = int(one("chr", arguments)?)?;
    let letter = u32::try_from(code).ok().filter(|code| *code < 0x110000);
    let letter = letter.ok_or_else(|| Fault::of_value("chr() arg not in range(0x110000)"))?;
    match char::from_u32(letter) {
        Some(letter) => Ok(Value::str(letter.encode_utf8(&mut [0; 4]))),
        None => Err(Fault::of_value("chr() of a surrogate is not known")),
    }
}

pub fn ord(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    match one("ord", arguments)? {
        Value::Str(text) => {
            let mut letters = text.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Ok(Value::Int(i64::from(letter as u32))),
                _ => {
                    let len = text.chars().count();
                    Err(Fault::of_type(format!("ord() expected a character, but string of length {len} found")))
                }
            }
        }
        Value::Bytes(bytes) => match &**bytes {
            [byte] => Ok(Value::Int(i64::from(*byte))),
            more => {
                let len = more.len();
                Err(Fault::of_type(format!("ord() expected a character, but string of length {len} found")))
            }
        },
        other => {
            let name = other.type_name();
            Err(Fault::of_type(format!("ord() expected string of length 1, but {name} found")))
        }
    }
}

/// kstream's own stable hash: that of the partitioning.
pub fn hash(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    Ok(Value::Int(key(one("hash", arguments)?)?.partition_hash() as i64))
}

/// Half to even, on the exact decimal value.
pub fn round(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(number), digits] = take("round", arguments, ["number", "ndigits"], 1)? else { return Ok(Value::None) };
    let digits = match digits {
        None | Some(Value::None) => None,
        Some(digits) => Some(int(digits)?),
    };
    match (number, digits) {
        (Value::Int(_) | Value::BigInt(_), None | Some(0..)) => Ok(number.clone()),
        (Value::Int(_) | Value::BigInt(_), Some(digits)) => {
            let value = operator::big(number).unwrap_or_default();
            if digits.unsigned_abs() > value.bits() {
                return Ok(Value::Int(0));
            }
            caller.budget().allocate(value.bits())?;
            let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
            let (quotient, rest) = operator::div_mod(&value, &unit);
            let double = rest * 2;
            let up = double > unit || (double == unit && quotient.bit(0));
            Ok(Value::int((quotient + BigInt::from(u8::from(up))) * unit))
        }
        (Value::Float(float), None) => float_to_int(float.round_ties_even()),
        (Value::Float(float), Some(digits)) => Ok(Value::Float(round_float(*float, digits)?)),
        (other, _) => Err(Fault::of_type(format!("type {} doesn't define __round__ method", other.type_name()))),
    }
}

fn round_float(float: f64, digits: i64) -> Result<f64, Fault> {
    if !float.is_finite() || digits > 323 {
        return Ok(float);
    }
    if digits < -308 {
        return Ok(0f64.copysign(float));
    }
    // The formatter rounds the exact value half to even, as Python does.
    if digits >= 0 {
        return Ok(format!("{float:.*}", digits as usize).parse().unwrap_or(float));
    }
    let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
    let whole = BigInt::from_f64(float.abs().trunc()).unwrap_or_default();
    let fraction = float.abs().fract() != 0.0;
    let (quotient, rest) = (&whole / &unit, &whole % &unit);
    let double = rest * 2;
    let up = double > unit || (double == unit && (fraction || quotient.bit(0)));
    let rounded = (quotient + BigInt::from(u8::from(up))) * unit;
    match operator::float(&Value::int(rounded)) {
        Ok(rounded) if rounded.is_finite() => Ok(rounded.copysign(float)),
        _ => Err(Fault::new(EvalErrorKind::Overflow, "rounded value too large to represent")),
    }
}

/// Sign and digits of an integer, for formatting.
pub fn sign_and_magnitude(big: &BigInt) -> (bool, BigInt) {
    (big.sign() == Sign::Minus, if big.is_zero() { BigInt::zero() } else { big.abs() })
}

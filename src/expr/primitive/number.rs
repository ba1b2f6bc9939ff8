//! Numbers from text, and rounding: `int()`, `float()`, `round()`.

use num_bigint::BigInt;
use num_traits::{FromPrimitive, Num};

use super::{Fault, letter::decimal_digit, operator::to_big};
use crate::{
    expr::EvalErrorKind,
    model::{
        Value,
        text::{put_repr, repr},
    },
};

/// Digits of an int in text, as CPython bounds them: more cost quadratic time.
const MAX_DIGITS: usize = 4300;

/// `int(text, base)`: white space around, sign, prefix, underscores between digits.
pub fn parse_int(text: &str, base: u32) -> Result<Value, Fault> {
    let wrong = || {
        let mut shown = String::new();
        put_repr(&mut shown, &Value::str(text));
        Fault::value_error(format!("invalid literal for int() with base {base}: {shown}"))
    };
    let trimmed = text.trim_matches(is_python_space);
    let (negative, rest) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let prefix = rest.get(..2).map(str::to_ascii_lowercase);
    let prefixed = match prefix.as_deref() {
        Some("0x") if base == 16 || base == 0 => Some(16),
        Some("0o") if base == 8 || base == 0 => Some(8),
        Some("0b") if base == 2 || base == 0 => Some(2),
        _ => None,
    };
    let (radix, digits) = match prefixed {
        Some(radix) => (radix, rest[2..].strip_prefix('_').unwrap_or(&rest[2..])),
        None => (if base == 0 { 10 } else { base }, rest),
    };
    let plain = underscores(digits, |c| c.is_digit(radix)).ok_or_else(wrong)?;
    if base == 0 && prefixed.is_none() && plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|d| d != b'0')
    {
        return Err(wrong());
    }
    if plain.len() > MAX_DIGITS && !radix.is_power_of_two() {
        let message = format!("Exceeds the limit ({MAX_DIGITS} digits) for integer string conversion");
        return Err(Fault::value_error(message));
    }
    if let Ok(small) = i64::from_str_radix(&plain, radix) {
        return Ok(Value::Int(if negative { -small } else { small }));
    }
    let big = BigInt::from_str_radix(&plain, radix).map_err(|_| wrong())?;
    Ok(Value::int(if negative { -big } else { big }))
}

/// The digits without the underscores between them; `None` where they are no digits.
fn underscores(digits: &str, is_digit: impl Fn(char) -> bool) -> Option<String> {
    let mut plain = String::with_capacity(digits.len());
    let mut after_digit = false;
    for c in digits.chars() {
        match c {
            '_' if after_digit => after_digit = false,
            c if is_digit(c) => {
                plain.push(c);
                after_digit = true;
            }
            c => {
                // Decimal digits of other scripts count as Python counts them.
                let value = decimal_digit(c)?;
                let ascii = char::from_digit(value, 10)?;
                if !is_digit(ascii) {
                    return None;
                }
                plain.push(ascii);
                after_digit = true;
            }
        }
    }
    after_digit.then_some(plain)
}

pub fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `float(text)`
pub fn parse_float(text: &str) -> Result<f64, Fault> {
    let wrong = || Fault::value_error(format!("could not convert string to float: {}", repr(&Value::str(text))));
    let trimmed = text.trim_matches(is_python_space);
    let unsigned = trimmed.trim_start_matches(['+', '-']);
    if trimmed.len() - unsigned.len() > 1 {
        return Err(wrong());
    }
    let lower = unsigned.to_ascii_lowercase();
    match &*lower {
        "inf" | "infinity" => return Ok(if trimmed.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    let mut plain = String::with_capacity(trimmed.len());
    let mut previous = ' ';
    for c in trimmed.chars() {
        let c = decimal_digit(c).and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c);
        let ok = match c {
            '_' => previous.is_ascii_digit(),
            '0'..='9' => true,
            '.' | 'e' | 'E' | '+' | '-' => previous != '_',
            _ => false,
        };
        if !ok {
            return Err(wrong());
        }
        if c != '_' {
            plain.push(c);
        }
        previous = c;
    }
    if previous == '_' || !plain.contains(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    plain.parse().map_err(|_| wrong())
}

/// A float cut to an int, towards zero.
pub fn truncate(float: f64) -> Result<Value, Fault> {
    if float.is_nan() {
        return Err(Fault::value_error("cannot convert float NaN to integer"));
    }
    match BigInt::from_f64(float.trunc()) {
        Some(big) => Ok(Value::int(big)),
        None => Err(Fault::new(EvalErrorKind::Overflow, "cannot convert float infinity to integer")),
    }
}

/// `round(number, digits)`: ties to even, floats by their exact decimal value.
pub fn round(number: &Value, digits: Option<i64>) -> Result<Value, Fault> {
    match (number, digits) {
        (Value::Int(_) | Value::BigInt(_), None) => Ok(number.clone()),
        (Value::Int(_) | Value::BigInt(_), Some(digits)) if digits >= 0 => Ok(number.clone()),
        (Value::Int(_) | Value::BigInt(_), Some(digits)) => {
            let value = to_big(number).unwrap_or_default();
            let places = digits.unsigned_abs();
            // More places than the number has digits leave nothing.
            if places > value.bits() / 3 + 2 {
                return Ok(Value::Int(0));
            }
            let unit = BigInt::from(10).pow(places as u32);
            let half = &unit / 2;
            let floor = ((&value % &unit) + &unit) % &unit;
            let down = &value - &floor;
            let even = (&down / &unit) % BigInt::from(2) == BigInt::from(0);
            let up = floor > half || floor == half && !even;
            Ok(Value::int(if up { down + unit } else { down }))
        }
        (Value::Float(float), None) => {
            if float.is_nan() {
                return Err(Fault::value_error("cannot convert float NaN to integer"));
            }
            if float.is_infinite() {
                return Err(Fault::new(EvalErrorKind::Overflow, "cannot convert float infinity to integer"));
            }
            truncate(float.round_ties_even())
        }
        (Value::Float(float), Some(digits)) => Ok(Value::Float(round_decimal(*float, digits))),
        (other, _) => Err(Fault::type_error(format!("type {} doesn't define __round__ method", other.type_name()))),
    }
}

/// Rounds the exact decimal expansion of a float.
fn round_decimal(float: f64, digits: i64) -> f64 {
    if !float.is_finite() || digits > 323 {
        return float;
    }
    if digits < -308 {
        return 0f64.copysign(float);
    }
    if digits >= 0 {
        // The standard library formats the exact value, ties to even.
        return format!("{float:.*}", digits as usize).parse().unwrap_or(float);
    }
    let whole = truncate(float).ok().and_then(|whole| to_big(&whole)).unwrap_or_default();
    let fraction = float.fract() != 0.0;
    let unit = BigInt::from(10).pow(digits.unsigned_abs() as u32);
    let floor = ((&whole % &unit) + &unit) % &unit;
    let down = &whole - &floor;
    let double = &floor * 2;
    let up = double > unit
        || double == unit && (fraction && float > 0.0 || (&down / &unit) % BigInt::from(2) != BigInt::from(0));
    let rounded = if up { down + unit } else { down };
    let text = rounded.to_string();
    text.parse::<f64>().unwrap_or(float).copysign(float)
}

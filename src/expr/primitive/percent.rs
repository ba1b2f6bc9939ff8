//! `"%s %5.2f %(key)d" % arguments`, on str and bytes.

use num_bigint::BigInt;

use super::{
    Budget, Fault, access,
    convert::{float_to_int, sign_and_magnitude},
    number_text::{FloatStyle, float_text},
    operator,
    spec::MAX_WIDTH,
};
use crate::{
    expr::EvalErrorKind,
    model::{Value, text::put_repr, text::put_str},
};

/// `format % arguments`
pub fn percent_format(format: &Value, arguments: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    match format {
        Value::Str(text) => Formatter::new(arguments, false).run(text, budget).map(|text| Value::Str(text.into())),
        Value::Bytes(bytes) => {
            // A letter for each byte, there and back.
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let text = Formatter::new(arguments, true).run(&text, budget)?;
            Ok(Value::Bytes(text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()))
        }
        other => Err(Fault::of_type(format!("'{}' does not format", other.type_name()))),
    }
}

struct Formatter<'a> {
    arguments: &'a Value,
    next: usize,
    bytes: bool,
}

#[derive(Default, Clone, Copy)]
struct Flags {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl<'a> Formatter<'a> {
    fn new(arguments: &'a Value, bytes: bool) -> Formatter<'a> {
        Formatter { arguments, next: 0, bytes }
    }

    fn run(mut self, format: &str, budget: &mut Budget) -> Result<String, Fault> {
        let mut out = String::new();
        let letters: Vec<char> = format.chars().collect();
        budget.allocate(format.len() as u64)?;
        let mut at = 0;
        let mut mapped = false;
        while let Some(letter) = letters.get(at) {
            at += 1;
            if *letter != '%' {
                out.push(*letter);
                continue;
            }
            let mut value = None;
            if letters.get(at) == Some(&'(') {
                let (key, end) = key(&letters, at + 1)?;
                at = end;
                mapped = true;
                value = Some(self.mapped(&key)?);
            }
            let flags = self.flags(&letters, &mut at)?;
            let kind = *letters.get(at).ok_or_else(|| Fault::of_value("incomplete format"))?;
            at += 1;
            if kind == '%' {
                out.push('%');
                continue;
            }
            if !"diuoxXeEfFgGcrsb".contains(kind) || (kind == 'b' && !self.bytes) {
                let (code, idx) = (kind as u32, at - 1);
                let message = format!("unsupported format character '{kind}' (0x{code:x}) at index {idx}");
                return Err(Fault::of_value(message));
            }
            let value = match value {
                Some(value) => value,
                None => self.positional()?,
            };
            let shown = self.conversion(kind, &value, &flags, budget)?;
            budget.allocate(shown.len() as u64)?;
            out.push_str(&shown);
        }
        let is_mapping = matches!(self.arguments, Value::Dict(_) | Value::List(_) | Value::Record(_));
        let left = match self.arguments {
            Value::Tuple(items) => self.next < items.len(),
            _ => self.next == 0 && !is_mapping,
        };
        match left && !mapped {
            true => Err(Fault::of_type("not all arguments converted during string formatting")),
            false => Ok(out),
        }
    }

    fn positional(&mut self) -> Result<Value, Fault> {
        let found = match self.arguments {
            Value::Tuple(items) => items.get(self.next).cloned(),
            other if self.next == 0 => Some(other.clone()),
            _ => None,
        };
        self.next += 1;
        found.ok_or_else(|| Fault::of_type("not enough arguments for format string"))
    }

    fn mapped(&self, key: &str) -> Result<Value, Fault> {
        match self.arguments {
            Value::Dict(_) => access::index(self.arguments, &Value::str(key)),
            _ => Err(Fault::of_type("format requires a mapping")),
        }
    }

    fn flags(&mut self, letters: &[char], at: &mut usize) -> Result<Flags, Fault> {
        let mut flags = Flags::default();
        while let Some(letter) = letters.get(*at) {
            match letter {
                '-' => flags.left = true,
                '+' => flags.plus = true,
                ' ' => flags.space = true,
                '#' => flags.alternate = true,
                '0' => flags.zero = true,
                _ => break,
            }
            *at += 1;
        }
        let width = self.number(letters, at)?;
        if let Some(width) = width {
            flags.left |= width < 0;
            flags.width = width.unsigned_abs() as usize;
        }
        if letters.get(*at) == Some(&'.') {
            *at += 1;
            flags.precision = Some(self.number(letters, at)?.unwrap_or(0).max(0) as usize);
        }
        if let Some('h' | 'l' | 'L') = letters.get(*at) {
            *at += 1;
        }
        match flags.width.max(flags.precision.unwrap_or(0)) > MAX_WIDTH {
            true => Err(Fault::of_value("width too big")),
            false => Ok(flags),
        }
    }

    /// Digits, or `*`: the next argument.
    fn number(&mut self, letters: &[char], at: &mut usize) -> Result<Option<i64>, Fault> {
        if letters.get(*at) == Some(&'*') {
            *at += 1;
            return match self.positional()? {
                Value::Int(number) => Ok(Some(number)),
                _ => Err(Fault::of_type("* wants int")),
            };
        }
        let mut number = None;
        while let Some(digit) = letters.get(*at).and_then(|letter| letter.to_digit(10)) {
            let value: i64 = number.unwrap_or(0);
            number = Some(value.saturating_mul(10).saturating_add(i64::from(digit)));
            *at += 1;
        }
        Ok(number)
    }

    fn conversion(&self, kind: char, value: &Value, flags: &Flags, budget: &mut Budget) -> Result<String, Fault> {
        match kind {
            's' | 'r' | 'b' => {
                let mut shown = String::new();
                match (kind, value) {
                    ('s' | 'b', Value::Bytes(bytes)) if self.bytes => {
                        shown = bytes.iter().map(|byte| char::from(*byte)).collect();
                    }
                    ('s' | 'b', other) if self.bytes => {
                        let name = other.type_name();
                        let message = format!("%b requires a bytes-like object, not '{name}'");
                        return Err(Fault::of_type(message));
                    }
                    ('r', value) => put_repr(&mut shown, value),
                    (_, value) => put_str(&mut shown, value),
                }
                if let Some(precision) = flags.precision {
                    shown = shown.chars().take(precision).collect();
                }
                pad("", &shown, &Flags { zero: false, ..*flags }, budget)
            }
            'c' => {
                let shown = match value {
                    Value::Str(text) if text.chars().count() == 1 => text.to_string(),
                    Value::Int(code) => match u32::try_from(*code).ok().and_then(char::from_u32) {
                        Some(letter) => letter.to_string(),
                        None => return Err(Fault::new(EvalErrorKind::Overflow, "%c arg not in range(0x110000)")),
                    },
                    _ => return Err(Fault::of_type("%c requires int or char")),
                };
                pad("", &shown, &Flags { zero: false, ..*flags }, budget)
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
                let big = integer(kind, value)?;
                let (negative, magnitude) = sign_and_magnitude(&big);
                let (mut digits, prefix) = match kind {
                    'o' => (magnitude.to_str_radix(8), "0o"),
                    'x' => (magnitude.to_str_radix(16), "0x"),
                    'X' => (magnitude.to_str_radix(16).to_uppercase(), "0X"),
                    _ => (magnitude.to_string(), ""),
                };
                if let Some(precision) = flags.precision {
                    budget.allocate(precision as u64)?;
                    digits = format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())));
                }
                let prefix = if flags.alternate { prefix } else { "" };
                pad(&format!("{}{prefix}", sign(negative, flags)), &digits, flags, budget)
            }
            _ => {
                let float = match value {
                    Value::Bool(bool) => f64::from(u8::from(*bool)),
                    Value::Int(_) | Value::BigInt(_) | Value::Float(_) => operator::float(value)?,
                    other => {
                        return Err(Fault::of_type(format!("must be real number, not {}", other.type_name())));
                    }
                };
                let style = match kind {
                    'e' | 'E' => FloatStyle::Exponent,
                    'f' | 'F' => FloatStyle::Fixed,
                    _ => FloatStyle::General,
                };
                budget.allocate(flags.precision.unwrap_or(0) as u64 + 400)?;
                let upper = kind.is_ascii_uppercase();
                let shown = float_text(float, style, flags.precision, flags.alternate, upper);
                let negative = float.is_sign_negative() && !float.is_nan();
                pad(sign(negative, flags), &shown, flags, budget)
            }
        }
    }
}

/// The key in `%(key)s`, and where it ends.
fn key(letters: &[char], start: usize) -> Result<(String, usize), Fault> {
    let mut depth = 1;
    for (idx, letter) in letters.iter().enumerate().skip(start) {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Ok((letters.iter().take(idx).skip(start).collect(), idx + 1));
        }
    }
    Err(Fault::of_value("incomplete format key"))
}

fn integer(kind: char, value: &Value) -> Result<BigInt, Fault> {
    let integer = match value {
        Value::Bool(bool) => Some(BigInt::from(u8::from(*bool))),
        Value::Float(float) if matches!(kind, 'd' | 'i' | 'u') => operator::big(&float_to_int(*float)?),
        other => operator::big(other),
    };
    integer.ok_or_else(|| {
        let wanted = if matches!(kind, 'd' | 'i' | 'u') { "a real number" } else { "an integer" };
        Fault::of_type(format!("%{kind} format: {wanted} is required, not {}", value.type_name()))
    })
}

fn sign(negative: bool, flags: &Flags) -> &'static str {
    match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn pad(head: &str, shown: &str, flags: &Flags, budget: &mut Budget) -> Result<String, Fault> {
    let len = head.chars().count() + shown.chars().count();
    let missing = flags.width.saturating_sub(len);
    budget.allocate((head.len() + shown.len() + missing) as u64)?;
    Ok(match (flags.left, flags.zero) {
        (true, _) => format!("{head}{shown}{}", " ".repeat(missing)),
        (false, true) => format!("{head}{}{shown}", "0".repeat(missing)),
        (false, false) => format!("{}{head}{shown}", " ".repeat(missing)),
    })
}

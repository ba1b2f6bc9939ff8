//! `%` formatting, `str.format` and f-strings.

use std::borrow::Cow;

use num_bigint::BigInt;

use super::{
    Arguments, Budget, Fault, attribute, index, new_str,
    operator::{to_big, to_float},
    spec::{Align, Spec, format_float, format_int, format_value},
};
use crate::{
    expr::EvalErrorKind,
    model::{
        Value,
        text::{put_str, repr},
    },
};

/// `format % args`
pub fn percent_format(format: &str, args: &Value, budget: &mut Budget) -> Result<Value, Fault> {
    let mut out = String::new();
    let mut rest = format;
    let mut given = Given { args, taken: 0, by_name: false };
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = one_percent(&rest[at + 1..], &mut given, &mut out, budget)?;
    }
    out.push_str(rest);
    given.all_used()?;
    new_str(out, budget)
}

/// The right side of `%`: a tuple of values, one value, or a dict for `%(name)s`.
struct Given<'a> {
    args: &'a Value,
    taken: usize,
    by_name: bool,
}

impl<'a> Given<'a> {
    fn next(&mut self) -> Result<Cow<'a, Value>, Fault> {
        let found = match self.args {
            Value::Tuple(values) => values.get(self.taken).map(Cow::Borrowed),
            Value::Record(record) => match self.taken {
                0 => Some(Cow::Borrowed(&record.key)),
                1 => Some(Cow::Borrowed(&record.value)),
                _ => None,
            },
            single => (self.taken == 0).then_some(Cow::Borrowed(single)),
        };
        self.taken += 1;
        found.ok_or_else(|| Fault::type_error("not enough arguments for format string"))
    }

    fn named(&mut self, name: &str) -> Result<Cow<'a, Value>, Fault> {
        self.by_name = true;
        match self.args {
            Value::Dict(_) => index(self.args, &Value::str(name)).map(Cow::Owned),
            _ => Err(Fault::type_error("format requires a mapping")),
        }
    }

    fn all_used(&self) -> Result<(), Fault> {
        let len = match self.args {
            Value::Tuple(values) => values.len(),
            Value::Record(_) => 2,
            // Python takes whatever has an index, but for str and tuple, for a mapping that may hold more.
            Value::Dict(_) | Value::List(_) | Value::Bytes(_) => return Ok(()),
            _ => 1,
        };
        if !self.by_name && self.taken < len {
            return Err(Fault::type_error("not all arguments converted during string formatting"));
        }
        Ok(())
    }
}

/// One conversion, from behind its `%`; gives what follows it.
fn one_percent<'f>(
    format: &'f str,
    given: &mut Given<'_>,
    out: &mut String,
    budget: &mut Budget,
) -> Result<&'f str, Fault> {
    let mut rest = format;
    let mut value = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let end = inner.find(')').ok_or_else(|| Fault::value_error("incomplete format key"))?;
        value = Some(given.named(&inner[..end])?);
        rest = &inner[end + 1..];
    }
    let mut spec = Spec::default();
    let (mut left, mut zero) = (false, false);
    while let Some(flag @ ('-' | '+' | ' ' | '#' | '0')) = rest.chars().next() {
        match flag {
            '-' => left = true,
            '+' => spec.sign = '+',
            ' ' if spec.sign != '+' => spec.sign = ' ',
            '#' => spec.alternate = true,
            '0' => zero = true,
            _ => {}
        }
        rest = &rest[1..];
    }
    let (width, after) = count(rest, given)?;
    rest = after;
    if width < 0 {
        left = true;
    }
    spec.width = width.unsigned_abs() as usize;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = count(after, given)?;
        spec.precision = Some(usize::try_from(precision).unwrap_or(0));
        rest = after;
    }
    rest = rest.trim_start_matches(['h', 'l', 'L']);
    let Some(kind) = rest.chars().next() else { return Err(Fault::value_error("incomplete format")) };
    rest = &rest[kind.len_utf8()..];
    if kind == '%' {
        out.push('%');
        return Ok(rest);
    }
    if left {
        spec.align = Some(Align::Left);
    } else if zero && !matches!(kind, 's' | 'r' | 'a' | 'c') {
        (spec.fill, spec.align) = ('0', Some(Align::Number));
    }
    let value = match value {
        Some(value) => value,
        None => given.next()?,
    };
    out.push_str(&convert(kind, &value, spec, budget)?);
    Ok(rest)
}

/// A width or precision: digits, or `*` for the next argument.
fn count<'f>(text: &'f str, given: &mut Given<'_>) -> Result<(i64, &'f str), Fault> {
    if let Some(rest) = text.strip_prefix('*') {
        return match &*given.next()? {
            Value::Int(width) if width.unsigned_abs() <= 1 << 24 => Ok((*width, rest)),
            Value::Int(_) => Err(Fault::value_error("width too big")),
            _ => Err(Fault::type_error("* wants int")),
        };
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((0, text));
    }
    let width: i64 = text[..end].parse().map_err(|_| Fault::value_error("width too big"))?;
    if width > 1 << 24 {
        return Err(Fault::value_error("width too big"));
    }
    Ok((width, &text[end..]))
}

fn convert(kind: char, value: &Value, spec: Spec, budget: &mut Budget) -> Result<String, Fault> {
    match kind {
        's' | 'r' | 'a' => {
            let mut text = String::new();
            match kind {
                's' => put_str(&mut text, value),
                'r' => text = repr(value),
                _ => text = ascii(&repr(value)),
            }
            if let Some(precision) = spec.precision {
                text = text.chars().take(precision).collect();
            }
            spec.pad("", &text, Align::Right, budget)
        }
        'c' => {
            let text = match value {
                Value::Int(code) => u32::try_from(*code).ok().and_then(char::from_u32).map(String::from),
                Value::Str(text) if text.chars().count() == 1 => Some(text.to_string()),
                Value::Str(_) => None,
                _ => return Err(Fault::type_error("%c requires int or char")),
            };
            match text {
                Some(text) => spec.pad("", &text, Align::Right, budget),
                None if matches!(value, Value::Str(_)) => Err(Fault::type_error("%c requires int or char")),
                None => Err(Fault::new(EvalErrorKind::Overflow, "%c arg not in range(0x110000)")),
            }
        }
        'd' | 'i' | 'u' => percent_int('d', &whole(kind, value)?, spec, budget),
        'x' | 'X' | 'o' => match to_big(value) {
            Some(int) => percent_int(kind, &int, spec, budget),
            None => {
                Err(Fault::type_error(format!("%{kind} format: an integer is required, not {}", value.type_name())))
            }
        },
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => match to_float(value) {
            Some(float) => {
                let precision = Some(spec.precision.unwrap_or(6));
                format_float(float?, &Spec { kind: Some(kind), precision, ..spec }, budget)
            }
            None => Err(Fault::type_error(format!("must be real number, not {}", value.type_name()))),
        },
        other => {
            let message = format!("unsupported format character '{other}' ({:#x})", u32::from(other));
            Err(Fault::value_error(message))
        }
    }
}

/// `%d` cuts a float to its whole part.
fn whole(kind: char, value: &Value) -> Result<BigInt, Fault> {
    let value = match value {
        Value::Float(float) => &super::number::truncate(*float)?,
        other => other,
    };
    to_big(value).ok_or_else(|| {
        Fault::type_error(format!("%{kind} format: a real number is required, not {}", value.type_name()))
    })
}

/// In `%` formatting the precision of an int is its least number of digits.
fn percent_int(kind: char, int: &BigInt, spec: Spec, budget: &mut Budget) -> Result<String, Fault> {
    let Some(precision) = spec.precision else {
        return format_int(int, &Spec { kind: Some(kind), ..spec }, budget);
    };
    budget.allocate(precision as u64)?;
    let plain = Spec { kind: Some(kind), width: 0, precision: None, align: None, ..spec };
    let text = format_int(int, &plain, budget)?;
    let start = text.find(|c: char| c.is_ascii_hexdigit()).unwrap_or(0);
    let prefixed = spec.alternate && kind != 'd';
    let (sign, digits) = text.split_at(if prefixed { start + 2 } else { start });
    let zeros = "0".repeat(precision.saturating_sub(digits.len()));
    let pad = Spec { precision: None, ..spec };
    pad.pad(sign, &format!("{zeros}{digits}"), Align::Right, budget)
}

fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xff => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

/// `format.format(*args, **kwargs)`; f-strings are compiled to it.
pub fn dot_format(format: &str, arguments: &Arguments<'_>, budget: &mut Budget) -> Result<Value, Fault> {
    let mut fields = Fields { arguments, next: 0, numbered: None };
    let out = fields.expand(format, 2, budget)?;
    new_str(out, budget)
}

struct Fields<'a> {
    arguments: &'a Arguments<'a>,
    next: usize,
    /// Whether fields are numbered by hand; the two ways do not mix.
    numbered: Option<bool>,
}

impl Fields<'_> {
    fn expand(&mut self, format: &str, depth: u32, budget: &mut Budget) -> Result<String, Fault> {
        if depth == 0 {
            return Err(Fault::value_error("Max string recursion exceeded"));
        }
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err(Fault::value_error("Single '}' encountered in format string"));
            } else {
                let end = field_end(rest)?;
                out.push_str(&self.field(&rest[..end], depth, budget)?);
                rest = &rest[end + 1..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `name!conversion:spec`
    fn field(&mut self, field: &str, depth: u32, budget: &mut Budget) -> Result<String, Fault> {
        let colon = field.find(':').unwrap_or(field.len());
        let bang = field[..colon].find('!');
        let name = &field[..bang.unwrap_or(colon)];
        let value = self.value(name)?;
        let value = match bang.map(|at| &field[at + 1..colon]) {
            None => value,
            Some("r") => Value::str(repr(&value)),
            Some("a") => Value::str(ascii(&repr(&value))),
            Some("s") => {
                let mut text = String::new();
                put_str(&mut text, &value);
                Value::str(text)
            }
            Some(other) => {
                let shown = other.chars().next().map_or("end of string".to_owned(), |c| format!("'{c}'"));
                return Err(Fault::value_error(format!("Unknown conversion specifier {shown}")));
            }
        };
        let spec = self.expand(field.get(colon + 1..).unwrap_or_default(), depth - 1, budget);
        let spec = if colon == field.len() { String::new() } else { spec? };
        format_value(&value, &spec, budget)
    }

    /// `0`, `name`, or nothing for the next one; then `.attribute` and `[index]`.
    fn value(&mut self, name: &str) -> Result<Value, Fault> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut path) = name.split_at(end);
        let by_hand = first.bytes().all(|byte| byte.is_ascii_digit());
        let positional = self.arguments.positional;
        let missing = |at: usize| {
            let message = format!("Replacement index {at} out of range for positional args tuple");
            Fault::new(EvalErrorKind::Index, message)
        };
        let mut value = if by_hand {
            if self.numbered.is_some_and(|numbered| numbered == first.is_empty()) {
                return Err(Fault::value_error("cannot switch between manual and automatic field numbering"));
            }
            self.numbered = Some(!first.is_empty());
            let at = if first.is_empty() {
                self.next += 1;
                self.next - 1
            } else {
                first.parse().map_err(|_| Fault::value_error("Too many decimal digits in format string"))?
            };
            positional.get(at).cloned().ok_or_else(|| missing(at))?
        } else {
            let named = self.arguments.named(first).cloned();
            named.ok_or_else(|| Fault::new(EvalErrorKind::Key, repr(&Value::str(first))))?
        };
        while !path.is_empty() {
            if let Some(after) = path.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = attribute(&value, &after[..end])?;
                path = &after[end..];
            } else {
                let after = path.strip_prefix('[').unwrap_or(path);
                let end = after.find(']').ok_or_else(|| Fault::value_error("expected '}' before end of string"))?;
                let idx = match after[..end].parse::<i64>() {
                    Ok(idx) if after[..end].bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(idx),
                    _ => Value::str(&after[..end]),
                };
                value = index(&value, &idx)?;
                path = &after[end + 1..];
            }
        }
        Ok(value)
    }
}

/// Where a replacement field that has been opened closes; braces in its spec nest.
fn field_end(rest: &str) -> Result<usize, Fault> {
    let mut depth = 1;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(Fault::value_error("expected '}' before end of string"))
}

//! Format specifications, `[[fill]align][sign][#][0][width][grouping][.precision][type]`, as `format()` reads them.

use num_bigint::BigInt;

use super::{
    Budget, Fault,
    convert::sign_and_magnitude,
    number_text::{FloatStyle, float_text},
    operator,
};
use crate::model::{Value, text::put_str};

/// Widest field and longest precision.
pub const MAX_WIDTH: usize = i32::MAX as usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub fill: char,
    pub align: Option<char>,
    pub sign: char,
    pub alternate: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        }
    }
}

impl Spec {
    pub fn parse(text: &str, type_name: &str) -> Result<Spec, Fault> {
        let mut spec = Spec::default();
        let letters: Vec<char> = text.chars().collect();
        let get = |at: usize| letters.get(at).copied();
        let is_align = |letter: Option<char>| matches!(letter, Some('<' | '>' | '=' | '^'));
        let mut at = 0;
        if is_align(get(1)) {
            spec.fill = get(0).unwrap_or(' ');
            spec.align = get(1);
            at = 2;
        } else if is_align(get(0)) {
            spec.align = get(0);
            at = 1;
        }
        if let Some(sign @ ('+' | '-' | ' ')) = get(at) {
            spec.sign = sign;
            at += 1;
        }
        if get(at) == Some('#') {
            spec.alternate = true;
            at += 1;
        }
        if get(at) == Some('0') {
            if spec.align.is_none() {
                spec.align = Some('=');
                spec.fill = '0';
            }
            at += 1;
        }
        let number = |at: &mut usize| -> Result<Option<usize>, Fault> {
            let start = *at;
            while get(*at).is_some_and(|letter| letter.is_ascii_digit()) {
                *at += 1;
            }
            let digits: String = letters.iter().take(*at).skip(start).collect();
            match digits.is_empty() {
                true => Ok(None),
                false => match digits.parse::<usize>() {
                    Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
                    _ => Err(Fault::of_value("Too many decimal digits in format string")),
                },
            }
        };
        spec.width = number(&mut at)?.unwrap_or(0);
        if let Some(grouping @ (',' | '_')) = get(at) {
            spec.grouping = Some(grouping);
            at += 1;
        }
        if get(at) == Some('.') {
            at += 1;
            let precision = number(&mut at)?.ok_or_else(|| Fault::of_value("Format specifier missing precision"))?;
            spec.precision = Some(precision);
        }
        if let Some(kind) = get(at) {
            spec.kind = Some(kind);
            at += 1;
        }
        if at < letters.len() {
            let message = format!("Invalid format specifier '{text}' for object of type '{type_name}'");
            return Err(Fault::of_value(message));
        }
        Ok(spec)
    }

    /// Pads text of `shown`; a number has its sign and prefix in `head`.
    pub fn pad(&self, head: &str, shown: &str, default: char, budget: &mut Budget) -> Result<String, Fault> {
        let len = head.chars().count() + shown.chars().count();
        let missing = self.width.saturating_sub(len);
        budget.allocate((head.len() + shown.len() + missing * self.fill.len_utf8()) as u64)?;
        let fill = |count: usize| std::iter::repeat_n(self.fill, count).collect::<String>();
        Ok(match self.align.unwrap_or(default) {
            '<' => format!("{head}{shown}{}", fill(missing)),
            '^' => format!("{}{head}{shown}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{head}{}{shown}", fill(missing)),
            _ => format!("{}{head}{shown}", fill(missing)),
        })
    }
}

/// `format(value, spec)`
pub fn format_value(value: &Value, spec: &str, budget: &mut Budget) -> Result<String, Fault> {
    if spec.is_empty() {
        let mut out = String::new();
        put_str(&mut out, value);
        return Ok(out);
    }
    let name = value.type_name();
    let number = match value {
        Value::Bool(bool) => Value::Int(i64::from(*bool)),
        other => other.clone(),
    };
    match &number {
        Value::Str(text) => format_str(text, &Spec::parse(spec, name)?, budget),
        Value::Int(_) | Value::BigInt(_) => {
            let big = operator::big(&number).unwrap_or_default();
            format_int(&big, &number, &Spec::parse(spec, name)?, name, budget)
        }
        Value::Float(float) => format_float(*float, &Spec::parse(spec, name)?, budget),
        _ => Err(Fault::of_type(format!("unsupported format string passed to {name}.__format__"))),
    }
}

fn unknown(kind: char, name: &str) -> Fault {
    Fault::of_value(format!("Unknown format code '{kind}' for object of type '{name}'"))
}

fn format_str(text: &str, spec: &Spec, budget: &mut Budget) -> Result<String, Fault> {
    if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
        return Err(unknown(kind, "str"));
    }
    if spec.sign != '-' {
        return Err(Fault::of_value("Sign not allowed in string format specifier"));
    }
    if spec.alternate {
        return Err(Fault::of_value("Alternate form (#) not allowed in string format specifier"));
    }
    if let Some(grouping) = spec.grouping {
        return Err(Fault::of_value(format!("Cannot specify '{grouping}' with 's'.")));
    }
    let mut spec = spec.clone();
    if spec.align == Some('=') {
        // A zero before the width is a fill for text.
        if spec.fill != '0' {
            return Err(Fault::of_value("'=' alignment not allowed in string format specifier"));
        }
        spec.align = Some('<');
    }
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    spec.pad("", &cut, '<', budget)
}

fn format_int(big: &BigInt, value: &Value, spec: &Spec, name: &str, budget: &mut Budget) -> Result<String, Fault> {
    let kind = spec.kind.unwrap_or('d');
    if matches!(kind, 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') {
        return format_float(operator::float(value)?, spec, budget);
    }
    if spec.precision.is_some() {
        return Err(Fault::of_value("Precision not allowed in integer format specifier"));
    }
    let (negative, magnitude) = sign_and_magnitude(big);
    let (digits, prefix, group) = match kind {
        'd' | 'n' => (magnitude.to_string(), "", 3),
        'b' => (magnitude.to_str_radix(2), "0b", 4),
        'o' => (magnitude.to_str_radix(8), "0o", 4),
        'x' => (magnitude.to_str_radix(16), "0x", 4),
        'X' => (magnitude.to_str_radix(16).to_uppercase(), "0X", 4),
        'c' => {
            if spec.sign != '-' {
                return Err(Fault::of_value("Sign not allowed with integer format specifier 'c'"));
            }
            let letter = u32::try_from(big).ok().and_then(char::from_u32);
            let letter = letter
                .ok_or_else(|| Fault::new(crate::expr::EvalErrorKind::Overflow, "%c arg not in range(0x110000)"))?;
            return spec.pad("", letter.encode_utf8(&mut [0; 4]), '<', budget);
        }
        other => return Err(unknown(other, name)),
    };
    if let (Some(','), 'b' | 'o' | 'x' | 'X') = (spec.grouping, kind) {
        return Err(Fault::of_value(format!("Cannot specify ',' with '{kind}'.")));
    }
    let prefix = if spec.alternate { prefix } else { "" };
    let head = format!("{}{prefix}", sign(negative, spec.sign));
    grouped(&head, &digits, "", group, spec, budget)
}

fn format_float(value: f64, spec: &Spec, budget: &mut Budget) -> Result<String, Fault> {
    let (style, upper) = match spec.kind {
        None => (FloatStyle::Plain, false),
        Some('e') => (FloatStyle::Exponent, false),
        Some('E') => (FloatStyle::Exponent, true),
        Some('f') => (FloatStyle::Fixed, false),
        Some('F') => (FloatStyle::Fixed, true),
        Some('g' | 'n') => (FloatStyle::General, false),
        Some('G') => (FloatStyle::General, true),
        Some('%') => (FloatStyle::Fixed, false),
        Some(other) => return Err(unknown(other, "float")),
    };
    budget.allocate(spec.precision.unwrap_or(0) as u64 + 400)?;
    let shown = if spec.kind == Some('%') { value * 100.0 } else { value };
    let mut text = float_text(shown, style, spec.precision, spec.alternate, upper);
    if spec.kind == Some('%') {
        text.push('%');
    }
    let negative = value.is_sign_negative() && !value.is_nan();
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(at);
    grouped(sign(negative, spec.sign), digits, rest, 3, spec, budget)
}

fn sign(negative: bool, wanted: char) -> &'static str {
    match (negative, wanted) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    }
}

/// Digits in groups, with the zeros that fill the width grouped too.
fn grouped(
    head: &str,
    digits: &str,
    rest: &str,
    group: usize,
    spec: &Spec,
    budget: &mut Budget,
) -> Result<String, Fault> {
    let Some(separator) = spec.grouping.filter(|_| !digits.is_empty()) else {
        return spec.pad(head, &format!("{digits}{rest}"), '>', budget);
    };
    let mut digits = digits.to_owned();
    if spec.fill == '0' && spec.align == Some('=') {
        budget.allocate(spec.width as u64 * 2)?;
        let room = spec.width.saturating_sub(head.len() + rest.len());
        // n digits take n + (n - 1) / group places.
        let mut count = digits.len();
        while count + (count - 1) / group < room {
            count += 1;
        }
        digits = format!("{}{digits}", "0".repeat(count - digits.len()));
    }
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(group) {
            shown.push(separator);
        }
        shown.push(digit);
    }
    shown.push_str(rest);
    spec.pad(head, &shown, '>', budget)
}

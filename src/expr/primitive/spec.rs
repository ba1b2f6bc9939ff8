//! Python's format specifications: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.

use num_bigint::{BigInt, Sign};
use num_traits::Signed;

use super::{
    Budget, Fault,
    operator::{to_big, to_float},
};
use crate::model::{
    Value,
    text::{put_float, put_str},
};

/// Widths and precisions past this are refused, as no text needs them.
const MAX_WIDTH: usize = 1 << 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
    Centre,
    /// Between sign and digits.
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    pub fill: char,
    pub align: Option<Align>,
    /// `+`, a space, or `-` (the default).
    pub sign: char,
    pub alternate: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    /// The type letter; `None` where there is none.
    pub kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
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
    /// Reads the text behind the colon of a replacement field.
    pub fn parse(text: &str) -> Result<Spec, Fault> {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        let mut spec = Spec::default();
        let align = |c: Option<&char>| match c {
            Some('<') => Some(Align::Left),
            Some('>') => Some(Align::Right),
            Some('^') => Some(Align::Centre),
            Some('=') => Some(Align::Number),
            _ => None,
        };
        if let Some(found) = align(chars.get(1)) {
            (spec.fill, spec.align, at) = (chars[0], Some(found), 2);
        } else if let Some(found) = align(chars.first()) {
            (spec.align, at) = (Some(found), 1);
        }
        if let Some(c @ ('+' | '-' | ' ')) = chars.get(at) {
            (spec.sign, at) = (*c, at + 1);
        }
        if chars.get(at) == Some(&'#') {
            (spec.alternate, at) = (true, at + 1);
        }
        if chars.get(at) == Some(&'0') {
            at += 1;
            // The zero fills wherever no other fill is given; it aligns only where nothing else does.
            if chars.len() < 2 || align(chars.get(1)).is_none() {
                spec.fill = '0';
            }
            spec.align = spec.align.or(Some(Align::Number));
        }
        spec.width = number(&chars, &mut at)?.unwrap_or(0);
        if let Some(c @ (',' | '_')) = chars.get(at) {
            (spec.grouping, at) = (Some(*c), at + 1);
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            spec.precision =
                Some(number(&chars, &mut at)?.ok_or_else(|| Fault::value_error("Format specifier missing precision"))?);
        }
        spec.kind = chars.get(at).copied();
        if chars.len() > at + 1 {
            return Err(Fault::value_error(format!("Invalid format specifier '{text}'")));
        }
        Ok(spec)
    }

    /// Pads `body` to the width; `sign` and prefix stay in front of zeros.
    pub fn pad(&self, sign: &str, body: &str, default: Align, budget: &mut Budget) -> Result<String, Fault> {
        let len = sign.chars().count() + body.chars().count();
        let missing = self.width.saturating_sub(len);
        budget.allocate(missing.saturating_mul(self.fill.len_utf8()).saturating_add(sign.len() + body.len()) as u64)?;
        let fill = |count: usize| std::iter::repeat_n(self.fill, count).collect::<String>();
        Ok(match self.align.unwrap_or(default) {
            Align::Left => format!("{sign}{body}{}", fill(missing)),
            Align::Right => format!("{}{sign}{body}", fill(missing)),
            Align::Centre => format!("{}{sign}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
            Align::Number => format!("{sign}{}{body}", fill(missing)),
        })
    }

    fn sign_of(&self, negative: bool) -> &'static str {
        match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        }
    }
}

fn number(chars: &[char], at: &mut usize) -> Result<Option<usize>, Fault> {
    let mut found = None;
    while let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(10)) {
        let value = found.unwrap_or(0) * 10 + digit as usize;
        if value > MAX_WIDTH {
            return Err(Fault::value_error("Too many decimal digits in format string"));
        }
        found = Some(value);
        *at += 1;
    }
    Ok(found)
}

/// `format(value, spec)`
pub fn format_value(value: &Value, text: &str, budget: &mut Budget) -> Result<String, Fault> {
    if text.is_empty() {
        let mut out = String::new();
        put_str(&mut out, value);
        budget.allocate(out.len() as u64)?;
        return Ok(out);
    }
    let spec = Spec::parse(text)?;
    match value {
        Value::Str(text) => format_str(text, &spec, budget),
        Value::Int(_) | Value::BigInt(_) => match spec.kind {
            Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => match to_float(value) {
                Some(float) => format_float(float?, &spec, budget),
                None => Ok(String::new()),
            },
            _ => format_int(&to_big(value).unwrap_or_default(), &spec, budget),
        },
        Value::Float(float) => format_float(*float, &spec, budget),
        // With a specification it is an int.
        Value::Bool(flag) => format_value(&Value::Int(i64::from(*flag)), text, budget),
        other => {
            Err(Fault::type_error(format!("unsupported format string passed to {}.__format__", other.type_name())))
        }
    }
}

fn unknown(kind: char, type_name: &str) -> Fault {
    Fault::value_error(format!("Unknown format code '{kind}' for object of type '{type_name}'"))
}

fn format_str(text: &str, spec: &Spec, budget: &mut Budget) -> Result<String, Fault> {
    if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
        return Err(unknown(kind, "str"));
    }
    let refused = match spec {
        Spec { sign: ' ', .. } => Some("Space not allowed in string format specifier".to_owned()),
        Spec { sign: '+', .. } => Some("Sign not allowed in string format specifier".to_owned()),
        Spec { alternate: true, .. } => Some("Alternate form (#) not allowed in string format specifier".to_owned()),
        Spec { grouping: Some(c), .. } => Some(format!("Cannot specify '{c}' with 's'.")),
        _ => None,
    };
    if let Some(refused) = refused {
        return Err(Fault::value_error(refused));
    }
    if spec.align == Some(Align::Number) && spec.fill != '0' {
        return Err(Fault::value_error("'=' alignment not allowed in string format specifier"));
    }
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    // A zero before the width pads strings on the right, as Python 3.10 and later do.
    let spec = if spec.align == Some(Align::Number) { &Spec { align: Some(Align::Left), ..*spec } } else { spec };
    spec.pad("", &cut, Align::Left, budget)
}

/// An int as `d x X o b c n`.
pub fn format_int(int: &BigInt, spec: &Spec, budget: &mut Budget) -> Result<String, Fault> {
    if spec.precision.is_some() {
        return Err(Fault::value_error("Precision not allowed in integer format specifier"));
    }
    budget.steps(int.bits() / 64 + 1)?;
    let (radix, prefix) = match spec.kind.unwrap_or('d') {
        'd' | 'n' => (10, ""),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        'o' => (8, "0o"),
        'b' => (2, "0b"),
        'c' => {
            let c = u32::try_from(int).ok().and_then(char::from_u32);
            let c = c.ok_or_else(|| Fault::value_error("%c arg not in range(0x110000)"))?;
            return spec.pad("", c.encode_utf8(&mut [0; 4]), Align::Left, budget);
        }
        other => return Err(unknown(other, "int")),
    };
    if let (Some(','), true, Some(kind)) = (spec.grouping, radix != 10, spec.kind) {
        return Err(Fault::value_error(format!("Cannot specify ',' with '{kind}'.")));
    }
    let mut digits = int.abs().to_str_radix(radix);
    if spec.kind == Some('X') {
        digits.make_ascii_uppercase();
    }
    let prefix = if spec.alternate { prefix } else { "" };
    let sign = format!("{}{prefix}", spec.sign_of(int.sign() == Sign::Minus));
    let group = if radix == 10 { 3 } else { 4 };
    let digits = grouped(&digits, "", spec, group, sign.len());
    spec.pad(&sign, &digits, Align::Right, budget)
}

/// A float as `e E f F g G %`, or without a type.
pub fn format_float(float: f64, spec: &Spec, budget: &mut Budget) -> Result<String, Fault> {
    let kind = spec.kind;
    let precision = spec.precision.unwrap_or(6);
    budget.allocate((precision as u64).saturating_add(320))?;
    let magnitude = float.abs();
    let mut body = match kind {
        None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%') if !magnitude.is_finite() => {
            if magnitude.is_nan() { "nan" } else { "inf" }.to_owned()
        }
        Some('f' | 'F') => fixed(magnitude, precision, spec.alternate),
        Some('%') => fixed(magnitude * 100.0, precision, spec.alternate),
        Some('e' | 'E') => scientific(magnitude, precision, spec.alternate),
        Some('g' | 'G' | 'n') => general(magnitude, precision, spec.alternate, 0),
        None => match spec.precision {
            Some(precision) => {
                let text = general(magnitude, precision, spec.alternate, 1);
                if text.contains(['.', 'e']) { text } else { format!("{text}.0") }
            }
            None => {
                let mut text = String::new();
                put_float(&mut text, magnitude);
                text
            }
        },
        Some(other) => return Err(unknown(other, "float")),
    };
    if kind.is_some_and(|kind| kind.is_ascii_uppercase()) {
        body.make_ascii_uppercase();
    }
    if kind == Some('%') {
        body.push('%');
    }
    let sign = spec.sign_of(float.is_sign_negative() && !float.is_nan());
    let split = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let (whole, rest) = body.split_at(split);
    let body = if whole.is_empty() { body.clone() } else { grouped(whole, rest, spec, 3, sign.len()) };
    spec.pad(sign, &body, Align::Right, budget)
}

/// Digits in groups; zeros that fill up to the width are grouped with them.
fn grouped(digits: &str, rest: &str, spec: &Spec, size: usize, sign: usize) -> String {
    let Some(separator) = spec.grouping else { return format!("{digits}{rest}") };
    let mut digits = digits.to_owned();
    if spec.align == Some(Align::Number) && spec.fill == '0' {
        let with_separators = |len: usize| len + (len - 1) / size;
        while with_separators(digits.len()) + rest.len() + sign < spec.width {
            digits.insert(0, '0');
        }
    }
    let mut out = String::with_capacity(digits.len() * 4 / 3 + rest.len());
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(digit);
    }
    out + rest
}

/// No float has more digits behind its point: what follows them are zeros. Rust's own formats end at 65535.
const EXACT: usize = 1_074;

fn fixed(magnitude: f64, precision: usize, alternate: bool) -> String {
    let exact = precision.min(EXACT);
    let text = format!("{magnitude:.exact$}") + &"0".repeat(precision - exact);
    if alternate && precision == 0 { text + "." } else { text }
}

fn scientific(magnitude: f64, precision: usize, alternate: bool) -> String {
    let exact = precision.min(EXACT);
    let text = format!("{magnitude:.exact$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = "0".repeat(precision - exact);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = if alternate && precision == 0 { "." } else { "" };
    format!("{digits}{zeros}{point}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// `precision` significant digits, in whichever form is shorter; `short` moves the switch to exponents.
fn general(magnitude: f64, precision: usize, alternate: bool, short: i32) -> String {
    let precision = precision.max(1);
    let rounded = format!("{magnitude:.*e}", (precision - 1).min(EXACT));
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let text = if exponent < -4 || exponent >= precision as i32 - short {
        scientific(magnitude, precision - 1, alternate)
    } else {
        fixed(magnitude, (precision as i32 - 1 - exponent).max(0) as usize, alternate)
    };
    if alternate {
        return text;
    }
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, format!("e{exponent}")),
        None => (&*text, String::new()),
    };
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}{exponent}")
}

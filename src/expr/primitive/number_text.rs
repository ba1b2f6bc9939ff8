//! Texts of numbers with a precision: `e`, `f`, `g` and what Python does without a type.

use crate::model::text::put_float;

/// How a float is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatStyle {
    Exponent,
    Fixed,
    General,
    /// No type: `repr`, or with a precision like `g`, but always with a digit after the point.
    Plain,
}

/// The digits of a float without its sign. `precision` none is the style's default.
pub fn float_text(value: f64, style: FloatStyle, precision: Option<usize>, alternate: bool, upper: bool) -> String {
    let value = value.abs();
    let mut text = if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        "inf".to_owned()
    } else {
        match style {
            FloatStyle::Fixed => fixed(value, precision.unwrap_or(6), alternate),
            FloatStyle::Exponent => exponent(value, precision.unwrap_or(6), alternate),
            FloatStyle::General => general(value, precision.unwrap_or(6), alternate, false),
            FloatStyle::Plain => match precision {
                Some(precision) => general(value, precision, alternate, true),
                None => {
                    let mut out = String::new();
                    put_float(&mut out, value);
                    out
                }
            },
        }
    };
    if upper {
        text.make_ascii_uppercase();
    }
    text
}

fn fixed(value: f64, precision: usize, alternate: bool) -> String {
    let mut text = format!("{value:.precision$}");
    if alternate && precision == 0 {
        text.push('.');
    }
    text
}

fn exponent(value: f64, precision: usize, alternate: bool) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if alternate && precision == 0 { "." } else { "" };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}{point}e{sign}{exponent:0>2}")
}

fn general(value: f64, precision: usize, alternate: bool, plain: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let power: i64 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let limit = precision as i64 - i64::from(plain);
    if power < -4 || power >= limit {
        let text = exponent(value, precision - 1, alternate);
        return if alternate { text } else { trim(&text) };
    }
    let text = fixed(value, (precision as i64 - 1 - power).max(0) as usize, alternate);
    let text = if alternate { text } else { trim(&text) };
    match plain && !text.contains('.') {
        true => format!("{text}.0"),
        false => text,
    }
}

/// Without zeros at the end of the fraction.
fn trim(text: &str) -> String {
    let (digits, exponent) = match text.find('e') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    match digits.contains('.') {
        true => format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.')),
        false => text.to_owned(),
    }
}

//! Case of str, and what kind of letters it has.
//!
//! Letters are told by the Unicode properties of the standard library: `isalpha` is Alphabetic (Python: the letter
//! categories, without marks and letter numbers), `isdigit` knows decimal, superscript, subscript and circled digits.

use super::{
    MethodFn,
    argument::none,
    convert::{decimal_digit, is_space},
    str_method::of,
};
use crate::model::{Value, text::is_printable};

pub fn method(name: &str) -> Option<MethodFn> {
    macro_rules! change {
        ($name:literal, $change:expr) => {
            |value, arguments, caller| {
                none(concat!("str.", $name), arguments)?;
                let text = of(value)?;
                caller.budget().allocate(text.len() as u64 * 3)?;
                let change: fn(&str) -> String = $change;
                Ok(Value::Str(change(text).into()))
            }
        };
    }
    macro_rules! test {
        ($name:literal, $test:expr) => {
            |value, arguments, _| {
                none(concat!("str.", $name), arguments)?;
                let test: fn(&str) -> bool = $test;
                Ok(Value::Bool(test(of(value)?)))
            }
        };
    }
    Some(match name {
        "lower" => {
            change!("lower", |text| if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() })
        }
        "upper" => {
            change!("upper", |text| if text.is_ascii() { text.to_ascii_uppercase() } else { text.to_uppercase() })
        }
        "capitalize" => change!("capitalize", capitalize),
        "title" => change!("title", title),
        "swapcase" => change!("swapcase", swapcase),
        "casefold" => change!("casefold", casefold),
        "isalpha" => test!("isalpha", |text| every(text, char::is_alphabetic)),
        "isalnum" => test!("isalnum", |text| every(text, char::is_alphanumeric)),
        "isascii" => test!("isascii", str::is_ascii),
        "isdecimal" => test!("isdecimal", |text| every(text, is_decimal)),
        "isdigit" => test!("isdigit", |text| every(text, is_digit)),
        "isnumeric" => test!("isnumeric", |text| every(text, char::is_numeric)),
        "isspace" => test!("isspace", |text| every(text, is_space)),
        "isprintable" => test!("isprintable", |text| text.chars().all(is_printable)),
        "isidentifier" => test!("isidentifier", is_identifier),
        "islower" => {
            test!("islower", |text| { text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase) })
        }
        "isupper" => {
            test!("isupper", |text| { text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase) })
        }
        "istitle" => test!("istitle", is_title),
        _ => return None,
    })
}

fn every(text: &str, test: fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(test)
}

fn is_decimal(letter: char) -> bool {
    decimal_digit(letter).is_some_and(|digit| digit.is_ascii_digit())
}

fn is_digit(letter: char) -> bool {
    is_decimal(letter)
        || matches!(letter, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}' | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}'
            | '\u{2460}'..='\u{2468}' | '\u{2474}'..='\u{247c}' | '\u{2488}'..='\u{2490}')
}

fn is_identifier(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && letters.all(|letter| letter == '_' || letter.is_alphanumeric())
}

fn is_cased(letter: char) -> bool {
    letter.is_lowercase() || letter.is_uppercase() || is_title_letter(letter)
}

/// Letters like ǅ that are upper case in front and lower case behind.
fn is_title_letter(letter: char) -> bool {
    matches!(letter, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
        | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

/// The letter as it begins a word.
fn push_title(out: &mut String, letter: char) {
    match letter {
        'ß' => out.push_str("Ss"),
        '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
        '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
        '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
        '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
        '\u{fb00}' => out.push_str("Ff"),
        '\u{fb01}' => out.push_str("Fi"),
        '\u{fb02}' => out.push_str("Fl"),
        '\u{fb03}' => out.push_str("Ffi"),
        '\u{fb04}' => out.push_str("Ffl"),
        '\u{fb05}' | '\u{fb06}' => out.push_str("St"),
        other => out.extend(other.to_uppercase()),
    }
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    let mut out = String::with_capacity(text.len());
    if let Some(first) = letters.next() {
        push_title(&mut out, first);
        // The rest in its place, for the sigma at the end of a word.
        let lower = text.to_lowercase();
        let first_len = first.to_lowercase().map(char::len_utf8).sum();
        out.push_str(lower.get(first_len..).unwrap_or_default());
    }
    out
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for letter in text.chars() {
        match inside {
            true => out.extend(letter.to_lowercase()),
            false => push_title(&mut out, letter),
        }
        inside = is_cased(letter);
    }
    out
}

fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_uppercase() {
            out.extend(letter.to_lowercase());
        } else if letter.is_lowercase() {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
    }
    out
}

fn casefold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ς' => out.push('σ'),
            '\u{b5}' => out.push('μ'),
            'ſ' => out.push('s'),
            '\u{fb00}'..='\u{fb06}' => {
                let mut titled = String::new();
                push_title(&mut titled, letter);
                out.push_str(&titled.to_lowercase());
            }
            other => out.extend(other.to_lowercase()),
        }
    }
    out
}

fn is_title(text: &str) -> bool {
    let mut inside = false;
    let mut any = false;
    for letter in text.chars() {
        if letter.is_uppercase() || is_title_letter(letter) {
            if inside {
                return false;
            }
            inside = true;
            any = true;
        } else if letter.is_lowercase() {
            if !inside {
                return false;
            }
            any = true;
        } else {
            inside = false;
        }
    }
    any
}

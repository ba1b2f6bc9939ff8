//! Methods of str; those that search are in `str_search`, those about case and kinds of letters in `str_case`.

use super::{
    Arguments, Caller, Fault, MethodFn,
    access::iterate,
    argument::{flag, int, none, one, take, text},
    convert::is_space,
    dot_format, str_case, str_search,
};
use crate::model::Value;

pub const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "codepoints",
    "count",
    "elems",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "center" => |value, arguments, caller| pad("center", value, arguments, caller),
        "codepoints" => |value, arguments, caller| {
            none("str.codepoints", arguments)?;
            let text = of(value)?;
            caller.budget().elements(text.len())?;
            Ok(Value::list(text.chars().map(|letter| Value::Int(i64::from(letter as u32))).collect()))
        },
        "elems" => |value, arguments, caller| {
            none("str.elems", arguments)?;
            let text = of(value)?;
            caller.budget().elements(text.len())?;
            Ok(Value::list(text.chars().map(|letter| Value::str(letter.encode_utf8(&mut [0; 4]))).collect()))
        },
        "encode" => |value, arguments, _| {
            let [encoding, _] = take("encode", arguments, ["encoding", "errors"], 0)?;
            match encoding {
                None => encode_as(of(value)?, "utf-8"),
                Some(name) => encode_as(of(value)?, text(name, |name| must_be("encode", "encoding", name))?),
            }
        },
        "expandtabs" => expandtabs,
        "format" => |value, arguments, caller| dot_format(of(value)?, arguments, caller.budget()),
        "join" => join,
        "ljust" => |value, arguments, caller| pad("ljust", value, arguments, caller),
        "lstrip" => |value, arguments, _| strip("lstrip", value, arguments),
        "partition" => |value, arguments, _| partition(value, arguments, false),
        "removeprefix" => |value, arguments, _| {
            let text = of(value)?;
            let prefix = self::text(one("removeprefix", arguments)?, |name| must_be("removeprefix", "argument", name))?;
            Ok(text.strip_prefix(prefix).map_or_else(|| value.clone(), Value::str))
        },
        "removesuffix" => |value, arguments, _| {
            let text = of(value)?;
            let suffix = self::text(one("removesuffix", arguments)?, |name| must_be("removesuffix", "argument", name))?;
            Ok(text.strip_suffix(suffix).map_or_else(|| value.clone(), Value::str))
        },
        "replace" => replace,
        "rjust" => |value, arguments, caller| pad("rjust", value, arguments, caller),
        "rpartition" => |value, arguments, _| partition(value, arguments, true),
        "rsplit" => |value, arguments, caller| split(value, arguments, caller, true),
        "rstrip" => |value, arguments, _| strip("rstrip", value, arguments),
        "split" => |value, arguments, caller| split(value, arguments, caller, false),
        "splitlines" => splitlines,
        "strip" => |value, arguments, _| strip("strip", value, arguments),
        "zfill" => zfill,
        other => return str_search::method(other).or_else(|| str_case::method(other)),
    })
}

/// The receiver.
pub fn of(value: &Value) -> Result<&str, Fault> {
    text(value, |name| format!("a str is needed, not '{name}'"))
}

fn must_be(method: &str, what: &str, found: &str) -> String {
    format!("{method}() {what} must be str, not {found}")
}

/// The bytes of a text in an encoding.
pub fn encode_as(text: &str, encoding: &str) -> Result<Value, Fault> {
    match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => Ok(Value::Bytes(text.as_bytes().into())),
        "ascii" | "us-ascii" if text.is_ascii() => Ok(Value::Bytes(text.as_bytes().into())),
        "latin-1" | "latin1" | "iso-8859-1" if text.chars().all(|letter| (letter as u32) < 256) => {
            Ok(Value::Bytes(text.chars().map(|letter| letter as u8).collect()))
        }
        "ascii" | "us-ascii" | "latin-1" | "latin1" | "iso-8859-1" => {
            Err(Fault::of_value(format!("'{encoding}' codec can't encode the text")))
        }
        _ => Err(Fault::of_value(format!("unknown encoding: {encoding}"))),
    }
}

fn join(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let separator = of(value)?;
    let items = iterate(one("str.join", arguments)?, caller.budget())?;
    let mut len = 0;
    for (idx, item) in items.iter().enumerate() {
        let Value::Str(text) = item else {
            let name = item.type_name();
            return Err(Fault::of_type(format!("sequence item {idx}: expected str instance, {name} found")));
        };
        len += text.len() + separator.len();
    }
    caller.budget().allocate(len as u64)?;
    let mut joined = String::with_capacity(len);
    for (idx, item) in items.iter().enumerate() {
        joined.push_str(if idx > 0 { separator } else { "" });
        joined.push_str(of(item)?);
    }
    Ok(Value::Str(joined.into()))
}

fn pad(method: &str, value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(width), fill] = take(method, arguments, ["", ""], 1)? else { return Ok(Value::None) };
    let text = of(value)?;
    let width = int(width)?.max(0) as usize;
    let fill = match fill {
        None => ' ',
        Some(Value::Str(fill)) => {
            let mut letters = fill.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => letter,
                _ => return Err(Fault::of_type("The fill character must be exactly one character long")),
            }
        }
        Some(other) => {
            let name = other.type_name();
            return Err(Fault::of_type(format!("The fill character must be a unicode character, not {name}")));
        }
    };
    let missing = width.saturating_sub(text.chars().count());
    caller.budget().allocate(text.len() as u64 + missing as u64 * fill.len_utf8() as u64)?;
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // As Python: the odd one goes left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let fills = |count: usize| std::iter::repeat_n(fill, count);
    let padded: String = fills(left).chain(text.chars()).chain(fills(missing - left)).collect();
    Ok(Value::Str(padded.into()))
}

fn zfill(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let text = of(value)?;
    let width = int(one("str.zfill", arguments)?)?.max(0) as usize;
    let missing = width.saturating_sub(text.chars().count());
    caller.budget().allocate((text.len() + missing) as u64)?;
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'+' | b'-') => text.split_at(1),
        _ => ("", text),
    };
    Ok(Value::str(format!("{sign}{}{digits}", "0".repeat(missing))))
}

fn expandtabs(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [size] = take("expandtabs", arguments, ["tabsize"], 0)?;
    let size = size.map_or(Ok(8), int)?.max(0) as usize;
    let mut out = String::new();
    let mut column = 0;
    for letter in of(value)?.chars() {
        match letter {
            '\t' => {
                let width = if size == 0 { 0 } else { size - column % size };
                caller.budget().allocate(width as u64)?;
                out.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            other => {
                column = if matches!(other, '\n' | '\r') { 0 } else { column + 1 };
                out.push(other);
            }
        }
    }
    Ok(Value::Str(out.into()))
}

fn strip(method: &str, value: &Value, arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let [letters] = take(method, arguments, [""], 0)?;
    let whole = of(value)?;
    let stripped = match letters {
        None | Some(Value::None) => match method {
            "lstrip" => whole.trim_start_matches(is_space),
            "rstrip" => whole.trim_end_matches(is_space),
            _ => whole.trim_matches(is_space),
        },
        Some(Value::Str(letters)) => {
            let is_one = |letter: char| letters.contains(letter);
            match method {
                "lstrip" => whole.trim_start_matches(is_one),
                "rstrip" => whole.trim_end_matches(is_one),
                _ => whole.trim_matches(is_one),
            }
        }
        Some(_) => return Err(Fault::of_type(format!("{method} arg must be None or str"))),
    };
    Ok(if stripped.len() == whole.len() { value.clone() } else { Value::str(stripped) })
}

fn partition(value: &Value, arguments: &Arguments<'_>, last: bool) -> Result<Value, Fault> {
    let whole = of(value)?;
    let separator = one(if last { "str.rpartition" } else { "str.partition" }, arguments)?;
    let separator = text(separator, |name| format!("must be str, not {name}"))?;
    if separator.is_empty() {
        return Err(Fault::of_value("empty separator"));
    }
    let found = if last { whole.rsplit_once(separator) } else { whole.split_once(separator) };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", whole],
        None => [whole, "", ""],
    };
    Ok(Value::tuple(parts.map(Value::str)))
}

fn replace(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(old), Some(new), count] = take("replace", arguments, ["", "", "count"], 2)? else {
        return Ok(Value::None);
    };
    let whole = of(value)?;
    let old = text(old, |name| must_be("replace", "argument 1", name))?;
    let new = text(new, |name| must_be("replace", "argument 2", name))?;
    let count = match count.map_or(Ok(-1), int)? {
        count if count < 0 => usize::MAX,
        count => count as usize,
    };
    let found = match old.is_empty() {
        true => whole.chars().count() + 1,
        false => memchr::memmem::find_iter(whole.as_bytes(), old).count(),
    };
    let found = found.min(count);
    if found == 0 {
        return Ok(value.clone());
    }
    caller.budget().allocate((whole.len() as u64).saturating_add((found as u64).saturating_mul(new.len() as u64)))?;
    Ok(Value::Str(whole.replacen(old, new, found).into()))
}

fn split(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller, from_right: bool) -> Result<Value, Fault> {
    let name = if from_right { "rsplit" } else { "split" };
    let [separator, most] = take(name, arguments, ["sep", "maxsplit"], 0)?;
    let most = match most.map_or(Ok(-1), int)? {
        most if most < 0 => usize::MAX,
        most => most as usize,
    };
    let whole = of(value)?;
    let parts: Vec<&str> = match separator {
        None | Some(Value::None) => words(whole, most, from_right),
        Some(separator) => {
            let separator = text(separator, |name| format!("must be str or None, not {name}"))?;
            if separator.is_empty() {
                return Err(Fault::of_value("empty separator"));
            }
            match from_right {
                false => whole.splitn(most.saturating_add(1), separator).collect(),
                true => {
                    let mut parts: Vec<&str> = whole.rsplitn(most.saturating_add(1), separator).collect();
                    parts.reverse();
                    parts
                }
            }
        }
    };
    caller.budget().allocate(whole.len() as u64 + parts.len() as u64 * 24)?;
    Ok(Value::list(parts.into_iter().map(Value::str).collect()))
}

/// Splits at runs of white space; the rest after the last split keeps its inner white space.
fn words(whole: &str, most: usize, from_right: bool) -> Vec<&str> {
    if most == usize::MAX {
        return whole.split(is_space).filter(|word| !word.is_empty()).collect();
    }
    let mut parts = Vec::new();
    let mut rest = whole.trim_matches(is_space);
    while !rest.is_empty() {
        let at = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let (Some(at), true) = (at, parts.len() < most) else {
            break;
        };
        let len = rest.get(at..).and_then(|tail| tail.chars().next()).map_or(1, char::len_utf8);
        let (before, after) = (rest.get(..at).unwrap_or_default(), rest.get(at + len..).unwrap_or_default());
        if from_right {
            parts.push(after);
            rest = before.trim_end_matches(is_space);
        } else {
            parts.push(before);
            rest = after.trim_start_matches(is_space);
        }
    }
    if !rest.is_empty() {
        // Python trims the side it splits from, and keeps the other as it is.
        let kept = match (parts.is_empty(), from_right) {
            (true, false) => whole.trim_start_matches(is_space),
            (true, true) => whole.trim_end_matches(is_space),
            (false, false) => {
                let start = rest.as_ptr() as usize - whole.as_ptr() as usize;
                whole.get(start..).unwrap_or(rest)
            }
            (false, true) => {
                let end = rest.as_ptr() as usize + rest.len() - whole.as_ptr() as usize;
                whole.get(..end).unwrap_or(rest)
            }
        };
        parts.push(kept);
    }
    if from_right {
        parts.reverse();
    }
    parts
}

fn splitlines(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [keep] = take("splitlines", arguments, ["keepends"], 0)?;
    let keep = flag(keep);
    let whole = of(value)?;
    let mut lines = Vec::new();
    let mut start = 0;
    let mut letters = whole.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if !matches!(letter, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + letter.len_utf8();
        if letter == '\r' && letters.peek().is_some_and(|(_, next)| *next == '\n') {
            letters.next();
            end += 1;
        }
        let until = if keep { end } else { at };
        lines.push(Value::str(whole.get(start..until).unwrap_or_default()));
        start = end;
    }
    if start < whole.len() {
        lines.push(Value::str(whole.get(start..).unwrap_or_default()));
    }
    caller.budget().allocate(whole.len() as u64 + lines.len() as u64 * 24)?;
    Ok(Value::list(lines))
}

//! Methods of str. Positions count characters; arguments, results and messages are Python's.

use super::{
    Arguments, Budget, Caller, Fault, MethodFn,
    case::{casefold, swapcase},
    dot_format, iterate,
    letter::{decimal_digit, is_digit, is_letter, is_numeric, is_title_letter},
    new_str,
    number::is_python_space,
    spec::{Align, Spec},
    titlecase::{capitalize, title},
    truthy,
};
use crate::{expr::EvalErrorKind, model::Value};

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
    "isprintable",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
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
        "capitalize" => |s, a, c| plain("capitalize", s, a, c, capitalize),
        "casefold" => |s, a, c| plain("casefold", s, a, c, casefold),
        "center" => |s, a, c| justify("center", Align::Centre, s, a, c),
        "codepoints" => |s, a, c| {
            a.take("codepoints", [], 0)?;
            let codes: Vec<Value> = of(s).chars().map(|c| Value::Int(i64::from(u32::from(c)))).collect();
            c.budget().values(codes.len())?;
            Ok(Value::list(codes))
        },
        "count" => count,
        "elems" => |s, a, c| {
            a.take("elems", [], 0)?;
            c.budget().values(of(s).chars().count())?;
            Ok(Value::list(of(s).chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4]))).collect()))
        },
        "encode" => encode,
        "endswith" => |s, a, _| affix("endswith", s, a, |text, part| text.ends_with(part)),
        "expandtabs" => expand_tabs,
        "find" => |s, a, _| Ok(Value::Int(search("find", s, a, false)?.map_or(-1, |at| at as i64))),
        "format" => |s, a, c| dot_format(of(s), a, c.budget()),
        "index" => |s, a, _| found(search("index", s, a, false)?),
        "isalnum" => |s, a, _| all("isalnum", s, a, |c| is_letter(c) || is_numeric(c)),
        "isalpha" => |s, a, _| all("isalpha", s, a, is_letter),
        "isascii" => |s, a, _| {
            a.take("isascii", [], 0)?;
            Ok(Value::Bool(of(s).is_ascii()))
        },
        "isprintable" => |s, a, _| {
            a.take("isprintable", [], 0)?;
            Ok(Value::Bool(of(s).chars().all(crate::model::text::is_printable)))
        },
        "isdecimal" => |s, a, _| all("isdecimal", s, a, |c| decimal_digit(c).is_some()),
        "isdigit" => |s, a, _| all("isdigit", s, a, is_digit),
        "isidentifier" => |s, a, _| {
            a.take("isidentifier", [], 0)?;
            let mut chars = of(s).chars();
            let first = chars.next().is_some_and(|c| c == '_' || unicode_ident::is_xid_start(c));
            Ok(Value::Bool(first && chars.all(unicode_ident::is_xid_continue)))
        },
        "islower" => |s, a, _| cased("islower", s, a, char::is_lowercase, char::is_uppercase),
        "isnumeric" => |s, a, _| all("isnumeric", s, a, is_numeric),
        "isspace" => |s, a, _| all("isspace", s, a, is_python_space),
        "istitle" => is_title,
        "isupper" => |s, a, _| cased("isupper", s, a, char::is_uppercase, char::is_lowercase),
        "join" => join,
        "ljust" => |s, a, c| justify("ljust", Align::Left, s, a, c),
        "lower" => |s, a, c| plain("lower", s, a, c, str::to_lowercase),
        "lstrip" => |s, a, c| strip("lstrip", s, a, c, true, false),
        "partition" => |s, a, c| partition("partition", s, a, c, false),
        "removeprefix" => |s, a, c| {
            let prefix = text_argument("removeprefix", a)?;
            new_str(of(s).strip_prefix(prefix).unwrap_or(of(s)), c.budget())
        },
        "removesuffix" => |s, a, c| {
            let suffix = text_argument("removesuffix", a)?;
            new_str(of(s).strip_suffix(suffix).unwrap_or(of(s)), c.budget())
        },
        "replace" => replace,
        "rfind" => |s, a, _| Ok(Value::Int(search("rfind", s, a, true)?.map_or(-1, |at| at as i64))),
        "rindex" => |s, a, _| found(search("rindex", s, a, true)?),
        "rjust" => |s, a, c| justify("rjust", Align::Right, s, a, c),
        "rpartition" => |s, a, c| partition("rpartition", s, a, c, true),
        "rsplit" => |s, a, c| split("rsplit", s, a, c, true),
        "rstrip" => |s, a, c| strip("rstrip", s, a, c, false, true),
        "split" => |s, a, c| split("split", s, a, c, false),
        "splitlines" => split_lines,
        "startswith" => |s, a, _| affix("startswith", s, a, |text, part| text.starts_with(part)),
        "strip" => |s, a, c| strip("strip", s, a, c, true, true),
        "swapcase" => |s, a, c| plain("swapcase", s, a, c, swapcase),
        "title" => |s, a, c| plain("title", s, a, c, title),
        "upper" => |s, a, c| plain("upper", s, a, c, str::to_uppercase),
        "zfill" => zfill,
        _ => return None,
    })
}

/// The receiver; methods are looked up by its type.
fn of(value: &Value) -> &str {
    match value {
        Value::Str(text) => text,
        _ => "",
    }
}

fn wrong_type(what: &str, value: &Value) -> Fault {
    Fault::type_error(format!("{what}, not {}", value.type_name()))
}

fn text_argument<'a>(name: &str, arguments: &Arguments<'a>) -> Result<&'a str, Fault> {
    match arguments.take(name, ["value"], 1)?[0] {
        Some(Value::Str(text)) => Ok(text),
        other => Err(wrong_type(&format!("{name}() argument must be str"), other.unwrap_or(&Value::None))),
    }
}

fn plain(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    change: fn(&str) -> String,
) -> Result<Value, Fault> {
    arguments.take(name, [], 0)?;
    // A character may grow to three.
    caller.budget().allocate(of(value).len() as u64 * 3)?;
    Ok(Value::str(change(of(value))))
}

fn all(name: &str, value: &Value, arguments: &Arguments<'_>, test: impl Fn(char) -> bool) -> Result<Value, Fault> {
    arguments.take(name, [], 0)?;
    Ok(Value::Bool(!of(value).is_empty() && of(value).chars().all(test)))
}

fn cased(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    right: fn(char) -> bool,
    wrong: fn(char) -> bool,
) -> Result<Value, Fault> {
    arguments.take(name, [], 0)?;
    let is_other = |c| wrong(c) || is_title_letter(c);
    Ok(Value::Bool(of(value).chars().any(right) && !of(value).chars().any(is_other)))
}

fn is_title(value: &Value, arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    arguments.take("istitle", [], 0)?;
    let (mut seen, mut inside) = (false, false);
    for c in of(value).chars() {
        let upper = c.is_uppercase() || is_title_letter(c);
        if upper && inside || c.is_lowercase() && !inside {
            return Ok(Value::Bool(false));
        }
        inside = upper || c.is_lowercase();
        seen |= inside;
    }
    Ok(Value::Bool(seen))
}

fn justify(
    name: &str,
    align: Align,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
) -> Result<Value, Fault> {
    let [width, fill] = arguments.take(name, ["width", "fillchar"], 1)?;
    let width = width_of(width)?;
    let fill = match fill {
        None => ' ',
        Some(Value::Str(fill)) if fill.chars().count() == 1 => fill.chars().next().unwrap_or(' '),
        _ => return Err(Fault::type_error("The fill character must be exactly one character long")),
    };
    let text = of(value);
    if align == Align::Centre {
        // CPython puts the odd one on the left where the width is odd.
        let missing = width.saturating_sub(text.chars().count());
        let left = missing / 2 + (missing & width & 1);
        caller.budget().allocate(missing.saturating_mul(fill.len_utf8()).saturating_add(text.len()) as u64)?;
        let pad = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
        return Ok(Value::str(format!("{}{text}{}", pad(left), pad(missing - left))));
    }
    let spec = Spec { fill, align: Some(align), width, ..Spec::default() };
    spec.pad("", text, align, caller.budget()).map(Value::str)
}

/// A width as given; huge ones are bounded by the budget when they are used.
fn width_of(width: Option<&Value>) -> Result<usize, Fault> {
    match width {
        Some(Value::Int(width)) => Ok(usize::try_from(*width).unwrap_or(0)),
        Some(other) => {
            let message = format!("'{}' object cannot be interpreted as an integer", other.type_name());
            Err(Fault::type_error(message))
        }
        None => Ok(0),
    }
}

fn zfill(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let width = width_of(arguments.take("zfill", ["width"], 1)?[0])?;
    let text = of(value);
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    let spec = Spec { fill: '0', align: Some(Align::Number), width, ..Spec::default() };
    spec.pad(sign, digits, Align::Number, caller.budget()).map(Value::str)
}

fn expand_tabs(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let size = match arguments.take("expandtabs", ["tabsize"], 0)?[0] {
        None => 8,
        size => width_of(size)?,
    };
    let tabs = of(value).matches('\t').count() as u64;
    caller.budget().allocate((of(value).len() as u64).saturating_add(tabs.saturating_mul(size as u64)))?;
    let mut out = String::new();
    let mut column = 0;
    for c in of(value).chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\t' => {}
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    Ok(Value::str(out))
}

fn encode(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [encoding, errors] = arguments.take("encode", ["encoding", "errors"], 0)?;
    let name = |value: Option<&Value>, default: &str| match value {
        None => Ok(default.to_owned()),
        Some(Value::Str(name)) => Ok(name.to_ascii_lowercase().replace('_', "-")),
        Some(other) => Err(wrong_type("encode() argument must be str", other)),
    };
    let (encoding, errors) = (name(encoding, "utf-8")?, name(errors, "strict")?);
    let text = of(value);
    caller.budget().allocate(text.len() as u64)?;
    let limit = match &*encoding {
        "utf-8" | "utf8" => return Ok(Value::Bytes(text.as_bytes().into())),
        "ascii" | "us-ascii" => 0x80,
        "latin-1" | "latin1" | "iso-8859-1" => 0x100,
        other => return Err(Fault::new(EvalErrorKind::Value, format!("unknown encoding: {other}"))),
    };
    let mut bytes = Vec::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        match (u8::try_from(u32::from(c)).ok().filter(|_| u32::from(c) < limit), &*errors) {
            (Some(byte), _) => bytes.push(byte),
            (None, "ignore") => {}
            (None, "replace") => bytes.push(b'?'),
            (None, _) => {
                let message = format!("'{encoding}' codec can't encode character {c:?} in position {at}");
                return Err(Fault::value_error(message));
            }
        }
    }
    Ok(Value::Bytes(bytes.into()))
}

/// The byte range that `start` and `end` (characters) name; `None` where it is empty backwards.
fn window(text: &str, start: Option<&Value>, end: Option<&Value>) -> Result<Option<(usize, usize)>, Fault> {
    let ascii = text.is_ascii();
    let len = if ascii { text.len() } else { text.chars().count() };
    let clamp = |value: Option<&Value>, default: usize| match value {
        None | Some(Value::None) => Ok((default, false)),
        Some(Value::Int(at)) if *at < 0 => Ok((len.saturating_sub(at.unsigned_abs() as usize), false)),
        Some(Value::Int(at)) => Ok(((*at as usize).min(len), *at as usize > len)),
        Some(_) => Err(Fault::type_error("slice indices must be integers or None or have an __index__ method")),
    };
    let (start, beyond) = clamp(start, 0)?;
    let (end, _) = clamp(end, len)?;
    if start > end || beyond {
        return Ok(None);
    }
    let byte = |at: usize| {
        if ascii { at } else { text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte) }
    };
    Ok(Some((byte(start), byte(end))))
}

fn search(name: &str, value: &Value, arguments: &Arguments<'_>, last: bool) -> Result<Option<usize>, Fault> {
    let [part, start, end] = arguments.take(name, ["sub", "start", "end"], 1)?;
    let Some(Value::Str(part)) = part else {
        return Err(wrong_type("must be str", part.unwrap_or(&Value::None)));
    };
    let text = of(value);
    let Some((start, end)) = window(text, start, end)? else { return Ok(None) };
    let inside = &text[start..end];
    let at = if last { inside.rfind(&**part) } else { memchr::memmem::find(inside.as_bytes(), part.as_bytes()) };
    Ok(at.map(|at| if text.is_ascii() { start + at } else { text[..start + at].chars().count() }))
}

fn found(at: Option<usize>) -> Result<Value, Fault> {
    at.map(|at| Value::Int(at as i64)).ok_or_else(|| Fault::value_error("substring not found"))
}

fn count(value: &Value, arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let [part, start, end] = arguments.take("count", ["sub", "start", "end"], 1)?;
    let Some(Value::Str(part)) = part else {
        return Err(wrong_type("must be str", part.unwrap_or(&Value::None)));
    };
    let Some((start, end)) = window(of(value), start, end)? else { return Ok(Value::Int(0)) };
    Ok(Value::Int(of(value)[start..end].matches(&**part).count() as i64))
}

fn affix(name: &str, value: &Value, arguments: &Arguments<'_>, test: fn(&str, &str) -> bool) -> Result<Value, Fault> {
    let [parts, start, end] = arguments.take(name, ["prefix", "start", "end"], 1)?;
    let bounds = window(of(value), start, end)?;
    let inside = bounds.map(|(start, end)| &of(value)[start..end]);
    let one = |part: &Value| match part {
        Value::Str(part) => Ok(inside.is_some_and(|inside| test(inside, part))),
        other => Err(wrong_type(&format!("{name} first arg must be str or a tuple of str"), other)),
    };
    match parts.unwrap_or(&Value::None) {
        Value::Tuple(parts) => {
            for part in parts.iter() {
                if one(part)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        part => one(part).map(Value::Bool),
    }
}

fn join(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let parts = iterate(arguments.take("join", ["iterable"], 1)?[0].unwrap_or(&Value::None), caller.budget())?;
    let mut total = (of(value).len() as u64).saturating_mul(parts.len().saturating_sub(1) as u64);
    for (idx, part) in parts.iter().enumerate() {
        match part {
            Value::Str(part) => total += part.len() as u64,
            other => {
                let name = other.type_name();
                return Err(Fault::type_error(format!("sequence item {idx}: expected str instance, {name} found")));
            }
        }
    }
    caller.budget().allocate(total)?;
    Ok(Value::str(parts.iter().map(of).collect::<Vec<_>>().join(of(value))))
}

fn strip(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    left: bool,
    right: bool,
) -> Result<Value, Fault> {
    let chars = match arguments.take(name, ["chars"], 0)?[0] {
        None | Some(Value::None) => None,
        Some(Value::Str(chars)) => Some(&**chars),
        Some(other) => return Err(wrong_type(&format!("{name} arg must be None or str"), other)),
    };
    let test = |c: char| chars.map_or_else(|| is_python_space(c), |chars| chars.contains(c));
    let mut text = of(value);
    if left {
        text = text.trim_start_matches(test);
    }
    if right {
        text = text.trim_end_matches(test);
    }
    new_str(text, caller.budget())
}

fn partition(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    last: bool,
) -> Result<Value, Fault> {
    let separator = match arguments.take(name, ["sep"], 1)?[0] {
        Some(Value::Str(separator)) => &**separator,
        other => return Err(wrong_type("must be str", other.unwrap_or(&Value::None))),
    };
    if separator.is_empty() {
        return Err(Fault::value_error("empty separator"));
    }
    let text = of(value);
    caller.budget().allocate(text.len() as u64)?;
    let at = if last { text.rfind(separator) } else { text.find(separator) };
    let parts = match (at, last) {
        (Some(at), _) => [&text[..at], separator, &text[at + separator.len()..]],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Ok(Value::tuple(parts.map(Value::str)))
}

fn replace(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [old, new, most] = arguments.take("replace", ["old", "new", "count"], 2)?;
    let argument = |value: Option<&Value>, place: u8| match value {
        Some(Value::Str(text)) => Ok(text.clone()),
        other => {
            let name = other.map_or("NoneType", Value::type_name);
            Err(Fault::type_error(format!("replace() argument {place} must be str, not {name}")))
        }
    };
    let (old, new) = (argument(old, 1)?, argument(new, 2)?);
    let most = match most {
        Some(Value::Int(most)) if *most >= 0 => *most as usize,
        Some(Value::Int(_)) | None => usize::MAX,
        Some(other) => {
            let message = format!("'{}' object cannot be interpreted as an integer", other.type_name());
            return Err(Fault::type_error(message));
        }
    };
    let text = of(value);
    let matches = text.matches(&*old).take(most).count() as u64;
    let grown = matches.saturating_mul(new.len() as u64).saturating_add(text.len() as u64);
    caller.budget().allocate(grown)?;
    Ok(Value::str(text.replacen(&*old, &new, most)))
}

fn split(
    name: &str,
    value: &Value,
    arguments: &Arguments<'_>,
    caller: &mut dyn Caller,
    from_right: bool,
) -> Result<Value, Fault> {
    let [separator, most] = arguments.take(name, ["sep", "maxsplit"], 0)?;
    let most = match most {
        Some(Value::Int(most)) if *most >= 0 => *most as usize,
        Some(Value::Int(_)) | None => usize::MAX - 1,
        Some(other) => {
            let message = format!("'{}' object cannot be interpreted as an integer", other.type_name());
            return Err(Fault::type_error(message));
        }
    };
    let text = of(value);
    let parts: Vec<Value> = match separator {
        None | Some(Value::None) if from_right => split_space_right(text, most),
        None | Some(Value::None) => split_space(text, most),
        Some(Value::Str(separator)) if separator.is_empty() => return Err(Fault::value_error("empty separator")),
        Some(Value::Str(separator)) if from_right => {
            let mut parts: Vec<Value> = text.rsplitn(most + 1, &**separator).map(Value::str).collect();
            parts.reverse();
            parts
        }
        Some(Value::Str(separator)) => text.splitn(most + 1, &**separator).map(Value::str).collect(),
        Some(other) => return Err(wrong_type("must be str or None", other)),
    };
    charge(&parts, text.len(), caller.budget())?;
    Ok(Value::list(parts))
}

fn charge(parts: &[Value], bytes: usize, budget: &mut Budget) -> Result<(), Fault> {
    budget.values(parts.len())?;
    budget.allocate(bytes as u64)
}

fn split_space(text: &str, most: usize) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_python_space);
    while !rest.is_empty() {
        if parts.len() == most {
            parts.push(Value::str(rest));
            break;
        }
        let end = rest.find(is_python_space).unwrap_or(rest.len());
        parts.push(Value::str(&rest[..end]));
        rest = rest[end..].trim_start_matches(is_python_space);
    }
    parts
}

fn split_space_right(text: &str, most: usize) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_python_space);
    while !rest.is_empty() {
        if parts.len() == most {
            parts.push(Value::str(rest));
            break;
        }
        let start = rest.char_indices().rev().find(|(_, c)| is_python_space(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        parts.push(Value::str(&rest[start..]));
        rest = rest[..start].trim_end_matches(is_python_space);
    }
    parts.reverse();
    parts
}

fn split_lines(value: &Value, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let keep = arguments.take("splitlines", ["keepends"], 0)?[0].is_some_and(truthy);
    let is_break = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut parts = Vec::new();
    let mut rest = of(value);
    while !rest.is_empty() {
        let Some((at, c)) = rest.char_indices().find(|(_, c)| is_break(*c)) else {
            parts.push(Value::str(rest));
            break;
        };
        let len = if rest[at..].starts_with("\r\n") { 2 } else { c.len_utf8() };
        parts.push(Value::str(&rest[..if keep { at + len } else { at }]));
        rest = &rest[at + len..];
    }
    charge(&parts, of(value).len(), caller.budget())?;
    Ok(Value::list(parts))
}

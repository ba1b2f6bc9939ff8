//! The module `re`, over the crate `regex`: linear time, no look-around, no back references.
//!
//! `$` without `(?m)` matches at the very end only; Python also takes it before a last line feed.

use std::{any::Any, cell::RefCell, collections::HashMap, sync::Arc};

use ::regex::{Captures, Regex};
use smol_str::SmolStr;

use super::{
    Arguments, Caller, Entry, Fault, MethodFn,
    argument::{int, none, one, take, text},
};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Opaque, Value, key::Key},
};

pub const ENTRIES: &[Entry] = &[
    ("re.match", |arguments, caller| find("re.match", Anchor::Start, arguments, caller), 2, Some(2)),
    ("re.search", |arguments, caller| find("re.search", Anchor::None, arguments, caller), 2, Some(2)),
    ("re.fullmatch", |arguments, caller| find("re.fullmatch", Anchor::Both, arguments, caller), 2, Some(2)),
    ("re.findall", findall, 2, Some(2)),
    ("re.finditer", finditer, 2, Some(2)),
    ("re.sub", sub, 3, Some(4)),
    ("re.split", split, 2, Some(3)),
    ("re.compile", compile, 1, Some(1)),
    ("re.escape", escape, 1, Some(1)),
];

pub const NAMES: &[&str] = &["group", "groups", "groupdict", "span", "start", "end"];

/// Compiled patterns that one thread keeps.
const MAX_CACHED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Anchor {
    None,
    Start,
    Both,
}

thread_local! {
    static CACHE: RefCell<HashMap<(Anchor, SmolStr), Regex>> = RefCell::new(HashMap::new());
}

fn regex(anchor: Anchor, pattern: &str) -> Result<Regex, Fault> {
    let name = (anchor, SmolStr::new(pattern));
    if let Some(found) = CACHE.with_borrow(|cache| cache.get(&name).cloned()) {
        return Ok(found);
    }
    let translated = pattern.replace("\\Z", "\\z");
    let whole = match anchor {
        Anchor::None => translated,
        Anchor::Start => format!("\\A(?:{translated})"),
        Anchor::Both => format!("\\A(?:{translated})\\z"),
    };
    let compiled = Regex::new(&whole).map_err(|error| {
        let shown = error.to_string();
        let reason = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Fault::of_value(format!("the pattern cannot be used: {reason}"))
    })?;
    CACHE.with_borrow_mut(|cache| {
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(name, compiled.clone());
    });
    Ok(compiled)
}

/// A compiled pattern: kept as its text, which `regex` knows.
#[derive(Debug)]
struct Pattern(SmolStr);

impl Opaque for Pattern {
    fn type_name(&self) -> &'static str {
        "re.Pattern"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn repr(&self) -> String {
        format!("re.compile({})", crate::model::text::repr(&Value::Str(self.0.clone())))
    }
}

/// What was found.
#[derive(Debug)]
struct Match {
    text: SmolStr,
    /// Bytes of the whole and of every group.
    groups: Vec<Option<(usize, usize)>>,
    names: Vec<Option<SmolStr>>,
}

impl Opaque for Match {
    fn type_name(&self) -> &'static str {
        "re.Match"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Match {
    fn new(regex: &Regex, text: &SmolStr, captures: &Captures<'_>) -> Match {
        Match {
            text: text.clone(),
            groups: captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect(),
            names: regex.capture_names().map(|name| name.map(SmolStr::new)).collect(),
        }
    }

    fn group(&self, idx: usize) -> Value {
        match self.groups.get(idx) {
            Some(Some((start, end))) => Value::str(self.text.get(*start..*end).unwrap_or_default()),
            _ => Value::None,
        }
    }

    fn find(&self, name: &Value) -> Result<usize, Fault> {
        let idx = match name {
            Value::Int(idx) => usize::try_from(*idx).ok().filter(|idx| *idx < self.groups.len()),
            Value::Str(name) => self.names.iter().position(|known| known.as_ref() == Some(name)),
            _ => None,
        };
        idx.ok_or_else(|| Fault::new(EvalErrorKind::Index, "no such group"))
    }

    /// Positions in characters; -1 for a group that took no part.
    fn span(&self, idx: usize) -> (i64, i64) {
        let characters = |at: usize| self.text.get(..at).map_or(0, |head| head.chars().count()) as i64;
        match self.groups.get(idx) {
            Some(Some((start, end))) => (characters(*start), characters(*end)),
            _ => (-1, -1),
        }
    }
}

fn of(value: &Value) -> Result<&Match, Fault> {
    let found = match value {
        Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
        _ => None,
    };
    found.ok_or_else(|| Fault::of_type("a match is needed"))
}

/// Methods of matches and patterns.
pub fn method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "group" => |value, arguments, _| {
            let found = of(value)?;
            match arguments.positional {
                [] => Ok(found.group(0)),
                [name] => Ok(found.group(found.find(name)?)),
                names => {
                    let groups: Result<Vec<Value>, Fault> =
                        names.iter().map(|name| Ok(found.group(found.find(name)?))).collect();
                    groups.map(Value::tuple)
                }
            }
        },
        "groups" => |value, arguments, _| {
            let [default] = take("groups", arguments, ["default"], 0)?;
            let found = of(value)?;
            let or = |group: Value| match (&group, default) {
                (Value::None, Some(default)) => default.clone(),
                _ => group,
            };
            Ok(Value::tuple((1..found.groups.len()).map(|idx| or(found.group(idx)))))
        },
        "groupdict" => |value, arguments, _| {
            none("groupdict", arguments)?;
            let found = of(value)?;
            let named = found.names.iter().enumerate();
            let dict: Dict =
                named.filter_map(|(idx, name)| Some((Key::from(name.as_ref()?.as_str()), found.group(idx)))).collect();
            Ok(Value::Dict(Arc::new(dict)))
        },
        "span" => |value, arguments, _| {
            let (start, end) = span("span", value, arguments)?;
            Ok(Value::pair(Value::Int(start), Value::Int(end)))
        },
        "start" => |value, arguments, _| Ok(Value::Int(span("start", value, arguments)?.0)),
        "end" => |value, arguments, _| Ok(Value::Int(span("end", value, arguments)?.1)),
        _ => return None,
    })
}

/// Methods of compiled patterns.
pub fn pattern_method(name: &str) -> Option<MethodFn> {
    macro_rules! with_pattern {
        ($function:expr) => {
            |value, arguments, caller| {
                let mut positional = vec![value.clone()];
                positional.extend_from_slice(arguments.positional);
                $function(&Arguments { positional: &positional, named: arguments.named }, caller)
            }
        };
    }
    Some(match name {
        "match" => with_pattern!(|arguments: &Arguments<'_>, caller| find("match", Anchor::Start, arguments, caller)),
        "search" => with_pattern!(|arguments: &Arguments<'_>, caller| find("search", Anchor::None, arguments, caller)),
        "fullmatch" => {
            with_pattern!(|arguments: &Arguments<'_>, caller| find("fullmatch", Anchor::Both, arguments, caller))
        }
        "findall" => with_pattern!(findall),
        "finditer" => with_pattern!(finditer),
        "sub" => with_pattern!(sub),
        "split" => with_pattern!(split),
        _ => return None,
    })
}

/// The methods that only patterns have.
pub const PATTERN_NAMES: &[&str] = &["match", "search", "fullmatch", "findall", "finditer", "sub"];

fn span(name: &str, value: &Value, arguments: &Arguments<'_>) -> Result<(i64, i64), Fault> {
    let [group] = take(name, arguments, [""], 0)?;
    let found = of(value)?;
    Ok(found.span(group.map_or(Ok(0), |group| found.find(group))?))
}

fn pattern(value: &Value) -> Result<&str, Fault> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Opaque(opaque) => match opaque.as_any().downcast_ref::<Pattern>() {
            Some(Pattern(text)) => Ok(text),
            None => Err(Fault::of_type("first argument must be string or compiled pattern")),
        },
        _ => Err(Fault::of_type("first argument must be string or compiled pattern")),
    }
}

fn subject(value: &Value) -> Result<&SmolStr, Fault> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(Fault::of_type(format!("expected string or bytes-like object, got '{}'", other.type_name()))),
    }
}

fn find(name: &str, anchor: Anchor, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(of), Some(text)] = take(name, arguments, ["pattern", "string"], 2)? else { return Ok(Value::None) };
    let regex = regex(anchor, pattern(of)?)?;
    let text = subject(text)?;
    caller.budget().allocate(text.len() as u64)?;
    Ok(match regex.captures(text) {
        Some(captures) => Value::Opaque(Arc::new(Match::new(&regex, text, &captures))),
        None => Value::None,
    })
}

/// All matches from left to right. As in Python, an empty match may follow a match that is not empty.
fn all<'a>(regex: &Regex, text: &'a str, caller: &mut dyn Caller) -> Result<Vec<Captures<'a>>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    while at <= text.len() {
        let Some(captures) = regex.captures_at(text, at) else { break };
        let Some(whole) = captures.get(0) else { break };
        let (start, end) = (whole.start(), whole.end());
        let next =
            |at: usize| text.get(at..).and_then(|rest| rest.chars().next()).map_or(at + 1, |c| at + c.len_utf8());
        caller.budget().elements(2 + captures.len())?;
        caller.budget().step()?;
        found.push(captures);
        at = if start == end { next(end) } else { end };
    }
    Ok(found)
}

fn group_text(captures: &Captures<'_>, idx: usize) -> Value {
    Value::str(captures.get(idx).map_or("", |group| group.as_str()))
}

fn findall(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(of), Some(text)] = take("findall", arguments, ["pattern", "string"], 2)? else { return Ok(Value::None) };
    let regex = regex(Anchor::None, pattern(of)?)?;
    let text = subject(text)?;
    let mut found = Vec::new();
    for captures in all(&regex, text, caller)? {
        caller.budget().allocate(captures.get(0).map_or(0, |whole| whole.len()) as u64)?;
        found.push(match captures.len() {
            1 => group_text(&captures, 0),
            2 => group_text(&captures, 1),
            more => Value::tuple((1..more).map(|idx| group_text(&captures, idx))),
        });
    }
    Ok(Value::list(found))
}

fn finditer(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [Some(of), Some(text)] = take("finditer", arguments, ["pattern", "string"], 2)? else { return Ok(Value::None) };
    let regex = regex(Anchor::None, pattern(of)?)?;
    let text = subject(text)?;
    let found = all(&regex, text, caller)?;
    let matches = found.iter().map(|captures| Value::Opaque(Arc::new(Match::new(&regex, text, captures)) as Arc<_>));
    Ok(Value::list(matches.collect()))
}

fn sub(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let names = ["pattern", "repl", "string", "count"];
    let [Some(of), Some(with), Some(text), count] = take("sub", arguments, names, 3)? else { return Ok(Value::None) };
    let regex = regex(Anchor::None, pattern(of)?)?;
    let text = subject(text)?;
    let count = match count.map_or(Ok(0), int)? {
        count if count <= 0 => usize::MAX,
        count => count as usize,
    };
    let mut out = String::new();
    let mut last = 0;
    for captures in all(&regex, text, caller)?.into_iter().take(count) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        match with {
            Value::Str(template) => expand(template, &captures, &mut out)?,
            function => {
                let found = Value::Opaque(Arc::new(Match::new(&regex, text, &captures)));
                let replaced = caller.call(function, &[found])?;
                out.push_str(self::text(&replaced, |name| format!("expected str instance, {name} found"))?);
            }
        }
        caller.budget().allocate(out.len().saturating_sub(last) as u64)?;
        last = whole.end();
    }
    out.push_str(text.get(last..).unwrap_or_default());
    caller.budget().allocate(out.len() as u64)?;
    Ok(Value::Str(out.into()))
}

/// `\1`, `\g<name>` and escapes of a replacement.
fn expand(template: &str, captures: &Captures<'_>, out: &mut String) -> Result<(), Fault> {
    let wrong = |reference: &str| Fault::of_value(format!("invalid group reference {reference}"));
    let push = |out: &mut String, reference: &str| -> Result<(), Fault> {
        let known = match reference.parse::<usize>() {
            Ok(idx) => (idx < captures.len()).then(|| captures.get(idx)),
            Err(_) => captures.name(reference).map(Some),
        };
        let group = known.ok_or_else(|| wrong(reference))?;
        out.push_str(group.map_or("", |group| group.as_str()));
        Ok(())
    };
    let mut rest = template;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or_default());
        let tail = rest.get(at + 1..).unwrap_or_default();
        let letter = tail.chars().next().ok_or_else(|| Fault::of_value("bad escape (end of pattern)"))?;
        let mut used = letter.len_utf8();
        match letter {
            'g' => {
                let inside = tail.get(1..).and_then(|tail| tail.strip_prefix('<'));
                let inside = inside.ok_or_else(|| Fault::of_value("missing <"))?;
                let (name, _) = inside.split_once('>').ok_or_else(|| Fault::of_value("missing >"))?;
                push(out, name)?;
                used = name.len() + 3;
            }
            '1'..='9' => {
                let digits = tail.bytes().take(2).take_while(u8::is_ascii_digit).count();
                push(out, tail.get(..digits).unwrap_or_default())?;
                used = digits;
            }
            '0' => out.push('\0'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'v' => out.push('\x0b'),
            '\\' => out.push('\\'),
            other if other.is_ascii_alphabetic() => return Err(Fault::of_value(format!("bad escape \\{other}"))),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = tail.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(())
}

fn split(arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let names = ["pattern", "string", "maxsplit"];
    let [Some(of), Some(text), most] = take("split", arguments, names, 2)? else { return Ok(Value::None) };
    let regex = regex(Anchor::None, pattern(of)?)?;
    let text = subject(text)?;
    let most = match most.map_or(Ok(0), int)? {
        most if most <= 0 => usize::MAX,
        most => most as usize,
    };
    caller.budget().allocate(text.len() as u64)?;
    let mut parts = Vec::new();
    let mut last = 0;
    for captures in all(&regex, text, caller)?.into_iter().take(most) {
        let Some(whole) = captures.get(0) else { continue };
        parts.push(Value::str(text.get(last..whole.start()).unwrap_or_default()));
        for idx in 1..captures.len() {
            parts.push(captures.get(idx).map_or(Value::None, |group| Value::str(group.as_str())));
        }
        last = whole.end();
    }
    parts.push(Value::str(text.get(last..).unwrap_or_default()));
    Ok(Value::list(parts))
}

fn compile(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    let text = pattern(one("re.compile", arguments)?)?;
    regex(Anchor::None, text)?;
    Ok(Value::Opaque(Arc::new(Pattern(SmolStr::new(text)))))
}

fn escape(arguments: &Arguments<'_>, _: &mut dyn Caller) -> Result<Value, Fault> {
    const SPECIAL: &str = "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c";
    let given = text(one("re.escape", arguments)?, |name| format!("a str is needed, not '{name}'"))?;
    let mut out = String::with_capacity(given.len());
    for letter in given.chars() {
        if SPECIAL.contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    Ok(Value::Str(out.into()))
}

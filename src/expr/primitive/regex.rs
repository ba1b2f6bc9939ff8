//! The module `re`, on a matcher without backtracking: no look-around, no back references; everything else takes linear
//! time. Positions count characters.

use std::{any::Any, cell::RefCell, sync::Arc};

use ::regex::{Captures, Regex};
use indexmap::IndexMap;

use super::{Arguments, Arities, BuiltinFn, Caller, Fault, MethodFn, compare::key, new_str, template::Template};
use crate::{
    expr::EvalErrorKind,
    model::{Dict, Opaque, Value, text::repr},
};

/// Compiled patterns that a thread keeps; the oldest goes first.
const KEPT_PATTERNS: usize = 64;

pub const MEMBERS: Arities = &[
    ("compile", 1, Some(1)),
    ("escape", 1, Some(1)),
    ("findall", 2, Some(2)),
    ("finditer", 2, Some(2)),
    ("fullmatch", 2, Some(2)),
    ("match", 2, Some(2)),
    ("search", 2, Some(2)),
    ("split", 2, Some(3)),
    ("sub", 3, Some(4)),
];

pub const METHOD_NAMES: &[&str] = &[
    "end",
    "findall",
    "finditer",
    "fullmatch",
    "group",
    "groupdict",
    "groups",
    "match",
    "search",
    "span",
    "split",
    "start",
    "sub",
];

pub fn member(name: &str) -> Option<BuiltinFn> {
    Some(match name {
        "compile" => |a, _| {
            let pattern = compiled(a.take("compile", ["pattern"], 1)?[0])?;
            Ok(Value::Opaque(Arc::new(Pattern(pattern))))
        },
        "escape" => |a, c| {
            let text = text(a.take("escape", ["pattern"], 1)?[0])?;
            let escaped: String = text
                .chars()
                .flat_map(|c| {
                    let special = "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c);
                    special.then_some('\\').into_iter().chain([c])
                })
                .collect();
            new_str(escaped, c.budget())
        },
        "findall" => |a, c| with_pattern(a, c, find_all),
        "finditer" => |a, c| with_pattern(a, c, find_iter),
        "fullmatch" => |a, c| with_pattern(a, c, |p, a, c| find(p, a, c, Where::Whole)),
        "match" => |a, c| with_pattern(a, c, |p, a, c| find(p, a, c, Where::Start)),
        "search" => |a, c| with_pattern(a, c, |p, a, c| find(p, a, c, Where::Anywhere)),
        "split" => |a, c| with_pattern(a, c, split),
        "sub" => |a, c| with_pattern(a, c, sub),
        _ => return None,
    })
}

/// Methods of compiled patterns.
pub fn pattern_method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "findall" => |p, a, c| find_all(&of(p)?, a, c),
        "finditer" => |p, a, c| find_iter(&of(p)?, a, c),
        "fullmatch" => |p, a, c| find(&of(p)?, a, c, Where::Whole),
        "match" => |p, a, c| find(&of(p)?, a, c, Where::Start),
        "search" => |p, a, c| find(&of(p)?, a, c, Where::Anywhere),
        "split" => |p, a, c| split(&of(p)?, a, c),
        "sub" => |p, a, c| sub(&of(p)?, a, c),
        _ => return None,
    })
}

/// Methods of matches.
pub fn match_method(name: &str) -> Option<MethodFn> {
    Some(match name {
        "group" => |m, a, _| {
            let found = found(m)?;
            match a.positional {
                [] => Ok(found.group(0)),
                [one] => found.named(one).map(|at| found.group(at)),
                several => {
                    let groups = several.iter().map(|one| found.named(one).map(|at| found.group(at)));
                    Ok(Value::Tuple(groups.collect::<Result<Vec<_>, _>>()?.into()))
                }
            }
        },
        "groupdict" => |m, _, _| {
            let found = found(m)?;
            let mut dict = Dict::new();
            for (name, at) in &found.names {
                dict.insert(key(&Value::str(name))?, found.group(*at));
            }
            Ok(Value::Dict(Arc::new(dict)))
        },
        "groups" => |m, _, _| {
            let found = found(m)?;
            Ok(Value::tuple((1..found.groups.len()).map(|at| found.group(at))))
        },
        "start" => |m, a, _| position(m, a, |span| Value::Int(span.0)),
        "end" => |m, a, _| position(m, a, |span| Value::Int(span.1)),
        "span" => |m, a, _| position(m, a, |span| Value::pair(Value::Int(span.0), Value::Int(span.1))),
        _ => return None,
    })
}

#[derive(Debug)]
struct Pattern(Regex);

impl Opaque for Pattern {
    fn type_name(&self) -> &'static str {
        "pattern"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A match: its groups' texts and positions.
#[derive(Debug)]
struct Match {
    groups: Vec<Option<(String, i64, i64)>>,
    names: Vec<(String, usize)>,
}

impl Opaque for Match {
    fn type_name(&self) -> &'static str {
        "match"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Match {
    fn of(pattern: &Regex, text: &str, captures: &Captures<'_>) -> Match {
        let chars = |byte: usize| text[..byte].chars().count() as i64;
        let groups = captures
            .iter()
            .map(|group| group.map(|group| (group.as_str().to_owned(), chars(group.start()), chars(group.end()))));
        let names = pattern.capture_names().enumerate().filter_map(|(at, name)| Some((name?.to_owned(), at)));
        Match { groups: groups.collect(), names: names.collect() }
    }

    fn group(&self, at: usize) -> Value {
        self.groups.get(at).and_then(Option::as_ref).map_or(Value::None, |(text, _, _)| Value::str(text))
    }

    fn named(&self, group: &Value) -> Result<usize, Fault> {
        let at = match group {
            Value::Int(at) => usize::try_from(*at).ok().filter(|at| *at < self.groups.len()),
            Value::Str(name) => self.names.iter().find(|(known, _)| known == name).map(|(_, at)| *at),
            _ => None,
        };
        at.ok_or_else(|| Fault::new(EvalErrorKind::Index, "no such group"))
    }
}

fn of(value: &Value) -> Result<Regex, Fault> {
    compiled(Some(value))
}

fn found(value: &Value) -> Result<&Match, Fault> {
    let found = if let Value::Opaque(opaque) = value { opaque.as_any().downcast_ref() } else { None };
    found.ok_or_else(|| Fault::type_error("expected a match"))
}

fn position(value: &Value, arguments: &Arguments<'_>, give: fn((i64, i64)) -> Value) -> Result<Value, Fault> {
    let found = found(value)?;
    let at = arguments.take("span", ["group"], 0)?[0].map_or(Ok(0), |group| found.named(group))?;
    Ok(give(found.groups.get(at).and_then(Option::as_ref).map_or((-1, -1), |(_, start, end)| (*start, *end))))
}

fn text(value: Option<&Value>) -> Result<&str, Fault> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        other => {
            let name = other.map_or("NoneType", Value::type_name);
            Err(Fault::type_error(format!("expected string or bytes-like object, got '{name}'")))
        }
    }
}

thread_local! {
    static PATTERNS: RefCell<IndexMap<String, Regex>> = RefCell::default();
}

/// A pattern, or its text, compiled; texts are compiled once a thread.
fn compiled(pattern: Option<&Value>) -> Result<Regex, Fault> {
    if let Some(Value::Opaque(opaque)) = pattern
        && let Some(Pattern(regex)) = opaque.as_any().downcast_ref()
    {
        return Ok(regex.clone());
    }
    let text = text(pattern)?;
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(text) {
            return Ok(known.clone());
        }
        let regex = Regex::new(&translated(text)).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Fault::value_error(format!("pattern {} is not usable: {why}", repr(&Value::str(text))))
        })?;
        if patterns.len() >= KEPT_PATTERNS {
            patterns.shift_remove_index(0);
        }
        patterns.insert(text.to_owned(), regex.clone());
        Ok(regex)
    })
}

/// Whether the first argument of the builtin of that name is a pattern.
pub fn takes_a_pattern(builtin: &str) -> bool {
    builtin.strip_prefix("re.").is_some_and(|member| member != "escape")
}

/// Whether a text is a pattern.
pub fn check_pattern(text: &str) -> Result<(), Fault> {
    compiled(Some(&Value::str(text))).map(drop)
}

/// Python's `\Z` is the end of the text.
fn translated(pattern: &str) -> String {
    pattern.replace("\\Z", "\\z")
}

type WithPattern = fn(&Regex, &Arguments<'_>, &mut dyn Caller) -> Result<Value, Fault>;

/// A module function: the pattern is its first argument.
fn with_pattern(arguments: &Arguments<'_>, caller: &mut dyn Caller, run: WithPattern) -> Result<Value, Fault> {
    let Some((pattern, rest)) = arguments.positional.split_first() else {
        return Err(Fault::type_error("missing required argument: 'pattern'"));
    };
    run(&compiled(Some(pattern))?, &Arguments { positional: rest, named: arguments.named }, caller)
}

enum Where {
    Anywhere,
    Start,
    Whole,
}

fn find(pattern: &Regex, arguments: &Arguments<'_>, caller: &mut dyn Caller, place: Where) -> Result<Value, Fault> {
    let text = text(arguments.take("search", ["string"], 1)?[0])?;
    caller.budget().allocate(text.len() as u64)?;
    caller.budget().steps(text.len() as u64 / 16)?;
    let anchored;
    let pattern = match place {
        Where::Anywhere => pattern,
        Where::Start => {
            anchored = compiled(Some(&Value::str(format!("\\A(?:{})", pattern.as_str()))))?;
            &anchored
        }
        Where::Whole => {
            anchored = compiled(Some(&Value::str(format!("\\A(?:{})\\z", pattern.as_str()))))?;
            &anchored
        }
    };
    Ok(match pattern.captures(text) {
        Some(captures) => Value::Opaque(Arc::new(Match::of(pattern, text, &captures))),
        None => Value::None,
    })
}

/// All matches from left to right as Python finds them: an empty one may follow right behind one that is not.
fn all_matches<'t>(pattern: &'t Regex, text: &'t str) -> impl Iterator<Item = Captures<'t>> {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let captures = pattern.captures_at(text, from?)?;
        let whole = captures.get(0)?;
        from = match text[whole.end()..].chars().next() {
            _ if !whole.is_empty() => Some(whole.end()),
            Some(next) => Some(whole.end() + next.len_utf8()),
            None => None,
        };
        Some(captures)
    })
}

/// What `findall` gives of a match: the whole, the one group, or all groups; a group that took no part is empty.
fn shown(captures: &Captures<'_>) -> Value {
    let group = |at: usize| Value::str(captures.get(at).map_or("", |group| group.as_str()));
    match captures.len() {
        1 => group(0),
        2 => group(1),
        len => Value::tuple((1..len).map(group)),
    }
}

fn find_all(pattern: &Regex, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let text = text(arguments.take("findall", ["string"], 1)?[0])?;
    caller.budget().allocate(text.len() as u64 * 2)?;
    let all: Vec<Value> = all_matches(pattern, text).map(|captures| shown(&captures)).collect();
    caller.budget().values(all.len())?;
    Ok(Value::list(all))
}

fn find_iter(pattern: &Regex, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let text = text(arguments.take("finditer", ["string"], 1)?[0])?;
    caller.budget().allocate(text.len() as u64 * 2)?;
    let matches = all_matches(pattern, text).map(|captures| Match::of(pattern, text, &captures));
    let all: Vec<Value> = matches.map(|found| Value::Opaque(Arc::new(found))).collect();
    caller.budget().values(all.len() * 4)?;
    Ok(Value::list(all))
}

fn split(pattern: &Regex, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [string, most] = arguments.take("split", ["string", "maxsplit"], 1)?;
    let text = text(string)?;
    let most = match most {
        Some(Value::Int(most)) if *most > 0 => *most as usize,
        _ => usize::MAX,
    };
    caller.budget().allocate(text.len() as u64)?;
    let (mut parts, mut from) = (Vec::new(), 0);
    for captures in all_matches(pattern, text).take(most) {
        let Some(whole) = captures.get(0) else { continue };
        parts.push(Value::str(&text[from..whole.start()]));
        parts.extend(
            (1..captures.len()).map(|at| captures.get(at).map_or(Value::None, |group| Value::str(group.as_str()))),
        );
        from = whole.end();
    }
    parts.push(Value::str(&text[from..]));
    caller.budget().values(parts.len())?;
    Ok(Value::list(parts))
}

fn sub(pattern: &Regex, arguments: &Arguments<'_>, caller: &mut dyn Caller) -> Result<Value, Fault> {
    let [replacement, string, most] = arguments.take("sub", ["repl", "string", "count"], 2)?;
    let text = text(string)?;
    let most = match most {
        Some(Value::Int(most)) if *most > 0 => *most as usize,
        _ => usize::MAX,
    };
    let template = match replacement {
        Some(Value::Str(template)) => Some(Template::parse(template, pattern)?),
        _ => None,
    };
    let (mut out, mut from) = (String::new(), 0);
    for captures in all_matches(pattern, text).take(most) {
        let Some(whole) = captures.get(0) else { continue };
        let new = match (&template, replacement) {
            (Some(template), _) => template.expand(&captures),
            (None, Some(function)) => {
                let found = Value::Opaque(Arc::new(Match::of(pattern, text, &captures)));
                match caller.call(function, &[found])? {
                    Value::Str(new) => new.to_string(),
                    other => {
                        let name = other.type_name();
                        return Err(Fault::type_error(format!("expected str instance, {name} found")));
                    }
                }
            }
            (None, None) => String::new(),
        };
        caller.budget().allocate((new.len() + whole.start() - from) as u64)?;
        out.push_str(&text[from..whole.start()]);
        out.push_str(&new);
        from = whole.end();
    }
    out.push_str(&text[from..]);
    new_str(out, caller.budget())
}

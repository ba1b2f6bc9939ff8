//! `"{} {0} {name.field[key]!r:>10}".format(...)`, also the fields of f-strings.

use super::{Arguments, Budget, Fault, access, spec::format_value};
use crate::{
    expr::EvalErrorKind,
    model::{Value, key::Key, text::put_repr, text::put_str},
};

/// `format.format(*positional, **named)`
pub fn dot_format(format: &str, arguments: &Arguments<'_>, budget: &mut Budget) -> Result<Value, Fault> {
    let mut formatter = Formatter { arguments, numbering: Numbering::Unknown };
    let mut out = String::new();
    formatter.run(format, &mut out, budget, 0)?;
    Ok(Value::Str(out.into()))
}

/// Fields are numbered by hand or by themselves, never both.
enum Numbering {
    Unknown,
    Next(usize),
    Manual,
}

struct Formatter<'a, 'b> {
    arguments: &'a Arguments<'b>,
    numbering: Numbering,
}

impl Formatter<'_, '_> {
    fn run(&mut self, format: &str, out: &mut String, budget: &mut Budget, depth: usize) -> Result<(), Fault> {
        if depth > 1 {
            return Err(Fault::of_value("Max string recursion exceeded"));
        }
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            let (text, tail) = rest.split_at(at);
            out.push_str(text);
            budget.allocate(text.len() as u64 + 1)?;
            if tail.starts_with("{{") || tail.starts_with("}}") {
                out.push_str(tail.get(..1).unwrap_or_default());
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            if tail.starts_with('}') {
                return Err(Fault::of_value("Single '}' encountered in format string"));
            }
            let inside = tail.get(1..).unwrap_or_default();
            if inside.is_empty() {
                return Err(Fault::of_value("Single '{' encountered in format string"));
            }
            let end = close(inside).ok_or_else(|| Fault::of_value("expected '}' before end of string"))?;
            let (field, tail) = inside.split_at(end);
            self.field(field, out, budget, depth)?;
            rest = tail.get(1..).unwrap_or_default();
        }
        out.push_str(rest);
        budget.allocate(rest.len() as u64)
    }

    fn field(&mut self, field: &str, out: &mut String, budget: &mut Budget, depth: usize) -> Result<(), Fault> {
        let (name, conversion, spec) = split(field)?;
        let value = self.look_up(name)?;
        let value = match conversion {
            None => value,
            Some('r' | 's') => {
                let mut shown = String::new();
                match conversion {
                    Some('r') => put_repr(&mut shown, &value),
                    _ => put_str(&mut shown, &value),
                }
                budget.allocate(shown.len() as u64)?;
                Value::Str(shown.into())
            }
            Some(other) => {
                let message = format!("Unknown conversion specifier '{other}'");
                return Err(Fault::of_value(message));
            }
        };
        let mut filled = String::new();
        let spec = match spec.contains('{') {
            true => {
                self.run(spec, &mut filled, budget, depth + 1)?;
                &filled
            }
            false => spec,
        };
        let shown = format_value(&value, spec, budget)?;
        budget.allocate(shown.len() as u64)?;
        out.push_str(&shown);
        Ok(())
    }

    fn look_up(&mut self, name: &str) -> Result<Value, Fault> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let mut value = self.argument(first)?;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let (attribute, tail) = tail.split_at(end);
                if attribute.is_empty() {
                    return Err(Fault::of_value("Empty attribute in format string"));
                }
                value = access::attribute(&value, attribute)?;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('[') {
                let end = tail.find(']').ok_or_else(|| Fault::of_value("Missing ']' in format string"))?;
                let (key, tail) = tail.split_at(end);
                if key.is_empty() {
                    return Err(Fault::of_value("Empty attribute in format string"));
                }
                let key = key.parse().map_or_else(|_| Value::str(key), Value::Int);
                value = access::index(&value, &key)?;
                rest = tail.get(1..).unwrap_or_default();
            } else {
                return Err(Fault::of_value("Only '.' or '[' may follow ']' in format field specifier"));
            }
        }
        Ok(value)
    }

    fn argument(&mut self, name: &str) -> Result<Value, Fault> {
        let idx = match (name.is_empty(), name.parse::<usize>()) {
            (true, _) => match self.numbering {
                Numbering::Manual => {
                    let message = "cannot switch from manual field specification to automatic field numbering";
                    return Err(Fault::of_value(message));
                }
                Numbering::Unknown => {
                    self.numbering = Numbering::Next(1);
                    0
                }
                Numbering::Next(idx) => {
                    self.numbering = Numbering::Next(idx + 1);
                    idx
                }
            },
            (false, Ok(idx)) => {
                if let Numbering::Next(_) = self.numbering {
                    let message = "cannot switch from automatic field numbering to manual field specification";
                    return Err(Fault::of_value(message));
                }
                self.numbering = Numbering::Manual;
                idx
            }
            (false, Err(_)) => {
                let found = self.arguments.named.iter().find(|(known, _)| known == name);
                return found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| Fault::new(EvalErrorKind::Key, crate::model::text::repr(Key::from(name).value())));
            }
        };
        self.arguments.positional.get(idx).cloned().ok_or_else(|| {
            let message = format!("Replacement index {idx} out of range for positional args tuple");
            Fault::new(EvalErrorKind::Index, message)
        })
    }
}

/// Where the field ends, past fields nested in its specification.
fn close(inside: &str) -> Option<usize> {
    let mut depth = 0;
    let mut bracket = false;
    for (at, letter) in inside.char_indices() {
        match letter {
            '[' => bracket = true,
            ']' => bracket = false,
            '{' => depth += 1,
            '}' if bracket && depth == 0 => return Some(at),
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Name, conversion, specification.
fn split(field: &str) -> Result<(&str, Option<char>, &str), Fault> {
    let mut bracket = false;
    let end = field.find(|letter| {
        bracket = match letter {
            '[' => true,
            ']' => false,
            _ => bracket,
        };
        !bracket && matches!(letter, '!' | ':')
    });
    let Some(end) = end else { return Ok((field, None, "")) };
    let (name, rest) = field.split_at(end);
    if let Some(spec) = rest.strip_prefix(':') {
        return Ok((name, None, spec));
    }
    let mut letters = rest.get(1..).unwrap_or_default().chars();
    let missing = "end of string while looking for conversion specifier";
    let conversion = letters.next().ok_or_else(|| Fault::of_value(missing))?;
    match letters.as_str() {
        "" => Ok((name, Some(conversion), "")),
        rest => match rest.strip_prefix(':') {
            Some(spec) => Ok((name, Some(conversion), spec)),
            None => Err(Fault::of_value("expected ':' after conversion specifier")),
        },
    }
}

//! Arguments of builtins and methods, with Python's words where they do not fit.

use super::{Arguments, Fault};
use crate::model::Value;

/// The arguments by parameter, given by position or name. A name that is empty takes no keyword.
pub fn take<'a, const N: usize>(
    function: &str,
    arguments: &Arguments<'a>,
    names: [&str; N],
    required: usize,
) -> Result<[Option<&'a Value>; N], Fault> {
    let given = arguments.positional.len() + arguments.named.len();
    let mut found = [None; N];
    if arguments.positional.len() > N || (given > N && arguments.named.is_empty()) {
        return Err(wrong_count(function, N, required, given));
    }
    for (place, value) in found.iter_mut().zip(arguments.positional) {
        *place = Some(value);
    }
    for (name, value) in arguments.named {
        let place = names.iter().position(|known| known == name).and_then(|at| found.get_mut(at));
        match place {
            Some(place @ None) => *place = Some(value),
            Some(_) => {
                return Err(Fault::of_type(format!("{function}() got multiple values for argument '{name}'")));
            }
            None => {
                return Err(Fault::of_type(format!("{function}() got an unexpected keyword argument '{name}'")));
            }
        }
    }
    match found.iter().take(required).all(Option::is_some) {
        true => Ok(found),
        false => Err(wrong_count(function, N, required, given)),
    }
}

/// The only argument.
pub fn one<'a>(function: &str, arguments: &Arguments<'a>) -> Result<&'a Value, Fault> {
    match (arguments.positional, arguments.named) {
        ([value], []) => Ok(value),
        _ => Err(wrong_count(function, 1, 1, arguments.positional.len() + arguments.named.len())),
    }
}

/// No arguments.
pub fn none(function: &str, arguments: &Arguments<'_>) -> Result<(), Fault> {
    match arguments.positional.len() + arguments.named.len() {
        0 => Ok(()),
        given => Err(Fault::of_type(format!("{function}() takes no arguments ({given} given)"))),
    }
}

fn wrong_count(function: &str, most: usize, required: usize, given: usize) -> Fault {
    let expected = match (required, most) {
        (1, 1) => return Fault::of_type(format!("{function}() takes exactly one argument ({given} given)")),
        (required, most) if required == most => {
            return Fault::of_type(format!("{function} expected {most} arguments, got {given}"));
        }
        (required, _) if given < required => format!("at least {required}"),
        (_, most) => format!("at most {most}"),
    };
    let plural = if expected.ends_with(" 1") { "argument" } else { "arguments" };
    Fault::of_type(format!("{function} expected {expected} {plural}, got {given}"))
}

/// An integer that fits 64 bits.
pub fn int(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(int) => Ok(*int),
        Value::BigInt(_) => {
            Err(Fault::new(crate::expr::EvalErrorKind::Overflow, "Python int too large to convert to C ssize_t"))
        }
        other => Err(Fault::of_type(format!("'{}' object cannot be interpreted as an integer", other.type_name()))),
    }
}

/// A str, or what to say.
pub fn text<'a>(value: &'a Value, fault: impl FnOnce(&str) -> String) -> Result<&'a str, Fault> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(Fault::of_type(fault(other.type_name()))),
    }
}

/// Python's truth of an optional argument.
pub fn flag(value: Option<&Value>) -> bool {
    value.is_some_and(super::truthy)
}

//! Primitives: everything that happens to values, with Python's results and words.
//!
//! The evaluator and the column kernels are both made of these. Nothing here knows positions, names or control flow; a
//! [`Fault`] says what went wrong, the caller says where. What may grow is paid for before it is allocated
//! ([`Budget::allocate`]).

mod access;
mod argument;
mod budget;
mod builtin;
mod bytes_method;
mod collect;
mod compare;
mod convert;
mod dict;
mod dot;

mod json;
mod math;
mod module;
mod mutate;
mod number_text;
mod operator;
mod percent;
mod range;
mod regex;
mod sequence;
mod spec;
mod str_case;
mod str_method;
mod str_search;
mod time;

use smol_str::SmolStr;

pub use self::{
    access::{attribute, index, iterate, slice},
    budget::{Budget, Fault},
    compare::{CompareOp, compare, contains, equal, truthy},
    dot::dot_format,
    json::{encode_json_compact, parse_json, write_json},
    module::{module, module_member_names},
    mutate::mutate,
    operator::{BinaryOp, binary, bit_not, negate, plus},
    percent::percent_format,
};
use crate::model::Value;

/// How primitives call back: functions given to `sorted`, `map`, `re.sub` ...
pub trait Caller {
    fn call(&mut self, function: &Value, arguments: &[Value]) -> Result<Value, Fault>;
    fn budget(&mut self) -> &mut Budget;
}

/// Arguments of a call.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    pub positional: &'a [Value],
    pub named: &'a [(SmolStr, Value)],
}

pub type MethodFn = fn(&Value, &Arguments<'_>, &mut dyn Caller) -> Result<Value, Fault>;
pub type BuiltinFn = fn(&Arguments<'_>, &mut dyn Caller) -> Result<Value, Fault>;

/// Name, function, fewest and most positional arguments.
type Entry = (&'static str, BuiltinFn, usize, Option<usize>);

/// The method `name` of a type.
pub fn method(receiver_type: &str, name: &str) -> Option<MethodFn> {
    match receiver_type {
        "str" => str_method::method(name),
        "bytes" => bytes_method::method(name),
        "list" => sequence::list_method(name),
        "tuple" | "range" => sequence::tuple_method(name),
        "dict" => dict::method(name),
        "re.Match" => regex::method(name),
        "re.Pattern" => regex::pattern_method(name),
        _ => None,
    }
}

/// Whether any type has a method of that name.
pub fn any_method(name: &str) -> bool {
    method_names().contains(&name)
}

/// The methods of all types.
pub fn method_names() -> Vec<&'static str> {
    [
        str_method::NAMES,
        bytes_method::NAMES,
        sequence::NAMES,
        dict::NAMES,
        mutate::NAMES,
        regex::NAMES,
        regex::PATTERN_NAMES,
    ]
    .concat()
}

/// The builtin of that name; members of modules by their dotted name.
pub fn builtin(name: &str) -> Option<BuiltinFn> {
    entry(name).map(|(_, function, ..)| function)
}

/// The names of all builtins, members of modules dotted.
pub fn builtin_names() -> Vec<&'static str> {
    builtin::ENTRIES.iter().chain(module::entries()).map(|(name, ..)| *name).collect()
}

/// Fewest and most positional arguments.
pub fn builtin_arity(name: &str) -> (usize, Option<usize>) {
    entry(name).map_or((0, None), |(_, _, least, most)| (least, most))
}

fn entry(name: &str) -> Option<Entry> {
    let found = match name.contains('.') {
        false => builtin::ENTRIES.iter().find(|(known, ..)| *known == name),
        true => module::entries().find(|(known, ..)| *known == name),
    };
    found.copied()
}

#[cfg(test)]
mod tests;

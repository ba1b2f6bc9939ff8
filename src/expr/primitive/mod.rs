//! What happens to values: the primitives that the evaluator and the column kernels are both made of.
//!
//! Results and messages are Python's, with kstream's decisions: bool is no number, str is not iterable, there are no
//! sets. Functions here are total: they give a value or a [`Fault`], and ask the [`Budget`] before they allocate what an
//! element asked for. No I/O, no clock, no randomness.

mod access;
mod builtin;
mod bytes_method;
mod case;
mod compare;
mod dict;
mod format;
mod json;
mod letter;
mod math;
mod mutate;
mod number;
mod operator;
#[cfg(test)]
mod python_tests;
mod range;
mod regex;
mod sequence;
mod spec;
mod str_method;
mod template;
mod time;
mod titlecase;

use std::any::Any;

use smol_str::SmolStr;

use super::{EvalErrorKind, Limits};
use crate::model::{Opaque, Value};

pub use access::{attribute, index, iterate, slice};
pub use compare::{compare, contains, equal, truthy};
pub use format::{dot_format, percent_format};
pub use json::{encode_json_compact, parse_json, write_json};
pub use mutate::mutate;
pub use operator::{binary, bit_not, negate, plus};
pub use regex::{check_pattern, takes_a_pattern};

/// Why a primitive gives no value; the evaluator adds where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: EvalErrorKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: EvalErrorKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into() }
    }

    pub fn type_error(message: impl Into<String>) -> Fault {
        Fault::new(EvalErrorKind::Type, message)
    }

    pub fn value_error(message: impl Into<String>) -> Fault {
        Fault::new(EvalErrorKind::Value, message)
    }
}

/// Steps and bytes that one element may use up. Limits are counts, so that they trip at the same place everywhere.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    steps: u64,
    bytes: u64,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, steps: 0, bytes: 0 }
    }

    pub fn step(&mut self) -> Result<(), Fault> {
        self.steps(1)
    }

    pub fn steps(&mut self, count: u64) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > self.limits.steps {
            let message = format!("more than {} steps for one element", self.limits.steps);
            return Err(Fault::new(EvalErrorKind::Limit, message));
        }
        Ok(())
    }

    /// Asked before `bytes` are allocated.
    pub fn allocate(&mut self, bytes: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.memory_bytes {
            let message = format!("more than {} bytes for one element", self.limits.memory_bytes);
            return Err(Fault::new(EvalErrorKind::Limit, message));
        }
        if self.bytes > self.limits.host_bytes {
            let message = format!("more than {} bytes for one element", self.limits.host_bytes);
            return Err(Fault::new(EvalErrorKind::Host, message));
        }
        Ok(())
    }

    /// Asked before a sequence of `len` values is allocated.
    pub fn values(&mut self, len: usize) -> Result<(), Fault> {
        self.steps(len as u64)?;
        self.allocate((len as u64).saturating_mul(size_of::<Value>() as u64))
    }

    /// The next element begins.
    pub fn reset(&mut self) {
        self.steps = 0;
        self.bytes = 0;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Percent,
    BitAnd,
    BitOr,
    BitXor,
    LeftShift,
    RightShift,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Calls functions of the lambda, for primitives that take one (`sorted(key = ...)`).
pub trait Caller {
    fn call(&mut self, function: &Value, arguments: &[Value]) -> Result<Value, Fault>;
    fn budget(&mut self) -> &mut Budget;
}

/// The arguments of a call.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    pub positional: &'a [Value],
    pub named: &'a [(SmolStr, Value)],
}

impl<'a> Arguments<'a> {
    pub fn named(&self, name: &str) -> Option<&'a Value> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The parameters `names` by position or name, the first `required` of which must be given.
    pub fn take<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<&'a Value>; N], Fault> {
        if self.positional.len() > N {
            let most = if N == 1 { "1 argument".to_owned() } else { format!("{N} arguments") };
            let message = format!("{function}() takes at most {most} ({} given)", self.positional.len());
            return Err(Fault::type_error(message));
        }
        let mut taken = [None; N];
        taken.iter_mut().zip(self.positional).for_each(|(place, value)| *place = Some(value));
        for (name, value) in self.named {
            match names.iter().position(|known| known == name) {
                Some(at) if taken[at].is_none() => taken[at] = Some(value),
                Some(_) => {
                    return Err(Fault::type_error(format!("{function}() got multiple values for argument '{name}'")));
                }
                None => {
                    let message = format!("{function}() got an unexpected keyword argument '{name}'");
                    return Err(Fault::type_error(message));
                }
            }
        }
        match taken.iter().take(required).position(Option::is_none) {
            Some(missing) => {
                Err(Fault::type_error(format!("{function}() missing required argument: '{}'", names[missing])))
            }
            None => Ok(taken),
        }
    }
}

pub type MethodFn = fn(&Value, &Arguments<'_>, &mut dyn Caller) -> Result<Value, Fault>;
pub type BuiltinFn = fn(&Arguments<'_>, &mut dyn Caller) -> Result<Value, Fault>;

/// The method `name` of values whose type Python calls `receiver_type`.
pub fn method(receiver_type: &str, name: &str) -> Option<MethodFn> {
    match receiver_type {
        "str" => str_method::method(name),
        "bytes" => bytes_method::method(name),
        "match" => regex::match_method(name),
        "pattern" => regex::pattern_method(name),
        "list" => sequence::list_method(name),
        "tuple" | "range" => sequence::method(name),
        "dict" => dict::method(name),
        _ => None,
    }
}

/// Names of all methods of all types.
pub fn method_names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        [str_method::NAMES, bytes_method::NAMES, regex::METHOD_NAMES, sequence::NAMES, dict::NAMES, mutate::NAMES]
            .concat();
    names.sort_unstable();
    names.dedup();
    names
}

pub fn any_method(name: &str) -> bool {
    method_names().contains(&name)
}

/// A builtin function, or a module's by its dotted name (`json.loads`).
pub fn builtin(name: &str) -> Option<BuiltinFn> {
    match name.split_once('.') {
        Some((module, member)) => module_member(module, member),
        None => builtin::builtin(name),
    }
}

pub fn builtin_names() -> Vec<&'static str> {
    builtin::BUILTINS.iter().map(|(name, _, _)| *name).collect()
}

/// Least and most positional arguments of a builtin.
pub fn builtin_arity(name: &str) -> (usize, Option<usize>) {
    let (table, name) = match name.split_once('.') {
        Some((module, member)) => (module_members(module), member),
        None => (builtin::BUILTINS, name),
    };
    table.iter().find(|(known, _, _)| *known == name).map_or((0, None), |(_, least, most)| (*least, *most))
}

type Arities = &'static [(&'static str, usize, Option<usize>)];

fn module_members(module: &str) -> Arities {
    match module {
        "json" => json::MEMBERS,
        "math" => math::MEMBERS,
        "re" => regex::MEMBERS,
        "time" => time::MEMBERS,
        _ => &[],
    }
}

fn module_member(module: &str, member: &str) -> Option<BuiltinFn> {
    match module {
        "json" => json::member(member),
        "math" => math::member(member),
        "re" => regex::member(member),
        "time" => time::member(member),
        _ => None,
    }
}

/// A constant of a module (`math.pi`).
fn module_constant(module: &str, member: &str) -> Option<Value> {
    if module == "math" { math::constant(member) } else { None }
}

const MODULES: [&str; 4] = ["json", "math", "re", "time"];

/// A module as a value.
pub fn module(name: &str) -> Option<Value> {
    let name = MODULES.iter().find(|module| **module == name)?;
    Some(Value::Opaque(std::sync::Arc::new(Module(name))))
}

pub fn module_member_names(module: &str) -> Vec<&'static str> {
    module_members(module).iter().map(|(name, _, _)| *name).collect()
}

#[derive(Debug)]
struct Module(&'static str);

impl Opaque for Module {
    fn type_name(&self) -> &'static str {
        "module"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A string as a value, its bytes charged.
pub(crate) fn new_str(text: impl AsRef<str>, budget: &mut Budget) -> Result<Value, Fault> {
    budget.allocate(text.as_ref().len() as u64)?;
    Ok(Value::str(text))
}

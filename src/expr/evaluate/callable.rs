//! Functions as values of the language: builtins, methods and closures.

use std::{any::Any, fmt, sync::Arc};

use smol_str::SmolStr;

use super::frame::Slot;
use crate::{
    expr::EvalErrorKind,
    expr::{
        node::{BuiltinRef, Code, Passing},
        primitive::{self, Arguments, Caller, Fault},
    },
    model::{Opaque, Value},
};

/// Builtins that are also the names of types.
pub const TYPES: [&str; 9] = ["str", "bytes", "int", "float", "bool", "list", "tuple", "dict", "range"];

/// A builtin as a value: `sorted(xs, key = len)`.
pub struct Builtin(pub BuiltinRef);

/// A method of a type, without receiver: `str.lower`.
#[derive(Debug)]
pub struct Unbound {
    pub of: &'static str,
    pub name: SmolStr,
}

/// A lambda or def with the variables it captured.
#[derive(Debug)]
pub struct Closure {
    pub code: Arc<Code>,
    pub captured: Vec<Slot>,
    pub defaults: Vec<Value>,
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in function {}>", self.0.name)
    }
}

impl Opaque for Builtin {
    fn type_name(&self) -> &'static str {
        if TYPES.contains(&self.0.name.as_str()) { "type" } else { "builtin_function_or_method" }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Opaque for Unbound {
    fn type_name(&self) -> &'static str {
        "method_descriptor"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Opaque for Closure {
    fn type_name(&self) -> &'static str {
        "function"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The opaque value inside, if it is a `T`.
pub fn downcast<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
        _ => None,
    }
}

/// The builtin of that name; dotted for members of modules.
pub fn find(name: &str) -> Option<BuiltinRef> {
    let function = match name {
        "isinstance" => isinstance,
        _ => primitive::builtin(name)?,
    };
    Some(BuiltinRef { name: SmolStr::new(name), function, passing: passing(name) })
}

/// Builtins that move elements without looking into them keep nested lists what they are.
fn passing(name: &str) -> Passing {
    match name {
        "len" | "bool" | "type" | "list" | "tuple" | "dict" | "enumerate" | "zip" | "reversed" | "map" | "filter"
        | "hasattr" | "getattr" | "isinstance" | "struct" => Passing::Shallow,
        _ => Passing::Deep,
    }
}

/// The builtin of that name as a value.
pub fn builtin(name: &str) -> Option<Value> {
    find(name).map(|builtin| Value::Opaque(Arc::new(Builtin(builtin))))
}

pub fn builtin_name(value: &Value) -> Option<&str> {
    downcast::<Builtin>(value).map(|builtin| builtin.0.name.as_str())
}

/// `str.lower` as a value.
pub fn unbound(of: &str, name: &str) -> Option<Value> {
    let of = TYPES.iter().find(|known| **known == of)?;
    primitive::method(of, name)?;
    Some(Value::Opaque(Arc::new(Unbound { of, name: SmolStr::new(name) })))
}

/// Fewest and most positional arguments of a builtin.
pub fn arity(name: &str) -> (usize, Option<usize>) {
    match name {
        "isinstance" => (2, Some(2)),
        _ => primitive::builtin_arity(name),
    }
}

/// `isinstance(x, str)`, `isinstance(x, (int, float))`
fn isinstance(arguments: &Arguments<'_>, _caller: &mut dyn Caller) -> Result<Value, Fault> {
    let wrong = || Fault {
        kind: EvalErrorKind::Type,
        message: "isinstance() arg 2 must be a type or a tuple of types".to_owned(),
    };
    let [value, types] = arguments.positional else {
        let message = format!("isinstance expected 2 arguments, got {}", arguments.positional.len());
        return Err(Fault { kind: EvalErrorKind::Type, message });
    };
    let types = match types {
        Value::Tuple(types) => types.to_vec(),
        other => vec![other.clone()],
    };
    let mut found = false;
    for of in &types {
        let name = builtin_name(of).filter(|name| TYPES.contains(name)).ok_or_else(wrong)?;
        found |= name == value.type_name();
    }
    Ok(Value::Bool(found))
}

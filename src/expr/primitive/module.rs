//! The modules `json`, `re`, `math` and `time`.

use std::{any::Any, sync::Arc};

use super::{Entry, json, math, regex, time};
use crate::model::{Opaque, Value};

#[derive(Debug)]
struct Module(&'static str);

impl Opaque for Module {
    fn type_name(&self) -> &'static str {
        "module"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn repr(&self) -> String {
        format!("<module '{}'>", self.0)
    }
}

const NAMES: [&str; 4] = ["json", "re", "math", "time"];

/// The members that are functions, by dotted name.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    json::ENTRIES.iter().chain(regex::ENTRIES).chain(math::ENTRIES).chain(time::ENTRIES)
}

/// The module of that name.
pub fn module(name: &str) -> Option<Value> {
    let name = NAMES.iter().find(|known| **known == name)?;
    Some(Value::Opaque(Arc::new(Module(name))))
}

/// A member that is no function: `math.pi`.
pub fn constant(value: &Value, name: &str) -> Option<Value> {
    let Value::Opaque(opaque) = value else { return None };
    let Module(module) = opaque.as_any().downcast_ref()?;
    match *module {
        "math" => math::constant(name),
        _ => None,
    }
}

/// The members of a module.
pub fn module_member_names(module: &str) -> Vec<&'static str> {
    let functions = entries().filter_map(|(name, ..)| name.split_once('.'));
    let mut names: Vec<&str> = functions.filter(|(of, _)| *of == module).map(|(_, name)| name).collect();
    if module == "math" {
        names.extend(math::CONSTANTS);
    }
    names
}

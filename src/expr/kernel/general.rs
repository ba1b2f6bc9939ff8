//! Nodes without a typed kernel: the primitive on one element after the other. The first error gives up.

use smol_str::SmolStr;

use crate::{
    expr::{
        EvalErrorKind, Limits,
        builder::Builder,
        node::{BuiltinRef, MethodRef},
        primitive::{self, Arguments, BinaryOp, Budget, Caller, CompareOp, Fault},
    },
    model::{Column, Dict, Value, key::Key},
};

/// Builtins that only compute from their arguments.
pub fn is_pure(builtin: &str) -> bool {
    !matches!(builtin, "map" | "filter" | "fail" | "print" | "isinstance" | "range" | "getattr" | "dir")
        && !builtin.starts_with("re.")
}

/// A caller for builtins that need none.
pub struct Alone(Budget);

impl Alone {
    pub fn new(limits: Limits) -> Alone {
        Alone(Budget::new(limits))
    }

    /// A method of str without arguments.
    pub fn str_method(&mut self, name: &str, text: &str) -> Option<Value> {
        self.0.reset();
        primitive::method("str", name)?(&Value::str(text), &Arguments { positional: &[], named: &[] }, self).ok()
    }
}

impl Caller for Alone {
    fn call(&mut self, _function: &Value, _arguments: &[Value]) -> Result<Value, Fault> {
        Err(Fault { kind: EvalErrorKind::Type, message: "a kernel calls no functions".to_owned() })
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.0
    }
}

/// One result an element of the columns; none if any is none. Values of the evaluator alone are given up on.
/// They may take `limits.column_bytes`.
pub fn each(
    columns: &[&Column],
    len: usize,
    limits: Limits,
    mut f: impl FnMut(&[Value]) -> Option<Value>,
) -> Option<Column> {
    let mut builder = Builder::default();
    let mut row: Vec<Value> = Vec::with_capacity(columns.len());
    let mut bytes = 0;
    for idx in 0..len {
        row.clear();
        for column in columns {
            row.push(column.get(idx)?);
        }
        let value = f(&row)?;
        bytes += value.heap_bytes();
        if matches!(value, Value::Opaque(_)) || bytes > limits.column_bytes {
            return None;
        }
        builder.push(value);
    }
    Some(builder.finish())
}

fn each_bool(columns: [&Column; 2], len: usize, f: impl Fn(&Value, &Value) -> Option<bool>) -> Option<Vec<bool>> {
    (0..len).map(|idx| f(&columns[0].get(idx)?, &columns[1].get(idx)?)).collect()
}

pub fn binary(op: BinaryOp, left: &Column, right: &Column, len: usize, limits: Limits) -> Option<Column> {
    let mut budget = Budget::new(limits);
    each(&[left, right], len, limits, |row| {
        budget.reset();
        primitive::binary(op, &row[0], &row[1], &mut budget).ok()
    })
}

pub fn compare(op: CompareOp, left: &Column, right: &Column, len: usize) -> Option<Column> {
    each_bool([left, right], len, |a, b| primitive::compare(op, a, b).ok()).map(super::walk::bools)
}

pub fn contains(item: &Column, container: &Column, len: usize) -> Option<Vec<bool>> {
    each_bool([container, item], len, |container, item| primitive::contains(container, item).ok())
}

pub fn index(of: &Column, idx: &Column, len: usize) -> Option<Column> {
    each(&[of, idx], len, Limits::default(), |row| primitive::index(&row[0], &row[1]).ok())
}

/// Dicts from columns of keys and values, in turn.
pub fn dicts(columns: &[Column], len: usize) -> Option<Column> {
    let columns: Vec<&Column> = columns.iter().collect();
    each(&columns, len, Limits::default(), |row| {
        let mut dict = Dict::new();
        for pair in row.chunks_exact(2) {
            dict.insert(Key::new(pair[0].clone()).ok()?, pair[1].clone());
        }
        Some(Value::Dict(dict.into()))
    })
}

pub fn builtin(
    builtin: &BuiltinRef,
    arguments: &[Column],
    named: &[(SmolStr, Column)],
    len: usize,
    limits: Limits,
) -> Option<Column> {
    let mut alone = Alone(Budget::new(limits));
    let columns: Vec<&Column> = arguments.iter().chain(named.iter().map(|(_, column)| column)).collect();
    each(&columns, len, limits, |row| {
        alone.0.reset();
        let (positional, rest) = row.split_at(arguments.len());
        let named: Vec<(SmolStr, Value)> =
            named.iter().zip(rest).map(|((name, _), value)| (name.clone(), value.clone())).collect();
        (builtin.function)(&Arguments { positional, named: &named }, &mut alone).ok()
    })
}

pub fn method(
    method: &MethodRef,
    of: &Column,
    arguments: &[Column],
    named: &[(SmolStr, Column)],
    len: usize,
    limits: Limits,
) -> Option<Column> {
    let mut alone = Alone(Budget::new(limits));
    let mut columns: Vec<&Column> = vec![of];
    columns.extend(arguments.iter().chain(named.iter().map(|(_, column)| column)));
    each(&columns, len, limits, |row| {
        alone.0.reset();
        let (receiver, rest) = row.split_first()?;
        let (positional, rest) = rest.split_at(arguments.len());
        let named: Vec<(SmolStr, Value)> =
            named.iter().zip(rest).map(|((name, _), value)| (name.clone(), value.clone())).collect();
        let function = match receiver {
            Value::Str(_) => method.on_str,
            other => primitive::method(other.type_name(), &method.name),
        };
        function?(receiver, &Arguments { positional, named: &named }, &mut alone).ok()
    })
}

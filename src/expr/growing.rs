//! Sequences that a fold adds to at their end, again and again: `lambda a, b: a + b` over lists, `def f(a, b):
//! a.append(b); return a`. Called each time, such a function copies what is there, and n elements cost n * n.
//!
//! A [`Growing`] value takes an element in place wherever the function would give just that; for everything else
//! (another type, the limits of an element) it says no, and the function is called and decides.

use super::{
    Evaluator, Function, Reducer,
    evaluate::cell,
    node::{Callee, Code, Kind, Node, Statement, StatementKind, Target, TargetKind},
    primitive::BinaryOp,
    reducer,
    shared::Shared,
};
use crate::model::Value;

/// Shorter ones are left to the function: a copy costs no more than a call.
const LEAST_ITEMS: usize = 64;
const LEAST_BYTES: usize = 1024;

/// What the call itself takes of an element's steps, generously.
const CALL_STEPS: u64 = 64;

/// What a function of two adds to the end of its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// `a + b`
    Sequence,
    /// `a + [b]`
    InList,
    /// `a + (b,)`
    InTuple,
    /// `a.append(b)`, of lists only
    Item,
    /// `a.extend(b)`, of lists only
    Items,
}

pub(super) fn recognise(code: &Code, shared: &Shared) -> Option<Added> {
    if code.parameters.positional.len() != 2 || !code.boxes.is_empty() {
        return None;
    }
    if reducer::recognise(code, shared) == Reducer::Add {
        return Some(Added::Sequence);
    }
    match reducer::result(code) {
        Some(Node { kind: Kind::Binary(BinaryOp::Add, pair), .. }) if is_local(&pair.0, 0) => sum(&pair.1),
        Some(_) => None,
        None => changed(code),
    }
}

/// The right side of `a + ...`.
fn sum(right: &Node) -> Option<Added> {
    match &right.kind {
        Kind::List(parts) if is_second(parts) => Some(Added::InList),
        Kind::Tuple(parts) if is_second(parts) => Some(Added::InTuple),
        _ => None,
    }
}

/// A statement that changes the first argument, and `return` of it.
fn changed(code: &Code) -> Option<Added> {
    let super::node::Body::Block(statements) = &code.body else { return None };
    let mut effective = statements.iter().filter(|statement| !matches!(statement.kind, StatementKind::Pass));
    let (change, end) = (effective.next()?, effective.next()?);
    let Statement { kind: StatementKind::Return(Some(given)), .. } = end else { return None };
    if !is_local(given, 0) {
        return None;
    }
    match &change.kind {
        StatementKind::Expression(Node { kind: Kind::Call(call), .. }) => {
            let Callee::Method(of, method) = &call.callee else { return None };
            let plain = call.named.is_empty() && call.rest.is_none() && call.named_rest.is_none();
            match method.name.as_str() {
                _ if !plain || !is_local(of, 0) || !is_second(&call.positional) => None,
                "append" => Some(Added::Item),
                "extend" => Some(Added::Items),
                _ => None,
            }
        }
        StatementKind::Augment(Target { kind: TargetKind::Local(0), .. }, BinaryOp::Add, right) => {
            if is_local(right, 1) { Some(Added::Sequence) } else { sum(right) }
        }
        _ => None,
    }
}

fn is_local(node: &Node, slot: u32) -> bool {
    matches!(&node.kind, Kind::Local(local) if *local == slot)
}

fn is_second(parts: &[Node]) -> bool {
    matches!(parts, [part] if is_local(part, 1))
}

/// A folded value that is long, with room at its end.
#[derive(Debug)]
pub struct Growing {
    items: Items,
    /// Bytes of the items themselves, without their places.
    inner_bytes: usize,
    /// Lists, tuples and the like within; each costs a step when it leaves a function.
    containers: u64,
}

#[derive(Debug)]
enum Items {
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Str(String),
    Bytes(Vec<u8>),
}

impl Growing {
    /// `value` with room at its end, where `function` adds there and `value` is long.
    pub fn begin(function: &Function, value: &Value, evaluator: &Evaluator) -> Option<Growing> {
        let added = function.added().filter(|_| !evaluator.force_evaluator)?;
        let items = match value {
            Value::List(items) if LEAST_ITEMS <= items.len() => Items::List(items.to_vec()),
            // Only lists can be changed.
            _ if matches!(added, Added::Item | Added::Items) => return None,
            Value::Tuple(items) if LEAST_ITEMS <= items.len() => Items::Tuple(items.to_vec()),
            Value::Str(text) if LEAST_BYTES <= text.len() => Items::Str(text.to_string()),
            Value::Bytes(bytes) if LEAST_BYTES <= bytes.len() => Items::Bytes(bytes.to_vec()),
            _ => return None,
        };
        let inner_bytes = match &items {
            Items::List(items) | Items::Tuple(items) => items.iter().map(Value::heap_bytes).sum(),
            Items::Str(_) | Items::Bytes(_) => 0,
        };
        cell::fits(value, 0).then(|| Growing { items, inner_bytes, containers: containers(value) })
    }

    /// Adds what `function` would; `false` where it must be called to know.
    pub fn add(&mut self, function: &Function, value: &Value, evaluator: &Evaluator) -> bool {
        let one = std::slice::from_ref(value);
        match (&mut self.items, function.added(), value) {
            (Items::List(_), Some(Added::InList | Added::Item), _) => self.add_items(one, evaluator),
            (Items::Tuple(_), Some(Added::InTuple), _) => self.add_items(one, evaluator),
            (Items::List(_), Some(Added::Sequence | Added::Items), Value::List(more)) => {
                self.add_items(more, evaluator)
            }
            (Items::Tuple(_), Some(Added::Sequence), Value::Tuple(more)) => self.add_items(more, evaluator),
            (Items::Str(text), Some(Added::Sequence), Value::Str(more)) => {
                let fits = evaluator.may_take((text.len() + more.len()) as u64, 0);
                if fits {
                    text.push_str(more);
                }
                fits
            }
            (Items::Bytes(bytes), Some(Added::Sequence), Value::Bytes(more)) => {
                let fits = evaluator.may_take((bytes.len() + more.len()) as u64, 0);
                if fits {
                    bytes.extend_from_slice(more);
                }
                fits
            }
            _ => false,
        }
    }

    fn add_items(&mut self, more: &[Value], evaluator: &Evaluator) -> bool {
        let (Items::List(items) | Items::Tuple(items)) = &mut self.items else { return false };
        let len = (items.len() + more.len()) as u64;
        let containers = self.containers + more.iter().map(containers).sum::<u64>();
        let bytes = len.saturating_mul(cell::ELEMENT_BYTES);
        if !evaluator.may_take(bytes, len + containers) || !more.iter().all(|item| cell::fits(item, 1)) {
            return false;
        }
        items.extend_from_slice(more);
        self.containers = containers;
        self.inner_bytes += more.iter().map(Value::heap_bytes).sum::<usize>();
        true
    }

    pub fn value(&self) -> Value {
        match &self.items {
            Items::List(items) => Value::list(items.clone()),
            Items::Tuple(items) => Value::Tuple(items.as_slice().into()),
            Items::Str(text) => Value::str(text),
            Items::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
        }
    }

    pub fn into_value(self) -> Value {
        match self.items {
            Items::List(items) => Value::list(items),
            Items::Tuple(items) => Value::Tuple(items.into()),
            Items::Str(text) => Value::Str(text.into()),
            Items::Bytes(bytes) => Value::Bytes(bytes.into()),
        }
    }

    /// Bytes held, roughly; costs nothing to ask.
    pub fn memory_bytes(&self) -> usize {
        let places = match &self.items {
            Items::List(items) | Items::Tuple(items) => items.capacity() * size_of::<Value>(),
            Items::Str(text) => text.capacity(),
            Items::Bytes(bytes) => bytes.capacity(),
        };
        size_of::<Growing>() + places + self.inner_bytes
    }
}

/// Lists, tuples and the like, `value` included.
fn containers(value: &Value) -> u64 {
    match value {
        Value::List(items) => 1 + items.iter().map(containers).sum::<u64>(),
        Value::Tuple(items) => 1 + items.iter().map(containers).sum::<u64>(),
        Value::Dict(dict) => {
            1 + dict.iter().map(|(key, value)| containers(key.value()) + containers(value)).sum::<u64>()
        }
        Value::Struct(fields) => 1 + fields.fields.iter().map(|(_, value)| containers(value)).sum::<u64>(),
        Value::Record(record) => 1 + containers(&record.key) + containers(&record.value),
        _ => 0,
    }
}

impl Evaluator {
    /// Whether a call that takes so much is surely within the limits of an element.
    fn may_take(&self, bytes: u64, steps: u64) -> bool {
        bytes <= self.limits.memory_bytes.min(self.limits.host_bytes)
            && steps.saturating_add(CALL_STEPS) <= self.limits.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expr::{Library, Limits},
        model::encode::put_value,
    };

    const LIBRARY: &str = "
def append(a, b):
    a.append(b)
    return a

def extend(a, b):
    a.extend(b)
    return a

def augment(a, b):
    a += b
    return a

def join(a, b):
    return a + b
";

    const FUNCTIONS: [&str; 7] =
        ["lambda a, b: a + b", "lambda a, b: a + [b]", "lambda a, b: a + (b,)", "append", "extend", "augment", "join"];

    fn function(source: &str) -> Function {
        let library = Library::parse(LIBRARY).unwrap();
        Function::compile(source, &library, 2..=2).unwrap()
    }

    /// The fold of `values`, or the number of the call that failed and why.
    fn folded(function: &Function, values: &[Value], evaluator: &mut Evaluator) -> Result<Vec<u8>, (usize, String)> {
        let mut long: Option<Growing> = None;
        let mut folded = values[0].clone();
        for (idx, value) in values.iter().enumerate().skip(1) {
            long = long.or_else(|| Growing::begin(function, &folded, evaluator));
            if long.as_mut().is_some_and(|long| long.add(function, value, evaluator)) {
                continue;
            }
            folded = long.take().map_or(folded, Growing::into_value);
            folded = evaluator.call(function, &[folded, value.clone()]).map_err(|error| (idx, error.message))?;
        }
        let mut bytes = Vec::new();
        put_value(&mut bytes, &long.map_or(folded, Growing::into_value));
        Ok(bytes)
    }

    #[test]
    fn it_gives_what_the_function_gives_and_fails_where_it_fails() {
        let deep = |levels: usize| (0..levels).fold(Value::Int(1), |inner, _| Value::list(vec![inner]));
        let list = |len: i64| Value::list((0..len).map(Value::Int).collect());
        let tuple = |len: i64| Value::tuple((0..len).map(Value::Int));
        let begins = [list(3), list(100), tuple(100), Value::str("é".repeat(600)), Value::Bytes(vec![7; 2000].into())];
        let more = [
            list(2),
            tuple(3),
            Value::str("é"),
            Value::Bytes(vec![1, 2].into()),
            Value::Int(4),
            Value::None,
            deep(543),
            deep(545),
            Value::list(vec![deep(300), tuple(1)]),
        ];
        let mut compared = 0;
        for source in FUNCTIONS {
            let function = function(source);
            assert!(function.added().is_some(), "{source}");
            for begin in &begins {
                // One kind all the way, then each other kind in between.
                for (usual, other) in more.iter().flat_map(|usual| more.iter().map(move |other| (usual, other))) {
                    let mut values = vec![begin.clone()];
                    values.extend((0..3).map(|_| usual.clone()));
                    values.extend([other.clone(), usual.clone()]);
                    let mut called = Evaluator { force_evaluator: true, ..Evaluator::default() };
                    let given = folded(&function, &values, &mut Evaluator::default());
                    assert_eq!(given, folded(&function, &values, &mut called), "{source} of {begin:?} and {usual:?}");
                    compared += usize::from(given.is_ok());
                }
            }
        }
        assert!(compared > 100, "{compared} gave a value");
    }

    #[test]
    fn the_limits_of_an_element_end_it_at_the_same_call() {
        let cases = [
            ("lambda a, b: a + b", Value::list((0..100).map(Value::Int).collect()), Value::list(vec![Value::Int(1)])),
            ("lambda a, b: a + b", Value::tuple((0..100).map(Value::Int)), Value::tuple([Value::tuple([])])),
            ("lambda a, b: a + b", Value::str("a".repeat(2000)), Value::str("bcd")),
            ("join", Value::Bytes(vec![7; 2000].into()), Value::Bytes(vec![1].into())),
        ];
        let limits = [
            (Limits { memory_bytes: 20_000, ..Limits::default() }, "more than 20000 bytes for one element"),
            (Limits { host_bytes: 20_000, ..Limits::default() }, "more than 20000 bytes for one element"),
            (Limits { steps: 1000, ..Limits::default() }, "more than 1000 steps for one element"),
        ];
        for (source, begin, more) in cases {
            let function = function(source);
            let values: Vec<Value> = [begin].into_iter().chain((0..20_000).map(|_| more.clone())).collect();
            for (limits, message) in limits {
                let mut called = Evaluator { force_evaluator: true, ..Evaluator::new(limits) };
                let given = folded(&function, &values, &mut Evaluator::new(limits));
                let told = given.as_ref().err().map(|(_, told)| told.as_str());
                let is_text = matches!(more, Value::Str(_) | Value::Bytes(_));
                let expected = (!is_text || limits.steps == Limits::default().steps).then_some(message);
                assert_eq!(told, expected, "{source} {more:?}");
                assert_eq!(given, folded(&function, &values, &mut called), "{source} {more:?}");
            }
        }
    }

    #[test]
    fn other_functions_are_called() {
        let others =
            ["lambda a, b: b + a", "lambda a, b: a + [a]", "lambda a, b: a + [b, b]", "lambda a, b: a + b + b", "max"];
        for source in others {
            assert_eq!(function(source).added(), None, "{source}");
        }
        let mutating = "
def twice(a, b):
    a.append(b)
    a.append(b)
    return a

def other(a, b):
    a.append(b)
    return b

def inner(a, b):
    b.append(a)
    return b
";
        let library = Library::parse(mutating).unwrap();
        for name in ["twice", "other", "inner"] {
            assert_eq!(Function::compile(name, &library, 2..=2).unwrap().added(), None, "{name}");
        }
    }
}

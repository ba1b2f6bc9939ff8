//! The tree evaluator: runs a resolved tree on single values.
//!
//! Everything that happens to values is in `primitive`; here are frames, control flow, calls, and lists and dicts that
//! change (`cell`). It runs whatever the column kernels do not, and its results are the definition of theirs.
//!
//! Promises: no input makes it panic, overflow the stack or run without end. Loops, calls and copies cost steps, calls
//! do not recurse, and the depth of the trees that are being evaluated is bounded.

mod access;
mod call;
pub mod callable;
pub mod cell;
mod comprehension;
pub mod frame;
mod statement;

use std::sync::Arc;

use self::frame::{Slot, Variable};
use super::{
    EvalError, EvalErrorKind, Limits,
    node::{Code, FormatPart, Kind, Node, Span, UnaryOp},
    primitive::{self, Budget, Fault},
    shared::Shared,
};
use crate::model::{Dict, Value, key::Key};

/// Most levels of tree that may wait for each other, over all calls.
const MAX_DEPTH: u32 = 700;

/// Why an evaluation stopped. Boxed, so that results stay small.
pub type Stop = Box<EvalError>;
pub type Evaluated = Result<Value, Stop>;

/// Runs one function at a time. Its stack is reused from call to call.
#[derive(Debug)]
pub struct Machine {
    stack: Vec<Slot>,
    /// First slot of the current frame.
    base: usize,
    budget: Budget,
    shared: Arc<Shared>,
    /// Functions that are being called, by address, for recursion; and where their text is.
    active: Vec<(usize, Span)>,
    depth: u32,
    in_library: bool,
    /// Lists and dicts are cells.
    mutates: bool,
    made: cell::Made,
    /// The error of a function that a builtin called; it says more than the builtin's.
    inner: Option<Stop>,
    /// The builtin that runs looks into values: functions it calls must give plain ones.
    deep: bool,
    /// Variables that closures share, emptied at the end: one may hold a closure that holds it.
    shared_variables: Vec<Arc<Variable>>,
}

impl Machine {
    pub fn new(limits: Limits) -> Machine {
        Machine {
            stack: Vec::new(),
            base: 0,
            budget: Budget::new(limits),
            shared: Arc::default(),
            active: Vec::new(),
            depth: 0,
            in_library: false,
            mutates: false,
            made: cell::Made::default(),
            inner: None,
            deep: false,
            shared_variables: Vec::new(),
        }
    }

    /// One call from outside, on plain values, with a budget of its own. What it gives can be kept.
    pub fn run(
        &mut self,
        shared: &Arc<Shared>,
        code: &Arc<Code>,
        defaults: &[Value],
        arguments: &[Value],
    ) -> Evaluated {
        let result = self.run_for_elements(shared, code, defaults, arguments)?;
        if !matches!(result, Value::Opaque(_)) {
            return Ok(result);
        }
        match cell::leaves(&result, &mut self.budget) {
            Ok(()) => Ok(result),
            Err(fault) => Err(self.stop(code.span, fault)),
        }
    }

    /// Like `run`, for a result that is gone over at once: it may be a range.
    pub fn run_for_elements(
        &mut self,
        shared: &Arc<Shared>,
        code: &Arc<Code>,
        defaults: &[Value],
        arguments: &[Value],
    ) -> Evaluated {
        if !Arc::ptr_eq(&self.shared, shared) {
            self.shared = Arc::clone(shared);
        }
        self.budget.reset();
        self.mutates = code.mutates || code.globals.iter().any(|idx| self.shared.mutates(*idx));
        let result = self.run_inner(code, defaults, arguments);
        self.stack.clear();
        self.active.clear();
        self.base = 0;
        self.depth = 0;
        self.inner = None;
        self.deep = false;
        self.shared_variables.drain(..).for_each(|variable| variable.set(None));
        self.made.end();
        result
    }

    fn run_inner(&mut self, code: &Arc<Code>, defaults: &[Value], arguments: &[Value]) -> Evaluated {
        let span = code.span;
        self.in_library = code.in_library;
        let result = match self.mutates {
            false => self.call_code(code, defaults, &[], arguments, &[], span)?,
            true => {
                let arguments: Vec<Value> = arguments.iter().map(|value| self.made.thaw(value.clone())).collect();
                let result = self.call_code(code, defaults, &[], &arguments, &[], span)?;
                self.in_library = code.in_library;
                cell::plain(result, &mut self.budget).map_err(|fault| self.stop(span, fault))?
            }
        };
        match result {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => Ok(result),
            result => match cell::leaves(&result, &mut self.budget) {
                Ok(()) => Ok(result),
                Err(_) if result.type_name() == "range" => Ok(result),
                Err(fault) => Err(self.stop(span, fault)),
            },
        }
    }

    #[cold]
    fn stop(&mut self, span: Span, fault: Fault) -> Stop {
        if let Some(inner) = self.inner.take()
            && inner.kind == fault.kind
            && inner.message == fault.message
        {
            return inner;
        }
        Box::new(EvalError {
            kind: fault.kind,
            message: fault.message,
            span: span.range(),
            in_library: self.in_library,
            function: None,
        })
    }

    #[cold]
    fn fail<T>(&mut self, span: Span, kind: EvalErrorKind, message: impl Into<String>) -> Result<T, Stop> {
        Err(self.stop(span, Fault { kind, message: message.into() }))
    }

    fn at<T>(&mut self, span: Span, result: Result<T, Fault>) -> Result<T, Stop> {
        result.map_err(|fault| self.stop(span, fault))
    }

    /// A value that a builtin may look into.
    fn plain(&mut self, value: Value, span: Span) -> Evaluated {
        if !self.mutates {
            return Ok(value);
        }
        let plain = cell::plain(value, &mut self.budget);
        self.at(span, plain)
    }

    /// A result of a builtin.
    fn adopt(&mut self, value: Value) -> Value {
        if self.mutates { self.made.adopt(value) } else { value }
    }

    fn list(&mut self, items: Vec<Value>, span: Span) -> Evaluated {
        let room = self.budget.allocate(items.len() as u64 * cell::ELEMENT_BYTES);
        self.at(span, room)?;
        let value = Value::list(items);
        Ok(if self.mutates { self.made.cell(value) } else { value })
    }

    fn dict(&mut self, dict: Dict, span: Span) -> Evaluated {
        let room = self.budget.allocate(dict.len() as u64 * 2 * cell::ELEMENT_BYTES);
        self.at(span, room)?;
        let value = Value::Dict(Arc::new(dict));
        Ok(if self.mutates { self.made.cell(value) } else { value })
    }

    pub(super) fn eval(&mut self, node: &Node) -> Evaluated {
        match &node.kind {
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Local(slot) => self.local(*slot, node.span),
            Kind::Global(idx) => match self.shared.value(*idx) {
                Some(value) => Ok(value.clone()),
                None => self.fail(node.span, EvalErrorKind::Value, "the name is used before it is defined"),
            },
            Kind::Tuple(parts) => {
                let parts: Result<Arc<[Value]>, Stop> = parts.iter().map(|part| self.eval(part)).collect();
                parts.map(Value::Tuple)
            }
            Kind::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    items.push(self.eval(part)?);
                }
                self.list(items, node.span)
            }
            Kind::Dict(pairs) => self.dict_display(pairs, node.span),
            Kind::ListComprehension(inner) => self.list_comprehension(inner, node.span),
            Kind::DictComprehension(inner) => self.dict_comprehension(inner, node.span),
            Kind::Not(of) => Ok(Value::Bool(!self.condition(of)?)),
            Kind::Unary(op, of) => self.unary(*op, of, node.span),
            Kind::Binary(op, pair) => {
                let (left, right) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                self.binary(*op, left, right, node.span)
            }
            Kind::Compare(op, pair) => {
                let left = self.eval(&pair.0)?;
                let right = self.eval(&pair.1)?;
                let (left, right) = (self.plain(left, node.span)?, self.plain(right, node.span)?);
                match primitive::compare(*op, &left, &right) {
                    Ok(result) => Ok(Value::Bool(result)),
                    Err(fault) => Err(self.stop(node.span, fault)),
                }
            }
            Kind::In(pair) => Ok(Value::Bool(self.contains(pair, node.span)?)),
            Kind::NotIn(pair) => Ok(Value::Bool(!self.contains(pair, node.span)?)),
            Kind::And(pair) => {
                let left = self.eval(&pair.0)?;
                if self.truthy(&left) { self.eval(&pair.1) } else { Ok(left) }
            }
            Kind::Or(pair) => {
                let left = self.eval(&pair.0)?;
                if self.truthy(&left) { Ok(left) } else { self.eval(&pair.1) }
            }
            Kind::If(parts) => {
                if self.condition(&parts.0)? {
                    self.eval(&parts.1)
                } else {
                    self.eval(&parts.2)
                }
            }
            Kind::Index(pair) => self.index(pair, node.span),
            Kind::Slice(slice) => self.slice(slice, node.span),
            Kind::Attribute(of, name) => {
                let of = self.eval(of)?;
                self.attribute(of, name, node.span)
            }
            Kind::Call(call) => self.call(call, node.span),
            Kind::Closure(closure) => self.closure(closure),
            Kind::Format(parts) => self.format(parts, node.span),
        }
    }

    fn local(&mut self, slot: u32, span: Span) -> Evaluated {
        let value = match self.stack.get(self.base + slot as usize) {
            Some(Slot::Value(value)) => Some(value.clone()),
            Some(Slot::Shared(variable)) => variable.get(),
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => self.fail(span, EvalErrorKind::Value, "local variable referenced before assignment"),
        }
    }

    fn set_local(&mut self, slot: u32, value: Value) {
        match self.stack.get_mut(self.base + slot as usize) {
            Some(Slot::Shared(variable)) => variable.set(Some(value)),
            Some(place) => *place = Slot::Value(value),
            None => {}
        }
    }

    fn truthy(&self, value: &Value) -> bool {
        match value {
            Value::Bool(bool) => *bool,
            Value::Opaque(_) => match cell::cell(value) {
                Some(cell) => primitive::truthy(&cell.get()),
                None => primitive::truthy(value),
            },
            other => primitive::truthy(other),
        }
    }

    fn condition(&mut self, node: &Node) -> Result<bool, Stop> {
        let value = self.eval(node)?;
        Ok(self.truthy(&value))
    }

    fn unary(&mut self, op: UnaryOp, of: &Node, span: Span) -> Evaluated {
        let value = self.eval(of)?;
        let result = match op {
            UnaryOp::Negate => primitive::negate(&value),
            UnaryOp::Plus => primitive::plus(&value),
            UnaryOp::BitNot => primitive::bit_not(&value),
        };
        self.at(span, result)
    }

    fn binary(&mut self, op: primitive::BinaryOp, left: Value, right: Value, span: Span) -> Evaluated {
        if !self.mutates {
            let result = primitive::binary(op, &left, &right, &mut self.budget);
            return self.at(span, result);
        }
        // Joining and repeating lists moves the elements; anything else looks into them.
        let moves = matches!(op, primitive::BinaryOp::Add | primitive::BinaryOp::Multiply | primitive::BinaryOp::BitOr);
        let (left, right) = match moves {
            true => (cell::open(left), cell::open(right)),
            false => (self.plain(left, span)?, self.plain(right, span)?),
        };
        let result = primitive::binary(op, &left, &right, &mut self.budget);
        drop((left, right));
        let result = self.at(span, result)?;
        Ok(self.made.adopt(result))
    }

    fn dict_display(&mut self, pairs: &[(Node, Node)], span: Span) -> Evaluated {
        let mut dict = Dict::with_capacity(pairs.len());
        for (key, value) in pairs {
            let key_value = self.eval(key)?;
            let made = self.key(key_value, key.span)?;
            dict.insert(made, self.eval(value)?);
        }
        self.dict(dict, span)
    }

    fn key(&mut self, value: Value, span: Span) -> Result<Key, Stop> {
        match Key::new(value) {
            Ok(key) => Ok(key),
            Err(name) => self.fail(span, EvalErrorKind::Type, format!("unhashable type: '{name}'")),
        }
    }

    fn format(&mut self, parts: &[FormatPart], span: Span) -> Evaluated {
        let mut text = String::new();
        for part in parts {
            match part {
                FormatPart::Text(literal) => text.push_str(literal),
                FormatPart::Field(node, field) => {
                    let value = self.eval(node)?;
                    let value = self.plain(value, node.span)?;
                    match (&value, field.is_empty()) {
                        (Value::Str(inner), true) => text.push_str(inner),
                        (value, true) => crate::model::text::put_str(&mut text, value),
                        (value, false) => {
                            let arguments =
                                primitive::Arguments { positional: std::slice::from_ref(value), named: &[] };
                            let result = primitive::dot_format(field, &arguments, &mut self.budget);
                            if let Value::Str(inner) = self.at(node.span, result)? {
                                text.push_str(&inner);
                            }
                        }
                    }
                    let room = self.budget.allocate(text.len() as u64);
                    self.at(span, room)?;
                }
            }
        }
        Ok(Value::str(text))
    }
}

//! Lambdas: parse, check, compile, evaluate. Total, bounded, deterministic; no I/O, no clock, no randomness.
//!
//! The language is Starlark (parsed by `starlark_syntax`) with Python's texts. A function is compiled once
//! ([`Function::compile`]) and shared by all tasks; every task evaluates it with an [`Evaluator`] of its own, a chunk at
//! a time. `primitive` holds what both ways of running (column kernels and the tree evaluator) are made of.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use crate::model::{Column, Value};

/// The named functions of a job's `[functions]`, parsed and checked once.
#[derive(Debug, Clone, Default)]
pub struct Library {}

impl Library {
    /// `code` is the Starlark text of `[functions]`. All mistakes are returned, none stops at the first.
    pub fn parse(_code: &str) -> Result<Library, Vec<LambdaError>> {
        todo!()
    }
}

/// A mistake in a lambda or in `[functions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaError {
    /// Bytes of the text that was given to `compile` or `parse`.
    pub span: Range<usize>,
    /// Lower case, no final period: "unknown name `wrod`".
    pub message: String,
    /// "did you mean `word`?", or the form to write instead.
    pub hint: Option<String>,
}

/// A compiled lambda, library function or builtin. Cheap to clone, shared by all tasks.
#[derive(Debug, Clone)]
pub struct Function {
    _inner: Arc<()>,
}

impl Function {
    /// `source` is a lambda, or the name of a library function or builtin; it must accept a number of positional
    /// arguments within `arity`.
    pub fn compile(
        _source: &str,
        _library: &Library,
        _arity: RangeInclusive<usize>,
    ) -> Result<Function, Vec<LambdaError>> {
        todo!()
    }

    /// The text given to `compile`.
    pub fn source(&self) -> &str {
        todo!()
    }

    /// How many arguments kstream passes: the most within the accepted range.
    pub fn arity(&self) -> usize {
        todo!()
    }

    /// Whether chunks of fitting types run as column kernels; else why not ("calls re.match").
    pub fn native(&self) -> Result<(), String> {
        todo!()
    }

    /// A fold that is recognised, so that typed columns need no calls.
    pub fn reducer(&self) -> Reducer {
        todo!()
    }
}

/// Two-argument functions the executor can fold without calling them, on columns of fitting types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reducer {
    /// `a + b`
    Add,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
    /// `a`
    First,
    /// `b`
    Last,
    Other,
}

/// Limits of one evaluation, per element.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub steps: u64,
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 10_000_000, memory_bytes: 256 << 20 }
    }
}

/// Evaluates functions for one task. Holds the scratch memory of the calls; never shared.
#[derive(Debug, Default)]
pub struct Evaluator {
    pub limits: Limits,
    pub force_evaluator: bool,
}

/// Why an element is poison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    pub kind: EvalErrorKind,
    /// Python's words where Python has them: "division by zero", "list index out of range".
    pub message: String,
    /// Byte span within the function's source, or within the library (`in_library`).
    pub span: Range<usize>,
    pub in_library: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum EvalErrorKind {
    Type,
    Value,
    ZeroDivision,
    Index,
    Key,
    Attribute,
    Overflow,
    /// Bytes that are not UTF-8 or not JSON where the job asks for text or JSON.
    Decode,
    /// `fail(...)` of the lambda itself.
    Failed,
    /// Step or memory limit.
    Limit,
}

/// An element that failed: its index in the input column.
pub type Poison = (u32, EvalError);

impl Evaluator {
    pub fn new(limits: Limits) -> Self {
        Self { limits, force_evaluator: false }
    }

    /// One call.
    pub fn call(&mut self, _function: &Function, _arguments: &[Value]) -> Result<Value, EvalError> {
        todo!()
    }

    /// Calls a one-argument function on every element. The column holds the results of the elements that did not fail,
    /// in order; `poison` the others, ascending.
    pub fn map(&mut self, _function: &Function, _input: &Column) -> (Column, Vec<Poison>) {
        todo!()
    }

    /// Indices of the elements for which the function is true (Python's truthiness).
    pub fn filter(&mut self, _function: &Function, _input: &Column) -> (Vec<u32>, Vec<Poison>) {
        todo!()
    }

    /// Like `map`, with the results (list, tuple, range, dict's keys) flattened. The second part has one count an
    /// element of the input, 0 for a failed one.
    pub fn flat_map(&mut self, _function: &Function, _input: &Column) -> (Column, Vec<u32>, Vec<Poison>) {
        todo!()
    }
}

/// Element `idx` of any column as a value; decodes records.
pub fn element(_column: &Column, _idx: usize) -> Result<Value, EvalError> {
    todo!()
}

/// The elements of a list, tuple, range, dict (its keys) or record, for functions that give a batch or partition.
pub fn iterate(_value: &Value) -> Result<Vec<Value>, EvalError> {
    todo!()
}

pub mod primitive {
    use crate::model::Value;
    pub struct Fault {
        pub kind: super::EvalErrorKind,
        pub message: String,
    }
    pub fn write_json(_out: &mut Vec<u8>, _v: &Value) -> Result<(), Fault> {
        todo!()
    }
}

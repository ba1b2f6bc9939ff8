//! Lambdas: parse, check, compile, evaluate. Total, bounded, deterministic; no I/O, no clock, no randomness.
//!
//! The language is Starlark (parsed by `starlark_syntax`) with Python's texts. `job` compiles functions
//! ([`Function::compile`]) and reports every mistake in them at once; `operator` runs them over columns, each task with
//! an [`Evaluator`] of its own.
//!
//! ```text
//!  text -> scan -> parse -> compile -> node ---> kernel    columns at once, or gives up on the chunk
//!          bounds  syntax   names,     resolved            |
//!          Python   tree    checks     tree     ---> evaluate   element by element; decides every error
//!                                                          |
//!                                                primitive: all that happens to values
//! ```
//!
//! Promises: no text and no input makes this room panic, overflow the stack or run without end. Steps and memory are
//! counted per element. A kernel never differs from the evaluator in a value, nor in an error's kind, message or place.
//!
//! It does not know operators, batches or jobs, and keeps nothing from element to element.

mod builder;
mod chunk;
mod compile;
mod evaluate;
mod function;
mod growing;
mod kernel;
mod library;
mod node;
mod parse;
mod piece;
pub mod primitive;
mod python;
mod record;
mod reducer;
mod scan;
mod shared;
mod slip;

use std::{ops::Range, sync::Arc};

pub use self::{chunk::element, function::Function, growing::Growing, library::Library};

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

/// Two-argument functions the executor can fold without calling them, on columns of fitting types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reducer {
    /// `a + b`
    Add,
    /// `a * b`
    Multiply,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
    /// `a if a < b else b` and its kin: a minimum of ints; of equal floats and beside NaN it gives another than `min`.
    MinOfInts,
    /// `a if a > b else b` and its kin
    MaxOfInts,
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
    /// What this process can give to one element, where that is less: no property of the element, so no poison.
    pub host_bytes: u64,
    /// What a kernel may make of a chunk at once; beyond it the chunk is left to the evaluator, which stops in time.
    pub column_bytes: usize,
}

/// As much text as a column holds with views of 32 bits, and some.
pub const MAX_COLUMN_BYTES: usize = 256 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 10_000_000, memory_bytes: 256 << 20, host_bytes: u64::MAX, column_bytes: MAX_COLUMN_BYTES }
    }
}

/// Evaluates functions for one task. Holds the scratch memory of the calls; never shared.
#[derive(Debug, Default)]
pub struct Evaluator {
    limits: Limits,
    /// Never use column kernels: the same results, slower.
    pub force_evaluator: bool,
    /// Bytes that the results of one chunk may take; the function is called on no further element beyond it.
    pub chunk_bytes: Option<usize>,
    overflow: Option<usize>,
    machine: Option<evaluate::Machine>,
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
    /// The source of the function that was called; none where no function was.
    pub function: Option<Arc<str>>,
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
    /// More memory than the job's `memory_limit` leaves, though less than an element may take.
    Host,
}

/// An element that failed: its index in the input column.
pub type Poison = (u32, EvalError);

#[cfg(test)]
mod tests;

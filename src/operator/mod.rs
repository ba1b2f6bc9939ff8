//! Operators: what each step of a job does to chunks, one operator a file.
//!
//! The executor asks for an operator's working part once a task ([`narrow()`], [`Wide::collector`],
//! [`output::OutputOperator::collector`]) and hands it chunks in order. Operators never see a single record (only the
//! evaluator does, inside its chunk), never read offsets or clocks, and never decide what becomes of a poison element:
//! they leave it out and report it.

pub mod narrow;
pub mod output;
pub mod wide;

use std::any::Any;

use crate::{
    expr::{EvalError, EvalErrorKind, Evaluator, Poison},
    lineage::Need,
    model::{Column, Value, refusal::no_key},
    shuffle::combine::CombineError,
};

/// An element that an operator left out, by its index in the chunk given.
#[derive(Debug, Clone)]
pub struct PoisonElement {
    pub idx: u32,
    pub cause: Cause,
}

/// Why an element is poison, or why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A lambda or a decoding failed.
    Lambda(EvalError),
    /// The operator itself cannot take the element: "a str is no (key, value) pair".
    Element(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Its message is the key alone, as Python's.
            Cause::Lambda(error) if error.kind == EvalErrorKind::Key => write!(f, "KeyError: {}", error.message),
            Cause::Lambda(error) => f.write_str(&error.message),
            Cause::Element(message) => f.write_str(message),
        }
    }
}

pub(crate) fn lambda_poison(poison: Vec<Poison>) -> Vec<PoisonElement> {
    poison.into_iter().map(|(idx, error)| PoisonElement { idx, cause: Cause::Lambda(error) }).collect()
}

pub(crate) fn no_pairs(others: Vec<(u32, String)>) -> Vec<PoisonElement> {
    others.into_iter().map(|(idx, message)| PoisonElement { idx, cause: Cause::Element(message) }).collect()
}

/// Elements that are no pairs, and of the others those whose key is none: numbered among the pairs.
pub(crate) fn no_pairs_and(others: Vec<PoisonElement>, no_keys: Vec<(u32, &'static str)>) -> Vec<PoisonElement> {
    let no_keys = no_keys.into_iter().map(|(idx, name)| (place(&others, idx), no_key(name)));
    let no_keys: Vec<(u32, String)> = no_keys.collect();
    let mut poison = others;
    poison.extend(no_pairs(no_keys));
    poison.sort_by_key(|element| element.idx);
    poison
}

/// The index in the chunk of the element that is number `idx` among those that `left_out` does not name (ascending).
pub(crate) fn place(left_out: &[PoisonElement], idx: u32) -> u32 {
    left_out.iter().fold(idx, |idx, out| if out.idx <= idx { idx + 1 } else { idx })
}

/// A function over several records failed: the batch fails, whatever `on_error` says.
#[derive(Debug, Clone)]
pub struct StepFailure {
    pub key: Option<Value>,
    pub cause: Cause,
}

impl StepFailure {
    pub fn lambda(error: EvalError) -> Self {
        Self { key: None, cause: Cause::Lambda(error) }
    }

    pub fn element(message: impl Into<String>) -> Self {
        Self { key: None, cause: Cause::Element(message.into()) }
    }
}

impl From<CombineError> for StepFailure {
    fn from(error: CombineError) -> Self {
        match error {
            CombineError::NoKey { type_name, .. } => StepFailure::element(no_key(type_name)),
            CombineError::Fold { key, error } => StepFailure { key: Some(key), cause: Cause::Lambda(error) },
        }
    }
}

/// The working part of a narrow step in one task.
pub trait Narrow: Send {
    /// The elements that come of `chunk`, in order.
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure>;

    /// The elements that come at the end of the partition.
    fn finish(&mut self, _evaluator: &mut Evaluator) -> Result<Option<Column>, StepFailure> {
        Ok(None)
    }

    /// Bytes held between chunks, roughly.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// The working part of a terminal in one task: takes chunks in order, gives its part of the result.
pub trait Collector: Send {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure>;

    fn finish(self: Box<Self>) -> Partial;

    /// Bytes held, roughly; the executor adds them up against the job's memory limit.
    fn memory_bytes(&self) -> usize;
}

/// What a collector leaves behind; only the operator that made the collector knows its type.
pub type Partial = Box<dyn Any + Send>;

/// A wide operator: ends a stage, gives partitions of its own.
pub trait Wide: Send + Sync {
    /// A collector for one partition of input number `input`.
    fn collector(&self, input: usize) -> Box<dyn Collector>;

    /// How many times the bytes of its parts a merge takes besides them, roughly: for tables cut by partition, for keys
    /// that are sorted, for the result.
    fn merge_factor(&self) -> u64 {
        2
    }

    /// How many times the bytes of the step's state a merge takes besides it, where it goes over all of it.
    fn state_factor(&self) -> u64 {
        0
    }

    /// Puts the parts of all partitions (by input, in partition order) together.
    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure>;
}

/// What a merge may look at besides its inputs.
pub struct MergeContext<'a> {
    /// A fresh evaluator for a task of the merge.
    pub evaluator: &'a (dyn Fn() -> Evaluator + Sync),
    /// How much of the result is looked at.
    pub need: Need,
    /// Milliseconds since the epoch.
    pub batch_time_ms: i64,
    /// The time before the first batch: windows lie on the grid `zero + k * slide`.
    pub zero_ms: i64,
    /// The step's state as of the last commit, for operators that keep one.
    pub state: Option<&'a dyn crate::state::StepState>,
    /// Asks for so many bytes more than the parts of the inputs let expect; they are held until the merge is over. An
    /// error is passed on: it ends the merge, and the batch is made smaller.
    pub room: &'a (dyn Fn(u64) -> Result<(), StepFailure> + Sync),
}

/// What a merge gives.
#[derive(Debug, Default)]
pub struct Merge {
    /// `None` where the stream yields nothing at this batch time (a window off its grid).
    pub dataset: Option<Dataset>,
    /// What the commit of this batch changes in the step's state.
    pub delta: Option<Vec<u8>>,
}

impl From<Dataset> for Merge {
    fn from(dataset: Dataset) -> Self {
        Merge { dataset: Some(dataset), delta: None }
    }
}

/// The elements of a stream in one batch, partition by partition, each a run of chunks.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    pub partitions: Vec<Vec<Column>>,
}

impl Dataset {
    /// One partition with these elements.
    pub fn single(values: Vec<Value>) -> Dataset {
        Dataset { partitions: vec![vec![Column::from_values(values)]] }
    }

    pub fn rows(&self) -> usize {
        self.partitions.iter().flatten().map(Column::len).sum()
    }

    pub fn memory_bytes(&self) -> usize {
        self.partitions.iter().flatten().map(Column::memory_bytes).sum()
    }
}

/// Deltas of partitions as one; each goes as soon as it is copied.
pub(crate) fn put_together(deltas: Vec<Vec<u8>>) -> Vec<u8> {
    let mut whole = Vec::with_capacity(deltas.iter().map(Vec::len).sum());
    deltas.into_iter().for_each(|delta| whole.extend_from_slice(&delta));
    whole
}

/// Takes a partial back to the type its collector made. Only the executor could mix them up.
pub(crate) fn take<T: 'static>(partial: Partial) -> Result<T, StepFailure> {
    partial.downcast::<T>().map(|taken| *taken).map_err(|_| StepFailure::element("parts of another operator"))
}

pub(crate) fn take_all<T: 'static>(partials: Vec<Partial>) -> Result<Vec<T>, StepFailure> {
    partials.into_iter().map(take).collect()
}

/// All elements of a column as values; those that cannot be decoded are poison.
pub(crate) fn values(chunk: &Column) -> (Vec<Value>, Vec<PoisonElement>) {
    let (mut values, mut poison) = (Vec::with_capacity(chunk.len()), Vec::new());
    for idx in 0..chunk.len() {
        match crate::expr::element(chunk, idx) {
            Ok(value) => values.push(value),
            Err(error) => poison.push(PoisonElement { idx: idx as u32, cause: Cause::Lambda(error) }),
        }
    }
    (values, poison)
}

pub use narrow::narrow;
pub use wide::{state, wide};

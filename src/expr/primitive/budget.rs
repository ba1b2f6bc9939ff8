//! Faults, and what one element may cost.

use crate::expr::{EvalErrorKind, Limits};

/// What went wrong, in Python's words; the evaluator knows where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: EvalErrorKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: EvalErrorKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into() }
    }

    pub fn of_type(message: impl Into<String>) -> Fault {
        Fault::new(EvalErrorKind::Type, message)
    }

    pub fn of_value(message: impl Into<String>) -> Fault {
        Fault::new(EvalErrorKind::Value, message)
    }
}

/// Counts the steps and bytes of one element against its limits. Bytes are counted when they are asked for and never
/// given back: the count depends on the lambda and the element alone.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    steps: u64,
    bytes: u64,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Budget { limits, steps: 0, bytes: 0 }
    }

    #[inline]
    pub fn step(&mut self) -> Result<(), Fault> {
        self.steps(1)
    }

    #[inline]
    pub fn steps(&mut self, count: u64) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > self.limits.steps { Err(self.too_long()) } else { Ok(()) }
    }

    /// Asks for memory before it is allocated.
    #[inline]
    pub fn allocate(&mut self, bytes: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.memory_bytes { Err(self.too_large()) } else { Ok(()) }
    }

    /// Room for a list or tuple.
    pub fn elements(&mut self, count: usize) -> Result<(), Fault> {
        self.allocate((count as u64).saturating_mul(24))
    }

    pub fn reset(&mut self) {
        self.steps = 0;
        self.bytes = 0;
    }

    #[cold]
    fn too_long(&self) -> Fault {
        Fault::new(EvalErrorKind::Limit, format!("more than {} steps for one element", self.limits.steps))
    }

    #[cold]
    fn too_large(&self) -> Fault {
        Fault::new(EvalErrorKind::Limit, format!("more than {} bytes for one element", self.limits.memory_bytes))
    }
}

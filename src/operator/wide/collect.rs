//! The plain collector: keeps the chunks of a partition as they come.

use crate::{
    expr::Evaluator,
    model::{Column, Value},
    operator::{Collector, Partial, PoisonElement, StepFailure, take_all, values},
    shuffle::accumulator::value_bytes,
};

/// Gives the elements of a partition as values, in order.
pub struct Elements {
    values: Vec<Value>,
    bytes: usize,
    limit: usize,
}

impl Default for Elements {
    fn default() -> Self {
        Self::first(usize::MAX)
    }
}

impl Elements {
    /// Keeps no more than `limit` elements of a partition; those behind are still looked at for poison.
    pub fn first(limit: usize) -> Self {
        Self { values: Vec::new(), bytes: 0, limit }
    }
}

impl Collector for Elements {
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (mut values, poison) = values(&chunk);
        values.truncate(self.limit - self.values.len());
        self.bytes += values.iter().map(|value| 24 + value_bytes(value)).sum::<usize>();
        self.values.extend(values);
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.values)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// The values of all partitions of one input, in order.
pub fn elements(inputs: Vec<Vec<Partial>>) -> Result<Vec<Value>, StepFailure> {
    let mut all = Vec::new();
    for partials in inputs {
        all.extend(take_all::<Vec<Value>>(partials)?.into_iter().flatten());
    }
    Ok(all)
}

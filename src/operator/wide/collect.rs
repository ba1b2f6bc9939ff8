//! The plain collector: keeps the chunks of a partition as they come.

use crate::{
    expr::{Evaluator, element},
    model::{
        Column, Value, key,
        refusal::{no_key, no_pair},
    },
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, take_all, values},
    shuffle::accumulator::value_bytes,
};

/// Gives the elements of a partition as values, in order.
pub struct Elements {
    values: Vec<Value>,
    bytes: usize,
    limit: usize,
    /// Elements that are no pairs, or whose key is none, are poison.
    pairs: bool,
}

impl Default for Elements {
    fn default() -> Self {
        Self::first(usize::MAX)
    }
}

impl Elements {
    /// Keeps no more than `limit` elements of a partition; those behind are still looked at for poison.
    pub fn first(limit: usize) -> Self {
        Self { values: Vec::new(), bytes: 0, limit, pairs: false }
    }

    /// Takes (key, value) pairs only.
    pub fn pairs() -> Self {
        Self { pairs: true, ..Self::default() }
    }
}

impl Collector for Elements {
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (mut values, poison) = if self.pairs { pairs(&chunk) } else { values(&chunk) };
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

/// The pairs of a column, and what is none.
fn pairs(chunk: &Column) -> (Vec<Value>, Vec<PoisonElement>) {
    let (mut values, mut poison) = (Vec::with_capacity(chunk.len()), Vec::new());
    for idx in 0..chunk.len() {
        let pair = element(chunk, idx).map_err(Cause::Lambda).and_then(|value| match value.as_pair() {
            Some((key, _)) => match key::check(key) {
                Ok(()) => Ok(value),
                Err(name) => Err(Cause::Element(no_key(name))),
            },
            None => Err(Cause::Element(no_pair(&value))),
        });
        match pair {
            Ok(value) => values.push(value),
            Err(cause) => poison.push(PoisonElement { idx: idx as u32, cause }),
        }
    }
    (values, poison)
}

/// The values of all partitions of one input, in order.
pub fn elements(inputs: Vec<Vec<Partial>>) -> Result<Vec<Value>, StepFailure> {
    let mut all = Vec::new();
    for partials in inputs {
        all.extend(take_all::<Vec<Value>>(partials)?.into_iter().flatten());
    }
    Ok(all)
}

//! `count`: one record, the number of elements; 0 for an empty batch.

use crate::{
    expr::Evaluator,
    model::{Column, Value},
    operator::{Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, take_all},
};

pub struct Count;

#[derive(Default)]
pub(super) struct Counter(usize);

impl Collector for Counter {
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        self.0 += chunk.len();
        Ok(Vec::new())
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.0)
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

impl Wide for Count {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Counter::default())
    }

    fn merge_factor(&self) -> u64 {
        0
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, _: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let counts = take_all::<usize>(inputs.into_iter().flatten().collect())?;
        Ok(Dataset::single(vec![Value::Int(counts.iter().sum::<usize>() as i64)]).into())
    }
}

//! `reduce`: one record, the fold of the batch; nothing for an empty batch.

use crate::{
    expr::{Evaluator, Function},
    model::{Column, Value},
    operator::{Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, take_all, values},
    shuffle::accumulator::value_bytes,
};

pub struct Reduce(pub Function);

struct Folder {
    function: Function,
    folded: Option<Value>,
}

impl Folder {
    fn add(&mut self, value: Value, evaluator: &mut Evaluator) -> Result<(), StepFailure> {
        self.folded = Some(match self.folded.take() {
            None => value,
            Some(old) => evaluator.call(&self.function, &[old, value]).map_err(StepFailure::lambda)?,
        });
        Ok(())
    }
}

impl Collector for Folder {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (values, poison) = values(&chunk);
        for value in values {
            self.add(value, evaluator)?;
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.folded)
    }

    fn memory_bytes(&self) -> usize {
        self.folded.as_ref().map_or(0, value_bytes)
    }
}

impl Wide for Reduce {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Folder { function: self.0.clone(), folded: None })
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut folder = Folder { function: self.0.clone(), folded: None };
        for value in take_all::<Option<Value>>(inputs.into_iter().flatten().collect())?.into_iter().flatten() {
            folder.add(value, &mut evaluator)?;
        }
        Ok(Dataset::single(folder.folded.into_iter().collect()).into())
    }
}

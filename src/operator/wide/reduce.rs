//! `reduce`: one record, the fold of the batch; nothing for an empty batch.

use crate::{
    expr::{Evaluator, Function},
    model::{Column, Value},
    operator::{Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, take_all, values},
    shuffle::{
        accumulator::{Accumulator, FoldError},
        fold::Fold,
    },
};

pub struct Reduce(pub Function);

/// Folds as `reduce_by_key` does, with one key.
struct Folder {
    fold: Fold,
    folded: Accumulator,
    /// The key's number, once an element.
    zeros: Vec<u32>,
}

impl Folder {
    fn new(function: &Function) -> Folder {
        Folder { fold: Fold::of(function), folded: Accumulator::default(), zeros: Vec::new() }
    }

    fn add(&mut self, value: Value, evaluator: &mut Evaluator) -> Result<(), StepFailure> {
        self.folded.fold_value(&self.fold, 0, value, evaluator).map_err(failure)
    }

    fn value(&self) -> Option<Value> {
        (!self.folded.is_empty()).then(|| self.folded.get(0))
    }
}

fn failure(failed: FoldError) -> StepFailure {
    StepFailure::lambda(failed.error)
}

impl Collector for Folder {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        if matches!(chunk, Column::Int(_) | Column::Float(_) | Column::Const(..)) {
            self.zeros.resize(chunk.len(), 0);
            self.folded.fold(&self.fold, &self.zeros, &chunk, evaluator).map_err(failure)?;
            return Ok(Vec::new());
        }
        let (values, poison) = values(&chunk);
        for value in values {
            self.add(value, evaluator)?;
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.value())
    }

    fn memory_bytes(&self) -> usize {
        self.folded.memory_bytes()
    }
}

impl Wide for Reduce {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Folder::new(&self.0))
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut folder = Folder::new(&self.0);
        for value in take_all::<Option<Value>>(inputs.into_iter().flatten().collect())?.into_iter().flatten() {
            folder.add(value, &mut evaluator)?;
        }
        Ok(Dataset::single(folder.value().into_iter().collect()).into())
    }
}

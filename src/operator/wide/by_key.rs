//! `reduce_by_key`, `count_by_value`, `distinct`: one folded value a key, combined on the map side.

use crate::{
    expr::{Evaluator, Function},
    model::{Column, Value},
    operator::{
        Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, no_pairs, no_pairs_and,
        take_all,
    },
    shuffle::{CombineTable, combine::split_pairs, fold::Fold, merge::by_partition},
};

/// What a chunk's keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// Elements are (key, value) pairs.
    Pairs,
    /// The element is the key, counted.
    Counted,
    /// The element is the key, and all that is left of the result.
    Keys,
}

pub struct ByKey {
    fold: Fold,
    take: Take,
    partitions: usize,
}

impl ByKey {
    pub fn reduce(function: &Function, partitions: u32) -> Self {
        Self { fold: Fold::of(function), take: Take::Pairs, partitions: partitions as usize }
    }

    pub fn count_values(partitions: u32) -> Self {
        Self { fold: Fold::count(), take: Take::Counted, partitions: partitions as usize }
    }

    pub fn distinct(partitions: u32) -> Self {
        Self { fold: Fold::first(), take: Take::Keys, partitions: partitions as usize }
    }
}

struct Combiner {
    table: CombineTable,
    fold: Fold,
    take: Take,
}

impl Collector for Combiner {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (keys, values, others) = match self.take {
            Take::Pairs => split_pairs(&chunk),
            Take::Counted | Take::Keys => {
                let ones = Column::Const(Value::Int(1), chunk.len());
                (chunk, ones, Vec::new())
            }
        };
        let no_keys = self.table.add(&keys, &values, &self.fold, evaluator)?;
        Ok(no_pairs_and(no_pairs(others), no_keys))
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.table)
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}

impl Wide for ByKey {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Combiner { table: CombineTable::default(), fold: self.fold.clone(), take: self.take })
    }

    /// Measured: 1.1 for tuples as keys, 2.1 for short strs, 2.7 for long ones and for ints (tests/memory/merges.rs).
    fn merge_factor(&self) -> u64 {
        3
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let tables = take_all::<CombineTable>(inputs.into_iter().flatten().collect())?;
        let merged = by_partition(tables, self.partitions, &self.fold, context.evaluator)?;
        let partitions = merged
            .into_iter()
            .map(|merged| {
                let pairs = merged.pairs(context.need);
                match (self.take, pairs) {
                    (Take::Keys, Column::Tuple(parts)) => vec![parts[0].clone()],
                    (_, pairs) => vec![pairs],
                }
            })
            .collect();
        Ok(Dataset { partitions }.into())
    }
}

//! `repartition` and `partition_by`: the same elements in another number of partitions.

use super::collect::{Elements, elements};
use crate::{
    model::{
        Column, Value,
        key::Key,
        refusal::{no_key, no_pair},
    },
    operator::{Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide},
};

/// Deals the elements of the batch out in turn, so that every partition gets as many (give or take one).
pub struct Repartition {
    pub partitions: usize,
}

impl Wide for Repartition {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::default())
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, _: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut partitions: Vec<Vec<Value>> = vec![Vec::new(); self.partitions];
        for (idx, value) in elements(inputs)?.into_iter().enumerate() {
            partitions[idx % self.partitions].push(value);
        }
        Ok(dataset(partitions).into())
    }
}

/// Puts every pair into the partition of its key's hash; pairs keep their order.
pub struct PartitionBy {
    pub partitions: usize,
}

impl Wide for PartitionBy {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::pairs())
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, _: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut partitions: Vec<Vec<Value>> = vec![Vec::new(); self.partitions];
        for value in elements(inputs)? {
            let Some((key, _)) = value.as_pair() else {
                return Err(StepFailure::element(no_pair(&value)));
            };
            let key = Key::new(key.clone()).map_err(|name| StepFailure::element(no_key(name)))?;
            partitions[(key.partition_hash() % self.partitions as u64) as usize].push(value);
        }
        Ok(dataset(partitions).into())
    }
}

fn dataset(partitions: Vec<Vec<Value>>) -> Dataset {
    Dataset { partitions: partitions.into_iter().map(|values| vec![Column::from_values(values)]).collect() }
}

//! What windows keep of a batch by key, and what they hand on by partition.

use crate::{
    lineage::Need,
    model::{Column, Value, key::Key, refusal::no_key},
    operator::{Dataset, MergeContext, StepFailure},
    state::window::Part,
};

/// One key's share of a batch; refused where the key is no key.
pub(super) fn part(key: Value, value: Value, records: u64) -> Result<Part, StepFailure> {
    let key = Key::new(key).map_err(|name| StepFailure::element(no_key(name)))?;
    Ok(Part { key, value, records })
}

/// Pairs with distinct keys, cut by the partitioning hash, each partition in key order as far as it is needed.
pub(super) fn by_partition(pairs: Vec<(Key, Value)>, partitions: usize, context: &MergeContext<'_>) -> Dataset {
    let mut cut: Vec<Vec<(Key, Value)>> = vec![Vec::new(); partitions];
    for (key, value) in pairs {
        cut[(key.partition_hash() % partitions as u64) as usize].push((key, value));
    }
    let partitions = cut.into_iter().map(|mut pairs| {
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Need::First(first) = context.need {
            pairs.truncate(first);
        }
        let (keys, values): (Vec<_>, Vec<_>) = pairs.into_iter().map(|(key, value)| (key.into_value(), value)).unzip();
        vec![Column::Tuple([Column::from_values(keys), Column::from_values(values)].into())]
    });
    Dataset { partitions: partitions.collect() }
}

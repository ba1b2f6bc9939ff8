//! A keyed result as one partition: key order over all shuffle partitions.

use crate::{
    job::Operator,
    lineage::Need,
    model::{Column, Value, key::compare},
    operator::Dataset,
};

/// Every partition is in key order already (as far as `need` goes); equal keys lie in one partition.
pub(super) fn merge(dataset: &Dataset, operator: &Operator, need: Need) -> Vec<Column> {
    let mut elements: Vec<Value> = Vec::with_capacity(dataset.rows());
    for column in dataset.partitions.iter().flatten() {
        elements.extend((0..column.len()).filter_map(|idx| column.get(idx)));
    }
    match operator {
        Operator::Distinct { .. } => elements.sort_by(compare),
        _ => elements.sort_by(|a, b| match (a.as_pair(), b.as_pair()) {
            (Some((a, _)), Some((b, _))) => compare(a, b),
            _ => std::cmp::Ordering::Equal,
        }),
    }
    if let Need::First(first) = need {
        elements.truncate(first);
    }
    vec![Column::from_values(elements)]
}

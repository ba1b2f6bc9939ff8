//! Narrow operators: element by element, or partition by partition, without looking at another partition.

mod map;
mod map_partitions;
mod map_values;

use super::Narrow;
use crate::job::Operator;

/// The working part of a narrow step; `None` for steps of another shape.
pub fn narrow(operator: &Operator) -> Option<Box<dyn Narrow>> {
    Some(match operator {
        Operator::Map(function) => Box::new(map::Map(function.clone())),
        Operator::Filter(function) => Box::new(map::Filter(function.clone())),
        Operator::FlatMap(function) => Box::new(map::FlatMap(function.clone())),
        Operator::MapValues(function) => Box::new(map_values::MapValues(function.clone())),
        Operator::FlatMapValues(function) => Box::new(map_values::FlatMapValues(function.clone())),
        Operator::MapPartitions(function) => Box::new(map_partitions::MapPartitions::new(Some(function.clone()))),
        Operator::Glom => Box::new(map_partitions::MapPartitions::new(None)),
        _ => return None,
    })
}

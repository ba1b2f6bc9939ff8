//! Wide operators: they see all partitions of a batch, most of them by key.

mod by_key;
mod collect;
mod count;
mod group;
mod join;
mod map_with_state;
mod partition;
mod reduce;
mod update_state;
mod whole;
mod window;
mod window_fold;
mod window_part;

use super::Wide;
use crate::{
    job::Operator,
    state::{StepState, keyed::KeyedState, window::WindowState},
};

/// The working part of a wide step; `None` for steps of another shape.
pub fn wide(operator: &Operator) -> Option<Box<dyn Wide>> {
    Some(match operator {
        Operator::Count => Box::new(count::Count),
        Operator::Reduce(function) => Box::new(reduce::Reduce(function.clone())),
        Operator::ReduceByKey { func, partitions } => Box::new(by_key::ByKey::reduce(func, *partitions)),
        Operator::CountByValue { partitions } => Box::new(by_key::ByKey::count_values(*partitions)),
        Operator::Distinct { partitions } => Box::new(by_key::ByKey::distinct(*partitions)),
        Operator::GroupByKey { partitions } => Box::new(group::Group::by_key(*partitions)),
        Operator::CombineByKey { create, merge_value, merge_combiners, partitions } => {
            Box::new(group::Group::combine(create, merge_value, merge_combiners, *partitions))
        }
        Operator::Join { kind, partitions } => Box::new(join::Join::of(*kind, *partitions)),
        Operator::Cogroup { partitions } => Box::new(join::Join::cogroup(*partitions)),
        Operator::Repartition { partitions } => Box::new(partition::Repartition { partitions: *partitions as usize }),
        Operator::PartitionBy { partitions } => Box::new(partition::PartitionBy { partitions: *partitions as usize }),
        Operator::SortBy { key, descending } => Box::new(whole::SortBy { key: key.clone(), descending: *descending }),
        Operator::Take(count) => Box::new(whole::Take(usize::try_from(*count).unwrap_or(usize::MAX))),
        Operator::Transform(function) => Box::new(whole::Transform(function.clone())),
        Operator::UpdateStateByKey { func, partitions, .. } => {
            Box::new(update_state::UpdateState::new(func, *partitions))
        }
        Operator::MapWithState { func, timeout_ms, emit, partitions, .. } => Box::new(map_with_state::MapWithState {
            func: func.clone(),
            timeout_ms: *timeout_ms,
            emit: *emit,
            partitions: *partitions as usize,
        }),
        operator => return window::window(operator),
    })
}

/// An empty state for a step that keeps one.
pub fn state(operator: &Operator) -> Option<Box<dyn StepState>> {
    match operator {
        Operator::UpdateStateByKey { partitions, .. } | Operator::MapWithState { partitions, .. } => {
            Some(Box::new(KeyedState::new(*partitions)))
        }
        Operator::Window(_)
        | Operator::CountByWindow(_)
        | Operator::CountByValueAndWindow { .. }
        | Operator::GroupByKeyAndWindow { .. }
        | Operator::ReduceByWindow { .. }
        | Operator::ReduceByKeyAndWindow { .. } => Some(Box::<WindowState>::default()),
        _ => None,
    }
}

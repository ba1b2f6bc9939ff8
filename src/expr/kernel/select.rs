//! Truth, indices, and columns put together from the parts of a condition.

use std::sync::Arc;

use crate::{
    expr::{builder::Builder, primitive},
    model::Column,
};

/// Python's truth of every element.
pub fn truthy(column: &Column) -> Option<Vec<bool>> {
    Some(match column {
        Column::Const(value, len) => vec![primitive::truthy(value); *len],
        Column::Bool(values) => values.to_vec(),
        Column::Int(values) => values.iter().map(|value| *value != 0).collect(),
        Column::Float(values) => values.iter().map(|value| *value != 0.0).collect(),
        Column::Str(column) => column.views.iter().map(|view| view.len != 0).collect(),
        Column::Tuple(_) => vec![true; column.len()],
        Column::List(lists) => lists.offsets.windows(2).map(|pair| pair[0] != pair[1]).collect(),
        Column::Json(documents) => (0..documents.len()).map(|idx| !documents.members(idx).is_empty()).collect(),
        Column::Record(records) => vec![true; records.len()],
        Column::Any(values) => values.iter().map(primitive::truthy).collect(),
    })
}

/// The indices at which it is true.
pub fn indices(kept: &[bool]) -> Vec<u32> {
    // Written in any case and counted where it is true: a branch would be guessed wrong for every other one.
    let mut indices = vec![0; kept.len()];
    let mut count = 0;
    for (idx, kept) in kept.iter().enumerate() {
        if let Some(next) = indices.get_mut(count) {
            *next = idx as u32;
        }
        count += usize::from(*kept);
    }
    indices.truncate(count);
    indices
}

/// The next element of `then` where it is true, else the next of `otherwise`. None where they are records, which are
/// no values yet.
pub fn merge(truth: &[bool], then: &Column, otherwise: &Column) -> Option<Column> {
    Some(match (then, otherwise) {
        (Column::Int(a), Column::Int(b)) => Column::Int(zip(truth, a, b)),
        (Column::Float(a), Column::Float(b)) => Column::Float(zip(truth, a, b)),
        (Column::Bool(a), Column::Bool(b)) => Column::Bool(zip(truth, a, b)),
        (Column::Tuple(a), Column::Tuple(b)) if a.len() == b.len() => {
            Column::Tuple(a.iter().zip(b.iter()).map(|(a, b)| merge(truth, a, b)).collect::<Option<_>>()?)
        }
        _ => {
            let mut builder = Builder::default();
            let (mut yes, mut no) = (0, 0);
            for take in truth {
                let (column, next) = if *take { (then, &mut yes) } else { (otherwise, &mut no) };
                builder.push(column.get(*next)?);
                *next += 1;
            }
            builder.finish()
        }
    })
}

fn zip<T: Copy>(truth: &[bool], then: &[T], otherwise: &[T]) -> Arc<Vec<T>> {
    let (mut then, mut otherwise) = (then.iter(), otherwise.iter());
    let next = |take: &bool| if *take { then.next() } else { otherwise.next() };
    Arc::new(truth.iter().filter_map(next).copied().collect())
}

//! `map_values`, `flat_map_values`: a function over the values of pairs; keys stay as they are.

use crate::{
    expr::{Evaluator, Function},
    model::Column,
    operator::{Narrow, PoisonElement, StepFailure, lambda_poison, no_pairs},
    shuffle::combine::split_pairs,
};

pub struct MapValues(pub Function);

impl Narrow for MapValues {
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (keys, values, others) = split_pairs(&chunk);
        let places = places(chunk.len(), &others);
        let (values, poison) = evaluator.map(&self.0, &values);
        let failed: Vec<u32> = poison.iter().map(|(idx, _)| *idx).collect();
        let keys = if failed.is_empty() { keys } else { keys.gather(&survivors(keys.len(), &failed)) };
        Ok((Column::Tuple([keys, values].into()), all_poison(others, lambda_poison(poison), &places)))
    }
}

pub struct FlatMapValues(pub Function);

impl Narrow for FlatMapValues {
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (keys, values, others) = split_pairs(&chunk);
        let places = places(chunk.len(), &others);
        let (values, counts, poison) = evaluator.flat_map(&self.0, &values);
        let repeated: Vec<u32> =
            counts.iter().enumerate().flat_map(|(idx, &count)| (0..count).map(move |_| idx as u32)).collect();
        let keys = keys.gather(&repeated);
        Ok((Column::Tuple([keys, values].into()), all_poison(others, lambda_poison(poison), &places)))
    }
}

fn survivors(len: usize, failed: &[u32]) -> Vec<u32> {
    let mut failed = failed.iter().peekable();
    (0..len as u32).filter(|idx| failed.next_if_eq(&idx).is_none()).collect()
}

/// For every pair, its index in the chunk it came from.
fn places(len: usize, others: &[(u32, String)]) -> Vec<u32> {
    let mut others = others.iter().map(|(idx, _)| *idx).peekable();
    (0..len as u32).filter(|idx| others.next_if_eq(idx).is_none()).collect()
}

fn all_poison(others: Vec<(u32, String)>, lambda: Vec<PoisonElement>, places: &[u32]) -> Vec<PoisonElement> {
    let mut poison = no_pairs(others);
    poison.extend(lambda.into_iter().map(|element| PoisonElement { idx: places[element.idx as usize], ..element }));
    poison.sort_by_key(|element| element.idx);
    poison
}

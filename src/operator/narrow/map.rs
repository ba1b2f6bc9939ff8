//! `map`, `filter`, `flat_map`: one function, element by element.

use crate::{
    expr::{Evaluator, Function},
    model::Column,
    operator::{Narrow, PoisonElement, StepFailure, lambda_poison},
};

pub struct Map(pub Function);

impl Narrow for Map {
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (mapped, poison) = evaluator.map(&self.0, &chunk);
        Ok((mapped, lambda_poison(poison)))
    }
}

pub struct Filter(pub Function);

impl Narrow for Filter {
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (kept, poison) = evaluator.filter(&self.0, &chunk);
        let column = if kept.len() == chunk.len() { chunk } else { chunk.gather(&kept) };
        Ok((column, lambda_poison(poison)))
    }
}

pub struct FlatMap(pub Function);

impl Narrow for FlatMap {
    fn apply(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (flat, _, poison) = evaluator.flat_map(&self.0, &chunk);
        Ok((flat, lambda_poison(poison)))
    }
}

//! `map_partitions` and `glom`: a whole partition as one list, also an empty one.

use crate::{
    expr::{Evaluator, Function},
    model::{Column, Value},
    operator::{Narrow, PoisonElement, StepFailure, values},
};

/// With a function: list in, list out, once per partition. Without one (`glom`): the list itself is the element.
pub struct MapPartitions {
    function: Option<Function>,
    elements: Vec<Value>,
    bytes: usize,
}

impl MapPartitions {
    pub fn new(function: Option<Function>) -> Self {
        Self { function, elements: Vec::new(), bytes: 0 }
    }
}

impl Narrow for MapPartitions {
    fn apply(&mut self, chunk: Column, _: &mut Evaluator) -> Result<(Column, Vec<PoisonElement>), StepFailure> {
        let (values, poison) = values(&chunk);
        self.bytes += values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum::<usize>();
        self.elements.extend(values);
        Ok((Column::empty(), poison))
    }

    fn finish(&mut self, evaluator: &mut Evaluator) -> Result<Option<Column>, StepFailure> {
        self.bytes = 0;
        let partition = Value::list(std::mem::take(&mut self.elements));
        let Some(function) = &self.function else {
            return Ok(Some(Column::from_values(vec![partition])));
        };
        let elements = evaluator.call_for_elements(function, &[partition]).map_err(StepFailure::lambda)?;
        Ok(Some(Column::from_values(elements)))
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

//! `sort_by`, `take`, `transform`: the batch as one sequence.

use super::collect::{Elements, elements};
use crate::{
    expr::Function,
    model::{Value, key, refusal::a, text},
    operator::{Cause, Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide},
};

/// Stable: elements with equal keys keep their order, also when descending.
pub struct SortBy {
    pub key: Function,
    pub descending: bool,
}

impl Wide for SortBy {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::default())
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut keyed = Vec::new();
        for value in elements(inputs)? {
            let sort_key = evaluator.call(&self.key, std::slice::from_ref(&value)).map_err(StepFailure::lambda)?;
            let sort_key = key::Key::new(sort_key).map_err(|name| StepFailure {
                key: None,
                cause: Cause::Lambda(self.key.wrong_result(no_sort_key(name, &value))),
            })?;
            keyed.push((sort_key, value));
        }
        match self.descending {
            true => keyed.sort_by(|(a, _), (b, _)| b.cmp(a)),
            false => keyed.sort_by(|(a, _), (b, _)| a.cmp(b)),
        }
        Ok(Dataset::single(keyed.into_iter().map(|(_, value)| value).collect()).into())
    }
}

fn no_sort_key(type_name: &str, element: &Value) -> String {
    let mut shown: String = text::repr(element).chars().take(SHOWN).collect();
    if shown.chars().count() == SHOWN {
        shown.push_str("...");
    }
    let hint = match type_name {
        "list" => ": write tuple(...)",
        "record" => ": write r.key, r.value or r.offset",
        _ => "",
    };
    format!("the sort key of {shown} holds {}, which has no order{hint}", a(type_name))
}

/// Most characters of an element in a message.
const SHOWN: usize = 200;

/// The first so many elements of the batch.
pub struct Take(pub usize);

impl Wide for Take {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::first(self.0))
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, _: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut taken = elements(inputs)?;
        taken.truncate(self.0);
        Ok(Dataset::single(taken).into())
    }
}

/// The whole batch as a list (and its time in milliseconds, if the function takes two) in, a list out.
pub struct Transform(pub Function);

impl Wide for Transform {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::default())
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let batch = Value::list(elements(inputs)?);
        let time = Value::Int(context.batch_time_ms);
        let arguments = [batch, time];
        let taken = self.0.arity().min(2);
        let mut evaluator = (context.evaluator)();
        let elements = evaluator.call_for_elements(&self.0, &arguments[..taken]).map_err(StepFailure::lambda)?;
        Ok(Dataset::single(elements).into())
    }
}

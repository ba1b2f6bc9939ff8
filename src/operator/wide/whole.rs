//! `sort_by`, `take`, `transform`: the batch as one sequence.

use super::collect::{Elements, elements};
use crate::{
    expr::{EvalError, Evaluator, Function, element},
    model::{Column, Value, key::Key, refusal::a, text},
    operator::{
        Cause, Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, place, take_all,
        values,
    },
    shuffle::{accumulator::value_bytes, combine::without},
};

/// Stable: elements with equal keys keep their order, also when descending.
pub struct SortBy {
    pub key: Function,
    pub descending: bool,
}

/// The elements of a partition with their sort keys; those without one are poison.
struct Keyed {
    key: Function,
    elements: Vec<(Key, Value)>,
    bytes: usize,
}

impl Keyed {
    /// The sort keys of a chunk, or why an element has none.
    fn sort_keys(&self, chunk: &Column, evaluator: &mut Evaluator) -> Vec<Result<Value, EvalError>> {
        // Keys are no results that a chunk would have to be halved for.
        let room = evaluator.chunk_bytes.take();
        let (keys, failed) = evaluator.map(&self.key, chunk);
        evaluator.chunk_bytes = room;
        let mut failed = failed.into_iter().peekable();
        let mut idx = 0..;
        let one = |at: u32| match failed.next_if(|(failed, _)| *failed == at) {
            Some((_, error)) => Err(error),
            None => element(&keys, idx.next().unwrap_or_default()),
        };
        (0..chunk.len() as u32).map(one).collect()
    }
}

impl Collector for Keyed {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (elements, undecodable) = values(&chunk);
        let chunk = match undecodable.is_empty() {
            true => chunk,
            false => without(&chunk, undecodable.iter().map(|element| element.idx)),
        };
        let mut poison = undecodable.clone();
        for ((idx, element), key) in (0..).zip(elements).zip(self.sort_keys(&chunk, evaluator)) {
            let key =
                key.and_then(|key| Key::new(key).map_err(|name| self.key.wrong_result(no_sort_key(name, &element))));
            match key {
                Ok(key) => {
                    self.bytes += size_of::<(Key, Value)>() + value_bytes(key.value()) + value_bytes(&element);
                    self.elements.push((key, element));
                }
                Err(error) => poison.push(PoisonElement { idx: place(&undecodable, idx), cause: Cause::Lambda(error) }),
            }
        }
        poison.sort_by_key(|element| element.idx);
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.elements)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl Wide for SortBy {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Keyed { key: self.key.clone(), elements: Vec::new(), bytes: 0 })
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, _: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let partitions = take_all::<Vec<(Key, Value)>>(inputs.into_iter().flatten().collect())?;
        let mut keyed: Vec<(Key, Value)> = partitions.into_iter().flatten().collect();
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

//! `pprint`: the first elements of the batch, and whether there were more.

use super::{Delivered, OutputOperator};
use crate::{
    expr::{Evaluator, element},
    model::{Column, Value, digest::OrderedDigest},
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, take_all},
    shuffle::accumulator::value_bytes,
    sink::Content,
};

pub struct Shown {
    pub num: usize,
}

struct First {
    limit: usize,
    elements: Vec<Value>,
    bytes: usize,
}

impl Collector for First {
    /// Elements behind the limit are looked at too where they could be poison, so that what counts as poison does not
    /// depend on how many are shown.
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let wanted = self.limit.saturating_sub(self.elements.len());
        let len = if matches!(chunk, Column::Record(_)) { chunk.len() } else { chunk.len().min(wanted) };
        let mut poison = Vec::new();
        for idx in 0..len {
            match element(&chunk, idx) {
                Ok(value) if self.elements.len() < self.limit => {
                    self.bytes += size_of::<Value>() + value_bytes(&value);
                    self.elements.push(value);
                }
                Ok(_) => {}
                Err(error) => poison.push(PoisonElement { idx: idx as u32, cause: Cause::Lambda(error) }),
            }
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.elements)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl OutputOperator for Shown {
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(First { limit: self.num.saturating_add(1), elements: Vec::new(), bytes: 0 })
    }

    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure> {
        let mut elements: Vec<Value> = take_all::<Vec<Value>>(partials)?.into_iter().flatten().collect();
        let more = elements.len() > self.num;
        elements.truncate(self.num);
        let mut digest = OrderedDigest::default();
        elements.iter().for_each(|element| digest.add(element));
        digest.mark(u8::from(more));
        Ok(Delivered { content: Content::Shown { elements, more }, digest: digest.finish() })
    }
}

//! `command`: every element that has a JSON form. What has none is poison.

use super::{Delivered, OutputOperator};
use crate::{
    expr::Evaluator,
    job::FileFormat,
    model::{Column, Value, digest::UnorderedDigest, encode::put_value},
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, place, take_all, values},
    shuffle::accumulator::value_bytes,
    sink::{Content, line::put_line},
};

pub struct Elements;

#[derive(Default)]
struct ElementCollector {
    elements: Vec<Value>,
    bytes: usize,
}

impl Collector for ElementCollector {
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (elements, undecodable) = values(&chunk);
        let mut poison = undecodable.clone();
        let mut line = Vec::new();
        for (idx, element) in (0..).zip(elements.iter()) {
            line.clear();
            match put_line(&mut line, element, FileFormat::Json) {
                Ok(()) => {
                    self.bytes += size_of::<Value>() + value_bytes(element);
                    self.elements.push(element.clone());
                }
                Err(error) => {
                    let cause = Cause::Element(error.to_string());
                    poison.push(PoisonElement { idx: place(&undecodable, idx), cause });
                }
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

impl OutputOperator for Elements {
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(ElementCollector::default())
    }

    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure> {
        let elements: Vec<Value> = take_all::<Vec<Value>>(partials)?.into_iter().flatten().collect();
        let mut digest = UnorderedDigest::default();
        let mut encoded = Vec::new();
        for element in &elements {
            encoded.clear();
            put_value(&mut encoded, element);
            digest.add(&encoded);
        }
        Ok(Delivered { content: Content::Elements(elements), digest: digest.finish() })
    }
}

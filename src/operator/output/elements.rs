//! `to_kafka`, `command`: every element, as a message or a line. What can be neither is poison.

use std::sync::Arc;

use super::{Delivered, OutputOperator};
use crate::{
    expr::{Evaluator, Function},
    job::{FileFormat, ToKafkaSpec, ToTopic},
    model::{Column, Value, digest::UnorderedDigest, encode::put_value},
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, lambda_poison, take_all, values},
    shuffle::accumulator::value_bytes,
    sink::{Content, kafka::row, line::put_line},
};

/// Which parts of a message are computed from the element, in this order: topic, key, value, headers, partition.
pub struct Rows {
    parts: Vec<Option<Function>>,
    /// Where messages go that name no topic.
    topic: Option<Arc<str>>,
}

impl Rows {
    /// A row is the element itself, which must have a JSON form.
    pub fn json() -> Self {
        Self { parts: Vec::new(), topic: None }
    }

    /// A row is the tuple (topic, key, value, headers, partition); None where the job names no function, except that a
    /// value without function is the element (of a pair: its second part, the first being the key).
    pub fn kafka(spec: &ToKafkaSpec) -> Self {
        let (name, by) = match &spec.topic {
            ToTopic::Name(name) => (Some(Arc::from(name.as_str())), None),
            ToTopic::By(function) => (None, Some(function.clone())),
        };
        let parts = vec![by, spec.key.clone(), spec.value.clone(), spec.headers.clone(), spec.partition.clone()];
        Self { parts, topic: name }
    }
}

struct RowCollector {
    parts: Vec<Option<Function>>,
    topic: Option<Arc<str>>,
    rows: Vec<Value>,
    bytes: usize,
}

impl RowCollector {
    /// One row an element; elements for which a function fails are poison, once.
    fn rows(&self, elements: &[Value], evaluator: &mut Evaluator) -> (Vec<Value>, Vec<PoisonElement>) {
        if self.parts.is_empty() {
            return with_json_form(elements);
        }
        let (mut rows, mut poison) = (Vec::with_capacity(elements.len()), Vec::new());
        'elements: for (idx, element) in elements.iter().enumerate() {
            let mut row = [const { Value::None }; 5];
            for (place, (part, value)) in self.parts.iter().zip(&mut row).enumerate() {
                *value = match (part, place) {
                    (Some(function), _) => match evaluator.call(function, std::slice::from_ref(element)) {
                        Ok(value) => value,
                        Err(error) => {
                            poison.extend(lambda_poison(vec![(idx as u32, error)]));
                            continue 'elements;
                        }
                    },
                    (None, 1) => element.as_pair().map_or(Value::None, |(key, _)| key.clone()),
                    (None, 2) => element.as_pair().map_or_else(|| element.clone(), |(_, value)| value.clone()),
                    (None, _) => Value::None,
                };
            }
            match row::checked(&row, self.topic.as_deref()) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let expected = error.detail.as_deref().unwrap_or_default();
                    let cause = Cause::Element(format!("{error}. {expected}").trim_end().to_owned());
                    poison.push(PoisonElement { idx: idx as u32, cause });
                }
            }
        }
        (rows, poison)
    }
}

fn with_json_form(elements: &[Value]) -> (Vec<Value>, Vec<PoisonElement>) {
    let (mut rows, mut poison) = (Vec::with_capacity(elements.len()), Vec::new());
    let mut line = Vec::new();
    for (idx, element) in elements.iter().enumerate() {
        line.clear();
        match put_line(&mut line, element, FileFormat::Json) {
            Ok(()) => rows.push(element.clone()),
            Err(error) => poison.push(PoisonElement { idx: idx as u32, cause: Cause::Element(error.to_string()) }),
        }
    }
    (rows, poison)
}

impl Collector for RowCollector {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (elements, mut poison) = values(&chunk);
        let (rows, failed) = self.rows(&elements, evaluator);
        poison.extend(failed);
        self.bytes += rows.iter().map(|row| 24 + value_bytes(row)).sum::<usize>();
        self.rows.extend(rows);
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.rows)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl OutputOperator for Rows {
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(RowCollector { parts: self.parts.clone(), topic: self.topic.clone(), rows: Vec::new(), bytes: 0 })
    }

    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure> {
        let rows: Vec<Value> = take_all::<Vec<Value>>(partials)?.into_iter().flatten().collect();
        let mut digest = UnorderedDigest::default();
        let mut encoded = Vec::new();
        for row in &rows {
            encoded.clear();
            put_value(&mut encoded, row);
            digest.add(&encoded);
        }
        Ok(Delivered { content: Content::Elements(rows), digest: digest.finish() })
    }
}

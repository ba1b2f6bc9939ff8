//! `to_kafka`: every element as a message. What can be none is poison.

use std::sync::Arc;

use super::{Delivered, OutputOperator};
use crate::{
    expr::{Evaluator, Function},
    job::{ToKafkaSpec, ToTopic},
    model::{Column, Value, digest::UnorderedDigest, encode::put_value},
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, place, take_all, values},
    shuffle::accumulator::value_bytes,
    sink::{Content, Row},
};

#[derive(Clone)]
pub struct Messages {
    /// Which parts of a message are computed from the element, in this order: topic, key, value, headers, partition. None
    /// where the job names no function, except that a value without function is the element (of a pair: its second part,
    /// the first being the key).
    parts: Vec<Option<Function>>,
    /// Where messages go that name no topic.
    topic: Option<Arc<str>>,
}

impl Messages {
    pub fn of(spec: &ToKafkaSpec) -> Self {
        let (name, by) = match &spec.topic {
            ToTopic::Name(name) => (Some(Arc::from(name.as_str())), None),
            ToTopic::By(function) => (None, Some(function.clone())),
        };
        let parts = vec![by, spec.key.clone(), spec.value.clone(), spec.headers.clone(), spec.partition.clone()];
        Self { parts, topic: name }
    }

    /// The message of one element.
    fn row(&self, element: &Value, evaluator: &mut Evaluator) -> Result<Row, Cause> {
        let mut parts = [const { Value::None }; 5];
        for (place, (function, part)) in self.parts.iter().zip(&mut parts).enumerate() {
            *part = match (function, place) {
                (Some(function), _) => {
                    evaluator.call(function, std::slice::from_ref(element)).map_err(Cause::Lambda)?
                }
                (None, 1) => element.as_pair().map_or(Value::None, |(key, _)| key.clone()),
                (None, 2) => element.as_pair().map_or_else(|| element.clone(), |(_, value)| value.clone()),
                (None, _) => Value::None,
            };
        }
        Row::of(&parts, self.topic.as_ref()).map_err(|error| {
            let expected = error.detail.as_deref().unwrap_or_default();
            Cause::Element(format!("{error}. {expected}").trim_end().to_owned())
        })
    }
}

struct MessageCollector {
    messages: Messages,
    rows: Vec<Row>,
    bytes: usize,
}

impl Collector for MessageCollector {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (elements, undecodable) = values(&chunk);
        let mut poison = undecodable.clone();
        for (idx, element) in (0..).zip(&elements) {
            match self.messages.row(element, evaluator) {
                Ok(row) => {
                    self.bytes += size_of::<Row>() + value_bytes(row.parts());
                    self.rows.push(row);
                }
                Err(cause) => poison.push(PoisonElement { idx: place(&undecodable, idx), cause }),
            }
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.rows)
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl OutputOperator for Messages {
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(MessageCollector { messages: self.clone(), rows: Vec::new(), bytes: 0 })
    }

    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure> {
        let rows: Vec<Row> = take_all::<Vec<Row>>(partials)?.into_iter().flatten().collect();
        let mut digest = UnorderedDigest::default();
        let mut encoded = Vec::new();
        for row in &rows {
            encoded.clear();
            put_value(&mut encoded, row.parts());
            digest.add(&encoded);
        }
        Ok(Delivered { content: Content::Rows(rows), digest: digest.finish() })
    }
}

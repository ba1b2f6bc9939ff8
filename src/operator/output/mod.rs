//! Output operators: turn a batch of a stream into what a sink stages.
//!
//! They know formats and digests; where the bytes go, and whether they are there already, is the sink's business.

mod elements;
mod messages;
mod shown;
mod text;

use super::{Collector, Partial, StepFailure};
use crate::{job::Operator, model::digest::Digest, sink::Content};

/// What an output delivers in a batch, and its digest.
#[derive(Debug)]
pub struct Delivered {
    pub content: Content,
    pub digest: Digest,
}

/// One output step.
pub trait OutputOperator: Send + Sync {
    /// A collector for one partition of the stream.
    fn collector(&self) -> Box<dyn Collector>;

    /// Puts the parts of all partitions together, in partition order.
    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure>;
}

/// The working part of an output step; `None` for steps of another shape.
pub fn output(operator: &Operator) -> Option<Box<dyn OutputOperator>> {
    Some(match operator {
        Operator::Pprint { num, .. } => Box::new(shown::Shown { num: usize::try_from(*num).unwrap_or(usize::MAX) }),
        Operator::SaveAsTextFiles { .. } => Box::new(text::Lines::text()),
        Operator::ToFile { format, .. } => Box::new(text::Lines::of(*format)),
        Operator::ToKafka(spec) => Box::new(messages::Messages::of(spec)),
        Operator::Command { .. } => Box::new(elements::Elements),
        _ => return None,
    })
}

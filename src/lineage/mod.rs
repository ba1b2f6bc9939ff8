//! DStreams and their parents: cuts a job's graph into stages.
//!
//! A **stage** is a root (a source, or the result of a wide operator) and a tree of narrow steps that run, fused, over
//! each of the root's partitions. It ends in **terminals**: inputs of wide steps, and outputs. A step below a union is
//! reached by several paths; each path is a **feed** of the terminals below it, and the feeds of a terminal are ordered
//! as the union is (left partitions, then right). Pure: nothing runs here.
//!
//! ```text
//! source 0 --- map --- flat_map --- map ---+--> reduce_by_key (wide)      stage 0
//!                 \--> pprint              \--> pprint
//! reduce_by_key ---> pprint                                               stage 1
//! ```

pub mod explain;
mod need;
mod paths;

use crate::job::{Emit, Input, Job, Operator};

pub use need::Need;

/// Where a stage's partitions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// Index into the job's sources: the topic partitions of the batch.
    Source(usize),
    /// The result of a wide step, partition by partition.
    Shuffled(usize),
    /// The result of a wide keyed step as one partition, in key order over all shuffle partitions.
    InKeyOrder(usize),
}

impl Root {
    /// The wide step behind the root.
    pub fn step(self) -> Option<usize> {
        match self {
            Root::Source(_) => None,
            Root::Shuffled(step) | Root::InKeyOrder(step) => Some(step),
        }
    }
}

/// One input of a wide step, or an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Terminal {
    /// Index into the job's steps.
    pub step: usize,
    /// Which of the step's inputs; 0 for outputs.
    pub input: usize,
}

/// A place in a stage's tree: after a narrow step, or (node 0) the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The narrow step; `None` for the root.
    pub step: Option<usize>,
    pub children: Vec<usize>,
    /// Terminals fed from here, each with the ordinal of this feed among the terminal's feeds.
    pub terminals: Vec<(Terminal, usize)>,
}

/// A root and the narrow steps fused over its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub root: Root,
    /// Node 0 is the root; children come after their parents.
    pub nodes: Vec<Node>,
}

/// What runs in a batch, in order: wide steps follow the stages that feed them.
#[derive(Debug, Clone)]
pub struct Lineage {
    pub stages: Vec<Stage>,
    /// Wide steps in the order in which they can run.
    pub wide: Vec<usize>,
    /// Output steps in the order of the job file.
    pub outputs: Vec<usize>,
    /// Per step: how much of a wide step's result anyone looks at.
    pub needs: Vec<Need>,
    /// Per step and input: the roots of its feeds, in order. Empty for narrow steps.
    pub feeds: Vec<Vec<Vec<Root>>>,
}

/// How an operator takes part in the lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Element by element (or partition by partition), fused.
    Narrow,
    /// Passes its inputs on, one after the other.
    Union,
    /// Ends a stage; its result has partitions of its own.
    Wide,
    Output,
}

pub fn shape(operator: &Operator) -> Shape {
    match operator {
        Operator::Map(_)
        | Operator::Filter(_)
        | Operator::FlatMap(_)
        | Operator::MapValues(_)
        | Operator::FlatMapValues(_)
        | Operator::MapPartitions(_)
        | Operator::Glom => Shape::Narrow,
        Operator::Union => Shape::Union,
        operator if operator.is_output() => Shape::Output,
        _ => Shape::Wide,
    }
}

/// Whether a wide operator's result is keyed: distinct keys, handed out in key order.
pub fn keyed(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::ReduceByKey { .. }
            | Operator::GroupByKey { .. }
            | Operator::CombineByKey { .. }
            | Operator::CountByValue { .. }
            | Operator::Distinct { .. }
            | Operator::Join { .. }
            | Operator::Cogroup { .. }
            | Operator::UpdateStateByKey { .. }
            | Operator::MapWithState { emit: Emit::Snapshots, .. }
            | Operator::CountByValueAndWindow { .. }
            | Operator::GroupByKeyAndWindow { .. }
            | Operator::ReduceByKeyAndWindow { .. }
    )
}

impl Lineage {
    /// Steps that lead to no output are left out: nothing asks for them.
    pub fn of(job: &Job) -> Lineage {
        let mut lineage = paths::stages(job);
        lineage.needs = need::needs(job, &lineage);
        lineage
    }

    /// The sources that any stage reads.
    pub fn reads(&self, source: usize) -> bool {
        self.stages.iter().any(|stage| stage.root == Root::Source(source))
    }
}

/// The step whose result an input names, seen through outputs, which pass their input on.
pub(crate) fn resolve(job: &Job, input: Input) -> Input {
    match input {
        Input::Step(step) if job.steps[step].operator.is_output() => resolve(job, job.steps[step].inputs[0]),
        other => other,
    }
}

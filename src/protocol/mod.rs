//! The commit protocol as pure code: the facts of a batch, the order of its steps, the recovery decision.
//!
//! ```text
//! BatchPlan -> PlannedBatch -> ExecutedBatch -> StagedBatch -> PublishedBatch -> CommittedBatch
//!        log planned      execute         stage          publish          log committed
//! ```
//! Every step consumes the state before it, so the wrong order does not compile; a step that fails gives the
//! [`PlannedBatch`] back, which may be executed again. Only a [`StagedBatch`] hands out a [`PublishPermit`], and a batch
//! gets that far only with a durable plan.
//!
//! The driver calls this room; sinks see the permit; `checkpoint` implements [`Store`]. The room promises that the same
//! facts give the same decision. It has no I/O and no clock; it does not know how facts are stored or what a sink is.

mod facts;
mod memory;
mod record;
mod recover;
mod steps;
mod store;

#[cfg(test)]
pub(crate) use memory::tests_support;

pub use facts::{BatchFacts, Facts, MissingState, RewindRecord, SaidOfSink};
pub use memory::{MemoryError, MemoryStore};
pub use record::{
    BoundedEnd, CommitRecord, DroppedPartition, JobTextHash, LossReason, LostRange, OutputRecord, PlanRecord,
    PoisonCount, Position, SinkFacts, StateDelta, StateSnapshot, StateWrites, StateWritten,
};
pub use recover::{Decision, Expected, Reason, decide};
pub use steps::{
    BatchPlan, CommittedBatch, ExecutedBatch, Exposure, Failed, Holds, PlannedBatch, PublishPermit, PublishedBatch,
    ReplaceError, StagedBatch,
};
pub use store::{FORMAT, Store};

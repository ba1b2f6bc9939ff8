//! State of stateful and windowed steps: in memory, changed only by the delta of a committed batch.
//!
//! A merge reads a step's state and returns a delta (bytes); after the commit the driver applies those bytes. A restart
//! applies snapshots and then the deltas behind them, through the same code, so that a state which was restored equals
//! one that was never lost. Who keeps the bytes is `checkpoint`'s business.

pub mod initial;
pub mod keyed;
pub mod window;

use std::any::Any;

use crate::model::encode::DecodeError;

/// The state of one step.
pub trait StepState: Send + Sync {
    /// Applies what one batch changed. An error leaves the state unusable: the caller stops.
    fn apply(&mut self, delta: &[u8]) -> Result<(), DecodeError>;

    /// Whether [`StepState::apply`] will take a delta; asked before anything of its batch is published.
    fn check(&self, delta: &[u8]) -> Result<(), DecodeError>;

    /// How many pieces a snapshot has; one is written at a time.
    fn slots(&self) -> u32;

    /// One piece of a snapshot.
    fn snapshot(&self, slot: u32) -> Vec<u8>;

    /// Replaces one piece by its snapshot. A restart applies deltas and snapshots in the order of their batches, so a
    /// piece may have been changed by deltas whose base it lacked; the snapshot makes it whole.
    fn restore(&mut self, slot: u32, snapshot: &[u8]) -> Result<(), DecodeError>;

    /// Keys (or records) held.
    fn rows(&self) -> u64;

    /// Bytes held, roughly.
    fn memory_bytes(&self) -> u64;

    /// For the operator that owns the state.
    fn as_any(&self) -> &dyn Any;
}

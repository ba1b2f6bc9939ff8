//! The only room that sees all the others: when a batch starts, what happens to it in which order, and how a run ends.

pub mod clock;
pub mod options;
pub mod signal;

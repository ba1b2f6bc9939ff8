//! The order of things.
pub mod clock;
pub mod options;
pub mod signal;

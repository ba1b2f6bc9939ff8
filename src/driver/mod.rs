//! The order of things.
pub mod clock;

//! kstream
#![allow(missing_docs)]
pub mod cli;
pub mod driver;
pub mod expr;
pub mod job;
pub mod model;
pub mod planner;
pub mod protocol;
pub mod sink;
pub mod source;
pub mod telemetry;

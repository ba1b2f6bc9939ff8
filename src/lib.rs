//! kstream
#![allow(missing_docs)]
pub mod checkpoint;
pub mod cli;
pub mod driver;
pub mod executor;
pub mod expr;
pub mod job;
pub mod kafka_admin;
pub mod lineage;
pub mod model;
pub mod operator;
pub mod planner;
pub mod protocol;
pub mod shuffle;
pub mod sink;
pub mod source;
pub mod state;
pub mod telemetry;

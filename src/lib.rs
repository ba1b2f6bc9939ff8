//! kstream
#![allow(missing_docs)]
pub mod expr;
pub mod job;
pub mod kafka_admin;
pub mod model;
pub mod protocol;
pub mod sink;
pub mod source;

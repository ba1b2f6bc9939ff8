//! kstream
#![allow(missing_docs)]
pub mod checkpoint;
pub mod expr;
pub mod job;
pub mod model;
pub mod protocol;
pub mod sink;
pub mod source;

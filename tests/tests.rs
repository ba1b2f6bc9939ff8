//! The integration tests, one module an area.

mod broker;
mod kafka_source;
mod native;

//! The Kafka source.
pub mod native;

//! The integration tests, one module an area.

mod architecture;
mod broker;
mod cli;
mod conformance;
mod dependencies;
mod differential;
mod example_jobs;
mod job;
mod kafka_source;
mod native;
mod scripted_broker;
mod signal;

//! The integration tests, one module an area.

mod architecture;
mod broker;
mod cli;
mod conformance;
mod dependencies;
mod example_jobs;
mod job;
mod native;
mod signal;

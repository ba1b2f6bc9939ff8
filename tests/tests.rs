//! The integration tests, one module an area.

mod architecture;
mod broker;
mod cli;
mod dependencies;
mod jobs;
mod job;
mod native;
mod signal;

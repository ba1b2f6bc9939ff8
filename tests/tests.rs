//! The integration tests, one module an area.

mod architecture;
mod away;
mod bench;
mod broker;
mod cli;
mod command;
mod conformance;
#[cfg(feature = "crash-points")]
mod crash;
mod dead_letter;
mod dependencies;
mod determinism;
mod differential;
mod example_jobs;
mod faults;
mod fixture;
mod fuzz;
mod job;
mod kafka_output;
mod kafka_requests;
mod kafka_run;
mod kafka_source;
mod kill;
mod memory;
mod native;
mod old_checkpoint;
mod people;
mod proxy;
mod queue;
mod refusal;
mod run;
mod scripted_broker;
mod shapes;
mod signal;
mod simulator;
mod support;

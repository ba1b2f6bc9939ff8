//! kstream: Spark Streaming's direct Kafka DStreams in one binary.
//!
//! A batch goes through the rooms in this order, and [`driver`] is the only one that sees them all:
//!
//! ```text
//! trigger > available > plan > log planned > execute > stage > publish > log committed > purge
//!           source      planner  checkpoint   executor   sink    sink       checkpoint
//! ```
//!
//! | room | |
//! |---|---|
//! | [`model`] | values, columns, keys, offset ranges, batch ids: the nouns |
//! | [`expr`] | lambdas: parse, check, compile, evaluate |
//! | [`job`] | job text to a validated job |
//! | [`lineage`] | DStreams and their parents, cut into stages |
//! | [`planner`] | the next batch's offset ranges and time |
//! | [`protocol`] | the states of a batch, the permit to publish, the recovery decision |
//! | [`source`] | which offsets exist, and the records of one range |
//! | [`checkpoint`] | the durable log behind the protocol |
//! | [`sink`] | stage, publish, say what was published |
//! | [`telemetry`] | logs, progress records, bars |
//! | [`shuffle`], [`state`], [`operator`], [`executor`] | what a batch computes |
//! | [`driver`] | trigger, batch loop, drain |
//! | [`kafka_admin`] | everyday chores and the embedded broker |
//! | [`cli`] | flags, subcommands, exit codes |
//! | [`open_files`] | what to say where there are too few |
//! | [`crash`] | where tests end the process; nothing in a release |
//!
//! A room uses only rooms further in (`tests/architecture.rs` keeps that). What is deliberately absent: consumer groups,
//! a second truth about offsets beside the checkpoint, effects outside memory before a plan is durable, results that
//! depend on threads, chunk sizes or arrival.
//!
//! Start reading at [`driver::batch`], the life of a batch.

pub mod checkpoint;
pub mod cli;
pub mod crash;
pub mod driver;
pub mod executor;
pub mod expr;
pub mod job;
pub mod kafka_admin;
pub mod lineage;
pub mod model;
pub mod open_files;
pub mod operator;
pub mod planner;
pub mod protocol;
pub mod shuffle;
pub mod sink;
pub mod source;
pub mod state;
pub mod telemetry;

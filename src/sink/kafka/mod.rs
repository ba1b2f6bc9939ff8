//! `to_kafka`: rows to messages, each batch once.
//!
//! All exactly-once outputs of a job on one Kafka cluster share one producer, and each batch one transaction. The offset
//! that the transaction commits carries the batch's identity and digest (`entry`); after a crash, or any error whose
//! outcome is unknown, the producer is made anew with the same id, which fences and aborts what was open, and a look at
//! the entry decides. Readers with `isolation.level=read_committed` see each batch whole and once. At-least-once outputs
//! (`plain`) use an idempotent producer and repeat the batch in flight after a crash.
//!
//! In the order of the data: `row` (an element as a message), `writer` (a producer), `explain` (its errors, sorted by what
//! they mean), `entry` (what is left behind, and the decision), `identity` (adds it to a transaction), `ledger` (reads it),
//! `cluster` (the transaction of a batch), `output` (one output step), `outputs` (which of them share a cluster).

mod cluster;
pub mod deliveries;
mod entry;
mod explain;
mod identity;
mod ledger;
mod output;
mod outputs;
mod plain;
pub mod row;
mod topics;
mod writer;

pub use self::outputs::KafkaOutputs;

//! What a job asks of the Kafka client: whether it takes the properties that stand in the job.
//!
//! This room knows no client library. Who loads a job that is going to be run lends it one ([`KafkaClient`]); a job that
//! is loaded without (an offline test, a job text) has properties nobody looks at, and secrets nobody reads.

use std::collections::BTreeMap;

use super::quantity::Unfit;

/// What the properties are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Output,
}

/// Answers without a connection, and never repeats the value of a secret.
pub trait KafkaClient {
    /// The properties that may have been meant.
    fn names(&self) -> &'static [&'static str];

    /// Whether one property takes a value.
    fn check(&self, name: &str, value: &str) -> Result<(), Refusal>;

    /// Whether properties that are right each for itself make a client.
    fn check_together(&self, side: Side, properties: &BTreeMap<String, String>) -> Result<(), Unfit>;

    /// Whether kstream's own connections (`fetch = "native"`) can do what the properties ask.
    fn check_native_fetch(&self, properties: &BTreeMap<String, String>) -> Result<(), String>;
}

/// Why a property is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No property has that name.
    Unknown,
    Unfit(Unfit),
}

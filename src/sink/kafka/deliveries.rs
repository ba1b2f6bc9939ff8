//! The context of every producer kstream makes: remembers the first record that could not be delivered, and the topics that
//! the brokers denied to a transaction.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::Message,
    producer::{DeliveryResult, ProducerContext},
};

use crate::source::kafka::events::Events;

pub struct Deliveries {
    pub events: Events,
    failed: Mutex<Option<Undelivered>>,
    denied: Mutex<BTreeSet<String>>,
    reports: AtomicU64,
}

/// A record that the brokers do not have.
#[derive(Debug, Clone)]
pub struct Undelivered {
    pub error: KafkaError,
    pub topic: String,
}

impl Deliveries {
    pub fn new(events: Events) -> Deliveries {
        Deliveries { events, failed: Mutex::default(), denied: Mutex::default(), reports: AtomicU64::new(0) }
    }

    /// Records that brokers have answered for, one way or the other. What is under way counts errors of connections too,
    /// so its decrease is no sign of life.
    pub fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// The first failure since the last call.
    pub fn failure(&self) -> Option<Undelivered> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The topics that the brokers did not let into a transaction, for want of a right to them.
    pub fn denied(&self) -> BTreeSet<String> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The topic that a line of the log says was denied to a transaction: librdkafka's error does not name it.
fn denied_to_transaction(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Failed to add partition \"")?;
    let (topic, rest) = rest.split_once('"')?;
    rest.ends_with("Topic authorization failed").then_some(topic)
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
        if let Some(topic) = denied_to_transaction(message) {
            self.denied.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.events.generate_oauth_token(config)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        if let Err((error, message)) = result {
            tracing::debug!(%error, topic = message.topic(), "record not delivered");
            let undelivered = || Undelivered { error: error.clone(), topic: message.topic().to_owned() };
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(undelivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_denied_to_a_transaction_are_read_from_librdkafkas_words() {
        let check = |why: &str, expected| {
            let deliveries = Deliveries::new(Events::default());
            let line =
                format!("[thrd:main]: b:1/1: Failed to add partition \"a.b-c\" [0] to transaction: Broker: {why}");
            deliveries.log(RDKafkaLogLevel::Error, "ADDPARTS", &line);
            assert_eq!(deliveries.denied().into_iter().collect::<Vec<_>>(), expected, "{why}");
        };
        check("Topic authorization failed", vec!["a.b-c"]);
        // The others of the same transaction.
        check("Operation not attempted", vec![]);
    }
}

//! The context of every producer kstream makes: remembers the first record that could not be delivered.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
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
    failed: Mutex<Option<KafkaError>>,
    reports: AtomicU64,
}

impl Deliveries {
    pub fn new(events: Events) -> Deliveries {
        Deliveries { events, failed: Mutex::default(), reports: AtomicU64::new(0) }
    }

    /// Records that brokers have answered for, one way or the other. What is under way counts errors of connections too,
    /// so its decrease is no sign of life.
    pub fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// The first failure since the last call.
    pub fn failure(&self) -> Option<KafkaError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
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
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}

//! Records sent by tests, alone and in transactions.

use std::{sync::Mutex, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::{Broker, admin::TIMEOUT, unique_name};

/// A producer that knows which of its records the broker did not take.
pub type TestProducer = BaseProducer<Undelivered>;

/// Why records were not delivered. Without it they would only be missing.
#[derive(Default)]
pub struct Undelivered(Mutex<Vec<String>>);

impl ClientContext for Undelivered {}

impl ProducerContext for Undelivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().expect("undelivered").push(error.to_string());
        }
    }
}

/// One record to send. `None` is Kafka's null.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp_ms: Option<i64>,
}

impl NewRecord {
    pub fn value(value: impl AsRef<[u8]>) -> NewRecord {
        NewRecord { value: Some(value.as_ref().to_vec()), ..NewRecord::default() }
    }

    pub fn key(mut self, key: impl AsRef<[u8]>) -> NewRecord {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> NewRecord {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn timestamp(mut self, timestamp_ms: i64) -> NewRecord {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
}

impl Broker {
    /// Sends values to one partition and waits until the broker has them.
    pub fn produce<V: AsRef<[u8]>>(&self, topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
        self.produce_records(topic, partition, values.into_iter().map(NewRecord::value));
    }

    /// As [`Broker::produce`], with keys, headers, timestamps and nulls.
    pub fn produce_records(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = NewRecord>) {
        self.produce_with(&[], topic, partition, records);
    }

    /// As [`Broker::produce_records`], with producer properties such as `("compression.codec", "zstd")`.
    pub fn produce_with(
        &self,
        properties: &[(&str, &str)],
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = NewRecord>,
    ) {
        let producer = self.producer(properties);
        for record in records {
            send(&producer, topic, partition, &record);
        }
        flush(&producer);
    }

    /// Sends `(partition, value)`s in one transaction of its own and ends it as told.
    pub fn transaction<V: AsRef<[u8]>>(&self, topic: &str, records: impl IntoIterator<Item = (i32, V)>, end: End) {
        let producer = self.transactional_producer();
        producer.begin_transaction().expect("begin transaction");
        for (partition, value) in records {
            send(&producer, topic, partition, &NewRecord::value(value));
        }
        flush(&producer);
        match end {
            End::Commit => producer.commit_transaction(TIMEOUT).expect("commit transaction"),
            End::Abort => producer.abort_transaction(TIMEOUT).expect("abort transaction"),
        }
    }

    /// A producer ready for `begin_transaction`, under an id of its own: for transactions left open or interleaved.
    pub fn transactional_producer(&self) -> TestProducer {
        let producer = self.producer(&[("transactional.id", &unique_name("test"))]);
        producer.init_transactions(TIMEOUT).expect("init transactions");
        producer
    }

    fn producer(&self, properties: &[(&str, &str)]) -> TestProducer {
        let mut config: ClientConfig = self.client();
        config.set("linger.ms", "5").set("acks", "all");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        config.create_with_context(Undelivered::default()).expect("producer")
    }
}

/// Hands one record to the producer; a full queue is waited for.
pub fn send(producer: &TestProducer, topic: &str, partition: i32, record: &NewRecord) {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
    if let Some(key) = &record.key {
        message = message.key(key);
    }
    if let Some(value) = &record.value {
        message = message.payload(value);
    }
    if let Some(timestamp) = record.timestamp_ms {
        message = message.timestamp(timestamp);
    }
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers =
            record.headers.iter().fold(headers, |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        message = message.headers(headers);
    }
    while let Err((error, back)) = producer.send(message) {
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => producer.poll(Duration::from_millis(20)),
            other => panic!("send to {topic}/{partition}: {other}"),
        };
        message = back;
    }
}

/// Waits until the broker has everything that was sent.
pub fn flush(producer: &TestProducer) {
    producer.flush(TIMEOUT).expect("flush");
    assert_eq!(producer.in_flight_count(), 0, "records were not delivered");
    let undelivered = producer.context().0.lock().expect("undelivered");
    assert!(undelivered.is_empty(), "{} records were not delivered: {:?}", undelivered.len(), undelivered.first());
}

//! What a topic holds, read by an independent consumer.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
};

use super::{Broker, admin::TIMEOUT};

/// Longest wait for the markers of a transaction that has been committed.
const MARKERS: Duration = Duration::from_secs(5);

/// One record as it stands in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: i64,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl ReadRecord {
    /// The value as text; a null is empty.
    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The key as text; a null is empty.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Broker {
    /// Every committed record of a topic, by partition, then offset.
    pub fn read_committed(&self, topic: &str) -> Vec<ReadRecord> {
        // A transaction is committed before each of its partitions knows: that is waited for, unless one stays open.
        let deadline = Instant::now() + MARKERS;
        let ends = |isolation| self.ends(topic, isolation);
        while ends("read_committed") != ends("read_uncommitted") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        self.read(topic, "read_committed")
    }

    /// Where readers of this isolation end, by partition.
    fn ends(&self, topic: &str, isolation: &str) -> Vec<i64> {
        let consumer: BaseConsumer = self.client().set("isolation.level", isolation).create().expect("consumer");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        partitions
            .map(|partition| consumer.fetch_watermarks(topic, partition.id(), TIMEOUT).expect("offsets").1)
            .collect()
    }

    /// Every record of a topic, those of open and aborted transactions too, by partition, then offset.
    pub fn read_uncommitted(&self, topic: &str) -> Vec<ReadRecord> {
        self.read(topic, "read_uncommitted")
    }

    fn read(&self, topic: &str, isolation: &str) -> Vec<ReadRecord> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "kstream-test-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .set("auto.offset.reset", "error")
            .create()
            .expect("consumer");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("offset");
        }
        consumer.assign(&assignment).expect("assign");

        let mut ended = std::collections::BTreeSet::new();
        let mut records = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        while ended.len() < assignment.count() {
            assert!(Instant::now() < deadline, "{topic} was not read to its end; {} records so far", records.len());
            match consumer.poll(TIMEOUT) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Some(Err(error)) => panic!("read {topic}: {error}"),
                Some(Ok(message)) => records.push(ReadRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                    headers: message
                        .headers()
                        .map(|h| h.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect())
                        .unwrap_or_default(),
                }),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

//! A native plane as the tests drive it, and records in one comparable form.

use std::sync::Arc;

use kstream::{
    job::Isolation,
    model::{Column, OffsetRange, RecordColumn, TopicPartition, ValueFormat},
    source::{
        ReadOptions, SourceError,
        kafka::{
            DataPlane,
            native::{NativePlane, PlaneConfig, Settings},
        },
    },
};

use crate::broker::{Broker, ReadRecord};

pub fn config(brokers: &str, isolation: Isolation) -> PlaneConfig {
    PlaneConfig {
        source: "source".into(),
        brokers: brokers.to_owned(),
        client_id: "kstream-test".to_owned(),
        properties: Default::default(),
        isolation,
        key_format: ValueFormat::Utf8,
        value_format: ValueFormat::Utf8,
        prefetch_memory_bytes: 64 << 20,
    }
}

/// A plane assigned to partitions 0.. of one topic.
pub struct Plane {
    plane: NativePlane,
    topic: Arc<str>,
    pub stall_timeout_ms: u64,
    pub chunk_records: usize,
    pub topic_id: Option<String>,
    pub leader_epoch: Option<i32>,
    pub start_epoch: Option<i32>,
}

impl Plane {
    pub fn open(config: &PlaneConfig, topic: &str, positions: &[i64]) -> Plane {
        let settings = Settings::from_config(config).unwrap();
        let mut plane = NativePlane::open(settings).unwrap();
        let topic: Arc<str> = topic.into();
        let positions: Vec<_> =
            positions.iter().enumerate().map(|(p, at)| (TopicPartition::new(topic.clone(), p as i32), *at)).collect();
        plane.assign(&positions).unwrap();
        Plane {
            plane,
            topic,
            stall_timeout_ms: 30_000,
            chunk_records: 100,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        }
    }

    pub fn read(&self, partition: i32, start: i64, until: i64) -> Result<Vec<ReadRecord>, SourceError> {
        let mut records = Vec::new();
        self.read_chunks(partition, start, until, |chunk| records.extend(records_of(&chunk)))?;
        Ok(records)
    }

    pub fn read_chunks(
        &self,
        partition: i32,
        start: i64,
        until: i64,
        mut take: impl FnMut(RecordColumn),
    ) -> Result<(), SourceError> {
        let range = OffsetRange {
            source: "source".into(),
            tp: TopicPartition::new(self.topic.clone(), partition),
            start,
            until,
            topic_id: self.topic_id.clone(),
            leader_epoch: self.leader_epoch,
            start_epoch: self.start_epoch,
        };
        let options = ReadOptions { chunk_records: self.chunk_records, stall_timeout_ms: self.stall_timeout_ms };
        let mut reader = self.plane.read(&range, options)?;
        while let Some(chunk) = reader.next_chunk()? {
            let Column::Record(chunk) = chunk else { panic!("no records: {chunk:?}") };
            assert!(!chunk.is_empty() && chunk.len() <= self.chunk_records);
            take(Arc::unwrap_or_clone(chunk));
        }
        Ok(())
    }

    pub fn known_topic_id(&self, partition: i32) -> Option<String> {
        self.plane.topic_id(&TopicPartition::new(self.topic.clone(), partition))
    }

    pub fn queued_bytes(&self, partition: i32) -> usize {
        self.plane.queued_bytes(&TopicPartition::new(self.topic.clone(), partition))
    }

    pub fn held_bytes(&self) -> usize {
        self.plane.held_bytes()
    }

    pub fn assign(&mut self, positions: &[(i32, i64)]) {
        let positions: Vec<_> =
            positions.iter().map(|(p, at)| (TopicPartition::new(self.topic.clone(), *p), *at)).collect();
        self.plane.assign(&positions).unwrap();
    }
}

pub fn records_of(chunk: &RecordColumn) -> Vec<ReadRecord> {
    (0..chunk.len())
        .map(|i| ReadRecord {
            partition: chunk.tp.partition,
            offset: chunk.offsets[i],
            key: chunk.keys.get(i).map(<[u8]>::to_vec),
            value: chunk.values.get(i).map(<[u8]>::to_vec),
            timestamp_ms: chunk.timestamps[i],
            headers: chunk.headers(i).iter().map(|(n, v)| (n.to_string(), v.as_ref().map(|v| v.to_vec()))).collect(),
        })
        .collect()
}

pub fn all(broker: &Broker, topic: &str, isolation: Isolation) -> Vec<ReadRecord> {
    match isolation {
        Isolation::ReadCommitted => broker.read_committed(topic),
        Isolation::ReadUncommitted => broker.read_uncommitted(topic),
    }
}

pub use all as expected;

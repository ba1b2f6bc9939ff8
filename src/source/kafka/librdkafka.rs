//! The data plane on librdkafka: one long-lived assigned consumer that prefetches without pause, one queue a topic
//! partition, split off before the partition is assigned.
//!
//! Repositioning throws the prefetched records away and costs a round of fetches, so it happens only where a range does
//! not begin where the last one ended: replay, retry, data loss. `seek` would be refused after an out-of-range error;
//! unassigning and assigning the one partition always works and leaves the others alone.
//!
//! A log that was cut and has grown again shows only in its leader epochs. librdkafka compares them for what it fetched
//! itself; what another process read before is compared by a seek that names the epoch, once a partition.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    DataPlane,
    chunk::Formats,
    control::{Control, create, drain},
    error::{code_of, kind_of},
    events::Events,
    range::LibrdkafkaRange,
    raw::{self, PartitionQueue, RawMessage},
    settings::{ClientSettings, Prefetch},
};
use crate::{
    job::Isolation,
    model::{OffsetRange, TopicPartition},
    source::{RangeReader, ReadOptions, SourceError},
};

/// How long librdkafka may take to stop fetching one partition.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to begin at an offset with an epoch.
const SEEK_LIMIT: Duration = Duration::from_secs(5);

/// What the plane needs to know of its source.
#[derive(Debug, Clone)]
pub struct PlaneOptions {
    pub source: String,
    pub isolation: Isolation,
    pub formats: Formats,
    pub prefetch_memory_bytes: u64,
    pub max_records_per_partition: u64,
    pub embedded: bool,
}

pub struct LibrdkafkaPlane {
    settings: ClientSettings,
    pub(super) options: PlaneOptions,
    pub(super) control: Arc<Control>,
    partitions: HashMap<TopicPartition, Mutex<Partition>>,
    /// Made with the first assignment: its memory bound is a share for each partition.
    consumer: Option<Arc<BaseConsumer<Events>>>,
    /// Number of partitions the memory bound was made for.
    shares: usize,
}

/// One topic partition and where its reader stands.
pub(super) struct Partition {
    pub queue: PartitionQueue,
    /// The next offset to deliver; `None` where the partition must be assigned anew.
    pub next: Option<i64>,
    /// Largest offset of an end-of-partition event since the assignment.
    pub end: i64,
    /// librdkafka's position right after an event is one too far; this is that position.
    pub distrusted: i64,
    /// Taken from the queue, but of a later chunk or range.
    pub carried: VecDeque<RawMessage>,
    /// Bytes of the last chunk, to size the next one's buffer.
    pub chunk_bytes: usize,
    /// A range has been read since librdkafka was told where to begin.
    pub has_begun: bool,
    /// librdkafka has found its log cut, and given it up.
    pub is_cut: bool,
}

impl LibrdkafkaPlane {
    pub fn new(settings: ClientSettings, options: PlaneOptions, control: Arc<Control>) -> LibrdkafkaPlane {
        LibrdkafkaPlane { settings, options, control, partitions: HashMap::new(), consumer: None, shares: 0 }
    }

    fn consumer_for(&mut self, partitions: usize) -> Result<Arc<BaseConsumer<Events>>, SourceError> {
        if let Some(consumer) = self.consumer.as_ref().filter(|_| partitions <= self.shares * 2) {
            return Ok(Arc::clone(consumer));
        }
        self.close();
        let prefetch = Prefetch {
            memory_bytes: self.options.prefetch_memory_bytes,
            partitions,
            max_records_per_partition: self.options.max_records_per_partition,
        };
        let config = self.settings.fetching(self.options.isolation, prefetch, self.options.embedded);
        let events = Events::new(format!("{} (fetch)", self.options.source), self.settings.token.clone());
        let consumer = Arc::new(create(config, events)?);
        self.consumer = Some(Arc::clone(&consumer));
        self.shares = partitions;
        Ok(consumer)
    }

    /// Closing waits for brokers, which may be away: on a thread of its own.
    fn close(&mut self) {
        let partitions = std::mem::take(&mut self.partitions);
        if let Some(consumer) = self.consumer.take() {
            consumer.context().close();
            // Where no thread can be had, what it would have dropped is dropped here.
            let _ = std::thread::Builder::new().spawn(move || {
                drop(partitions);
                drop(consumer);
            });
        }
    }

    fn refused(&self, tp: &TopicPartition, verb: &str, error: &KafkaError) -> SourceError {
        let message = format!("librdkafka cannot {verb} {tp} on brokers {}: {error}", self.settings.brokers);
        SourceError { kind: kind_of(code_of(error)), message, hint: None }
    }

    fn start(&self, consumer: &BaseConsumer<Events>, tp: &TopicPartition, offset: i64) -> Result<(), SourceError> {
        one(tp, Offset::Offset(offset))
            .and_then(|list| consumer.incremental_assign(&list))
            .map_err(|error| self.refused(tp, "assign", &error))
    }

    fn stop(&self, consumer: &BaseConsumer<Events>, tp: &TopicPartition) -> Result<(), SourceError> {
        one(tp, Offset::Invalid)
            .and_then(|list| consumer.incremental_unassign(&list))
            .map_err(|error| self.refused(tp, "unassign", &error))
    }

    /// Compares the log with what is known of it: all before `offset` was written in epochs up to `epoch`. A log that was
    /// cut since is an error event of the partition.
    fn compare(
        &self,
        consumer: &BaseConsumer<Events>,
        tp: &TopicPartition,
        offset: i64,
        epoch: i32,
    ) -> Result<(), SourceError> {
        let limit = Instant::now() + SEEK_LIMIT;
        loop {
            let sought = one(tp, Offset::Offset(offset)).and_then(|mut list| {
                raw::set_leader_epoch(&mut list, epoch);
                consumer.seek_partitions(list, SEEK_LIMIT)
            });
            let sought = sought.and_then(|list| list.elements().iter().try_for_each(|element| element.error()));
            match sought {
                // The assignment before it may still be on its way to the fetcher.
                Err(error) if code_of(&error) == Code::State && Instant::now() < limit => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                sought => return sought.map_err(|error| self.refused(tp, "seek", &error)),
            }
        }
    }

    /// The epoch up to which all before `at`, a position inside `range`, was written, where it is known. At the start that
    /// of the plan before; behind it the one that this plan was made in, which covers the whole range.
    pub(super) fn known_epoch(&self, range: &OffsetRange, at: i64) -> Option<i32> {
        let epoch = if at <= range.start { range.start_epoch } else { range.leader_epoch };
        // The embedded broker holds the same records under any epoch.
        epoch.filter(|_| at > 0 && !self.options.embedded)
    }

    /// Lets `partition` go on at `offset`, whatever was fetched of it before. With an epoch, the log is compared first.
    pub(super) fn reposition(
        &self,
        tp: &TopicPartition,
        partition: &mut Partition,
        offset: i64,
        epoch: Option<i32>,
    ) -> Result<(), SourceError> {
        let Some(consumer) = &self.consumer else {
            return Err(SourceError::unreachable(format!("{tp} is not assigned")));
        };
        partition.next = None;
        partition.carried.clear();
        self.stop(consumer, tp)?;
        // The old position stays until the fetcher has stopped, and would pass for progress in the new range.
        let limit = Instant::now() + STOP_LIMIT;
        while partition.queue.position().is_some() {
            if Instant::now() >= limit {
                let message = format!("librdkafka did not stop fetching {tp} within {} ms", STOP_LIMIT.as_millis());
                return Err(SourceError::unreachable(message));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // Before metadata has come, librdkafka forgets a partition that is unassigned, and makes another one with another
        // queue: what came by it would go to the handle's own queue, where nobody looks for records.
        partition.queue = PartitionQueue::split(consumer, tp)
            .ok_or_else(|| SourceError::refused(format!("{tp} is no topic partition"), "Correct the topic's name."))?;
        consumer.context().strays().remove(&(tp.topic.to_string(), tp.partition));
        self.start(consumer, tp, offset)?;
        if let Some(epoch) = epoch {
            self.compare(consumer, tp, offset, epoch)?;
        }
        // Without an epoch librdkafka knows nothing of what was read before: the next range says it.
        partition.has_begun = epoch.is_some();
        (partition.next, partition.end, partition.distrusted) = (Some(offset), -1, -1);
        Ok(())
    }
}

impl DataPlane for LibrdkafkaPlane {
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        // What a handle knows of positions and ends holds for the log before the cut: a new one knows nothing.
        if self.partitions.values_mut().any(|slot| slot.get_mut().unwrap_or_else(PoisonError::into_inner).is_cut) {
            self.close();
        }
        let consumer = self.consumer_for(positions.len())?;
        drain(&consumer);
        let wanted: HashMap<&TopicPartition, i64> = positions.iter().map(|(tp, offset)| (tp, *offset)).collect();
        let gone: Vec<TopicPartition> = self.partitions.keys().filter(|tp| !wanted.contains_key(tp)).cloned().collect();
        for tp in gone {
            self.stop(&consumer, &tp)?;
            self.partitions.remove(&tp);
        }
        for (tp, offset) in positions {
            if let Some(partition) = self.partitions.get(tp) {
                let mut partition = partition.lock().unwrap_or_else(PoisonError::into_inner);
                if partition.next != Some(*offset) {
                    self.reposition(tp, &mut partition, *offset, None)?;
                }
                continue;
            }
            let queue = PartitionQueue::split(&consumer, tp).ok_or_else(|| {
                SourceError::refused(format!("{tp} is no topic partition"), "Correct the topic's name.")
            })?;
            let carried = VecDeque::new();
            let partition = Partition {
                queue,
                next: Some(*offset),
                end: -1,
                distrusted: -1,
                carried,
                chunk_bytes: 0,
                has_begun: false,
                is_cut: false,
            };
            self.start(&consumer, tp, *offset)?;
            self.partitions.insert(tp.clone(), Mutex::new(partition));
        }
        Ok(())
    }

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        let (Some(partition), Some(consumer)) = (self.partitions.get(&range.tp), &self.consumer) else {
            return Err(SourceError::unreachable(format!("{} is not assigned to source {}", range.tp, range.source)));
        };
        let mut partition = partition.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.known_epoch(range, range.start);
        let compares = !partition.has_begun && epoch.is_some();
        if (partition.next != Some(range.start) || compares) && !range.is_empty() {
            self.reposition(&range.tp, &mut partition, range.start, epoch)?;
        }
        partition.has_begun |= !range.is_empty();
        Ok(Box::new(LibrdkafkaRange::new(self, consumer, partition, range, options)))
    }

    /// What librdkafka fetched ahead says nothing of the topic it is of: the next range repositions.
    fn forget(&mut self, topics: &[Arc<str>]) {
        for (_, partition) in self.partitions.iter_mut().filter(|(tp, _)| topics.contains(&tp.topic)) {
            partition.get_mut().unwrap_or_else(PoisonError::into_inner).next = None;
        }
    }

    fn poll(&self) {
        if let Some(consumer) = &self.consumer {
            drain(consumer);
        }
    }
}

impl Drop for LibrdkafkaPlane {
    fn drop(&mut self) {
        self.close();
    }
}

fn one(tp: &TopicPartition, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&tp.topic, tp.partition, offset)?;
    Ok(list)
}

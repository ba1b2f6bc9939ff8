//! The native data plane: record sets fetched over own connections, parsed where they are used.
//!
//! The Kafka source calls it, through the same boundary as the plane over librdkafka, for the records of planned ranges;
//! planning, producing and admin are not its business, and it joins no group.
//!
//! ```text
//!               lanes without a leader                    Fetch, one connection a leader
//!  NativePlane ────────────────────────▶ router ─────▶ fetcher (I/O thread) ◀───────────▶ broker
//!                                          ▲  metadata      │ │
//!                                          └────────────────┘ │ record sets, untouched, within a quota
//!                                            leader moved     ▼
//!  task ◀─── chunks ─── reader ◀─── record_set ◀─────────── lane
//! ```
//! It promises: the records of a range exactly, in order, or an error; every wait ends at a deadline; corrupt bytes are
//! fetched again and then an error, never skipped; a log that was cut, deleted, made again or trimmed below a planned
//! range is data loss, never silence; prefetched memory is bounded and split evenly (see `memory`); a broker that sends
//! little, or holds back by quota, is waited for, and one that sends nothing is not; dropping the plane ends its threads
//! within a second. It does not decode keys or values, use fetch sessions or read from followers.
//!
//! Files: `settings` what it honours; `stream`, `tls`, `scram`, `connection`, `shape`, `buffer` the wire; `metadata`, `router`,
//! `fetcher`, `fetch`, `epochs`, `lane`, `facts`, `memory` the fetching side; `reader`, `record_set`, `batch`, `records`, `aborted`, `compression`,
//! `chunk`, `varint` the reading side.

mod aborted;
mod backoff;
mod batch;
mod buffer;
mod chunk;
mod compression;
mod connection;
mod decode;
mod epochs;
mod facts;
mod failure;
mod fetch;
mod fetcher;
mod known;
mod lane;
#[cfg(test)]
mod made;
mod memory;
mod metadata;
mod reader;
mod record_set;
mod records;
mod router;
mod scram;
mod settings;
mod shape;
mod stop;
mod stream;
#[cfg(test)]
mod stress;
mod tls;
mod varint;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, TryLockError, atomic::Ordering},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

pub use self::decode::decode;
pub use self::settings::{PlaneConfig, Settings, Unsupported};
use self::{
    chunk::ChunkShape,
    connection::Dialer,
    failure::refused,
    lane::{Lane, LaneShared, lane},
    memory::Memory,
    reader::{NativeReader, Reading},
    router::Router,
};
use super::DataPlane;
use crate::{
    model::{OffsetRange, TopicPartition},
    source::{
        RangeReader, ReadOptions, SourceError,
        watch::{Watch, Watched},
    },
};

/// Threads that block in a system call look up at least this often; then they are left behind.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Each partition may hold at least this much, whatever the memory bound.
const QUOTA_MIN_BYTES: usize = 16 << 10;

pub struct NativePlane {
    dialer: Arc<Dialer>,
    memory: Arc<Memory>,
    readings: HashMap<TopicPartition, Slot>,
    orphaned: Sender<Lane>,
    ringer: Sender<()>,
    /// Closed once the last thread is gone.
    gone: Receiver<()>,
    watched: Watched,
}

/// The reading side of one partition, and what both sides share of it.
struct Slot {
    shared: Arc<LaneShared>,
    reading: Mutex<Reading>,
}

impl Slot {
    fn reading_mut(&mut self) -> &mut Reading {
        self.reading.get_mut().unwrap_or_else(reader::after_a_panic)
    }
}

impl NativePlane {
    /// Reads certificates and starts the router; no connection is made before partitions are assigned.
    pub fn open(settings: Settings) -> Result<NativePlane, SourceError> {
        let dialer = Arc::new(Dialer::new(settings)?);
        let (orphaned, orphans) = unbounded();
        let (alive, gone) = bounded(0);
        let memory = Memory::new(dialer.settings.prefetch_memory_bytes.max(QUOTA_MIN_BYTES));
        let router = Router::new(dialer.clone(), memory.clone(), orphaned.clone(), orphans, alive);
        let ringer = router.ringer();
        let name = format!("route-{}", dialer.settings.source);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || router.run())
            .map_err(|error| refused(format!("cannot start a thread: {error}"), None))?;
        Ok(NativePlane {
            dialer,
            memory,
            readings: HashMap::new(),
            orphaned,
            ringer,
            gone,
            watched: Watched::default(),
        })
    }

    /// The id of an assigned partition's topic, as Kafka prints it, once metadata has told it.
    pub fn topic_id(&self, tp: &TopicPartition) -> Option<String> {
        let id = self.readings.get(tp)?.shared.facts().topic_id;
        (!id.is_nil()).then(|| reader::print_topic_id(id))
    }

    /// Bytes of record sets in memory: of one partition, what no reader has taken yet.
    pub fn queued_bytes(&self, tp: &TopicPartition) -> usize {
        self.readings.get(tp).map_or(0, |slot| slot.shared.queued_bytes())
    }

    /// Bytes of record sets in memory: of all partitions, those being read as well.
    pub fn held_bytes(&self) -> usize {
        self.memory.held()
    }

    fn add(&mut self, tp: &TopicPartition, position: i64, quota_bytes: usize) {
        let settings = &self.dialer.settings;
        let (lane, feed) = lane(tp.clone(), position, quota_bytes, self.memory.clone(), settings.retry);
        let shared = feed.shared.clone();
        let shape = ChunkShape { tp: tp.clone(), key_format: settings.key_format, value_format: settings.value_format };
        let reading = Reading::new(feed, shape, settings.isolation, self.dialer.buffers.clone());
        self.readings.insert(tp.clone(), Slot { shared, reading: Mutex::new(reading) });
        // The router outlives the plane's own calls.
        let _ = self.orphaned.send(lane);
    }
}

impl DataPlane for NativePlane {
    /// Partitions that are no longer named are closed; one that stays where it is keeps what was fetched ahead.
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        let quota = (self.dialer.settings.prefetch_memory_bytes / positions.len().max(1)).max(QUOTA_MIN_BYTES);
        let named: HashMap<&TopicPartition, i64> = positions.iter().map(|(tp, position)| (tp, *position)).collect();
        self.readings.retain(|tp, slot| {
            // After an error nothing known of the topic holds: a new lane looks at it afresh.
            let stays = named.contains_key(tp) && !slot.reading_mut().has_failed();
            if !stays {
                slot.shared.close();
            }
            stays
        });
        for (tp, position) in positions {
            match self.readings.get_mut(tp) {
                Some(slot) => {
                    slot.shared.quota_bytes.store(quota, Ordering::Relaxed);
                    let reading = slot.reading_mut();
                    if reading.position() != *position {
                        reading.move_to(*position);
                    }
                }
                None => self.add(tp, *position, quota),
            }
        }
        Ok(())
    }

    fn watched_by(&mut self, watch: &Arc<dyn Watch>) {
        self.watched.by(watch);
    }

    fn compares_topic_ids(&self) -> bool {
        true
    }

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        let Some(slot) = self.readings.get(&range.tp) else {
            return Err(refused(format!("{} is not assigned to source {}", range.tp, range.source), None));
        };
        let reading = match slot.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(poisoned)) => {
                slot.reading.clear_poison();
                reader::after_a_panic(poisoned)
            }
            Err(TryLockError::WouldBlock) => return Err(refused(format!("{} is being read already", range.tp), None)),
        };
        Ok(Box::new(NativeReader::new(reading, range, options, self.watched.clone())))
    }
}

impl Drop for NativePlane {
    fn drop(&mut self) {
        self.dialer.stop.set();
        let _ = self.ringer.try_send(());
        self.readings.values().for_each(|slot| slot.shared.close());
        // Nothing is ever sent: this returns when the last thread has let go of its end.
        let _ = self.gone.recv_timeout(CLOSE_LIMIT);
    }
}

//! Lanes between threads under every order of events that chance finds: readers that go on, go elsewhere and give up in
//! the middle, against fetching threads that fail, hand lanes over to each other and answer orders of before. Whatever
//! happens, a range is read exactly or ends with the error that was planted; nothing waits for what will not come.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use super::{
    buffer::BufferPool,
    chunk::ChunkShape,
    failure::corrupt,
    lane::{Content, Lane, lane},
    made::MadeBatch,
    memory::Memory,
    reader::{NativeReader, Reading},
    settings::BackoffRange,
};
use crate::{
    job::Isolation,
    model::{Column, OffsetRange, TopicPartition, ValueFormat},
    source::{RangeReader, ReadOptions, SourceErrorKind, watch::Watched},
};

const LANES: i32 = 3;
const RANGES: usize = 2_000;
const BATCH: i64 = 4;
const END: i64 = 240;
/// A ring that is lost costs a fetching thread this, and its reader's limit is shorter.
const IDLE: Duration = Duration::from_secs(60);
const STALL_MS: u64 = 20_000;
const PLANTED: &str = "planted";

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn within(&mut self, range: std::ops::Range<i64>) -> i64 {
        range.start + self.below((range.end - range.start) as u64) as i64
    }

    /// Lets the other threads go first, now and then.
    fn dawdle(&mut self) {
        match self.below(64) {
            0 => std::thread::sleep(Duration::from_micros(self.below(300))),
            1..16 => std::thread::yield_now(),
            _ => {}
        }
    }
}

/// One of two threads that fetch, as router and fetcher do, and give their lanes to each other.
struct Hands {
    adopted: Receiver<Lane>,
    other: Sender<Lane>,
    bell: Receiver<()>,
    ringer: Sender<()>,
    chance: Chance,
    log: Vec<Vec<u8>>,
}

impl Hands {
    fn run(mut self, is_over: &AtomicBool) {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut wait = IDLE;
        while !is_over.load(Ordering::Acquire) {
            let first = match wait {
                Duration::ZERO => None,
                wait => select! {
                    recv(self.adopted) -> lane => lane.ok(),
                    recv(self.bell) -> _ => None,
                    default(wait) => None,
                },
            };
            for lane in first.into_iter().chain(self.adopted.try_iter()) {
                lane.listen(&self.ringer);
                lanes.push(lane);
            }
            lanes.iter_mut().for_each(Lane::take_order);
            let mut is_busy = false;
            for mut lane in std::mem::take(&mut lanes) {
                if lane.is_parked || END <= lane.position || lane.room() == 0 {
                    lanes.push(lane);
                    continue;
                }
                is_busy = true;
                self.chance.dawdle();
                match self.chance.below(40) {
                    0 => {
                        let _ = self.other.send(lane);
                        continue;
                    }
                    1 => lane.park(Content::Failed(corrupt(PLANTED))),
                    2 => lane.park_for_good(Content::Failed(corrupt(PLANTED))),
                    _ if lane.is_current() => {
                        self.chance.dawdle();
                        self.fetch(&mut lane);
                    }
                    _ => {}
                }
                lanes.push(lane);
            }
            wait = if is_busy { Duration::ZERO } else { IDLE };
        }
    }

    /// From the batch that holds the position on, as brokers do; sometimes with an error behind it.
    fn fetch(&mut self, lane: &mut Lane) {
        let first = lane.position / BATCH;
        let last = (first + self.chance.within(1..5)).min(END / BATCH);
        let batches = self.log.get(first as usize..last as usize).unwrap_or_default();
        lane.deliver(last * BATCH, 0, Bytes::from(batches.concat()).into(), Vec::new(), "b".into());
        if self.chance.below(40) == 0 {
            lane.park(Content::Failed(corrupt(PLANTED)));
        }
    }
}

/// Ranges as a job asks for them: mostly on from the last one, sometimes from elsewhere, sometimes given up in the middle.
/// How many were read whole.
fn read_on(partition: i32, reading: &Mutex<Reading>, mut chance: Chance) -> usize {
    let (mut next, mut whole) = (0, 0);
    for nth in 0..RANGES {
        let start = if END - 1 <= next || chance.below(3) == 0 { chance.within(0..END - 1) } else { next };
        let until = chance.within(start + 1..END.min(start + 40) + 1);
        let range = OffsetRange {
            source: "source".into(),
            tp: TopicPartition::new("t", partition),
            start,
            until,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        };
        if chance.below(8) == 0 {
            reading.lock().unwrap_or_else(PoisonError::into_inner).move_to(start);
            chance.dawdle();
        }
        let options = ReadOptions { chunk_records: chance.within(1..20) as usize, stall_timeout_ms: STALL_MS };
        let given_up_at = if chance.below(4) == 0 { chance.within(start..until) } else { until };
        let mut reader = NativeReader::new(
            reading.lock().unwrap_or_else(PoisonError::into_inner),
            &range,
            options,
            Watched::default(),
        );
        next = start;
        while next < given_up_at {
            chance.dawdle();
            match reader.next_chunk() {
                Ok(Some(Column::Record(chunk))) => {
                    let expected: Vec<i64> = (next..next + chunk.offsets.len() as i64).collect();
                    assert_eq!(chunk.offsets, expected, "range {nth} of partition {partition}: {start}..{until}");
                    next += chunk.offsets.len() as i64;
                }
                Ok(_) => break,
                Err(error) => {
                    let is_planted = error.kind == SourceErrorKind::Corrupt && error.message == PLANTED;
                    assert!(is_planted, "range {nth} of partition {partition}, {start}..{until} at {next}: {error:?}");
                    break;
                }
            }
        }
        assert!(next <= until, "range {nth} of partition {partition}: {start}..{until}, read up to {next}");
        whole += usize::from(next == until);
    }
    whole
}

#[test]
fn whatever_happens_between_threads_a_range_is_exact_or_an_error() {
    let log: Vec<Vec<u8>> = (0..END / BATCH).map(|nth| MadeBatch::of(nth * BATCH..(nth + 1) * BATCH).bytes()).collect();
    let batch_bytes = log.first().map_or(0, Vec::len);
    for seed in 1..=4 {
        // So little that each set may reach the bound of its lane and of the plane; or enough for all.
        let memory = Memory::new(if seed % 2 == 0 { batch_bytes } else { batch_bytes * 100 });
        let (to_first, first) = unbounded();
        let (to_second, second) = unbounded();
        let retry = BackoffRange { first: Duration::from_millis(1), most: Duration::from_millis(1) };
        let readings: Vec<Arc<Mutex<Reading>>> = (0..LANES)
            .map(|partition| {
                let tp = TopicPartition::new("t", partition);
                let quota = batch_bytes * if seed < 3 { 4 } else { 40 };
                let (lane, feed) = lane(tp.clone(), 0, quota, memory.clone(), retry);
                to_first.send(lane).unwrap();
                let shape = ChunkShape { tp, key_format: ValueFormat::Bytes, value_format: ValueFormat::Bytes };
                Arc::new(Mutex::new(Reading::new(feed, shape, Isolation::ReadCommitted, BufferPool::default())))
            })
            .collect();
        let is_over = AtomicBool::new(false);
        let begun = Instant::now();
        let mut bells = Vec::new();
        std::thread::scope(|scope| {
            for (adopted, other, seed) in [(first, to_second, seed), (second, to_first, seed + 100)] {
                let (ringer, bell) = bounded(1);
                memory.listen(ringer.clone());
                bells.push(ringer.clone());
                let hands = Hands { adopted, other, bell, ringer, chance: Chance(seed), log: log.clone() };
                let is_over = &is_over;
                scope.spawn(move || hands.run(is_over));
            }
            let reading: Vec<_> = (0..LANES)
                .zip(&readings)
                .map(|(partition, reading)| {
                    let chance = Chance(seed * 1_000 + partition as u64);
                    scope.spawn(move || read_on(partition, reading, chance))
                })
                .collect();
            let whole: Vec<_> = reading.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            is_over.store(true, Ordering::Release);
            for bell in &bells {
                let _ = bell.try_send(());
            }
            for whole in whole {
                let whole = whole.unwrap();
                assert!(RANGES / 2 < whole, "seed {seed}: only {whole} of {RANGES} were read whole");
            }
        });
        drop(readings);
        assert_eq!(memory.held(), 0, "seed {seed}: what nobody holds is counted, after {:?}", begun.elapsed());
    }
}

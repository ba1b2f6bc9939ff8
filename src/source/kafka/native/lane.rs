//! The way of one partition's record sets from the thread that fetches them to the task that reads them.
//!
//! ```text
//!  Feed (task)                      LaneShared                     Lane (owned by one I/O thread at a time)
//!  seek(position) ── generation, position ──────────────────────▶ take_order: fetch from there
//!  receive        ◀─────────── bounded channel of items ────────── deliver
//!                 ── bell: somebody waits, or room is free ──────▶
//! ```
//! Items carry the generation they were fetched for; those of an older one are dropped where they are received.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use uuid::Uuid;

use super::{
    backoff::Backoff,
    memory::{Hold, Memory},
    settings::BackoffRange,
};
use crate::{model::TopicPartition, source::SourceError};

/// Record sets a lane may hold besides its bound in bytes.
const QUEUED_SETS_MAX: usize = 64;

/// A record set, or why there are no more.
#[derive(Debug)]
pub struct Item {
    generation: u64,
    content: Content,
    /// Where it ends the lane and may be over later: when, and the leader epoch of what was fetched last.
    parked: Option<(Instant, i32)>,
}

#[derive(Debug)]
pub enum Content {
    Set(FetchedSet),
    Failed(SourceError),
    /// Offsets asked for do not exist; those that do.
    Lost {
        earliest: i64,
        latest: i64,
        message: String,
    },
}

#[derive(Debug)]
pub struct FetchedSet {
    /// The position it was fetched for: where the set before it ended.
    pub from: i64,
    pub bytes: Bytes,
    /// Producer id and first offset of each aborted transaction.
    pub aborted: Vec<(i64, i64)>,
    pub broker: Arc<str>,
    pub topic_id: Uuid,
    /// Counts the bytes against the plane's bound.
    pub hold: Hold,
}

/// What a reader gets.
#[derive(Debug)]
pub struct Fetched {
    pub content: Content,
    /// Where it ended the lane and may be over: when, and the leader epoch of what had been fetched by then (-1: unknown).
    pub parked: Option<(Instant, i32)>,
}

/// What is known of the partition beside its records; for messages and decisions of its reader.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The leader that was asked last.
    pub broker: Option<Arc<str>>,
    /// What goes wrong at present.
    pub trouble: Option<String>,
    /// Since when no broker knows the partition, by what was heard last.
    pub unknown_since: Option<Instant>,
    pub earliest: Option<i64>,
    /// One past the last readable offset, at the last response.
    pub latest: Option<i64>,
    pub topic_id: Uuid,
    pub leader_epoch: Option<i32>,
}

/// What the reader knows that the log must still confirm: all offsets below `until` were written in leader epochs up to
/// `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochCheck {
    pub epoch: i32,
    pub until: i64,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    generation: u64,
    position: i64,
    check: Option<EpochCheck>,
    start_check: Option<EpochCheck>,
    /// The topic the reader wants; nil where it does not know.
    topic_id: Uuid,
}

#[derive(Debug)]
pub struct LaneShared {
    pub tp: TopicPartition,
    memory: Arc<Memory>,
    /// Bytes that may be fetched ahead.
    pub quota_bytes: AtomicUsize,
    queued_bytes: AtomicUsize,
    generation: AtomicU64,
    order: Mutex<Order>,
    is_waiting: AtomicBool,
    was_full: AtomicBool,
    is_closed: AtomicBool,
    bell: Mutex<Option<Sender<()>>>,
    facts: Mutex<Facts>,
    /// Until then there is no reason to call the broker silent.
    heard_at: Mutex<Option<Instant>>,
}

impl LaneShared {
    pub fn facts(&self) -> Facts {
        lock(&self.facts).clone()
    }

    pub fn change_facts(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut lock(&self.facts));
    }

    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.ring();
    }

    /// Wakes the thread that owns the lane.
    fn ring(&self) {
        if let Some(bell) = &*lock(&self.bell) {
            let _ = bell.try_send(());
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// Bytes fetched that no reader has taken.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Acquire)
    }

    /// The broker is at work for this lane, or has said that it will be at `at`.
    pub fn note_progress(&self, at: Instant) {
        let mut heard_at = lock(&self.heard_at);
        *heard_at = Some(heard_at.map_or(at, |before| before.max(at)));
    }

    pub fn heard_at(&self) -> Option<Instant> {
        *lock(&self.heard_at)
    }
}

/// Both ends of a new lane that begins at `position`.
pub fn lane(
    tp: TopicPartition,
    position: i64,
    quota_bytes: usize,
    memory: Arc<Memory>,
    retry: BackoffRange,
) -> (Lane, Feed) {
    // Room for the set in flight when the bound is reached, and for what parks the lane.
    let (sender, receiver) = bounded(QUEUED_SETS_MAX + 2);
    let order = Order { generation: 1, position, check: None, start_check: None, topic_id: Uuid::nil() };
    let shared = Arc::new(LaneShared {
        tp,
        memory,
        quota_bytes: AtomicUsize::new(quota_bytes),
        queued_bytes: AtomicUsize::new(0),
        generation: AtomicU64::new(order.generation),
        order: Mutex::new(order),
        is_waiting: AtomicBool::new(false),
        was_full: AtomicBool::new(false),
        is_closed: AtomicBool::new(false),
        bell: Mutex::new(None),
        facts: Mutex::new(Facts::default()),
        heard_at: Mutex::new(None),
    });
    let lane = Lane {
        shared: shared.clone(),
        items: sender,
        generation: order.generation,
        position,
        last_epoch: -1,
        leader_epoch: -1,
        topic_id: Uuid::nil(),
        planned_id: Uuid::nil(),
        check: None,
        start_check: None,
        is_parked: false,
        stuck: 0,
        wanted_bytes: 0,
        passed_over: 0,
        backoff: Backoff::new(retry),
    };
    (lane, Feed { shared, items: receiver, generation: order.generation, position })
}

/// The fetching end.
pub struct Lane {
    pub shared: Arc<LaneShared>,
    items: Sender<Item>,
    generation: u64,
    /// Where the next fetch begins.
    pub position: i64,
    /// Leader epoch of the last batch fetched; -1 where none is known.
    pub last_epoch: i32,
    pub leader_epoch: i32,
    /// Nil until known; then another id at the same name is another topic.
    pub topic_id: Uuid,
    /// The id that the reader's plan names.
    pub planned_id: Uuid,
    pub check: Option<EpochCheck>,
    /// The same of what was read before the position.
    pub start_check: Option<EpochCheck>,
    /// Failed, until the reader asks again.
    pub is_parked: bool,
    /// Responses in a row that brought no progress though they should have.
    pub stuck: u32,
    /// Size of a batch that did not fit.
    pub wanted_bytes: usize,
    /// Responses in a row that were full of other lanes' records.
    pub passed_over: u32,
    pub backoff: Backoff,
}

impl Lane {
    pub fn tp(&self) -> &TopicPartition {
        &self.shared.tp
    }

    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// From now on the reader's calls wake whoever listens to `bell`.
    pub fn listen(&self, bell: &Sender<()>) {
        *lock(&self.shared.bell) = Some(bell.clone());
    }

    /// Follows the reader's last seek, if it has not yet.
    pub fn take_order(&mut self) {
        if self.shared.generation.load(Ordering::Acquire) == self.generation {
            return;
        }
        let order = *lock(&self.shared.order);
        self.generation = order.generation;
        self.position = order.position;
        self.check = order.check;
        self.start_check = order.start_check;
        self.planned_id = order.topic_id;
        self.last_epoch = -1;
        self.is_parked = false;
        self.stuck = 0;
        self.wanted_bytes = 0;
        self.backoff.reset();
    }

    /// Whether what is fetched now would still be wanted.
    pub fn is_current(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) == self.generation
    }

    /// Bytes that may be fetched now; none while half the quota lies unread, or the plane's bound is reached and nobody
    /// waits for this lane.
    pub fn room(&self) -> usize {
        if self.shared.memory.room() == 0 && !(self.shared.is_waiting() && self.shared.queued_bytes() == 0) {
            return 0;
        }
        let queued = self.shared.queued_bytes.load(Ordering::Acquire);
        let quota = self.shared.quota_bytes.load(Ordering::Relaxed);
        let has_room = || queued == 0 || (queued < quota / 2 && self.items.len() < QUEUED_SETS_MAX);
        if !has_room() {
            // The flag goes up before the second look, so that a reader who made room in between rings.
            self.shared.was_full.store(true, Ordering::SeqCst);
            if self.shared.queued_bytes.load(Ordering::SeqCst) == queued {
                return 0;
            }
        }
        quota.saturating_sub(queued).max(1)
    }

    /// Hands over what was fetched for the present position.
    pub fn deliver(&self, bytes: Bytes, aborted: Vec<(i64, i64)>, broker: Arc<str>) {
        self.shared.queued_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let hold = self.shared.memory.hold(bytes.len());
        let (from, topic_id) = (self.position, self.topic_id);
        self.send(Content::Set(FetchedSet { from, bytes, aborted, broker, topic_id, hold }), None);
    }

    /// Ends the lane with this until the reader seeks; a reader that comes later asks once more.
    pub fn park(&mut self, content: Content) {
        self.is_parked = true;
        self.send(content, Some((Instant::now(), self.last_epoch)));
    }

    /// As [`Lane::park`] with what cannot be over later.
    pub fn park_for_good(&mut self, content: Content) {
        self.is_parked = true;
        self.send(content, None);
    }

    fn send(&self, content: Content, parked: Option<(Instant, i32)>) {
        let item = Item { generation: self.generation, content, parked };
        // A full channel cannot be: a lane with that many sets has no room, and a parked one sends nothing. A closed one
        // has no reader.
        if let Err(TrySendError::Full(item) | TrySendError::Disconnected(item)) = self.items.try_send(item)
            && let Content::Set(set) = item.content
        {
            self.shared.queued_bytes.fetch_sub(set.bytes.len(), Ordering::SeqCst);
        }
    }
}

/// The reading end.
pub struct Feed {
    pub shared: Arc<LaneShared>,
    items: Receiver<Item>,
    generation: u64,
    /// Where the order began; the reader moves it on.
    pub position: i64,
}

impl Feed {
    /// Drops what has been fetched and begins again at `position`.
    pub fn seek(
        &mut self,
        position: i64,
        check: Option<EpochCheck>,
        start_check: Option<EpochCheck>,
        topic_id: Option<Uuid>,
    ) {
        // Before the order is out: what comes after it may be for it.
        while let Ok(item) = self.items.try_recv() {
            self.count_out(&item);
        }
        self.generation += 1;
        self.position = position;
        {
            let mut order = lock(&self.shared.order);
            let topic_id = topic_id.unwrap_or_default();
            *order = Order { generation: self.generation, position, check, start_check, topic_id };
            self.shared.generation.store(self.generation, Ordering::Release);
        }
        self.shared.ring();
    }

    /// The next item of the present generation; `None` if `deadline` passes first.
    pub fn receive(&self, deadline: Instant) -> Option<Fetched> {
        loop {
            let item = match self.items.try_recv() {
                Ok(item) => item,
                Err(_) => self.wait(deadline)?,
            };
            self.count_out(&item);
            if item.generation == self.generation {
                return Some(Fetched { content: item.content, parked: item.parked });
            }
        }
    }

    fn wait(&self, deadline: Instant) -> Option<Item> {
        self.shared.is_waiting.store(true, Ordering::SeqCst);
        self.shared.ring();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let received = self.items.recv_timeout(left);
        self.shared.is_waiting.store(false, Ordering::Release);
        match received {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            // The I/O threads are gone; the deadline is what is left to wait for.
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn count_out(&self, item: &Item) {
        if let Content::Set(set) = &item.content {
            self.shared.queued_bytes.fetch_sub(set.bytes.len(), Ordering::SeqCst);
        }
        if self.shared.was_full.swap(false, Ordering::SeqCst) {
            self.shared.ring();
        }
    }
}

/// A panic elsewhere leaves these values whole: each is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lanes of a plane that may hold 1,000 bytes.
    fn two() -> ((Lane, Feed), (Lane, Feed)) {
        let memory = Memory::new(1_000);
        let range = BackoffRange { first: Duration::from_millis(1), most: Duration::from_millis(1) };
        let make = |partition| lane(TopicPartition::new("t", partition), 0, 500, memory.clone(), range);
        (make(0), make(1))
    }

    fn deliver(lane: &Lane, len: usize) {
        lane.deliver(Bytes::from(vec![0; len]), Vec::new(), "b".into());
    }

    #[test]
    fn a_lane_that_nobody_reads_leaves_the_others_their_share() {
        let ((first, _unread), (second, _feed)) = two();
        assert_eq!((first.room(), second.room()), (500, 500));
        deliver(&first, 300);
        assert_eq!(first.room(), 0, "half its share lies unread");
        assert_eq!(second.room(), 500);
    }

    #[test]
    fn beyond_the_bound_only_a_lane_whose_reader_waits_is_filled() {
        let ((first, feed), (second, other)) = two();
        deliver(&first, 4_000);
        assert_eq!((first.room(), second.room()), (0, 0), "one batch was larger than all of the bound");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(other.receive(Instant::now() + Duration::from_secs(10)).is_some()));
            while !second.shared.is_waiting() {
                std::thread::yield_now();
            }
            assert!(second.room() > 0 && first.room() == 0);
            deliver(&second, 4_000);
        });
        let held = feed.receive(Instant::now()).unwrap();
        assert_eq!(second.room(), 0, "what is being read counts");
        drop(held);
        assert!(first.room() > 0 && second.room() > 0);
    }

    #[test]
    fn what_comes_while_the_reader_seeks_is_not_dropped() {
        const SETS: usize = 8;
        let ((mut lane, mut feed), _other) = two();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if !lane.is_current() {
                        lane.take_order();
                        (0..SETS).for_each(|_| deliver(&lane, 1));
                    }
                }
            });
            let lost = (0..20_000).find(|&position| {
                feed.seek(position, None, None, None);
                (0..SETS).any(|_| feed.receive(Instant::now() + Duration::from_secs(5)).is_none())
            });
            is_over.store(true, Ordering::Release);
            assert_eq!(lost, None, "an order brings all of its sets");
        });
    }
}

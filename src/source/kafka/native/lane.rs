//! The way of one partition's record sets from the thread that fetches them to the task that reads them.
//!
//! ```text
//!  Feed (task)                      LaneShared                     Lane (owned by one I/O thread at a time)
//!  seek(position) ── generation, position ──────────────────────▶ take_order: fetch from there
//!  tell(known) ─── revision ────────────────────────────────────▶ take_order: compare it, and go on
//!  receive        ◀─────────── bounded channel of items ────────── deliver
//!                 ── bell: somebody waits, or room is free ──────▶
//! ```
//! Items carry the generation they were fetched for; those of an older one are dropped where they are received.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use uuid::Uuid;

use super::{
    backoff::Backoff,
    facts::{Facts, are_of_two_topics},
    known::{EpochCheck, Known},
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
    /// Where it ends the lane and may be over later: when that was.
    parked_at: Option<Instant>,
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
    /// Where it ends, and the set after it begins.
    pub to: i64,
    /// Leader epoch of its last batch; -1 where it cannot be known.
    pub epoch: i32,
    pub bytes: Bytes,
    /// Producer id and first offset of each aborted transaction.
    pub aborted: Vec<(i64, i64)>,
    pub broker: Arc<str>,
    pub topic_id: Uuid,
    /// Counts the memory of the bytes against the plane's bound: theirs, or that of the response they are a part of.
    pub hold: Hold,
}

/// Bytes of a record set, and the hold on the response whose memory they are a part of; none for bytes of their own.
pub struct Held {
    pub bytes: Bytes,
    pub whole: Option<Hold>,
}

impl From<Bytes> for Held {
    fn from(bytes: Bytes) -> Held {
        Held { bytes, whole: None }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub struct Fetched {
    pub content: Content,
    /// Where it ended the lane and may be over: when that was.
    pub parked_at: Option<Instant>,
}

/// Why a reader gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// The deadline has passed.
    Yet,
    /// The thread that fetched for it has ended.
    EverAgain,
    /// A set could not be handed over: the next one asked for would not be the next one that comes.
    Overflow,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    generation: u64,
    position: i64,
    known: Known,
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
    /// Counts what the lane must take from the order: each seek, and what was told without one.
    revision: AtomicU64,
    order: Mutex<Order>,
    is_waiting: AtomicBool,
    was_full: AtomicBool,
    is_closed: AtomicBool,
    /// The generation whose set found no room in the channel; 0: none.
    overflowed: AtomicU64,
    /// The position that a request under way asks for; -1: none.
    asked_from: AtomicI64,
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

    /// The position that a request under way asks for.
    pub fn asked_from(&self) -> Option<i64> {
        Some(self.asked_from.load(Ordering::Acquire)).filter(|&position| position >= 0)
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

    /// What was noted at `at` came to nothing; `before` is what was known before it.
    pub fn take_progress_back(&self, at: Instant, before: Option<Instant>) {
        let mut heard_at = lock(&self.heard_at);
        if *heard_at == Some(at) {
            *heard_at = before;
        }
    }

    /// A broker holds the source back until then: no silence, and worth a word where nothing comes afterwards.
    pub fn note_throttle(&self, until: Instant) {
        self.note_progress(until);
        self.change_facts(|facts| facts.throttled_until = Some(until));
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
    let order = Order { generation: 1, position, known: Known::default(), topic_id: Uuid::nil() };
    let shared = Arc::new(LaneShared {
        tp,
        memory,
        quota_bytes: AtomicUsize::new(quota_bytes),
        queued_bytes: AtomicUsize::new(0),
        generation: AtomicU64::new(order.generation),
        revision: AtomicU64::new(0),
        order: Mutex::new(order),
        is_waiting: AtomicBool::new(false),
        was_full: AtomicBool::new(false),
        is_closed: AtomicBool::new(false),
        overflowed: AtomicU64::new(0),
        asked_from: AtomicI64::new(-1),
        bell: Mutex::new(None),
        facts: Mutex::new(Facts::default()),
        heard_at: Mutex::new(None),
    });
    let lane = Lane {
        shared: shared.clone(),
        items: sender,
        generation: order.generation,
        revision: 0,
        position,
        read: None,
        known: order.known,
        leader_epoch: -1,
        compared_with: None,
        topic_id: Uuid::nil(),
        planned_id: Uuid::nil(),
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
    revision: u64,
    /// Where the next fetch begins.
    pub position: i64,
    /// The last batch fetched whose leader epoch is known: that, and where it ends.
    pub read: Option<EpochCheck>,
    /// What the reader knows of the log.
    pub known: Known,
    pub leader_epoch: i32,
    /// The leader epoch whose log has been compared with what is known.
    pub compared_with: Option<i32>,
    /// Nil until known; then another id at the same name is another topic.
    pub topic_id: Uuid,
    /// The id that the reader's plan names.
    pub planned_id: Uuid,
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

    /// Follows the reader's last seek and takes what it has told, if it has not yet.
    pub fn take_order(&mut self) {
        let revision = self.shared.revision.load(Ordering::Acquire);
        if revision == self.revision {
            return;
        }
        let order = *lock(&self.shared.order);
        self.revision = revision;
        self.known = order.known;
        self.compared_with = None;
        if order.generation == self.generation {
            return;
        }
        self.generation = order.generation;
        self.position = order.position;
        self.planned_id = order.topic_id;
        if are_of_two_topics(self.topic_id, order.topic_id) {
            // The plan is for a topic that was made anew; nothing that was known of the one before holds for it.
            (self.topic_id, self.leader_epoch) = (order.topic_id, -1);
        }
        self.read = None;
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

    /// A request for the lane's position is under way, or is so no longer.
    pub fn note_asked(&self, is_asked: bool) {
        let position = if is_asked { self.position } else { -1 };
        self.shared.asked_from.store(position, Ordering::Release);
    }

    /// Leader epoch of the last batch before the position; -1 where it is not known.
    pub fn last_epoch(&self) -> i32 {
        self.read.filter(|read| read.until == self.position).map_or(-1, |read| read.epoch)
    }

    /// Hands over what was fetched for the present position and ends before `next`, in `epoch`; and moves on to there.
    pub fn deliver(&mut self, next: i64, epoch: i32, bytes: Held, aborted: Vec<(i64, i64)>, broker: Arc<str>) {
        let Held { bytes, whole } = bytes;
        self.shared.queued_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let hold = whole.unwrap_or_else(|| self.shared.memory.hold(bytes.len()));
        let (from, topic_id) = (self.position, self.topic_id);
        if self.send(Content::Set(FetchedSet { from, to: next, epoch, bytes, aborted, broker, topic_id, hold }), None) {
            self.position = next;
            if epoch >= 0 {
                self.read = Some(EpochCheck { epoch, until: next });
                self.known.start = None;
            }
        }
    }

    /// Ends the lane with this until the reader seeks; a reader that comes later asks once more.
    pub fn park(&mut self, content: Content) {
        self.is_parked = true;
        self.send(content, Some(Instant::now()));
    }

    /// As [`Lane::park`] with what cannot be over later.
    pub fn park_for_good(&mut self, content: Content) {
        self.is_parked = true;
        self.send(content, None);
    }

    /// Whether the reader will get it. A full channel should not be: a lane with that many sets has no room, and a parked
    /// one sends nothing. Were it so, going on would leave a hole: the lane ends, and its reader is told.
    fn send(&mut self, content: Content, parked_at: Option<Instant>) -> bool {
        let item = Item { generation: self.generation, content, parked_at };
        let returned = match self.items.try_send(item) {
            Ok(()) => return true,
            // No reader is left.
            Err(TrySendError::Disconnected(item)) => item,
            Err(TrySendError::Full(item)) => {
                tracing::error!(tp = %self.tp(), position = self.position, "a lane is full beyond its bound");
                self.is_parked = true;
                self.shared.overflowed.store(self.generation, Ordering::Release);
                item
            }
        };
        if let Content::Set(set) = returned.content {
            self.shared.queued_bytes.fetch_sub(set.bytes.len(), Ordering::SeqCst);
        }
        false
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
    pub fn seek(&mut self, position: i64, known: Known, topic_id: Option<Uuid>) {
        // Before the order is out: what comes after it may be for it.
        while let Ok(item) = self.items.try_recv() {
            self.count_out(&item);
        }
        self.generation += 1;
        self.position = position;
        {
            let mut order = lock(&self.shared.order);
            let topic_id = topic_id.unwrap_or_default();
            *order = Order { generation: self.generation, position, known, topic_id };
            self.shared.change_facts(|facts| facts.go_over_to(topic_id));
            // Who sees the generation takes the order.
            self.shared.revision.fetch_add(1, Ordering::Release);
            self.shared.generation.store(self.generation, Ordering::Release);
        }
        self.shared.ring();
    }

    /// Has the lane compare this too with each leader to come, and go on where it is.
    pub fn tell(&mut self, known: Known) {
        let mut order = lock(&self.shared.order);
        if order.known != known {
            order.known = known;
            self.shared.revision.fetch_add(1, Ordering::Release);
        }
    }

    /// The next item of the present generation.
    pub fn receive(&self, deadline: Instant) -> Result<Fetched, Nothing> {
        loop {
            let item = match self.items.try_recv() {
                Ok(item) => item,
                Err(_) if self.shared.overflowed.load(Ordering::Acquire) == self.generation => {
                    return Err(Nothing::Overflow);
                }
                Err(_) => self.wait(deadline)?,
            };
            self.count_out(&item);
            if item.generation == self.generation {
                return Ok(Fetched { content: item.content, parked_at: item.parked_at });
            }
        }
    }

    fn wait(&self, deadline: Instant) -> Result<Item, Nothing> {
        self.shared.is_waiting.store(true, Ordering::SeqCst);
        self.shared.ring();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let received = self.items.recv_timeout(left);
        self.shared.is_waiting.store(false, Ordering::Release);
        received.map_err(|error| match error {
            RecvTimeoutError::Timeout => Nothing::Yet,
            RecvTimeoutError::Disconnected => Nothing::EverAgain,
        })
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
mod tests;

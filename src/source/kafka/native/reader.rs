//! The records of one range, taken from a lane: the task's side, where bytes become columns.

use std::{
    ops::DerefMut,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    aborted::AbortedTransactions,
    batch::Malformed,
    buffer::BufferPool,
    chunk::ChunkShape,
    compression::Decompressor,
    facts::are_of_two_topics,
    failure::{corrupt, of_another_topic, refused, unreachable},
    known::{EpochCheck, Known},
    lane::{Content, Feed, Fetched, FetchedSet, Nothing},
    memory::Hold,
    record_set::RecordSet,
};
use crate::{
    job::Isolation,
    model::{Column, OffsetRange, RecordColumn},
    source::{
        RangeReader, ReadOptions, SourceError, SourceErrorKind,
        kafka::error::QUOTA_HINT,
        watch::{SLICE, Watched},
    },
};

/// Times a damaged record set is fetched again.
const REFETCHES_MAX: u32 = 2;
/// Bytes of a chunk's values that stay in the second-level cache while one step after the other reads them.
const CHUNK_BYTES: usize = 256 << 10;
/// Records that a chunk may have however long they are.
const CHUNK_RECORDS_MIN: usize = 64;

/// What a partition's task keeps between ranges.
pub struct Reading {
    feed: Feed,
    set: Option<OpenSet>,
    decompressor: Decompressor,
    shape: ChunkShape,
    isolation: Isolation,
    /// As many as make [`CHUNK_BYTES`], by the last chunk.
    chunk_records: usize,
    /// Ended by an error: the next range begins with a new fetch.
    has_failed: bool,
    /// A range has been read: the lane knows what it fetched before the next.
    has_begun: bool,
    /// What is known of the end of a range, as it went with the last seek.
    sought_end: Option<EpochCheck>,
    /// Leader epoch of the set taken last: what was read until the position is no younger.
    read_epoch: Option<i32>,
    /// Where the set taken last ends. A range ends before that where nothing behind it can be seen, as in aborted
    /// transactions.
    covered: i64,
    /// Where nothing came within the limit, though something may be under way.
    stalled_at: Option<i64>,
}

/// The set that is being read.
struct OpenSet {
    records: RecordSet,
    broker: Arc<str>,
    _hold: Hold,
}

impl Reading {
    pub fn new(feed: Feed, shape: ChunkShape, isolation: Isolation, buffers: BufferPool) -> Self {
        Self {
            feed,
            set: None,
            decompressor: Decompressor::with(buffers),
            shape,
            isolation,
            chunk_records: usize::MAX,
            has_failed: false,
            has_begun: false,
            sought_end: None,
            read_epoch: None,
            covered: 0,
            stalled_at: None,
        }
    }

    pub fn position(&self) -> i64 {
        self.feed.position
    }

    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// The next range begins with a new fetch.
    pub fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Begins anew at `position`; what is known of the log there is compared by the range that begins.
    pub fn move_to(&mut self, position: i64) {
        (self.has_begun, self.read_epoch) = (false, None);
        self.seek(position, Known::default(), None);
    }

    fn seek(&mut self, position: i64, known: Known, topic_id: Option<Uuid>) {
        (self.set, self.covered, self.stalled_at, self.has_failed) = (None, 0, None, false);
        self.sought_end = known.end;
        self.feed.seek(position, known, topic_id);
    }

    /// Makes the lane deliver what `range` needs, from its start.
    fn begin(&mut self, range: &OffsetRange, topic_id: Option<Uuid>) {
        let facts = self.feed.shared.facts();
        // The topic was made anew since: what was fetched at the same offset is the old one's.
        let is_another = topic_id.is_some_and(|planned| are_of_two_topics(planned, facts.topic_id));
        let stays = self.feed.position == range.start && !is_another;
        self.read_epoch = self.read_epoch.filter(|_| stays);
        let read = self.read_epoch.map(|epoch| EpochCheck { epoch, until: range.start });
        let planned = start_check(range);
        let known = Known { start: planned.or(read), end: end_check(range) };
        // Before the leader is looked at: one that takes over later finds this, one that has before is seen.
        self.feed.tell(known);
        let facts = if is_another { facts } else { self.feed.shared.facts() };
        let is_others = |check: EpochCheck| [facts.leader_epoch, facts.compared_epoch] != [Some(check.epoch); 2];
        // A range planned in an older epoch than the leader's may have been cut since: nothing of it may come before its
        // end has been compared. Of one planned in a newer epoch than what was fetched, that may be another log.
        let is_older = known.end.is_some_and(is_others) && self.sought_end != known.end;
        // The lane itself compares what it has fetched; what another process or another lane read is compared once.
        let is_first = !self.has_begun && planned.is_some_and(is_others);
        if !stays || self.has_failed || is_older || is_first {
            self.seek(range.start, known, topic_id);
        }
        self.has_begun = true;
    }

    /// Has what lies behind the position fetched anew, in the middle of `range`. Like at its beginning, what was read
    /// before and how it is to end are compared with the log.
    fn fetch_again(&mut self, range: &OffsetRange, topic_id: Option<Uuid>) {
        let position = self.feed.position;
        let read = self.read_epoch.map(|epoch| EpochCheck { epoch, until: position });
        let known = Known { start: read.or(start_check(range)), end: end_check(range) };
        self.seek(position, known, topic_id);
    }
}

/// Where a task came to grief in the middle of a set, what it had seen of it is not known: it is fetched again.
pub fn after_a_panic<R: DerefMut<Target = Reading>>(poisoned: PoisonError<R>) -> R {
    let mut reading = poisoned.into_inner();
    reading.fail();
    reading
}

fn start_check(range: &OffsetRange) -> Option<EpochCheck> {
    range.start_epoch.map(|epoch| EpochCheck { epoch, until: range.start })
}

fn end_check(range: &OffsetRange) -> Option<EpochCheck> {
    range.leader_epoch.map(|epoch| EpochCheck { epoch, until: range.until })
}

/// Reads one range; holds the partition meanwhile.
pub struct NativeReader<'a> {
    reading: MutexGuard<'a, Reading>,
    range: OffsetRange,
    topic_id: Option<Uuid>,
    options: ReadOptions,
    begun_at: Instant,
    waiting_since: Instant,
    deadline: Instant,
    refetches: u32,
    /// An error that was older than this reader has been asked about again.
    has_asked_again: bool,
    /// Nothing came, and what comes yet is what a second try needs.
    may_go_on: bool,
    watched: Watched,
}

impl<'a> NativeReader<'a> {
    pub fn new(
        mut reading: MutexGuard<'a, Reading>,
        range: &OffsetRange,
        options: ReadOptions,
        watched: Watched,
    ) -> Self {
        // Before a new order is out, whose answer is none of before.
        let begun_at = Instant::now();
        let topic_id = range.topic_id.as_deref().and_then(parse_topic_id);
        if !range.is_empty() {
            reading.begin(range, topic_id);
        }
        let mut reader = Self {
            reading,
            range: range.clone(),
            topic_id,
            options,
            begun_at,
            waiting_since: begun_at,
            deadline: begun_at,
            refetches: 0,
            has_asked_again: false,
            may_go_on: false,
            watched,
        };
        reader.wait_anew();
        reader
    }

    fn next(&mut self) -> Result<Option<Column>, SourceError> {
        while self.reading.feed.position < self.range.until {
            let Reading { feed, set, decompressor, shape, chunk_records, .. } = &mut *self.reading;
            let Some(open) = set else {
                self.receive()?;
                continue;
            };
            let max_records = self.options.chunk_records.min(*chunk_records);
            match open.records.next_chunk(&mut feed.position, self.range.until, max_records, shape, decompressor) {
                Ok(Some(chunk)) => {
                    *chunk_records = records_of(CHUNK_BYTES, &chunk);
                    return Ok(Some(Column::Record(Arc::new(chunk))));
                }
                Ok(None) => {
                    if feed.position < self.range.until {
                        *set = None;
                    }
                }
                Err(malformed) => {
                    let broker = open.broker.clone();
                    self.damaged(&malformed, &broker)?;
                }
            }
        }
        // What holds nothing for the next range is not kept until it comes.
        let Reading { feed, set, .. } = &mut *self.reading;
        if set.as_ref().is_some_and(|open| open.records.is_used_up(feed.position)) {
            *set = None;
        }
        Ok(None)
    }

    fn wait_anew(&mut self) {
        self.waiting_since = Instant::now();
        self.deadline = self.waiting_since + self.limit();
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.options.stall_timeout_ms)
    }

    fn receive(&mut self) -> Result<(), SourceError> {
        let look_up_at = self.deadline.min(Instant::now() + SLICE);
        let Fetched { content, parked_at } = match self.reading.feed.receive(look_up_at) {
            Ok(fetched) => fetched,
            Err(Nothing::Yet) if Instant::now() < self.deadline => return self.look_up(),
            Err(Nothing::Yet) => return self.wait_on(),
            Err(Nothing::EverAgain) => {
                let tp = &self.range.tp;
                return Err(unreachable(format!("the thread that fetches {tp} has ended; the source begins anew")));
            }
            Err(Nothing::Overflow) => {
                let (tp, position) = (&self.range.tp, self.reading.feed.position);
                return Err(unreachable(format!("more was fetched of {tp} from offset {position} on than is held")));
            }
        };
        // What went wrong while nobody read may be over: a user has got the rights, a broker its log.
        if parked_at.is_some_and(|at| at < self.begun_at) && !self.has_asked_again {
            self.has_asked_again = true;
            self.reading.fetch_again(&self.range, self.topic_id);
            return Ok(());
        }
        match content {
            Content::Set(set) => self.take_set(set),
            Content::Lost { earliest, latest, message } => Err(self.lost(earliest, latest, message)),
            Content::Failed(error) if error.kind == SourceErrorKind::Corrupt && self.may_refetch() => Ok(()),
            Content::Failed(error) => Err(error),
        }
    }

    /// Nothing came for a slice: whoever watches may know that it is of no use to wait on.
    fn look_up(&mut self) -> Result<(), SourceError> {
        let shared = &self.reading.feed.shared;
        let since = shared.heard_at().map_or(self.waiting_since, |at| at.max(self.waiting_since));
        let silent = since.elapsed();
        let message = || {
            let facts = shared.facts();
            let broker = facts.broker.map_or_else(String::new, |broker| format!("broker {broker}: "));
            let trouble = facts.trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            let (tp, position, silent_ms) = (&self.range.tp, self.reading.feed.position, silent.as_millis());
            format!("{broker}no records of {tp} from offset {position} for {silent_ms} ms{trouble}")
        };
        if self.watched.waits_on(silent, message) { Ok(()) } else { Err(unreachable(message())) }
    }

    /// The deadline has passed. A broker that is still sending, or has said when it will, is waited for.
    fn wait_on(&mut self) -> Result<(), SourceError> {
        let deadline = self.reading.feed.shared.heard_at().map(|at| at + self.limit());
        match deadline.filter(|&deadline| Instant::now() < deadline) {
            Some(deadline) => {
                self.deadline = deadline;
                Ok(())
            }
            None => {
                self.may_go_on = self.is_under_way();
                Err(self.stalled())
            }
        }
    }

    /// Whether what the range needs may be under way. Over a slow link it would be thrown away by a seek, so that a second
    /// try gets no farther than the first. Where nothing came twice, and nobody is asking for it, it never will.
    fn is_under_way(&mut self) -> bool {
        let position = self.reading.feed.position;
        let is_second = self.reading.stalled_at.replace(position) == Some(position);
        position == self.range.start && (!is_second || self.reading.feed.shared.asked_from() == Some(position))
    }

    fn take_set(&mut self, set: FetchedSet) -> Result<(), SourceError> {
        if let Some(planned) = self.topic_id
            && !set.topic_id.is_nil()
            && set.topic_id != planned
        {
            return Err(of_another_topic(&self.range.tp));
        }
        self.wait_anew();
        self.reading.stalled_at = None;
        // Offsets may be missing within a set, as compaction leaves them; between two sets none may.
        let position = self.reading.feed.position;
        if position.max(self.reading.covered) < set.from {
            let (broker, from, tp) = (&set.broker, set.from, self.range.tp.clone());
            if self.may_refetch() {
                tracing::warn!(%broker, %tp, position, from, "fetching again what is missing between two record sets");
                return Ok(());
            }
            return Err(corrupt(format!("broker {broker}: {tp}: nothing came for offsets {position}..{from}")));
        }
        let aborted = match self.reading.isolation {
            Isolation::ReadCommitted => Some(AbortedTransactions::new(set.aborted)),
            Isolation::ReadUncommitted => None,
        };
        let records = RecordSet::new(set.bytes, aborted);
        self.reading.read_epoch = Some(set.epoch).filter(|&epoch| epoch >= 0);
        self.reading.covered = set.to;
        self.reading.set = Some(OpenSet { records, broker: set.broker, _hold: set.hold });
        Ok(())
    }

    /// Fetches again from where the reader stands, unless that has been done often enough.
    fn may_refetch(&mut self) -> bool {
        let may = self.refetches < REFETCHES_MAX;
        if may {
            self.refetches += 1;
            self.reading.fetch_again(&self.range, self.topic_id);
        }
        may
    }

    fn damaged(&mut self, malformed: &Malformed, broker: &str) -> Result<(), SourceError> {
        let tp = self.range.tp.clone();
        if malformed.may_pass() && self.may_refetch() {
            tracing::warn!(%broker, %tp, %malformed, "fetching a damaged record set again");
            return Ok(());
        }
        Err(unreadable(malformed, format!("broker {broker}: {tp}: {malformed}")))
    }

    fn lost(&self, earliest: i64, latest: i64, message: String) -> SourceError {
        let OffsetRange { tp, start, until, .. } = &self.range;
        SourceError {
            kind: SourceErrorKind::DataLoss { tp: tp.clone(), planned: (*start, *until), earliest, latest },
            message: format!("{message}; the plan needs {start}..{until}"),
            hint: Some("Set on_data_loss = \"skip\" to go on without these records and record the loss.".into()),
        }
    }

    /// Nothing came within the limit: what is known of why.
    fn stalled(&self) -> SourceError {
        let facts = self.reading.feed.shared.facts();
        let (tp, position, until) = (&self.range.tp, self.reading.feed.position, self.range.until);
        let (now, limit) = (Instant::now(), self.options.stall_timeout_ms);
        let (earliest, latest) = (facts.earliest(), facts.latest(now));
        let broker = facts.broker.as_ref().map_or_else(String::new, |broker| format!("broker {broker}: "));
        if facts.is_unknown(now, self.limit() / 2) {
            let trouble = facts.trouble.unwrap_or_else(|| format!("no broker knows {tp}"));
            return self.lost(0, 0, format!("{trouble}, for {limit} ms"));
        }
        let is_throttled = facts.throttled_until.is_some_and(|at| self.waiting_since <= at);
        let hint = is_throttled.then(|| QUOTA_HINT.to_owned());
        let nothing = format!("no records of {tp} from offset {position} within {limit} ms");
        let nothing = if is_throttled { format!("{nothing}, after a quota held them back") } else { nothing };
        match (facts.trouble, latest) {
            // A new leader lets be read what it knows its followers to have, which may be less than the one before knew.
            (None, Some(latest)) if latest < until && facts.held_until >= Some(until) => unreachable(format!(
                "{broker}{nothing}: its leader holds them, and lets offsets below {latest} be read until its followers have them"
            )),
            (None, Some(latest)) if latest < until => {
                self.lost(earliest, latest, format!("{broker}the log of {tp} ends at offset {latest}, for {limit} ms"))
            }
            (Some(trouble), _) => SourceError { hint, ..unreachable(format!("{nothing}: {trouble}")) },
            (None, _) => SourceError { hint, ..unreachable(format!("{broker}{nothing}")) },
        }
    }
}

impl RangeReader for NativeReader<'_> {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        self.may_go_on = false;
        let result = self.next();
        if result.as_ref().is_err_and(|error| error.kind != SourceErrorKind::Unreachable || !self.may_go_on) {
            self.reading.fail();
        }
        result
    }
}

fn unreadable(malformed: &Malformed, message: String) -> SourceError {
    match malformed {
        Malformed::OldMagic(_) => {
            refused(message, Some("Let Kafka rewrite the topic in its present format, or read a newer one."))
        }
        Malformed::TooLarge { .. } => SourceError {
            hint: Some(
                "kstream takes no larger batch: have its producer send smaller ones. To go on behind it, set another \
                 `checkpoint_dir` and `--start` there."
                    .to_owned(),
            ),
            ..corrupt(message)
        },
        _ => corrupt(message),
    }
}

/// How many records like those of `chunk` have values of so many bytes together.
fn records_of(bytes: usize, chunk: &RecordColumn) -> usize {
    let values = chunk.values.views.iter().filter(|view| !view.is_null());
    let len: usize = values.map(|view| view.len as usize).sum();
    (bytes.saturating_mul(chunk.len()) / len.max(1)).max(CHUNK_RECORDS_MIN)
}

/// A topic id as Kafka prints it (URL-safe base64), as librdkafka does (plain base64), or hyphenated.
pub fn parse_topic_id(text: &str) -> Option<Uuid> {
    if let Ok(id) = Uuid::try_parse(text) {
        return Some(id);
    }
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let bytes = openssl::base64::decode_block(&format!("{text}==")).ok()?;
    Uuid::from_slice(&bytes).ok()
}

/// A topic id as Kafka prints it.
pub fn print_topic_id(id: Uuid) -> String {
    openssl::base64::encode_block(id.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests;

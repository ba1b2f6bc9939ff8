//! The records of one range, taken from a lane: the task's side, where bytes become columns.

use std::{
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    aborted::AbortedTransactions,
    batch::Malformed,
    buffer::BufferPool,
    chunk::ChunkShape,
    compression::Decompressor,
    failure::{THROTTLES, corrupt, refused, unreachable},
    lane::{Content, EpochCheck, Feed, Fetched, FetchedSet},
    memory::Hold,
    record_set::RecordSet,
};
use crate::{
    job::Isolation,
    model::{Column, OffsetRange, RecordColumn},
    source::{
        RangeReader, ReadOptions, SourceError, SourceErrorKind,
        watch::{SLICE, Watched},
    },
};

/// Times a damaged record set is fetched again.
const REFETCHES_MAX: u32 = 2;
/// Bytes of a chunk's values that stay in the second-level cache while one step after the other reads them.
const CHUNK_BYTES: usize = 256 << 10;
/// Records that a chunk may have however long they are.
const CHUNK_RECORDS_MIN: usize = 64;

const QUOTA_HINT: &str = "Raise the quota consumer_byte_rate of this user or client id, or have the job read less.";

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
    /// Leader epoch up to which planned ranges have been compared with the log.
    checked_epoch: Option<i32>,
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
            checked_epoch: None,
        }
    }

    pub fn position(&self) -> i64 {
        self.feed.position
    }

    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub fn seek(
        &mut self,
        position: i64,
        check: Option<EpochCheck>,
        start_check: Option<EpochCheck>,
        topic_id: Option<Uuid>,
    ) {
        self.set = None;
        self.has_failed = false;
        self.feed.seek(position, check, start_check, topic_id);
    }

    /// Makes the lane deliver what `range` needs, from its start.
    fn begin(&mut self, range: &OffsetRange, topic_id: Option<Uuid>) {
        let check = range.leader_epoch.map(|epoch| EpochCheck { epoch, until: range.until });
        // A range planned in an older epoch than the leader's may have been cut since: its end is compared once.
        let is_older = check.is_some_and(|check| {
            self.feed.shared.facts().leader_epoch != Some(check.epoch) && self.checked_epoch != Some(check.epoch)
        });
        // The lane itself compares what it has fetched; what another process or another lane read is compared once.
        let start_check = range.start_epoch.map(|epoch| EpochCheck { epoch, until: range.start });
        let is_first = start_check
            .is_some_and(|check| !self.has_begun && self.feed.shared.facts().leader_epoch != Some(check.epoch));
        if self.feed.position != range.start || self.has_failed || is_older || is_first {
            self.seek(range.start, check, start_check, topic_id);
        }
        self.has_begun = true;
        self.checked_epoch = range.leader_epoch.or(self.checked_epoch);
    }
}

/// Reads one range; holds the partition meanwhile.
pub struct NativeReader<'a> {
    reading: MutexGuard<'a, Reading>,
    range: OffsetRange,
    topic_id: Option<Uuid>,
    options: ReadOptions,
    begun_at: Instant,
    deadline: Instant,
    refetches: u32,
    /// An error that was older than this reader has been asked about again.
    has_asked_again: bool,
    watched: Watched,
}

impl<'a> NativeReader<'a> {
    pub fn new(
        mut reading: MutexGuard<'a, Reading>,
        range: &OffsetRange,
        options: ReadOptions,
        watched: Watched,
    ) -> Self {
        let topic_id = range.topic_id.as_deref().and_then(parse_topic_id);
        if !range.is_empty() {
            reading.begin(range, topic_id);
        }
        let begun_at = Instant::now();
        let deadline = begun_at + Duration::from_millis(options.stall_timeout_ms);
        let range = range.clone();
        Self { reading, range, topic_id, options, begun_at, deadline, refetches: 0, has_asked_again: false, watched }
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

    fn receive(&mut self) -> Result<(), SourceError> {
        let Some(Fetched { content, parked }) = self.reading.feed.receive(self.deadline.min(Instant::now() + SLICE))
        else {
            return if Instant::now() < self.deadline { self.look_up() } else { self.wait_on() };
        };
        if let Some((at, last_epoch)) = parked
            && at < self.begun_at
            && !self.has_asked_again
        {
            self.ask_again(last_epoch);
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
        let waiting_since = self.deadline.checked_sub(Duration::from_millis(self.options.stall_timeout_ms));
        let shared = &self.reading.feed.shared;
        let Some(since) = shared.heard_at().max(waiting_since) else { return Ok(()) };
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
        let heard_at = self.reading.feed.shared.heard_at();
        let deadline = heard_at.map(|at| at + Duration::from_millis(self.options.stall_timeout_ms));
        match deadline.filter(|&deadline| Instant::now() < deadline) {
            Some(deadline) => {
                self.deadline = deadline;
                Ok(())
            }
            None => Err(self.stalled()),
        }
    }

    /// What went wrong while nobody read may be over: a user has got the rights, a broker its log. What was fetched by
    /// then, in `last_epoch`, is compared with the log again.
    fn ask_again(&mut self, last_epoch: i32) {
        self.has_asked_again = true;
        let position = self.reading.feed.position;
        let start_check = (last_epoch >= 0).then_some(EpochCheck { epoch: last_epoch, until: position });
        self.reading.seek(position, None, start_check, self.topic_id);
    }

    fn take_set(&mut self, set: FetchedSet) -> Result<(), SourceError> {
        if let Some(planned) = self.topic_id
            && !set.topic_id.is_nil()
            && set.topic_id != planned
        {
            let topic = &self.range.tp.topic;
            let message = format!("topic {topic} was deleted and made again: the plan was made for another topic id");
            return Err(self.lost(0, 0, message));
        }
        self.deadline = Instant::now() + Duration::from_millis(self.options.stall_timeout_ms);
        // Offsets may be missing within a set, as compaction leaves them; between two sets none may.
        let position = self.reading.feed.position;
        if position < set.from {
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
        self.reading.set = Some(OpenSet { records, broker: set.broker, _hold: set.hold });
        Ok(())
    }

    /// Fetches again from where the reader stands, unless that has been done often enough.
    fn may_refetch(&mut self) -> bool {
        let may = self.refetches < REFETCHES_MAX;
        if may {
            self.refetches += 1;
            let position = self.reading.feed.position;
            self.reading.seek(position, None, None, self.topic_id);
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
        let limit = self.options.stall_timeout_ms;
        let broker = facts.broker.map_or_else(String::new, |broker| format!("broker {broker}: "));
        // A broker that has only just come up may not know its topics yet.
        let is_unknown = facts.unknown_since.is_some_and(|since| since.elapsed() >= Duration::from_millis(limit) / 2);
        match (is_unknown, facts.trouble, facts.latest) {
            (true, trouble, _) => {
                let trouble = trouble.unwrap_or_else(|| format!("no broker knows {tp}"));
                self.lost(0, 0, format!("{trouble}, for {limit} ms"))
            }
            (false, None, Some(latest)) if latest < until => {
                let earliest = facts.earliest.unwrap_or(0);
                self.lost(earliest, latest, format!("{broker}the log of {tp} ends at offset {latest}, for {limit} ms"))
            }
            (false, Some(trouble), _) => {
                let hint = trouble.contains(THROTTLES).then(|| QUOTA_HINT.to_owned());
                let message = format!("no records of {tp} from offset {position} within {limit} ms: {trouble}");
                SourceError { hint, ..unreachable(message) }
            }
            (false, None, _) => {
                unreachable(format!("{broker}no records of {tp} from offset {position} within {limit} ms"))
            }
        }
    }
}

impl RangeReader for NativeReader<'_> {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        let result = self.next();
        // Where nothing came, what comes yet is what a second try needs.
        let may_go_on = |error: &SourceError| {
            error.kind == SourceErrorKind::Unreachable && self.reading.feed.position == self.range.start
        };
        if result.as_ref().is_err_and(|error| !may_go_on(error)) {
            self.reading.has_failed = true;
        }
        result
    }
}

fn unreadable(malformed: &Malformed, message: String) -> SourceError {
    match malformed {
        Malformed::OldMagic(_) => {
            refused(message, Some("Let Kafka rewrite the topic in its present format, or read a newer one."))
        }
        Malformed::TooLarge { .. } => refused(
            message,
            Some("kstream takes no larger batch: have its producer send smaller ones, and begin behind this one."),
        ),
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
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::{
        super::{
            lane::{Lane, lane},
            made::MadeBatch,
            memory::Memory,
            settings::BackoffRange,
        },
        *,
    };
    use crate::model::{RawColumn, TopicPartition, ValueFormat, View};

    #[test]
    fn chunks_of_long_records_have_fewer_of_them() {
        let chunk = |len: u32| {
            let views = |view| RawColumn { buffer: Bytes::new(), views: vec![view; 10] };
            records_of(
                CHUNK_BYTES,
                &RecordColumn {
                    tp: TopicPartition::new("t", 0),
                    key_format: ValueFormat::Bytes,
                    value_format: ValueFormat::Bytes,
                    offsets: (0..10).collect(),
                    timestamps: vec![-1; 10],
                    keys: views(View::NULL),
                    values: views(View { offset: 0, len }),
                    headers: Vec::new(),
                },
            )
        };
        assert!(chunk(0) > 2048 && chunk(10) > 2048);
        assert_eq!(chunk(256), 1024);
        assert_eq!(chunk(1 << 20), CHUNK_RECORDS_MIN);
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do_about_it() {
        let check = |malformed: Malformed, kind, hint: &str| {
            let error = unreadable(&malformed, malformed.to_string());
            assert_eq!(error.kind, kind);
            assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
        };
        check(Malformed::OldMagic(1), SourceErrorKind::Refused, "rewrite the topic");
        check(Malformed::TooLarge { offset: 3, limit: 9 }, SourceErrorKind::Refused, "smaller");
        check(Malformed::Checksum { offset: 3, expected: 1, found: 2 }, SourceErrorKind::Corrupt, "damaged");
    }

    #[test]
    fn a_set_that_is_missing_between_two_is_fetched_again() {
        let most = Duration::from_millis(1);
        let (mut lane, feed) =
            lane(TopicPartition::new("t", 0), 0, 1 << 20, Memory::new(1 << 20), BackoffRange { first: most, most });
        let shape = ChunkShape {
            tp: TopicPartition::new("t", 0),
            key_format: ValueFormat::Bytes,
            value_format: ValueFormat::Bytes,
        };
        let reading = Mutex::new(Reading::new(feed, shape, Isolation::ReadCommitted, BufferPool::default()));
        let range = OffsetRange {
            source: "source".into(),
            tp: TopicPartition::new("t", 0),
            start: 0,
            until: 9,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        };
        let options = ReadOptions { chunk_records: 100, stall_timeout_ms: 10_000 };
        let deliver = |lane: &mut Lane, from: i64| {
            lane.position = from;
            lane.deliver(MadeBatch::of(from..from + 3).bytes().into(), Vec::new(), "b".into());
        };
        deliver(&mut lane, 0);
        deliver(&mut lane, 6);
        let mut reader = NativeReader::new(reading.lock().unwrap(), &range, options, Watched::default());
        let mut offsets = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while lane.is_current() {
                    std::thread::yield_now();
                }
                lane.take_order();
                assert_eq!(lane.position, 3, "asked for again from where the reader stands");
                deliver(&mut lane, 3);
                deliver(&mut lane, 6);
            });
            while let Some(Column::Record(chunk)) = reader.next().unwrap() {
                offsets.extend(chunk.offsets.iter().copied());
            }
        });
        assert_eq!(offsets, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn topic_ids_are_read_in_every_form_they_are_printed_in() {
        let id = Uuid::from_u128(0xfbff_0000_0000_0000_0000_0000_0000_00fe);
        assert_eq!(print_topic_id(id), "-_8AAAAAAAAAAAAAAAAA_g");
        for text in ["-_8AAAAAAAAAAAAAAAAA_g", "+/8AAAAAAAAAAAAAAAAA/g", "+/8AAAAAAAAAAAAAAAAA/g==", &id.to_string()] {
            assert_eq!(parse_topic_id(text), Some(id), "{text}");
        }
        for text in ["", "short", "-_8AAAAAAAAAAAAAAAAA_gAA", "no topic id at all!!!!"] {
            assert_eq!(parse_topic_id(text), None, "{text}");
        }
    }
}

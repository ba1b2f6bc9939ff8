//! Reads exactly one offset range from a partition's queue.
//!
//! Offsets have gaps, so a range is never done by count. It is done when the next record lies behind it (which is then
//! carried over to the next range), when an end-of-partition event says that there is nothing before its end, or when
//! transaction markers have moved librdkafka's position past it.

use std::{
    sync::MutexGuard,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode as Code,
};

use super::{
    chunk::ChunkBuilder,
    control::drain,
    error::{QUOTA_HINT, hint_for, hint_for_words, kind_of},
    events::{Events, cut_of},
    librdkafka::{LibrdkafkaPlane, Partition},
    raw::RawMessage,
};
use crate::{
    model::{Column, OffsetRange},
    source::{RangeReader, ReadOptions, SourceError, SourceErrorKind},
};

/// One wait for a record.
const WAIT: Duration = Duration::from_millis(100);
/// Silence after which the log's ends are asked for, and how long that may take.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// A log that looks too short is asked for again before it counts as lost: a new leader may lag for a moment.
const PROOFS: u32 = 2;
/// Damaged bytes are fetched again this often.
const CORRUPT_RETRIES: u32 = 2;

pub(super) struct LibrdkafkaRange<'a> {
    plane: &'a LibrdkafkaPlane,
    consumer: &'a BaseConsumer<Events>,
    partition: MutexGuard<'a, Partition>,
    range: OffsetRange,
    options: ReadOptions,
    progress_at: Instant,
    doubted_at: Instant,
    short: u32,
    corrupt: u32,
}

impl<'a> LibrdkafkaRange<'a> {
    pub fn new(
        plane: &'a LibrdkafkaPlane,
        consumer: &'a BaseConsumer<Events>,
        partition: MutexGuard<'a, Partition>,
        range: &OffsetRange,
        options: ReadOptions,
    ) -> LibrdkafkaRange<'a> {
        let now = Instant::now();
        LibrdkafkaRange {
            plane,
            consumer,
            partition,
            range: range.clone(),
            options,
            progress_at: now,
            doubted_at: now,
            short: 0,
            corrupt: 0,
        }
    }

    fn next(&self) -> i64 {
        self.partition.next.unwrap_or(self.range.start)
    }

    /// Whether nothing of the range can come any more, by what is known without waiting.
    fn is_done(&self) -> bool {
        let until = self.range.until;
        self.next() >= until
            || self.partition.end >= until
            || self.partition.carried.front().is_some_and(|message| message.offset() >= until)
    }

    /// Whether transaction markers have moved the position past the range.
    fn is_past_markers(&self) -> bool {
        let position = self.partition.queue.position();
        position.is_some_and(|position| position >= self.range.until && position != self.partition.distrusted)
    }

    /// Records that went to the handle's own queue have moved the position as if they had been read here.
    fn check_strays(&mut self) -> Result<(), SourceError> {
        let tp = &self.range.tp;
        if !self.consumer.context().strays().remove(&(tp.topic.to_string(), tp.partition)) {
            return Ok(());
        }
        self.partition.next = None;
        let (start, until) = (self.range.start, self.range.until);
        Err(SourceError::unreachable(format!(
            "librdkafka put records of {tp} into another queue; {start}..{until} must be fetched again"
        )))
    }

    /// Moves what is carried into the chunk; `false` once the chunk is full or the range at its end.
    fn take_carried(&mut self, chunk: &mut ChunkBuilder) -> bool {
        while let Some(message) = self.partition.carried.front() {
            if message.offset() >= self.range.until || chunk.len() >= self.chunk_records() || chunk.overflows(message) {
                return false;
            }
            if message.offset() >= self.next() {
                chunk.push(message);
                self.partition.next = Some(message.offset() + 1);
            }
            self.partition.carried.pop_front();
        }
        true
    }

    fn chunk_records(&self) -> usize {
        self.options.chunk_records.max(1)
    }

    /// Takes messages off the queue into the chunk, waiting for the first if told; how many came.
    fn take(&mut self, chunk: &mut ChunkBuilder, wait: Duration) -> Result<usize, SourceError> {
        let range = usize::try_from(self.range.until - self.next()).unwrap_or(usize::MAX);
        let want = range.min(self.chunk_records() - chunk.len().min(self.chunk_records())).max(1);
        let (until, start) = (self.range.until, self.next());
        let partition = &mut *self.partition;
        let (mut next, mut end, mut distrusted, mut failed) = (start, partition.end, partition.distrusted, None);
        let carried = &mut partition.carried;
        let taken = partition.queue.take(want, wait, |message| match message.event() {
            None if message.offset() < next => {}
            None if message.offset() >= until || !carried.is_empty() || chunk.overflows(&message) => {
                carried.push_back(message);
            }
            None => {
                chunk.push(&message);
                next = message.offset() + 1;
            }
            Some(Code::PartitionEOF) => {
                end = end.max(message.offset());
                distrusted = message.offset() + 1;
            }
            Some(code) => {
                distrusted = message.offset() + 1;
                failed = Some((code, text_of(&message)));
            }
        });
        (partition.end, partition.distrusted, partition.next) = (end, distrusted, Some(next));
        match failed {
            Some((code, reason)) => self.failed(code, &reason).map(|()| taken),
            None => Ok(taken),
        }
    }

    /// An error event of this partition: `Ok` where librdkafka, or a new fetch, may heal it.
    fn failed(&mut self, code: Code, reason: &str) -> Result<(), SourceError> {
        let (tp, next) = (self.range.tp.clone(), self.next());
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                self.partition.next = None; // librdkafka has given the partition up
                if let Some((_, end)) = cut_of(reason) {
                    return Err(self.cut(end));
                }
                self.check_bounds(PROOFS)?;
                Err(SourceError::unreachable(format!(
                    "brokers {} say that offset {next} of {tp} is out of range: {reason}",
                    self.brokers()
                )))
            }
            _ if kind_of(code) == SourceErrorKind::Corrupt => {
                self.corrupt += 1;
                if self.corrupt <= CORRUPT_RETRIES {
                    tracing::warn!(%tp, offset = next, reason, "damaged bytes from the broker; fetching again");
                    // The new fetch knows nothing of what was read: a log that is cut now would show nowhere else.
                    let epoch = self.plane.known_epoch(&self.range, next);
                    return self.plane.reposition(&tp, &mut self.partition, next, epoch);
                }
                self.partition.next = None;
                let message =
                    format!("brokers {} send damaged bytes for {tp} from offset {next} on: {reason}", self.brokers());
                Err(SourceError { kind: SourceErrorKind::Corrupt, message, hint: None })
            }
            _ if kind_of(code) == SourceErrorKind::Refused => {
                self.partition.next = None;
                let message = format!("brokers {} refuse to let {tp} be read: {reason}", self.brokers());
                Err(SourceError { kind: SourceErrorKind::Refused, message, hint: hint_for(code).map(str::to_owned) })
            }
            _ => {
                self.consumer.context().note(code, reason);
                Ok(())
            }
        }
    }

    /// The log was cut at `end`, before where it is read; negative where nothing of it is as old as what was read.
    fn cut(&mut self, end: i64) -> SourceError {
        (self.partition.next, self.partition.is_cut) = (None, true);
        let OffsetRange { tp, start, until, .. } = &self.range;
        let bounds = self.plane.control.bounds(tp, Instant::now() + DOUBT_AFTER);
        let earliest = bounds.map_or(0, |(earliest, _)| earliest);
        let end = end.max(earliest);
        SourceError {
            kind: SourceErrorKind::DataLoss { tp: tp.clone(), planned: (*start, *until), earliest, latest: end },
            message: format!(
                "brokers {}: the log of {tp} was cut at offset {end}, before {}, by an unclean leader election or a power \
                 cut; the plan needs {start}..{until}",
                self.brokers(),
                self.next()
            ),
            hint: Some("Set on_data_loss = \"skip\" to go on at the cut and record the loss.".into()),
        }
    }

    fn brokers(&self) -> &'a str {
        &self.plane.control.brokers
    }

    /// Nothing came: is there a reason to stop waiting?
    fn doubt(&mut self) -> Result<(), SourceError> {
        let limit = Duration::from_millis(self.options.stall_timeout_ms);
        let now = Instant::now();
        if now.duration_since(self.doubted_at) >= DOUBT_AFTER {
            drain(self.consumer);
            if let Some(end) = self.consumer.context().take_cut(self.next()) {
                return Err(self.cut(end));
            }
            self.short += 1;
            self.check_bounds(self.short)?;
            self.doubted_at = Instant::now();
            let silent = self.silent_for();
            if silent < limit && !self.plane.control.watched.waits_on(silent, || self.silence(silent).message) {
                let error = self.silence(silent);
                self.partition.next = None;
                return Err(error);
            }
        }
        if self.silent_for() < limit {
            return Ok(());
        }
        drain(self.consumer);
        let error = self.silence(limit);
        self.partition.next = None; // librdkafka may have given the partition up: the next range begins anew
        Err(error)
    }

    /// A broker that holds the client back by quota is not silent.
    fn silent_for(&self) -> Duration {
        let throttled_until = self.consumer.context().throttled_until();
        let since = throttled_until.map_or(self.progress_at, |until| until.max(self.progress_at));
        Instant::now().saturating_duration_since(since)
    }

    fn silence(&self, silent: Duration) -> SourceError {
        let (tp, next, until) = (&self.range.tp, self.next(), self.range.until);
        let what = format!(
            "brokers {} sent nothing of {tp} for {} ms; read up to offset {next} of {until}",
            self.brokers(),
            silent.as_millis()
        );
        let events = self.consumer.context();
        let is_throttled = events.throttled_until().is_some_and(|until| self.progress_at <= until);
        silence(what, is_throttled, events.explanation(), events.refusal())
    }

    /// Compares what is left of the range with the log as it is now. `proofs`: how often it has looked too short.
    fn check_bounds(&mut self, proofs: u32) -> Result<(), SourceError> {
        let next = self.partition.next.unwrap_or(self.range.start);
        let Ok((earliest, latest)) = self.plane.control.bounds(&self.range.tp, Instant::now() + DOUBT_AFTER) else {
            return Ok(()); // brokers away: the stall limit decides
        };
        if earliest <= next && self.range.until <= latest {
            self.short = 0;
            return Ok(());
        }
        if proofs < PROOFS {
            return Ok(());
        }
        self.partition.next = None;
        Err(data_loss(&self.range, earliest, latest))
    }
}

/// Nothing came within the limit; why, as far as it is known.
fn silence(
    what: String,
    is_throttled: bool,
    explanation: Option<(Code, String)>,
    refusal: Option<(Code, String)>,
) -> SourceError {
    let quota = if is_throttled { ", after a quota held it back" } else { "" };
    let reason = explanation.map(|(_, reason)| format!(": {reason}")).unwrap_or_default();
    let kind = if refusal.is_some() { SourceErrorKind::Refused } else { SourceErrorKind::Unreachable };
    let hint = refusal.and_then(|(code, reason)| hint_for_words(code, &reason)).or(is_throttled.then_some(QUOTA_HINT));
    SourceError { kind, message: format!("{what}{quota}{reason}"), hint: hint.map(str::to_owned) }
}

/// The planned range and what is left of it.
pub(super) fn data_loss(range: &OffsetRange, earliest: i64, latest: i64) -> SourceError {
    let OffsetRange { tp, start, until, .. } = range;
    let message = match earliest > *start {
        true => format!("topic partition {tp} starts at offset {earliest}; the plan needs {start}..{until}"),
        false => format!("topic partition {tp} ends at offset {latest}; the plan needs {start}..{until}"),
    };
    SourceError {
        kind: SourceErrorKind::DataLoss { tp: tp.clone(), planned: (*start, *until), earliest, latest },
        message,
        hint: Some("Set on_data_loss = \"skip\" to go on with what is left and record the loss.".into()),
    }
}

fn text_of(message: &RawMessage) -> String {
    message.value().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

impl RangeReader for LibrdkafkaRange<'_> {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let records = self.chunk_records();
        let left = usize::try_from(self.range.until.saturating_sub(self.next())).unwrap_or(0);
        let mut chunk = ChunkBuilder::with_capacity(records.min(left), self.partition.chunk_bytes);
        (self.progress_at, self.doubted_at) = (Instant::now(), Instant::now());
        while self.take_carried(&mut chunk) && chunk.len() < records && !self.is_done() {
            if self.take(&mut chunk, Duration::ZERO)? > 0 {
                continue;
            }
            // The queue is empty. A chunk of some size is better handed over than waited with.
            let is_done = self.is_past_markers();
            self.check_strays()?;
            if chunk.len() > records / 4 || is_done {
                break;
            }
            let before = self.next();
            if self.take(&mut chunk, WAIT)? == 0 || self.next() == before {
                self.doubt()?;
            } else {
                (self.progress_at, self.doubted_at) = (Instant::now(), Instant::now());
            }
        }
        if chunk.len() == 0 {
            self.check_strays()?;
            self.partition.next = Some(self.range.until);
            return Ok(None);
        }
        self.partition.chunk_bytes = chunk.bytes() + chunk.bytes() / 8;
        Ok(Some(chunk.finish(&self.range.tp, self.plane.options.formats)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_behind_a_quota_names_the_quota() {
        let check = |is_throttled, refusal: Option<(Code, String)>, kind, hint: Option<&str>| {
            let error = silence("nothing came".into(), is_throttled, None, refusal);
            assert_eq!((error.kind.clone(), error.hint.as_deref()), (kind, hint), "{error}");
            assert_eq!(error.message.contains("after a quota held it back"), is_throttled, "{error}");
        };
        check(true, None, SourceErrorKind::Unreachable, Some(QUOTA_HINT));
        check(false, None, SourceErrorKind::Unreachable, None);
        let refusal = (Code::TopicAuthorizationFailed, "no".to_owned());
        let grant = hint_for(Code::TopicAuthorizationFailed);
        check(true, Some(refusal), SourceErrorKind::Refused, grant);
        assert!(grant.is_some());
    }
}

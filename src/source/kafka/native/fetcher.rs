//! The I/O thread of one leader: keeps its lanes filled within their quotas, over one connection.
//!
//! It never touches a record. While every lane has room it long-polls; while some are full it asks for the others and
//! then sleeps until a reader makes room or waits. Lanes that this broker does not serve go back to the router.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{
    backoff::Backoff,
    batch::{self, Extent, Malformed},
    connection::{Connection, Dialer},
    epochs::{self, Compared},
    failure::{corrupt, is_refused, refused},
    fetch::{self, Answer},
    lane::{Content, Held, Lane},
    memory::{Hold, Memory},
    metadata::Leader,
};
use crate::source::{
    SourceError,
    kafka::quota::{QuotaNews, THROTTLE_MAX},
};

/// A lane, and where it is to be fetched.
pub struct Assignment {
    pub lane: Lane,
    pub leader: Leader,
}

/// Responses below this are worth waiting for company, unless somebody waits for them: who does rings.
const SMALL_RESPONSE_BYTES: usize = 64 << 10;
const SMALL_RESPONSE_PAUSE: Duration = Duration::from_millis(200);
/// How long a request waits at the broker for a lane whose reader waits, while other lanes are full.
const AWAITED_WAIT: Duration = Duration::from_millis(20);
/// What a request asks for where a reader waits while the bound is reached: many batches at once where they are small, as
/// those of transactions are.
const AWAITED_BYTES: usize = 64 << 10;
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Responses without the progress they owe, before the lane fails.
const STUCK_MAX: u32 = 3;
/// A set that is a smaller part of its response is copied, so that it does not keep the whole in memory.
const OWN_COPY_PART: usize = 8;

pub struct Fetcher {
    dialer: Arc<Dialer>,
    memory: Arc<Memory>,
    adopted: Receiver<Assignment>,
    bell: Receiver<()>,
    ringer: Sender<()>,
    orphans: Sender<Lane>,
    lanes: Vec<Lane>,
    leader: Option<Leader>,
    connection: Option<Connection>,
    backoff: Backoff,
    not_before: Instant,
    throttled_until: Instant,
    quota_news: QuotaNews,
}

impl Fetcher {
    pub fn new(dialer: Arc<Dialer>, memory: Arc<Memory>, adopted: Receiver<Assignment>, orphans: Sender<Lane>) -> Self {
        let (ringer, bell) = bounded(1);
        memory.listen(ringer.clone());
        let backoff = Backoff::new(dialer.settings.reconnect);
        Self {
            dialer,
            memory,
            adopted,
            bell,
            ringer,
            orphans,
            lanes: Vec::new(),
            leader: None,
            connection: None,
            backoff,
            not_before: Instant::now(),
            throttled_until: Instant::now(),
            quota_news: QuotaNews::default(),
        }
    }

    /// Until the plane stops or the router is gone.
    pub fn run(mut self) {
        let mut wait = None;
        loop {
            if self.take_news(wait).is_err() || self.dialer.stop.is_set() {
                return;
            }
            self.lanes.retain(|lane| !lane.is_closed());
            self.lanes.iter_mut().for_each(Lane::take_order);
            if self.lanes.is_empty() {
                self.connection = None;
                wait = None;
                continue;
            }
            wait = Some(self.step());
        }
    }

    /// Waits for new lanes or the bell, at most `wait` (without limit where it is `None`). An error: the router is gone.
    fn take_news(&mut self, wait: Option<Duration>) -> Result<(), ()> {
        let adopted = match wait {
            Some(Duration::ZERO) => None,
            Some(wait) => select! {
                recv(self.adopted) -> assignment => Some(assignment.map_err(drop)?),
                recv(self.bell) -> _ => None,
                default(wait) => None,
            },
            None => select! {
                recv(self.adopted) -> assignment => Some(assignment.map_err(drop)?),
                recv(self.bell) -> _ => None,
            },
        };
        adopted.into_iter().for_each(|assignment| self.adopt(assignment));
        loop {
            match self.adopted.try_recv() {
                Ok(assignment) => self.adopt(assignment),
                Err(crossbeam_channel::TryRecvError::Empty) => return Ok(()),
                Err(crossbeam_channel::TryRecvError::Disconnected) => return Err(()),
            }
        }
    }

    fn adopt(&mut self, Assignment { mut lane, leader }: Assignment) {
        if self.leader.as_ref().is_none_or(|known| known.endpoint != leader.endpoint) {
            self.connection = None;
        }
        lane.leader_epoch = leader.epoch;
        if !leader.topic_id.is_nil() {
            lane.topic_id = leader.topic_id;
        }
        lane.listen(&self.ringer);
        if Instant::now() < self.throttled_until {
            lane.shared.note_throttle(self.throttled_until);
        }
        self.leader = Some(leader);
        self.lanes.push(lane);
    }

    /// One round; how long the next may wait for the bell.
    fn step(&mut self) -> Duration {
        let now = Instant::now();
        if now < self.not_before {
            return self.not_before - now;
        }
        if self.lanes.iter().all(|lane| lane.is_parked) {
            return IDLE_WAIT;
        }
        let mut connection = match self.connect() {
            Ok(connection) => connection,
            Err(error) => {
                self.not_before = Instant::now() + self.backoff.fail();
                self.give_up(&error);
                return Duration::ZERO;
            }
        };
        match self.exchange(&mut connection) {
            Ok(wait) => {
                self.connection = Some(connection);
                self.backoff.reset();
                wait
            }
            Err(error) => {
                self.not_before = Instant::now() + self.backoff.fail();
                self.give_up(&error);
                Duration::ZERO
            }
        }
    }

    fn connect(&mut self) -> Result<Connection, SourceError> {
        match (self.connection.take(), &self.leader) {
            (Some(connection), _) if !connection.is_stale() => Ok(connection),
            (_, Some(leader)) => self.dialer.open(&leader.endpoint),
            (_, None) => Err(super::failure::unreachable("no broker is known")),
        }
    }

    /// The connection is lost: lanes fail where asking again will not help, else ask who leads them now.
    fn give_up(&mut self, error: &SourceError) {
        match self.backoff.failures() {
            _ if self.dialer.stop.is_set() => {}
            1 => tracing::info!(source = %self.dialer.settings.source, %error, "fetching pauses"),
            _ => tracing::debug!(source = %self.dialer.settings.source, %error, "fetching still pauses"),
        }
        for mut lane in std::mem::take(&mut self.lanes) {
            lane.shared.change_facts(|facts| facts.trouble = Some(error.message.clone()));
            if lane.is_parked {
                self.lanes.push(lane);
            } else if is_refused(error) {
                lane.park(Content::Failed(error.clone()));
                self.lanes.push(lane);
            } else {
                let _ = self.orphans.send(lane);
            }
        }
    }

    fn exchange(&mut self, connection: &mut Connection) -> Result<Duration, SourceError> {
        self.check_epochs(connection)?;
        let mut wanted: Vec<(usize, usize)> = Vec::with_capacity(self.lanes.len());
        let (mut full, mut awaited) = (false, false);
        for (idx, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_parked) {
            match lane.room() {
                0 => full = true,
                room => wanted.push((idx, room)),
            }
            awaited |= lane.shared.is_waiting();
        }
        if wanted.is_empty() {
            return Ok(IDLE_WAIT);
        }
        by_need(&self.lanes, &mut wanted);
        let least = if awaited { AWAITED_BYTES } else { 0 };
        let max_bytes = self.memory.room().max(least);
        let settings = &self.dialer.settings;
        let max_wait = match (full, awaited) {
            (false, _) => settings.fetch_wait_max,
            (true, true) => AWAITED_WAIT.min(settings.fetch_wait_max),
            (true, false) => Duration::ZERO,
        };
        let note_asked = |is_asked| {
            wanted.iter().filter_map(|(idx, _)| self.lanes.get(*idx)).for_each(|lane| lane.note_asked(is_asked));
        };
        note_asked(true);
        let response = fetch::fetch(connection, settings, &self.lanes, &wanted, max_wait, max_bytes);
        note_asked(false);
        let (answers, throttle) = response?;
        let response_len = connection.response_len();
        let response = self.memory.hold(response_len);
        let mut moved = Vec::new();
        let records: usize = answers.iter().map(|(_, answer)| answer.len()).sum();
        for (idx, answer) in answers {
            self.pass_over(idx, &answer, records);
            self.take_answer(idx, answer, connection, (response_len, &response), &mut moved)?;
        }
        moved.sort_unstable();
        for idx in moved.into_iter().rev() {
            let lane = self.lanes.remove(idx);
            let _ = self.orphans.send(lane);
        }
        self.throttle(connection, throttle.min(THROTTLE_MAX));
        Ok(match (records, full) {
            (0, true) => IDLE_WAIT,
            (0, false) => Duration::ZERO,
            (..SMALL_RESPONSE_BYTES, _) if !self.lanes.iter().any(|lane| lane.shared.is_waiting()) => {
                SMALL_RESPONSE_PAUSE
            }
            _ => Duration::ZERO,
        })
    }

    /// Keeps away from the broker for as long as it said. That is no silence: readers wait so much longer.
    fn throttle(&mut self, connection: &Connection, throttle: Duration) {
        self.not_before = Instant::now() + throttle;
        self.throttled_until = self.not_before;
        if self.quota_news.is_due(throttle) {
            let (source, broker) = (&self.dialer.settings.source, connection.endpoint());
            let throttle_ms = throttle.as_millis() as u64;
            tracing::info!(%source, %broker, throttle_ms, "a quota (consumer_byte_rate) slows the source down");
        }
        if !throttle.is_zero() {
            let trouble = format!("broker {} throttles for {} ms", connection.endpoint(), throttle.as_millis());
            for lane in &self.lanes {
                lane.shared.note_throttle(self.throttled_until);
                lane.shared.change_facts(|facts| facts.trouble = Some(trouble.clone()));
            }
        }
    }

    /// A lane that has records to get, and got none because the response was full of others': the broker is not silent,
    /// and next time this lane comes first.
    fn pass_over(&mut self, idx: usize, answer: &Answer, records: usize) {
        let Some(lane) = self.lanes.get_mut(idx) else { return };
        match answer {
            Answer::Records { bytes, latest, .. } if bytes.is_empty() && records > 0 && lane.position < *latest => {
                lane.passed_over = lane.passed_over.saturating_add(1);
                lane.shared.note_progress(Instant::now());
            }
            _ => lane.passed_over = 0,
        }
    }

    fn take_answer(
        &mut self,
        idx: usize,
        answer: Answer,
        connection: &mut Connection,
        (response_len, response): (usize, &Hold),
        moved: &mut Vec<usize>,
    ) -> Result<(), SourceError> {
        let Some(lane) = self.lanes.get_mut(idx).filter(|lane| lane.is_current()) else { return Ok(()) };
        match answer {
            Answer::Records { bytes, aborted, earliest, latest } => {
                let broker = fetch::broker_name(connection);
                let pause = self.dialer.settings.fetch_wait_max.max(IDLE_WAIT);
                lane.shared.change_facts(|facts| {
                    facts.broker = Some(broker.clone());
                    facts.trouble = None;
                    facts.heard_bounds(earliest, latest, pause);
                    facts.leader_epoch = Some(lane.leader_epoch);
                });
                lane.backoff.reset();
                if !bytes.is_empty() {
                    let extent = batch::extent(&bytes);
                    // The offset of the last batch is covered by no checksum: it must exist. The bounds in the response
                    // may be a moment older than its records, so they only raise the question.
                    let impossible = match extent.next_offset {
                        Some(next) if latest < next => {
                            fetch::list_offsets(connection, &self.dialer.settings, lane)?.1 < next
                        }
                        _ => false,
                    };
                    let received = Received { bytes, extent, impossible, aborted, broker, response_len, response };
                    take_records(lane, received, self.dialer.settings.response_limit_bytes);
                }
            }
            Answer::OutOfRange => {
                let (earliest, latest) = fetch::list_offsets(connection, &self.dialer.settings, lane)?;
                lane.stuck += 1;
                let exists = (earliest..=latest).contains(&lane.position);
                if !exists || lane.stuck > STUCK_MAX {
                    let message = format!(
                        "broker {}: {} holds offsets {earliest}..{latest}, asked for {}",
                        connection.endpoint(),
                        lane.tp(),
                        lane.position
                    );
                    lane.park(Content::Lost { earliest, latest, message });
                } else {
                    moved.push(idx);
                }
            }
            // What was read last is not in the log; where it has no such epoch at all, it may well be longer.
            Answer::Diverged { end_offset } => epochs::truncated(lane, connection, end_offset.min(lane.position)),
            Answer::Moved(trouble) => {
                lane.shared.change_facts(|facts| facts.trouble = Some(trouble));
                moved.push(idx);
            }
            Answer::Failed(error) => lane.park(Content::Failed(error)),
        }
        Ok(())
    }

    /// Has lanes compared with their leader before it is asked for records: an older broker does not compare epochs in
    /// Fetch, and none the plan's. An error: the connection is lost.
    fn check_epochs(&mut self, connection: &mut Connection) -> Result<(), SourceError> {
        let mut lanes = std::mem::take(&mut self.lanes).into_iter();
        while let Some(mut lane) = lanes.next() {
            match epochs::compare(&mut lane, connection, &self.dialer.settings) {
                Ok(Compared::Done) => self.lanes.push(lane),
                Ok(Compared::LeaderIsOlder) => drop(self.orphans.send(lane)),
                Err(error) if connection.is_broken() => {
                    self.lanes.push(lane);
                    self.lanes.extend(lanes);
                    return Err(error);
                }
                Err(error) if is_refused(&error) => {
                    lane.park(Content::Failed(error));
                    self.lanes.push(lane);
                }
                Err(error) => {
                    lane.shared.change_facts(|facts| facts.trouble = Some(error.message));
                    let _ = self.orphans.send(lane);
                }
            }
        }
        Ok(())
    }
}

/// Brokers fill a response in the order asked: first the lanes whose readers wait, those that got nothing of the last ones,
/// those with most room.
fn by_need(lanes: &[Lane], wanted: &mut [(usize, usize)]) {
    // Each lane is looked at once: readers begin and end to wait meanwhile.
    wanted.sort_by_cached_key(|&(idx, room)| match lanes.get(idx) {
        Some(lane) => (!lane.shared.is_waiting(), u32::MAX - lane.passed_over, usize::MAX - room),
        None => (true, u32::MAX, usize::MAX),
    });
}

/// A record set as it came.
struct Received<'r> {
    bytes: Bytes,
    extent: Extent,
    /// It claims offsets that do not exist.
    impossible: bool,
    aborted: Vec<(i64, i64)>,
    broker: Arc<str>,
    response_len: usize,
    /// Counts the memory of the response.
    response: &'r Hold,
}

/// Hands a set on and moves the lane behind its whole batches.
fn take_records(lane: &mut Lane, received: Received<'_>, limit: usize) {
    let Received { bytes, extent, impossible, aborted, broker, response_len, response } = received;
    let at = format!("broker {broker}: {} at offset {}", lane.tp(), lane.position);
    if impossible {
        return lane.park(Content::Failed(corrupt(format!("{at}: a record batch claims offsets that do not exist"))));
    }
    let next = extent.next_offset.filter(|&next| lane.position < next);
    if let Some(next) = next {
        let set = bytes.slice(..extent.complete_len);
        let is_crumb = set.len() * OWN_COPY_PART < response_len && response_len > SMALL_RESPONSE_BYTES;
        let set = match is_crumb {
            true => Bytes::copy_from_slice(&set).into(),
            false => Held { bytes: set, whole: Some(response.clone()) },
        };
        // Not covered by the checksum either; an epoch that cannot be is not handed back to the broker.
        let epoch = if extent.leader_epoch <= lane.leader_epoch { extent.leader_epoch } else { -1 };
        lane.deliver(next, epoch, set, aborted, broker);
        lane.wanted_bytes = 0;
        lane.stuck = 0;
    }
    match extent.damage {
        Some(damage @ Malformed::OldMagic(_)) => lane.park(Content::Failed(refused(
            format!("{at}: {damage}"),
            Some("Let Kafka rewrite the topic in its present format, or read a newer one."),
        ))),
        Some(damage) => lane.park(Content::Failed(corrupt(format!("{at}: {damage}")))),
        None if next.is_none() => {
            lane.stuck += 1;
            let wanted = extent.cut_off_len.unwrap_or(0);
            lane.wanted_bytes = wanted.min(limit);
            if lane.stuck > STUCK_MAX && wanted > limit {
                let hint = "Raise receive.message.max.bytes, if the broker's log is sound.";
                let message =
                    format!("{at}: a record batch claims {wanted} bytes, receive.message.max.bytes is {limit}");
                lane.park(Content::Failed(refused(message, Some(hint))));
            } else if lane.stuck > STUCK_MAX {
                lane.park(Content::Failed(corrupt(format!("{at}: no whole record batch comes"))));
            }
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{
        super::{lane::lane, settings::BackoffRange},
        *,
    };
    use crate::model::TopicPartition;

    #[test]
    fn lanes_are_put_in_order_while_their_readers_begin_and_end_to_wait() {
        let retry = BackoffRange { first: Duration::from_millis(1), most: Duration::from_millis(1) };
        let memory = Memory::new(1 << 20);
        let (lanes, feeds): (Vec<_>, Vec<_>) = (0..64)
            .map(|partition| lane(TopicPartition::new("t", partition), 0, 1 << 10, memory.clone(), retry))
            .unzip();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    feeds.iter().for_each(|feed| drop(feed.receive(Instant::now() + Duration::from_micros(1))));
                }
            });
            let order =
                || (0..20_000).for_each(|_| by_need(&lanes, &mut (0..64).map(|idx| (idx, 1)).collect::<Vec<_>>()));
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(order));
            is_over.store(true, Ordering::Release);
            assert!(ended.is_ok());
        });
    }
}

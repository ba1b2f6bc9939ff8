//! Waiting for brokers, those of sources and those of outputs alike.
//!
//! `unreachable_limit` means one thing everywhere: for so long, counted from the beginning of the first call that was not
//! answered, calls are tried again; then the run ends (exit 6). One WARN when the wait begins, an INFO as a reminder
//! from time to time, and one when it is over. Brokers that cannot be reached for want of open files are not away: that is
//! told as soon as it is seen, and ends the run (exit 1) where it lasts for some seconds. Where a batch was being read or written the wait is over with its commit, not before:
//! an answer to another question does not show that the batch goes through.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    drain::Drain,
    error::{Class, DriverError},
    failed::{sink_failed, source_failed},
};
use crate::{
    open_files,
    sink::{SinkError, SinkErrorKind, watch::Watch},
    source::{SourceError, SourceErrorKind},
};

/// Between two tries: doubled each time, up to the longest.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Between two reminders of one wait.
const REMINDER: Duration = Duration::from_secs(30);

/// Longest time a single question may take before it counts as not answered.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// A call that brings nothing for so long is told, though it may go well yet.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// A process may run out of open files for a moment; for so long it is no moment.
const LONGEST_SHORTAGE: Duration = Duration::from_secs(5);

/// At most so much of a call that failed counts as waited: it may have gone well for a while.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// The drain, and how long brokers have been away.
pub struct Patience {
    pub drain: Drain,
    away: Option<Away>,
    told: Told,
    /// Ticks may have been missed because of it.
    missed_ticks: bool,
}

/// What was warned of; shared with whoever waits inside a call.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Since>>);

#[derive(Debug, Default)]
struct Since {
    /// Since when the wait lasts that was warned of.
    away: Option<Instant>,
    /// Calls have failed in it. Until then it is that of a call, which may have gone on since.
    has_failed: bool,
    /// Since when there are too few open files, by every look since then.
    short: Option<Instant>,
    /// Whether a warning has said so in this wait.
    shortage_is_told: bool,
}

impl Told {
    fn since(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Warns of a wait that began at `began`, where that was not done yet. Gives when the wait began.
    fn warn(&self, peer: Peer<'_>, error: &str, began: Instant) -> Instant {
        let mut since = self.since();
        let is_news = since.short.is_some() && !since.shortage_is_told;
        if since.away.is_none() || is_news {
            since.shortage_is_told |= is_news;
            let error = open_files::explain(error.to_owned());
            let limit_s = peer.limit.as_secs_f64();
            tracing::warn!(peer = %peer, error, limit_s, "waiting for Kafka");
        }
        *since.away.get_or_insert(began)
    }

    /// Tells the end of a wait that was warned of; whether there was one.
    fn end(&self) -> bool {
        let away = std::mem::take(&mut *self.since()).away;
        if let Some(since) = away {
            tracing::info!(away_ms = since.elapsed().as_millis() as u64, "Kafka is reachable again");
        }
        away.is_some()
    }

    /// For how long there have been too few open files, by this look too.
    fn short_for(&self, error: &str) -> Option<Duration> {
        let mut since = self.since();
        since.short = open_files::is_short(error).then(|| since.short.unwrap_or_else(Instant::now));
        since.short.map(|short| short.elapsed())
    }
}

/// Looks up for a source or an output that waits inside a call.
struct CallWatch {
    kind: &'static str,
    name: String,
    limit: Duration,
    drain: Drain,
    told: Told,
}

impl Watch for CallWatch {
    fn waits_on(&self, silent: Duration, error: &str) -> bool {
        let peer = Peer { kind: self.kind, name: &self.name, limit: self.limit };
        let short = self.told.short_for(error);
        // Slow is not away.
        if silent < peer.share(TELL_AFTER) && short.is_none() {
            return !(self.drain.is_asked() && self.told.since().away.is_some());
        }
        let began = Instant::now().checked_sub(silent).unwrap_or_else(Instant::now);
        let since = self.told.warn(peer, error, began);
        let since = if self.told.since().has_failed { since } else { since.max(began) };
        let is_too_short = short.is_some_and(|short| LONGEST_SHORTAGE <= short);
        !is_too_short && !self.drain.is_asked() && since.elapsed() < self.limit
    }

    fn is_stopping(&self) -> bool {
        self.drain.is_asked()
    }

    fn is_settled(&self) {
        self.told.end();
    }
}

/// From the first failure on.
struct Away {
    since: Instant,
    told: Instant,
    back_off: Duration,
    /// A batch was being read or written.
    amid_batch: bool,
}

/// Whose brokers are asked, and how long they may be away.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    kind: &'static str,
    name: &'a str,
    limit: Duration,
}

impl<'a> Peer<'a> {
    pub fn source(name: &'a str, limit: Duration) -> Peer<'a> {
        Peer { kind: "source", name, limit }
    }

    pub fn output(name: &'a str, limit: Duration) -> Peer<'a> {
        Peer { kind: "output", name, limit }
    }

    /// Several tries fit into the limit, so that a return is noticed soon and the wait is told before it ends.
    fn share(&self, longest: Duration) -> Duration {
        longest.min(self.limit / 4).max(FIRST_BACK_OFF)
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Why a call failed, and whether it is worth another try.
#[derive(Debug)]
pub enum Refusal {
    Away(DriverError),
    Final(DriverError),
}

impl Refusal {
    pub fn of_source(error: &SourceError) -> Refusal {
        let failed = source_failed(error);
        if error.kind == SourceErrorKind::Unreachable { Refusal::Away(failed) } else { Refusal::Final(failed) }
    }

    pub fn of_output(name: &str, error: &SinkError) -> Refusal {
        let failed = sink_failed(name, error);
        if error.kind == SinkErrorKind::Unreachable { Refusal::Away(failed) } else { Refusal::Final(failed) }
    }
}

impl Patience {
    pub fn new(drain: Drain) -> Patience {
        Patience { drain, away: None, told: Told::default(), missed_ticks: false }
    }

    /// Who a source or an output asks while it waits inside a call.
    pub fn watch(&self, peer: Peer<'_>) -> Arc<dyn Watch> {
        let Peer { kind, name, limit } = peer;
        Arc::new(CallWatch { kind, name: name.to_owned(), limit, drain: self.drain.clone(), told: self.told.clone() })
    }

    /// Calls until it succeeds, fails for another reason, or the limit has passed; `None` when asked to drain meanwhile.
    /// The call is told until when it may take.
    pub fn ask<T>(
        &mut self,
        peer: Peer<'_>,
        mut call: impl FnMut(Instant) -> Result<T, Refusal>,
    ) -> Result<Option<T>, DriverError> {
        loop {
            let began = Instant::now();
            let error = match call(began + peer.share(LONGEST_CALL)) {
                Ok(answer) => {
                    if !self.away.as_ref().is_some_and(|away| away.amid_batch) {
                        self.is_over();
                    }
                    return Ok(Some(answer));
                }
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Away(error)) => error,
            };
            if !self.outlast(peer, began, error)? {
                return Ok(None);
            }
        }
    }

    /// As [`Patience::ask`] of an output before or between batches, where a drain ends the run with an error.
    pub fn ask_output<T>(
        &mut self,
        peer: Peer<'_>,
        mut call: impl FnMut() -> Result<T, SinkError>,
    ) -> Result<T, DriverError> {
        let answer = self.ask(peer, |_| call().map_err(|error| Refusal::of_output(peer.name, &error)))?;
        answer.ok_or_else(|| stopped(peer))
    }

    /// A batch that was tried since `began` failed: waits before the next try. Another answer does not end this wait.
    pub fn outlast_batch(&mut self, peer: Peer<'_>, began: Instant, error: DriverError) -> Result<(), DriverError> {
        let goes_on = self.outlast(peer, began, error)?;
        if let Some(away) = &mut self.away {
            away.amid_batch = true;
        }
        if goes_on { Ok(()) } else { Err(stopped_amid_batch(peer)) }
    }

    /// A call that began at `began` failed: tells it and waits before the next try; false when asked to drain meanwhile.
    fn outlast(&mut self, peer: Peer<'_>, began: Instant, error: DriverError) -> Result<bool, DriverError> {
        let now = Instant::now();
        let silent = now.duration_since(began).min(peer.share(LONGEST_SILENCE));
        let limit_s = peer.limit.as_secs_f64();
        let short = self.told.short_for(&error.on_one_line());
        if self.told.since().away.is_none() {
            // That wait was settled inside a call.
            self.away = None;
        }
        let began_away = self.told.warn(peer, &error.on_one_line(), now.checked_sub(silent).unwrap_or(now));
        self.told.since().has_failed = true;
        let away = match &mut self.away {
            Some(away) => away,
            none => {
                self.missed_ticks = true;
                none.insert(Away { since: began_away, told: now, back_off: FIRST_BACK_OFF, amid_batch: false })
            }
        };
        let waited = now.duration_since(away.since);
        if let Some(short) = short.filter(|short| LONGEST_SHORTAGE <= *short || peer.limit <= waited) {
            return Err(too_few_files(peer, &error, short));
        }
        let Some(left) = peer.limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
            let silence = format!(
                "Kafka has not answered {peer} for {:.1} s; `unreachable_limit` is {limit_s} s.",
                waited.as_secs_f64()
            );
            let shortage = self.told.since().shortage_is_told.then(open_files::for_a_while);
            return Err([silence].into_iter().chain(shortage).fold(error, DriverError::detail));
        };
        if now.duration_since(away.told) >= REMINDER {
            away.told = now;
            tracing::info!(peer = %peer, error = %error.on_one_line(), away_s = waited.as_secs(), limit_s, "still waiting for Kafka");
        } else {
            tracing::debug!(peer = %peer, error = %error.on_one_line(), "not answered");
        }
        let longest = if short.is_some() { LONGEST_SHORTAGE / 4 } else { LONGEST_BACK_OFF };
        let back_off = away.back_off.min(left).min(longest);
        away.back_off = (away.back_off * 2).min(LONGEST_BACK_OFF);
        Ok(!self.drain.wait(back_off))
    }

    /// A batch is committed, so all brokers it needed have answered.
    pub fn is_over(&mut self) {
        self.away = None;
        self.missed_ticks |= self.told.end();
    }

    /// Ticks may have been missed because an answer took so long.
    pub fn explain_missed_ticks(&mut self, took_long: bool) {
        self.missed_ticks |= took_long;
    }

    /// Whether ticks missed since the last call are explained by brokers that were away.
    pub fn explains_missed_ticks(&mut self) -> bool {
        std::mem::take(&mut self.missed_ticks)
    }
}

/// The end of a run that has too few open files to connect, whether or not the brokers are there.
fn too_few_files(peer: Peer<'_>, error: &DriverError, lasted: Duration) -> DriverError {
    let shortage = open_files::shortage().unwrap_or_else(|| "There were too few a moment ago".to_owned());
    DriverError::new(Class::Failed, format!("too many open files to reach the brokers of {peer}"))
        .detail(format!("{}.", error.on_one_line().trim_end_matches('.')))
        .detail(format!("{}, for {:.1} s now.", shortage.trim_end_matches('.'), lasted.as_secs_f64()))
}

/// The end of a run that was asked to stop while it waited before or between batches.
pub fn stopped(peer: Peer<'_>) -> DriverError {
    DriverError::new(Class::Kafka, "asked to stop while Kafka was away").detail(format!("No answer for {peer} yet."))
}

/// The end of a run that was asked to stop while its batch waited.
pub fn stopped_amid_batch(peer: Peer<'_>) -> DriverError {
    stopped(peer).detail("The batch in flight is planned and not committed; the next start finishes it.")
}

#[cfg(test)]
mod tests;

//! Waiting for brokers, those of sources and those of outputs alike.
//!
//! `unreachable_limit` means one thing everywhere: for so long, counted from the beginning of the first call that was not
//! answered, calls are tried again; then the run ends (exit 6). One WARN when the wait begins, an INFO as a reminder
//! from time to time, and one when it is over. Where a batch was being read or written the wait is over with its commit, not before:
//! an answer to another question does not show that the batch goes through.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    drain::Drain,
    engine::sink_failed,
    error::{Class, DriverError},
    inputs,
};
use crate::{
    open_files,
    sink::{SinkError, SinkErrorKind},
    source::{SourceError, SourceErrorKind},
};

/// Between two tries: doubled each time, up to the longest.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Between two reminders of one wait.
const REMINDER: Duration = Duration::from_secs(30);

/// Longest time a single question may take before it counts as not answered.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// At most so much of a call that failed counts as waited: it may have gone well for a while.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// The drain, and how long brokers have been away.
pub struct Patience {
    pub drain: Drain,
    away: Option<Away>,
    /// Ticks may have been missed because of it.
    missed_ticks: bool,
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
        let failed = inputs::failed(error);
        if error.kind == SourceErrorKind::Unreachable { Refusal::Away(failed) } else { Refusal::Final(failed) }
    }

    pub fn of_output(name: &str, error: &SinkError) -> Refusal {
        let failed = sink_failed(name, error);
        if error.kind == SinkErrorKind::Unreachable { Refusal::Away(failed) } else { Refusal::Final(failed) }
    }
}

impl Patience {
    pub fn new(drain: Drain) -> Patience {
        Patience { drain, away: None, missed_ticks: false }
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
                    if self.away.as_ref().is_some_and(|away| !away.amid_batch) {
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
        let away = match &mut self.away {
            Some(away) => away,
            none => {
                let error = open_files::explain(error.on_one_line());
                tracing::warn!(peer = %peer, error, limit_s, "waiting for Kafka");
                self.missed_ticks = true;
                let since = now.checked_sub(silent).unwrap_or(now);
                none.insert(Away { since, told: now, back_off: FIRST_BACK_OFF, amid_batch: false })
            }
        };
        let waited = now.duration_since(away.since);
        let Some(left) = peer.limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
            let error =
                open_files::shortage().into_iter().fold(error, |error, shortage| error.detail(format!("{shortage}.")));
            return Err(error.detail(format!(
                "Kafka has not answered {peer} for {:.1} s; `unreachable_limit` is {limit_s} s.",
                waited.as_secs_f64()
            )));
        };
        if now.duration_since(away.told) >= REMINDER {
            away.told = now;
            tracing::info!(peer = %peer, error = %error.on_one_line(), away_s = waited.as_secs(), limit_s, "still waiting for Kafka");
        } else {
            tracing::debug!(peer = %peer, error = %error.on_one_line(), "not answered");
        }
        let back_off = away.back_off.min(left);
        away.back_off = (away.back_off * 2).min(LONGEST_BACK_OFF);
        Ok(!self.drain.wait(back_off))
    }

    /// A batch is committed, so all brokers it needed have answered.
    pub fn is_over(&mut self) {
        if let Some(away) = self.away.take() {
            tracing::info!(away_ms = away.since.elapsed().as_millis() as u64, "Kafka is reachable again");
        }
    }

    /// Whether ticks missed since the last call are explained by brokers that were away.
    pub fn explains_missed_ticks(&mut self) -> bool {
        std::mem::take(&mut self.missed_ticks)
    }
}

fn stopped(peer: Peer<'_>) -> DriverError {
    DriverError::new(Class::Kafka, "asked to stop while Kafka was away").detail(format!("No answer for {peer} yet."))
}

/// The end of a run that was asked to stop while its batch waited.
pub fn stopped_amid_batch(peer: Peer<'_>) -> DriverError {
    stopped(peer).detail("The batch in flight is planned and not committed; the next start finishes it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> (Patience, crossbeam_channel::Sender<()>) {
        let (ask, requests) = crossbeam_channel::bounded(1);
        (Patience::new(Drain::new(requests)), ask)
    }

    fn away() -> Refusal {
        Refusal::of_source(&SourceError {
            kind: SourceErrorKind::Unreachable,
            message: "no answer".to_owned(),
            hint: None,
        })
    }

    fn error() -> DriverError {
        DriverError::new(Class::Kafka, "no answer")
    }

    #[test]
    fn a_call_is_tried_until_it_is_answered_or_the_limit_has_passed() {
        let (mut patience, _keep) = patience();
        let peer = Peer::source("s", Duration::from_millis(500));
        let mut tries = 0;
        let answer = patience.ask(peer, |_| {
            tries += 1;
            if tries < 3 { Err(away()) } else { Ok(tries) }
        });
        assert_eq!(answer.unwrap(), Some(3));
        assert!(patience.away.is_none());
        let began = Instant::now();
        let gave_up = patience.ask(peer, |_| Err::<(), _>(away())).unwrap_err();
        assert_eq!(gave_up.class, Class::Kafka);
        assert!(gave_up.detail[0].contains("`unreachable_limit` is 0.5 s"), "{:?}", gave_up.detail);
        assert!((500..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[test]
    fn a_final_refusal_and_a_request_to_drain_end_the_wait_at_once() {
        let (mut patience, ask) = patience();
        let peer = Peer::output("out", Duration::from_secs(60));
        let denied = SinkError::new(SinkErrorKind::Denied, "denied");
        assert_eq!(patience.ask_output(peer, || Err::<(), _>(denied.clone())).unwrap_err().class, Class::Kafka);
        assert!(patience.away.is_none(), "nothing was waited for");
        ask.send(()).unwrap();
        let gone = SinkError::new(SinkErrorKind::Unreachable, "gone");
        let stopped = patience.ask_output(peer, || Err::<(), _>(gone.clone())).unwrap_err();
        assert!(stopped.message.contains("asked to stop"), "{stopped}");
    }

    #[test]
    fn a_wait_amid_a_batch_ends_with_its_commit_and_another_with_an_answer() {
        let (mut patience, _keep) = patience();
        let peer = Peer::source("s", Duration::from_secs(60));
        patience.outlast_batch(peer, Instant::now(), error()).unwrap();
        let since = patience.away.as_ref().map(|away| away.since);
        assert_eq!(patience.ask(peer, |_| Ok(1)).unwrap(), Some(1));
        assert_eq!(patience.away.as_ref().map(|away| away.since), since, "the batch may fail again");
        patience.is_over();
        assert!(patience.away.is_none());
    }

    #[test]
    fn a_call_without_answer_counts_as_waited_but_not_one_that_went_well_for_long() {
        let check = |took_ms: u64, limit_ms: u64, waited_ms: u64| {
            let (mut patience, _keep) = patience();
            let peer = Peer::output("out", Duration::from_millis(limit_ms));
            let now = Instant::now();
            let Some(began) = now.checked_sub(Duration::from_millis(took_ms)) else { return };
            patience.outlast(peer, began, error()).unwrap();
            let since = patience.away.as_ref().map(|away| away.since).unwrap();
            let waited = now.saturating_duration_since(since).as_millis() as u64;
            assert!(waited <= waited_ms && waited_ms <= waited + 50, "{took_ms} of {limit_ms}: {waited}");
        };
        check(0, 10_000, 0);
        check(1_000, 10_000, 1_000);
        check(9_000, 10_000, 2_500);
        check(90_000, 600_000, 30_000);
    }

    #[test]
    fn missed_ticks_are_explained_once() {
        let (mut patience, _keep) = patience();
        assert!(!patience.explains_missed_ticks());
        patience.outlast(Peer::source("s", Duration::from_secs(60)), Instant::now(), error()).unwrap();
        patience.is_over();
        assert!(patience.explains_missed_ticks());
        assert!(!patience.explains_missed_ticks());
    }
}

//! What a client handle says in the background: errors are remembered for the next message to the user and warned of
//! once, not once a poll; logs go to DEBUG; OAuth tokens are fetched when librdkafka asks.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, client::OAuthToken, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use serde::Deserialize;

use super::{
    certificate,
    error::{code_of, kind_of},
    oauth::TokenSource,
    quota::{QuotaNews, THROTTLE_MAX},
};
use crate::source::SourceErrorKind;

/// How an error reads that was polled; the callback before it said more.
const NO_MORE_THAN_A_CODE: &str = "Message consumption error";

/// The context of every client handle kstream makes.
#[derive(Debug, Default)]
pub struct Events {
    /// Who is speaking, for the log: the source and what the handle is for.
    name: String,
    token: Option<TokenSource>,
    trouble: Mutex<Trouble>,
    /// Logs that were found to be cut: the position that was compared, and where the log ends instead.
    cuts: Mutex<Vec<(i64, i64)>>,
    /// Partitions whose records came by the handle's own queue.
    strays: Mutex<HashSet<(String, i32)>>,
    throttled: Mutex<Throttled>,
    /// The handle is being closed: nobody waits for what it says.
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Throttled {
    until: Option<Instant>,
    news: QuotaNews,
}

/// The part of librdkafka's statistics that tells of quotas: for each broker, by how many milliseconds it held back the
/// answers of the last interval.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    throttle: Option<ThrottleStatistics>,
}

#[derive(Deserialize)]
struct ThrottleStatistics {
    max: i64,
}

#[derive(Debug, Default)]
struct Trouble {
    /// The last error that asking again will not heal; credentials, mostly.
    refused: Option<(Code, String)>,
    last: Option<(Code, String)>,
    /// Codes already warned of since the last success.
    warned: HashSet<i32>,
}

impl Events {
    pub fn new(name: String, token: Option<TokenSource>) -> Events {
        Events { name, token, ..Events::default() }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call went through: what was wrong before is over.
    pub fn recovered(&self) {
        let mut trouble = self.trouble();
        if !trouble.warned.is_empty() {
            tracing::info!(client = self.name, "Kafka answers again");
        }
        *trouble = Trouble::default();
    }

    /// The error that explains why a call ran into its deadline: a refusal before anything else.
    pub fn explanation(&self) -> Option<(Code, String)> {
        let trouble = self.trouble();
        trouble.refused.clone().or_else(|| trouble.last.clone())
    }

    /// The refusal among the errors since the last success.
    pub fn refusal(&self) -> Option<(Code, String)> {
        self.trouble().refused.clone()
    }

    /// The handle is about to be closed; what it says from now on is not worth a warning.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// A broker has held the client back by quota, and will for up to `longest` from now on.
    fn throttled(&self, longest: Duration) {
        let until = Instant::now() + longest.min(THROTTLE_MAX);
        let mut throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        throttled.until = throttled.until.max(Some(until));
        if throttled.news.is_due(longest) {
            let throttle_ms = longest.as_millis() as u64;
            tracing::info!(client = self.name, throttle_ms, "a quota (consumer_byte_rate) slows the source down");
        }
    }

    /// Until when the client was held back by quota, as far as has been heard. That time is no silence.
    pub fn throttled_until(&self) -> Option<Instant> {
        self.throttled.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    /// Where the log ends of a partition that librdkafka has given up at `position`, because it was cut before that. Which
    /// partition it is librdkafka does not say: the caller is one that waits at this position and gets nothing.
    pub fn take_cut(&self, position: i64) -> Option<i64> {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cuts.iter().position(|(compared, _)| *compared == position)?;
        Some(cuts.swap_remove(found).1)
    }

    /// Held while the handle's own queue is served: whoever sees a position that a stray record moved, and looks here
    /// then, finds the record.
    pub fn strays(&self) -> MutexGuard<'_, HashSet<(String, i32)>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, code: Code, reason: &str) {
        if self.closing.load(Ordering::Relaxed) {
            return;
        }
        if let Some(cut) = cut_of(reason) {
            let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
            cuts.retain(|known| *known != cut);
            cuts.push(cut);
        }
        // It says so as a broken connection, as if it were to heal.
        let is_certificate = reason.contains("certificate verify failed") || certificate::is_refused(reason);
        let code = if is_certificate { Code::SSL } else { code };
        // A port that is no Kafka's is as good as nobody there: whoever waits for it says so.
        let code = if is_no_kafka(code, reason) { Code::BrokerTransportFailure } else { code };
        let mut trouble = self.trouble();
        // Whoever was fenced learns it from the call that fails.
        // So does whoever uses a group, which is a mirror or a place to look up.
        let is_told = matches!(code, Code::Fenced | Code::GroupAuthorizationFailed);
        // What is polled after the callback repeats it, with less.
        let repeats = reason.starts_with(NO_MORE_THAN_A_CODE) && trouble.last.is_some();
        if !is_told && !repeats && trouble.warned.insert(code as i32) {
            match kind_of(code) {
                // The call that runs into it says so, once for all of these.
                SourceErrorKind::Unreachable => {
                    tracing::info!(client = self.name, code = %code, reason, "Kafka is away")
                }
                _ => tracing::warn!(client = self.name, code = %code, reason, "Kafka client error"),
            }
        }
        // To a source a group is only ever a mirror, so a group's ACL stops nothing.
        if kind_of(code) == SourceErrorKind::Refused && code != Code::GroupAuthorizationFailed {
            remember(&mut trouble.refused, code, reason);
        }
        remember(&mut trouble.last, code, reason);
    }
}

/// The longest time that any broker has held an answer back; `None` where none has.
fn longest_throttle(statistics: &[u8]) -> Option<Duration> {
    let statistics: Statistics = serde_json::from_slice(statistics).ok()?;
    let held_back = statistics.brokers.into_values().filter_map(|broker| broker.throttle);
    let longest = held_back.filter_map(|throttle| u64::try_from(throttle.max).ok()).max();
    longest.filter(|&ms| ms > 0).map(Duration::from_millis)
}

/// What answers is not a Kafka: the first bytes, taken for a length, are none.
fn is_no_kafka(code: Code, reason: &str) -> bool {
    code == Code::BadMessage && reason.contains("Invalid response size") && reason.contains("APIVERSION_QUERY")
}

/// What librdkafka found of a log that was cut, in words alone: the position compared, and where the log ends.
pub fn cut_of(reason: &str) -> Option<(i64, i64)> {
    let number = |before: &str| -> Option<i64> {
        let (_, rest) = reason.split_once(before)?;
        rest.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok()
    };
    let end = number("broker end offset is ")?;
    Some((number("detected at offset ").or_else(|| number("equal to offset "))?, end))
}

/// The last error explains most, unless it only repeats that something is wrong.
fn remember(last: &mut Option<(Code, String)>, code: Code, reason: &str) {
    let says_little = code == Code::AllBrokersDown || reason.starts_with(NO_MORE_THAN_A_CODE);
    if last.is_none() || !says_little {
        *last = Some((code, reason.to_owned()));
    }
}

impl ClientContext for Events {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(client = self.name, ?level, facility, message, "librdkafka");
        // Of a broker that hangs up on the first request librdkafka tells its log alone.
        let hangs_up = message.contains("APIVERSION_QUERY") || message.contains("security.protocol");
        if hangs_up && !self.closing.load(Ordering::Relaxed) {
            let message = message.split_once("]: ").map_or(message, |(_thread, message)| message);
            remember(&mut self.trouble().last, Code::BrokerTransportFailure, message);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(longest) = longest_throttle(statistics) {
            self.throttled(longest);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(code_of(&error), reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let source = self.token.as_ref().ok_or("no token source is configured")?;
        Ok(source.token(config)?)
    }
}

impl ConsumerContext for Events {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_explains_a_deadline_better_than_the_transport_error_after_it() {
        let events = Events::default();
        events.note(Code::Authentication, "wrong password");
        events.note(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(events.explanation(), Some((Code::Authentication, "wrong password".into())));
        events.recovered();
        assert_eq!(events.explanation(), None);
    }

    #[test]
    fn a_cut_log_is_read_from_librdkafkas_words_and_given_to_whoever_waits_there() {
        let events = Events::default();
        events.note(
            Code::AutoOffsetReset,
            "Partition log truncation detected at offset 400 (leader epoch 3): broker end offset is 180 (offset leader \
             epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 1)",
        );
        events.note(
            Code::AutoOffsetReset,
            "No epoch found less or equal to offset 4 (leader epoch 0): broker end offset is -1 (offset leader epoch -1).",
        );
        events.note(Code::AutoOffsetReset, "fetch failed due to requested offset not available on the broker");
        assert_eq!((events.take_cut(399), events.take_cut(400), events.take_cut(400)), (None, Some(180), None));
        assert_eq!(events.take_cut(4), Some(-1));
    }

    #[test]
    fn what_says_most_is_remembered() {
        let events = Events::default();
        events.note(Code::AllBrokersDown, "1/1 brokers are down");
        let hangs_up = "b:1/bootstrap: Disconnected: receive 0 after POLLIN (after 2ms in state APIVERSION_QUERY)";
        events.log(RDKafkaLogLevel::Info, "FAIL", &format!("[thrd:b:1/bootstrap]: {hangs_up}"));
        events.note(Code::AllBrokersDown, "1/1 brokers are down");
        events.note(Code::BrokerTransportFailure, "Message consumption error: BrokerTransportFailure");
        assert_eq!(events.explanation(), Some((Code::BrokerTransportFailure, hangs_up.to_owned())));
        assert_eq!(events.refusal(), None);
        let reason = "error:0A000086:SSL routines::certificate verify failed (after 11ms in state SSL_HANDSHAKE)";
        events.note(Code::BrokerTransportFailure, reason);
        events.note(Code::SSL, "Message consumption error: SSL (Local: SSL error)");
        assert_eq!(events.refusal(), Some((Code::SSL, reason.to_owned())));
    }

    #[test]
    fn quotas_are_read_from_statistics() {
        let check = |statistics: &str, expected: Option<u64>| {
            assert_eq!(longest_throttle(statistics.as_bytes()), expected.map(Duration::from_millis), "{statistics}");
        };
        let broker = |max| format!(r#"{{"name":"b","state":"UP","throttle":{{"min":0,"max":{max},"avg":1,"cnt":3}}}}"#);
        check(&format!(r#"{{"type":"consumer","brokers":{{"a":{},"b":{}}}}}"#, broker(0), broker(1_500)), Some(1_500));
        check(&format!(r#"{{"brokers":{{"a":{}}},"topics":{{}}}}"#, broker(0)), None);
        check(r#"{"brokers":{"a":{"name":"a"}}}"#, None);
        check(&format!(r#"{{"brokers":{{"a":{}}}}}"#, broker(-1)), None);
        check("{}", None);
        check("no JSON", None);

        let events = Events::default();
        assert_eq!(events.throttled_until(), None);
        events.stats_raw(format!(r#"{{"brokers":{{"a":{}}}}}"#, broker(60_000)).as_bytes());
        let until = events.throttled_until().unwrap();
        events.stats_raw(format!(r#"{{"brokers":{{"a":{}}}}}"#, broker(500)).as_bytes());
        assert_eq!(events.throttled_until(), Some(until), "what was announced stays");
        assert!(until > Instant::now() + Duration::from_secs(30));
    }

    #[test]
    fn the_acl_of_a_group_is_no_refusal() {
        let events = Events::default();
        events.note(Code::GroupAuthorizationFailed, "no READ on the group");
        assert_eq!(events.refusal(), None);
    }
}

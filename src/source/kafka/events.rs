//! What a client handle says in the background: errors are remembered for the next message to the user and warned of
//! once, not once a poll; logs go to DEBUG; OAuth tokens are fetched when librdkafka asks.

use std::{
    collections::HashSet,
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, client::OAuthToken, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    error::{code_of, kind_of},
    oauth::TokenSource,
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
    /// The handle is being closed: nobody waits for what it says.
    closing: AtomicBool,
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

    pub fn note(&self, code: Code, reason: &str) {
        if self.closing.load(Ordering::Relaxed) {
            return;
        }
        // It says so as a broken connection, as if it were to heal.
        let code = if reason.contains("certificate verify failed") { Code::SSL } else { code };
        let mut trouble = self.trouble();
        // Whoever was fenced learns it from the call that fails.
        if code != Code::Fenced && trouble.warned.insert(code as i32) {
            match kind_of(code) {
                // The call that runs into it says so, once for all of these.
                SourceErrorKind::Unreachable => {
                    tracing::info!(client = self.name, code = %code, reason, "Kafka is away")
                }
                _ => tracing::warn!(client = self.name, code = %code, reason, "Kafka client error"),
            }
        }
        // A group is only ever a mirror, so a group's ACL stops nothing.
        if kind_of(code) == SourceErrorKind::Refused && code != Code::GroupAuthorizationFailed {
            remember(&mut trouble.refused, code, reason);
        }
        remember(&mut trouble.last, code, reason);
    }
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
        // Of a broker that hangs up on the first request librdkafka writes the likely cause into its log alone.
        if message.contains("security.protocol") && !self.closing.load(Ordering::Relaxed) {
            remember(&mut self.trouble().last, Code::BrokerTransportFailure, message);
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

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
    fn what_says_most_is_remembered() {
        let events = Events::default();
        events.note(Code::AllBrokersDown, "1/1 brokers are down");
        events.log(RDKafkaLogLevel::Info, "FAIL", "might be caused by incorrect security.protocol configuration");
        events.note(Code::AllBrokersDown, "1/1 brokers are down");
        events.note(Code::BrokerTransportFailure, "Message consumption error: BrokerTransportFailure");
        assert!(events.explanation().unwrap().1.contains("incorrect security.protocol"));
        assert_eq!(events.refusal(), None);
        let reason = "error:0A000086:SSL routines::certificate verify failed (after 11ms in state SSL_HANDSHAKE)";
        events.note(Code::BrokerTransportFailure, reason);
        events.note(Code::SSL, "Message consumption error: SSL (Local: SSL error)");
        assert_eq!(events.refusal(), Some((Code::SSL, reason.to_owned())));
    }

    #[test]
    fn the_acl_of_a_group_is_no_refusal() {
        let events = Events::default();
        events.note(Code::GroupAuthorizationFailed, "no READ on the group");
        assert_eq!(events.refusal(), None);
    }
}

//! What a producer's errors mean: another try, a wrong record, a right that lacks, or that another process has taken over.

use std::collections::BTreeSet;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use crate::{
    sink::{SinkError, SinkErrorKind},
    source::{
        SourceErrorKind,
        kafka::error::{code_of, hint_for_words, kind_of},
    },
};

/// A right to topics, which a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    right: &'static str,
    topics: BTreeSet<String>,
    /// What the topics are to the job.
    being: &'static str,
}

impl Lack {
    pub fn to_write(topics: BTreeSet<String>) -> Lack {
        Lack { right: "WRITE and DESCRIBE", topics, being: "" }
    }

    /// To record offsets for a topic.
    pub fn to_record(topic: &str) -> Lack {
        let being = ", which the batch's identity is recorded for: `commit_topic`, or else the output's own";
        Lack { right: "READ", topics: BTreeSet::from([topic.to_owned()]), being }
    }

    /// The topics by name.
    pub fn topics(&self) -> String {
        let names: Vec<String> = self.topics.iter().map(|topic| format!("'{topic}'")).collect();
        format!("{} {}", if names.len() == 1 { "topic" } else { "topics" }, names.join(", "))
    }

    fn hint(&self) -> String {
        format!("Grant this user {} on {}{}.", self.right, self.topics(), self.being)
    }
}

/// An error, and what is known of the call it comes from.
pub struct Told<'a> {
    pub doing: &'a str,
    pub code: Code,
    pub reason: &'a str,
    pub lack: Option<&'a Lack>,
    pub brokers: &'a str,
    /// Transactional id, which is the group too.
    pub id: &'a str,
}

/// The error as the job's.
pub fn told(told: Told<'_>) -> SinkError {
    let Told { doing, code, reason, lack, brokers, id } = told;
    let kind = meaning(code);
    let message = match kind {
        SinkErrorKind::Fenced => format!(
            "another process writes to brokers {brokers} for this job, or for another of its name: it has taken \
             transactional id '{id}'"
        ),
        _ => format!("cannot {doing} on brokers {brokers}"),
    };
    let hint = match (kind, code) {
        (SinkErrorKind::Fenced, _) => {
            Some("Let one process run this job, with one checkpoint; another job needs another `name`.")
        }
        (SinkErrorKind::Unreachable, _) => Some("Check that the brokers run and can be reached from here."),
        (_, Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Some(
            "Raise max.message.bytes of the topic and message.max.bytes in the output's `properties`, or send less.",
        ),
        (_, Code::InvalidRecord) => {
            Some("A topic that is compacted takes only records with a key: give the output a `key`, or another topic.")
        }
        (_, Code::InvalidTransactionTimeout) => Some(
            "Lower \"transaction.timeout.ms\" in the output's `properties`, or leave it out: the brokers allow at \
             most their transaction.max.timeout.ms, 15 min by default.",
        ),
        (_, Code::InvalidRequiredAcks) => Some("Leave `acks` out of the output's `properties`."),
        (_, Code::UnsupportedCompressionType) => {
            Some("Give the output another \"compression.type\", or the topic a newer message format.")
        }
        (_, Code::InvalidConfig | Code::UnsupportedVersion | Code::UnsupportedFeature) => {
            Some("Correct the output's `properties`; exactly_once needs brokers of Kafka 0.11 or later.")
        }
        (_, Code::PolicyViolation) => Some("Ask who runs the brokers for their policy."),
        _ => None,
    };
    let denied = lack.filter(|_| code == Code::TopicAuthorizationFailed).map(Lack::hint);
    SinkError {
        kind,
        message,
        detail: Some(format!("{}.", reason.trim_end_matches('.'))),
        hint: hint
            .map(str::to_owned)
            .or(denied)
            .or_else(|| to_grant(code, id))
            .or_else(|| hint_for_words(code, reason).map(str::to_owned)),
    }
}

/// What an output's user must be granted, where brokers deny it.
pub fn to_grant(code: Code, id: &str) -> Option<String> {
    Some(match code {
        Code::TransactionalIdAuthorizationFailed => {
            format!("Grant this user WRITE and DESCRIBE on transactional id '{id}'.")
        }
        Code::GroupAuthorizationFailed => {
            format!("Grant this user READ on group '{id}', which records the batches delivered.")
        }
        Code::TopicAuthorizationFailed => {
            "Grant this user WRITE and DESCRIBE on the output's topics, and READ on the one that the batch's identity is \
             recorded for: `commit_topic`, or else the topic itself."
                .to_owned()
        }
        Code::ClusterAuthorizationFailed => {
            "Grant this user IDEMPOTENT_WRITE on the cluster, or WRITE on the output's topic.".to_owned()
        }
        _ => return None,
    })
}

/// The code of a producer's error.
pub fn code(error: &KafkaError) -> Code {
    match error {
        KafkaError::Transaction(native) => native.code(),
        other => code_of(other),
    }
}

/// What an error code of the producer asks of the job.
fn meaning(code: Code) -> SinkErrorKind {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            SinkErrorKind::Fenced
        }
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::UnknownPartition
        | Code::PolicyViolation
        | Code::InvalidTimestamp => SinkErrorKind::Failed,
        // The next try looks first whether the topic is there.
        Code::UnknownTopic | Code::UnknownTopicOrPartition => SinkErrorKind::Transient,
        // Asked again they would say the same.
        Code::InvalidTransactionTimeout
        | Code::InvalidConfig
        | Code::InvalidRequiredAcks
        | Code::InvalidGroupId
        | Code::InvalidRequest
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat => SinkErrorKind::Denied,
        other => match kind_of(other) {
            SourceErrorKind::Refused => SinkErrorKind::Denied,
            SourceErrorKind::Corrupt => SinkErrorKind::Failed,
            _ => SinkErrorKind::Unreachable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_lacks_is_told_with_the_topics_it_is_lacked_on() {
        let of = |names: &[&str]| Lack::to_write(names.iter().map(|&name| name.to_owned()).collect());
        let check = |lack: Option<&Lack>, code, hint: &str| {
            let error = told(Told { doing: "write", code, reason: "no", lack, brokers: "b:1", id: "kstream-j-c" });
            assert!(error.hint.as_deref().is_some_and(|told| told.starts_with(hint)), "{error:?}");
            assert_eq!((error.kind, error.detail.as_deref()), (SinkErrorKind::Denied, Some("no.")));
        };
        let denied = Code::TopicAuthorizationFailed;
        check(Some(&of(&["out"])), denied, "Grant this user WRITE and DESCRIBE on topic 'out'.");
        check(Some(&of(&["a", "b"])), denied, "Grant this user WRITE and DESCRIBE on topics 'a', 'b'.");
        check(Some(&Lack::to_record("home")), denied, "Grant this user READ on topic 'home', which");
        check(None, denied, "Grant this user WRITE and DESCRIBE on the output's topics, and READ on the one");
        check(Some(&of(&["out"])), Code::GroupAuthorizationFailed, "Grant this user READ on group 'kstream-j-c'");
    }

    #[test]
    fn codes_are_sorted_by_what_they_ask_of_the_job() {
        let check = |code, kind| assert_eq!(meaning(code), kind, "{code:?}");
        check(Code::Fenced, SinkErrorKind::Fenced);
        check(Code::InvalidProducerEpoch, SinkErrorKind::Fenced);
        check(Code::ProducerFenced, SinkErrorKind::Fenced);
        check(Code::MessageSizeTooLarge, SinkErrorKind::Failed);
        check(Code::UnknownPartition, SinkErrorKind::Failed);
        check(Code::UnknownTopicOrPartition, SinkErrorKind::Transient);
        check(Code::TopicAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::TransactionalIdAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::SaslAuthenticationFailed, SinkErrorKind::Denied);
        check(Code::InvalidTransactionTimeout, SinkErrorKind::Denied);
        check(Code::InvalidConfig, SinkErrorKind::Denied);
        check(Code::InvalidRequiredAcks, SinkErrorKind::Denied);
        check(Code::UnsupportedVersion, SinkErrorKind::Denied);
        check(Code::ClusterAuthorizationFailed, SinkErrorKind::Denied);
        check(Code::PolicyViolation, SinkErrorKind::Failed);
        check(Code::MessageTimedOut, SinkErrorKind::Unreachable);
        check(Code::OperationTimedOut, SinkErrorKind::Unreachable);
        check(Code::CoordinatorNotAvailable, SinkErrorKind::Unreachable);
        check(Code::NotEnoughReplicas, SinkErrorKind::Unreachable);
        check(Code::PurgeQueue, SinkErrorKind::Unreachable);
    }
}

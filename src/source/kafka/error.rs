//! librdkafka's error codes as the one question the driver asks: ask again, or not.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use super::certificate;
use crate::source::{SourceError, SourceErrorKind};

/// Whether asking again may help.
pub fn kind_of(code: Code) -> SourceErrorKind {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SecurityDisabled
        | Code::InvalidTopic
        | Code::InvalidArgument
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::NotImplemented => SourceErrorKind::Refused,
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage => SourceErrorKind::Corrupt,
        _ => SourceErrorKind::Unreachable,
    }
}

/// The code inside, where the error has one.
pub fn code_of(error: &KafkaError) -> Code {
    match error {
        KafkaError::AdminOp(code) => *code,
        other => other.rdkafka_error_code().unwrap_or(Code::Fail),
    }
}

/// What an error says, without the name of its kind and of its code in the library.
pub fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(native) => native.string(),
        other => match other.rdkafka_error_code() {
            Some(code) => words_of(code),
            None => other.to_string(),
        },
    }
}

/// The library writes "OperationTimedOut (Local: Timed out)".
fn words_of(code: Code) -> String {
    let named = code.to_string();
    let text = named.split_once(" (").and_then(|(_, text)| text.strip_suffix(')')).unwrap_or(&named);
    text.strip_prefix("Local: ").or_else(|| text.strip_prefix("Broker: ")).unwrap_or(text).to_owned()
}

/// What to do about it, for the refusals people meet.
pub fn hint_for(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "Check sasl.mechanism, sasl.username and where sasl.password is read from."
        }
        Code::UnsupportedSASLMechanism => "Set sasl.mechanism to one that the broker's listener offers.",
        Code::SSL => {
            "Check security.protocol, ssl.ca.location (a PEM file of whoever signed the broker's certificate) and the host \
             name in that certificate."
        }
        Code::TopicAuthorizationFailed => "Grant this user READ and DESCRIBE on the topic.",
        Code::GroupAuthorizationFailed => "Grant this user READ on the consumer group.",
        Code::ClusterAuthorizationFailed => "Grant this user the cluster operation.",
        _ => return None,
    })
}

/// The same, where words came with the code.
pub fn hint_for_words(code: Code, reason: &str) -> Option<&'static str> {
    if certificate::is_refused(reason) { Some(certificate::HINT) } else { hint_for(code) }
}

/// What to do about a broker that holds a consumer back.
pub const QUOTA_HINT: &str = "Raise the quota consumer_byte_rate of this user or client id, or have the job read less.";

/// What to do about brokers that do not answer, by the words for why.
pub fn hint_for_unreachable(reason: &str) -> &'static str {
    let speaks_of_tls = ["security.protocol", "APIVERSION_QUERY", "SSL_HANDSHAKE", "SSL connection closed"];
    match speaks_of_tls.iter().any(|words| reason.contains(words)) {
        true => "Check that security.protocol is what the broker's listener speaks, and ssl.ca.location if it is TLS.",
        false => "Check that the brokers run and can be reached from here.",
    }
}

/// What librdkafka says of properties it does not take. Its own words repeat the value, which may be a secret.
pub fn without_secrets(error: &KafkaError) -> String {
    let KafkaError::ClientConfig(_, description, name, value) = error else { return error.to_string() };
    let may_be_secret = (name.starts_with("sasl.") || name.starts_with("ssl.")) && !value.is_empty();
    if may_be_secret {
        format!("{}: {name} = (hidden)", description.replace(value, "(hidden)"))
    } else {
        format!("{description}: {name} = {value}")
    }
}

impl SourceError {
    /// Asking again may help.
    pub fn unreachable(message: impl Into<String>) -> SourceError {
        SourceError { kind: SourceErrorKind::Unreachable, message: message.into(), hint: None }
    }

    /// The job asks for what is not there.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> SourceError {
        SourceError { kind: SourceErrorKind::Usage, message: message.into(), hint: Some(hint.into()) }
    }

    /// Asking again will not help.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> SourceError {
        SourceError { kind: SourceErrorKind::Refused, message: message.into(), hint: Some(hint.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_property_is_named_and_its_value_is_not() {
        let refused = |name: &str, value: &str| {
            let refused = rdkafka::ClientConfig::new().set(name, value).create_native_config();
            without_secrets(&refused.err().unwrap())
        };
        let secret = refused("sasl.oauthbearer.client.secret", "canary");
        assert!(secret.contains("sasl.oauthbearer.client.secret") && !secret.contains("canary"), "{secret}");
        let chosen = refused("sasl.oauthbearer.method", "canary");
        assert!(chosen.contains("sasl.oauthbearer.method") && !chosen.contains("canary"), "{chosen}");
        let harmless = refused("acks", "many");
        assert!(harmless.contains("acks") && harmless.contains("many"), "{harmless}");
        assert!(refused("no.such.property", "1").contains("no.such.property"));
    }

    #[test]
    fn a_listener_that_speaks_something_else_is_hinted_at() {
        let check = |reason: &str, expected| {
            assert_eq!(hint_for_unreachable(reason).contains("security.protocol"), expected, "{reason}")
        };
        check(
            "ssl://b:1/bootstrap: Disconnected: SSL connection closed by peer (after 24ms in state SSL_HANDSHAKE)",
            true,
        );
        check("b:1/bootstrap: Disconnected: receive 0 after POLLIN (after 2ms in state APIVERSION_QUERY)", true);
        check("b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused", false);
    }

    #[test]
    fn an_error_is_told_in_words_without_the_names_of_codes() {
        let check = |code, text: &str| {
            assert_eq!(words(&KafkaError::MetadataFetch(code)), text);
            assert_eq!(words(&KafkaError::MessageProduction(code)), text);
        };
        check(Code::OperationTimedOut, "Timed out");
        check(Code::MessageTimedOut, "Message timed out");
        check(Code::AllBrokersDown, "All broker connections are down");
        check(Code::NotEnoughReplicas, "Not enough in-sync replicas");
    }

    #[test]
    fn codes_are_sorted_by_whether_asking_again_helps() {
        let check = |code, kind| assert_eq!(kind_of(code), kind, "{code:?}");
        check(Code::BrokerTransportFailure, SourceErrorKind::Unreachable);
        check(Code::AllBrokersDown, SourceErrorKind::Unreachable);
        check(Code::OperationTimedOut, SourceErrorKind::Unreachable);
        check(Code::NotLeaderForPartition, SourceErrorKind::Unreachable);
        check(Code::LeaderNotAvailable, SourceErrorKind::Unreachable);
        check(Code::UnknownTopicOrPartition, SourceErrorKind::Unreachable);
        check(Code::Authentication, SourceErrorKind::Refused);
        check(Code::SSL, SourceErrorKind::Refused);
        check(Code::TopicAuthorizationFailed, SourceErrorKind::Refused);
        check(Code::InvalidTopic, SourceErrorKind::Refused);
        check(Code::BadMessage, SourceErrorKind::Corrupt);
        check(Code::InvalidMessage, SourceErrorKind::Corrupt);
        check(Code::BadCompression, SourceErrorKind::Corrupt);
    }
}

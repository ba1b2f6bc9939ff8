//! Everyday chores on a cluster (`kstream topics`, `produce`, `consume`), and the embedded broker.
//!
//! The command line calls the chores with a plain options struct and a writer for what they print; the driver starts
//! the embedded broker for jobs that say `brokers = "embedded"`. Every chore ends: each call to a broker has a deadline.
//! Deliberately absent: anything a job's batches depend on; those go through `source::kafka` and `sink::kafka`.

pub mod consume;
pub mod embedded;
pub mod produce;
pub mod topics;

use std::{collections::BTreeMap, io, time::Duration};

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

use crate::{
    job::{KafkaClient, Refusal, Setting, Side, instead_of, is_topic_name, other_protocol},
    source::{
        SourceError, SourceErrorKind,
        kafka::{
            error::{code_of, hint_for, kind_of, without_secrets},
            properties::Librdkafka,
            secret::{SettingsError, read_setting},
            settings::ClientSettings,
        },
    },
};

/// How long a chore waits for the brokers where its options do not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The cluster a chore works on.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Bootstrap servers.
    pub brokers: String,
    pub properties: BTreeMap<String, Setting>,
    /// Deadline of each question to the brokers.
    pub timeout: Duration,
}

impl Cluster {
    fn settings(&self) -> Result<ClientSettings, ChoreError> {
        self.check_properties()?;
        Ok(ClientSettings::resolve(&self.brokers, "kstream", &self.properties)?)
    }

    /// Looks at every property before a connection is tried.
    fn check_properties(&self) -> Result<(), ChoreError> {
        for (name, setting) in &self.properties {
            let value = read_setting(name, setting)?;
            match Librdkafka.check(name, &value) {
                Ok(()) => {}
                Err(Refusal::Unknown) => {
                    let hint = instead_of(name, Side::Source, Librdkafka.names());
                    let hint = hint.unwrap_or_else(|| "the names are those of librdkafka".to_owned());
                    return Err(ChoreError::usage(format!("unknown Kafka property `{name}`"), sentence(&hint)));
                }
                Err(Refusal::Unfit(unfit)) => {
                    let message = format!("the Kafka property `{name}` is refused: {}", unfit.message);
                    let hint = unfit.hint.map_or_else(|| "Correct --property.".to_owned(), |hint| sentence(&hint));
                    return Err(ChoreError::usage(message, hint));
                }
            }
        }
        let spoken = match self.properties.get("security.protocol") {
            Some(setting) => Some(read_setting("security.protocol", setting)?),
            None => None,
        };
        match other_protocol(&self.brokers, spoken.as_deref()) {
            Some((_, protocol)) => Err(ChoreError::usage(
                format!("`{protocol}://` in --brokers is not what the client speaks"),
                format!("Add --property security.protocol={}.", protocol.to_uppercase()),
            )),
            None => Ok(()),
        }
    }
}

/// What a failed chore means for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoreErrorKind {
    /// Something in the options or the input is wrong.
    Usage,
    /// Kafka was not reached, or refused.
    Kafka,
    /// What is printed could not be written.
    Output,
    /// The reader of the output has gone away: the end, not a failure.
    ReaderGone,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ChoreError {
    pub kind: ChoreErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

impl ChoreError {
    fn kafka(message: impl Into<String>) -> ChoreError {
        ChoreError { kind: ChoreErrorKind::Kafka, message: message.into(), hint: None }
    }

    fn usage(message: impl Into<String>, hint: impl Into<String>) -> ChoreError {
        ChoreError { kind: ChoreErrorKind::Usage, message: message.into(), hint: Some(hint.into()) }
    }

    /// `what` failed on `brokers`.
    fn failed(what: &str, brokers: &str, error: &KafkaError) -> ChoreError {
        let code = code_of(error);
        if let Some((reason, hint)) = asked_wrongly(code) {
            return ChoreError::usage(format!("cannot {what}: {reason}"), hint);
        }
        if let KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) = error {
            let message = format!("cannot {what}: {}", without_secrets(error));
            return ChoreError::usage(message, "Correct --property.");
        }
        let hint = match kind_of(code) {
            SourceErrorKind::Unreachable => Some("Check that the brokers run and can be reached from here."),
            _ => hint_for(code),
        };
        let message = format!("cannot {what} on brokers {brokers}: {}", without_secrets(error));
        ChoreError { kind: ChoreErrorKind::Kafka, message, hint: hint.map(str::to_owned) }
    }
}

/// What the brokers refuse because it was asked wrongly, and what to do.
fn asked_wrongly(code: Code) -> Option<(&'static str, &'static str)> {
    Some(match code {
        Code::TopicAlreadyExists => {
            ("it exists already", "See `kstream topics describe`; delete it first, or take another name.")
        }
        Code::InvalidTopic => ("this cannot be the name of a topic", TOPIC_NAME),
        Code::InvalidPartitions => ("the number of partitions is refused", "Correct --partitions."),
        Code::InvalidReplicationFactor => {
            ("there are fewer brokers than copies", "Correct --replication-factor: at most one copy a broker.")
        }
        Code::InvalidConfig => {
            ("a setting of the topic is refused", "Correct --config: its keys are Kafka's topic settings.")
        }
        Code::PolicyViolation => ("the cluster's policy forbids it", "Ask who runs the cluster what its policy is."),
        Code::MessageSizeTooLarge => (
            "a record is larger than the topic or the client takes",
            "Raise max.message.bytes of the topic and message.max.bytes of the client (-X), or split the record.",
        ),
        Code::InvalidRecord => (
            "the topic does not take such a record",
            "A topic that is compacted takes only records with a key: see --key-separator.",
        ),
        _ => return None,
    })
}

/// A hint of a job file as one of the command line.
fn sentence(hint: &str) -> String {
    let mut letters = hint.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if hint.ends_with(['?', '.']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

const TOPIC_NAME: &str = "A topic's name has letters, digits, `.`, `_` and `-`, at most 249.";

/// Said before anything is asked of the brokers.
fn check_topic_names(names: &[String]) -> Result<(), ChoreError> {
    match names.iter().find(|name| !is_topic_name(name)) {
        Some(wrong) => Err(ChoreError::usage(format!("`{wrong}` cannot be the name of a topic"), TOPIC_NAME)),
        None => Ok(()),
    }
}

/// Brokers answer for a name that stands twice as if the request were malformed.
fn check_named_once(names: &[String]) -> Result<(), ChoreError> {
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) => Err(ChoreError::usage(format!("topic '{name}' is named twice"), "Name it once.")),
        None => Ok(()),
    }
}

impl From<SettingsError> for ChoreError {
    fn from(error: SettingsError) -> ChoreError {
        ChoreError::usage(error.message, error.hint)
    }
}

impl From<SourceError> for ChoreError {
    fn from(error: SourceError) -> ChoreError {
        let kind = match error.kind {
            SourceErrorKind::Usage => ChoreErrorKind::Usage,
            _ => ChoreErrorKind::Kafka,
        };
        ChoreError { kind, message: error.message, hint: error.hint }
    }
}

impl From<io::Error> for ChoreError {
    fn from(error: io::Error) -> ChoreError {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => ChoreErrorKind::ReaderGone,
            _ => ChoreErrorKind::Output,
        };
        ChoreError { kind, message: format!("cannot write the output: {error}"), hint: None }
    }
}

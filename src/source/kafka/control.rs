//! The control plane: which topics, partitions and offsets exist, asked on a handle that never fetches.
//!
//! Every question has a deadline. It is asked in slices of growing length, so that a refusal (a wrong password shows
//! as a transport failure to the question itself) is seen early.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Message,
    types::RDKafkaErrorCode as Code,
};

use super::{
    error::{code_of, hint_for_unreachable, hint_for_words, kind_of, without_secrets, words},
    events::Events,
    raw::{self, Described},
    settings::ClientSettings,
};
use crate::{
    job::Isolation,
    model::TopicPartition,
    source::{SourceError, SourceErrorKind, watch::Watched},
};

const FIRST_SLICE: Duration = Duration::from_millis(1_000);
const LAST_SLICE: Duration = Duration::from_millis(8_000);
const PAUSE: Duration = Duration::from_millis(100);

pub struct Control {
    consumer: BaseConsumer<Events>,
    pub brokers: String,
    /// Whether to ask for topic ids.
    ids: AtomicBool,
    /// Who is asked between two slices of a question.
    pub watched: Watched,
}

/// An offset of one topic partition, and the leader epoch the broker gave with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

impl Control {
    pub fn connect(
        settings: &ClientSettings,
        isolation: Isolation,
        source: &str,
        ids: bool,
    ) -> Result<Control, SourceError> {
        let events = Events::new(format!("{source} (plan)"), settings.token.clone());
        let consumer = create(settings.planning(isolation), events)?;
        Ok(Control {
            consumer,
            brokers: settings.brokers.clone(),
            ids: AtomicBool::new(ids),
            watched: Watched::default(),
        })
    }

    /// Serves what the handle has to say; between batches.
    pub fn poll(&self) {
        drain(&self.consumer);
    }

    /// Kafka's own id of the cluster.
    pub fn cluster_id(&self, deadline: Instant) -> Result<String, SourceError> {
        let asked = self.ask("the id of the cluster", deadline, |slice| {
            self.consumer.client().fetch_cluster_id(slice).ok_or(KafkaError::MetadataFetch(Code::OperationTimedOut))
        });
        asked.map_err(Failure::into_error)
    }

    /// Number of partitions of a topic; `None` where the cluster does not know it.
    pub fn partitions(&self, topic: &str, deadline: Instant) -> Result<Option<i32>, SourceError> {
        let asked = self.ask(&format!("metadata of topic '{topic}'"), deadline, |slice| {
            let metadata = self.consumer.fetch_metadata(Some(topic), slice)?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Ok(None);
            };
            match found.error().map(Code::from) {
                None => Ok(i32::try_from(found.partitions().len()).ok().filter(|&partitions| partitions > 0)),
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
                Some(code) => Err(KafkaError::MetadataFetch(code)),
            }
        });
        // librdkafka answers for an unknown topic either in the topic's entry or as the call's error.
        match asked {
            Err(Failure { code: Code::UnknownTopicOrPartition | Code::UnknownTopic, .. }) => Ok(None),
            other => other.map_err(Failure::into_error),
        }
    }

    /// Every topic of the cluster, sorted, with its number of partitions; Kafka's own (`__*`) where `internal`.
    pub fn topics(&self, internal: bool, deadline: Instant) -> Result<Vec<(String, i32)>, SourceError> {
        let mut topics = self
            .ask("the list of topics", deadline, |slice| {
                let metadata = self.consumer.fetch_metadata(None, slice)?;
                let named = metadata.topics().iter().filter(|topic| topic.error().is_none());
                Ok(named
                    .map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32))
                    .filter(|(name, partitions)| (internal || !name.starts_with("__")) && *partitions > 0)
                    .collect::<Vec<_>>())
            })
            .map_err(Failure::into_error)?;
        topics.sort();
        Ok(topics)
    }

    /// Whether brokers have ids of topics, as far as is known.
    pub fn knows_ids(&self) -> bool {
        self.ids.load(Ordering::Relaxed)
    }

    /// Topics with their ids, in the order asked; `None` where the broker knows no such topic, or no ids.
    pub fn describe(&self, topics: &[Arc<str>], deadline: Instant) -> Result<Vec<Option<Described>>, SourceError> {
        if topics.is_empty() || !self.knows_ids() {
            return Ok(vec![None; topics.len()]);
        }
        let asked = self.ask("topic ids", deadline, |slice| {
            raw::describe(&self.consumer, topics, slice).map_err(KafkaError::AdminOp)
        });
        match asked {
            Err(Failure { code: Code::UnsupportedFeature | Code::UnsupportedVersion, .. }) => {
                self.ids.store(false, Ordering::Relaxed);
                tracing::info!(brokers = self.brokers, "brokers without topic ids: a recreated topic may go unseen");
                Ok(vec![None; topics.len()])
            }
            other => other.map_err(Failure::into_error),
        }
    }

    /// One offset for each topic partition, in one request a leader: `Offset::Beginning`, `Offset::End` (the last stable
    /// offset under read_committed), or `Offset::Offset(time)` for the first record at or after a time; `None` where
    /// there is no such record.
    pub fn locate(
        &self,
        partitions: &[TopicPartition],
        at: Offset,
        deadline: Instant,
    ) -> Result<Vec<Option<Located>>, SourceError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let what = format!("offsets of {}", listed(partitions));
        self.ask(&what, deadline, |slice| {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for tp in partitions {
                list.add_partition_offset(&tp.topic, tp.partition, at)?;
            }
            let answer = self.consumer.offsets_for_times(list, slice)?;
            let epochs = raw::leader_epochs(&answer);
            let mut located = Vec::with_capacity(partitions.len());
            for tp in partitions {
                let found = answer
                    .elements()
                    .into_iter()
                    .zip(&epochs)
                    .find(|(element, _)| element.topic() == &*tp.topic && element.partition() == tp.partition);
                let Some((element, leader_epoch)) = found else {
                    return Err(KafkaError::MetadataFetch(Code::UnknownPartition));
                };
                element.error()?;
                located.push(match element.offset() {
                    Offset::Offset(offset) => Some(Located { offset, leader_epoch: *leader_epoch }),
                    _ => None,
                });
            }
            Ok(located)
        })
        .map_err(Failure::into_error)
    }

    /// First and one past the last offset of one topic partition, now.
    pub fn bounds(&self, tp: &TopicPartition, deadline: Instant) -> Result<(i64, i64), SourceError> {
        let one = |at| {
            self.locate(std::slice::from_ref(tp), at, deadline)
                .map(|located| located.first().copied().flatten().map_or(0, |located| located.offset))
        };
        Ok((one(Offset::Beginning)?, one(Offset::End)?))
    }

    /// Asks until there is an answer, a refusal, or the deadline.
    fn ask<T>(
        &self,
        what: &str,
        deadline: Instant,
        mut question: impl FnMut(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, Failure> {
        let asked_at = Instant::now();
        let mut slice = FIRST_SLICE;
        loop {
            drain(&self.consumer);
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let error = match question(slice.min(left)) {
                Ok(answer) => {
                    self.consumer.context().recovered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            drain(&self.consumer);
            let (code, reason) = match self.consumer.context().refusal() {
                Some(refusal) => refusal,
                None => (code_of(&error), words(&error)),
            };
            let unknown = matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic);
            let kind = kind_of(code);
            let message = || {
                let background = self.consumer.context().explanation().filter(|(_, other)| *other != reason);
                let reason = background.map_or(reason.clone(), |(_, background)| format!("{reason}; {background}"));
                let verb = match kind {
                    SourceErrorKind::Refused => "refused".to_owned(),
                    // An answer that is of no use may come at once.
                    _ => match asked_at.elapsed().as_millis() {
                        0..100 => "did not answer as they should".to_owned(),
                        waited => format!("did not answer within {waited} ms"),
                    },
                };
                format!("brokers {} {verb}: {what}: {reason}", self.brokers)
            };
            let is_over = || {
                Instant::now() + PAUSE >= deadline
                    || self.watched.is_stopping()
                    || !self.watched.waits_on(asked_at.elapsed(), message)
            };
            if kind != SourceErrorKind::Unreachable || unknown || is_over() {
                let message = message();
                let hint = match kind {
                    SourceErrorKind::Unreachable => Some(hint_for_unreachable(&message)),
                    _ => hint_for_words(code, &message),
                };
                return Err(Failure { code, kind, message, hint });
            }
            tracing::debug!(brokers = self.brokers, what, %error, "asking again");
            std::thread::sleep(PAUSE);
            slice = (slice * 2).min(LAST_SLICE);
        }
    }
}

struct Failure {
    code: Code,
    kind: SourceErrorKind,
    message: String,
    hint: Option<&'static str>,
}

impl Failure {
    fn into_error(self) -> SourceError {
        SourceError { kind: self.kind, message: self.message, hint: self.hint.map(str::to_owned) }
    }
}

/// Makes a consumer handle, and lets it ask for its first OAuth token.
pub fn create(config: rdkafka::ClientConfig, events: Events) -> Result<BaseConsumer<Events>, SourceError> {
    let consumer: BaseConsumer<Events> = config.create_with_context(events).map_err(|error| {
        let message = format!("librdkafka refuses the client's properties: {}", without_secrets(&error));
        SourceError::refused(message, "Correct `properties`.")
    })?;
    drain(&consumer);
    Ok(consumer)
}

/// Serves callbacks and errors of a handle without waiting; bounded, so that a flood cannot hold a batch up.
pub fn drain(consumer: &BaseConsumer<Events>) {
    const AT_MOST: usize = 1_000;
    // A poll that serves a callback looks like one that finds nothing.
    const QUIET: usize = 8;
    let mut quiet = 0;
    let mut strays = consumer.context().strays();
    for _ in 0..AT_MOST {
        match consumer.poll(Duration::ZERO) {
            None if quiet == QUIET => return,
            None => quiet += 1,
            // Every assigned partition has a queue of its own; a range of one whose records come here is refused.
            Some(Ok(message)) => {
                strays.insert((message.topic().to_owned(), message.partition()));
            }
            Some(Err(error)) => {
                let code = code_of(&error);
                if !matches!(code, Code::NoError | Code::PartitionEOF) {
                    consumer.context().note(code, &error.to_string());
                }
            }
        }
    }
}

/// Up to three names, for messages.
fn listed(partitions: &[TopicPartition]) -> String {
    let mut names: Vec<String> = partitions.iter().take(3).map(ToString::to_string).collect();
    if partitions.len() > 3 {
        names.push(format!("{} more", partitions.len() - 3));
    }
    names.join(", ")
}

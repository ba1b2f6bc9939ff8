//! Committed offsets, copied to a consumer group for lag tools. Nothing is ever read back from it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    control::{create, drain},
    error::{code_of, hint_for, kind_of},
    events::Events,
    settings::ClientSettings,
};
use crate::{job::Isolation, model::TopicPartition, source::SourceError};

/// Answers that are no answers.
const AWAY: [Code; 9] = [
    Code::BrokerTransportFailure,
    Code::AllBrokersDown,
    Code::OperationTimedOut,
    Code::RequestTimedOut,
    Code::MessageTimedOut,
    Code::WaitingForCoordinator,
    Code::CoordinatorNotAvailable,
    Code::CoordinatorLoadInProgress,
    Code::NotCoordinator,
];

const PAUSE: Duration = Duration::from_millis(10);

pub struct Mirror {
    consumer: BaseConsumer<Events>,
    group: String,
    /// What the group holds, once everything is answered.
    sent: BTreeMap<TopicPartition, i64>,
    unanswered: u64,
}

impl Mirror {
    pub fn connect(settings: &ClientSettings, source: &str, group: &str) -> Result<Mirror, SourceError> {
        let events = Events::new(format!("{source} (mirror)"), settings.token.clone());
        let consumer = create(settings.in_group(group, Isolation::ReadUncommitted), events)?;
        Ok(Mirror { consumer, group: group.to_owned(), sent: BTreeMap::new(), unanswered: 0 })
    }

    /// Sends the offsets that have changed on their way. The error is of those sent before: all are sent again.
    pub fn write(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        let answered = self.answers();
        let changed: Vec<_> = positions.iter().filter(|(tp, offset)| self.sent.get(tp) != Some(offset)).collect();
        if !changed.is_empty() {
            let mut list = TopicPartitionList::with_capacity(changed.len());
            changed
                .iter()
                .try_for_each(|(tp, offset)| {
                    list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(*offset))
                })
                .and_then(|()| self.consumer.commit(&list, CommitMode::Async))
                .map_err(|error| self.failed(&error))?;
            self.unanswered += 1;
            self.sent.extend(changed.into_iter().cloned());
        }
        answered
    }

    /// Waits for the answers to what was sent.
    pub fn settle(&mut self, deadline: Instant) {
        loop {
            if let Err(error) = self.answers() {
                tracing::info!(group = self.group, error = %error, "the last offsets are not mirrored");
            }
            if self.unanswered == 0 || deadline <= Instant::now() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn answers(&mut self) -> Result<(), SourceError> {
        drain(&self.consumer);
        let commits = self.consumer.context().take_commits();
        self.unanswered = self.unanswered.saturating_sub(commits.answered);
        let Some(error) = commits.failed else { return Ok(()) };
        self.sent.clear();
        // Whoever reads from brokers that are away tells of them.
        if AWAY.contains(&code_of(&error)) { Ok(()) } else { Err(self.failed(&error)) }
    }

    fn failed(&self, error: &KafkaError) -> SourceError {
        let code = code_of(error);
        let message = format!("cannot mirror offsets to group '{}': {error}", self.group);
        SourceError { kind: kind_of(code), message, hint: hint_for(code).map(str::to_owned) }
    }
}

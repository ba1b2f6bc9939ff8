//! Committed offsets, copied to a consumer group for lag tools. Nothing is ever read back from it.
//!
//! A thread of its own waits for the group's coordinator, so that no batch does: librdkafka tells the outcome of a commit
//! only to those who wait for it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaResult,
    types::RDKafkaErrorCode as Code,
};

use super::{
    control::{create, drain},
    error::{code_of, hint_for, kind_of},
    events::Events,
    settings::ClientSettings,
};
use crate::{job::Isolation, model::TopicPartition, source::SourceError};

/// Outcomes that whoever reads from these brokers tells of anyway.
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

const PAUSE: Duration = Duration::from_millis(5);

type Positions = Vec<(TopicPartition, i64)>;

pub struct Mirror {
    group: String,
    consumer: Arc<BaseConsumer<Events>>,
    work: Sender<Positions>,
    outcomes: Receiver<KafkaResult<()>>,
    /// What is on its way to the group.
    under_way: Option<Positions>,
    /// What the group holds.
    held: BTreeMap<TopicPartition, i64>,
    /// What it is to hold.
    wanted: Positions,
    health: Health,
}

/// What became of the last offsets. A failure has been told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Fine,
    Failing,
    /// The user may not use the group: what is under way stays so.
    Refused,
}

impl Mirror {
    pub fn connect(settings: &ClientSettings, source: &str, group: &str) -> Result<Mirror, SourceError> {
        let events = Events::new(format!("{source} (mirror)"), settings.token.clone());
        let consumer = Arc::new(create(settings.in_group(group, Isolation::ReadUncommitted), events)?);
        let commits = consumer.clone();
        let (work, positions) = bounded::<Positions>(1);
        let (answer, outcomes) = bounded(1);
        let committing = move || {
            for positions in positions {
                if answer.send(commit(&commits, &positions)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("mirror".to_owned())
            .spawn(committing)
            .map_err(|error| SourceError::unreachable(format!("cannot mirror offsets: {error}")))?;
        let (held, wanted) = (BTreeMap::new(), Vec::new());
        Ok(Mirror {
            group: group.to_owned(),
            consumer,
            work,
            outcomes,
            under_way: None,
            held,
            wanted,
            health: Health::Fine,
        })
    }

    /// Sends the offsets that have changed on their way, unless others still are: then they follow with the next call.
    /// The error is that of earlier ones, once for as long as they fail.
    pub fn write(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        self.wanted = positions.to_vec();
        let outcome = self.outcome();
        self.send();
        outcome
    }

    /// Waits until the group holds what was written last, unless it fails.
    pub fn settle(&mut self, deadline: Instant) {
        while self.under_way.is_some() && self.health != Health::Refused && Instant::now() < deadline {
            if let Err(error) = self.outcome() {
                tracing::warn!(group = self.group, error = %error, "the last offsets are not mirrored");
                return;
            }
            if self.under_way.is_none() && self.health == Health::Failing {
                return;
            }
            self.send();
            thread::sleep(PAUSE);
        }
    }

    fn send(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let changed = self.wanted.iter().filter(|(tp, offset)| self.held.get(tp) != Some(offset));
        let changed: Positions = changed.cloned().collect();
        if !changed.is_empty() && self.work.try_send(changed.clone()).is_ok() {
            self.under_way = Some(changed);
        }
    }

    fn outcome(&mut self) -> Result<(), SourceError> {
        let Ok(outcome) = self.outcomes.try_recv() else { return self.refused() };
        let sent = self.under_way.take().unwrap_or_default();
        match outcome {
            Ok(()) => {
                self.health = Health::Fine;
                self.consumer.context().recovered();
                self.held.extend(sent);
            }
            Err(error) if self.health != Health::Fine || AWAY.contains(&code_of(&error)) => {}
            Err(error) => {
                self.health = Health::Failing;
                return Err(self.failed(code_of(&error), &error));
            }
        }
        Ok(())
    }

    /// A commit waits without end for a coordinator that the user has no right to find; the handle alone tells why.
    fn refused(&mut self) -> Result<(), SourceError> {
        if self.under_way.is_none() || self.health == Health::Refused {
            return Ok(());
        }
        drain(&self.consumer);
        match self.consumer.context().explanation() {
            Some((Code::GroupAuthorizationFailed, reason)) => {
                self.health = Health::Refused;
                Err(self.failed(Code::GroupAuthorizationFailed, &reason))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, code: Code, error: &dyn Display) -> SourceError {
        let message = format!("cannot mirror offsets to group '{}': {error}", self.group);
        SourceError { kind: kind_of(code), message, hint: hint_for(code).map(str::to_owned) }
    }
}

fn commit(consumer: &BaseConsumer<Events>, positions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
    drain(consumer);
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (tp, offset) in positions {
        list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(*offset))?;
    }
    consumer.commit(&list, CommitMode::Sync)
}

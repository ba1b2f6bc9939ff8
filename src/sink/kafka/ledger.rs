//! The group's offset whose metadata names the last batch delivered: where it is, and how it is read.

use std::time::Instant;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult},
    metadata::MetadataTopic,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode as Code,
};

use super::{
    entry::{Entry, HOME_PARTITION, Home},
    explain::to_grant,
};
use crate::{
    job::Isolation,
    sink::{
        SinkError, SinkErrorKind,
        watch::{SLICE, Silence},
    },
    source::{
        SourceError, SourceErrorKind,
        kafka::{
            control::{create, drain},
            error::{code_of, hint_for, hint_for_words, kind_of, words},
            events::Events,
            settings::ClientSettings,
        },
    },
};

pub struct Ledger {
    consumer: BaseConsumer<Events>,
    group: String,
    brokers: String,
    silence: Silence,
}

/// What to do about a group that others write to.
pub const LEAVE_ALONE: &str = "Let nothing else commit offsets in that group: neither `mirror_offsets_to` nor a consumer. Put the offset back with \
     the metadata it had; or delete the group, look at the end of the output topic, and run with --assume-published or \
     --assume-unpublished.";

/// What stands at the place of the entry.
pub enum Found {
    Entry(Option<Entry>),
    /// Something else; what, for the message.
    Other(String),
}

impl Ledger {
    /// Under read_committed a look waits until no transaction is open on the offset; under read_uncommitted it shows the
    /// last committed one at once.
    pub fn open(
        settings: &ClientSettings,
        group: &str,
        isolation: Isolation,
        silence: Silence,
    ) -> Result<Ledger, SinkError> {
        let events = Events::new(format!("{group} (look-up)"), settings.token.clone());
        let consumer = create(settings.in_group(group, isolation), events).map_err(from_source)?;
        Ok(Ledger { consumer, group: group.to_owned(), brokers: settings.brokers.clone(), silence })
    }

    pub fn look(&self, home: &Home) -> Result<Found, SinkError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&home.topic, home.partition);
        let answer =
            self.committed(&list, |answer| answer.elements().iter().try_for_each(|element| element.error()))?;
        let Some(element) = answer.elements().into_iter().next() else { return Ok(Found::Entry(None)) };
        match element.offset() {
            Offset::Offset(_) => Ok(match Entry::decode(element.metadata()) {
                Ok(entry) => Found::Entry(Some(entry)),
                Err(what) => Found::Other(what),
            }),
            _ => Ok(Found::Entry(None)),
        }
    }

    /// The entries at other topics than that of `home`, which a job of this name had for a home.
    pub fn look_beside(&self, home: &Home) -> Result<Vec<Entry>, SinkError> {
        let metadata = self.silence.ask(2 * SLICE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            self.consumer.fetch_metadata(None, left).map_err(|error| self.failed(&error))
        })?;
        let others = metadata.topics().iter().map(MetadataTopic::name).filter(|topic| *topic != home.topic);
        let mut list = TopicPartitionList::new();
        for topic in others {
            list.add_partition(topic, HOME_PARTITION);
        }
        if list.count() == 0 {
            return Ok(Vec::new());
        }
        // A topic that went meanwhile has none.
        let has_one = |element: &TopicPartitionListElem<'_>| {
            element.error().is_ok() && matches!(element.offset(), Offset::Offset(_))
        };
        let answer = self.committed(&list, |_| Ok(()))?;
        let found = answer.elements().into_iter().filter(has_one);
        Ok(found.filter_map(|element| Entry::decode(element.metadata()).ok()).collect())
    }

    fn committed(
        &self,
        list: &TopicPartitionList,
        check: impl Fn(&TopicPartitionList) -> KafkaResult<()>,
    ) -> Result<TopicPartitionList, SinkError> {
        self.silence.ask(2 * SLICE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.consumer.committed_offsets(list.clone(), left);
            answer.and_then(|answer| check(&answer).map(|()| answer)).map_err(|error| self.failed(&error))
        })
    }

    fn failed(&self, error: &KafkaError) -> SinkError {
        // What the handle has to say waits to be taken.
        drain(&self.consumer);
        // Elsewhere a group is only a mirror, and a right to it that lacks stops nothing.
        let denied = || {
            let said = self.consumer.context().explanation();
            said.filter(|(code, _)| *code == Code::GroupAuthorizationFailed)
        };
        let (code, reason) = match self.consumer.context().refusal().or_else(denied) {
            Some(refusal) => refusal,
            None => (code_of(error), words(error)),
        };
        let kind = kind_of(code);
        let hint = match kind {
            SourceErrorKind::Unreachable => Some("Check that the brokers run and can be reached from here."),
            _ => hint_for_words(code, &reason),
        };
        from_source(SourceError {
            kind,
            message: format!("cannot look up what group '{}' has on brokers {}: {reason}", self.group, self.brokers),
            hint: to_grant(code, &self.group).or(hint.map(str::to_owned)),
        })
    }

    /// What the transaction needs to know of the group: its name. An assign-only handle has no generation.
    pub fn group(&self) -> Result<ConsumerGroupMetadata, SinkError> {
        self.consumer
            .group_metadata()
            .ok_or_else(|| SinkError::new(SinkErrorKind::Failed, format!("librdkafka knows no group '{}'", self.group)))
    }
}

/// The offset that carries `entry`.
pub fn carrier(home: &Home, entry: &Entry) -> Result<TopicPartitionList, SinkError> {
    let failed =
        |what: String| SinkError::new(SinkErrorKind::Failed, format!("cannot write the batch's identity: {what}"));
    let metadata = entry.encode().map_err(|error| failed(error.to_string()))?;
    let mut list = TopicPartitionList::with_capacity(1);
    let mut element = list.add_partition(&home.topic, home.partition);
    element.set_offset(Offset::Offset(entry.offset())).map_err(|error| failed(error.to_string()))?;
    element.set_metadata(metadata);
    Ok(list)
}

/// The control plane's error as an output's.
pub fn from_source(error: SourceError) -> SinkError {
    let kind = match error.kind {
        SourceErrorKind::Unreachable => SinkErrorKind::Unreachable,
        SourceErrorKind::Refused | SourceErrorKind::Usage => SinkErrorKind::Denied,
        SourceErrorKind::Corrupt | SourceErrorKind::Recreated | SourceErrorKind::DataLoss { .. } => {
            SinkErrorKind::Failed
        }
    };
    // Who reads needs other rights than who writes.
    let denied = Code::TopicAuthorizationFailed;
    let hint = match error.hint {
        Some(hint) if hint_for(denied) == Some(&*hint) => to_grant(denied, ""),
        hint => hint,
    };
    SinkError { kind, message: error.message, detail: None, hint }
}

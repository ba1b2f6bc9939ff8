//! Committed offsets, copied to a consumer group for lag tools. Nothing is ever read back from it.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::{
    control::{create, drain},
    error::{code_of, hint_for, kind_of},
    events::Events,
    settings::ClientSettings,
};
use crate::{job::Isolation, model::TopicPartition, source::SourceError};

pub struct Mirror {
    consumer: BaseConsumer<Events>,
    group: String,
}

impl Mirror {
    pub fn connect(settings: &ClientSettings, source: &str, group: &str) -> Result<Mirror, SourceError> {
        let events = Events::new(format!("{source} (mirror)"), settings.token.clone());
        Ok(Mirror {
            consumer: create(settings.in_group(group, Isolation::ReadUncommitted), events)?,
            group: group.to_owned(),
        })
    }

    /// Sends the offsets on their way; a failure to store them shows as a warning later.
    pub fn write(&self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        drain(&self.consumer);
        let mut list = TopicPartitionList::with_capacity(positions.len());
        positions
            .iter()
            .try_for_each(|(tp, offset)| list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(*offset)))
            .and_then(|()| self.consumer.commit(&list, CommitMode::Async))
            .map_err(|error| {
                let code = code_of(&error);
                let message = format!("cannot mirror offsets to group '{}': {error}", self.group);
                SourceError { kind: kind_of(code), message, hint: hint_for(code).map(str::to_owned) }
            })
    }
}

//! Topics that were deleted under the job: a producer waits for them as if their brokers were away.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::row::Row;
use crate::{
    job::Isolation,
    sink::{SinkError, SinkErrorKind, watch::SLICE},
    source::kafka::{control::Control, settings::ClientSettings},
};

/// Brokers that answer nothing are asked for so long first: most silences end by themselves.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks whether the topics of rows that nobody acknowledges are there.
pub struct TopicsGone<'a> {
    settings: &'a ClientSettings,
    name: &'a str,
    topics: BTreeSet<&'a str>,
    next: Instant,
}

impl<'a> TopicsGone<'a> {
    pub fn new(settings: &'a ClientSettings, name: &'a str, rows: &[&'a [Row]]) -> TopicsGone<'a> {
        let topics = rows.iter().copied().flatten().map(|row| &*row.topic).collect();
        TopicsGone { settings, name, topics, next: Instant::now() + FIRST_LOOK }
    }

    /// Another topic that the same call needs.
    pub fn and(mut self, topic: &'a str) -> TopicsGone<'a> {
        self.topics.insert(topic);
        self
    }

    /// Fails where a topic is gone. Brokers that do not say are no answer.
    pub fn look(&mut self) -> Result<(), SinkError> {
        if Instant::now() < self.next {
            return Ok(());
        }
        let control = Control::connect(self.settings, Isolation::ReadUncommitted, self.name, false);
        let gone = control.ok().and_then(|control| {
            let deadline = Instant::now() + SLICE;
            self.topics.iter().copied().find(|topic| matches!(control.partitions(topic, deadline), Ok(None)))
        });
        self.next = Instant::now() + PAUSE;
        match gone {
            Some(topic) => Err(no_topic(topic, &self.settings.brokers, "It was deleted while the job ran.")),
            None => Ok(()),
        }
    }
}

/// The topic of an output is not there.
pub fn no_topic(topic: &str, brokers: &str, detail: &str) -> SinkError {
    SinkError::new(SinkErrorKind::Failed, format!("topic '{topic}' does not exist on brokers {brokers}"))
        .with(detail, format!("Create it: kstream topics create {topic}"))
}

//! An at-least-once output: each record once for a producer's life, the batch in flight again after a crash.

use std::sync::Arc;

use super::{
    ledger::from_source,
    output::rows,
    row::Row,
    topics::{TopicsGone, no_topic},
    writer::Writer,
};
use crate::{
    job::Isolation,
    model::BatchIdentity,
    sink::{
        Holds, Output, PublishPermit, Published, Sink, SinkError, SinkFacts, Standing,
        watch::{SLICE, Silence, Watch},
    },
    source::kafka::{control::Control, settings::ClientSettings},
};

pub struct PlainOutput {
    name: String,
    topic: Option<String>,
    settings: ClientSettings,
    /// Whether the cluster makes topics when they are first written to.
    makes_topics: bool,
    silence: Silence,
    writer: Option<Writer>,
    checked: bool,
    staged: Vec<Row>,
}

impl PlainOutput {
    pub fn new(
        name: String,
        topic: Option<String>,
        settings: ClientSettings,
        makes_topics: bool,
        silence: Silence,
    ) -> PlainOutput {
        let (writer, staged) = (None, Vec::new());
        PlainOutput { name, topic, settings, makes_topics, silence, writer, checked: false, staged }
    }

    fn check_topic(&mut self) -> Result<(), SinkError> {
        let Some(topic) = self.topic.as_deref().filter(|_| !self.checked && !self.makes_topics) else { return Ok(()) };
        let control = Control::connect(&self.settings, Isolation::ReadUncommitted, &self.name, false);
        let control = control.map_err(from_source)?;
        let known = self.silence.ask(2 * SLICE, |deadline| control.partitions(topic, deadline).map_err(from_source))?;
        if known.is_none() {
            return Err(no_topic(topic, &self.settings.brokers, "Nothing was written."));
        }
        self.checked = true;
        Ok(())
    }

    fn writer(&mut self) -> Result<Writer, SinkError> {
        if let Some(writer) = self.writer.take() {
            return Ok(writer);
        }
        let mut config = self.settings.producing();
        for (name, value) in [("linger.ms", "0"), ("retry.backoff.ms", "10"), ("partitioner", "murmur2_random")] {
            if !self.settings.sets(name) {
                config.set(name, value);
            }
        }
        Writer::connect(&config, &self.settings, &format!("{} (output)", self.name), self.silence.clone())
    }
}

impl Sink for PlainOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn watched_by(&mut self, watch: &Arc<dyn Watch>) {
        self.silence.watched_by(watch.clone());
    }

    fn publication_order(&self) -> u8 {
        0
    }

    fn holds(&mut self, _batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(Holds::Unknown)
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn inspect(&mut self, _standing: &Standing) -> Result<(), SinkError> {
        self.check_topic()
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, _batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        (self.staged, _) = rows(output)?;
        Ok(())
    }

    fn published(&mut self, _batch: &BatchIdentity) -> Result<Published, SinkError> {
        Ok(Published::Unknown)
    }

    fn publish(&mut self, _permit: &PublishPermit) -> Result<(), SinkError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        self.check_topic()?;
        let writer = self.writer()?;
        // Looked for again where something goes wrong: it may have been deleted.
        self.checked = false;
        let mut topics = (!self.makes_topics).then(|| TopicsGone::new(&self.settings, &self.name, &[&self.staged]));
        writer.write(&[&self.staged], &mut || topics.as_mut().map_or(Ok(()), |topics| topics.look()))?;
        // Kept only where nothing went wrong: what a failed one still holds goes with it.
        (self.writer, self.checked) = (Some(writer), true);
        self.staged.clear();
        Ok(())
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        self.staged.clear();
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

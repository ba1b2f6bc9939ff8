//! One exactly-once output step: its part of the cluster's transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{cluster::Cluster, entry::Home, row::Row};
use crate::{
    model::{BatchIdentity, digest::Digest},
    sink::{
        Content, Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, Standing,
        watch::Watch,
    },
};

pub struct KafkaOutput {
    pub name: String,
    /// Where rows without a topic of their own go.
    pub topic: Option<String>,
    /// Topic whose partition 0 carries the batch's identity.
    pub home_topic: String,
    pub cluster: Arc<Mutex<Cluster>>,
}

impl KafkaOutput {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_own_topics(&self, cluster: &mut Cluster) -> Result<(), SinkError> {
        self.topic.iter().chain([&self.home_topic]).try_for_each(|topic| cluster.check_topic(topic, 0).map(drop))
    }
}

pub fn rows(output: Output) -> Result<(Vec<Row>, Digest), SinkError> {
    match output.content {
        Content::Rows(rows) => Ok((rows, output.digest)),
        _ => Err(SinkError::new(SinkErrorKind::Failed, format!("output {} has no rows", output.name))),
    }
}

impl Sink for KafkaOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn watched_by(&mut self, watch: &Arc<dyn Watch>) {
        self.cluster().watched_by(watch.clone());
    }

    fn publication_order(&self) -> u8 {
        2
    }

    fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError> {
        self.cluster().holds(batch)
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        let mut cluster = self.cluster();
        self.check_own_topics(&mut cluster)?;
        Ok(cluster.settle(&self.home_topic)?.encode())
    }

    fn restore(&mut self, facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        let Some(facts) = facts else { return Ok(()) };
        let home = Home::decode(facts).map_err(|error| super::super::of_another_kind(&self.name, &error))?;
        self.cluster().remember(home);
        Ok(())
    }

    fn restore_beside(&mut self, facts: &SinkFacts) {
        if let Ok(home) = Home::decode(facts) {
            self.cluster().remember_beside(home);
        }
    }

    fn inspect(&mut self, standing: &Standing) -> Result<(), SinkError> {
        let mut cluster = self.cluster();
        cluster.inspect(standing)?;
        if cluster.home().is_none() {
            self.check_own_topics(&mut cluster)?;
            cluster.inspect_before_first(&self.home_topic)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), SinkError> {
        self.cluster().settle_assumed()
    }

    fn stage(&mut self, _batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        let (rows, digest) = rows(output)?;
        self.cluster().stage(&self.name, rows, digest)
    }

    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        self.cluster().published(batch)
    }

    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError> {
        self.cluster().publish(permit.identity(), permit.run_epoch())
    }

    fn facts(&self) -> Option<SinkFacts> {
        self.cluster().home()?.encode()
    }

    fn discard(&mut self) {
        self.cluster().discard();
    }

    fn committed(&mut self, _batch: &BatchIdentity) -> Result<(), SinkError> {
        self.cluster().committed();
        Ok(())
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

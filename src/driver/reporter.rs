//! What a run keeps for its reports: durations by verb, the progress file, the bars.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::error::{Class, DriverError};
use crate::{
    source::Available,
    telemetry::{
        Bar, Bars,
        progress::{BatchProgress, ProgressFile},
    },
};

/// How long the verbs of one batch took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Durations {
    pub available: Duration,
    pub plan: Duration,
    pub log_planned: Duration,
    pub execute: Duration,
    pub stage: Duration,
    pub publish: Duration,
    pub log_committed: Duration,
}

impl Durations {
    /// From the start of the batch to its commit.
    pub fn processing(&self) -> Duration {
        self.available + self.plan + self.log_planned + self.execute + self.stage + self.publish + self.log_committed
    }

    /// Microseconds by verb, for the ledger.
    pub fn by_verb_us(&self) -> BTreeMap<String, u64> {
        let verbs = [
            ("available", self.available),
            ("plan", self.plan),
            ("log_planned", self.log_planned),
            ("execute", self.execute),
            ("stage", self.stage),
            ("publish", self.publish),
        ];
        verbs.into_iter().map(|(verb, took)| (verb.to_owned(), took.as_micros() as u64)).collect()
    }
}

/// Writes progress records, and remembers between batches what they need.
pub struct Reporter {
    file: Option<ProgressFile>,
    bars: Bars,
    available: Vec<Available>,
    last_start: Option<Instant>,
    last_purge: Duration,
}

impl Reporter {
    pub fn new(path: Option<&std::path::Path>, bars: &Bars) -> Result<Reporter, DriverError> {
        let file = path
            .map(ProgressFile::open)
            .transpose()
            .map_err(|error| DriverError::new(Class::Usage, error.to_string()))?;
        Ok(Reporter { file, bars: bars.clone(), available: Vec::new(), last_start: None, last_purge: Duration::ZERO })
    }

    pub fn bar(&self, batches: u64) -> Bar {
        self.bars.batches("run", batches)
    }

    /// From the start of the batch before to `started`, the start of this one; none for the first.
    pub fn since_last(&mut self, started: Instant) -> Option<Duration> {
        self.last_start.replace(started).map(|last| started.saturating_duration_since(last))
    }

    pub fn write(&mut self, progress: &BatchProgress) -> Result<(), DriverError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write(progress).map_err(|error| DriverError::new(Class::Failed, error.to_string()))
    }

    pub fn available(&self) -> &[Available] {
        &self.available
    }

    pub fn remember_available(&mut self, available: &[Available]) {
        self.available = available.to_vec();
    }

    /// What was asked for before a plan turned out not to hold is not what there is.
    pub fn renew_available(&mut self, available: &[Available]) {
        if !self.available.is_empty() {
            self.remember_available(available);
        }
    }

    /// Offsets that were asked for once: a bounded run ends at them and need not ask again.
    pub fn known_available(&self) -> Option<Vec<Available>> {
        (!self.available.is_empty()).then(|| self.available.clone())
    }

    pub fn last_purge(&self) -> Duration {
        self.last_purge
    }

    pub fn purge_took(&mut self, took: Duration) {
        self.last_purge = took;
    }
}

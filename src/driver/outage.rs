//! Brokers that do not answer: one WARN for all that fails until they do.

use std::time::{Duration, Instant};

use crate::source::SourceError;

/// The time during which brokers are away, from the first failure until a call succeeds; where a batch was being read,
/// until that batch is committed.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    /// A batch was being read: answers about metadata do not yet mean that its records can be read.
    amid_batch: bool,
    /// Ticks may have been missed because of it.
    missed_ticks: bool,
}

impl Outage {
    /// A call has failed. Gives how long that has gone on.
    pub fn goes_on(&mut self, source: &str, error: &SourceError, limit: Duration) -> Duration {
        let Some(since) = self.since else {
            tracing::warn!(source, error = %error, limit_s = limit.as_secs(), "waiting for Kafka");
            self.since = Some(Instant::now());
            self.missed_ticks = true;
            return Duration::ZERO;
        };
        tracing::debug!(source, error = %error, "still waiting for Kafka");
        since.elapsed()
    }

    /// As [`Outage::goes_on`], while a batch is read.
    pub fn interrupts_batch(&mut self, source: &str, error: &SourceError, limit: Duration) -> Duration {
        self.amid_batch = true;
        self.goes_on(source, error, limit)
    }

    /// A question about metadata was answered.
    pub fn answered(&mut self) {
        if !self.amid_batch {
            self.end();
        }
    }

    /// A batch was read and committed.
    pub fn end(&mut self) {
        self.amid_batch = false;
        if let Some(since) = self.since.take() {
            tracing::info!(away_ms = since.elapsed().as_millis() as u64, "Kafka is reachable again");
        }
    }

    /// Whether ticks missed since the last call are explained by brokers that were away.
    pub fn explains_missed_ticks(&mut self) -> bool {
        std::mem::take(&mut self.missed_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceErrorKind;

    fn away() -> SourceError {
        SourceError { kind: SourceErrorKind::Unreachable, message: "away".to_owned(), hint: None }
    }

    #[test]
    fn an_outage_amid_a_batch_ends_with_its_commit_and_another_with_an_answer() {
        let limit = Duration::from_secs(1);
        let mut outage = Outage::default();
        outage.goes_on("s", &away(), limit);
        outage.answered();
        assert!(outage.since.is_none());
        outage.interrupts_batch("s", &away(), limit);
        let since = outage.since;
        outage.goes_on("s", &away(), limit);
        outage.answered();
        assert_eq!(outage.since, since, "the batch may fail again");
        outage.end();
        assert!(outage.since.is_none());
    }

    #[test]
    fn missed_ticks_are_explained_once() {
        let mut outage = Outage::default();
        assert!(!outage.explains_missed_ticks());
        outage.goes_on("s", &away(), Duration::ZERO);
        outage.end();
        assert!(outage.explains_missed_ticks());
        assert!(!outage.explains_missed_ticks());
    }
}

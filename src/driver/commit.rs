//! What follows a durable commit, and the orderly end.

use std::time::Instant;

use super::{
    error::DriverError,
    failed::{checkpoint_failed, sink_failed},
    in_hand::{Hand, Run},
};
use crate::{
    crash,
    model::BatchTime,
    planner::rate::Completed,
    protocol::{CommittedBatch, PlanRecord},
};

impl Run<'_> {
    /// What follows a durable commit.
    pub(super) fn committed(&mut self, committed: &CommittedBatch, following: Option<Hand>) -> Result<(), DriverError> {
        self.advance(&committed.plan);
        let identity = committed.plan.identity(self.checkpoint.uuid());
        for output in self.engine.outputs.iter_mut().filter(|output| self.hand.staged.contains(&output.name)) {
            output.sink.committed(&identity).map_err(|error| sink_failed(&output.name, &error))?;
            crash::point("commit: one sink told");
        }
        for (name, facts) in &committed.commit.sinks {
            self.known_sinks.insert(name.clone(), (facts.clone(), Some(committed.plan.batch)));
        }
        self.committed_batches += u64::from(!self.hand.recovering);
        self.patience.is_over();
        self.inputs.mirror();
        self.report(committed)?;
        self.learn(&committed.plan);
        self.hand = following.unwrap_or_default();
        Ok(())
    }

    /// Back-pressure learns from a batch.
    fn learn(&mut self, plan: &PlanRecord) {
        let now_ms = self.clock.now_ms();
        let processing_ms = self.hand.took.processing().as_millis() as i64;
        let since_tick_ms = self.hand.trigger.map_or(0, |trigger| now_ms - trigger.tick_ms);
        for (source, estimator) in self.inputs.estimators() {
            let own = plan.ranges.iter().zip(&self.hand.records).filter(|(range, _)| range.source == *source);
            estimator.complete(Completed {
                time_ms: now_ms,
                records: own.map(|(_, records)| records).sum(),
                processing_ms: processing_ms.max(1),
                scheduling_ms: (since_tick_ms - processing_ms).max(0),
            });
        }
    }

    /// Drops what no recovery, replay or retention setting can still need.
    pub(super) fn purge(&mut self) -> Result<(), DriverError> {
        let began = Instant::now();
        let now = BatchTime(self.clock.now_ms());
        let retention = &self.engine.job().retention;
        self.checkpoint.purge(retention, None, now).map_err(|error| checkpoint_failed(&error))?;
        self.reporter.purge_took(began.elapsed());
        Ok(())
    }

    /// The orderly end of a run.
    pub(super) fn finish(mut self) -> Result<(), DriverError> {
        self.checkpoint.flush().map_err(|error| checkpoint_failed(&error))?;
        self.inputs.mirror();
        self.inputs.settle_mirrors();
        tracing::info!(batches = self.committed_batches, "stopped");
        Ok(())
    }
}

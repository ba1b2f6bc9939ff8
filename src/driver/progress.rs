//! What a run tells of a committed batch: the INFO line, the progress record, the bar.

use std::time::Instant;

use super::{error::DriverError, in_hand::Run};
use crate::{
    model::OffsetRange,
    protocol::CommittedBatch,
    telemetry::progress::{BatchProgress, Missed, Origin, PartitionLag, StateSize, VerbDurations, ms, rows_per_second},
};

impl Run<'_> {
    /// The INFO line, the progress record and the bar of a committed batch.
    pub(super) fn report(&mut self, committed: &CommittedBatch) -> Result<(), DriverError> {
        let plan = &committed.plan;
        let took = self.hand.took;
        let rows = committed.commit.records_read;
        let started = self.hand.began.unwrap_or_else(Instant::now);
        let since_last = self.reporter.since_last(started);
        let processing = took.processing();
        let fresh = !self.hand.recovering && self.bounded.is_none();
        let trigger = self.hand.trigger.filter(|_| fresh);
        let waited_ms = trigger.map_or(0, |trigger| self.clock.now_ms() - trigger.tick_ms) as f64;
        let scheduling_delay_ms = (waited_ms - ms(processing)).max(0.0);
        let progress = BatchProgress {
            job: self.engine.job().name.clone(),
            batch: plan.batch,
            time: plan.time,
            timeline: plan.timeline,
            run_epoch: committed.commit.run_epoch,
            origin: match (self.hand.recovering, self.hand.catching_up) {
                (true, _) => Origin::Recovered,
                (false, true) => Origin::CaughtUp,
                (false, false) => Origin::Fresh,
            },
            lag: self.lag(plan),
            ranges: plan.ranges.clone(),
            lost: plan.lost.iter().map(ToString::to_string).collect(),
            input_rows: rows,
            input_rows_per_second: since_last.map_or(0.0, |elapsed| rows_per_second(rows, elapsed)),
            processed_rows_per_second: rows_per_second(rows, processing),
            durations_ms: VerbDurations {
                available: ms(took.available),
                plan: ms(took.plan),
                log_planned: ms(took.log_planned),
                execute: ms(took.execute),
                stage: ms(took.stage),
                publish: ms(took.publish),
                log_committed: ms(took.log_committed),
                purge: ms(self.reporter.last_purge()),
            },
            state: self.state_sizes(),
            poison: committed.commit.poison.iter().map(|p| (p.step.clone(), p.count)).collect(),
            scheduling_delay_ms,
            processing_delay_ms: ms(processing),
            total_delay_ms: scheduling_delay_ms + ms(processing),
            batch_interval_ms: self.interval.ms(),
            missed_ticks: trigger.map_or(0, |trigger| trigger.missed_ticks),
            clock_distance_ms: trigger.map_or(0, |trigger| trigger.distance_ms),
        };
        progress.log(match trigger {
            _ if self.hand.after_outage => Missed::ByOutage,
            Some(trigger) if trigger.missed_by_downtime => Missed::ByDowntime,
            Some(trigger) if trigger.waited => Missed::ByClock,
            _ => Missed::ByBatches,
        });
        self.reporter.write(&progress)?;
        if let Some(bar) = self.bounded.as_ref().and_then(|bounded| bounded.bar.as_ref()) {
            bar.advance(progress.processed_rows_per_second);
        }
        Ok(())
    }

    fn lag(&self, plan: &crate::protocol::PlanRecord) -> Vec<PartitionLag> {
        let lag = |range: &OffsetRange| {
            let now = self.inputs.find(self.reporter.available(), range)?;
            Some(PartitionLag {
                source: range.source.to_string(),
                topic: range.tp.topic.to_string(),
                partition: range.tp.partition,
                latest: now.latest,
                lag: u64::try_from(now.latest - range.until).unwrap_or(0),
            })
        };
        plan.ranges.iter().filter_map(lag).collect()
    }

    fn state_sizes(&self) -> Vec<StateSize> {
        let mut steps: Vec<_> = self.engine.states.iter().collect();
        steps.sort_by_key(|(step, _)| **step);
        steps
            .into_iter()
            .map(|(step, state)| StateSize {
                step: self.engine.state_name(*step),
                rows: state.rows(),
                bytes: state.memory_bytes(),
            })
            .collect()
    }
}

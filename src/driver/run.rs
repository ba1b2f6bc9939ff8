//! One run of a job: recovery, then batch after batch until it is asked to stop or has reached its end.

use crossbeam_channel::Receiver;

use super::{
    clock::Clock,
    drain::Drain,
    edges::{Edges, World},
    error::DriverError,
    in_hand::Next,
    options::RunOptions,
    recovery::{self, Around},
};
use crate::{job::Job, telemetry::Bars};

/// Runs `job` until it is asked to drain, reaches its bound, or fails.
pub fn run(
    job: Job,
    options: &RunOptions,
    clock: &dyn Clock,
    requests: Receiver<()>,
    bars: &Bars,
) -> Result<(), DriverError> {
    run_between(&World::default(), job, options, clock, requests, bars)
}

/// [`run`] with sources and sinks from `edges`.
pub fn run_between(
    edges: &dyn Edges,
    job: Job,
    options: &RunOptions,
    clock: &dyn Clock,
    requests: Receiver<()>,
    bars: &Bars,
) -> Result<(), DriverError> {
    let mut run = recovery::open(job, options, Around { clock, drain: Drain::new(requests), bars, edges })?;
    run.find_starts()?;
    let mut due = None;
    loop {
        let planned = match due.take() {
            Some(planned) => Some(planned),
            None => run.plan_next()?,
        };
        let Some(planned) = planned else { break };
        due = run.one_batch(planned, Next::IfDue)?.next;
        run.purge()?;
    }
    run.finish()
}

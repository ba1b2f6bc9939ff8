//! Where a run gets its sources and sinks: from the world, or from a test that stands in for it.

use super::{
    error::DriverError,
    inputs::Positions,
    sources::{self, Opened},
};
use crate::{
    job::{Job, Step},
    sink::{self, Sink, SinkError},
};

/// The two edges of a job that a run opens.
pub trait Edges {
    /// Every source of `job`, in the order of the job. `positions` are the stored offsets.
    fn sources(&self, job: &Job, positions: &Positions) -> Result<Opened, DriverError>;

    /// The sink of one output step.
    fn sink(&self, job: &Job, step: &Step) -> Result<Box<dyn Sink>, SinkError>;
}

/// Kafka, files, stdout: what the job names.
#[derive(Debug, Clone, Copy, Default)]
pub struct World;

impl Edges for World {
    fn sources(&self, job: &Job, positions: &Positions) -> Result<Opened, DriverError> {
        sources::open(job, positions)
    }

    fn sink(&self, job: &Job, step: &Step) -> Result<Box<dyn Sink>, SinkError> {
        sink::open(job, step)
    }
}

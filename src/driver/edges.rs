//! Where a run gets its sources and sinks: from the world, or from a test that stands in for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    error::DriverError,
    inputs::Positions,
    sources::{self, Opened},
};
use crate::{
    job::{Job, OnError, Step},
    sink::{self, Sink, SinkError, kafka::KafkaOutputs},
};

/// The two edges of a job that a run opens.
pub trait Edges {
    /// Every source of `job`, in the order of the job. `positions` are the stored offsets.
    fn sources(&self, job: &Job, positions: &Positions) -> Result<Opened, DriverError>;

    /// The sink of one output step.
    fn sink(&self, job: &Job, step: &Step) -> Result<Box<dyn Sink>, SinkError>;

    /// The sink of the dead letters for one place.
    fn dead_letters(&self, job: &Job, name: &str, to: &OnError) -> Result<Box<dyn Sink>, SinkError>;
}

/// Kafka, files, stdout: what the job names.
#[derive(Default)]
pub struct World {
    shared: Mutex<Shared>,
}

/// What outputs share among themselves and with the sources.
#[derive(Default)]
struct Shared {
    kafka: KafkaOutputs,
    /// Address of the embedded broker, once it runs.
    embedded: Option<String>,
}

impl World {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edges for World {
    fn sources(&self, job: &Job, positions: &Positions) -> Result<Opened, DriverError> {
        let opened = sources::open(job, positions)?;
        self.shared().embedded = opened.brokers.first().map(|broker| broker.brokers().to_owned());
        Ok(opened)
    }

    fn sink(&self, job: &Job, step: &Step) -> Result<Box<dyn Sink>, SinkError> {
        let Shared { kafka, embedded } = &mut *self.shared();
        sink::open(job, step, kafka, embedded.as_deref())
    }

    fn dead_letters(&self, job: &Job, name: &str, to: &OnError) -> Result<Box<dyn Sink>, SinkError> {
        let Shared { kafka, embedded } = &mut *self.shared();
        sink::open_dead_letters(job, name, to, kafka, embedded.as_deref())
    }
}

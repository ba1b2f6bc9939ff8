//! Loading the job a subcommand was given.

use super::{Exit, Failure, failure};
use crate::{
    driver::options::JobRef,
    job::{self, Colour, Job, JobError, Overrides, Warning},
    source::kafka::properties::Librdkafka,
    telemetry::log::stderr_has_colour,
};

/// The checked job, its secrets and Kafka properties included. Its warnings go to stderr; its mistakes, all of them, are
/// the failure.
pub fn load(job: &JobRef) -> Result<Job, Failure> {
    loaded(job, |overrides, environment| job::load_for_run(&job.path, overrides, environment, &Librdkafka))
}

/// As [`load`], for work on the checkpoint alone: nobody asks for secrets.
pub fn load_offline(job: &JobRef) -> Result<Job, Failure> {
    loaded(job, |overrides, environment| job::load(&job.path, overrides, environment))
}

type Loaded = Result<(Job, Vec<Warning>), JobError>;

fn loaded(
    job: &JobRef,
    load: impl FnOnce(&Overrides, &dyn Fn(&str) -> Option<String>) -> Loaded,
) -> Result<Job, Failure> {
    let colour = match stderr_has_colour() {
        true => Colour::Styled,
        false => Colour::Plain,
    };
    let overrides = Overrides { brokers: job.brokers.clone(), set: job.set.clone() };
    let environment = |name: &str| std::env::var(name).ok();
    let (job, warnings) = load(&overrides, &environment).map_err(|error| match error {
        JobError::Mistakes(mistakes) => Failure::rendered(Exit::Usage, mistakes.render(colour)),
        JobError::File { ref hint, .. } => {
            let failure = Failure::new(Exit::Usage, error.to_string());
            hint.iter().fold(failure, |failure, hint| failure.hint(hint))
        }
    })?;
    for warning in warnings {
        failure::note(&warning.render(colour));
    }
    Ok(job)
}

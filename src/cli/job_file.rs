//! Loading the job a subcommand was given.

use super::{Exit, Failure, failure};
use crate::{
    driver::options::JobRef,
    job::{self, Colour, Job, JobError, Overrides},
    source::kafka::properties::Librdkafka,
    telemetry::log::stderr_has_colour,
};

/// The checked job. Its warnings go to stderr; its mistakes, all of them, are the failure.
pub fn load(job: &JobRef) -> Result<Job, Failure> {
    let colour = match stderr_has_colour() {
        true => Colour::Styled,
        false => Colour::Plain,
    };
    let overrides = Overrides { brokers: job.brokers.clone(), set: job.set.clone() };
    let environment = |name: &str| std::env::var(name).ok();
    let (job, warnings) =
        job::load_for_run(&job.path, &overrides, &environment, &Librdkafka).map_err(|error| match error {
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

//! `kstream check`

use std::io::{self, Write};

use clap::Args;

use super::{Failure, Session, args, failure, job_file};
use crate::job::Job;

/// Check a job file: keys, lambdas, lineage, Kafka properties, secrets. No connection is made.
///
/// All mistakes are reported at once, each with its line.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    job: args::JobArgs,
}

pub fn run(args: CheckArgs, _session: &Session) -> Result<(), Failure> {
    let path = args.job.job.display().to_string();
    let job = job_file::load(&args.job.into())?;
    failure::printed(writeln!(io::stdout().lock(), "{path}: {}", summary(&job)))
}

/// `wordcount is right: 1 source, 5 steps, 1 output`
fn summary(job: &Job) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let outputs = job.steps.iter().filter(|step| step.operator.is_output()).count();
    format!(
        "{} is right: {}, {}, {}",
        job.name,
        count(job.sources.len(), "source"),
        count(job.steps.len(), "step"),
        count(outputs, "output")
    )
}

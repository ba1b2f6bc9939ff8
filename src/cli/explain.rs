//! `kstream explain`

use std::io::{self, Write};

use clap::Args;

use super::{Failure, Session, args, failure, job_file};
use crate::{driver::options::JobRef, lineage::explain::explain};

/// Show how a job will run: stages, shuffles, outputs, state, and which lambdas run natively.
///
/// No connection is made.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    job: args::JobArgs,
}

pub fn run(args: ExplainArgs, _session: &Session) -> Result<(), Failure> {
    call(&args.job.into())
}

fn call(job: &JobRef) -> Result<(), Failure> {
    let job = job_file::load(job)?;
    failure::printed(io::stdout().lock().write_all(explain(&job).as_bytes()))
}

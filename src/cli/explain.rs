//! `kstream explain`

use clap::Args;

use super::{Failure, Session, args};
use crate::driver::options::JobRef;

/// Show how a job will run: stages, shuffles, outputs, state, and which lambdas run natively.
///
/// No connection is made.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    job: args::JobArgs,
}

pub fn run(args: ExplainArgs, session: &Session) -> Result<(), Failure> {
    call(&args.job.into(), session)
}

fn call(_job: &JobRef, _session: &Session) -> Result<(), Failure> {
    Err(Failure::not_wired("explain"))
}

//! `kstream check`

use clap::Args;

use super::{Failure, Session, args};
use crate::driver::options::JobRef;

/// Check a job file: keys, lambdas, lineage. No connection is made.
///
/// All mistakes are reported at once, each with its line.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    job: args::JobArgs,
}

pub fn run(args: CheckArgs, session: &Session) -> Result<(), Failure> {
    call(&args.job.into(), session)
}

fn call(_job: &JobRef, _session: &Session) -> Result<(), Failure> {
    Err(Failure::not_wired("check"))
}

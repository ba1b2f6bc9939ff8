//! `kstream test`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Session};
use crate::driver::options::TestOptions;

/// Run fixtures: batches in, batches out, offline and always alike.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Fixture files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub fn run(args: TestArgs, session: &Session) -> Result<(), Failure> {
    call(&TestOptions { files: args.files }, session)
}

fn call(_options: &TestOptions, _session: &Session) -> Result<(), Failure> {
    Err(Failure::not_wired("test"))
}

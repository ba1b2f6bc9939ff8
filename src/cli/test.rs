//! `kstream test`

use std::{io, path::PathBuf};

use clap::Args;

use super::{Failure, failure};
use crate::driver::{fixture, options::TestOptions};

/// Run fixtures: batches in, batches out, offline and always alike.
///
/// A fixture is a TOML file with a job, the batches it gets and what its outputs must give. Every fixture runs twice,
/// straight through and with a restart before every batch, on a clock that does not wait and without Kafka. A
/// difference is shown line by line, and ends with exit code 7; a fixture that cannot be run is shown with the place of
/// the mistake, and ends with exit code 2.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Fixture files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write what the jobs give into the fixtures, in place of what was expected.
    #[arg(long)]
    update: bool,
}

pub fn run(args: TestArgs) -> Result<(), Failure> {
    call(&TestOptions { files: args.files, update: args.update })
}

fn call(options: &TestOptions) -> Result<(), Failure> {
    failure::driven(fixture::test(options, &mut io::stdout().lock()).map(|_| ()))
}

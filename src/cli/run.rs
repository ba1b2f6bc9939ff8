//! `kstream run`

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;

use super::{Failure, Session, args, failure, job_file};
use crate::{
    driver::{
        self,
        options::{AcceptChanges, JobRef, RunOptions, Until, Where},
        signal::drain_on_signal,
    },
    sink::Assume,
};

/// Run a job until it is stopped.
///
/// SIGINT and SIGTERM commit the batch in flight and exit; a second one stops now. A job that was stopped or killed goes
/// on where its checkpoint ends.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    job: args::JobArgs,
    /// Process what is available at start, without waiting for ticks, and stop (Spark's AvailableNow).
    #[arg(long)]
    until_caught_up: bool,
    /// Stop after this many committed batches.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = args::parse_count)]
    max_batches: Option<NonZeroU64>,
    /// Where to begin, only for a job without checkpoint: earliest, latest, -10m, 2026-11-20T10:00:00Z, or
    /// topic:partition:offset,...
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = args::parse_where)]
    start: Option<Where>,
    /// Go on although the edited job drops state or topics; drops exactly what was listed.
    #[arg(long)]
    accept_changes: bool,
    /// Where Kafka has forgotten whether the batch in flight was delivered: take it as delivered.
    #[arg(long, conflicts_with = "assume_unpublished")]
    assume_published: bool,
    /// Where Kafka has forgotten whether the batch in flight was delivered: deliver it.
    #[arg(long)]
    assume_unpublished: bool,
    /// Threads that compute; all cores if not given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = args::parse_threads)]
    threads: Option<NonZeroUsize>,
    /// Append one JSON record a batch to this file.
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
}

pub fn run(args: RunArgs, session: &Session) -> Result<(), Failure> {
    let options = RunOptions {
        until: if args.until_caught_up { Until::CaughtUp } else { Until::Stopped },
        max_batches: args.max_batches.map(NonZeroU64::get),
        start: args.start,
        accept_changes: match args.accept_changes {
            true => AcceptChanges::DropWhatIsListed,
            false => AcceptChanges::Refuse,
        },
        assume: match (args.assume_published, args.assume_unpublished) {
            (true, _) => Some(Assume::Published),
            (false, true) => Some(Assume::Unpublished),
            (false, false) => None,
        },
        threads: args.threads,
        progress: args.progress,
    };
    call(&args.job.into(), &options, session)
}

fn call(job: &JobRef, options: &RunOptions, session: &Session) -> Result<(), Failure> {
    let job = job_file::load(job)?;
    let requests = drain_on_signal().map_err(super::cannot_handle_signals)?;
    failure::driven(driver::run(job, options, &*session.clock, requests, &session.bars))
}

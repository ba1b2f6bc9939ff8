//! `kstream replay`

use std::num::NonZeroUsize;

use clap::{ArgGroup, Args};

use super::{Failure, Session, args, failure, job_file};
use crate::{
    driver::{
        options::{JobRef, Moment, ReplayMode, ReplayOptions, WhichBatches},
        replay::replay,
    },
    model::BatchId,
};

/// Run stored batches again, from their logged offset ranges, with the given job.
///
/// No checkpoint is touched: pprint outputs go to stdout, the other outputs are counted, commands do not run.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["batch", "from", "since"]))]
pub struct ReplayArgs {
    #[command(flatten)]
    job: args::JobArgs,
    /// Only this batch.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    batch: Option<u64>,
    /// From this batch on.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    from: Option<u64>,
    /// Up to this batch, included.
    #[arg(long, value_name = "ID", allow_negative_numbers = true, requires = "from")]
    to: Option<u64>,
    /// Batches of this time and later: 2026-11-20T10:00:00Z, or -10m.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = args::parse_moment)]
    since: Option<Moment>,
    /// Compare instead, with the job that ran each batch, with the digests stored at commit; exit 7 on a difference.
    #[arg(long)]
    verify: bool,
    /// Threads that compute; all cores if not given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = args::parse_threads)]
    threads: Option<NonZeroUsize>,
}

pub fn run(args: ReplayArgs, session: &Session) -> Result<(), Failure> {
    let options = ReplayOptions {
        which: match (args.batch, args.from, args.since) {
            (Some(id), _, _) => WhichBatches::One(BatchId(id)),
            (_, Some(from), _) => WhichBatches::Range { from: BatchId(from), to: args.to.map(BatchId) },
            (_, _, Some(since)) => WhichBatches::Since(since),
            _ => WhichBatches::All,
        },
        mode: if args.verify { ReplayMode::Verify } else { ReplayMode::Show },
        threads: args.threads,
    };
    call(&args.job.into(), &options, session)
}

fn call(job: &JobRef, options: &ReplayOptions, session: &Session) -> Result<(), Failure> {
    let job = job_file::load(job)?;
    failure::driven(replay(&job, options, session.clock.now_ms(), &session.bars))
}

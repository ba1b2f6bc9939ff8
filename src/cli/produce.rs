//! `kstream produce`

use std::{io, path::PathBuf};

use clap::Args;

use super::{Failure, Session, args, failure};
use crate::kafka_admin::produce::{ProduceOptions, produce};

/// Write lines to a topic, one record each.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// The topic; it must exist.
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Files of lines; stdin if none is given.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Records a second; as fast as possible if not given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    rate: Option<f64>,
    /// What stands before the first S in a line is the record's key.
    #[arg(long, value_name = "S")]
    key_separator: Option<String>,
    /// The lines are dead letters: write back the records they hold, keys, values and headers as they were.
    #[arg(long, conflicts_with = "key_separator")]
    dead_letters: bool,
    /// Write to this partition; by key if not given.
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}

pub fn run(args: ProduceArgs, session: &Session) -> Result<(), Failure> {
    call(args, session)
}

fn call(args: ProduceArgs, _session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    let options = ProduceOptions {
        topic: args.topic,
        files: args.files,
        rate: args.rate,
        key_separator: args.key_separator,
        partition: args.partition,
        dead_letters: args.dead_letters,
    };
    failure::chore(produce(&cluster, &options, &mut io::stdin().lock(), &mut io::stdout().lock()).map(drop))
}

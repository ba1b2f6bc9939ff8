//! `kstream produce`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Session, args};

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
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
    /// What stands before the first S in a line is the record's key.
    #[arg(long, value_name = "S")]
    key_separator: Option<String>,
    /// Write to this partition; by key if not given.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
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
    let _ = (
        args.connect.properties()?,
        args.connect.brokers,
        args.topic,
        args.files,
        args.rate,
        args.key_separator,
        args.partition,
    );
    Err(Failure::not_wired("produce"))
}

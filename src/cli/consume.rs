//! `kstream consume`

use std::num::NonZeroU64;

use clap::{Args, ValueEnum};

use super::{Failure, Session, args};
use crate::driver::options::Where;

/// Print the records of a topic.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// The topic.
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Where to begin: earliest, latest, -10m, 2026-11-20T10:00:00Z, or topic:partition:offset,...
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "latest",
        allow_hyphen_values = true,
        value_parser = args::parse_where
    )]
    from: Where,
    /// How a record is printed.
    #[arg(long, value_name = "FORMAT", default_value = "value")]
    format: Format,
    /// Stop after this many records.
    #[arg(long, short = 'n', value_name = "N", value_parser = args::parse_count)]
    max: Option<NonZeroU64>,
    /// Stop at what was the end when it began.
    #[arg(long)]
    until_end: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The value, as text.
    Value,
    /// Key and value, with a tab between them.
    KeyValue,
    /// One JSON object with everything a record has.
    Json,
}

pub fn run(args: ConsumeArgs, session: &Session) -> Result<(), Failure> {
    call(args, session)
}

fn call(args: ConsumeArgs, _session: &Session) -> Result<(), Failure> {
    let _ = (
        args.connect.properties()?,
        args.connect.brokers,
        args.topic,
        args.from,
        args.format,
        args.max,
        args.until_end,
    );
    Err(Failure::not_wired("consume"))
}

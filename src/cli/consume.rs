//! `kstream consume`

use std::{io, num::NonZeroU64};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::{Failure, Session, args, failure};
use crate::{
    driver::options::Where,
    kafka_admin::consume::{self, ConsumeOptions},
};

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
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = args::parse_count)]
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

fn call(args: ConsumeArgs, session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    let options = ConsumeOptions {
        topic: args.topic,
        from: args.from.resolve(session.clock.now_ms(), &TimeZone::system()),
        format: match args.format {
            Format::Value => consume::Format::Value,
            Format::KeyValue => consume::Format::KeyValue,
            Format::Json => consume::Format::Json,
        },
        max: args.max.map(NonZeroU64::get),
        until_end: args.until_end,
    };
    failure::chore(consume::consume(&cluster, &options, &mut io::stdout().lock()).map(drop))
}

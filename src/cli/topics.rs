//! `kstream topics`

use std::io;

use clap::{Args, Subcommand};

use super::{Failure, Session, args, failure};
use crate::kafka_admin::topics::{self, CreateOptions};

/// What librdkafka takes; brokers may take less.
const MOST_PARTITIONS: i64 = 100_000;
const MOST_REPLICAS: i64 = 10_000;

/// List, create, describe and delete topics.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(ListArgs),
    Create(CreateArgs),
    Describe(NamesArgs),
    Delete(DeleteArgs),
}

/// List the topics, with partitions and offsets.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// Kafka's own topics, too.
    #[arg(long)]
    internal: bool,
}

/// Create topics.
#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// The topics.
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Partitions of each.
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, default_value = "1", value_parser = clap::value_parser!(i32).range(1..=MOST_PARTITIONS))]
    partitions: i32,
    /// Copies of each partition.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value = "1", value_parser = clap::value_parser!(i32).range(1..=MOST_REPLICAS))]
    replication_factor: i32,
    /// A setting of the topics, such as retention.ms=60000.
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::parse_set)]
    config: Vec<(String, String)>,
}

/// Show the partitions of topics: leader, offsets, replicas.
#[derive(Debug, Args)]
struct NamesArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// The topics.
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
}

/// Delete topics, with all their records.
#[derive(Debug, Args)]
struct DeleteArgs {
    #[command(flatten)]
    connect: args::ConnectArgs,
    /// The topics.
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
}

pub fn run(args: TopicsArgs, session: &Session) -> Result<(), Failure> {
    match args.action {
        Action::List(list) => call_list(list, session),
        Action::Create(create) => call_create(create, session),
        Action::Describe(names) => call_describe(names, session),
        Action::Delete(delete) => call_delete(delete, session),
    }
}

fn call_list(args: ListArgs, _session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    failure::chore(topics::list(&cluster, args.internal, &mut io::stdout().lock()))
}

fn call_create(args: CreateArgs, _session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    let options = CreateOptions {
        topics: args.topics,
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        config: args.config,
    };
    failure::chore(topics::create(&cluster, &options, &mut io::stdout().lock()))
}

fn call_describe(args: NamesArgs, _session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    failure::chore(topics::describe(&cluster, &args.topics, &mut io::stdout().lock()))
}

fn call_delete(args: DeleteArgs, _session: &Session) -> Result<(), Failure> {
    let cluster = args.connect.cluster()?;
    failure::chore(topics::delete(&cluster, &args.topics, &mut io::stdout().lock()))
}

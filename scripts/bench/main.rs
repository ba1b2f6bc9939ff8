//! The benchmark: fills topics, runs the programs to be compared in turn, checks their counts, prints the ratios.
//!
//! ```text
//! compare      what scripts/bench/run calls
//! compute      records in memory through the engine alone, against its rivals
//! peers        the same words counted by other engines
//! chart        draws what compare has measured
//! bare         reads a topic and only counts its messages     } each a process of its own,
//! reference    reads a topic and computes by hand             } measured from outside
//! ```
//!
//! In the order of the data: `workload` (what is in a topic and what is asked of it), `fill`, `consume` (librdkafka's raw
//! batch call), `compute` (by hand), `measure` (CPU, time and memory of a process), `disk`, `idle` and `live` (jobs that wait
//! for messages), `programs` (how they are started), `compare`, `report`; `memory` (the sub-command `compute`); `engines` (the
//! others, below `peers/`), `committed` (what Kafka Streams wrote), `peers`, `ranking` (their report); `results` (the file of
//! all), `chart`.

mod chart;
mod committed;
mod compare;
mod compute;
mod consume;
mod counts;
mod disk;
mod engines;
mod fill;
mod idle;
mod live;
mod measure;
mod memory;
mod peers;
mod programs;
mod ranking;
mod report;
mod results;
mod start;
mod workload;

use std::{error::Error, path::PathBuf};

use clap::Parser;

use workload::Workload;

#[derive(Debug, Parser)]
enum Command {
    /// Fill, run, compare.
    Compare(compare::Compare),
    /// Compute on records in memory.
    Compute(memory::Compute),
    /// Fill, run the engines, rank them.
    Peers(peers::Peers),
    /// Draw a results.json.
    Chart(chart::Chart),
    /// Count the messages of a topic and do nothing else.
    Bare(Consume),
    /// Compute what kstream computes, by hand.
    Reference(Consume),
}

#[derive(Debug, clap::Args)]
struct Consume {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    workload: Workload,
    #[arg(long)]
    threads: usize,
    /// Where the counts go.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::Compare(compare) => compare::compare(&compare),
        Command::Compute(args) => memory::compute(&args),
        Command::Peers(args) => peers::peers(&args),
        Command::Chart(chart) => chart::chart(&chart),
        Command::Bare(args) => {
            let tables = consume::consume(&args.brokers, &args.topic, args.threads, compute::Bare::default)?;
            let messages: u64 = tables.iter().map(|table| table.messages).sum();
            counts::write(&args.out, &counts::messages(messages))
        }
        Command::Reference(args) => {
            let tables =
                consume::consume(&args.brokers, &args.topic, args.threads, || compute::Reference::new(args.workload))?;
            counts::write(&args.out, &compute::merge(tables))
        }
    }
}

//! `compute`: records that lie in memory already, through kstream's engine and by its rivals, in one process.
//!
//! No broker, no disk: what is measured is executor, lambdas, shuffle and operators as a job text compiles to them. All
//! cases are measured in turn, round by round; every result is compared with the truth.

mod case;
mod engine;
mod report;
mod source;

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use self::{
    case::{Case, Contest, Run},
    report::{Report, Sample},
};
use crate::counts::{self, Counts};

/// A measurement takes at least so long, by as many runs as that needs: the kernel's clocks tick coarsely.
const LEAST: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub struct Compute {
    /// Where results.json goes.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_delimiter = ',')]
    only: Vec<Case>,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Lines and words, in millions; a quarter of it of JSON documents, and of lines that are only split.
    #[arg(long, default_value_t = 0.8)]
    millions: f64,
}

pub fn compute(args: &Compute) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&args.out)?;
    let cases = if args.only.is_empty() { Case::value_variants() } else { &args.only };
    let mut contests = Vec::new();
    for &case in cases {
        contests.push((case, case.contest((args.millions * 1e6) as u64)?));
    }
    let mut report = Report::default();
    for round in 1..=args.rounds {
        for (case, contest) in &contests {
            let (own, rival) = measure_both(*case, contest)?;
            eprintln!("{} round {round}: {:.1} ns, {} {:.1} ns", case.name(), own.cpu_ns, case.rival(), rival.cpu_ns);
            report.add(*case, own, rival);
        }
    }
    crate::results::update(&args.out, &report.json())?;
    print!("{report}");
    println!("\nwritten to {}", crate::results::path(&args.out).display());
    Ok(())
}

fn measure_both(case: Case, contest: &Contest) -> Result<(Sample, Sample), Box<dyn Error>> {
    let measured =
        |name: &str, run: &Run| measure(run, contest).map_err(|error| format!("{} by {name}: {error}", case.name()));
    Ok((measured("kstream", &contest.own)?, measured(case.rival(), &contest.rival)?))
}

/// Runs until the time is long enough to be told; the result must be right each time.
fn measure(run: &Run, contest: &Contest) -> Result<Sample, Box<dyn Error>> {
    let check = |found: Counts| match counts::difference(&contest.truth, &found) {
        Some(difference) => Err(format!("counted wrong: {difference}")),
        None => Ok(()),
    };
    let mut results = Vec::new();
    let (cpu, begun) = (cpu_ns()?, Instant::now());
    while results.is_empty() || begun.elapsed() < LEAST {
        results.push(run()?);
    }
    let (cpu, wall) = (cpu_ns()? - cpu, begun.elapsed());
    let elements = (contest.elements * results.len()) as f64;
    results.into_iter().try_for_each(check)?;
    Ok(Sample { cpu_ns: cpu / elements, wall_ns: wall.as_nanos() as f64 / elements })
}

/// User and system time of this process.
fn cpu_ns() -> Result<f64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds()) as f64)
}

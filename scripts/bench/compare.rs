//! One interleaved run: for each workload, round by round, the bare consumer, the reference, kstream; every count checked.

use std::{error::Error, fs, path::PathBuf};

use crate::{
    counts::{self, Counts},
    disk, fill, idle,
    live::{self, Live},
    measure::{self, Usage},
    programs::{Programs, remove},
    report::{Measured, Program, Report},
    results, start,
    workload::{Pace, Workload},
};

/// Starts that are timed.
const STARTS: u32 = 7;

const DEFAULT: [&str; 12] = [
    "words",
    "lines",
    "json",
    "lines-lz4",
    "lines-zstd",
    "lines-starlark",
    "idle",
    "light200",
    "fast50",
    "state1m",
    "distinct10m",
    "state10m",
];

#[derive(Debug, clap::Args)]
pub struct Compare {
    #[command(flatten)]
    programs: Programs,
    /// Where topics' truths, logs, checkpoints and results.json go.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_delimiter = ',', default_values_t = DEFAULT.map(workload))]
    only: Vec<Workload>,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[arg(long)]
    millions: Option<f64>,
}

fn workload(name: &str) -> Workload {
    clap::ValueEnum::from_str(name, false).expect("a workload's name")
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub fn compare(args: &Compare) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&args.out)?;
    let mut report = Report::new(disk::fsync_p50_ms(&args.out)?, args.programs.threads(), args.rounds);
    for &workload in &args.only {
        if workload == Workload::Idle {
            report.idle = Some(args.idle()?);
            report.start_ms = args.start()?;
            continue;
        }
        if let Some(pace) = workload.pace() {
            report.live.push(args.live(workload, pace)?);
            continue;
        }
        let count = args.millions.map_or(workload.default_messages(), |millions| (millions * 1e6) as u64);
        let topic = format!("bench-{}-{count}", workload.topic());
        eprintln!("filling {topic}");
        let truth = fill::fill(&args.programs.brokers, &topic, workload, count)?;
        for round in 1..=args.rounds {
            for program in Program::ALL {
                if program != Program::Kstream && !workload.is_compared() {
                    continue;
                }
                let (usage, found) = args.run(program, workload, &topic)?;
                let expected = if program == Program::Bare { counts::messages(count) } else { truth.clone() };
                if let Some(difference) = counts::difference(&expected, &found) {
                    return Err(format!("{} counted wrong on {topic}: {difference}", program.name()).into());
                }
                eprintln!(
                    "{topic} round {round} {}: {:.2} CPU-s, {:.2} s",
                    program.name(),
                    usage.cpu_seconds,
                    usage.wall_seconds
                );
                report.add(Measured { workload: workload.name(), program, messages: count, usage });
            }
        }
    }
    results::update(&args.out, &report.json())?;
    print!("{report}");
    println!("\nwritten to {}", results::path(&args.out).display());
    Ok(())
}

impl Compare {
    fn run(&self, program: Program, workload: Workload, topic: &str) -> Result<(Usage, Counts), Box<dyn Error>> {
        let out = self.out.join(format!("{topic}.{}", program.name()));
        if program == Program::Kstream {
            let checkpoint = self.out.join(format!("{topic}.checkpoint"));
            remove(&checkpoint)?;
            remove(&out)?;
            let mut command = self.programs.kstream(workload, topic, &checkpoint, &out);
            command.arg("--until-caught-up");
            let usage = measure::run(&mut command)?;
            return Ok((usage, counts::read_log(&out)?));
        }
        let mut command = self.programs.own(program.name(), workload, topic, &out)?;
        let usage = measure::run(&mut command)?;
        Ok((usage, counts::read(&out)?))
    }

    fn idle(&self) -> Result<idle::Idle, Box<dyn Error>> {
        let topic = "bench-idle";
        fill::fill(&self.programs.brokers, topic, Workload::Idle, 0)?;
        let (checkpoint, log) = (self.out.join("idle.checkpoint"), self.out.join("idle.log"));
        remove(&checkpoint)?;
        remove(&log)?;
        eprintln!("watching an idle job");
        idle::watch(&mut self.programs.kstream(Workload::Idle, topic, &checkpoint, &log))
    }

    /// Several starts of a job on a topic that holds a few lines.
    fn start(&self) -> Result<Vec<f64>, Box<dyn Error>> {
        let topic = "bench-start";
        fill::fill(&self.programs.brokers, topic, Workload::Lines, 1000)?;
        let (checkpoint, log) = (self.out.join("start.checkpoint"), self.out.join("start.log"));
        eprintln!("starting a job several times");
        let one = |_| {
            remove(&checkpoint)?;
            remove(&log)?;
            let mut command = self.programs.kstream(Workload::Lines, topic, &checkpoint, &log);
            start::to_first_plan_ms(command.arg("--until-caught-up"), &checkpoint)
        };
        (0..STARTS).map(one).collect()
    }

    /// A job that runs while messages come. Its topic is made for this run, so that the truth is known.
    fn live(&self, workload: Workload, pace: Pace) -> Result<Live, Box<dyn Error>> {
        let topic = format!("bench-{}-{}", workload.name(), std::process::id());
        let path = |what: &str| self.out.join(format!("{}.{what}", workload.name()));
        let (checkpoint, log, progress) = (path("checkpoint"), path("log"), path("progress"));
        for path in [&checkpoint, &log, &progress] {
            remove(path)?;
        }
        let mut command = self.programs.kstream(workload, &topic, &checkpoint, &log);
        command.arg("--progress").arg(&progress);
        eprintln!("{}: {} messages, then {} a second", workload.name(), pace.backlog, pace.messages_a_second);
        let run = live::Running {
            brokers: &self.programs.brokers,
            topic: &topic,
            workload,
            pace,
            log: &log,
            progress: &progress,
        };
        run.watch(&mut command)
    }
}

//! The word counts on other engines: round by round each of them reads the same topic to its end; every count is checked.
//!
//! CPU and memory are those of the engine's whole tree of processes, its start included; what the broker does for it is
//! not counted.

use std::{
    error::Error,
    fs::{self, File},
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    committed,
    counts::{self, Counts},
    engines::{self, Engine, Installed, Output},
    fill,
    measure::{self, Watched},
    programs::{Programs, remove},
    ranking::Ranking,
    results,
    workload::Workload,
};

const WORKLOADS: [Workload; 2] = [Workload::Words, Workload::Lines];
/// An engine that has not ended after this, and this for each million messages, hangs.
const MOST_SECONDS: f64 = 90.0;
const MOST_SECONDS_A_MILLION: f64 = 300.0;
/// Lines of its own messages that are shown of an engine that failed.
const LAST_WORDS: usize = 15;

#[derive(Debug, clap::Args)]
pub struct Peers {
    #[command(flatten)]
    programs: Programs,
    /// Where topics' truths, counts, checkpoints and results.json go.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_delimiter = ',', default_values_t = Engine::ALL)]
    only: Vec<Engine>,
    /// Where an engine is installed; one that is not told is left out.
    #[arg(long, value_parser = engines::installed)]
    installed: Vec<Installed>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[arg(long)]
    millions: Option<f64>,
}

pub fn peers(args: &Peers) -> Result<(), Box<dyn Error>> {
    let out = path::absolute(&args.out)?;
    fs::create_dir_all(&out)?;
    let mut ranking = Ranking::new(args.programs.threads(), args.rounds)?;
    for workload in WORKLOADS {
        let count = args.millions.map_or(workload.default_messages(), |millions| (millions * 1e6) as u64);
        let topic = format!("bench-{}-{count}", workload.topic());
        eprintln!("filling {topic}");
        let truth = fill::fill(&args.programs.brokers, &topic, workload, count)?;
        let engines: Vec<Engine> = Engine::ALL.into_iter().filter(|engine| args.runs(*engine)).collect();
        for &engine in &engines {
            let version = match args.directory(engine) {
                Some(installed) => installed.version()?,
                None if engine == Engine::Reference => rdkafka::util::get_rdkafka_version().1,
                None => env!("CARGO_PKG_VERSION").to_owned(),
            };
            ranking.open(workload, engine, version, count);
        }
        for round in 1..=args.rounds {
            for &engine in &engines {
                if ranking.has_failed(workload, engine) {
                    continue;
                }
                let run = Run { args, out: &out, engine, workload, topic: &topic, count, truth: &truth, round };
                let result = run.run().map_err(|error| error.to_string());
                match &result {
                    Ok(Watched { usage, .. }) => eprintln!(
                        "{topic} round {round} {engine}: {:.2} CPU-s, {:.2} s",
                        usage.cpu_seconds, usage.wall_seconds
                    ),
                    Err(fault) => eprintln!("{topic} round {round} {engine}: {fault}"),
                }
                ranking.add(workload, engine, result);
            }
        }
    }
    results::update(&out, &serde_json::json!({ "peers": ranking.json() }))?;
    print!("{ranking}");
    println!("\nwritten to {}", results::path(&out).display());
    let failed = ranking.failures();
    if 0 < failed { Err(format!("{failed} rows failed").into()) } else { Ok(()) }
}

impl Peers {
    fn runs(&self, engine: Engine) -> bool {
        self.only.contains(&engine) && (!engine.is_peer() || self.directory(engine).is_some())
    }

    fn directory(&self, engine: Engine) -> Option<&Installed> {
        self.installed.iter().find(|known| known.engine == engine)
    }
}

/// One run of one engine on one topic.
struct Run<'a> {
    args: &'a Peers,
    out: &'a Path,
    engine: Engine,
    workload: Workload,
    topic: &'a str,
    count: u64,
    truth: &'a Counts,
    round: u32,
}

impl Run<'_> {
    fn run(&self) -> Result<Watched, Box<dyn Error>> {
        let path = |what: &str| self.out.join(format!("peers-{}-{}.{what}", self.workload.name(), self.engine));
        let (out, scratch, messages) = (path("counts"), path("scratch"), path("stderr"));
        remove(&out)?;
        remove(&scratch)?;
        fs::create_dir_all(&scratch)?;
        let mut command = self.command(&out, &scratch)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&messages)?);
        let limit = MOST_SECONDS + MOST_SECONDS_A_MILLION * self.count as f64 / 1e6;
        let watched = measure::watch(&mut command, &out, Duration::from_secs_f64(limit));
        let found = match &watched {
            Ok(_) => self.counts(&out),
            Err(_) => Ok(Counts::new()),
        };
        remove(&scratch)?;
        if self.engine.output() == Output::Topic {
            committed::delete(&self.args.programs.brokers, &self.name())?;
        }
        let watched = watched.map_err(|error| format!("{error}{}", last_words(&messages)))?;
        match counts::difference(self.truth, &found?) {
            None => Ok(watched),
            Some(difference) => Err(format!("counted wrong: {difference}").into()),
        }
    }

    fn command(&self, out: &Path, scratch: &Path) -> Result<Command, Box<dyn Error>> {
        let programs = &self.args.programs;
        match self.engine {
            Engine::Kstream => {
                let mut command = programs.kstream(self.workload, self.topic, &scratch.join("checkpoint"), out);
                command.arg("--until-caught-up");
                Ok(command)
            }
            Engine::Reference => Ok(programs.own(self.engine.name(), self.workload, self.topic, out)?),
            engine => {
                let installed = self.args.directory(engine).ok_or_else(|| format!("{engine} is not installed"))?;
                let words: u64 = self.truth.values().sum();
                let mut command = programs.command(&installed.dir.join("start"));
                command.env("PEER_DIR", &installed.dir).env("PEER_BROKERS", &programs.brokers);
                command.env("PEER_TOPIC", self.topic).env("PEER_WORKLOAD", self.workload.name());
                command.env("PEER_THREADS", programs.threads().to_string()).env("PEER_RUN", self.name());
                command.env("PEER_OUT", out).env("PEER_SCRATCH", scratch).env("PEER_TOTAL", words.to_string());
                Ok(command)
            }
        }
    }

    /// A name that no other run has: for groups, applications and topics.
    fn name(&self) -> String {
        format!("bench-peer-{}-{}-{}-{}", self.engine, self.workload.name(), std::process::id(), self.round)
    }

    fn counts(&self, out: &Path) -> Result<Counts, Box<dyn Error>> {
        match self.engine.output() {
            Output::Topic => committed::read(&self.args.programs.brokers, &format!("{}-counts", self.name())),
            output => output.read(out),
        }
    }
}

/// The end of what a program said.
fn last_words(messages: &Path) -> String {
    let text = fs::read_to_string(messages).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
    last.iter().map(|line| format!("\n    {line}")).collect()
}

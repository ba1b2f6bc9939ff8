//! The command line: flags, subcommands, exit codes, and the one place that prints errors.
//!
//! One file a subcommand: its flags (clap), turned once into a plain options struct, and the call of the function that
//! does the work. Called by `main` only. Promises: data goes to stdout, everything else to stderr; every failure is
//! printed once, in the form of [`Failure`], and has an exit code of [`Exit`]. What a flag *means* is decided by the
//! room that is called, not here.

mod args;
pub mod batches;
mod check;
mod completions;
mod consume;
mod exit;
mod explain;
mod failure;
mod job_file;
mod produce;
mod replay;
mod rewind;
mod run;
mod test;
mod topics;

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue},
};

pub use exit::Exit;
pub use failure::Failure;

use crate::{
    driver::{
        clock::{Clock, JumpingClock, SystemClock},
        signal::outgrown_files_fail,
    },
    telemetry::{
        Bars,
        log::{self, LEVEL_VARIABLE, LogFormat, LogOptions},
    },
};

/// Spark Streaming's direct Kafka DStreams in one binary.
///
/// A job file says what to read, what to do with it, and where it goes. kstream reads Kafka in exact offset ranges, one
/// batch an interval, and commits each batch together with its offsets, so that a job that was killed goes on exactly
/// where it was.
#[derive(Debug, Parser)]
#[command(name = "kstream", version, max_term_width = 110, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs (to stderr; data goes to stdout)")]
struct Global {
    /// How logs are written.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "pretty")]
    log_format: LogFormatArg,
    /// Log more; twice for everything. KSTREAM_LOG=LEVEL goes before it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only; twice for errors only.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// Start at this time (milliseconds since the epoch) and let waiting take no time: for tests.
    #[arg(long, global = true, hide = true, value_name = "START_MS", allow_negative_numbers = true)]
    manual_clock: Option<i64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatArg {
    Pretty,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Replay(replay::ReplayArgs),
    Batches(batches::BatchesArgs),
    Rewind(rewind::RewindArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Topics(topics::TopicsArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Completions(completions::CompletionsArgs),
}

/// What every subcommand may use.
pub struct Session {
    pub clock: Arc<dyn Clock>,
    pub bars: Bars,
}

/// Parses the command line, runs the subcommand, prints what failed.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(failure) = job_without_command(&error) {
                return ended(Err(failure));
            }
            let printed = error.print().and_then(|()| io::stdout().flush());
            if error.use_stderr() {
                // Nobody is left to tell where this fails.
                return Exit::Usage;
            }
            return ended(failure::printed(printed));
        }
    };
    ended(start(&cli.global).and_then(|session| dispatch(cli.command, &session)))
}

/// `kstream job.toml` says what, and not what to do with it.
fn job_without_command(error: &clap::Error) -> Option<Failure> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let is_job = word.ends_with(".toml") || Path::new(word).is_file();
    is_job.then(|| {
        let failure = Failure::new(Exit::Usage, format!("`{word}` is no command"));
        failure.hint(format!("To run a job: kstream run {word}. To look at it: kstream check {word}."))
    })
}

fn cannot_handle_signals(error: io::Error) -> Failure {
    Failure::new(Exit::JobFailed, format!("cannot handle signals: {error}"))
}

fn ended(result: Result<(), Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => {
            failure.print();
            failure.exit
        }
    }
}

fn start(global: &Global) -> Result<Session, Failure> {
    outgrown_files_fail().map_err(cannot_handle_signals)?;
    let clock: Arc<dyn Clock> = match global.manual_clock {
        Some(start_ms) => Arc::new(JumpingClock::at(start_ms)),
        None => Arc::new(SystemClock),
    };
    let now = clock.clone();
    let options = LogOptions {
        format: match global.log_format {
            LogFormatArg::Pretty => LogFormat::Pretty,
            LogFormatArg::Json => LogFormat::Json,
        },
        verbosity: i8::try_from(global.verbose).unwrap_or(i8::MAX) - i8::try_from(global.quiet).unwrap_or(i8::MAX),
        level: std::env::var(LEVEL_VARIABLE).ok(),
        now: Arc::new(move || now.now_ms()),
    };
    let bars = log::init(options).map_err(|error| {
        Failure::new(Exit::Usage, error.to_string())
            .hint(format!("Set {LEVEL_VARIABLE} to error, warn, info, debug, trace, or room=level,..."))
    })?;
    Ok(Session { clock, bars })
}

fn dispatch(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args, session),
        Command::Replay(args) => replay::run(args, session),
        Command::Batches(args) => batches::run(args, session),
        Command::Rewind(args) => rewind::run(args, session),
        Command::Check(args) => check::run(args, session),
        Command::Explain(args) => explain::run(args, session),
        Command::Test(args) => test::run(args),
        Command::Topics(args) => topics::run(args, session),
        Command::Produce(args) => produce::run(args, session),
        Command::Consume(args) => consume::run(args, session),
        Command::Completions(args) => completions::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_flag_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}

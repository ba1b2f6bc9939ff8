//! `kstream rewind`

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::{Exit, Failure, Session, args, failure, job_file};
use crate::{
    driver::{
        options::{JobRef, LeavePublished, RewindOptions},
        rewind::rewind,
    },
    model::BatchId,
};

/// Make a batch the last committed one, so that the next run continues after it.
///
/// Logs are cut back to that batch. Output that cannot be taken back (Kafka, commands, batch directories) is refused
/// unless --leave-published says to leave it.
#[derive(Debug, Args)]
pub struct RewindArgs {
    #[command(flatten)]
    job: args::JobArgs,
    /// The batch that becomes the last committed one; `start` takes all of them back.
    #[arg(long, value_name = "ID", allow_negative_numbers = true, value_parser = parse_target)]
    to: Target,
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Leave published output that cannot be taken back where it is.
    #[arg(long)]
    leave_published: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target(Option<BatchId>);

fn parse_target(text: &str) -> Result<Target, &'static str> {
    match text {
        "start" => Ok(Target(None)),
        id => id.parse().map(|id| Target(Some(BatchId(id)))).map_err(|_| "expected the id of a batch, or start"),
    }
}

pub fn run(args: RewindArgs, session: &Session) -> Result<(), Failure> {
    let options = RewindOptions {
        to: args.to.0,
        published: if args.leave_published { LeavePublished::Leave } else { LeavePublished::Refuse },
    };
    if !args.yes {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(Failure::new(Exit::Usage, "rewind asks first, and nobody can answer")
                .hint("Say --yes where stdin is no terminal."));
        }
        let job = args.job.job.display();
        let question = match options.to {
            Some(to) => format!("Forget all batches of {job} after {to} and cut its logs back to it? [y/N] "),
            None => format!("Forget all batches of {job} and cut its logs back to where it began? [y/N] "),
        };
        if !confirmed(&question, &mut stdin.lock(), &mut io::stderr()) {
            return Err(Failure::new(Exit::Usage, "not confirmed, nothing was changed"));
        }
    }
    call(&args.job.into(), &options, session)
}

fn confirmed(question: &str, answers: &mut dyn BufRead, terminal: &mut dyn Write) -> bool {
    let mut answer = String::new();
    let asked = terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush());
    asked.and_then(|()| answers.read_line(&mut answer)).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn call(job: &JobRef, options: &RewindOptions, session: &Session) -> Result<(), Failure> {
    let job = job_file::load_offline(job)?;
    failure::driven(rewind(&job, options, &*session.clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), (" yes \n", true), ("\n", false), ("", false), ("yeah\n", false)]
        {
            let mut terminal = Vec::new();
            assert_eq!(confirmed("Really? ", &mut answer.as_bytes(), &mut terminal), expected, "{answer:?}");
            assert_eq!(terminal, b"Really? ");
        }
    }

    #[test]
    fn a_target_is_a_batch_or_the_start() {
        for (text, expected) in
            [("0", Ok(Some(0))), ("17", Ok(Some(17))), ("start", Ok(None)), ("-1", Err(())), ("", Err(()))]
        {
            assert_eq!(parse_target(text).map_err(drop), expected.map(|id| Target(id.map(BatchId))), "{text:?}");
        }
    }
}

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
    /// The batch that becomes the last committed one.
    #[arg(long, value_name = "ID")]
    to: u64,
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Leave published output that cannot be taken back where it is.
    #[arg(long)]
    leave_published: bool,
}

pub fn run(args: RewindArgs, session: &Session) -> Result<(), Failure> {
    let options = RewindOptions {
        to: BatchId(args.to),
        published: if args.leave_published { LeavePublished::Leave } else { LeavePublished::Refuse },
    };
    if !args.yes {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(Failure::new(Exit::Usage, "rewind asks first, and nobody can answer")
                .hint("Say --yes where stdin is no terminal."));
        }
        let question = format!(
            "Forget all batches of {} after {} and cut its logs back to it? [y/N] ",
            args.job.job.display(),
            args.to
        );
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
}

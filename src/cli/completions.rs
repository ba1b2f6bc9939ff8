//! `kstream completions`

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, failure};

/// Print the completions of a shell.
///
/// For bash: kstream completions bash > ~/.local/share/bash-completion/completions/kstream
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kstream", &mut script);
    failure::printed(io::stdout().lock().write_all(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kstream", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("until-caught-up"), "{shell}");
        }
    }
}

//! The one form of an error, and the one place that prints it.
//!
//! ```text
//! error: cannot read planned input of batch 42
//!   detail: topic partition orders/3 starts at offset 1900; the plan needs 1500..2100. 400 records are gone.
//!   hint: Set on_data_loss = "skip" to continue from offset 1900 and record the loss, or raise the topic's retention.
//! ```

use std::{
    fmt,
    io::{self, Write},
};

use super::Exit;
use crate::{
    driver::{Class, DriverError},
    kafka_admin::{ChoreError, ChoreErrorKind},
    open_files,
};

/// Why the process ends without having done what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Parts {
        message: String,
        /// Lines of a file with carets below what is meant.
        excerpt: Option<String>,
        detail: Vec<String>,
        hint: Option<String>,
    },
    /// Mistakes in a job file, printed with their source lines already.
    Rendered(String),
}

impl Failure {
    /// `message`: lower case, no final period.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, text: Text::Parts { message: message.into(), excerpt: None, detail: Vec::new(), hint: None } }
    }

    /// A text that is in the house's form, all of it.
    pub fn rendered(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: Text::Rendered(text.into()) }
    }

    fn excerpt(mut self, lines: Option<String>) -> Failure {
        if let Text::Parts { excerpt, .. } = &mut self.text {
            *excerpt = lines;
        }
        self
    }

    /// The facts, in sentences; a line each. May be called more than once.
    pub fn detail(mut self, sentences: impl Into<String>) -> Failure {
        if let Text::Parts { detail, .. } = &mut self.text {
            detail.extend(sentences.into().lines().map(str::to_owned));
        }
        self
    }

    /// What to do about it.
    pub fn hint(mut self, sentence: impl Into<String>) -> Failure {
        if let Text::Parts { hint, .. } = &mut self.text {
            *hint = Some(sentence.into());
        }
        self
    }

    /// To stderr. Where stderr is gone too, only the exit code is left.
    pub fn print(&self) {
        let _ = io::stderr().lock().write_all(self.clone().with_remedy().to_string().as_bytes());
    }

    /// Whatever failed for want of open files has one way on.
    fn with_remedy(mut self) -> Failure {
        if let Text::Parts { message, detail, hint, .. } = &mut self.text
            && let Some(remedy) = open_files::remedy(detail.iter().chain([&*message]).map(String::as_str))
        {
            *hint = Some(remedy);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Text::Rendered(text) => writeln!(f, "{}", text.trim_end()),
            Text::Parts { message, excerpt, detail, hint } => {
                writeln!(f, "error: {message}")?;
                excerpt.iter().try_for_each(|lines| writeln!(f, "{lines}"))?;
                detail.iter().try_for_each(|line| writeln!(f, "  detail: {line}"))?;
                hint.iter().try_for_each(|line| writeln!(f, "  hint: {line}"))
            }
        }
    }
}

/// Something worth reading that is no failure, to stderr.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Failure {
        let exit = match error.class {
            Class::Failed => Exit::JobFailed,
            Class::Usage => Exit::Usage,
            Class::Refused => Exit::CheckpointRefused,
            Class::DataLoss => Exit::DataLoss,
            Class::InUse => Exit::InUse,
            Class::Kafka => Exit::Kafka,
            Class::Difference => Exit::Difference,
            Class::ReaderGone => Exit::Done,
        };
        let failure = Failure::new(exit, error.message).excerpt(error.excerpt);
        let failure = error.detail.iter().fold(failure, |failure, detail| failure.detail(detail));
        error.hint.iter().fold(failure, |failure, hint| failure.hint(hint))
    }
}

/// The end of work that the driver did: a reader of stdout that has gone is no failure.
pub fn driven(result: Result<(), DriverError>) -> Result<(), Failure> {
    match result {
        Err(error) if error.class == Class::ReaderGone => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// The end of an everyday chore.
pub fn chore(result: Result<(), ChoreError>) -> Result<(), Failure> {
    let Err(error) = result else { return Ok(()) };
    let exit = match error.kind {
        ChoreErrorKind::ReaderGone => return Ok(()),
        ChoreErrorKind::Usage => Exit::Usage,
        ChoreErrorKind::Kafka => Exit::Kafka,
        ChoreErrorKind::Output => Exit::JobFailed,
    };
    let failure = Failure::new(exit, error.message);
    Err(error.hint.iter().fold(failure, |failure, hint| failure.hint(hint)))
}

/// Failure to write what was asked for to stdout: a reader that has gone is no failure.
pub fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::JobFailed, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_house_form() {
        let failure = Failure::new(Exit::DataLoss, "offsets are gone").detail("First.\nSecond.").hint("Do this.");
        assert_eq!(
            failure.to_string(),
            "error: offsets are gone\n  detail: First.\n  detail: Second.\n  hint: Do this.\n"
        );
        assert_eq!(failure.clone().with_remedy(), failure);
        let few = failure.detail("Too many open files (os error 24).").with_remedy().to_string();
        assert!(few.contains("hint: Raise the limit of open files") && !few.contains("Do this"), "{few}");
        assert_eq!(Failure::new(Exit::JobFailed, "no").to_string(), "error: no\n");
        assert_eq!(Failure::rendered(Exit::Usage, "error: x\n --> y\n\n").to_string(), "error: x\n --> y\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        assert!(printed(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert_eq!(printed(Err(io::ErrorKind::StorageFull.into())).unwrap_err().exit, Exit::JobFailed);
    }
}

//! Why a run ends: one error with its class, which is all the command line needs for the exit code.

use std::fmt;

use crate::model::text::on_one_line;

/// What kind of end it is; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The job failed.
    Failed,
    /// Usage, job file, or a checkpoint directory that cannot be used.
    Usage,
    /// The checkpoint, or what a sink holds, is refused.
    Refused,
    DataLoss,
    /// The checkpoint is in use, or this process was fenced.
    InUse,
    /// Kafka cannot be reached, or refuses.
    Kafka,
    /// A replay found a difference.
    Difference,
    /// The reader of stdout has gone: a quiet end, and no failure.
    ReaderGone,
}

/// A run's end that was not asked for.
#[derive(Debug, Clone)]
pub struct DriverError {
    pub class: Class,
    /// Lower case, no final period.
    pub message: String,
    /// Lines of the job file with carets below what failed.
    pub excerpt: Option<String>,
    /// Sentences, a line each.
    pub detail: Vec<String>,
    pub hint: Option<String>,
}

impl DriverError {
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), excerpt: None, detail: Vec::new(), hint: None }
    }

    pub fn detail(mut self, sentence: impl Into<String>) -> Self {
        self.detail.push(sentence.into());
        self
    }

    pub fn excerpt(mut self, excerpt: Option<String>) -> Self {
        self.excerpt = excerpt;
        self
    }

    /// The message and its details, for a line of the log.
    pub fn on_one_line(&self) -> String {
        let details = self.detail.iter().map(|detail| on_one_line(detail));
        details.fold(on_one_line(&self.message), |line, detail| format!("{line}; {}", detail.trim_end_matches('.')))
    }

    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DriverError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_several_lines_is_one_line_of_a_log() {
        let error = DriverError::new(Class::Failed, "`sh` ended with exit code 1")
            .detail("The end of its stderr:\nline 1\n\n  \u{1b}[31mline 2\n")
            .detail("It was the 2nd try.");
        let line = "`sh` ended with exit code 1; The end of its stderr: line 1 | \\u{1b}[31mline 2; It was the 2nd try";
        assert_eq!(error.on_one_line(), line);
    }
}

//! A command for each batch: the elements on its stdin as JSON lines, at least once. The batch id in its environment
//! lets it drop a repeat, the number of elements lets it tell a stdin that was cut short by our own end. Ids count within
//! a checkpoint and its timeline, which a rewind raises: together with these they are never used twice.
//!
//! Its stdout and stderr go to the log, line by line: our own stdout is data only.

use std::{sync::Arc, time::Duration};

use self::process::{Finished, Process, StartError};
use super::{
    Content, Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, line::put_line,
};
use crate::{job::FileFormat, model::BatchIdentity};

mod process;

/// Lines of stderr that an error shows.
const TOLD_LINES: usize = 5;

/// Runs a program when a batch is published.
pub struct CommandSink {
    name: String,
    job: String,
    run: Vec<String>,
    limit: Duration,
    staged: Option<Staged>,
}

struct Staged {
    lines: Arc<Vec<u8>>,
    elements: usize,
    batch: BatchIdentity,
}

impl CommandSink {
    /// `run`: a program and its arguments.
    pub fn new(name: impl Into<String>, job: impl Into<String>, run: Vec<String>, limit: Duration) -> Self {
        Self { name: name.into(), job: job.into(), run, limit, staged: None }
    }

    /// What the program finds in its environment beside ours.
    fn environment(&self, staged: &Staged) -> [(&'static str, String); 6] {
        [
            ("KSTREAM_BATCH_ID", staged.batch.batch.0.to_string()),
            ("KSTREAM_BATCH_TIME", staged.batch.time.0.to_string()),
            ("KSTREAM_BATCH_ELEMENTS", staged.elements.to_string()),
            ("KSTREAM_JOB", self.job.clone()),
            ("KSTREAM_CHECKPOINT", staged.batch.checkpoint.clone()),
            ("KSTREAM_TIMELINE", staged.batch.timeline.0.to_string()),
        ]
    }

    /// The words as a person would type them.
    fn shown(&self) -> String {
        match self.run.as_slice() {
            [sh, flag, line] if sh == "sh" && flag == "-c" => line.clone(),
            words => words.join(" "),
        }
    }

    fn cannot_start(&self, error: &StartError) -> SinkError {
        let message = format!("cannot start `{}`", self.run.first().map_or("", String::as_str));
        let failed = SinkError::new(SinkErrorKind::Failed, message);
        match error {
            StartError::Absent => failed.with(
                "There is no such program.",
                "A name without a slash is looked up in PATH, any other in the directory where kstream was started.",
            ),
            StartError::Io(error) => SinkError { detail: Some(format!("{error}.")), ..failed },
        }
    }

    /// Whether the batch was taken. A failure may pass, so it is worth another try.
    fn judged(&self, finished: Finished) -> Result<(), SinkError> {
        let what = match (finished.timed_out, finished.status) {
            (false, Some(status)) if status.success() => return Ok(()),
            (true, _) | (false, None) => format!("was still running after {:?} and was killed", self.limit),
            (false, Some(status)) => match status.code() {
                Some(code) => format!("ended with exit code {code}"),
                // "signal: 9 (SIGKILL)"
                None => format!("was killed by {status}"),
            },
        };
        let message = format!("`{}` {what}", self.shown());
        let detail = match finished.last_lines.is_empty() {
            true => "It wrote nothing to stderr.".to_owned(),
            false => format!("The end of its stderr:\n{}", finished.last_lines.join("\n")),
        };
        let hint = finished.timed_out.then(|| {
            "Give it more time with { run = ..., timeout = \"5m\" }, or smaller batches with max_records_per_partition."
                .to_owned()
        });
        Err(SinkError { kind: SinkErrorKind::Transient, message, detail: Some(detail), hint })
    }
}

impl Sink for CommandSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        0
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        let Content::Elements(elements) = &output.content else {
            return Err(SinkError::new(SinkErrorKind::Failed, "a command takes elements alone"));
        };
        let mut lines = Vec::new();
        for element in elements {
            put_line(&mut lines, element, FileFormat::Json).map_err(|error| {
                SinkError::new(SinkErrorKind::Failed, format!("an element cannot be given to a command: {error}"))
            })?;
        }
        self.staged = Some(Staged { lines: Arc::new(lines), elements: elements.len(), batch: batch.clone() });
        Ok(())
    }

    fn published(&mut self, _batch: &BatchIdentity) -> Result<Published, SinkError> {
        Ok(Published::Unknown)
    }

    fn holds(&mut self, _batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(Holds::Unknown)
    }

    fn publish(&mut self, _permit: &PublishPermit) -> Result<(), SinkError> {
        let Some(staged) = self.staged.take() else {
            return Err(SinkError::new(SinkErrorKind::Failed, "nothing is staged for this command"));
        };
        let process = Process::start(&self.run, &self.environment(&staged), staged.lines)
            .map_err(|error| self.cannot_start(&error))?;
        let finished = process.finish(self.limit, TOLD_LINES, |stream, line| {
            tracing::info!(output = self.name, stream, "{line}");
        });
        self.judged(finished)
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        self.staged = None;
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Where the functions of a job are written: in the job file, in the file of `[functions]`, on the command line.

use std::{ops::Range, sync::Arc};

use super::{
    mistake::{JOB_FILE, Span, Text, excerpt},
    tree::position_in_literal,
};
use crate::expr::EvalError;

/// The name of a text that a checkpoint holds.
pub const STORED: &str = "job text";

/// The texts of a job and what stands where in them.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub(super) texts: Arc<[Text]>,
    /// The text of `[functions]`.
    pub(super) library: Option<Span>,
    /// Sources of functions and the strings they stand in, in the order of the file.
    pub(super) lambdas: Vec<(Arc<str>, Span)>,
}

impl Places {
    /// What the lines of steps count in.
    pub fn text_name(&self) -> &'static str {
        match self.texts.get(JOB_FILE) {
            Some(text) if text.name == STORED => "the job's text in the checkpoint",
            _ => "the job file",
        }
    }

    /// The failing part of a function of the step at `line`: file, line, column, and the line itself.
    pub fn excerpt(&self, line: usize, error: &EvalError) -> Option<String> {
        let string = match error.in_library {
            true => self.library.as_ref()?,
            false => self.lambda(line, error.function.as_deref()?)?,
        };
        let text = self.texts.get(string.origin)?;
        Some(excerpt(&self.texts, &within(string, &text.shown, &error.span)))
    }

    /// Steps may have equal functions: that of a step is the first at or after its line. What `--set` says about a step
    /// stands nowhere in the file.
    fn lambda(&self, line: usize, source: &str) -> Option<&Span> {
        let equal = || self.lambdas.iter().filter(|(lambda, _)| **lambda == *source).map(|(_, span)| span);
        let file = self.texts.get(JOB_FILE).map_or("", |text| &text.shown);
        let line_of = |span: &Span| file.bytes().take(span.range.start).filter(|byte| *byte == b'\n').count() + 1;
        let in_step = equal().find(|span| span.origin == JOB_FILE && line <= line_of(span));
        in_step.or_else(|| equal().next_back())
    }
}

/// The place in `text` of a part of what the string at `string` says.
pub fn within(string: &Span, text: &str, part: &Range<usize>) -> Span {
    let raw = text.get(string.range.clone()).unwrap_or_default();
    let place = |at| string.range.start + position_in_literal(raw, at);
    let (start, end) = (place(part.start), place(part.end));
    Span::new(string.origin, start..end.max(start))
}

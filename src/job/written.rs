//! Sources and steps as they are written: their keys are read, their names not yet looked up.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{
    mistake::Span,
    name::Named,
    operator::{Operator, WindowSpec},
    setting::{OnError, Setting},
    spec::{SourceKind, SourceSpec},
};

/// What steps fall back to.
pub struct Defaults {
    pub batch_interval_ms: Option<i64>,
    pub partitions: u32,
    pub dead_letter: Option<OnError>,
    /// Brokers of the first kafka source.
    pub brokers: Option<String>,
    /// Some source could not be read: it may have named brokers.
    pub sources_are_torn: bool,
    /// Its properties, which outputs without brokers of their own inherit.
    pub properties: BTreeMap<String, Setting>,
}

/// A step whose input names are not yet looked up.
pub struct ReadStep {
    pub name: Option<Named>,
    pub from: Option<Named>,
    pub was: Option<Named>,
    pub on_error: Option<OnError>,
    /// `None` where it could not be read; the mistake is reported.
    pub operator: Option<ReadOperator>,
    /// The operator's key in the job file.
    pub key: Option<&'static str>,
    /// Some operator of the step, of which there should be one, is an output.
    pub has_output: bool,
    /// Where the key stands.
    pub key_span: Span,
    /// Where the step begins.
    pub span: Span,
}

pub struct ReadOperator {
    pub operator: Operator,
    /// Further inputs of a union or join.
    pub others: Vec<Named>,
    pub window: Option<ReadWindow>,
    /// The file or directory it writes.
    pub output: Option<(PathBuf, Span)>,
}

/// A window as written: the slide may be left out.
#[derive(Debug, Clone)]
pub struct ReadWindow {
    pub length: (i64, Span),
    pub slide: Option<(i64, Span)>,
}

impl ReadOperator {
    pub fn new(operator: Operator) -> Self {
        Self { operator, others: Vec::new(), window: None, output: None }
    }

    pub fn windowed(window: ReadWindow, make: impl FnOnce(WindowSpec) -> Operator) -> Self {
        let slide_ms = window.slide.as_ref().map_or(window.length.0, |slide| slide.0);
        let operator = make(WindowSpec { length_ms: window.length.0, slide_ms });
        Self { operator, others: Vec::new(), window: Some(window), output: None }
    }
}

/// How a step is called in messages.
pub fn title(step: &ReadStep) -> String {
    match (&step.name, step.key) {
        (Some(name), _) => format!("`{}`", name.name),
        (None, Some(key)) => format!("`{key}`"),
        (None, None) => "a step".to_owned(),
    }
}

/// A source and where its name stands.
pub struct ReadSource {
    pub name: Arc<str>,
    pub name_span: Span,
    /// `None` where it could not be read; the mistake is reported.
    pub spec: Option<SourceSpec>,
}

impl ReadSource {
    pub fn kind(&self) -> Option<&SourceKind> {
        self.spec.as_ref().map(|spec| &spec.kind)
    }
}

//! What a job writes and reads below the directory it runs in, and what of that lies elsewhere than its text says.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    operator::{FileLayout, LogSpec, Operator},
    path::{is_same_directory, resolved},
    setting::OnError,
    spec::{Job, SourceKind},
    whereabouts::{Whereabouts, within},
};

/// An output of a stored job that goes where the job at hand writes nothing: to a file that may be another job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    pub of: Writer,
    pub recorded: PathBuf,
    /// Where the path leads to from here, if it was relative.
    pub here: Option<PathBuf>,
    /// It is a file that a rewind cuts.
    pub is_cut: bool,
}

/// What of a job writes to a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    Step(Arc<str>),
    DeadLetters,
}

/// What an output writes: its file or directory, and whether that is a file that grows.
struct Written {
    of: Writer,
    path: PathBuf,
    grows: bool,
}

impl Job {
    /// Whether this job, read from the text of a checkpoint, ran with the checkpoint where it is now; `None` where the text
    /// does not say it. Elsewhere it was another one, of which this one is a copy, or this one before it was moved.
    pub fn ran_with_this_checkpoint(&self) -> Option<bool> {
        let now = self.absolute(&self.checkpoint_dir);
        self.ran.checkpoint.as_ref().map(|then| is_same_directory(then, &now))
    }

    /// The outputs of this job, read from the text of a checkpoint, that lead to files of the directory it ran in, while
    /// `current` runs here, or that it wrote by absolute paths while the checkpoint was in another place. An output that
    /// `current` names itself may be written, wherever it is.
    pub fn displaced(&self, current: &Job) -> Vec<Displaced> {
        let is_elsewhere = matches!(self.ran.whereabouts, Whereabouts::Elsewhere { .. });
        let had_another_checkpoint = self.ran_with_this_checkpoint() == Some(false);
        let known: Vec<PathBuf> =
            current.written().iter().map(|written| resolved(&current.absolute(&written.path))).collect();
        let mut displaced = Vec::new();
        for Written { of, path: recorded, grows: is_cut } in self.written() {
            // A relative path that was moved with its directory is relative again.
            let inner = self.ran.inner(&recorded).filter(|_| is_elsewhere);
            let here = inner.map(|inner| current.directory.join(inner));
            let may_be_anothers = here.is_some() || (had_another_checkpoint && recorded.is_absolute());
            let spot = resolved(&recorded);
            let leads_here = here.as_ref().is_some_and(|here| resolved(here) == spot);
            if may_be_anothers && !leads_here && !known.contains(&spot) {
                displaced.push(Displaced { of, recorded, here, is_cut });
            }
        }
        displaced
    }

    pub(super) fn writes_files(&self) -> bool {
        !self.written().is_empty()
    }

    /// Every path that starts from the working directory, of outputs and of what is read.
    pub(super) fn relative_paths(&self) -> BTreeSet<String> {
        let queues = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Queue { path, .. } => Some(path.clone()),
            SourceKind::Kafka(kafka) => kafka.embedded.as_ref().map(|embedded| embedded.lines.clone()),
        });
        let initial = self.steps.iter().filter_map(|step| step.operator.initial().map(Path::to_owned));
        let written = self.written().into_iter().map(|written| written.path);
        let relative = queues.chain(initial).chain(written).filter(|path| path.is_relative());
        relative.filter_map(|path| within(&self.directory, &self.absolute(&path))).collect()
    }

    /// Every file and directory that outputs and dead letters go to, as the job names it.
    fn written(&self) -> Vec<Written> {
        let outputs = self.steps.iter().filter_map(|step| {
            let (path, grows) = match &step.operator {
                Operator::Pprint { to: Some(LogSpec { path, .. }), .. } => (path.as_path(), true),
                Operator::SaveAsTextFiles { prefix, .. } => (Path::new(prefix), false),
                Operator::ToFile { path, layout, .. } => (path.as_path(), *layout == FileLayout::Append),
                _ => return None,
            };
            Some(Written { of: Writer::Step(step.id.clone()), path: path.to_owned(), grows })
        });
        let of_steps = self.steps.iter().filter_map(|step| step.on_error.as_ref());
        let of_sources = self.sources.iter().filter_map(|source| source.on_error.as_ref());
        let letters = std::iter::once(&self.on_error).chain(of_sources).chain(of_steps).filter_map(|to| match to {
            OnError::DeadLetterFile(path) => Some(path.clone()),
            _ => None,
        });
        let mut written: Vec<Written> = outputs.collect();
        for path in letters {
            if !written.iter().any(|written| written.path == path) {
                written.push(Written { of: Writer::DeadLetters, path, grows: true });
            }
        }
        written
    }
}

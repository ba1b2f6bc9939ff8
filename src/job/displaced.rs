//! What a job writes and reads below the directory it runs in, and what of that lies elsewhere than its text says.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    operator::{FileLayout, LogSpec, Operator},
    path::resolved,
    setting::OnError,
    spec::{Job, SourceKind},
    whereabouts::{Whereabouts, within},
};

/// The file of a checkpoint that makes its directory one.
const DATABASE: &str = "checkpoint.db";

/// An output of a stored job that would be written elsewhere than the job at hand writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// As messages name it.
    pub output: String,
    pub recorded: PathBuf,
    pub here: PathBuf,
    /// It is a file that a rewind cuts.
    pub is_cut: bool,
}

/// What an output writes: its file or directory, and whether that is a file that grows.
struct Written {
    output: String,
    path: PathBuf,
    grows: bool,
}

impl Job {
    /// Whether this job is read from the text of a copied checkpoint: its own one is still there.
    pub fn is_of_copy(&self) -> bool {
        let (then, now) = (&self.ran.checkpoint, self.absolute(&self.checkpoint_dir));
        !then.as_os_str().is_empty() && resolved(then) != resolved(&now) && then.join(DATABASE).exists()
    }

    /// Whether an output is written to a path that leads to one file from everywhere, from copies of the job as well.
    pub(super) fn writes_absolute_paths(&self) -> bool {
        self.written().iter().any(|written| written.path.is_absolute())
    }

    /// The outputs of this job, read from the text of a checkpoint, that belong to the directory it ran in, while `current`
    /// runs here, or to the checkpoint that `current` has a copy of. An output that `current` names itself may be written,
    /// wherever it is.
    pub fn displaced(&self, current: &Job) -> Vec<Displaced> {
        let is_elsewhere = matches!(self.ran.whereabouts, Whereabouts::Elsewhere { .. });
        let is_of_copy = self.is_of_copy();
        if !is_elsewhere && !is_of_copy {
            return Vec::new();
        }
        let known: Vec<PathBuf> =
            current.written().iter().map(|written| resolved(&current.absolute(&written.path))).collect();
        let mut displaced = Vec::new();
        let todays = current.written();
        for written in self.written() {
            let here = match self.ran.inner(&written.path).filter(|_| is_elsewhere) {
                Some(inner) => current.directory.join(inner),
                None if is_of_copy && written.path.is_absolute() => {
                    let today = todays.iter().find(|today| today.output == written.output);
                    current.absolute(today.map_or(Path::new(""), |today| &today.path))
                }
                None => continue,
            };
            let spot = resolved(&written.path);
            if spot != resolved(&here) && !known.contains(&spot) {
                let Written { output, path: recorded, grows: is_cut } = written;
                displaced.push(Displaced { output, recorded, here, is_cut });
            }
        }
        displaced
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
            Some(Written { output: format!("output {}", step.id), path: path.to_owned(), grows })
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
                written.push(Written { output: "the file of dead letters".to_owned(), path, grows: true });
            }
        }
        written
    }
}

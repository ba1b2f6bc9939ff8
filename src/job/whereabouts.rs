//! Where a job of a checkpoint ran: its text holds absolute paths, and a directory may be copied or moved since.
//!
//! The text names the directory that relative paths started from, and which paths those were. Where the job is run in
//! another directory: if the old one is gone, it was moved, and the files of the text moved along; if it is still there,
//! this one is a copy (or the job is run from another place), and what the text names is not what this job may write to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    input_file::resolved,
    operator::{FileLayout, LogSpec, Operator},
    setting::OnError,
    spec::{Job, SourceKind},
};

/// Where the relative paths of a job lead, seen from the working directory of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Whereabouts {
    /// Into the working directory; so for every job that is not a text of a checkpoint.
    #[default]
    Here,
    /// Into the working directory too: the one it ran in is gone.
    Moved { from: PathBuf },
    /// Into the directory it ran in, which is still there.
    Elsewhere { at: PathBuf },
}

/// Where a job ran, by its text in a checkpoint; nothing for any other job.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    pub directory: PathBuf,
    /// Paths that started from it, without it. A slash at the end counts, it may be part of a prefix.
    pub relative: BTreeSet<String>,
    pub whereabouts: Whereabouts,
}

impl Ran {
    pub fn new(directory: PathBuf, relative: BTreeSet<String>, here: &Path) -> Ran {
        let whereabouts = if resolved(&directory) == resolved(here) {
            Whereabouts::Here
        } else if directory.exists() {
            Whereabouts::Elsewhere { at: directory.clone() }
        } else {
            Whereabouts::Moved { from: directory.clone() }
        };
        Ran { directory, relative, whereabouts }
    }

    /// A path of the text as the job names it: one that was relative is so again, unless it leads elsewhere.
    pub fn read(&self, path: PathBuf) -> PathBuf {
        match (&self.whereabouts, self.inner(&path)) {
            (Whereabouts::Here | Whereabouts::Moved { .. }, Some(inner)) => inner.into(),
            _ => path,
        }
    }

    /// Every path of the text that was relative: where it led then, and what `other` knows the same path by.
    pub fn known_by(&self, other: &Job) -> Vec<(PathBuf, PathBuf)> {
        let places = |inner: &String| (self.directory.join(inner), other.recorded_place(inner.as_ref()));
        self.relative.iter().map(places).filter(|(then, now)| then != now).collect()
    }

    fn inner(&self, path: &Path) -> Option<String> {
        within(&self.directory, path).filter(|inner| self.relative.contains(inner))
    }
}

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
    /// The outputs of this job, read from the text of a checkpoint, that belong to the directory it ran in, while `current`
    /// runs here. An output that `current` names itself may be written, wherever it is.
    pub fn displaced(&self, current: &Job) -> Vec<Displaced> {
        let Whereabouts::Elsewhere { .. } = self.ran.whereabouts else { return Vec::new() };
        let known: Vec<PathBuf> =
            current.written().iter().map(|written| resolved(&current.absolute(&written.path))).collect();
        let mut displaced = Vec::new();
        for written in self.written() {
            let Some(inner) = self.ran.inner(&written.path) else { continue };
            let here = current.directory.join(inner);
            let spot = resolved(&written.path);
            if spot != resolved(&here) && !known.contains(&spot) {
                let Written { output, path: recorded, grows: is_cut } = written;
                displaced.push(Displaced { output, recorded, here, is_cut });
            }
        }
        displaced
    }

    /// Where a path led when the job ran: what the checkpoint knows it by.
    pub fn recorded_place(&self, path: &Path) -> PathBuf {
        match &self.ran.whereabouts {
            Whereabouts::Moved { from } if path.is_relative() => from.join(path),
            _ => self.absolute(path),
        }
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

/// A path below `directory`, without that.
fn within(directory: &Path, path: &Path) -> Option<String> {
    let (directory, path) = (directory.to_string_lossy(), path.to_string_lossy());
    let inner = path.strip_prefix(&*directory)?;
    let is_below = directory.ends_with('/') || inner.starts_with('/');
    is_below.then(|| inner.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_were_relative_move_with_the_directory() {
        let check = |directory: &str, path: &str, expected: &str| {
            let relative = ["out.log", "../next/x", "parts/"].map(str::to_owned).into();
            let ran = Ran::new(directory.into(), relative, Path::new("/"));
            assert_eq!(ran.read(path.into()).to_str(), Some(expected), "{directory} {path}");
        };
        check("/no/such/place", "/no/such/place/out.log", "out.log");
        check("/no/such/place", "/no/such/place/../next/x", "../next/x");
        check("/no/such/place", "/no/such/place/parts/", "parts/");
        check("/no/such/place", "/no/such/place/parts", "/no/such/place/parts");
        check("/no/such/place", "/no/such/place/other.log", "/no/such/place/other.log");
        check("/no/such/place", "/no/such/places/out.log", "/no/such/places/out.log");
        check("/", "/out.log", "out.log");
        check("/usr", "/usr/out.log", "/usr/out.log");
    }
}

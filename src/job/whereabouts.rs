//! Where a job of a checkpoint ran: its text holds absolute paths, and a directory may be copied or moved since.
//!
//! The text names the directory that relative paths started from, and which paths those were. Where the job is run in
//! another directory: if the old one is gone, it was moved, and the files of the text moved along; if it is still there,
//! this one is a copy (or the job is run from another place), and what the text names is not what this job may write to.
//! Absolute paths lead to one file from everywhere; of them the place of the checkpoint tells whether they were this job's.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::path::resolved;

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
    /// Where its checkpoint was; texts of earlier versions do not say it.
    pub checkpoint: Option<PathBuf>,
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
        Ran { directory, relative, whereabouts, ..Ran::default() }
    }

    /// A path of the text as the job names it: one that was relative is so again, unless it leads elsewhere.
    pub fn read(&self, path: PathBuf) -> PathBuf {
        match (&self.whereabouts, self.inner(&path)) {
            (Whereabouts::Here | Whereabouts::Moved { .. }, Some(inner)) => inner.into(),
            _ => path,
        }
    }

    pub(super) fn inner(&self, path: &Path) -> Option<String> {
        within(&self.directory, path).filter(|inner| self.relative.contains(inner))
    }
}

/// A path below `directory`, without that.
pub(super) fn within(directory: &Path, path: &Path) -> Option<String> {
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

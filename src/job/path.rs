//! What an absolute path leads to, so that two spellings of one place are equal.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// As many links as the system follows one after another.
const MOST_LINKS: usize = 40;

/// What an absolute path leads to.
pub fn resolved(path: &Path) -> PathBuf {
    let path = lexical(path);
    let canonical = |path: &Path| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().ok().map(|parent| parent.join(name)),
        _ => None,
    };
    path.canonicalize().ok().or_else(|| canonical(&leads_to(path.clone()))).unwrap_or(path)
}

/// Whether both are one directory, also under two names of it that no link tells, such as a bind mount.
pub fn is_same_directory(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    resolved(one) == resolved(other) || id(one).is_some_and(|one| Some(one) == id(other))
}

/// Where a link leads, also where nothing is there yet.
fn leads_to(mut path: PathBuf) -> PathBuf {
    for _ in 0..MOST_LINKS {
        let Ok(target) = path.read_link() else { break };
        path = lexical(&path.parent().map(|parent| parent.join(&target)).unwrap_or(target));
    }
    path
}

/// Without `.` and `..`.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

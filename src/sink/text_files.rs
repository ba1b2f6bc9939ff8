//! A directory a batch: `save_as_text_files`, and `to_file` with layout `batches`.
//!
//! The directory is written under a hidden name beside the target, every file is synced, and one rename publishes it: a
//! reader that lists the place at any moment sees whole batches only. `_SUCCESS` holds the batch's identity and digest.
//!
//! | found at the target | |
//! |---|---|
//! | nothing | publish |
//! | ours, this batch | bytes are compared; equal is published, different is a refusal |
//! | ours, of a lower timeline (before a rewind) | moved aside, deleted after the commit |
//! | anything else | refused |

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Content, Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, Standing,
    disk::{Disk, NotAFile, parent},
};
use crate::{
    crash,
    model::{BatchIdentity, BatchTime},
};

const SUCCESS: &str = "_SUCCESS";

/// How the directories of an output are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// `<prefix>-<ms>[.suffix]/part-00000`, as Spark's `saveAsTextFiles`.
    Prefix { prefix: String, suffix: Option<String> },
    /// `<path>/<ms>/part-00000<extension>`.
    Within { path: PathBuf, extension: &'static str },
}

impl Naming {
    fn directory(&self, time: BatchTime) -> PathBuf {
        match self {
            Naming::Prefix { prefix, suffix: None } => PathBuf::from(format!("{prefix}-{}", time.0)),
            Naming::Prefix { prefix, suffix: Some(suffix) } => PathBuf::from(format!("{prefix}-{}.{suffix}", time.0)),
            Naming::Within { path, .. } => path.join(time.0.to_string()),
        }
    }

    /// The batch time (ms) that a directory's name says, if it is that of a batch.
    fn time(&self, name: &str) -> Option<i64> {
        let digits = match self {
            Naming::Prefix { prefix, suffix } => {
                let prefix = Path::new(prefix).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                let rest = name.strip_prefix(&*prefix).and_then(|rest| rest.strip_prefix('-'));
                match suffix {
                    None => rest,
                    Some(suffix) => rest.and_then(|rest| rest.strip_suffix(&**suffix)?.strip_suffix('.')),
                }
            }
            Naming::Within { .. } => Some(name),
        };
        digits?.parse().ok()
    }

    fn part(&self, idx: usize) -> String {
        match self {
            Naming::Prefix { .. } => format!("part-{idx:05}"),
            Naming::Within { extension, .. } => format!("part-{idx:05}{extension}"),
        }
    }
}

/// What `_SUCCESS` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Success {
    #[serde(flatten)]
    identity: BatchIdentity,
    digest: String,
}

#[derive(Debug)]
struct Staged {
    identity: BatchIdentity,
    /// Names and bytes, `_SUCCESS` among them, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// A directory a batch.
#[derive(Debug)]
pub struct TextFilesSink {
    name: String,
    naming: Naming,
    disk: Arc<dyn Disk>,
    staged: Option<Staged>,
    /// Whether what a process before this one may have left aside is gone.
    swept: bool,
}

/// What is at a batch's target.
enum Found {
    Nothing,
    /// This batch, whole or not equal to what is staged.
    This,
    /// The same place on a lower timeline.
    Earlier,
}

impl TextFilesSink {
    /// Paths in `naming` are absolute.
    pub fn new(name: impl Into<String>, naming: Naming, disk: Arc<dyn Disk>) -> Self {
        Self { name: name.into(), naming, disk, staged: None, swept: false }
    }

    /// The hidden name beside the target under which `role` keeps its directory.
    fn hidden(&self, batch: &BatchIdentity, role: &str) -> PathBuf {
        let target = self.naming.directory(batch.time);
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        parent(&target).join(format!(".{name}.kstream-{role}"))
    }

    fn find(&self, batch: &BatchIdentity) -> Result<Found, SinkError> {
        let target = self.naming.directory(batch.time);
        let read = |error: std::io::Error| self.failed("read", &target, &error);
        match self.disk.list(&target) {
            Ok(Some(_)) => {}
            Ok(None) if self.disk.len(&target).map_err(read)?.is_none() => return Ok(Found::Nothing),
            Ok(None) => return Err(self.refused(&target, "It is a file.".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(self.refused(&target, "It is no directory.".to_owned()));
            }
            Err(error) => return Err(read(error)),
        }
        let bytes = self.success(&target).map_err(|error| match NotAFile::is(&error) {
            true => self.refused(&target, format!("Of its {SUCCESS}: {error}.")),
            false => read(error),
        })?;
        let Some(bytes) = bytes else {
            return Err(self.refused(&target, format!("It has no {SUCCESS}.")));
        };
        let Ok(Success { identity, .. }) = serde_json::from_slice(&bytes) else {
            return Err(self.refused(&target, format!("Its {SUCCESS} is not kstream's.")));
        };
        if identity.checkpoint != batch.checkpoint {
            return Err(self.refused(&target, format!("It was written by checkpoint {}.", identity.checkpoint)));
        }
        if identity.timeline > batch.timeline {
            let what = format!("It is of timeline {}, ahead of {}.", identity.timeline.0, batch.timeline.0);
            return Err(self.refused(&target, what));
        }
        if identity.timeline < batch.timeline {
            return Ok(Found::Earlier);
        }
        if identity == *batch {
            return Ok(Found::This);
        }
        Err(self.refused(&target, format!("It is of batch {}, not {}.", identity.batch, batch.batch)))
    }

    /// The bytes of a directory's `_SUCCESS`, if it has one.
    fn success(&self, target: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let path = target.join(SUCCESS);
        let Some(len) = self.disk.len(&path)? else { return Ok(None) };
        self.disk.read(&path, 0, usize::try_from(len).unwrap_or(usize::MAX)).map(Some)
    }

    /// Refuses where the published directory is not what is staged.
    fn compare(&self, staged: &Staged) -> Result<(), SinkError> {
        let target = self.naming.directory(staged.identity.time);
        let read = |error: std::io::Error| self.failed("read", &target, &error);
        let names = self.disk.list(&target).map_err(read)?.unwrap_or_default();
        if !names.iter().eq(staged.files.iter().map(|(name, _)| name)) {
            return Err(self.refused(&target, format!("It holds {}.", names.join(", "))));
        }
        for (name, bytes) in &staged.files {
            // One byte more than expected, so that a longer file is seen.
            if self.disk.read(&target.join(name), 0, bytes.len() + 1).map_err(read)? != *bytes {
                let what = format!("{name} differs from what the batch gives when it is executed again.");
                return Err(self.refused(&target, what));
            }
        }
        Ok(())
    }

    fn write_aside(&self, staged: &Staged) -> Result<(), SinkError> {
        let aside = self.hidden(&staged.identity, "staged");
        let failed = |error: std::io::Error| self.failed("write", &aside, &error);
        let sync_failed = |error: std::io::Error| super::sync_error(&self.message("make durable", &aside), &error);
        self.disk.remove_dir(&aside).map_err(failed)?;
        self.disk.create_dirs(&aside).map_err(failed)?;
        for (name, bytes) in &staged.files {
            let path = aside.join(name);
            self.disk.write_at(&path, 0, bytes).map_err(failed)?;
            crash::point("files: one written");
            self.disk.sync(&path).map_err(sync_failed)?;
        }
        self.disk.sync_dir(&aside).map_err(sync_failed)?;
        crash::point("files: aside");
        Ok(())
    }

    /// Removes what earlier processes left aside of other batches: they were killed after the commit, before its tidying.
    fn sweep(&mut self, batch: &BatchIdentity) -> Result<(), SinkError> {
        if std::mem::replace(&mut self.swept, true) {
            return Ok(());
        }
        let target = self.naming.directory(batch.time);
        let dir = parent(&target);
        let names = self.disk.list(dir).map_err(|error| self.failed("read", dir, &error))?.unwrap_or_default();
        let kept = [self.hidden(batch, "staged"), self.hidden(batch, "replaced")];
        for name in names {
            let hidden = name.strip_prefix('.').and_then(|name| name.rsplit_once(".kstream-"));
            let path = dir.join(&name);
            if hidden.is_some_and(|(name, _)| self.naming.time(name).is_some()) && !kept.contains(&path) {
                self.disk.remove_dir(&path).map_err(|error| self.failed("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    fn message(&self, doing: &str, path: &Path) -> String {
        format!("cannot {doing} {}", path.display())
    }

    fn failed(&self, doing: &str, path: &Path, error: &std::io::Error) -> SinkError {
        super::file_error(&self.message(doing, path), error)
    }

    fn refused(&self, target: &Path, detail: String) -> SinkError {
        let what = format!("directory {} is in the way of output {}", target.display(), self.name);
        SinkError::new(SinkErrorKind::Refused, what)
            .with(detail, "Move the directory away, or give the output another place.")
    }
}

impl Sink for TextFilesSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        1
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        self.staged = None;
        Ok(())
    }

    /// Batches of this checkpoint that it does not know: it is an older copy.
    fn inspect(&mut self, standing: &Standing) -> Result<(), SinkError> {
        let next = &standing.next;
        let target = self.naming.directory(next.time);
        let dir = parent(&target);
        let names = self.disk.list(dir).map_err(|error| self.failed("read", dir, &error))?.unwrap_or_default();
        // Times rise with the batches, so that nothing older need be looked into.
        for name in names.iter().filter(|name| self.naming.time(name).is_some_and(|time| time > next.time.0)) {
            let path = dir.join(name);
            let bytes = match self.success(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) if NotAFile::is(&error) || error.kind() == std::io::ErrorKind::NotADirectory => continue,
                Err(error) => return Err(self.failed("read", &path, &error)),
            };
            // What is not kstream's is met when its time comes.
            let Ok(Success { identity, .. }) = serde_json::from_slice(&bytes) else { continue };
            let unknown = identity.batch > next.batch || (identity.batch == next.batch && !standing.in_flight);
            if identity.checkpoint == next.checkpoint && identity.timeline >= next.timeline && unknown {
                let what = format!("output {} is ahead of the checkpoint", self.name);
                let detail = format!(
                    "{} is of batch {}; the checkpoint's next one is {}.",
                    path.display(),
                    identity.batch,
                    next.batch
                );
                let hint = "The checkpoint is older than the output: put back the newer one, or move away the directories \
                            behind it.";
                return Err(SinkError::new(SinkErrorKind::Refused, what).with(detail, hint));
            }
        }
        Ok(())
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        let Content::Parts(parts) = output.content else {
            let what = format!("output {} was given elements, not parts", self.name);
            return Err(SinkError::new(SinkErrorKind::Failed, what));
        };
        let success = Success { identity: batch.clone(), digest: output.digest.to_string() };
        let success = serde_json::to_vec(&success)
            .map_err(|error| SinkError::new(SinkErrorKind::Failed, format!("cannot write {SUCCESS}: {error}")))?;
        let parts = parts.into_iter().enumerate().map(|(idx, bytes)| (self.naming.part(idx), bytes));
        let mut files: Vec<_> = std::iter::once((SUCCESS.to_owned(), success)).chain(parts).collect();
        files.sort();
        let staged = Staged { identity: batch.clone(), files };
        self.sweep(batch)?;
        self.write_aside(&staged)?;
        self.staged = Some(staged);
        Ok(())
    }

    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        let staged = self.staged.as_ref().filter(|staged| staged.identity == *batch);
        match (self.find(batch)?, staged) {
            (Found::This, Some(staged)) => {
                self.compare(staged)?;
                // The rename may have been seen and not be durable.
                let target = self.naming.directory(batch.time);
                let synced = self.disk.sync_dir(parent(&target));
                synced.map_err(|error| super::sync_error(&self.message("make durable", &target), &error))?;
                Ok(Published::Whole)
            }
            (Found::This, None) => Ok(Published::Unknown),
            (Found::Nothing | Found::Earlier, _) => Ok(Published::No),
        }
    }

    fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(match self.find(batch)? {
            Found::This => Holds::Something,
            Found::Nothing | Found::Earlier => Holds::Nothing,
        })
    }

    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError> {
        let batch = permit.identity();
        if self.staged.as_ref().is_none_or(|staged| staged.identity != *batch) {
            return Err(SinkError::new(SinkErrorKind::Failed, format!("nothing is staged for output {}", self.name)));
        }
        let target = self.naming.directory(batch.time);
        let failed = |error: std::io::Error| self.failed("publish", &target, &error);
        match self.find(batch)? {
            Found::This => return Ok(()),
            Found::Nothing => {}
            Found::Earlier => {
                let replaced = self.hidden(batch, "replaced");
                self.disk.remove_dir(&replaced).map_err(failed)?;
                self.disk.rename(&target, &replaced).map_err(failed)?;
                crash::point("files: old aside");
            }
        }
        self.disk.rename(&self.hidden(batch, "staged"), &target).map_err(failed)?;
        crash::point("files: renamed");
        let synced = self.disk.sync_dir(parent(&target));
        synced.map_err(|error| super::sync_error(&self.message("make durable", &target), &error))
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        if let Some(staged) = self.staged.take() {
            // What stays behind is overwritten by the next attempt.
            let _ = self.disk.remove_dir(&self.hidden(&staged.identity, "staged"));
        }
    }

    fn committed(&mut self, batch: &BatchIdentity) -> Result<(), SinkError> {
        self.staged = None;
        for role in ["staged", "replaced"] {
            let path = self.hidden(batch, role);
            self.disk.remove_dir(&path).map_err(|error| self.failed("remove", &path, &error))?;
        }
        Ok(())
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        // Left published; a batch that comes again at the same time replaces its directory.
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! One growing file, written exactly once: `pprint`'s `to`, and `to_file` with layout `append`.
//!
//! The commit remembers the file's length and the CRC-32C of the last 64 KiB before it; what lies behind is the batch in
//! flight. After a crash the batch is executed again and its bytes are compared with that tail:
//!
//! ```text
//!   | committed ..... | batch          what the file should become
//!   | committed ..... | bat            a prefix: written again to its end
//!   | committed ..... | b__ch          zeroed stretches (power loss), no longer than the batch: written again
//!   | committed ..... | batch and more, or other bytes, or a shorter file: somebody else wrote; refused
//! ```
//! **Rotation.** A batch that would carry the file beyond `rotate_bytes` goes into a new one: `x.log` is renamed to
//! `x.log.1`, the next time to `x.log.2`; 1 is the oldest. The decision follows from committed facts and the batch's
//! bytes alone, so a crash before or after the rename finds the same one: if the committed bytes are found under the
//! rotated name, the rename has happened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{
    Content, Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, Standing,
    disk::{Disk, NotAFile, parent},
    pprint,
};
use crate::{
    crash,
    model::{BatchId, BatchIdentity},
};

/// Bytes before the committed length whose checksum is remembered.
const TAIL_BYTES: u64 = 64 * 1024;

/// What the commit remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogFacts {
    /// Committed bytes of the current file.
    len: u64,
    /// CRC-32C of the last 64 KiB of them.
    tail_crc: u32,
    /// How often the file was rotated.
    rotated: u64,
}

#[derive(Debug)]
struct Staged {
    batch: BatchId,
    bytes: Vec<u8>,
    rotate: bool,
}

/// Whether the first batch of a checkpoint may write behind what the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    Yes,
    No,
    /// The job has no word for it.
    Never,
}

impl Append {
    pub fn given(append: bool) -> Append {
        if append { Append::Yes } else { Append::No }
    }
}

/// A log file.
#[derive(Debug)]
pub struct LogSink {
    name: String,
    path: PathBuf,
    rotate_bytes: Option<u64>,
    append: Append,
    zone: TimeZone,
    disk: Arc<dyn Disk>,
    /// As of the last commit.
    committed: Option<LogFacts>,
    staged: Option<Staged>,
    /// What was found when it was asked whether the staged batch is published; the write that follows trusts it.
    examined: Option<Found>,
    /// As of the batch that is published and not committed.
    published: Option<(BatchId, LogFacts)>,
}

/// Where the committed bytes are, how long the current file is (none: there is no file), and the last 64 KiB of those
/// that are committed in it.
#[derive(Debug)]
struct Found {
    rotated: bool,
    len: Option<u64>,
    tail: Vec<u8>,
}

impl LogSink {
    /// `path` is absolute; `append` lets the first batch write behind what the file holds.
    pub fn new(
        name: impl Into<String>,
        path: PathBuf,
        rotate_bytes: Option<u64>,
        append: Append,
        zone: TimeZone,
        disk: Arc<dyn Disk>,
    ) -> Self {
        let name = name.into();
        Self {
            name,
            path,
            rotate_bytes,
            append,
            zone,
            disk,
            committed: None,
            staged: None,
            examined: None,
            published: None,
        }
    }

    fn rotated_path(&self, rotation: u64) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{rotation}"));
        PathBuf::from(name)
    }

    /// Where a log begins that this checkpoint has not written to yet; refuses a file that is not to be written behind.
    fn base(&self) -> Result<LogFacts, SinkError> {
        let len = self.len(&self.path)?.unwrap_or(0);
        if len > 0 && self.append != Append::Yes {
            let what = format!("log {} is not empty, and this checkpoint did not write it", self.path.display());
            let hint = match self.append {
                Append::Never => "Move the file away, or give the dead letters another path.",
                _ => "Move the file away, or set append = true to write behind it.",
            };
            return Err(SinkError::new(SinkErrorKind::Refused, what).with(format!("It holds {len} bytes."), hint));
        }
        let rotated = self.rotated_path(1);
        if self.rotate_bytes.is_some() && self.len(&rotated)?.is_some() {
            let what = format!("{} is in the way of the rotation of {}", rotated.display(), self.path.display());
            let detail = "The first rotation renames the log to that name.";
            let hint = "Move the file away, or give the output another path.";
            return Err(SinkError::new(SinkErrorKind::Refused, what).with(detail, hint));
        }
        let tail_crc = if len > 0 { self.tail_crc(&self.path, len)? } else { crc_fast::crc32_iscsi(&[]) };
        Ok(LogFacts { len, tail_crc, rotated: 0 })
    }

    /// The last 64 KiB of the first `len` bytes of a file that is at least that long.
    fn tail(&self, path: &Path, len: u64) -> Result<Vec<u8>, SinkError> {
        let start = len.saturating_sub(TAIL_BYTES);
        self.disk.read(path, start, (len - start) as usize).map_err(|error| self.failed("read", &error))
    }

    fn tail_crc(&self, path: &Path, len: u64) -> Result<u32, SinkError> {
        Ok(crc_fast::crc32_iscsi(&self.tail(path, len)?))
    }

    fn len(&self, path: &Path) -> Result<Option<u64>, SinkError> {
        self.disk.len(path).map_err(|error| match NotAFile::is(&error) {
            true => SinkError::new(SinkErrorKind::Refused, format!("{} cannot be a log", path.display())).with(
                format!("{error}.").replacen("it", "It", 1),
                "Give the output the path of a file; `pprint` without `to` writes to standard output.",
            ),
            false => self.failed("read", &error),
        })
    }

    /// Finds the committed bytes, or refuses.
    fn find(&self, facts: LogFacts) -> Result<Found, SinkError> {
        let len = self.len(&self.path)?;
        let rotated = self.rotated_path(facts.rotated + 1);
        if facts.len > 0
            && self.len(&rotated)? == Some(facts.len)
            && self.tail_crc(&rotated, facts.len)? == facts.tail_crc
        {
            return Ok(Found { rotated: true, len, tail: Vec::new() });
        }
        let found = len.unwrap_or(0);
        if found < facts.len {
            return Err(self.refused(format!("It holds {found} bytes; {} are committed.", facts.len)));
        }
        let tail = if facts.len > 0 { self.tail(&self.path, facts.len)? } else { Vec::new() };
        if facts.len > 0 && crc_fast::crc32_iscsi(&tail) != facts.tail_crc {
            return Err(self.refused(format!("The {} committed bytes are not those that were written.", facts.len)));
        }
        Ok(Found { rotated: false, len, tail })
    }

    fn committed_facts(&self) -> Result<LogFacts, SinkError> {
        let unknown = || SinkError::new(SinkErrorKind::Failed, format!("output {} was never restored", self.name));
        self.committed.ok_or_else(unknown)
    }

    /// Checks what lies behind the committed bytes against the staged ones.
    fn examine(&self, staged: &Staged) -> Result<Found, SinkError> {
        let facts = self.committed_facts()?;
        let found = self.find(facts)?;
        if found.rotated && !staged.rotate {
            return Err(self.refused("It was rotated by a batch that this checkpoint does not know.".to_owned()));
        }
        let begin = if found.rotated { 0 } else { facts.len };
        let behind = found.len.unwrap_or(0).saturating_sub(begin);
        let expected: &[u8] = if staged.rotate && !found.rotated { &[] } else { &staged.bytes };
        let other =
            || self.refused(format!("Behind {begin} committed bytes it holds {behind} that are not this batch's."));
        if behind > expected.len() as u64 {
            return Err(other());
        }
        let read = if behind == 0 { Ok(Vec::new()) } else { self.disk.read(&self.path, begin, behind as usize) };
        let tail = read.map_err(|error| self.failed("read", &error))?;
        if tail.iter().zip(expected).all(|(found, ours)| found == ours || *found == 0) {
            Ok(found)
        } else {
            Err(other())
        }
    }

    /// Writes the staged bytes where `found` says, and makes them durable.
    fn write(&self, staged: &Staged, found: &Found) -> Result<LogFacts, SinkError> {
        let facts = self.committed_facts()?;
        let dir = parent(&self.path);
        if staged.rotate {
            if !found.rotated {
                let rotated = self.rotated_path(facts.rotated + 1);
                if self.len(&rotated)?.is_some() {
                    let what = format!("{} is in the way of its rotation.", rotated.display());
                    return Err(self.refused(what));
                }
                crash::point("log: before rotation");
                self.disk.rename(&self.path, &rotated).map_err(|error| self.failed("rotate", &error))?;
            }
            crash::point("log: rotated");
            self.disk.sync_dir(dir).map_err(|error| self.sync_failed(&error))?;
        }
        let begin = if staged.rotate { 0 } else { facts.len };
        if !staged.bytes.is_empty() {
            // Also where all of it is there already: bytes found after a crash need not be durable.
            self.disk.create_dirs(dir).map_err(|error| self.failed("create the directory of", &error))?;
            self.disk.write_at(&self.path, begin, &staged.bytes).map_err(|error| self.failed("write to", &error))?;
            crash::point("log: written");
            self.disk.sync(&self.path).map_err(|error| self.sync_failed(&error))?;
            crash::point("log: synced");
            if begin == 0 {
                self.disk.sync_dir(dir).map_err(|error| self.sync_failed(&error))?;
            }
        }
        let len = begin + staged.bytes.len() as u64;
        let before: &[u8] = if begin == 0 { &[] } else { &found.tail };
        let tail_crc = if staged.bytes.is_empty() { facts.tail_crc } else { tail_crc_of(before, &staged.bytes) };
        Ok(LogFacts { len, tail_crc, rotated: facts.rotated + u64::from(staged.rotate) })
    }

    /// Whether a rotated file is the log as it went on after `facts`. An empty beginning proves nothing, but no log that
    /// rotates begins beside a file in the way of its rotation.
    fn continues(&self, rotated: &Path, facts: LogFacts) -> Result<bool, SinkError> {
        match self.len(rotated)? {
            None => Ok(false),
            Some(_) if facts.len == 0 => Ok(self.rotate_bytes.is_some()),
            Some(len) => Ok(len >= facts.len && self.tail_crc(rotated, facts.len)? == facts.tail_crc),
        }
    }

    fn refused(&self, detail: String) -> SinkError {
        SinkError::new(SinkErrorKind::Refused, format!("log {} does not fit the checkpoint", self.path.display())).with(
            detail,
            "Put back the file as the last commit left it; where the output got another path, move the file there, or \
             give the step another `name`, which makes it a new output. Or set a new checkpoint_dir.",
        )
    }

    fn failed(&self, doing: &str, error: &std::io::Error) -> SinkError {
        super::file_error(&format!("cannot {doing} log {}", self.path.display()), error)
    }

    fn sync_failed(&self, error: &std::io::Error) -> SinkError {
        super::sync_error(&format!("cannot make log {} durable", self.path.display()), error)
    }

    fn decode(&self, facts: &SinkFacts) -> Result<LogFacts, SinkError> {
        LogFacts::deserialize(&facts.0).map_err(|error| super::of_another_kind(&self.name, &error))
    }
}

/// The checksum of the last 64 KiB of `before` and `added` together.
fn tail_crc_of(before: &[u8], added: &[u8]) -> u32 {
    let tail = |bytes: &'_ [u8], most: usize| bytes.len().saturating_sub(most);
    let added = added.get(tail(added, TAIL_BYTES as usize)..).unwrap_or_default();
    let before = before.get(tail(before, TAIL_BYTES as usize - added.len())..).unwrap_or_default();
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    crc.update(before);
    crc.update(added);
    crc.finalize() as u32
}

fn encode(facts: LogFacts) -> Option<SinkFacts> {
    serde_json::to_value(facts).ok().map(SinkFacts)
}

impl Sink for LogSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        1
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        let facts = self.base()?;
        self.committed = Some(facts);
        Ok(encode(facts))
    }

    fn restore(&mut self, facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        (self.staged, self.examined, self.published) = (None, None, None);
        self.committed = facts.map(|facts| self.decode(facts)).transpose()?;
        Ok(())
    }

    fn inspect(&mut self, standing: &Standing) -> Result<(), SinkError> {
        let Some(facts) = self.committed else { return self.base().map(drop) };
        let found = self.find(facts)?;
        let behind = found.len.unwrap_or(0).saturating_sub(facts.len);
        if standing.in_flight || (behind == 0 && !found.rotated) {
            return Ok(());
        }
        let what = if found.rotated {
            "It was rotated".to_owned()
        } else {
            format!("It holds {behind} bytes behind the {} committed ones", facts.len)
        };
        let why = "no batch is in flight: the checkpoint is older than the log, or another program wrote to it";
        Err(self.refused(format!("{what}, and {why}.")))
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        if let Some((published, facts)) = self.published
            && published < batch.batch
        {
            self.committed = Some(facts);
            self.published = None;
        }
        let bytes = rendered(&self.name, batch, &output.content, &self.zone)?;
        let len = self.committed_facts()?.len;
        let beyond = self.rotate_bytes.is_some_and(|limit| len.saturating_add(bytes.len() as u64) > limit);
        let rotate = len > 0 && !bytes.is_empty() && beyond;
        let staged = Staged { batch: batch.batch, bytes, rotate };
        // What does not fit is found before any output shows the batch, and again before this one is written.
        self.examine(&staged)?;
        self.examined = None;
        self.staged = Some(staged);
        Ok(())
    }

    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        if let Some(staged) = &self.staged {
            self.examined = Some(self.examine(staged)?);
        }
        // What an earlier process wrote is written again: only this one knows that it is durable.
        let whole = self.published.is_some_and(|(published, _)| published == batch.batch);
        Ok(if whole { Published::Whole } else { Published::No })
    }

    fn holds(&mut self, _batch: &BatchIdentity) -> Result<Holds, SinkError> {
        let facts = self.committed_facts()?;
        let found = self.find(facts)?;
        let nothing = !found.rotated && found.len.unwrap_or(0) == facts.len;
        Ok(if nothing { Holds::Nothing } else { Holds::Something })
    }

    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError> {
        let examined = self.examined.take();
        let staged = self.staged.as_ref().filter(|staged| staged.batch == permit.identity().batch);
        let Some(staged) = staged else {
            return Err(SinkError::new(SinkErrorKind::Failed, format!("nothing is staged for output {}", self.name)));
        };
        let found = examined.map_or_else(|| self.examine(staged), Ok)?;
        let facts = self.write(staged, &found)?;
        self.published = Some((staged.batch, facts));
        Ok(())
    }

    fn facts(&self) -> Option<SinkFacts> {
        self.published.map(|(_, facts)| facts).or(self.committed).and_then(encode)
    }

    fn discard(&mut self) {
        (self.staged, self.examined) = (None, None);
    }

    fn committed(&mut self, batch: &BatchIdentity) -> Result<(), SinkError> {
        if let Some((published, facts)) = self.published.take()
            && published == batch.batch
        {
            self.committed = Some(facts);
        }
        (self.staged, self.examined) = (None, None);
        Ok(())
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn may_take_back(&mut self, target: &SinkFacts) -> Result<(), SinkError> {
        let then = self.decode(target)?;
        let in_rotated = self.continues(&self.rotated_path(then.rotated + 1), then)?;
        if in_rotated { Ok(()) } else { self.find(then).map(drop) }
    }

    fn take_back(&mut self, target: Option<&SinkFacts>) -> Result<(), SinkError> {
        let Some(target) = target else { return Ok(()) };
        let facts = self.decode(target)?;
        let dir = parent(&self.path).to_owned();
        let earlier = self.rotated_path(facts.rotated + 1);
        if self.continues(&earlier, facts)? {
            // Newest first: the file that becomes the log again is found until it does.
            let mut newest = facts.rotated + 1;
            while self.len(&self.rotated_path(newest + 1))?.is_some() {
                newest += 1;
            }
            for rotation in (facts.rotated + 2..=newest).rev() {
                let path = self.rotated_path(rotation);
                self.disk.remove(&path).map_err(|error| self.failed("cut", &error))?;
            }
            self.disk.rename(&earlier, &self.path).map_err(|error| self.failed("cut", &error))?;
            self.disk.sync_dir(&dir).map_err(|error| self.sync_failed(&error))?;
        }
        (self.staged, self.examined, self.published) = (None, None, None);
        self.committed = Some(facts);
        let found = self.find(facts)?;
        if found.len.is_some() {
            self.disk.truncate(&self.path, facts.len).map_err(|error| self.failed("cut", &error))?;
            self.disk.sync(&self.path).map_err(|error| self.sync_failed(&error))?;
        }
        Ok(())
    }
}

/// The bytes of an output that goes into one stream.
pub(super) fn rendered(
    name: &str,
    batch: &BatchIdentity,
    content: &Content,
    zone: &TimeZone,
) -> Result<Vec<u8>, SinkError> {
    match content {
        Content::Shown { elements, more } => Ok(pprint::block(batch.time, zone, elements, *more).into_bytes()),
        Content::Parts(parts) => Ok(parts.concat()),
        Content::Elements(_) | Content::Rows(_) => {
            Err(SinkError::new(SinkErrorKind::Failed, format!("output {name} was given elements, not lines")))
        }
    }
}

#[cfg(test)]
pub(super) mod tests_support {
    //! Batches for the tests of sinks.

    use super::*;
    use crate::model::{BatchTime, Timeline};

    pub fn identity(batch: u64) -> BatchIdentity {
        BatchIdentity {
            checkpoint: "uuid".to_owned(),
            timeline: Timeline(0),
            batch: BatchId(batch),
            time: BatchTime((batch as i64 + 1) * 1000),
        }
    }

    pub fn output(content: Content) -> Output {
        let digest = "000000000000000000000000000000ff:3".parse().unwrap();
        Output { name: "output".to_owned(), content, digest }
    }

    pub fn lines(text: &str) -> Output {
        output(Content::Parts(vec![text.as_bytes().to_vec()]))
    }
}

#[cfg(test)]
mod tests;

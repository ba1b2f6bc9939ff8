//! The mark: a lower bound, outside the database, for what the database must hold.
//!
//! SQLite takes a damaged end of its log, or a log that is gone, for transactions that never were. So each transaction
//! counts itself in the database, and once it is durable the count is written to a small file beside it. A database
//! that counts less than its mark has lost what was durable. The mark is never ahead of a whole database, so it needs
//! no fsync of its own; one that lags behind, after a kill or a power loss, is only a weaker bound. It is one short
//! record at the start of its file, overwritten in place, so that a disk writes it whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    CheckpointError,
    facts::{Counted, Head},
    row::{self, Key},
    schema::MARK,
};
use crate::{model::BatchId, protocol::Reason};

const ASIDE: &str = "checkpoint.mark.new";

/// Longer than any record.
const MOST_BYTES: u64 = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Uuid of the checkpoint.
    pub checkpoint: String,
    /// Transactions that were durable.
    pub writes: u64,
    /// The last batch committed by then, for people.
    pub committed: Option<BatchId>,
}

impl Mark {
    /// Numbers are padded, so that a record always overwrites the one before entirely.
    fn record(&self) -> String {
        let committed = self.committed.map_or("none".to_owned(), |batch| batch.to_string());
        let body =
            format!("checkpoint {}\ntransactions {:020}\ncommitted {committed:>20}\n", self.checkpoint, self.writes);
        let crc = row::seal("mark", &[Key::Text(&self.checkpoint)], body.as_bytes());
        format!("{body}crc32c {crc:08x}\n")
    }

    fn parse(record: &str) -> Option<Mark> {
        let field = |name: &str| {
            let mut values = record.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            values.next().map(str::trim)
        };
        let committed = match field("committed")? {
            "none" => None,
            batch => Some(BatchId(batch.parse().ok()?)),
        };
        let checkpoint = field("checkpoint")?.to_owned();
        let mark = Mark { checkpoint, writes: field("transactions")?.parse().ok()?, committed };
        (mark.record() == record).then_some(mark)
    }

    /// The mark in `dir`; none where there is no such file, as beside a checkpoint of an earlier program.
    pub fn read(dir: &Path) -> Result<Option<Mark>, CheckpointError> {
        let mut bytes = Vec::new();
        match File::open(dir.join(MARK)).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CheckpointError::unusable(dir, "read its mark", error)),
        }
        let mark = std::str::from_utf8(&bytes).ok().and_then(Mark::parse);
        let damaged = || Reason::Corrupt { place: MARK.to_owned(), what: "it is not as it was written".to_owned() };
        mark.map(Some).ok_or_else(|| CheckpointError::Refused { dir: dir.to_owned(), reason: damaged() })
    }

    /// Refuses a database that holds less than its mark says. The mark must have been read before the database was.
    pub fn check(&self, checkpoint: &str, counted: Counted, head: &Head) -> Result<(), Reason> {
        if self.checkpoint != checkpoint {
            let what =
                format!("{MARK} belongs to checkpoint {}, the database is checkpoint {checkpoint}", self.checkpoint);
            return Err(Reason::Contradiction(what));
        }
        if counted.transactions < self.writes {
            let lost = self.writes - counted.transactions;
            return Err(Reason::Behind { lost, holds: head.committed, committed: self.committed });
        }
        Ok(())
    }
}

/// The mark of a checkpoint that is being written.
#[derive(Debug)]
pub struct Marker {
    file: File,
}

impl Marker {
    /// Opens the mark in `dir`, which is made if it is absent.
    pub fn open(dir: &Path, mark: &Mark) -> std::io::Result<Marker> {
        let path = dir.join(MARK);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => {
                let marker = Marker { file };
                marker.put(mark);
                return Ok(marker);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let aside = dir.join(ASIDE);
        let mut file = File::create(&aside)?;
        file.write_all(mark.record().as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(Marker { file })
    }

    /// A mark that cannot be written stays behind, and behind is a bound too: the transaction is durable all the same.
    pub fn put(&self, mark: &Mark) {
        if let Err(error) = self.file.write_all_at(mark.record().as_bytes(), 0) {
            tracing::debug!(%error, "{MARK} stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(writes: u64, committed: Option<u64>) -> Mark {
        let checkpoint = "5e0d2b1e-7c30-4a5e-9d9c-0a3c2d3a4b5c".to_owned();
        Mark { checkpoint, writes, committed: committed.map(BatchId) }
    }

    #[test]
    fn every_record_overwrites_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), None);
        let marker = Marker::open(dir.path(), &mark(1, None)).unwrap();
        for mark in [mark(u64::MAX, Some(u64::MAX)), mark(9, Some(0)), mark(10, None)] {
            marker.put(&mark);
            assert_eq!(Mark::read(dir.path()).unwrap(), Some(mark));
        }
        drop(Marker::open(dir.path(), &mark(11, Some(3))).unwrap());
        assert_eq!(Mark::read(dir.path()).unwrap(), Some(mark(11, Some(3))));
        assert!(!dir.path().join(ASIDE).exists());
    }

    #[test]
    fn a_flipped_or_cut_mark_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let record = mark(7, Some(2)).record().into_bytes();
        for at in 0..record.len() {
            let mut flipped = record.clone();
            flipped[at] ^= 1 << (at % 8);
            for damaged in [flipped, record[..at].to_vec()] {
                fs::write(dir.path().join(MARK), damaged).unwrap();
                let refused = Mark::read(dir.path()).unwrap_err();
                assert_eq!(refused.class(), super::super::Class::Refused, "byte {at}");
            }
        }
    }
}

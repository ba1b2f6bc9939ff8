//! Reading a checkpoint without touching it: facts, ledger, plans, job texts and state; also while a job runs on it.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    CheckpointError, StateImage,
    facts::{self, Grid, Head, Identity},
    mark::Mark,
    restore,
    schema::{self, ReadError},
};
use crate::{
    model::{BatchId, BatchTime},
    protocol::{BatchFacts, BoundedEnd, CommitRecord, Facts, JobTextHash, PlanRecord, RewindRecord},
};

/// The facts of the checkpoint in `dir`, as of one moment. Writes nothing.
pub fn inspect(dir: &Path) -> Result<Facts, CheckpointError> {
    Archive::open(dir)?.facts()
}

/// A read-only view of a checkpoint. Each call sees one moment; a running job goes on meanwhile.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    pub(super) conn: Connection,
}

/// One batch as `kstream batches` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    pub plan: PlanRecord,
    /// None while the batch is in flight.
    pub commit: Option<CommitRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Planned,
    Committed,
}

impl LedgerRow {
    pub fn status(&self) -> Status {
        if self.commit.is_some() { Status::Committed } else { Status::Planned }
    }
}

/// What it takes to execute a committed batch again.
#[derive(Debug, Clone, PartialEq)]
pub struct RestorePoint {
    pub plan: PlanRecord,
    pub commit: CommitRecord,
    /// The resolved job that ran it.
    pub job_text: String,
    /// The grid of windows.
    pub zero: BatchTime,
    pub batch_interval_ms: i64,
    /// The batch before, whose state this one began with; none for batch 0.
    pub before: Option<BatchId>,
    /// Names of the states that exist.
    pub states: Vec<String>,
}

impl Archive {
    pub fn open(dir: &Path) -> Result<Archive, CheckpointError> {
        // Before the database, so that a job that goes on meanwhile does not seem behind.
        let mark = Mark::read(dir)?;
        let over = |conn| Archive { dir: dir.to_owned(), conn };
        if mark.is_some() && schema::log_is_missing(dir) && !schema::journal_is_pending(dir) {
            // A connection of the usual kind would put an empty log in its place.
            over(schema::open_without_log(dir)?).read(|conn| check_mark(conn, mark.as_ref()))?;
        }
        let archive = over(schema::open_read_only(dir)?);
        archive.read(|conn| check_mark(conn, mark.as_ref()))?;
        Ok(archive)
    }

    pub(super) fn over(dir: &Path, conn: Connection) -> Archive {
        Archive { dir: dir.to_owned(), conn }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn facts(&self) -> Result<Facts, CheckpointError> {
        self.read(read_all)
    }

    /// The kept batches in `range`, by id; the last one may be in flight.
    pub fn ledger(&self, range: RangeInclusive<BatchId>) -> Result<Vec<LedgerRow>, CheckpointError> {
        let batches = self.read(|conn| {
            facts::check_format(conn)?;
            facts::batches(conn, range)
        })?;
        let row = |row: BatchFacts| Some(LedgerRow { plan: row.plan?, commit: row.commit });
        Ok(batches.into_values().filter_map(row).collect())
    }

    /// The oldest and the last committed batch that are kept.
    pub fn kept(&self) -> Result<Option<(BatchId, BatchId)>, CheckpointError> {
        let head: Head = self.read(|conn| {
            facts::check_format(conn)?;
            facts::required(conn, "head")
        })?;
        Ok(head.committed.map(|last| (head.first, last)))
    }

    /// The plan of a kept batch, also of the one in flight.
    pub fn plan(&self, batch: BatchId) -> Result<PlanRecord, CheckpointError> {
        let mut rows = self.ledger(batch..=batch)?;
        match rows.pop() {
            Some(row) => Ok(row.plan),
            None => Err(self.not_kept(batch)?),
        }
    }

    /// The job text that planned a kept batch.
    pub fn job_text(&self, batch: BatchId) -> Result<String, CheckpointError> {
        let hash = self.plan(batch)?.job_text;
        self.job_text_of(&hash)
    }

    pub fn job_text_of(&self, hash: &JobTextHash) -> Result<String, CheckpointError> {
        self.read(|conn| facts::job_text(conn, &hash.0))
    }

    /// What a replay of a committed batch begins with.
    pub fn restore_point(&self, batch: BatchId) -> Result<RestorePoint, CheckpointError> {
        let found = self.read(|conn| {
            facts::check_format(conn)?;
            let batches = facts::batches(conn, batch..=batch)?;
            let row = batches.get(&batch).cloned().unwrap_or_default();
            let (Some(plan), Some(commit)) = (row.plan, row.commit) else { return Ok(None) };
            let grid: Grid = facts::required(conn, "grid")?;
            Ok(Some(RestorePoint {
                job_text: facts::job_text(conn, &plan.job_text.0)?,
                zero: grid.zero_of(batch),
                batch_interval_ms: grid.batch_interval_ms,
                before: batch.previous(),
                states: restore::names(conn, &BTreeMap::new())?.into_iter().collect(),
                plan,
                commit,
            }))
        })?;
        match found {
            Some(point) => Ok(point),
            None => Err(self.not_kept(batch)?),
        }
    }

    /// One state as it was after `at`: a kept batch, or the one before the oldest kept.
    pub fn state(&self, name: &str, at: BatchId) -> Result<StateImage, CheckpointError> {
        self.read(|conn| {
            let batches = facts::batches(conn, facts::ALL)?;
            restore::image(conn, &batches, name, at)
        })
    }

    fn not_kept(&self, wanted: BatchId) -> Result<CheckpointError, CheckpointError> {
        Ok(CheckpointError::NotKept { dir: self.dir.clone(), wanted, kept: self.kept()? })
    }

    /// Runs `read` in one transaction, so that it sees one moment.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, CheckpointError> {
        let outcome = match self.conn.unchecked_transaction() {
            Ok(moment) => read(&moment),
            Err(error) => Err(error.into()),
        };
        outcome.map_err(|error| error.at(&self.dir))
    }
}

/// Refuses a database that holds less than the mark that was read before it.
fn check_mark(conn: &Connection, mark: Option<&Mark>) -> Result<(), ReadError> {
    let Some(mark) = mark else { return Ok(()) };
    facts::check_format(conn)?;
    let identity: Identity = facts::required(conn, "identity")?;
    Ok(mark.check(&identity.checkpoint, facts::counted(conn)?, &facts::required(conn, "head")?)?)
}

/// Everything recovery decides from, as of one moment; state blobs that recovery needs are checked, not kept.
fn read_all(conn: &Connection) -> Result<Facts, ReadError> {
    let format = facts::check_format(conn)?;
    let identity: Identity = facts::required(conn, "identity")?;
    let grid: Grid = facts::required(conn, "grid")?;
    let head: Head = facts::required(conn, "head")?;
    let batches = facts::batches(conn, facts::ALL)?;
    // The job text of the batch in flight, or else of the last one, is what the next start compares and may run.
    if let Some(plan) = batches.values().next_back().and_then(|row| row.plan.as_ref()) {
        facts::job_text(conn, &plan.job_text.0)?;
    }
    let missing_state = restore::missing(conn, &batches, head.committed)?;
    Ok(Facts {
        format,
        checkpoint: identity.checkpoint,
        job: identity.job,
        timeline: head.timeline,
        run_epoch: head.run_epoch,
        batch_interval_ms: grid.batch_interval_ms,
        zero: grid.zero,
        head_planned: head.planned,
        head_committed: head.committed,
        head_first: head.first,
        batches,
        positions: facts::positions(conn)?,
        sinks: facts::sinks(conn)?,
        bounded_end: facts::meta::<BoundedEnd>(conn, "bounded_end")?,
        rewind: facts::meta::<RewindRecord>(conn, "rewind")?,
        missing_state,
    })
}

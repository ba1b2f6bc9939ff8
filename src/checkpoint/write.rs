//! The open checkpoint: every call is one transaction and one fsync.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior};

use super::{
    Archive, CheckpointError, Lock, NewCheckpoint, create,
    facts::{self, Counted, Grid, Head, SinkRow},
    lock::Anchor,
    mark::{Mark, Marker},
    restore,
    row::{self, Key},
    schema::{self, MARK, ReadError},
};
use crate::{
    crash,
    model::{BatchId, BatchTime, RunEpoch, Timeline},
    protocol::{
        BatchFacts, BoundedEnd, CommitRecord, Facts, JobTextHash, PlanRecord, Position, Reason, StateWrites,
        StateWritten, Store,
    },
};

/// A checkpoint held and written by this process.
#[derive(Debug)]
pub struct Checkpoint {
    /// Before the lock, so that the database is closed when the lock is given up.
    archive: Archive,
    uuid: String,
    head: Head,
    counted: Counted,
    marker: Marker,
    /// States that were dropped, and the batch at which each last began anew.
    pub(super) began: BTreeMap<String, BatchId>,
    /// Goes along with the next transaction, none to delete what is stored.
    bounded_end: Option<Option<BoundedEnd>>,
    brought: Brought,
    /// The last batch when age and size were last compared with their limits.
    pub(super) looked_at: Option<BatchId>,
    /// Of the database, once it was asked.
    pub(super) page_bytes: Option<i64>,
    /// A write failed: nothing is known about what is durable, and nothing is written any more.
    poisoned: bool,
    /// The database and the lock, each under the name it was opened by.
    anchors: [Anchor; 2],
    _lock: Lock,
}

/// What the job at hand brings, stored with the first plan it makes: until then the checkpoint is as the job before left it.
#[derive(Debug, Default)]
struct Brought {
    /// Stored with every plan that names it, where it is not there.
    job_text: Option<(JobTextHash, String)>,
    /// Another batch interval, and the zero that goes with it.
    grid: Option<(i64, BatchTime)>,
}

impl Brought {
    fn store(&self, conn: &Connection, plan: &PlanRecord) -> Result<(), ReadError> {
        if let Some((hash, text)) = self.job_text.as_ref().filter(|(hash, _)| *hash == plan.job_text) {
            let crc = row::seal("job_texts", &[Key::Text(&hash.0)], text.as_bytes());
            let sql = "INSERT OR IGNORE INTO job_texts (hash, body, crc) VALUES (?, ?, ?)";
            conn.prepare_cached(sql)?.execute(rusqlite::params![&*hash.0, text, crc])?;
        }
        if let Some((batch_interval_ms, zero)) = self.grid {
            let grid: Grid = facts::required(conn, "grid")?;
            facts::put_meta(conn, "grid", &grid.followed_by(plan.batch, batch_interval_ms, zero))?;
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Makes a new checkpoint in the locked directory and opens it.
    pub fn create(lock: Lock, new: &NewCheckpoint<'_>) -> Result<Checkpoint, CheckpointError> {
        Self::create_with_pages(lock, new, create::PAGE_BYTES)
    }

    pub(super) fn create_with_pages(
        lock: Lock,
        new: &NewCheckpoint<'_>,
        page_bytes: u32,
    ) -> Result<Checkpoint, CheckpointError> {
        match schema::open_read_only(lock.dir()) {
            Err(CheckpointError::Absent { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let what = "There is a checkpoint in it already".to_owned();
                return Err(CheckpointError::Unusable { dir: lock.dir().to_owned(), what });
            }
        }
        // The directory may have been deleted since it was locked, and another process have begun there.
        create::create(lock.dir(), new, page_bytes, || lock.check())?;
        let facts = super::inspect(lock.dir())?;
        Self::resume(lock, &facts)
    }

    /// Opens the checkpoint whose facts were read and found good, and begins a run: the first write.
    pub fn resume(lock: Lock, facts: &Facts) -> Result<Checkpoint, CheckpointError> {
        let dir = lock.dir().to_owned();
        let conn = schema::open_read_write(&dir)?;
        crash::point("start: opened");
        let head = Head {
            timeline: facts.timeline,
            run_epoch: facts.run_epoch,
            first: facts.head_first,
            planned: facts.head_planned,
            committed: facts.head_committed,
        };
        let anchors = Anchor::at(schema::database(&dir)).and_then(|database| Ok([database, lock.anchor()?]));
        let anchors = anchors.map_err(|error| CheckpointError::io(dir.clone(), "look at", error))?;
        // Where an fsync failed the last process, what it left in the log may be in memory alone, and an fsync of what is
        // written behind it would not tell. So the database takes the log over, by an fsync of its own, before anything is
        // written. A reader that holds it up is gone at the next start.
        let copied = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        copied.map_err(|error| CheckpointError::io(dir.clone(), "write to", error))?;
        crash::point("start: log emptied");
        let archive = Archive::over(&dir, conn);
        let counted = archive.read(facts::counted)?;
        let mark =
            Mark { checkpoint: facts.checkpoint.clone(), writes: counted.transactions, committed: head.committed };
        let marker = Marker::open(&dir, &mark);
        let marker = marker.map_err(|error| {
            let full = if error.kind() == std::io::ErrorKind::StorageFull { "the disk is full: " } else { "" };
            let source = format!("{full}{MARK} cannot be written: {error}").into();
            CheckpointError::Io { dir: dir.clone(), doing: "mark", source }
        })?;
        crash::point("start: marked");
        let mut checkpoint = Checkpoint {
            archive,
            uuid: facts.checkpoint.clone(),
            head,
            counted,
            marker,
            began: began(&facts.batches),
            bounded_end: None,
            brought: Brought::default(),
            looked_at: None,
            page_bytes: None,
            poisoned: false,
            anchors,
            _lock: lock,
        };
        checkpoint.transact("begin a run on", |_, head| {
            head.run_epoch = RunEpoch(head.run_epoch.0 + 1);
            Ok(())
        })?;
        crash::point("start: run begun");
        Ok(checkpoint)
    }

    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    pub fn run_epoch(&self) -> RunEpoch {
        self.head.run_epoch
    }

    pub fn timeline(&self) -> Timeline {
        self.head.timeline
    }

    pub fn committed(&self) -> Option<BatchId> {
        self.head.committed
    }

    /// The oldest kept batch.
    pub fn first(&self) -> BatchId {
        self.head.first
    }

    /// Everything that can be read of the checkpoint.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Stores `text` with the next transaction; plans name it by the hash.
    pub fn remember_job_text(&mut self, text: &str) -> JobTextHash {
        let hash = JobTextHash::of(text.as_bytes());
        self.brought.job_text = Some((hash.clone(), text.to_owned()));
        hash
    }

    /// Where a bounded run ends, stored with the next transaction (its first plan); none once it is reached (with its
    /// last commit).
    pub fn set_bounded_end(&mut self, end: Option<BoundedEnd>) {
        self.bounded_end = Some(end);
    }

    /// Another batch interval and zero from the next plan on, stored with it.
    pub fn set_grid(&mut self, batch_interval_ms: i64, zero: BatchTime) {
        self.brought.grid = Some((batch_interval_ms, zero));
    }

    /// Stores what waits for the next transaction, where none comes.
    pub fn flush(&mut self) -> Result<(), CheckpointError> {
        if self.bounded_end.is_none() { Ok(()) } else { self.transact("write to", |_, _| Ok(())) }
    }

    /// The sinks have followed the rewind.
    pub fn rewind_finished(&mut self) -> Result<(), CheckpointError> {
        self.transact("write to", |conn, _| facts::delete_meta(conn, "rewind"))
    }

    fn note_planned(&mut self, plan: &PlanRecord) {
        self.brought.grid = None;
        self.began.extend(plan.dropped_states.iter().map(|state| (state.clone(), plan.batch)));
    }

    /// Copies the write-ahead log into the database, as far as no reader is in the way.
    pub(super) fn checkpoint_log(&mut self) -> Result<(), CheckpointError> {
        let dir = self.archive.dir().to_owned();
        if self.poisoned {
            return Err(CheckpointError::Poisoned { dir });
        }
        let copied = self.archive.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.poisoned = copied.is_err();
        copied.map_err(|error| CheckpointError::io(dir, "write to", error))
    }

    /// One durable transaction. The head it leaves must be the head it finds plus what `write` changed.
    pub(super) fn transact<T>(
        &mut self,
        doing: &'static str,
        write: impl FnOnce(&Connection, &mut Head) -> Result<T, ReadError>,
    ) -> Result<T, CheckpointError> {
        let dir = self.archive.dir().to_owned();
        if self.poisoned {
            return Err(CheckpointError::Poisoned { dir });
        }
        // Writes to files that were deleted or replaced go well, and are lost.
        if let Err(error) = self.anchors.iter().try_for_each(|anchor| anchor.check(&dir)) {
            self.poisoned = true;
            return Err(error);
        }
        let outcome = self.try_transact(write);
        self.poisoned = outcome.is_err();
        outcome.map_err(|error| match error {
            Failure::Write(ReadError::Sqlite(source)) => CheckpointError::io(dir, doing, source),
            Failure::Write(error) => error.at(&dir),
            Failure::Fenced(found) => {
                let what = format!("It stands at {}; this process left it at {}", told(&found), told(&self.head));
                CheckpointError::Fenced { dir, what }
            }
        })
    }

    fn try_transact<T>(
        &mut self,
        write: impl FnOnce(&Connection, &mut Head) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        let begun = self.archive.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(ReadError::from)?;
        let found: Head = facts::required(&transaction, "head")?;
        if found != self.head {
            return Err(Failure::Fenced(found));
        }
        let mut head = self.head;
        match &self.bounded_end {
            Some(Some(end)) => facts::put_meta(&transaction, "bounded_end", end)?,
            Some(None) => facts::delete_meta(&transaction, "bounded_end")?,
            None => {}
        }
        let result = write(&transaction, &mut head)?;
        if head != found {
            facts::put_meta(&transaction, "head", &head)?;
        }
        let counted = Counted { transactions: self.counted.transactions + 1 };
        facts::put_meta(&transaction, "counted", &counted)?;
        transaction.commit().map_err(ReadError::from)?;
        (self.head, self.counted) = (head, counted);
        let checkpoint = self.uuid.clone();
        self.marker.put(&Mark { checkpoint, writes: counted.transactions, committed: head.committed });
        self.bounded_end = None;
        Ok(result)
    }
}

enum Failure {
    Write(ReadError),
    Fenced(Head),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::Write(error)
    }
}

/// A head in words.
fn told(head: &Head) -> String {
    let batch = |batch: Option<BatchId>| batch.map_or("no batch".to_owned(), |batch| format!("batch {batch}"));
    let (planned, committed) = (batch(head.planned), batch(head.committed));
    format!("run {}, timeline {}, {planned} planned and {committed} committed", head.run_epoch.0, head.timeline.0)
}

/// A caller that breaks the protocol's order would write facts that recovery refuses.
fn in_order(holds: bool, batch: BatchId, step: &str, head: &Head) -> Result<(), ReadError> {
    if holds {
        return Ok(());
    }
    let what = format!("batch {batch} cannot be {step}: the checkpoint stands at {}", told(head));
    Err(Reason::Contradiction(what).into())
}

fn log_planned(conn: &Connection, head: &mut Head, plan: &PlanRecord) -> Result<(), ReadError> {
    let next = head.committed.map_or(BatchId::FIRST, BatchId::next);
    let fresh = head.planned == head.committed && plan.batch == next;
    in_order(fresh && plan.timeline == head.timeline, plan.batch, "planned", head)?;
    head.planned = Some(plan.batch);
    facts::put_plan(conn, plan)?;
    if !plan.dropped_partitions.is_empty() {
        let positions = facts::positions(conn)?;
        for Position { source, tp, .. } in positions.iter().filter(|kept| plan.drops(&kept.source, &kept.tp)) {
            let sql = "DELETE FROM positions WHERE source = ? AND topic = ? AND partition = ?";
            conn.prepare_cached(sql)?.execute(rusqlite::params![&**source, &*tp.topic, tp.partition])?;
        }
    }
    for (name, base) in &plan.bases {
        facts::put_sink(conn, name, &SinkRow::base(base.clone()))?;
    }
    Ok(())
}

fn log_committed(
    conn: &Connection,
    head: &mut Head,
    began: &BTreeMap<String, BatchId>,
    commit: &CommitRecord,
    state: &StateWrites,
) -> Result<(), ReadError> {
    let in_flight = head.planned == Some(commit.batch) && head.planned != head.committed;
    in_order(in_flight, commit.batch, "committed", head)?;
    head.committed = Some(commit.batch);
    let batches = facts::batches(conn, commit.batch..=commit.batch)?;
    let Some(plan) = batches.get(&commit.batch).and_then(|row| row.plan.as_ref()) else {
        return Err(Reason::CommittedWithoutPlanned(commit.batch).into());
    };
    for range in &plan.ranges {
        facts::put_position(conn, &Position::after(range, commit.batch))?;
    }
    let mut known = if commit.sinks.is_empty() { BTreeMap::new() } else { facts::sink_rows(conn)? };
    for (name, said) in &commit.sinks {
        let row = match known.remove(name) {
            Some(known) => known.followed_by(said.clone(), commit.batch, head.first),
            None => SinkRow { facts: said.clone(), batch: Some(commit.batch), before: None },
        };
        facts::put_sink(conn, name, &row)?;
    }
    let mut written = Vec::with_capacity(state.deltas.len() + state.snapshots.len());
    for delta in &state.deltas {
        let since = began.get(&delta.state).copied();
        let crc = restore::put_delta(conn, delta, commit.batch, since)?;
        written.push(StateWritten { state: delta.state.clone(), slot: None, crc });
    }
    for snapshot in &state.snapshots {
        let crc = restore::put_snapshot(conn, snapshot, commit.batch)?;
        crash::point("commit: snapshot written");
        let slot = Some((snapshot.slot, snapshot.slots));
        written.push(StateWritten { state: snapshot.state.clone(), slot, crc });
    }
    facts::put_commit(conn, &CommitRecord { state: written, ..commit.clone() })
}

/// The states that the kept plans dropped, and the last batch that did so.
pub(super) fn began(batches: &BTreeMap<BatchId, BatchFacts>) -> BTreeMap<String, BatchId> {
    let plans = batches.values().filter_map(|row| row.plan.as_ref());
    plans.flat_map(|plan| plan.dropped_states.iter().map(|state| (state.clone(), plan.batch))).collect()
}

impl Store for Checkpoint {
    type Error = CheckpointError;

    fn log_planned(&mut self, plan: &PlanRecord) -> Result<(), CheckpointError> {
        let brought = std::mem::take(&mut self.brought);
        let outcome = self.transact("log a plan to", |conn, head| {
            brought.store(conn, plan)?;
            log_planned(conn, head, plan)?;
            crash::point("plan: written");
            Ok(())
        });
        self.brought = brought;
        outcome?;
        crash::point("plan: logged");
        self.note_planned(plan);
        Ok(())
    }

    fn replace_plan(&mut self, plan: &PlanRecord) -> Result<(), CheckpointError> {
        self.transact("replace a plan in", |conn, head| {
            let in_flight = head.planned == Some(plan.batch) && head.planned != head.committed;
            in_order(in_flight && plan.timeline == head.timeline, plan.batch, "replaced", head)?;
            facts::put_plan(conn, plan)
        })
    }

    fn log_committed(
        &mut self,
        commit: &CommitRecord,
        state: &StateWrites,
        next: Option<&PlanRecord>,
    ) -> Result<(), CheckpointError> {
        let (began, brought) = (std::mem::take(&mut self.began), std::mem::take(&mut self.brought));
        let outcome = self.transact("log a commit to", |conn, head| {
            log_committed(conn, head, &began, commit, state)?;
            crash::point("commit: facts written");
            if let Some(next) = next {
                brought.store(conn, next)?;
                log_planned(conn, head, next)?;
            }
            crash::point("commit: plan written");
            Ok(())
        });
        (self.began, self.brought) = (began, brought);
        outcome?;
        crash::point("commit: logged");
        next.into_iter().for_each(|next| self.note_planned(next));
        Ok(())
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // Leaves everything in the database file. Nothing depends on it, so a failure is no matter.
        if !self.poisoned {
            let _ = self.archive.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }
}

#[cfg(test)]
mod tests;

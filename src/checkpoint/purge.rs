//! Dropping what no recovery, replay or retention setting can still need.
//!
//! Rows go in steps of [`STEP`] batches, in a transaction of their own, so that most batches pay nothing for it. The
//! write-ahead log is copied into the database here too, off the commit path.

use rusqlite::{Connection, params};

use super::{
    Checkpoint, CheckpointError,
    facts::{self, Head, SinkRow, id},
    restore,
    schema::{self, ReadError},
};
use crate::{
    crash,
    job::Retention,
    model::{BatchId, BatchTime},
};

/// Batches that may be kept beyond the limits before a purge is worth a transaction.
const STEP: u64 = 32;

/// Batches between two looks at the limits of age and size, which read all that is kept.
const LOOK: u64 = 32;

/// Pages of the write-ahead log from which it is copied into the database: 4 MiB.
const LOG_PAGES: i64 = 1024;

/// What a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    pub batches: u64,
}

impl Checkpoint {
    /// Drops batches beyond `retention`, but none from `needed_from` on (what windows still read) and never the last
    /// committed one. `now` is the time by which age is measured.
    pub fn purge(
        &mut self,
        retention: &Retention,
        needed_from: Option<BatchId>,
        now: BatchTime,
    ) -> Result<Purged, CheckpointError> {
        let before = self.first();
        let Some(last) = self.committed() else { return Ok(Purged::default()) };
        let limit = needed_from.map_or(last, |needed| needed.min(last));
        let mut wanted = BatchId((last.0 + 1).saturating_sub(retention.batches.max(1))).max(before);
        if self.looked_at.is_none_or(|looked| looked.0.abs_diff(last.0) >= LOOK) {
            self.looked_at = Some(last);
            wanted = wanted.max(self.archive().read(|conn| first_within(conn, retention, last, now))?);
        }
        let wanted = wanted.min(limit);
        let due = wanted.0.saturating_sub(before.0);
        let purged = if due >= STEP.min(retention.batches.max(1)) {
            self.transact("purge", |conn, head| {
                purge_before(conn, head, wanted)?;
                crash::point("purge: written");
                Ok(())
            })?;
            crash::point("purge: done");
            Purged { batches: due }
        } else {
            Purged::default()
        };
        self.copy_log(LOG_PAGES)?;
        Ok(purged)
    }

    /// Copies a log of at least `pages` pages into the database, as far as no reader is in the way.
    fn copy_log(&mut self, pages: i64) -> Result<(), CheckpointError> {
        let dir = self.archive().dir().to_owned();
        let log = dir.join(schema::LOG);
        let page_bytes = match self.page_bytes {
            Some(known) => known,
            None => self.archive().read(|conn| Ok(conn.pragma_query_value(None, "page_size", |row| row.get(0))?))?,
        };
        self.page_bytes = Some(page_bytes);
        let long = log.metadata().is_ok_and(|log| log.len() >= (pages * page_bytes).unsigned_abs());
        if !long {
            return Ok(());
        }
        self.checkpoint_log()
    }
}

/// The first batch that the limits of age and size keep, whatever is needed otherwise.
fn first_within(conn: &Connection, retention: &Retention, last: BatchId, now: BatchTime) -> Result<BatchId, ReadError> {
    let mut keep = BatchId::FIRST;
    if let Some(age_ms) = retention.age_ms {
        let oldest = now.0.saturating_sub(age_ms);
        let sql = "SELECT min(batch) FROM plans WHERE body ->> '$.time' >= ?";
        let young: Option<i64> = conn.prepare_cached(sql)?.query_row([oldest], |found| found.get(0))?;
        keep = keep.max(young.map_or(last, |batch| BatchId(batch.unsigned_abs())));
    }
    if let Some(bytes) = retention.bytes {
        keep = keep.max(first_within_bytes(conn, bytes, last)?);
    }
    Ok(keep)
}

/// Newest batches first, as many as fit.
fn first_within_bytes(conn: &Connection, bytes: u64, last: BatchId) -> Result<BatchId, ReadError> {
    let sql = "SELECT batch, sum(bytes) FROM (\
               SELECT batch, octet_length(body) AS bytes FROM plans UNION ALL \
               SELECT batch, octet_length(body) FROM commits UNION ALL \
               SELECT batch, octet_length(body) FROM state_deltas UNION ALL \
               SELECT batch, octet_length(body) FROM state_snapshots) GROUP BY batch ORDER BY batch DESC";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([])?;
    let (mut sum, mut keep) = (0u64, last);
    while let Some(found) = rows.next()? {
        let (batch, size): (i64, i64) = (found.get(0)?, found.get(1)?);
        sum = sum.saturating_add(size.unsigned_abs());
        if sum > bytes {
            break;
        }
        keep = keep.min(BatchId(batch.unsigned_abs()));
    }
    Ok(keep)
}

/// Drops all batches before `first`, and of their state what no kept batch begins with.
fn purge_before(conn: &Connection, head: &mut Head, first: BatchId) -> Result<(), ReadError> {
    let batches = facts::batches(conn, facts::ALL)?;
    // A replay of the first kept batch begins with the state after the one before it.
    let restorable = first.previous().unwrap_or(BatchId::FIRST);
    for state in restore::names(conn, &batches)? {
        if let Some(since) = restore::since(&batches, &state, restorable) {
            for table in ["state_deltas", "state_snapshots"] {
                let sql = format!("DELETE FROM {table} WHERE state = ? AND batch < ?");
                conn.execute(&sql, params![state, id(since)])?;
            }
        }
        drop_replaced_state(conn, &state, restorable)?;
    }
    for (name, row) in facts::sink_rows(conn)? {
        let before = row.before_first(&name, &batches, first);
        if before != row.before {
            facts::put_sink(conn, &name, &SinkRow { before, ..row })?;
        }
    }
    for table in ["plans", "commits"] {
        conn.execute(&format!("DELETE FROM {table} WHERE batch < ?"), [id(first)])?;
    }
    conn.execute("DELETE FROM job_texts WHERE hash NOT IN (SELECT body ->> '$.job_text' FROM plans)", [])?;
    head.first = first;
    Ok(())
}

/// Drops snapshots that newer ones as of `restorable` or before replace, and deltas that these make needless.
fn drop_replaced_state(conn: &Connection, state: &str, restorable: BatchId) -> Result<(), ReadError> {
    let sql = "DELETE FROM state_snapshots WHERE state = ?1 AND batch < (SELECT max(batch) FROM state_snapshots AS newer \
               WHERE newer.state = ?1 AND newer.slot = state_snapshots.slot AND newer.batch <= ?2)";
    conn.execute(sql, params![state, id(restorable)])?;
    let sql = "SELECT count(DISTINCT slot), max(slots), min(batch) FROM state_snapshots WHERE state = ? AND batch <= ?";
    let (found, slots, oldest): (i64, Option<i64>, Option<i64>) =
        conn.query_row(sql, params![state, id(restorable)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if let Some(oldest) = oldest
        && slots == Some(found)
    {
        conn.execute("DELETE FROM state_deltas WHERE state = ? AND batch <= ?", params![state, oldest])?;
    }
    Ok(())
}

//! Going back: an earlier batch becomes the last committed one, on a higher timeline.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    Checkpoint, CheckpointError,
    facts::{self, Head, SinkRow, id},
    schema::ReadError,
};
use crate::{
    crash,
    model::{BatchId, Timeline, TopicPartition},
    protocol::{BatchFacts, Position, RewindRecord, SinkFacts},
};

impl Checkpoint {
    /// Makes `to` the last committed batch (none: takes everything back), in one transaction. The batch in flight, if
    /// there is one, goes too: the caller has settled it at the sinks. From then on every start finishes the rewind
    /// at the sinks first, until [`Checkpoint::rewind_finished`]. `complete` says what the checkpoint does not know of it.
    pub fn rewind(
        &mut self,
        to: Option<BatchId>,
        complete: impl Fn(&mut RewindRecord),
    ) -> Result<RewindRecord, CheckpointError> {
        let kept = self.archive().kept()?;
        let allowed = match (to, kept) {
            (Some(to), Some((first, last))) => first <= to && to <= last,
            (None, _) => self.first() == BatchId::FIRST,
            (Some(_), None) => false,
        };
        if !allowed {
            let dir = self.archive().dir().to_owned();
            return Err(CheckpointError::NotKept { dir, wanted: to.unwrap_or(BatchId::FIRST), kept });
        }
        let record = self.transact("rewind", |conn, head| {
            let mut record = rewind(conn, head, to)?;
            complete(&mut record);
            facts::put_meta(conn, "rewind", &record)?;
            crash::point("rewind: written");
            Ok(record)
        })?;
        crash::point("rewind: logged");
        let batches = self.archive().read(|conn| facts::batches(conn, facts::ALL))?;
        self.began = super::write::began(&batches);
        Ok(record)
    }
}

fn rewind(conn: &Connection, head: &mut Head, to: Option<BatchId>) -> Result<RewindRecord, ReadError> {
    let batches = facts::batches(conn, facts::ALL)?;
    let is_after = |batch: BatchId| to.is_none_or(|to| batch > to);
    put_positions_back(conn, &batches, to)?;
    let timeline = Timeline(head.timeline.0 + 1);
    let sinks = put_sinks_back(conn, &batches, to)?;
    for table in ["plans", "commits", "state_deltas", "state_snapshots"] {
        conn.execute(&format!("DELETE FROM {table} WHERE batch >= ?"), [to.map_or(0, |to| id(to) + 1)])?;
    }
    let bounded_by = batches.iter().find(|(batch, _)| is_after(**batch));
    if bounded_by.is_some() {
        // The end belongs to a run that is taken back at least in part; the next bounded run finds its own.
        facts::delete_meta(conn, "bounded_end")?;
    }
    (head.timeline, head.planned, head.committed) = (timeline, to, to);
    Ok(RewindRecord { to, timeline, sinks, job_text: None })
}

/// A topic partition stands where the last batch up to `to` left it; if none that is kept read it, where the first batch
/// that is taken back began, lost offsets included.
fn put_positions_back(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    to: Option<BatchId>,
) -> Result<(), ReadError> {
    let mut positions: BTreeMap<(Arc<str>, TopicPartition), Position> = BTreeMap::new();
    for (&batch, plan) in batches.iter().filter_map(|(batch, row)| Some((batch, row.plan.as_ref()?))) {
        let stays = to.filter(|to| batch <= *to);
        if stays.is_some() {
            positions.retain(|(source, tp), _| !plan.drops(source, tp));
        }
        for range in &plan.ranges {
            let key = (range.source.clone(), range.tp.clone());
            if stays.is_some() {
                positions.insert(key, Position::after(range, batch));
            } else if let Some(to) = to {
                let lost = plan.lost.iter().find(|lost| lost.source == range.source && lost.tp == range.tp);
                let offset = lost.map_or(range.start, |lost| lost.start);
                positions.entry(key).or_insert(Position { offset, ..Position::after(range, to) });
            }
        }
    }
    let untouched = facts::positions(conn)?.into_iter().filter(|position| to.is_some_and(|to| position.batch <= to));
    positions.extend(untouched.map(|position| ((position.source.clone(), position.tp.clone()), position)));
    conn.execute("DELETE FROM positions", [])?;
    positions.values().try_for_each(|position| facts::put_position(conn, position))
}

/// What each sink remembered as of `to`: from the last commit up to it that says so, else from the base of the first
/// plan that has one. A sink that began after `to` goes back to its base.
fn put_sinks_back(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    to: Option<BatchId>,
) -> Result<BTreeMap<String, Option<SinkFacts>>, ReadError> {
    let mut targets = BTreeMap::new();
    for (name, (facts_now, said_by)) in facts::sinks(conn)? {
        let unchanged = match (said_by, to) {
            (Some(batch), Some(to)) => batch <= to,
            (None, _) => true,
            (Some(_), None) => false,
        };
        let said = |row: &BatchFacts| row.commit.as_ref().and_then(|commit| commit.sinks.get(&name).cloned());
        let base = |row: &BatchFacts| row.plan.as_ref().and_then(|plan| plan.bases.get(&name).cloned());
        let earlier = to.and_then(|to| {
            batches.range(..=to).rev().find_map(|(&batch, row)| Some(SinkRow { facts: said(row)?, batch: Some(batch) }))
        });
        let row = if unchanged {
            Some(SinkRow { facts: facts_now, batch: said_by })
        } else {
            let based = || batches.values().find_map(base).map(|facts| SinkRow { facts, batch: None });
            earlier.or_else(based)
        };
        match &row {
            // A job that begins anew looks at its sinks anew, and its first plan says what it has found.
            Some(row) if to.is_some() => facts::put_sink(conn, &name, row)?,
            _ => drop(conn.execute("DELETE FROM sinks WHERE name = ?", params![name])?),
        }
        targets.insert(name, row.map(|row| row.facts));
    }
    Ok(targets)
}

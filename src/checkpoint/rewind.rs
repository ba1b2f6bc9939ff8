//! Going back: an earlier batch becomes the last committed one, on a higher timeline.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    Archive, Checkpoint, CheckpointError,
    facts::{self, Grid, Head, SinkRow, id},
    schema::ReadError,
};
use crate::{
    crash,
    model::{BatchId, OffsetRange, Timeline, TopicPartition},
    protocol::{BatchFacts, LossReason, LostRange, Position, RewindRecord, SaidOfSink, SinkFacts},
};

impl Archive {
    /// What each sink remembered after `to`, as a rewind would find it, with the batch that said so; `None` where nobody knows
    /// any more.
    pub fn sinks_as_of(&self, to: Option<BatchId>) -> Result<BTreeMap<String, Option<SaidOfSink>>, CheckpointError> {
        self.read(|conn| {
            let batches = facts::batches(conn, facts::ALL)?;
            let rows = facts::sink_rows(conn)?.into_iter();
            Ok(rows
                .map(|(name, row)| {
                    let then = as_of(&name, &row, &batches, to);
                    (name, then.map(|then| (then.facts, then.batch)))
                })
                .collect())
        })
    }
}

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
            let unknown: Vec<String> =
                record.sinks.iter().filter(|(_, then)| then.is_none()).map(|(name, _)| name.clone()).collect();
            complete(&mut record);
            // Known by another name: the next start finds it by that.
            for name in unknown.iter().filter(|name| record.sinks.get(*name).is_some_and(Option::is_some)) {
                conn.execute("DELETE FROM sinks WHERE name = ?", params![name])?;
            }
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
    let grid: Grid = facts::required(conn, "grid")?;
    facts::put_meta(conn, "grid", &grid.back_at(to))?;
    (head.timeline, head.planned, head.committed) = (timeline, to, to);
    Ok(RewindRecord { to, timeline, sinks, job_text: None, earlier_job_texts: Vec::new() })
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
            } else if to.is_some() {
                let lost = plan.lost.iter().find(|lost| lost.source == range.source && lost.tp == range.tp);
                positions.entry(key).or_insert_with(|| before(range, lost));
            }
        }
    }
    for position in facts::positions(conn)?.into_iter().filter(|position| to.is_some_and(|to| position.batch <= to)) {
        let key = (position.source.clone(), position.tp.clone());
        match positions.entry(key) {
            // Of a batch that is kept: an earlier rewind may have noted where it began later.
            Entry::Occupied(known) if to.is_some_and(|to| is_read(batches, known.key(), to)) => {}
            Entry::Occupied(mut began) => drop(began.insert(position)),
            Entry::Vacant(unread) => drop(unread.insert(position)),
        }
    }
    conn.execute("DELETE FROM positions", [])?;
    positions.values().try_for_each(|position| facts::put_position(conn, position))
}

/// Where a topic partition stood that nothing which is kept has moved: it began so, whatever a further rewind takes back.
fn before(range: &OffsetRange, lost: Option<&LostRange>) -> Position {
    let began = Position { offset: range.start, ..Position::after(range, BatchId::FIRST) };
    match lost {
        // An offset means nothing in another topic: without the id of its own one it begins where that other one was begun.
        Some(lost) if lost.reason == LossReason::Recreated => match &lost.topic_id {
            Some(id) => Position { offset: lost.start, topic_id: Some(id.clone()), leader_epoch: None, ..began },
            None => began,
        },
        Some(lost) => Position { offset: lost.start, ..began },
        None => began,
    }
}

/// Whether a kept batch up to `to` read a topic partition.
fn is_read(batches: &BTreeMap<BatchId, BatchFacts>, (source, tp): &(Arc<str>, TopicPartition), to: BatchId) -> bool {
    let mut plans = batches.range(..=to).filter_map(|(_, row)| row.plan.as_ref());
    plans.any(|plan| plan.ranges.iter().any(|range| range.source == *source && range.tp == *tp))
}

/// Each sink as it was after `to`; one that began later goes back to its base.
fn put_sinks_back(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    to: Option<BatchId>,
) -> Result<BTreeMap<String, Option<SinkFacts>>, ReadError> {
    let mut targets = BTreeMap::new();
    for (name, row) in facts::sink_rows(conn)? {
        let then = as_of(&name, &row, batches, to);
        match &then {
            // A job that begins anew looks at its sinks anew, and its first plan says what it has found.
            _ if to.is_none() => drop(conn.execute("DELETE FROM sinks WHERE name = ?", params![name])?),
            Some(then) => facts::put_sink(conn, &name, then)?,
            // What nobody knows any more is not cut, and the next batch is written behind it.
            None => facts::put_sink(conn, &name, &SinkRow::base(row.facts))?,
        }
        targets.insert(name, then.map(|then| then.facts));
    }
    Ok(targets)
}

/// The row of a sink as it was after `to`: as the last commit up to it says that is kept, else as it was before all of them.
/// `None` where only commits that are purged knew, in a checkpoint of an earlier version.
fn as_of(name: &str, now: &SinkRow, batches: &BTreeMap<BatchId, BatchFacts>, to: Option<BatchId>) -> Option<SinkRow> {
    let is_before = |said_by: Option<BatchId>| said_by.is_none_or(|batch| to.is_some_and(|to| batch <= to));
    if is_before(now.batch) {
        return Some(now.clone());
    }
    let in_kept = to.and_then(|to| facts::last_said(name, batches.range(..=to)));
    let in_kept = in_kept.map(|said| SinkRow { facts: said.facts, batch: said.batch, before: now.before.clone() });
    let before = now.before.as_ref().filter(|before| is_before(before.batch));
    let before = before.map(|before| SinkRow { facts: before.facts.clone(), batch: before.batch, before: None });
    let base = || batches.values().find_map(|row| row.plan.as_ref()?.bases.get(name).cloned());
    in_kept.or(before).or_else(|| base().map(SinkRow::base))
}

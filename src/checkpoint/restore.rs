//! Keyed state as it was after a batch: snapshots slot by slot, and the deltas since.
//!
//! ```text
//! slot 0   S . . . . .          S snapshot   d delta
//! slot 1   . . S . . .
//! deltas   d d d d d d      as of the last batch: S of slot 0, S of slot 1, the deltas after slot 0's snapshot
//! ```
//! A delta names the delta before it, and commits name what they wrote, so that a blob that vanished is missed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::{
    facts::{bytes, id},
    row::{self, Key},
    schema::ReadError,
};
use crate::{
    model::BatchId,
    protocol::{BatchFacts, MissingState, Reason, StateDelta, StateSnapshot},
};

/// Everything needed to build one state as it was after a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateImage {
    /// One a slot, by slot. Either all slots have one, or `deltas` go back to the state's beginning.
    pub snapshots: Vec<Snapshot>,
    /// Ascending. A slot ignores the deltas up to its snapshot's batch.
    pub deltas: Vec<(BatchId, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub slot: u32,
    pub slots: u32,
    /// The slot as it was after this batch.
    pub batch: BatchId,
    pub blob: Vec<u8>,
}

/// Key columns of a delta; a missing `previous` is -1.
fn delta_key(state: &str, batch: i64, previous: Option<i64>) -> [Key<'_>; 3] {
    [Key::Text(state), Key::Number(batch), Key::Number(previous.unwrap_or(-1))]
}

fn snapshot_key(state: &str, slot: u32, batch: i64, slots: u32) -> [Key<'_>; 4] {
    [Key::Text(state), Key::Number(slot.into()), Key::Number(batch), Key::Number(slots.into())]
}

/// Writes the delta of `batch`; gives its checksum. The chain begins anew at `since`.
pub fn put_delta(
    conn: &Connection,
    delta: &StateDelta,
    batch: BatchId,
    since: Option<BatchId>,
) -> Result<u32, ReadError> {
    let sql = "SELECT max(batch) FROM state_deltas WHERE state = ? AND batch >= ?";
    let since = since.map_or(0, id);
    let previous: Option<i64> =
        conn.prepare_cached(sql)?.query_row(params![delta.state, since], |found| found.get(0))?;
    let crc = row::seal("state_deltas", &delta_key(&delta.state, id(batch), previous), &delta.blob);
    let sql = "INSERT INTO state_deltas (state, batch, previous, crc, body) VALUES (?, ?, ?, ?, ?)";
    conn.prepare_cached(sql)?.execute(params![delta.state, id(batch), previous, crc, delta.blob])?;
    Ok(crc)
}

/// Writes a snapshot as of `batch`; gives its checksum.
pub fn put_snapshot(conn: &Connection, snapshot: &StateSnapshot, batch: BatchId) -> Result<u32, ReadError> {
    let StateSnapshot { state, slot, slots, blob } = snapshot;
    let crc = row::seal("state_snapshots", &snapshot_key(state, *slot, id(batch), *slots), blob);
    let sql = "INSERT INTO state_snapshots (state, slot, batch, slots, crc, body) VALUES (?, ?, ?, ?, ?, ?)";
    conn.prepare_cached(sql)?.execute(params![state, slot, id(batch), slots, crc, blob])?;
    Ok(crc)
}

/// The batch at which `state` last began anew, at or before `at`.
pub fn since(batches: &BTreeMap<BatchId, BatchFacts>, state: &str, at: BatchId) -> Option<BatchId> {
    let dropped = |row: &BatchFacts| row.plan.iter().any(|plan| plan.dropped_states.iter().any(|name| name == state));
    batches.range(..=at).rev().find(|(_, row)| dropped(row)).map(|(&batch, _)| batch)
}

/// The state as it was after `at`, every blob checked; what is missing is a refusal.
pub fn image(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    state: &str,
    at: BatchId,
) -> Result<StateImage, ReadError> {
    let mut image = StateImage::default();
    walk(conn, batches, state, at, &mut |blob| match blob {
        Blob::Snapshot(snapshot) => image.snapshots.push(snapshot),
        Blob::Delta(batch, blob) => image.deltas.push((batch, blob)),
    })?
    .map_or(Ok(image), |missing| Err(Reason::StateMissing(missing).into()))
}

/// The blobs that recovery to the last committed batch needs and that are not there; those that are there are checked.
pub fn missing(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    committed: Option<BatchId>,
) -> Result<Vec<MissingState>, ReadError> {
    let Some(at) = committed else { return Ok(Vec::new()) };
    let mut missing = Vec::new();
    for state in names(conn, batches)? {
        missing.extend(walk(conn, batches, &state, at, &mut |_| {})?);
    }
    Ok(missing)
}

/// Every state that has blobs, or of which a kept commit says so.
pub fn names(conn: &Connection, batches: &BTreeMap<BatchId, BatchFacts>) -> Result<BTreeSet<String>, ReadError> {
    let sql = "SELECT DISTINCT state FROM state_deltas UNION SELECT DISTINCT state FROM state_snapshots";
    let mut query = conn.prepare_cached(sql)?;
    let mut names: BTreeSet<String> = query.query_map([], |found| found.get(0))?.collect::<Result<_, _>>()?;
    let commits = batches.values().filter_map(|row| row.commit.as_ref());
    names.extend(commits.flat_map(|commit| commit.state.iter().map(|written| written.state.clone())));
    Ok(names)
}

enum Blob {
    Snapshot(Snapshot),
    Delta(BatchId, Vec<u8>),
}

/// Visits the blobs of `state` as of `at`, in order; stops at the first that is missing.
fn walk(
    conn: &Connection,
    batches: &BTreeMap<BatchId, BatchFacts>,
    state: &str,
    at: BatchId,
    visit: &mut dyn FnMut(Blob),
) -> Result<Option<MissingState>, ReadError> {
    let since = since(batches, state, at);
    let snapshots = snapshots(conn, state, since.map_or(0, id), at)?;
    let whole = snapshots.first().is_some_and(|first| snapshots.len() == first.slots as usize);
    let oldest = if whole { snapshots.iter().map(|snapshot| snapshot.batch).min() } else { None };
    let written = written(batches, state, since, at);
    for (batch, slot) in written.keys().filter_map(|(batch, slot)| Some((*batch, (*slot)?))) {
        // A later snapshot of the slot may have replaced it.
        if !snapshots.iter().any(|found| found.slot == slot && found.batch >= batch) {
            return Ok(Some(MissingState { state: state.to_owned(), batch, slot: Some(slot) }));
        }
    }
    snapshots.into_iter().for_each(|snapshot| visit(Blob::Snapshot(snapshot)));

    let from = oldest.map_or(since.map_or(0, id), |batch| id(batch) + 1);
    let mut query = conn.prepare_cached(
        "SELECT batch, previous, crc, body FROM state_deltas WHERE state = ? AND batch BETWEEN ? AND ? ORDER BY batch",
    )?;
    let mut rows = query.query(params![state, from, id(at)])?;
    let mut last: Option<i64> = None;
    let mut found_deltas = BTreeSet::new();
    while let Some(found) = rows.next()? {
        let (batch, previous): (i64, Option<i64>) = (found.get(0)?, found.get(1)?);
        let blob = bytes(found, 3)?;
        row::check("state_deltas", &delta_key(state, batch, previous), &blob, found.get(2)?)?;
        let chained = match (last, previous) {
            (Some(last), previous) => previous == Some(last),
            (None, Some(previous)) => oldest.is_some_and(|oldest| previous <= id(oldest)),
            (None, None) => true,
        };
        if !chained {
            let batch = batch_id(previous.unwrap_or(0));
            return Ok(Some(MissingState { state: state.to_owned(), batch, slot: None }));
        }
        last = Some(batch);
        found_deltas.insert(batch_id(batch));
        visit(Blob::Delta(batch_id(batch), blob));
    }
    let lacking =
        written.keys().find(|(batch, slot)| slot.is_none() && id(*batch) >= from && !found_deltas.contains(batch));
    Ok(lacking.map(|(batch, _)| MissingState { state: state.to_owned(), batch: *batch, slot: None }))
}

fn batch_id(batch: i64) -> BatchId {
    BatchId(u64::try_from(batch).unwrap_or(0))
}

/// What the kept commits up to `at` say they wrote of `state`, by batch and slot.
fn written(
    batches: &BTreeMap<BatchId, BatchFacts>,
    state: &str,
    since: Option<BatchId>,
    at: BatchId,
) -> BTreeMap<(BatchId, Option<u32>), u32> {
    let range = since.unwrap_or(BatchId::FIRST)..=at;
    let commits = batches.range(range).filter_map(|(batch, row)| Some((batch, row.commit.as_ref()?)));
    commits
        .flat_map(|(batch, commit)| commit.state.iter().map(move |written| (*batch, written)))
        .filter(|(_, written)| written.state == state)
        .map(|(batch, written)| ((batch, written.slot.map(|(slot, _)| slot)), written.crc))
        .collect()
}

/// The newest snapshot of each slot in `since..=at`, by slot, checked.
fn snapshots(conn: &Connection, state: &str, since: i64, at: BatchId) -> Result<Vec<Snapshot>, ReadError> {
    let mut query = conn.prepare_cached(
        "SELECT slot, batch, slots, crc, body FROM state_snapshots AS one WHERE state = ?1 AND batch = \
         (SELECT max(batch) FROM state_snapshots WHERE state = ?1 AND slot = one.slot AND batch BETWEEN ?2 AND ?3) \
         ORDER BY slot",
    )?;
    let mut rows = query.query(params![state, since, id(at)])?;
    let mut snapshots = Vec::new();
    while let Some(found) = rows.next()? {
        let (slot, batch, slots): (u32, i64, u32) = (found.get(0)?, found.get(1)?, found.get(2)?);
        let blob = bytes(found, 4)?;
        row::check("state_snapshots", &snapshot_key(state, slot, batch, slots), &blob, found.get(3)?)?;
        snapshots.push(Snapshot { slot, slots, batch: batch_id(batch), blob });
    }
    Ok(snapshots)
}

//! Reading and writing single facts: the rows of `meta`, plans, commits, positions and sinks.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    row::{self, Key},
    schema::{self, ReadError},
};
use crate::{
    model::{BatchId, BatchTime, RunEpoch, Timeline},
    protocol::{BatchFacts, CommitRecord, FORMAT, PlanRecord, Position, Reason, SaidOfSink, SinkFacts},
};

/// `meta` row `format`. Lenient, unlike all others: a newer program may say more here.
#[derive(Debug, Serialize, Deserialize)]
pub struct Format {
    pub format: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub checkpoint: String,
    pub job: String,
    pub created_at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    pub batch_interval_ms: i64,
    pub zero: BatchTime,
    /// Those before it, oldest first: a replay and a rewind go back to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierGrid>,
}

/// The grid of the batches before `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierGrid {
    pub before: BatchId,
    pub batch_interval_ms: i64,
    pub zero: BatchTime,
}

impl Grid {
    /// The zero of `batch`.
    pub fn zero_of(&self, batch: BatchId) -> BatchTime {
        self.earlier.iter().find(|grid| batch < grid.before).map_or(self.zero, |grid| grid.zero)
    }

    /// The grid from batch `from` on is another one.
    pub fn followed_by(mut self, from: BatchId, batch_interval_ms: i64, zero: BatchTime) -> Grid {
        if zero != self.zero {
            let Grid { batch_interval_ms, zero, .. } = self;
            self.earlier.push(EarlierGrid { before: from, batch_interval_ms, zero });
        }
        Grid { batch_interval_ms, zero, earlier: self.earlier }
    }

    /// As it was for the batch after `to`.
    pub fn back_at(mut self, to: Option<BatchId>) -> Grid {
        let next = to.map_or(BatchId::FIRST, BatchId::next);
        // The first batch of a new grid may be planned by a job of the one before it.
        if let Some(at) = self.earlier.iter().position(|grid| next <= grid.before) {
            let EarlierGrid { batch_interval_ms, zero, .. } = self.earlier[at];
            self.earlier.truncate(at);
            return Grid { batch_interval_ms, zero, earlier: self.earlier };
        }
        self
    }
}

/// What the rows must add up to; written by every transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub timeline: Timeline,
    pub run_epoch: RunEpoch,
    pub first: BatchId,
    pub planned: Option<BatchId>,
    pub committed: Option<BatchId>,
}

/// Transactions of the checkpoint so far, this one included; a checkpoint of the first program counts from here on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    pub transactions: u64,
}

/// Row of `sinks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkRow {
    pub facts: SinkFacts,
    /// The batch that said so; none for a base, which a plan brings.
    pub batch: Option<BatchId>,
    /// What was remembered before the first kept commit that says something: all that is left of commits that are purged,
    /// or else the base. None where that is this row, and in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// What a sink remembered, and the batch that said so; none for a base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    pub facts: SinkFacts,
    pub batch: Option<BatchId>,
}

impl SinkRow {
    pub fn base(facts: SinkFacts) -> SinkRow {
        SinkRow { facts, batch: None, before: None }
    }

    /// The row once `batch` has said `facts`; `first` is the first kept batch.
    pub fn followed_by(self, facts: SinkFacts, batch: BatchId, first: BatchId) -> SinkRow {
        let is_kept = self.batch.is_some_and(|said_by| said_by >= first);
        let before = if is_kept { self.before } else { Some(Before { facts: self.facts, batch: self.batch }) };
        SinkRow { facts, batch: Some(batch), before }
    }

    /// What the sink remembered before batch `first`, as long as `batches` still hold what is to be purged.
    pub fn before_first(&self, name: &str, batches: &BTreeMap<BatchId, BatchFacts>, first: BatchId) -> Option<Before> {
        if self.batch.is_none_or(|batch| batch < first) {
            return None;
        }
        last_said(name, batches.range(..first)).or_else(|| self.before.clone())
    }
}

/// What the last of these commits that says something says of a sink.
pub fn last_said<'b>(
    name: &str,
    batches: impl DoubleEndedIterator<Item = (&'b BatchId, &'b BatchFacts)>,
) -> Option<Before> {
    batches.rev().find_map(|(batch, row)| {
        let facts = row.commit.as_ref()?.sinks.get(name)?.clone();
        Some(Before { facts, batch: Some(*batch) })
    })
}

/// SQLite's integers are signed; ids stay far below.
pub fn id(batch: BatchId) -> i64 {
    i64::try_from(batch.0).unwrap_or(i64::MAX)
}

pub fn put_meta<T: Serialize>(conn: &Connection, key: &str, fact: &T) -> Result<(), ReadError> {
    let body = text(fact)?;
    let crc = row::seal("meta", &[Key::Text(key)], body.as_bytes());
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, body, crc) VALUES (?, ?, ?)")?
        .execute(params![key, body, crc])?;
    Ok(())
}

pub fn delete_meta(conn: &Connection, key: &str) -> Result<(), ReadError> {
    conn.prepare_cached("DELETE FROM meta WHERE key = ?")?.execute([key])?;
    Ok(())
}

/// The body of a fact as text.
fn text<T: Serialize>(fact: &T) -> Result<String, ReadError> {
    let body = row::encode(fact).and_then(|body| String::from_utf8(body).map_err(serde::ser::Error::custom));
    body.map_err(|error| Reason::Contradiction(format!("a fact cannot be written: {error}")).into())
}

pub fn put_plan(conn: &Connection, plan: &PlanRecord) -> Result<(), ReadError> {
    put_batch(conn, "plans", "INSERT OR REPLACE INTO plans (batch, body, crc) VALUES (?, ?, ?)", plan.batch, plan)
}

pub fn put_commit(conn: &Connection, commit: &CommitRecord) -> Result<(), ReadError> {
    put_batch(conn, "commits", "INSERT INTO commits (batch, body, crc) VALUES (?, ?, ?)", commit.batch, commit)
}

fn put_batch<T: Serialize>(
    conn: &Connection,
    table: &str,
    sql: &str,
    batch: BatchId,
    fact: &T,
) -> Result<(), ReadError> {
    let body = text(fact)?;
    let crc = row::seal(table, &[Key::Number(id(batch))], body.as_bytes());
    conn.prepare_cached(sql)?.execute(params![id(batch), body, crc])?;
    Ok(())
}

pub fn put_position(conn: &Connection, position: &Position) -> Result<(), ReadError> {
    let body = text(position)?;
    let (source, topic, partition) = (&position.source, &position.tp.topic, i64::from(position.tp.partition));
    let key = [Key::Text(source), Key::Text(topic), Key::Number(partition)];
    let crc = row::seal("positions", &key, body.as_bytes());
    let sql = "INSERT OR REPLACE INTO positions (source, topic, partition, body, crc) VALUES (?, ?, ?, ?, ?)";
    conn.prepare_cached(sql)?.execute(params![&**source, &**topic, partition, body, crc])?;
    Ok(())
}

pub fn put_sink(conn: &Connection, name: &str, fact: &SinkRow) -> Result<(), ReadError> {
    let body = text(fact)?;
    let crc = row::seal("sinks", &[Key::Text(name)], body.as_bytes());
    conn.prepare_cached("INSERT OR REPLACE INTO sinks (name, body, crc) VALUES (?, ?, ?)")?
        .execute(params![name, body, crc])?;
    Ok(())
}

pub fn meta<T: Serialize + DeserializeOwned>(conn: &Connection, key: &str) -> Result<Option<T>, ReadError> {
    let found = raw_meta(conn, key)?;
    found.map(|(body, crc)| Ok(row::decode("meta", &[Key::Text(key)], &body, crc)?)).transpose()
}

fn raw_meta(conn: &Connection, key: &str) -> Result<Option<(Vec<u8>, i64)>, ReadError> {
    let mut query = conn.prepare_cached("SELECT body, crc FROM meta WHERE key = ?")?;
    Ok(query.query_row([key], |found| Ok((bytes(found, 0)?, found.get(1)?))).optional()?)
}

pub fn required<T: Serialize + DeserializeOwned>(conn: &Connection, key: &str) -> Result<T, ReadError> {
    let gone = || Reason::Corrupt { place: format!("row {key} of table meta"), what: "it is not there".to_owned() };
    meta(conn, key)?.ok_or_else(|| gone().into())
}

/// Text or blob, whatever the column holds.
pub fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    let value = row.get_ref(column)?;
    let bytes = value
        .as_bytes()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(error)))?;
    Ok(bytes.to_vec())
}

/// Refuses what is not a checkpoint of a format this program knows; before anything else is read.
pub fn check_format(conn: &Connection) -> Result<u32, ReadError> {
    let gone = |what: &str| Reason::Corrupt { place: "row format of table meta".to_owned(), what: what.to_owned() };
    let (body, crc) = raw_meta(conn, "format")?.ok_or_else(|| gone("it is not there"))?;
    row::check("meta", &[Key::Text("format")], &body, crc)?;
    let found: Format = serde_json::from_slice(&body).map_err(|error| gone(&error.to_string()))?;
    if found.format > FORMAT {
        return Err(Reason::NewerFormat { found: found.format, known: FORMAT }.into());
    }
    schema::check(conn)?;
    Ok(found.format)
}

/// The plans and commits of the batches in `range`.
pub fn batches(
    conn: &Connection,
    range: std::ops::RangeInclusive<BatchId>,
) -> Result<BTreeMap<BatchId, BatchFacts>, ReadError> {
    let mut batches: BTreeMap<BatchId, BatchFacts> = BTreeMap::new();
    let sql = "SELECT batch, body, crc FROM plans WHERE batch BETWEEN ? AND ?";
    for_each_batch(conn, "plans", sql, &range, |batch, plan| batches.entry(batch).or_default().plan = Some(plan))?;
    let sql = "SELECT batch, body, crc FROM commits WHERE batch BETWEEN ? AND ?";
    for_each_batch(conn, "commits", sql, &range, |batch, commit| {
        batches.entry(batch).or_default().commit = Some(commit);
    })?;
    Ok(batches)
}

fn for_each_batch<T: Serialize + DeserializeOwned>(
    conn: &Connection,
    table: &str,
    sql: &str,
    range: &std::ops::RangeInclusive<BatchId>,
    mut visit: impl FnMut(BatchId, T),
) -> Result<(), ReadError> {
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([id(*range.start()), id(*range.end())])?;
    while let Some(found) = rows.next()? {
        let batch: i64 = found.get(0)?;
        let fact = row::decode(table, &[Key::Number(batch)], &bytes(found, 1)?, found.get(2)?)?;
        visit(BatchId(u64::try_from(batch).unwrap_or(u64::MAX)), fact);
    }
    Ok(())
}

pub const ALL: std::ops::RangeInclusive<BatchId> = BatchId::FIRST..=BatchId(u64::MAX);

pub fn positions(conn: &Connection) -> Result<Vec<Position>, ReadError> {
    let mut query = conn.prepare_cached("SELECT source, topic, partition, body, crc FROM positions")?;
    let mut rows = query.query([])?;
    let mut positions: Vec<Position> = Vec::new();
    while let Some(found) = rows.next()? {
        let (source, topic, partition): (String, String, i64) = (found.get(0)?, found.get(1)?, found.get(2)?);
        let key = [Key::Text(&source), Key::Text(&topic), Key::Number(partition)];
        positions.push(row::decode("positions", &key, &bytes(found, 3)?, found.get(4)?)?);
    }
    positions.sort_by(|a, b| (&a.source, &a.tp).cmp(&(&b.source, &b.tp)));
    Ok(positions)
}

/// What every sink remembers, and the batch that said so.
pub fn sinks(conn: &Connection) -> Result<BTreeMap<String, SaidOfSink>, ReadError> {
    Ok(sink_rows(conn)?.into_iter().map(|(name, row)| (name, (row.facts, row.batch))).collect())
}

pub fn sink_rows(conn: &Connection) -> Result<BTreeMap<String, SinkRow>, ReadError> {
    let mut query = conn.prepare_cached("SELECT name, body, crc FROM sinks")?;
    let mut rows = query.query([])?;
    let mut sinks = BTreeMap::new();
    while let Some(found) = rows.next()? {
        let name: String = found.get(0)?;
        let fact = row::decode("sinks", &[Key::Text(&name)], &bytes(found, 1)?, found.get(2)?)?;
        sinks.insert(name, fact);
    }
    Ok(sinks)
}

pub fn job_text(conn: &Connection, hash: &str) -> Result<String, ReadError> {
    let mut query = conn.prepare_cached("SELECT body, crc FROM job_texts WHERE hash = ?")?;
    let found: Option<(Vec<u8>, i64)> =
        query.query_row([hash], |found| Ok((bytes(found, 0)?, found.get(1)?))).optional()?;
    let Some((body, crc)) = found else {
        return Err(Reason::Contradiction(format!("the job text {hash} of a plan is not there")).into());
    };
    row::check("job_texts", &[Key::Text(hash)], &body, crc)?;
    String::from_utf8(body).map_err(|error| {
        Reason::Corrupt { place: format!("row {hash} of table job_texts"), what: error.to_string() }.into()
    })
}

pub fn counted(conn: &Connection) -> Result<Counted, ReadError> {
    Ok(meta(conn, "counted")?.unwrap_or_default())
}

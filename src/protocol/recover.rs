//! The recovery decision: facts in, one of four answers out.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Facts, LossReason, LostRange, MissingState, PlanRecord, PlannedBatch, RewindRecord, store::FORMAT};
use crate::model::{BatchId, BatchTime, OffsetRange, RunEpoch, Timeline, TopicPartition};

/// What the process that asks is.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Name of the job that is about to run on the checkpoint.
    pub job: &'a str,
}

/// What a start does with a checkpoint, before anything is written.
#[derive(Debug)]
pub enum Decision {
    /// Finish the rewind at the sinks, record that it is finished, then decide again.
    FinishRewind(RewindRecord),
    /// Nothing is in flight.
    PlanFresh { next: BatchId },
    /// The batch is planned and not committed: it runs again from its logged inputs, and each sink is asked.
    ReExecute(PlannedBatch),
    /// The job must not run on these facts; nothing is changed.
    Refuse(Reason),
}

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Bytes that are not what was written. `place` names table and row.
    Corrupt {
        place: String,
        what: String,
    },
    /// Written by a newer program.
    NewerFormat {
        found: u32,
        known: u32,
    },
    /// It belongs to a job of another name.
    ForeignJob {
        found: String,
        expected: String,
    },
    CommittedWithoutPlanned(BatchId),
    /// Ids between these two kept batches are missing.
    Hole {
        after: BatchId,
        before: BatchId,
    },
    /// Consecutive batches do not meet in a topic partition, and no declared loss explains it.
    RangesDoNotMeet {
        tp: TopicPartition,
        earlier: BatchId,
        until: i64,
        later: BatchId,
        start: i64,
    },
    StateMissing(MissingState),
    /// The database has lost its last transactions.
    Behind {
        lost: u64,
        /// The last committed batch it knows.
        holds: Option<BatchId>,
        /// The last batch that was committed, as far as is known.
        committed: Option<BatchId>,
    },
    /// Two facts that cannot both be true.
    Contradiction(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Corrupt { place, what } => write!(f, "{place} is damaged: {what}"),
            Reason::NewerFormat { found, known } => {
                write!(f, "its format is version {found}; this program knows versions up to {known}")
            }
            Reason::ForeignJob { found, expected } => {
                write!(f, "it belongs to job {found:?}; the job to run is {expected:?}")
            }
            Reason::CommittedWithoutPlanned(batch) => write!(f, "batch {batch} is committed and was never planned"),
            Reason::Hole { after, before } => write!(f, "batches between {after} and {before} are missing"),
            Reason::RangesDoNotMeet { tp, earlier, until, later, start } => write!(
                f,
                "offset ranges of topic partition {tp} do not meet: batch {earlier} ends at {until}, batch {later} \
                 begins at {start}"
            ),
            Reason::StateMissing(MissingState { state, batch, slot: Some(slot) }) => {
                write!(f, "the snapshot of state {state:?}, slot {slot}, as of batch {batch} is missing")
            }
            Reason::StateMissing(MissingState { state, batch, slot: None }) => {
                write!(f, "the changes of state {state:?} in batch {batch} are missing")
            }
            Reason::Behind { lost, holds, committed } => write!(
                f,
                "its last {lost} transactions are lost, because checkpoint.db or checkpoint.db-wal is damaged, missing \
                 or older than checkpoint.mark: {} was committed, and the database knows {}",
                named(*committed),
                if holds == committed { "no more than that".to_owned() } else { named(*holds) }
            ),
            Reason::Contradiction(what) => f.write_str(what),
        }
    }
}

fn named(batch: Option<BatchId>) -> String {
    batch.map_or("no batch".to_owned(), |batch| format!("batch {batch}"))
}

/// Pure: reads nothing but its arguments.
pub fn decide(facts: Facts, expected: Expected<'_>) -> Decision {
    if let Err(reason) = examine(&facts, expected) {
        return Decision::Refuse(reason);
    }
    if let Some(rewind) = facts.rewind {
        return Decision::FinishRewind(rewind);
    }
    match facts.in_flight() {
        Some(plan) => Decision::ReExecute(PlannedBatch::recovered(plan.clone(), facts.checkpoint.clone())),
        None => Decision::PlanFresh { next: facts.next_batch() },
    }
}

/// Everything that must hold of a checkpoint's facts, cheapest first.
fn examine(facts: &Facts, expected: Expected<'_>) -> Result<(), Reason> {
    if facts.format > FORMAT {
        return Err(Reason::NewerFormat { found: facts.format, known: FORMAT });
    }
    if facts.job != expected.job {
        return Err(Reason::ForeignJob { found: facts.job.clone(), expected: expected.job.to_owned() });
    }
    ids_are_dense(facts)?;
    rows_agree(facts)?;
    let ends = ranges_meet(facts)?;
    positions_agree(facts, ends)?;
    facts.missing_state.first().map_or(Ok(()), |missing| Err(Reason::StateMissing(missing.clone())))
}

/// Batches `head_first ..= head_committed` are committed, and at most one more is planned.
fn ids_are_dense(facts: &Facts) -> Result<(), Reason> {
    let mut previous: Option<BatchId> = None;
    for (&batch, row) in &facts.batches {
        if row.plan.is_none() {
            return Err(Reason::CommittedWithoutPlanned(batch));
        }
        match previous {
            Some(previous) if previous.next() != batch => {
                return Err(Reason::Hole { after: previous, before: batch });
            }
            _ => previous = Some(batch),
        }
    }
    let last = facts.batches.last_key_value();
    let planned = last.map(|(&batch, _)| batch);
    let committed = facts.batches.iter().rev().find(|(_, row)| row.commit.is_some()).map(|(&batch, _)| batch);
    let first = facts.batches.first_key_value().map(|(&batch, _)| batch);
    let found = format!("planned up to {}, committed up to {}", shown(planned), shown(committed));
    if planned != facts.head_planned || committed != facts.head_committed {
        let head = format!("{} and {}", shown(facts.head_planned), shown(facts.head_committed));
        return Err(Reason::Contradiction(format!("its batches are {found}, its head says {head}")));
    }
    if first.is_some_and(|first| first != facts.head_first) {
        let what = format!("its oldest batch is {}, its head says {}", shown(first), facts.head_first);
        return Err(Reason::Contradiction(what));
    }
    if first.is_none() && facts.head_first != BatchId::FIRST {
        return Err(Reason::Contradiction(format!("it holds no batch, its head says {}", facts.head_first)));
    }
    let uncommitted: Vec<BatchId> =
        facts.batches.iter().filter(|(_, row)| row.commit.is_none()).map(|(&batch, _)| batch).collect();
    match uncommitted.as_slice() {
        [] => Ok(()),
        [only] if Some(*only) == planned => Ok(()),
        [first, ..] => Err(Reason::Contradiction(format!("batch {first} is not committed and later ones are {found}"))),
    }
}

fn shown(batch: Option<BatchId>) -> String {
    batch.map_or_else(|| "none".to_owned(), |batch| batch.to_string())
}

/// A plan and its commit are of the same batch; times, timelines and run epochs only grow.
fn rows_agree(facts: &Facts) -> Result<(), Reason> {
    let mut last: Option<(BatchTime, Timeline, RunEpoch)> = None;
    for (batch, row) in &facts.batches {
        let Some(plan) = &row.plan else { continue };
        let contradiction = |what: &str| Err(Reason::Contradiction(format!("batch {batch} {what}")));
        if plan.batch != *batch || row.commit.as_ref().is_some_and(|commit| commit.batch != *batch) {
            return contradiction("is stored under another id");
        }
        if row.commit.as_ref().is_some_and(|commit| (commit.time, commit.timeline) != (plan.time, plan.timeline)) {
            return contradiction("was committed with another time or timeline than planned");
        }
        if row.commit.as_ref().is_some_and(|commit| commit.run_epoch < plan.run_epoch) {
            return contradiction("was committed by an earlier run than planned it");
        }
        if plan.timeline > facts.timeline || plan.run_epoch > facts.run_epoch {
            return contradiction("is of a later timeline or run than the checkpoint");
        }
        if let Some((time, timeline, epoch)) = last {
            if plan.time <= time {
                return contradiction("is not later than the batch before it");
            }
            if plan.timeline < timeline || plan.run_epoch < epoch {
                return contradiction("is of an earlier timeline or run than the batch before it");
            }
        }
        last = Some((plan.time, plan.timeline, plan.run_epoch));
    }
    Ok(())
}

type Ends = BTreeMap<(Arc<str>, TopicPartition), (BatchId, i64)>;

/// Each range begins where the one before it ended, or where a declared loss ended. Gives the ends of committed ranges.
fn ranges_meet(facts: &Facts) -> Result<Ends, Reason> {
    let mut ends = Ends::new();
    let mut committed = Ends::new();
    for (&batch, row) in &facts.batches {
        let Some(plan) = &row.plan else { continue };
        ends.retain(|(source, tp), _| !plan.drops(source, tp));
        committed.retain(|(source, tp), _| !plan.drops(source, tp));
        for range in &plan.ranges {
            let key = (range.source.clone(), range.tp.clone());
            if range.until < range.start || range.start < 0 {
                return Err(Reason::Contradiction(format!("batch {batch} has the impossible range {range}")));
            }
            if let Some(&(earlier, until)) = ends.get(&key)
                && !meets(until, range, plan)
            {
                let (tp, start) = (range.tp.clone(), range.start);
                return Err(Reason::RangesDoNotMeet { tp, earlier, until, later: batch, start });
            }
            if ends.get(&key).is_some_and(|(seen, _)| *seen == batch) {
                let what = format!("batch {batch} has two ranges of topic partition {}", range.tp);
                return Err(Reason::Contradiction(what));
            }
            ends.insert(key.clone(), (batch, range.until));
            if row.commit.is_some() {
                committed.insert(key, (batch, range.until));
            }
        }
        // A topic partition that is gone may come back, and then begins anew.
        for lost in plan.lost.iter().filter(|lost| lost.resumes_at.is_none()) {
            ends.remove(&(lost.source.clone(), lost.tp.clone()));
        }
    }
    Ok(committed)
}

fn meets(until: i64, range: &OffsetRange, plan: &PlanRecord) -> bool {
    let explains = |at: i64| {
        let loss = plan.lost.iter().filter(|lost| lost.source == range.source && lost.tp == range.tp);
        // What was read of a log that was cut since ends where the loss does, not where it begins.
        let begins = |lost: &&LostRange| match lost.reason {
            LossReason::Truncated => lost.start == at || lost.until == Some(at),
            _ => lost.start == at,
        };
        loss.clone().find(begins).and_then(|lost| lost.resumes_at)
    };
    // A plan that was replaced twice declares several losses in a row.
    let mut at = until;
    for _ in 0..=plan.lost.len() {
        if at == range.start {
            return true;
        }
        match explains(at) {
            Some(next) => at = next,
            None => return false,
        }
    }
    false
}

/// Stored positions are the ends of the last committed ranges.
fn positions_agree(facts: &Facts, ends: Ends) -> Result<(), Reason> {
    let positions: BTreeMap<_, _> =
        facts.positions.iter().map(|position| ((position.source.clone(), position.tp.clone()), position)).collect();
    for ((source, tp), (batch, until)) in ends {
        let position = positions.get(&(source, tp.clone()));
        match position {
            Some(position) if position.offset == until && position.batch == batch => {}
            Some(position) => {
                return Err(Reason::Contradiction(format!(
                    "topic partition {tp} stands at {}, the last committed batch {batch} that read it ends at {until}",
                    position.offset
                )));
            }
            None => {
                let what = format!("topic partition {tp} has no position, batch {batch} committed up to {until}");
                return Err(Reason::Contradiction(what));
            }
        }
    }
    match facts.positions.iter().find(|position| facts.head_committed.is_none_or(|last| position.batch > last)) {
        Some(position) => Err(Reason::Contradiction(format!(
            "the position of topic partition {} is of batch {}, which is not committed",
            position.tp, position.batch
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

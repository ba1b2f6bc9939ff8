//! The oracle: from the truth of the topic, the ledger and what the outputs show, everything that is wrong.
//!
//! It knows nothing of the driver. What a batch must deliver follows from its ranges in the ledger and the records of the
//! topic; that the ranges leave nothing out follows from the topic alone.

use std::collections::BTreeMap;

use kstream::{model::TopicPartition, planner::LossReason, protocol::PlanRecord};

use super::{
    sink::Delivery,
    topic::{Log, Topic},
};

pub const INTERVAL_MS: i64 = 1000;
const WINDOW_MS: i64 = 4000;
const SLIDE_MS: i64 = 2000;

/// One batch of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub plan: PlanRecord,
    pub committed: bool,
}

/// All that is left of a history.
#[derive(Debug, Clone)]
pub struct Case {
    /// Topics of the one name, in the order of their lives; the last one lives.
    pub topics: Vec<Topic>,
    pub zero_ms: i64,
    pub ledger: BTreeMap<u64, Row>,
    pub delivered: Vec<Delivery>,
    pub windowed: bool,
    pub console: bool,
    /// Whether everything must have been read.
    pub caught_up: bool,
}

pub fn judge(case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    ids_and_times(case, &mut wrong);
    let positions = ranges_meet(case, &mut wrong);
    outputs(case, &mut wrong);
    every_record_once(case, &positions, &mut wrong);
    if case.caught_up {
        let ends = case.topics.last().map(Topic::ends).unwrap_or_default();
        for (tp, end) in ends {
            // A partition that never held anything need not be in any range.
            let at = positions.get(&tp).copied();
            if at.unwrap_or(0) != end {
                wrong.push(format!("{tp} is read up to {at:?}, and ends at {end}"));
            }
        }
        if case.ledger.values().any(|row| !row.committed) {
            wrong.push("a batch is left in flight".to_owned());
        }
    }
    wrong
}

fn ids_and_times(case: &Case, wrong: &mut Vec<String>) {
    let mut previous_ms = i64::MIN;
    let last = case.ledger.keys().next_back().copied();
    for ((id, row), expected) in case.ledger.iter().zip(0..) {
        let time_ms = row.plan.time.0;
        if *id != expected || row.plan.batch.0 != *id {
            wrong.push(format!("batch {expected} is a hole before batch {id}"));
            return;
        }
        if time_ms <= previous_ms || time_ms % INTERVAL_MS != 0 {
            wrong.push(format!("batch {id} has time {time_ms} after {previous_ms}"));
        }
        if !row.committed && Some(*id) != last {
            wrong.push(format!("batch {id} is not committed, and later ones are planned"));
        }
        previous_ms = time_ms;
    }
}

/// Follows each partition through the ledger; gives where each stands after the last committed batch.
fn ranges_meet(case: &Case, wrong: &mut Vec<String>) -> BTreeMap<TopicPartition, i64> {
    let mut positions: BTreeMap<TopicPartition, (i64, Option<String>)> = BTreeMap::new();
    for (id, row) in &case.ledger {
        for range in &row.plan.ranges {
            let log = case.log(range.topic_id.as_deref(), &range.tp);
            let mut expected = match positions.get(&range.tp) {
                Some((offset, _)) => *offset,
                None => match log.filter(|log| log.starts.contains(&range.start) || !row.plan.lost.is_empty()) {
                    Some(_) => {
                        row.plan.lost.iter().find(|lost| lost.tp == range.tp).map_or(range.start, |lost| lost.start)
                    }
                    None => {
                        wrong.push(format!("batch {id} begins {} at {}, no start of it", range.tp, range.start));
                        range.start
                    }
                },
            };
            let mut losses = row.plan.lost.iter().filter(|lost| lost.tp == range.tp).peekable();
            while let Some(lost) = losses.next() {
                if lost.start != expected {
                    wrong.push(format!("batch {id} loses {lost}, where {expected} was next"));
                }
                match (lost.reason, lost.until, lost.resumes_at) {
                    (LossReason::Retention, Some(until), _) => {
                        let begins = log.map_or(i64::MIN, |log| log.earliest);
                        if begins < until {
                            wrong.push(format!("batch {id} gives up {lost}, and {} begins at {begins}", range.tp));
                        }
                        expected = until;
                    }
                    // A recreated topic: whatever is planned next, or lost next, is its first offset; or nothing is planned.
                    (LossReason::Recreated, _, Some(resumes_at)) if case.topics.len() > 1 => {
                        if losses.peek().is_some() || !range.is_empty() || range.start != expected {
                            expected = resumes_at;
                        }
                    }
                    _ => wrong.push(format!("batch {id} gives up {lost}, which never happened")),
                }
            }
            if range.start != expected {
                wrong.push(format!("batch {id} reads {range}: the ranges do not meet at {expected}"));
            }
            if log.is_some_and(|log| log.end() < range.until) {
                wrong.push(format!("batch {id} reads {range}, beyond the end"));
            }
            if row.committed {
                positions.insert(range.tp.clone(), (range.until.max(range.start), range.topic_id.clone()));
            }
        }
    }
    positions.into_iter().map(|(tp, (offset, _))| (tp, offset)).collect()
}

impl Case {
    fn log(&self, topic_id: Option<&str>, tp: &TopicPartition) -> Option<&Log> {
        self.topics.iter().find(|topic| Some(topic.id.to_string().as_str()) == topic_id)?.log(tp)
    }

    /// The lines of one batch: records in the order of its ranges.
    fn lines(&self, plan: &PlanRecord) -> Vec<String> {
        let mut lines = Vec::new();
        for range in &plan.ranges {
            let Some(log) = self.log(range.topic_id.as_deref(), &range.tp) else { continue };
            let line =
                |(offset, value): (i64, &std::sync::Arc<str>)| format!("{}:{offset}:{value}", range.tp.partition);
            lines.extend(log.visible(range.start, range.until).map(line));
        }
        lines
    }

    /// Counts of words over the batches up to `until` whose times are after `after_ms`, as they print.
    fn counts(&self, until: u64, after_ms: i64) -> Vec<String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.ledger.range(..=until).map(|(_, row)| row).filter(|row| row.plan.time.0 > after_ms) {
            for line in self.lines(&row.plan) {
                let word = line.rsplit(':').next().unwrap_or_default().to_owned();
                *counts.entry(word).or_default() += 1;
            }
        }
        counts.into_iter().map(|(word, count)| format!("('{word}', {count})")).collect()
    }

    /// What `output` must show of a batch; none where it shows nothing at that time.
    fn expected(&self, output: &str, batch: u64) -> Option<Vec<String>> {
        let plan = &self.ledger.get(&batch)?.plan;
        match output {
            "totals" => Some(self.counts(batch, i64::MIN)),
            "windowed" if (plan.time.0 - self.zero_ms) % SLIDE_MS != 0 => None,
            "windowed" => Some(self.counts(batch, plan.time.0 - WINDOW_MS)),
            _ => Some(self.lines(plan)),
        }
    }
}

fn outputs(case: &Case, wrong: &mut Vec<String>) {
    let mut names = vec!["memory", "log", "files", "totals"];
    names.extend(case.console.then_some("console"));
    names.extend(case.windowed.then_some("windowed"));
    for name in names {
        let own: Vec<&Delivery> = case.delivered.iter().filter(|delivery| delivery.output == name).collect();
        if !own.is_sorted_by_key(|delivery| delivery.batch) {
            wrong.push(format!("the batches of {name} are out of order"));
        }
        for delivery in own.iter().filter(|delivery| case.expected(name, delivery.batch).is_none()) {
            wrong.push(format!("{name} shows batch {} at {}, which is none", delivery.batch, delivery.time_ms));
        }
        for (id, row) in &case.ledger {
            let Some(expected) = case.expected(name, *id) else { continue };
            let of_batch: Vec<_> = own.iter().filter(|delivery| delivery.batch == *id).collect();
            if of_batch.is_empty() && row.committed {
                wrong.push(format!("batch {id} of {name} is missing"));
            }
            if of_batch.len() > 1 && name != "console" {
                wrong.push(format!("batch {id} of {name} is there twice"));
            }
            for delivery in of_batch {
                if delivery.time_ms != row.plan.time.0 {
                    wrong.push(format!("batch {id} of {name} has time {}, not {}", delivery.time_ms, row.plan.time.0));
                }
                let may_be_torn = delivery.torn && !row.committed && expected.starts_with(&delivery.lines);
                if let Some(how) = difference(&expected, &delivery.lines)
                    && !may_be_torn
                {
                    wrong.push(format!("batch {id} of {name} differs: {how}"));
                } else if delivery.torn && row.committed {
                    wrong.push(format!("batch {id} of {name} is committed and torn"));
                }
            }
        }
    }
}

/// How `found` is not `expected`.
fn difference(expected: &[String], found: &[String]) -> Option<String> {
    if expected == found {
        return None;
    }
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (wanted, has) = (count(expected), count(found));
    let lacks: Vec<_> =
        wanted.iter().filter(|(line, n)| has.get(*line).unwrap_or(&0) < n).map(|(line, _)| line).collect();
    let more: Vec<_> =
        has.iter().filter(|(line, n)| wanted.get(*line).unwrap_or(&0) < n).map(|(line, _)| line).collect();
    Some(match (lacks.is_empty(), more.is_empty()) {
        (true, true) => "in another order".to_owned(),
        (false, true) => format!("lacks {lacks:?}"),
        (true, false) if more.iter().all(|line| wanted.contains_key(*line)) => format!("doubles {more:?}"),
        (true, false) => format!("adds {more:?}"),
        (false, false) => format!("has {more:?} in place of {lacks:?}"),
    })
}

/// Without the ledger's ranges: each record of the topic below the final positions is in the output once, unless the
/// topic has lost it.
fn every_record_once(case: &Case, positions: &BTreeMap<TopicPartition, i64>, wrong: &mut Vec<String>) {
    // Offsets of a topic that was made anew begin again; the batches tell those apart.
    let [topic] = &case.topics[..] else { return };
    let committed = |delivery: &&Delivery| case.ledger.get(&delivery.batch).is_some_and(|row| row.committed);
    let memory = case.delivered.iter().filter(|delivery| delivery.output == "memory").filter(committed);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    memory.flat_map(|delivery| &delivery.lines).for_each(|line| *seen.entry(line).or_default() += 1);
    for (partition, log) in topic.partitions.iter().enumerate() {
        let until = positions.get(&Topic::tp(partition)).copied().unwrap_or(0);
        for (offset, value) in log.visible(0, until) {
            match seen.remove(format!("{partition}:{offset}:{value}").as_str()) {
                Some(1) => {}
                Some(times) => wrong.push(format!("record {partition}:{offset} is there {times} times")),
                None if offset < log.earliest => {}
                None => wrong.push(format!("record {partition}:{offset} is lost")),
            }
        }
    }
    seen.keys().for_each(|line| wrong.push(format!("record {line} was never written")));
}

//! The offset ranges of the next batch: `[committed, min(latest, committed + limit))` for every topic partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    limit::{self, Limits},
    loss::{self, DataLoss, LostRange},
    position::Position,
};
use crate::{
    job::OnDataLoss,
    model::{AvailablePartition, OffsetRange, TopicPartition},
};

/// What is known of one source when a batch is planned.
#[derive(Debug)]
pub struct SourceState<'a> {
    pub source: &'a Arc<str>,
    /// Committed positions of this source's topic partitions only.
    pub committed: &'a BTreeMap<TopicPartition, Position>,
    pub available: &'a [AvailablePartition],
    /// Where topic partitions without a committed position begin; one that is not named, or of another topic by now,
    /// begins at its earliest offset.
    pub starts: &'a BTreeMap<TopicPartition, Position>,
    pub limits: Limits<'a>,
    pub on_data_loss: OnDataLoss,
}

/// The ranges of one batch, and what could not be read any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// In the order of the fold: source as declared, topic name, partition number. An empty range is a partition of the
    /// batch like any other.
    pub ranges: Vec<OffsetRange>,
    /// For the ledger; empty unless the source's `on_data_loss` is `skip`. A lost range that resumes nowhere belongs to
    /// a topic partition that is gone: its committed position goes with this batch.
    pub lost: Vec<LostRange>,
}

impl Ranges {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.ranges.iter().all(OffsetRange::is_empty)
    }

    /// Offsets to read, gaps included.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(OffsetRange::len).sum()
    }
}

/// Plans one batch over all sources, in the order the job declares them.
///
/// In a bounded run ([`Limits::ends`]) topic partitions that were not there when the run began are left for the next
/// run. Fails with every loss of every source whose `on_data_loss` is `fail`, so that one message names them all.
pub fn plan_ranges(sources: &[SourceState<'_>]) -> Result<Ranges, DataLoss> {
    let mut plan = Ranges::default();
    let mut refused = Vec::new();
    for state in sources {
        let (ranges, lost) = plan_source(state);
        plan.ranges.extend(ranges);
        match state.on_data_loss {
            OnDataLoss::Fail => refused.extend(lost),
            OnDataLoss::Skip => plan.lost.extend(lost),
        }
    }
    if refused.is_empty() { Ok(plan) } else { Err(DataLoss { lost: refused }) }
}

fn plan_source(state: &SourceState<'_>) -> (Vec<OffsetRange>, Vec<LostRange>) {
    let available: BTreeMap<&TopicPartition, &AvailablePartition> =
        state.available.iter().map(|partition| (&partition.tp, partition)).collect();
    let known: BTreeSet<&TopicPartition> = state.committed.keys().chain(available.keys().copied()).collect();

    let mut lost = Vec::new();
    let mut ranges = Vec::new();
    for tp in known {
        let Some(&now) = available.get(tp) else {
            lost.extend(state.committed.get(tp).map(|position| loss::vanished(state.source, tp, position)));
            continue;
        };
        let start = match state.committed.get(tp) {
            Some(position) => match loss::find(state.source, position, now) {
                Some(loss) => {
                    let resumes_at = loss.resumes_at.unwrap_or(now.earliest);
                    lost.push(loss);
                    resumes_at
                }
                None => position.offset,
            },
            None if state.limits.ends.is_some_and(|ends| !ends.contains_key(tp)) => continue,
            None => state.starts.get(tp).filter(|start| start.is_of(now)).map_or(now.earliest, |start| start.offset),
        };
        // Only a log that goes on where we stopped has an epoch to compare.
        let start_epoch = state.committed.get(tp).filter(|position| position.offset == start);
        let start_epoch = start_epoch.and_then(|position| position.leader_epoch);
        let known_id = state.committed.get(tp).and_then(|position| position.topic_id.clone());
        let known_epoch = state.committed.get(tp).and_then(|position| position.leader_epoch);
        ranges.push(OffsetRange {
            source: state.source.clone(),
            tp: tp.clone(),
            start,
            until: limit::last_readable(&state.limits, tp, start, now.latest),
            topic_id: now.topic_id.clone().or(known_id),
            leader_epoch: now.leader_epoch.or(known_epoch),
            start_epoch,
        });
    }
    limit::apply(&state.limits, &mut ranges);
    (ranges, lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{LossReason, Rate};

    fn tp(name: &str) -> TopicPartition {
        let (topic, partition) = name.split_once('/').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    }

    fn available(partitions: &[(&str, i64, i64)]) -> Vec<AvailablePartition> {
        let partition = |&(name, earliest, latest): &(&str, i64, i64)| AvailablePartition {
            tp: tp(name),
            earliest,
            latest,
            topic_id: None,
            leader_epoch: None,
        };
        partitions.iter().map(partition).collect()
    }

    fn committed(positions: &[(&str, i64)]) -> BTreeMap<TopicPartition, Position> {
        positions.iter().map(|&(name, offset)| (tp(name), Position::at(offset))).collect()
    }

    fn limits(max_records: u64) -> Limits<'static> {
        Limits { max_records_per_partition: max_records, rate: None, ends: None }
    }

    /// Plans one source and shows the ranges, or the losses after a `!`.
    fn plan(
        positions: &[(&str, i64)],
        partitions: &[(&str, i64, i64)],
        limits: Limits<'_>,
        on_data_loss: OnDataLoss,
    ) -> Vec<String> {
        let result = plan_ranges(&[SourceState {
            source: &Arc::from("source"),
            committed: &committed(positions),
            available: &available(partitions),
            starts: &committed(&[("new/1", 7)]),
            limits,
            on_data_loss,
        }]);
        match result {
            Ok(plan) => {
                let lost = plan.lost.iter().map(|lost| format!("lost {lost}"));
                plan.ranges.iter().map(ToString::to_string).chain(lost).collect()
            }
            Err(loss) => loss.lost.iter().map(|lost| format!("! {lost}")).collect(),
        }
    }

    #[track_caller]
    fn check(positions: &[(&str, i64)], partitions: &[(&str, i64, i64)], max_records: u64, expected: &[&str]) {
        assert_eq!(plan(positions, partitions, limits(max_records), OnDataLoss::Fail), expected);
    }

    #[test]
    fn a_range_begins_at_the_committed_offset_and_ends_at_latest_or_at_the_limit() {
        check(&[("a/0", 5)], &[("a/0", 0, 9)], 100, &["a/0 5..9"]);
        check(&[("a/0", 5)], &[("a/0", 0, 9)], 3, &["a/0 5..8"]);
        check(&[("a/0", 5)], &[("a/0", 0, 9)], 4, &["a/0 5..9"]);
        check(&[("a/0", 5)], &[("a/0", 5, 9)], 1, &["a/0 5..6"]);
        let most = i64::MAX;
        check(&[("a/0", most - 1)], &[("a/0", 0, most)], u64::MAX, &[&format!("a/0 {}..{most}", most - 1)]);
    }

    #[test]
    fn an_empty_range_is_kept() {
        check(&[("a/0", 5), ("a/1", 2)], &[("a/0", 0, 5), ("a/1", 0, 3)], 9, &["a/0 5..5", "a/1 2..3"]);
    }

    #[test]
    fn partitions_are_in_order_of_topic_name_then_number() {
        let partitions = [("b/0", 0, 1), ("a/10", 0, 1), ("a/2", 0, 1)];
        check(&[], &partitions, 9, &["a/2 0..1", "a/10 0..1", "b/0 0..1"]);
    }

    #[test]
    fn sources_are_in_the_order_the_job_declares_them() {
        let (z, a) = (Arc::from("z"), Arc::from("a"));
        let (nothing, starts) = (BTreeMap::new(), BTreeMap::new());
        let (z_now, a_now) = (available(&[("x/0", 0, 1)]), available(&[("w/0", 0, 1)]));
        let state = |source, available| SourceState {
            source,
            committed: &nothing,
            available,
            starts: &starts,
            limits: limits(9),
            on_data_loss: OnDataLoss::Fail,
        };
        let plan = plan_ranges(&[state(&z, &z_now), state(&a, &a_now)]).unwrap();
        let sources: Vec<&str> = plan.ranges.iter().map(|range| &*range.source).collect();
        assert_eq!(sources, ["z", "a"]);
        assert_eq!(plan.len(), 2);
    }

    #[test]
    fn a_new_partition_begins_at_its_given_start_or_at_earliest() {
        let partitions = [("new/0", 3, 9), ("new/1", 3, 9)];
        check(&[], &partitions, 2, &["new/0 3..5", "new/1 7..9"]);
    }

    #[test]
    fn a_start_past_the_end_is_an_empty_range() {
        check(&[], &[("new/1", 0, 4)], 9, &["new/1 7..7"]);
    }

    #[test]
    fn data_loss_names_the_exact_range() {
        check(&[("a/0", 5)], &[("a/0", 8, 20)], 9, &["! a/0 5..8 (retention)"]);
        check(&[("a/0", 5)], &[("a/0", 0, 2)], 9, &["! a/0 5.. (topic recreated)"]);
        check(&[("a/0", 5)], &[], 9, &["! a/0 5.. (topic or partition deleted)"]);
    }

    #[test]
    fn every_loss_is_reported_at_once() {
        let partitions = [("a/0", 8, 20), ("a/2", 0, 9)];
        check(
            &[("a/0", 5), ("a/1", 1), ("a/2", 3)],
            &partitions,
            9,
            &["! a/0 5..8 (retention)", "! a/1 1.. (topic or partition deleted)"],
        );
    }

    #[test]
    fn skipping_goes_on_at_what_can_be_read_and_records_the_loss() {
        let positions = [("a/0", 5), ("a/1", 5), ("a/2", 5)];
        let plan = plan(&positions, &[("a/0", 8, 20), ("a/1", 0, 2)], limits(9), OnDataLoss::Skip);
        assert_eq!(
            plan,
            [
                "a/0 8..17",
                "a/1 0..2",
                "lost a/0 5..8 (retention)",
                "lost a/1 5.. (topic recreated)",
                "lost a/2 5.. (topic or partition deleted)",
            ]
        );
    }

    #[test]
    fn another_topic_id_is_a_recreated_topic_even_past_the_committed_offset() {
        let mut committed = committed(&[("a/0", 5)]);
        committed.get_mut(&tp("a/0")).unwrap().topic_id = Some("old".to_owned());
        let mut available = available(&[("a/0", 0, 20)]);
        available[0].topic_id = Some("new".to_owned());
        let mut state = SourceState {
            source: &Arc::from("source"),
            committed: &committed,
            available: &available,
            starts: &BTreeMap::new(),
            limits: limits(9),
            on_data_loss: OnDataLoss::Fail,
        };
        assert_eq!(plan_ranges(std::slice::from_ref(&state)).unwrap_err().lost[0].reason, LossReason::Recreated);
        state.on_data_loss = OnDataLoss::Skip;
        let plan = plan_ranges(&[state]).unwrap();
        assert_eq!((plan.ranges[0].start, plan.ranges[0].until), (0, 9));
        assert_eq!(plan.ranges[0].topic_id.as_deref(), Some("new"));
    }

    #[test]
    fn the_topic_id_is_kept_while_the_broker_does_not_tell_it() {
        let mut committed = committed(&[("a/0", 5)]);
        committed.get_mut(&tp("a/0")).unwrap().topic_id = Some("id".to_owned());
        let plan = plan_ranges(&[SourceState {
            source: &Arc::from("source"),
            committed: &committed,
            available: &available(&[("a/0", 0, 20)]),
            starts: &BTreeMap::new(),
            limits: limits(9),
            on_data_loss: OnDataLoss::Fail,
        }])
        .unwrap();
        assert_eq!(Position::after(&plan.ranges[0]).topic_id.as_deref(), Some("id"));
    }

    #[test]
    fn a_bounded_run_stops_at_its_ends_and_leaves_later_partitions_alone() {
        let ends = BTreeMap::from([(tp("a/0"), 7), (tp("a/1"), 3)]);
        let limits = Limits { max_records_per_partition: 4, rate: None, ends: Some(&ends) };
        let partitions = [("a/0", 0, 20), ("a/1", 0, 20), ("a/2", 0, 20)];
        let plan = plan(&[("a/0", 5), ("a/1", 3)], &partitions, limits, OnDataLoss::Fail);
        assert_eq!(plan, ["a/0 5..7", "a/1 3..3"]);
    }

    #[test]
    fn a_rate_is_split_by_lag_below_the_record_limit() {
        let rate = Rate { records_per_second: 100.0, batch_interval_ms: 1000 };
        let limits = Limits { max_records_per_partition: 60, rate: Some(rate), ends: None };
        let partitions = [("a/0", 0, 9_000), ("a/1", 0, 1_000), ("a/2", 0, 1), ("a/3", 0, 0)];
        let plan = plan(&[], &partitions, limits, OnDataLoss::Fail);
        assert_eq!(plan, ["a/0 0..60", "a/1 0..9", "a/2 0..1", "a/3 0..0"]);
    }
}

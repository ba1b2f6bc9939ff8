//! Bounded runs (`--until-caught-up`): where they end and how many batches they take.
//!
//! The end offsets are what is available when the run starts. They are stored with the run's first plan, so that an
//! interrupted run can be resumed and ends at the same offsets.

use std::collections::BTreeMap;

use super::position::Position;
use crate::model::{AvailablePartition, TopicPartition};

/// Where a bounded run that starts now ends.
pub fn end_offsets(available: &[AvailablePartition]) -> BTreeMap<TopicPartition, i64> {
    available.iter().map(|partition| (partition.tp.clone(), partition.latest)).collect()
}

/// Batches a source needs to get from where it is to `ends` at its static limit; 0 where everything is read.
///
/// `starts` says where topic partitions without a committed position begin.
pub fn batches_needed(
    committed: &BTreeMap<TopicPartition, Position>,
    starts: &BTreeMap<TopicPartition, Position>,
    ends: &BTreeMap<TopicPartition, i64>,
    max_records_per_partition: u64,
) -> u64 {
    let needed = |(tp, &end): (&TopicPartition, &i64)| {
        let position = committed.get(tp).or_else(|| starts.get(tp)).map_or(0, |position| position.offset);
        let lag = u64::try_from(end.saturating_sub(position)).unwrap_or(0);
        lag.div_ceil(max_records_per_partition.max(1))
    };
    ends.iter().map(needed).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(offsets: &[i64]) -> BTreeMap<TopicPartition, i64> {
        offsets.iter().zip(0..).map(|(&offset, partition)| (TopicPartition::new("a", partition), offset)).collect()
    }

    #[test]
    fn the_longest_partition_decides() {
        let check = |committed: &[i64], ends: &[i64], max, expected| {
            let positions =
                |at: &[i64]| offsets(at).into_iter().map(|(tp, offset)| (tp, Position::at(offset))).collect();
            let (committed, starts) = (positions(committed), positions(&[2, 2, 2]));
            assert_eq!(batches_needed(&committed, &starts, &offsets(ends), max), expected, "{ends:?}");
        };
        check(&[0, 0], &[10, 25], 10, 3);
        check(&[0, 0], &[10, 20], 10, 2);
        check(&[10, 20], &[10, 20], 10, 0);
        check(&[15], &[10], 10, 0);
        check(&[], &[12], 10, 1);
        check(&[], &[13], 10, 2);
        check(&[], &[], 10, 0);
        check(&[0], &[i64::MAX], 1, i64::MAX as u64);
    }

    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::{
        job::OnDataLoss,
        planner::{Limits, SourceState, plan_ranges},
    };

    proptest! {
        /// The log goes on growing meanwhile, partitions are added, and the run still ends where it said, in as many
        /// batches as it said, with ranges that meet exactly.
        #[test]
        fn a_bounded_run_takes_as_many_batches_as_are_needed(
            partitions in prop::collection::vec((0_i64..50, 0_i64..200, prop::option::of(0_i64..200)), 0..6),
            max_records_per_partition in 1_u64..70,
            growth in 0_i64..30,
        ) {
            let tp = |partition| TopicPartition::new("a", partition);
            let log = |batch: i64| -> Vec<AvailablePartition> {
                let grown = partitions.iter().map(|(earliest, len, _)| (*earliest, earliest + len + batch * growth));
                let added = (0..batch).map(|_| (0, 10));
                let all = grown.chain(added).zip(0..);
                all.map(|((earliest, latest), partition)| AvailablePartition {
                    tp: tp(partition), earliest, latest, topic_id: None, leader_epoch: None,
                }).collect()
            };
            let ends = end_offsets(&log(0));
            let starts: BTreeMap<_, _> = log(0).into_iter().map(|now| (now.tp, Position::at(now.earliest))).collect();
            let mut committed: BTreeMap<TopicPartition, Position> = BTreeMap::new();
            for (&(earliest, len, begun), partition) in partitions.iter().zip(0..) {
                if let Some(begun) = begun {
                    committed.insert(tp(partition), Position::at(earliest + begun.min(len)));
                }
            }
            let needed = batches_needed(&committed, &starts, &ends, max_records_per_partition);
            for batch in 0..needed {
                let plan = plan_ranges(&[SourceState {
                    source: &Arc::from("s"),
                    committed: &committed,
                    available: &log(batch as i64),
                    starts: &starts,
                    limits: Limits { max_records_per_partition, rate: None, ends: Some(&ends) },
                    on_data_loss: OnDataLoss::Fail,
                }]).unwrap();
                prop_assert!(!plan.is_empty(), "batch {} of {}", batch, needed);
                prop_assert_eq!(plan.ranges.len(), ends.len());
                for range in &plan.ranges {
                    let before = committed.get(&range.tp).unwrap_or(&starts[&range.tp]).offset;
                    prop_assert_eq!(range.start, before);
                    prop_assert!(range.len() <= max_records_per_partition);
                    committed.insert(range.tp.clone(), Position::after(range));
                }
            }
            for (tp, end) in &ends {
                let position = committed.get(tp).unwrap_or(&starts[tp]).offset;
                prop_assert_eq!(position, *end);
            }
        }
    }
}

//! Bounded runs (`--until-caught-up`): where they end and how many batches they take.
//!
//! The end offsets are what is available when the run starts. They are stored with the run's first plan, so that an
//! interrupted run can be resumed and ends at the same offsets.

use std::collections::BTreeMap;

use super::ranges::Position;
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
    starts: &BTreeMap<TopicPartition, i64>,
    ends: &BTreeMap<TopicPartition, i64>,
    max_records_per_partition: u64,
) -> u64 {
    let needed = |(tp, &end): (&TopicPartition, &i64)| {
        let position = committed.get(tp).map(|position| position.offset).or_else(|| starts.get(tp).copied());
        let lag = u64::try_from(end.saturating_sub(position.unwrap_or(0))).unwrap_or(0);
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
            let committed = offsets(committed).into_iter().map(|(tp, offset)| (tp, Position::at(offset))).collect();
            assert_eq!(batches_needed(&committed, &offsets(&[2, 2, 2]), &offsets(ends), max), expected, "{ends:?}");
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
}

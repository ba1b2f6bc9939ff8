//! A smaller plan for a batch that did not fit in memory.

use crate::model::OffsetRange;

/// The first half of every range; `None` where no range can be halved, because none holds more than one offset.
///
/// The rest is read by the batches after it.
pub fn halve(ranges: &[OffsetRange]) -> Option<Vec<OffsetRange>> {
    ranges.iter().any(|range| range.len() > 1).then(|| ranges.iter().map(half).collect())
}

fn half(range: &OffsetRange) -> OffsetRange {
    let len = i64::try_from(range.len()).unwrap_or(i64::MAX);
    let kept = if len > 1 { len / 2 } else { len };
    OffsetRange { until: range.start + kept, ..range.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::TopicPartition;

    fn ranges(bounds: &[(i64, i64)]) -> Vec<OffsetRange> {
        let range = |&(start, until): &(i64, i64)| OffsetRange {
            source: Arc::from("s"),
            tp: TopicPartition::new("a", 0),
            start,
            until,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        };
        bounds.iter().map(range).collect()
    }

    #[test]
    fn every_range_longer_than_one_offset_loses_its_second_half() {
        let halved = halve(&ranges(&[(0, 10), (5, 8), (3, 5), (7, 8), (4, 4)])).unwrap();
        assert_eq!(halved, ranges(&[(0, 5), (5, 6), (3, 4), (7, 8), (4, 4)]));
    }

    #[test]
    fn one_offset_is_not_halved() {
        assert_eq!(halve(&ranges(&[(0, 1), (4, 4)])), None);
        assert_eq!(halve(&[]), None);
    }

    #[test]
    fn halving_ends() {
        let mut plan = ranges(&[(0, i64::MAX), (0, 3)]);
        let mut rounds = 0;
        while let Some(smaller) = halve(&plan) {
            plan = smaller;
            rounds += 1;
        }
        assert_eq!(plan, ranges(&[(0, 1), (0, 1)]));
        assert_eq!(rounds, 62);
    }
}

//! Where the record limit of a batch is decided: the static bound per partition, and the share of an estimated rate.
//!
//! The split is Spark's (`maxMessagesPerPartition` of the direct stream): every partition gets the part of the rate
//! that its lag is of the whole lag, and at least [`FAIR_FLOOR`], so that a short partition is not starved by a long
//! one.

use std::collections::BTreeMap;

use crate::model::{OffsetRange, TopicPartition};

/// Offsets a batch reads at least of a partition that has any, whatever the rate (`minRatePerPartition`).
pub const FAIR_FLOOR: u64 = 1;

/// What bounds a batch of one source.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Offsets a batch, gaps included.
    pub max_records_per_partition: u64,
    /// Back-pressure; none in a bounded run, so that its batches do not depend on speed.
    pub rate: Option<Rate>,
    /// Where a bounded run ends; topic partitions that are not in it are not read.
    pub ends: Option<&'a BTreeMap<TopicPartition, i64>>,
}

/// Records a second for the whole source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub records_per_second: f64,
    pub batch_interval_ms: i64,
}

impl Rate {
    /// Records for one batch of the whole source.
    pub fn records_per_batch(self) -> f64 {
        self.records_per_second * self.batch_interval_ms as f64 / 1000.0
    }
}

/// The end of what may be read from `start` on before any per-batch limit; never before `start`.
pub(super) fn last_readable(limits: &Limits<'_>, tp: &TopicPartition, start: i64, latest: i64) -> i64 {
    let end = limits.ends.map_or(latest, |ends| ends.get(tp).copied().unwrap_or(start));
    latest.min(end).max(start)
}

/// Cuts ranges that hold everything readable down to one batch.
pub(super) fn apply(limits: &Limits<'_>, ranges: &mut [OffsetRange]) {
    let lags: Vec<u64> = ranges.iter().map(OffsetRange::len).collect();
    let max = vec![limits.max_records_per_partition; lags.len()];
    let Some(shares) = share(limits.rate.map(Rate::records_per_batch), &lags, &max) else { return };
    for (range, share) in ranges.iter_mut().zip(shares) {
        let bound = range.start.saturating_add(i64::try_from(share).unwrap_or(i64::MAX));
        range.until = range.until.min(bound);
    }
}

/// Offsets each partition may read in a batch, given its lag and its own maximum; `None` where nothing limits, because
/// there is no lag to split.
pub fn share(records_per_batch: Option<f64>, lags: &[u64], max: &[u64]) -> Option<Vec<u64>> {
    let Some(batch) = records_per_batch.filter(|rate| *rate > 0.0) else { return Some(max.to_vec()) };
    let total: u128 = lags.iter().map(|&lag| u128::from(lag)).sum();
    if total == 0 {
        return None;
    }
    let part = |(&lag, &max): (&u64, &u64)| {
        let by_lag = (lag as f64 / total as f64 * batch).floor();
        (by_lag as u64).min(max).max(FAIR_FLOOR)
    };
    Some(lags.iter().zip(max).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::rate::conformance;

    #[test]
    fn shares_are_those_of_spark() {
        let mut seen = 0;
        for case in conformance::cases("rate") {
            let id = case["id"].as_str().unwrap();
            if !id.starts_with("kafka.limit.") {
                continue;
            }
            seen += 1;
            let params = &case["params"];
            let interval_ms = params["batch_interval_ms"].as_i64().unwrap();
            let numbers = |name: &str| -> Vec<f64> {
                params[name].as_object().unwrap().values().map(|number| number.as_f64().unwrap()).collect()
            };
            let estimated = params["backpressure_rate"].as_f64().filter(|rate| *rate > 0.0);
            let rate = params["backpressure_enabled"]
                .as_bool()
                .unwrap()
                .then(|| estimated.or(params["initial_rate"].as_f64()).unwrap_or(0.0));
            let lags: Vec<u64> = numbers("latest_offsets")
                .iter()
                .zip(numbers("current_offsets"))
                .map(|(latest, current)| (latest - current) as u64)
                .collect();
            let max: Vec<u64> = numbers("max_rate_per_partition")
                .iter()
                .map(|rate| (rate * interval_ms as f64 / 1000.0) as u64)
                .collect();
            let per_batch = rate.map(|records_per_second| {
                Rate { records_per_second, batch_interval_ms: interval_ms }.records_per_batch()
            });
            let expected: Option<Vec<u64>> =
                case["expect"].as_object().map(|shares| shares.values().map(|n| n.as_u64().unwrap()).collect());
            assert_eq!(share(per_batch, &lags, &max), expected, "{id}");
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_partition_with_little_lag_is_not_starved() {
        assert_eq!(share(Some(10.0), &[1_000_000, 1], &[100, 100]), Some(vec![9, 1]));
    }

    #[test]
    fn huge_lags_do_not_overflow() {
        let max = [u64::MAX, u64::MAX];
        assert_eq!(share(Some(4.0), &[u64::MAX, u64::MAX], &max), Some(vec![2, 2]));
    }
}

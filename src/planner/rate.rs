//! Back-pressure: Spark's PID estimator of the rate a source can be read at.
//!
//! The formula is that of Spark's `PIDRateEstimator`. The estimator lives as long as the process: after a restart the
//! first batch is planned at the initial rate again.

use crate::job::BackPressure;

/// Estimates records a second for a whole source from the batches that have completed.
#[derive(Debug, Clone)]
pub struct PidEstimator {
    batch_interval_ms: i64,
    settings: BackPressure,
    latest: Option<Latest>,
    estimate: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    time_ms: i64,
    rate: f64,
    error: f64,
}

/// What the estimator learns from one completed batch.
#[derive(Debug, Clone, Copy)]
pub struct Completed {
    /// When processing ended.
    pub time_ms: i64,
    pub records: u64,
    pub processing_ms: i64,
    pub scheduling_ms: i64,
}

impl PidEstimator {
    pub fn new(settings: BackPressure, batch_interval_ms: i64) -> Self {
        Self { batch_interval_ms, settings, latest: None, estimate: None }
    }

    /// The rate the next batch is planned at: the newest estimate, else the initial rate, else none.
    pub fn records_per_second(&self) -> Option<f64> {
        self.estimate.or(self.settings.initial_rate).filter(|rate| *rate > 0.0)
    }

    /// Learns from a batch. Returns the new rate, where the batch gives one: the first one never does, nor one that was
    /// empty, took no time or did not end after the one before it.
    pub fn complete(&mut self, batch: Completed) -> Option<f64> {
        let measurable = batch.records > 0 && batch.processing_ms > 0;
        if !measurable || self.latest.is_some_and(|latest| batch.time_ms <= latest.time_ms) {
            return None;
        }
        let processing_rate = batch.records as f64 / batch.processing_ms as f64 * 1000.0;
        let Some(latest) = self.latest else {
            self.latest = Some(Latest { time_ms: batch.time_ms, rate: processing_rate, error: 0.0 });
            return None;
        };
        let error = latest.rate - processing_rate;
        // Records that wait because earlier batches were late, per interval.
        let historical_error = batch.scheduling_ms as f64 * processing_rate / self.batch_interval_ms as f64;
        let elapsed_seconds = (batch.time_ms - latest.time_ms) as f64 / 1000.0;
        let error_change = (error - latest.error) / elapsed_seconds;
        let BackPressure { proportional, integral, derived, min_rate, .. } = self.settings;
        let corrected = latest.rate - proportional * error - integral * historical_error - derived * error_change;
        let rate = corrected.max(min_rate);
        self.latest = Some(Latest { time_ms: batch.time_ms, rate, error });
        self.estimate = Some(rate);
        self.estimate
    }
}

#[cfg(test)]
pub(super) mod conformance {
    //! The reference cases that several tests of this room read.

    use serde_json::Value;

    pub fn cases(category: &str) -> Vec<Value> {
        let text = include_str!("../../tests/data/conformance.json");
        let all: Value = serde_json::from_str(text).unwrap();
        let cases = all["cases"].as_array().unwrap().iter();
        cases.filter(|case| case["category"] == category).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_spark() {
        let mut seen = 0;
        for case in conformance::cases("rate") {
            let id = case["id"].as_str().unwrap();
            if !id.starts_with("rate.pid.") {
                assert!(id.starts_with("kafka.limit."), "{id}: no test reads this case");
                continue;
            }
            seen += 1;
            let number = |name: &str| case["params"][name].as_f64().unwrap();
            let settings = BackPressure {
                initial_rate: None,
                proportional: number("proportional"),
                integral: number("integral"),
                derived: number("derivative"),
                min_rate: number("min_rate"),
            };
            let mut estimator = PidEstimator::new(settings, number("batch_interval_ms") as i64);
            let (calls, expected) = (case["calls"].as_array().unwrap(), case["expect"].as_array().unwrap());
            assert_eq!(calls.len(), expected.len(), "{id}");
            for (idx, (call, expected)) in calls.iter().zip(expected).enumerate() {
                let rate = estimator.complete(Completed {
                    time_ms: call["time_ms"].as_i64().unwrap(),
                    records: call["records"].as_u64().unwrap(),
                    processing_ms: call["processing_ms"].as_i64().unwrap(),
                    scheduling_ms: call["scheduling_ms"].as_i64().unwrap(),
                });
                match (rate, expected.as_f64()) {
                    (Some(rate), Some(expected)) => {
                        assert!((rate - expected).abs() < 1e-6, "{id} call {idx}: {rate}, expected {expected}");
                    }
                    (rate, expected) => assert_eq!(rate, expected, "{id} call {idx}"),
                }
            }
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn the_initial_rate_holds_until_there_is_an_estimate() {
        let settings =
            BackPressure { initial_rate: Some(500.0), proportional: 1.0, integral: 0.2, derived: 0.0, min_rate: 100.0 };
        let mut estimator = PidEstimator::new(settings, 1000);
        assert_eq!(estimator.records_per_second(), Some(500.0));
        let batch = Completed { time_ms: 1000, records: 1000, processing_ms: 1000, scheduling_ms: 0 };
        estimator.complete(batch);
        assert_eq!(estimator.records_per_second(), Some(500.0));
        estimator.complete(Completed { time_ms: 2000, records: 10, ..batch });
        assert_eq!(estimator.records_per_second(), Some(100.0), "never below min_rate");
        estimator.complete(Completed { time_ms: 3000, records: 0, ..batch });
        assert_eq!(estimator.records_per_second(), Some(100.0), "an empty batch teaches nothing");
    }
}

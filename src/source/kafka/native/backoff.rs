//! Waits between attempts: doubling, bounded, jittered so that many clients do not come back at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::settings::BackoffRange;

/// Part of a wait that is left to chance, each way.
const JITTER_PERCENT: u64 = 20;

#[derive(Debug)]
pub struct Backoff {
    range: BackoffRange,
    failures: u32,
    chance: RandomState,
}

impl Backoff {
    pub fn new(range: BackoffRange) -> Self {
        Self { range, failures: 0, chance: RandomState::new() }
    }

    /// How long to wait after one more failure.
    pub fn fail(&mut self) -> Duration {
        let wait =
            self.range.first.saturating_mul(1 << self.failures.min(16)).min(self.range.most.max(self.range.first));
        self.failures = self.failures.saturating_add(1);
        let percent = 100 - JITTER_PERCENT + self.chance.hash_one(self.failures) % (2 * JITTER_PERCENT + 1);
        wait.saturating_mul(percent as u32) / 100
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn reset(&mut self) {
        self.failures = 0;
        self.chance = RandomState::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_bound_within_the_jitter() {
        let range = BackoffRange { first: Duration::from_millis(100), most: Duration::from_secs(1) };
        let mut backoff = Backoff::new(range);
        for expected in [100, 200, 400, 800, 1_000, 1_000] {
            let wait = backoff.fail().as_millis();
            assert!((expected * 80 / 100..=expected * 120 / 100).contains(&wait), "{wait} for {expected}");
        }
        (0..100).for_each(|_| assert!(backoff.fail().as_millis() <= 1_200));
        backoff.reset();
        assert!(backoff.fail().as_millis() <= 120);
    }
}

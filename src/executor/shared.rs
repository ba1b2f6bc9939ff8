//! What the tasks of one batch share: the memory they hold together, and which of them failed first.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{BatchFailure, failure::Held};
use crate::{job::Job, state::StepState};

/// Bytes held count from the state on, so that aggregates get what state leaves.
pub(super) struct Shared {
    limit_bytes: u64,
    state_bytes: u64,
    /// Bytes held now, and at most.
    held: AtomicU64,
    peak: AtomicU64,
    /// Lowest lane that failed; lanes behind it may stop, so that the failure reported does not depend on timing.
    failed_lane: AtomicUsize,
}

impl Shared {
    /// A batch over these states; fails where they alone do not fit.
    pub fn new(
        job: &Job,
        states: &HashMap<usize, Box<dyn StepState>>,
        limit_bytes: u64,
    ) -> Result<Shared, BatchFailure> {
        let by_step = || states.iter().map(|(&step, state)| (state.memory_bytes(), step));
        let bytes = by_step().map(|(bytes, _)| bytes).sum();
        if bytes > limit_bytes {
            let largest = by_step().max().and_then(|(_, step)| job.steps.get(step));
            let step = largest.map_or_else(String::new, |step| step.id.to_string());
            return Err(BatchFailure::Memory { step, what: Held::State, bytes, limit_bytes });
        }
        Ok(Shared {
            limit_bytes,
            state_bytes: bytes,
            held: AtomicU64::new(bytes),
            peak: AtomicU64::new(bytes),
            failed_lane: AtomicUsize::new(usize::MAX),
        })
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// What was `before` bytes is `now` bytes; gives what is held together, as an error where that is too much.
    pub fn hold(&self, before: u64, now: u64) -> Result<(), u64> {
        let held = if now >= before {
            self.held.fetch_add(now - before, Ordering::Relaxed).saturating_add(now - before)
        } else {
            self.held.fetch_sub(before - now, Ordering::Relaxed).saturating_sub(before - now)
        };
        self.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.limit_bytes && now > before { Err(held) } else { Ok(()) }
    }

    /// As [`Shared::hold`], with a step to name.
    pub fn hold_for(&self, step: impl FnOnce() -> String, before: u64, now: u64) -> Result<(), BatchFailure> {
        self.hold(before, now).map_err(|bytes| self.too_much(step(), Held::Batch, bytes))
    }

    /// Fails where `more` bytes do not fit beside the states, however small the batch is.
    pub fn room_beside_state(&self, step: impl FnOnce() -> String, more: u64) -> Result<(), BatchFailure> {
        let bytes = self.state_bytes.saturating_add(more);
        if bytes > self.limit_bytes { Err(self.too_much(step(), Held::State, bytes)) } else { Ok(()) }
    }

    pub fn too_much(&self, step: String, what: Held, bytes: u64) -> BatchFailure {
        BatchFailure::Memory { step, what, bytes, limit_bytes: self.limit_bytes }
    }

    pub fn release(&self, bytes: u64) {
        let _ = self.hold(bytes, 0);
    }

    pub fn fail(&self, lane: usize) {
        self.failed_lane.fetch_min(lane, Ordering::Relaxed);
    }

    pub fn is_moot(&self, lane: usize) -> bool {
        self.failed_lane.load(Ordering::Relaxed) < lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(limit_bytes: u64, state_bytes: u64) -> Shared {
        Shared {
            limit_bytes,
            state_bytes,
            held: AtomicU64::new(state_bytes),
            peak: AtomicU64::new(state_bytes),
            failed_lane: AtomicUsize::new(usize::MAX),
        }
    }

    #[test]
    fn what_is_held_counts_from_the_state_on_and_comes_back() {
        let shared = shared(100, 40);
        assert_eq!(shared.hold(0, 60), Ok(()));
        assert_eq!(shared.hold(0, 1), Err(101));
        assert_eq!(shared.hold(61, 0), Ok(()), "giving back never fails");
        assert_eq!(shared.hold(0, 60), Ok(()));
        assert_eq!(shared.peak(), 101);
    }

    #[test]
    fn what_does_not_fit_beside_the_state_is_laid_to_the_state() {
        let failure = |more| shared(100, 40).room_beside_state(|| "total".to_owned(), more).map_err(|f| f.to_string());
        assert_eq!(failure(60), Ok(()));
        assert_eq!(failure(61), Err("step total holds 101 bytes of state; memory_limit is 100".to_owned()));
    }
}

//! Windows after a gap: batch times that were skipped, but whose windows still hold records.
//!
//! A window of length `l` at grid time `g = zero + k * slide` holds the batches with time in `(g - l, g]`. When batches
//! were skipped (downtime, a slow batch), the windows at the skipped grid times that still hold records are emitted
//! first, each by a batch of its own with empty ranges:
//!
//! ```text
//! records in batches      r  r
//! batches                 |  |                       | next
//! skipped grid times            g  g  g  g  g  g  g
//! windows of 3 slides           ^  ^                   hold records: caught up; the others emit nothing
//! ```

use crate::{job::WindowSpec, model::BatchTime};

/// A window operator and the last batch time at which its input had a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowInput {
    pub window: WindowSpec,
    /// `None` as long as it never had one.
    pub last_records: Option<BatchTime>,
}

/// The first skipped batch time between `previous` and `next` (both exclusive) at which a window still holds records.
///
/// Asked again after each batch, until it says none: a window of a window is then right without further thought, because
/// the inner one's emission at a caught-up time has become the outer one's input. Per window operator there are at most
/// `length / slide` such times.
pub fn next_catch_up(
    zero: BatchTime,
    previous: BatchTime,
    next: BatchTime,
    windows: &[WindowInput],
) -> Option<BatchTime> {
    windows.iter().filter_map(|input| first_window(zero, previous, next, input)).min()
}

fn first_window(zero: BatchTime, previous: BatchTime, next: BatchTime, input: &WindowInput) -> Option<BatchTime> {
    let WindowSpec { length_ms, slide_ms } = input.window;
    let slide_ms = slide_ms.max(1);
    let past_zero = previous.0.saturating_sub(zero.0);
    let grid_time = zero.0.saturating_add((past_zero.div_euclid(slide_ms).saturating_add(1)).saturating_mul(slide_ms));
    let holds_records = grid_time < input.last_records?.0.saturating_add(length_ms);
    (grid_time < next.0 && holds_records).then_some(BatchTime(grid_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(length_ms: i64, slide_ms: i64, last_records: impl Into<Option<i64>>) -> WindowInput {
        WindowInput { window: WindowSpec { length_ms, slide_ms }, last_records: last_records.into().map(BatchTime) }
    }

    /// All caught-up times, as the driver would find them: one after the other.
    fn times(zero: i64, mut previous: i64, next: i64, windows: &[WindowInput]) -> Vec<i64> {
        let mut times = Vec::new();
        while let Some(time) = next_catch_up(BatchTime(zero), BatchTime(previous), BatchTime(next), windows) {
            previous = time.0;
            times.push(previous);
        }
        times
    }

    #[test]
    fn skipped_windows_that_hold_records_are_caught_up() {
        for (previous, next, windows, expected) in [
            (100, 200, vec![window(300, 100, 100)], vec![]), // no gap
            (100, 1000, vec![window(300, 100, 100)], vec![200, 300]),
            (100, 300, vec![window(300, 100, 100)], vec![200]), // the batch at 300 comes anyway
            (100, 1000, vec![window(100, 100, 100)], vec![]),   // tumbling: its window was emitted at 100
            (100, 1000, vec![window(300, 300, 100)], vec![300]),
            (200, 1000, vec![window(300, 300, 100)], vec![300]),
            (200, 1000, vec![window(600, 300, 100)], vec![300, 600]),
            (300, 1000, vec![window(300, 300, 300)], vec![]),
            (300, 2000, vec![window(300, 100, 100)], vec![]), // records have left at 400
            (100, 1000, vec![window(300, 100, None)], vec![]),
            (100, 1000, vec![], vec![]),
            (100, 1000, vec![window(200, 500, 100)], vec![]), // slide > length: 500 no longer holds 100
            (400, 1000, vec![window(200, 500, 400)], vec![500]),
            (100, 1000, vec![window(300, 100, 100), window(600, 300, 100)], vec![200, 300, 600]),
        ] {
            assert_eq!(times(0, previous, next, &windows), expected, "{previous} {next} {windows:?}");
        }
    }

    #[test]
    fn the_grid_is_aligned_to_the_zero_of_the_job() {
        assert_eq!(times(100, 200, 2000, &[window(600, 300, 200)]), [400, 700]);
    }

    #[test]
    fn there_are_at_most_length_by_slide_of_them() {
        for (length, slide) in [(300, 100), (1000, 100), (600, 300), (100, 100)] {
            let times = times(0, 10_000, 1_000_000, &[window(length, slide, 10_000)]);
            assert!(times.len() as i64 <= length / slide, "{length} {slide}: {times:?}");
        }
    }

    #[test]
    fn every_caught_up_time_is_a_skipped_grid_time_whose_window_holds_the_records() {
        for last in (0..2_000).step_by(100) {
            for (length, slide) in [(300, 100), (600, 300), (200, 400), (500, 200)] {
                let (previous, next) = (2_000, 5_000);
                let expected: Vec<i64> = (0..100)
                    .map(|k| k * slide)
                    .filter(|&g| previous < g && g < next && g - length < last && last <= g)
                    .collect();
                assert_eq!(
                    times(0, previous, next, &[window(length, slide, last)]),
                    expected,
                    "{last} {length} {slide}"
                );
            }
        }
    }
}

//! Ticks and batch times.
//!
//! A tick is a multiple of the batch interval since the epoch. Batches start at ticks of the clock, and carry a batch
//! time that is a multiple of the interval and only ever grows:
//!
//! ```text
//! clock   --+------+------+------+------+------+------+-->     one + a tick
//! batches   |      |[ slow batch      ] |      |               missed ticks are not queued
//! times     t1     t2                   t5     t6
//! ```

use crate::model::BatchTime;

/// The batch interval of a job, and the arithmetic of its ticks. All times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    ms: i64,
}

/// When the next batch may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now, at this tick of the clock: the latest one.
    Now(i64),
    /// Not before this tick.
    At(i64),
}

impl Interval {
    /// Intervals below a millisecond count as one.
    pub fn new(ms: i64) -> Interval {
        Interval { ms: ms.max(1) }
    }

    pub fn ms(self) -> i64 {
        self.ms
    }

    /// The last tick at or before `now_ms`.
    pub fn latest_tick(self, now_ms: i64) -> i64 {
        now_ms.div_euclid(self.ms) * self.ms
    }

    /// The first tick after `time_ms`.
    pub fn next_tick(self, time_ms: i64) -> i64 {
        self.latest_tick(time_ms).saturating_add(self.ms)
    }

    /// Time of the first batch of a fresh job: the first tick after `now_ms`.
    pub fn first_time(self, now_ms: i64) -> BatchTime {
        BatchTime(self.next_tick(now_ms))
    }

    /// The job's zero: one interval before its first batch. Windows are aligned to it; it is kept in the checkpoint.
    pub fn zero(self, first: BatchTime) -> BatchTime {
        BatchTime(first.0 - self.ms)
    }

    /// The zero of a job that had another interval until the batch at `last`: where `zero` is no tick of this one, the
    /// last tick by then.
    pub fn zero_from(self, zero: BatchTime, last: BatchTime) -> BatchTime {
        if self.latest_tick(zero.0) == zero.0 { zero } else { BatchTime(self.latest_tick(last.0)) }
    }

    /// The tick from which a process that has just started counts. Where the last batch of the checkpoint is older than
    /// the latest tick, that tick was missed, and a batch is due at once; a fresh job waits for its first tick.
    pub fn tick_at_start(self, previous: Option<BatchTime>, now_ms: i64) -> i64 {
        let latest = self.latest_tick(now_ms);
        previous.map_or(latest, |previous| latest.min(previous.0))
    }

    /// When the batch after the one that started at `last_tick` may start; the caller counts `last_tick` anew where the
    /// clock was set back.
    pub fn due(self, last_tick: i64, now_ms: i64) -> Due {
        let latest = self.latest_tick(now_ms);
        if latest > last_tick { Due::Now(latest) } else { Due::At(latest.saturating_add(self.ms)) }
    }

    /// Ticks between the start of the last batch and this one at which no batch could start; more than 0 is falling
    /// behind.
    pub fn missed_ticks(self, last_tick: i64, tick: i64) -> u64 {
        u64::try_from((tick - last_tick) / self.ms - 1).unwrap_or(0)
    }

    /// Time of a batch that starts at `tick`: that tick, but always after the previous batch.
    pub fn batch_time(self, previous: Option<BatchTime>, tick: i64) -> BatchTime {
        BatchTime(previous.map_or(tick, |previous| tick.max(self.next_tick(previous.0))))
    }

    /// How far a batch time is ahead of the clock; 0 as long as the clock was never set back.
    pub fn distance_ms(self, time: BatchTime, tick: i64) -> i64 {
        (time.0 - tick).max(0)
    }

    /// Time of the first batch of a bounded run of `batches` batches, so that the last one is not ahead of the clock if
    /// that is possible. Those after it follow at one interval each ([`Interval::following`]).
    pub fn bounded_first_time(self, previous: Option<BatchTime>, now_ms: i64, batches: u64) -> BatchTime {
        let back = i64::try_from(batches.saturating_sub(1)).unwrap_or(i64::MAX).saturating_mul(self.ms);
        self.batch_time(previous, self.latest_tick(now_ms).saturating_sub(back))
    }

    /// One interval after `previous`: the next batch of a bounded run, also of one that was interrupted and is resumed.
    pub fn following(self, previous: BatchTime) -> BatchTime {
        BatchTime(self.next_tick(previous.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::rate::conformance;

    const B: Interval = Interval { ms: 100 };

    #[test]
    fn the_first_batch_is_strictly_after_now() {
        for (now, first) in [(0, 100), (1, 100), (99, 100), (100, 200), (-1, 0), (-100, 0)] {
            assert_eq!(B.first_time(now), BatchTime(first), "{now}");
            assert_eq!(B.zero(BatchTime(first)), BatchTime(first - 100));
        }
    }

    #[test]
    fn batch_time_is_the_tick_unless_the_previous_batch_is_ahead() {
        for (previous, tick, time) in [
            (None, 500, 500),
            (Some(400), 500, 500),
            (Some(100), 500, 500),
            (Some(500), 500, 600),
            (Some(900), 500, 1000),
            (Some(450), 500, 500), // after a change of the interval: a multiple of the new one
            (Some(510), 500, 600),
        ] {
            assert_eq!(B.batch_time(previous.map(BatchTime), tick), BatchTime(time), "{previous:?} {tick}");
        }
    }

    #[test]
    fn a_restart_starts_a_missed_batch_at_once_and_otherwise_waits() {
        let check = |previous: Option<i64>, now, due| {
            let tick = B.tick_at_start(previous.map(BatchTime), now);
            assert_eq!(B.due(tick, now), due, "{previous:?} at {now}");
        };
        check(None, 530, Due::At(600));
        check(None, 500, Due::At(600));
        check(Some(500), 530, Due::At(600));
        check(Some(400), 530, Due::Now(500));
        check(Some(100), 530, Due::Now(500));
        check(Some(900), 530, Due::At(600));
    }

    #[test]
    fn a_clock_that_was_set_back_goes_on_ticking_and_times_keep_their_distance() {
        let (mut tick, mut previous) = (10_000, BatchTime(10_000));
        let mut times = Vec::new();
        for now in [5_030, 5_100, 5_230] {
            if let Due::Now(at) = B.due(tick, now) {
                previous = B.batch_time(Some(previous), at);
                times.push((previous.0, B.distance_ms(previous, at)));
                tick = at;
            } else {
                tick = B.latest_tick(now);
            }
        }
        assert_eq!(times, [(10_100, 5_000), (10_200, 5_000)]);
    }

    #[test]
    fn missed_ticks_are_counted() {
        for (last, tick, missed) in [(100, 200, 0), (100, 300, 1), (100, 1000, 8), (500, 100, 0)] {
            assert_eq!(B.missed_ticks(last, tick), missed);
        }
    }

    #[test]
    fn a_bounded_run_ends_at_the_latest_tick_or_goes_on_from_the_previous_batch() {
        for (previous, now, batches, first) in [
            (None, 1030, 1, 1000),
            (None, 1030, 4, 700),
            (Some(800), 1030, 4, 900),
            (Some(500), 1030, 4, 700),
            (Some(2000), 1030, 4, 2100),
            (None, 1030, 0, 1000),
        ] {
            let time = B.bounded_first_time(previous.map(BatchTime), now, batches);
            assert_eq!(time, BatchTime(first), "{previous:?} {batches}");
        }
        assert_eq!(B.following(BatchTime(900)), BatchTime(1000));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        assert_eq!(B.batch_time(Some(BatchTime(i64::MAX)), 0), BatchTime(i64::MAX));
        assert!(B.bounded_first_time(None, 0, u64::MAX).0 < 0);
    }

    /// Spark's timer fires every missed tick in order and one more after a graceful stop. kstream starts one batch for
    /// any number of missed ticks, at the latest of them, and none after a stop: so of each step of the clock the last
    /// tick must be the same, and no others may come.
    #[test]
    fn ticks_are_those_of_spark_with_missed_ones_joined() {
        for case in conformance::cases("timer") {
            let id = case["id"].as_str().unwrap();
            let interval = Interval::new(case["period_ms"].as_i64().unwrap());
            let start = case["start_at_ms"].as_i64().unwrap();
            let steps: Vec<(i64, i64)> = match case["clock_steps"].as_array() {
                Some(steps) => {
                    let last = |step: &serde_json::Value| step["ticks"].as_array().unwrap().last().unwrap().as_i64();
                    steps.iter().map(|step| (step["clock_ms"].as_i64().unwrap(), last(step).unwrap())).collect()
                }
                None => {
                    let ticks = case["expect_ticks"].as_array().unwrap().iter();
                    ticks.map(|tick| tick.as_i64().unwrap()).map(|tick| (tick, tick)).collect()
                }
            };
            assert!(steps.len() >= 3, "{id}");
            let mut tick = start - interval.ms();
            for (clock, expected) in steps {
                assert_eq!(interval.due(tick, clock), Due::Now(expected), "{id} at {clock}");
                tick = expected;
                assert_eq!(interval.due(tick, clock), Due::At(expected + interval.ms()), "{id}: once only");
            }
        }
    }
}

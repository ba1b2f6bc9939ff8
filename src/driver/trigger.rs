//! When the next batch starts, and at which batch time.

use crossbeam_channel::Receiver;

use super::clock::{Clock, Woken};
use crate::{
    model::BatchTime,
    planner::{Due, Interval},
};

/// The clock says a batch is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    pub time: BatchTime,
    /// The tick of the clock that started it, milliseconds since the epoch.
    pub tick_ms: i64,
    /// Ticks that passed without a batch.
    pub missed_ticks: u64,
    /// Whether they passed before this process began.
    pub missed_by_downtime: bool,
    /// Whether it was waited for, so that they passed at once.
    pub waited: bool,
    /// How far the batch time is ahead of the clock.
    pub distance_ms: i64,
}

/// The ticks of one run.
pub struct Ticks {
    interval: Interval,
    last_tick_ms: i64,
    /// No tick has come since the start.
    untouched: bool,
    /// A trigger whose own batch comes after those at skipped times.
    held: Option<Trigger>,
}

impl Ticks {
    pub fn new(interval: Interval, previous: Option<BatchTime>, clock: &dyn Clock) -> Self {
        let now_ms = clock.now_ms();
        Self { interval, last_tick_ms: interval.tick_at_start(previous, now_ms), untouched: true, held: None }
    }

    /// Whether the next batch is due already, without waiting.
    pub fn is_due(&self, clock: &dyn Clock) -> bool {
        self.held.is_some() || matches!(self.interval.due(self.last_tick_ms, clock.now_ms()), Due::Now(_))
    }

    /// The batch in hand stands for a skipped time: the next one is for the same trigger.
    pub fn hold(&mut self, trigger: Option<Trigger>) {
        self.held = trigger;
    }

    /// Waits for the next tick; `None` when asked to drain.
    pub fn wait(&mut self, previous: Option<BatchTime>, clock: &dyn Clock, drain: &Receiver<()>) -> Option<Trigger> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let mut waited = false;
        loop {
            let now_ms = clock.now_ms();
            // It was set back while a batch ran.
            if self.interval.next_tick(self.interval.latest_tick(now_ms)) < self.last_tick_ms {
                self.last_tick_ms = self.interval.latest_tick(now_ms);
            }
            match self.interval.due(self.last_tick_ms, now_ms) {
                Due::Now(tick_ms) => {
                    let missed_ticks = self.interval.missed_ticks(self.last_tick_ms, tick_ms);
                    self.last_tick_ms = tick_ms;
                    let time = self.interval.batch_time(previous, tick_ms);
                    let distance_ms = self.interval.distance_ms(time, tick_ms);
                    let missed_by_downtime = std::mem::take(&mut self.untouched);
                    return Some(Trigger { time, tick_ms, missed_ticks, missed_by_downtime, waited, distance_ms });
                }
                Due::At(at_ms) => match clock.wait_until(at_ms, drain) {
                    Woken::Cancelled => return None,
                    Woken::Due => waited = true,
                    // Ticks go on from where the clock is now; batch times keep their distance.
                    Woken::SetBack => self.last_tick_ms = self.interval.latest_tick(clock.now_ms()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::{super::clock::ManualClock, *};

    #[test]
    fn a_clock_that_is_set_back_while_a_batch_runs_is_not_waited_for() {
        let clock = ManualClock::at(86_400_500);
        let mut ticks = Ticks::new(Interval::new(1_000), None, &clock);
        let (ask, drain) = crossbeam_channel::bounded(1);
        clock.set(86_401_000);
        let first = ticks.wait(None, &clock, &drain).unwrap();
        clock.set(2_300);
        let next = thread::scope(|scope| {
            let waiting = scope.spawn(|| ticks.wait(Some(first.time), &clock, &drain));
            while clock.waiting() == 0 && !waiting.is_finished() {
                thread::yield_now();
            }
            clock.advance(700);
            for _ in 0..500 {
                if !waiting.is_finished() {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            // Only where it waits for yesterday's tick.
            ask.send(()).unwrap();
            waiting.join().unwrap()
        });
        let next = next.unwrap();
        assert_eq!((next.tick_ms, next.time, next.distance_ms), (3_000, BatchTime(86_402_000), 86_399_000));
    }
}

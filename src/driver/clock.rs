//! The one file that reads the wall clock.
//!
//! Everything that depends on the time of day (ticks, batch times, `start = "-10m"`, times in logs and ledger) gets it
//! from a [`Clock`], so that tests decide what time it is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, never, select};

/// How often a waiting [`SystemClock`] looks at the wall clock: a clock that is set forward, or a machine that wakes up,
/// is noticed this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What the clock may be set back while someone waits before the wait is given up; smaller corrections are slept out.
const TOLERATED_SET_BACK_MS: i64 = 500;

/// The time of day, and waiting for it.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Returns once it is `at_ms`, a message arrives on `cancel`, or the clock was set back. A `cancel` whose senders
    /// are all gone never cancels.
    fn wait_until(&self, at_ms: i64, cancel: &Receiver<()>) -> Woken;
}

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// It is time.
    Due,
    /// The message on `cancel` has been taken.
    Cancelled,
    /// The clock was set back meanwhile: what to wait for must be asked again.
    SetBack,
}

/// The machine's clock. Waits on the monotonic clock and looks at the wall clock at least every second.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn wait_until(&self, at_ms: i64, cancel: &Receiver<()>) -> Woken {
        let (began_ms, began) = (self.now_ms(), Instant::now());
        wait(at_ms, cancel, || (self.now_ms(), began_ms.saturating_add(elapsed_ms(began))))
    }
}

fn elapsed_ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// `times` gives what the wall clock shows, and what it would show had nobody touched it since the wait began.
fn wait(at_ms: i64, cancel: &Receiver<()>, times: impl Fn() -> (i64, i64)) -> Woken {
    let forever = never();
    let mut cancel = cancel;
    loop {
        let (wall_ms, undisturbed_ms) = times();
        if undisturbed_ms.saturating_sub(wall_ms) > TOLERATED_SET_BACK_MS {
            return Woken::SetBack;
        }
        let left_ms = u64::try_from(at_ms.saturating_sub(wall_ms)).unwrap_or(0);
        if left_ms == 0 {
            return if cancel.try_recv().is_ok() { Woken::Cancelled } else { Woken::Due };
        }
        let sleep = Duration::from_millis(left_ms).min(LONGEST_SLEEP);
        match cancel.recv_timeout(sleep) {
            Ok(()) => return Woken::Cancelled,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => cancel = &forever,
        }
    }
}

/// A clock that stands still until a test advances it.
#[derive(Debug, Default)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug, Default)]
struct ManualState {
    now_ms: i64,
    /// One channel for each waiting thread.
    waiting: Vec<Sender<()>>,
}

impl ManualClock {
    pub fn at(now_ms: i64) -> Self {
        Self { state: Mutex::new(ManualState { now_ms, waiting: Vec::new() }) }
    }

    pub fn advance(&self, by_ms: i64) {
        let now_ms = self.now_ms().saturating_add(by_ms);
        self.set(now_ms);
    }

    /// Sets the clock, also back, and wakes who waits.
    pub fn set(&self, now_ms: i64) {
        let mut state = self.lock();
        state.now_ms = now_ms;
        // A full channel belongs to a thread that is about to look anyway.
        state.waiting.retain(|waiting| !matches!(waiting.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    /// How many threads wait for this clock.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiting thread, unless it is time already.
    fn enlist(&self, at_ms: i64) -> Option<(Sender<()>, Receiver<()>)> {
        let mut state = self.lock();
        if at_ms <= state.now_ms {
            return None;
        }
        let (wake, woken) = bounded(1);
        state.waiting.push(wake.clone());
        Some((wake, woken))
    }

    fn dismiss(&self, wake: &Sender<()>) {
        self.lock().waiting.retain(|waiting| !waiting.same_channel(wake));
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.lock().now_ms
    }

    fn wait_until(&self, at_ms: i64, cancel: &Receiver<()>) -> Woken {
        let began_ms = self.now_ms();
        if cancel.try_recv().is_ok() {
            return Woken::Cancelled;
        }
        let Some((wake, woken)) = self.enlist(at_ms) else { return Woken::Due };
        let forever = never();
        let mut cancel = cancel;
        let why = loop {
            select! {
                recv(cancel) -> message => match message {
                    Ok(()) => break Woken::Cancelled,
                    Err(_) => cancel = &forever,
                },
                recv(woken) -> _ => {
                    let now_ms = self.now_ms();
                    if now_ms < began_ms {
                        break Woken::SetBack;
                    }
                    if at_ms <= now_ms {
                        break Woken::Due;
                    }
                }
            }
        };
        self.dismiss(&wake);
        why
    }
}

/// A clock that jumps to whatever is waited for, so that a whole run takes no time and its batch times are the same each
/// time. Behind the command line's `--manual-clock`, for tests of the real binary.
#[derive(Debug)]
pub struct JumpingClock {
    now_ms: Mutex<i64>,
}

impl JumpingClock {
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: Mutex::new(now_ms) }
    }
}

impl Clock for JumpingClock {
    fn now_ms(&self) -> i64 {
        *self.now_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, at_ms: i64, cancel: &Receiver<()>) -> Woken {
        if cancel.try_recv().is_ok() {
            return Woken::Cancelled;
        }
        let mut now_ms = self.now_ms.lock().unwrap_or_else(PoisonError::into_inner);
        *now_ms = at_ms.max(*now_ms);
        Woken::Due
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::Arc,
        thread::{self, JoinHandle},
    };

    use super::*;

    #[test]
    fn the_system_clock_waits_for_the_wall_clock() {
        let clock = SystemClock;
        let began = clock.now_ms();
        assert_eq!(clock.wait_until(began + 30, &never()), Woken::Due);
        assert!(clock.now_ms() >= began + 30);
        assert_eq!(clock.wait_until(began - 1000, &never()), Woken::Due, "the past is due at once");
    }

    #[test]
    fn a_message_ends_the_wait() {
        let (cancel, cancelled) = bounded(1);
        cancel.send(()).unwrap();
        for clock in [&SystemClock as &dyn Clock, &ManualClock::at(0), &JumpingClock::at(0)] {
            cancel.try_send(()).ok();
            assert_eq!(clock.wait_until(i64::MAX, &cancelled), Woken::Cancelled);
            assert!(cancelled.is_empty(), "the message is taken");
        }
    }

    #[test]
    fn a_message_from_another_thread_ends_the_wait() {
        let (cancel, cancelled) = bounded(1);
        let waiting = thread::spawn(move || SystemClock.wait_until(SystemClock.now_ms() + 60_000, &cancelled));
        cancel.send(()).unwrap();
        assert_eq!(waiting.join().unwrap(), Woken::Cancelled);
    }

    #[test]
    fn nobody_left_to_cancel_is_no_message() {
        let (cancel, cancelled) = bounded::<()>(1);
        drop(cancel);
        assert_eq!(SystemClock.wait_until(SystemClock.now_ms() + 20, &cancelled), Woken::Due);
        assert_eq!(JumpingClock::at(0).wait_until(20, &cancelled), Woken::Due);
    }

    #[test]
    fn a_wall_clock_that_jumps_is_noticed() {
        let check = |wall: [i64; 3], expected| {
            let looks = Cell::new(0);
            let times = || {
                let look = looks.get();
                looks.set(look + 1);
                (wall[look.min(2)], look as i64)
            };
            assert_eq!(wait(10, &never(), times), expected, "{wall:?}");
        };
        check([0, 1, 10], Woken::Due);
        check([0, 1_000_000, 0], Woken::Due);
        check([0, -400, 10], Woken::Due);
        check([0, -1_000, 10], Woken::SetBack);
    }

    fn waiting_for(clock: &Arc<ManualClock>, at_ms: i64) -> JoinHandle<Woken> {
        let before = clock.waiting();
        let thread = thread::spawn({
            let clock = clock.clone();
            move || clock.wait_until(at_ms, &never())
        });
        while clock.waiting() == before {
            thread::yield_now();
        }
        thread
    }

    #[test]
    fn a_manual_clock_wakes_who_is_due_and_nobody_else() {
        let clock = Arc::new(ManualClock::at(1_000));
        let (early, late) = (waiting_for(&clock, 1_100), waiting_for(&clock, 1_200));
        clock.advance(99);
        assert_eq!(clock.waiting(), 2);
        clock.advance(1);
        assert_eq!(early.join().unwrap(), Woken::Due);
        assert_eq!(clock.waiting(), 1);
        clock.set(500);
        assert_eq!(late.join().unwrap(), Woken::SetBack);
        assert_eq!(clock.waiting(), 0);
    }

    #[test]
    fn a_jumping_clock_is_never_waited_for_and_never_goes_back() {
        let clock = JumpingClock::at(1_000);
        assert_eq!(clock.wait_until(5_000, &never()), Woken::Due);
        assert_eq!(clock.now_ms(), 5_000);
        assert_eq!(clock.wait_until(2_000, &never()), Woken::Due);
        assert_eq!(clock.now_ms(), 5_000);
    }
}

//! Waiting inside a call: brokers may be silent for so long, and somebody outside is asked meanwhile whether to wait on.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{SinkError, SinkErrorKind};
pub use crate::source::watch::{SLICE, Watch};

/// Between two tries of a call that fails at once.
const PAUSE: Duration = Duration::from_millis(100);

/// How long brokers may be silent before they count as away, and who watches.
#[derive(Clone)]
pub struct Silence {
    pub longest: Duration,
    watch: Option<Arc<dyn Watch>>,
}

impl fmt::Debug for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.longest.fmt(f)
    }
}

impl Silence {
    pub fn new(longest: Duration) -> Silence {
        Silence { longest, watch: None }
    }

    pub fn watched_by(&mut self, watch: Arc<dyn Watch>) {
        self.watch = Some(watch);
    }

    /// The silence begins.
    pub fn listen(&self) -> Listening<'_> {
        self.at_most(self.longest)
    }

    /// As [`Silence::listen`], for no longer than `limit`.
    pub fn at_most(&self, limit: Duration) -> Listening<'_> {
        let now = Instant::now();
        Listening { silence: self, limit: self.longest.min(limit), since: now, looked: now }
    }

    /// Calls with a deadline a slice away until there is an answer, another error, or no more waiting.
    pub fn ask<T>(
        &self,
        slice: Duration,
        mut call: impl FnMut(Instant) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let mut listening = self.listen();
        loop {
            let began = Instant::now();
            let error = match call(began + slice.min(listening.left())) {
                Err(error) if error.kind == SinkErrorKind::Unreachable => error,
                other => return other,
            };
            if !listening.goes_on(|| error.on_one_line()) {
                return Err(error);
            }
            if began.elapsed() < PAUSE {
                thread::sleep(PAUSE);
            }
        }
    }
}

/// A silence that lasts.
pub struct Listening<'a> {
    silence: &'a Silence,
    limit: Duration,
    since: Instant,
    looked: Instant,
}

impl Listening<'_> {
    /// Something was heard.
    pub fn heard(&mut self) {
        self.since = Instant::now();
    }

    /// What is left of the time, and a moment at least.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed()).max(Duration::from_millis(1))
    }

    /// For how long nothing was heard.
    pub fn silent(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether a slice has passed since the last look.
    pub fn is_time_to_look(&self) -> bool {
        self.looked.elapsed() >= SLICE && self.silent() >= SLICE
    }

    /// Whether to wait on; asks whoever watches once a slice.
    pub fn goes_on(&mut self, error: impl FnOnce() -> String) -> bool {
        let silent = self.silent();
        if silent >= self.limit {
            return false;
        }
        if !self.is_time_to_look() {
            return true;
        }
        self.looked = Instant::now();
        self.silence.watch.as_ref().is_none_or(|watch| watch.waits_on(silent, &error()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Stop {
        asked: AtomicBool,
        looks: AtomicU32,
    }

    impl Watch for Stop {
        fn waits_on(&self, _silent: Duration, error: &str) -> bool {
            assert_eq!(error, "no answer");
            self.looks.fetch_add(1, Ordering::Relaxed);
            !self.asked.load(Ordering::Relaxed)
        }
    }

    fn gone(_: Instant) -> Result<(), SinkError> {
        thread::sleep(Duration::from_millis(200));
        Err(SinkError::new(SinkErrorKind::Unreachable, "no answer"))
    }

    #[test]
    fn a_silence_is_looked_at_once_a_slice_and_ends_at_its_limit_or_when_asked_to() {
        let mut silence = Silence::new(Duration::from_millis(2_500));
        let stop = Arc::new(Stop::default());
        silence.watched_by(stop.clone());
        let began = Instant::now();
        assert!(silence.ask(SLICE, gone).is_err());
        assert!((2_500..3_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        assert!((1..=2).contains(&stop.looks.load(Ordering::Relaxed)));
        stop.asked.store(true, Ordering::Relaxed);
        let began = Instant::now();
        assert!(silence.ask(SLICE, gone).is_err());
        assert!((1_000..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[test]
    fn an_answer_and_another_error_end_a_silence_at_once() {
        let silence = Silence::new(Duration::from_secs(60));
        assert_eq!(silence.ask(SLICE, |_| Ok(7)).unwrap(), 7);
        let denied = |_: Instant| Err::<(), _>(SinkError::new(SinkErrorKind::Denied, "no"));
        assert_eq!(silence.ask(SLICE, denied).unwrap_err().kind, SinkErrorKind::Denied);
    }
}

//! Who is asked while a call waits for brokers: whether it goes on.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How often a wait looks up.
pub const SLICE: Duration = Duration::from_secs(1);

/// Who is told of a wait for brokers while it lasts.
pub trait Watch: Send + Sync {
    /// Nothing was heard for `silent`. False ends the wait: the run was asked to stop, or has waited long enough.
    fn waits_on(&self, silent: Duration, error: &str) -> bool;

    /// Whether the run was asked to stop, so that what is only asked for the next batch need not be known.
    fn is_stopping(&self) -> bool {
        false
    }

    /// Brokers have answered for so long that what was in doubt is settled: what is waited for from now on is another wait.
    fn is_settled(&self) {}
}

/// The watch of a source's calls, from when there is one; clones share it. Without one every wait goes on.
#[derive(Clone, Default)]
pub struct Watched(Arc<OnceLock<Arc<dyn Watch>>>);

impl Watched {
    pub fn by(&self, watch: &Arc<dyn Watch>) {
        let _ = self.0.set(watch.clone());
    }

    pub fn waits_on(&self, silent: Duration, error: impl FnOnce() -> String) -> bool {
        self.0.get().is_none_or(|watch| watch.waits_on(silent, &error()))
    }

    pub fn is_stopping(&self) -> bool {
        self.0.get().is_some_and(|watch| watch.is_stopping())
    }

    pub fn is_settled(&self) {
        if let Some(watch) = self.0.get() {
            watch.is_settled();
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.0.get().is_some())
    }
}

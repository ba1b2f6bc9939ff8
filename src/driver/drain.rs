//! The request to drain: asked for once, remembered for the rest of the run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Whether the run has been asked to stop after the batch in flight. Clones know the same.
#[derive(Clone)]
pub struct Drain {
    requests: Receiver<()>,
    requested: Arc<AtomicBool>,
}

impl Drain {
    pub fn new(requests: Receiver<()>) -> Self {
        Self { requests, requested: Arc::default() }
    }

    pub fn requested(&mut self) -> bool {
        if self.requests.try_recv().is_ok() {
            self.now();
        }
        self.requested.load(Ordering::Relaxed)
    }

    /// Sleeps, unless asked to drain meanwhile (true).
    pub fn wait(&mut self, time: Duration) -> bool {
        if self.requested() {
            return true;
        }
        match self.requests.recv_timeout(time) {
            Ok(()) => self.now(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
        self.requested()
    }

    /// The channel, for waits of the clock; who takes the message calls [`Drain::now`].
    pub fn channel(&self) -> &Receiver<()> {
        &self.requests
    }

    pub fn now(&mut self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// As [`Drain::requested`], for who only looks: the message stays for the clock, which waits for it.
    pub fn is_asked(&self) -> bool {
        self.requested.load(Ordering::Relaxed) || !self.requests.is_empty()
    }
}

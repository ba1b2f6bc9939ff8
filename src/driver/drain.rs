//! The request to drain: asked for once, remembered for the rest of the run.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Whether the run has been asked to stop after the batch in flight.
pub struct Drain {
    requests: Receiver<()>,
    requested: bool,
}

impl Drain {
    pub fn new(requests: Receiver<()>) -> Self {
        Self { requests, requested: false }
    }

    pub fn requested(&mut self) -> bool {
        self.requested |= self.requests.try_recv().is_ok();
        self.requested
    }

    /// Sleeps, unless asked to drain meanwhile (true).
    pub fn wait(&mut self, time: Duration) -> bool {
        if self.requested() {
            return true;
        }
        match self.requests.recv_timeout(time) {
            Ok(()) => self.requested = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
        self.requested
    }

    /// The channel, for waits of the clock; who takes the message calls [`Drain::now`].
    pub fn channel(&self) -> &Receiver<()> {
        &self.requests
    }

    pub fn now(&mut self) {
        self.requested = true;
    }
}

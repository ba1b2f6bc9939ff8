//! Signals: the first SIGINT or SIGTERM asks for a drain, a second one ends the process at once.
//!
//! A drain commits the batch in flight and exits 0. Ending at once leaves no promise broken either: it is a crash like
//! any other, and the next start recovers from it.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag, low_level,
};

/// Exit codes of a second signal: 128 and the number of the signal, as shells have it.
const SECOND_SIGNAL: [(i32, i32); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// Installs the handlers. The message on the returned channel is the request to drain; it comes once.
///
/// Call it before the first thread that might do work is started, and only once in a process.
pub fn drain_on_signal() -> io::Result<Receiver<()>> {
    let (mut signalled, signal_pipe) = UnixStream::pair()?;
    let asked_before = Arc::new(AtomicBool::new(false));
    for (signal, exit_code) in SECOND_SIGNAL {
        // The order matters: a first signal must pass the shutdown before it raises the flag.
        flag::register_conditional_shutdown(signal, exit_code, asked_before.clone())?;
        flag::register(signal, asked_before.clone())?;
        low_level::pipe::register(signal, signal_pipe.try_clone()?)?;
    }
    let (drain, requests) = bounded(1);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut byte = [0];
        if signalled.read_exact(&mut byte).is_ok() {
            tracing::info!("stopping after the batch in flight; a second signal stops at once");
            let _ = drain.send(());
        }
        // The sender lives on: a closed channel would be no request, but a busy one.
        loop {
            thread::park();
        }
    })?;
    Ok(requests)
}

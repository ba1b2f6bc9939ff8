//! Signals: the first SIGINT or SIGTERM asks for a drain, a second one ends the process at once. SIGXFSZ ends nothing.
//!
//! A drain commits the batch in flight and exits 0. Ending at once leaves no promise broken either: it is a crash like
//! any other, and the next start recovers from it.
//!
//! SIGINT comes through `ctrlc`. It could bring SIGTERM too, but would not say which of the two it was, and would take
//! SIGHUP along: a job under `nohup` must not end with its terminal. So SIGTERM has a pipe of its own, and SIGHUP is left
//! as the process found it.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::{
    consts::{SIGTERM, SIGXFSZ},
    flag, low_level,
};

/// Exit codes of a second signal: 128 and the number of the signal, as shells have it.
const SECOND_INTERRUPT: i32 = 130;
const SECOND_TERMINATION: i32 = 143;

/// Lets a write that would make a file larger than the process may (`ulimit -f`) fail, as one on a full disk does.
///
/// A handler and not a signal that is ignored: commands that a job starts would inherit that.
pub fn outgrown_files_fail() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Installs the handlers. The message on the returned channel is the request to drain; it comes once.
///
/// Call it before the first thread that might do work is started, and only once in a process.
pub fn drain_on_signal() -> io::Result<Receiver<()>> {
    let (drain, requests) = bounded(1);
    let signals = Arc::new(Signals { asked_before: AtomicBool::new(false), drain });

    let (mut terminated, signal_pipe) = UnixStream::pair()?;
    low_level::pipe::register(SIGTERM, signal_pipe)?;
    let terminations = signals.clone();
    thread::Builder::new().name("sigterm".to_owned()).spawn(move || {
        let mut byte = [0];
        while terminated.read_exact(&mut byte).is_ok() {
            terminations.arrived(SECOND_TERMINATION);
        }
    })?;

    ctrlc::set_handler(move || signals.arrived(SECOND_INTERRUPT)).map_err(io::Error::other)?;
    Ok(requests)
}

/// What both kinds of signals share. It lives as long as the process: a channel without sender would be no request, but
/// a busy one.
struct Signals {
    asked_before: AtomicBool,
    drain: Sender<()>,
}

impl Signals {
    fn arrived(&self, exit_code: i32) {
        if self.asked_before.swap(true, Ordering::AcqRel) {
            // Without exit handlers: other threads are still at work.
            low_level::exit(exit_code);
        }
        tracing::info!("stopping after the batch in flight; a second signal stops at once");
        let _ = self.drain.send(());
    }
}

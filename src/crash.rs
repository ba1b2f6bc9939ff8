//! Points at which tests take the process down, to see what a start after it makes of what is left.
//!
//! Without the feature `crash-points`, so in every release, a point is nothing. With it, `KSTREAM_CRASH_AT=NAME` (or
//! `NAME#3`: the third time it is reached) aborts the process there: no destructor runs, nothing is flushed. The name goes
//! to the file `KSTREAM_CRASH_REPORT` first, so that a test can tell a point that was reached from one that was not. With
//! `KSTREAM_CRASH_HOLD=SECONDS` the process stands still there for so long and then goes on.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash points are for tests and never part of a release");

/// Every point, in the order of a batch's life. A test holds the list to the places in the sources.
pub const POINTS: &[&str] = &[
    "journal: tried",
    "journal: rolled back",
    "journal: switched",
    "create: begun",
    "create: filled",
    "create: written aside",
    "create: renamed",
    "start: opened",
    "start: log emptied",
    "start: marked",
    "start: run begun",
    "recover: decided",
    "recover: done",
    "plan: decided",
    "plan: written",
    "plan: logged",
    "execute: begun",
    "execute: done",
    "stage: one output",
    "stage: done",
    "publish: asked",
    "publish: one output",
    "publish: done",
    "log: before rotation",
    "log: rotated",
    "log: written",
    "log: synced",
    "files: one written",
    "files: aside",
    "files: old aside",
    "files: renamed",
    "kafka: begun",
    "kafka: written",
    "kafka: offset sent",
    "kafka: committed",
    "commit: facts written",
    "commit: snapshot written",
    "commit: plan written",
    "commit: logged",
    "commit: one sink told",
    "purge: written",
    "purge: done",
    "rewind: written",
    "rewind: logged",
    "rewind: one sink",
    "rewind: finished",
];

/// The process may end here.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "crash-points")]
    armed::reached(name);
    #[cfg(not(feature = "crash-points"))]
    let _ = name;
}

#[cfg(feature = "crash-points")]
mod armed {
    //! The one point that this process was told to end at.

    use std::{
        env,
        fs::OpenOptions,
        io::Write,
        process,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    struct Target {
        name: String,
        /// Times it must still be reached.
        left: AtomicU64,
    }

    fn target() -> Option<&'static Target> {
        static TARGET: OnceLock<Option<Target>> = OnceLock::new();
        let read = || {
            let wanted = env::var("KSTREAM_CRASH_AT").ok()?;
            let (name, time) = match wanted.split_once('#') {
                Some((name, time)) => (name.to_owned(), time.parse().ok()?),
                None => (wanted, 1),
            };
            Some(Target { name, left: AtomicU64::new(time) })
        };
        TARGET.get_or_init(read).as_ref()
    }

    pub fn reached(name: &'static str) {
        let Some(target) = target().filter(|target| target.name == name) else { return };
        if target.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if let Some(report) = env::var_os("KSTREAM_CRASH_REPORT") {
            let file = OpenOptions::new().create(true).append(true).open(report);
            let _ = file.and_then(|mut file| writeln!(file, "{name}"));
        }
        match env::var("KSTREAM_CRASH_HOLD").ok().and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => thread::sleep(Duration::from_secs(seconds)),
            None => process::abort(),
        }
    }
}

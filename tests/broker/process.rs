//! Broker processes: the shared one of a bare `cargo test`, and those that a test has to itself.

use std::{
    collections::HashMap,
    ops::Deref,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
    sync::{Mutex, PoisonError},
};

use super::{Broker, unique_name};

/// `scripts/kafka/up` says with this code that Java or Maven is missing.
const EXIT_MISSING: i32 = 3;

/// A broker of one test's own; stopped and removed on drop.
#[derive(Debug)]
pub struct OwnBroker {
    broker: Broker,
    dir: PathBuf,
    _guard: Guard,
}

impl OwnBroker {
    pub(super) fn start() -> Option<OwnBroker> {
        let dir = run_dir(&unique_name("own"));
        let broker = up(&dir, None)?;
        Some(OwnBroker { broker, _guard: Guard::new(&dir), dir })
    }

    /// A second broker of the same cluster, without a controller; to be dropped before the first.
    pub fn second(&self) -> OwnBroker {
        let dir = run_dir(&unique_name("second"));
        let broker = up(&dir, Some(&self.dir)).expect("the first one started");
        OwnBroker { broker, _guard: Guard::new(&dir), dir }
    }

    /// Stops it in good order; data and address stay.
    pub fn stop(&mut self) {
        script("down", &["--keep"], &self.dir);
    }

    /// Stops it as a power cut would; data and address stay.
    pub fn kill(&mut self) {
        script("down", &["--keep", "--kill"], &self.dir);
    }

    /// Cuts the only segment of a partition to half its bytes, as a power cut may; while the broker is down.
    pub fn halve_log(&self, topic: &str, partition: i32) {
        let segment = self.dir.join("data").join(format!("{topic}-{partition}")).join("00000000000000000000.log");
        let file = std::fs::OpenOptions::new().write(true).open(&segment).expect("a segment");
        let len = file.metadata().expect("its length").len();
        file.set_len(len / 2).expect("a shorter segment");
    }

    /// Starts it after [`OwnBroker::stop`] or [`OwnBroker::kill`].
    pub fn start_again(&mut self) {
        up(&self.dir, None).expect("it started before");
    }
}

impl Deref for OwnBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

/// The shared broker of a test process that was given none; `None` where Java or Maven is missing.
pub(super) fn start_for_this_process() -> Option<Broker> {
    // Held until the process ends, however it ends.
    static GUARD: Mutex<Option<Guard>> = Mutex::new(None);
    let dir = run_dir(&format!("shared-{}", id()));
    let broker = up(&dir, None)?;
    *GUARD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Guard::new(&dir));
    Some(broker)
}

/// Takes a broker down when dropped, or when this process is gone: a shell waits for the end of its standard input, which
/// the system closes even after a kill.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn new(dir: &Path) -> Guard {
        let child = Command::new("sh")
            .args(["-c", "cat >/dev/null; exec \"$0\" --dir \"$1\""])
            .arg(script_path("down"))
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Guard(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn up(dir: &Path, join: Option<&Path>) -> Option<Broker> {
    let join = join.map(|other| [Path::new("--join"), other]);
    let output = Command::new(script_path("up"))
        .arg("--dir")
        .arg(dir)
        .args(join.iter().flatten())
        .output()
        .expect("scripts/kafka/up");
    if output.status.code() == Some(EXIT_MISSING) {
        return None;
    }
    assert!(output.status.success(), "scripts/kafka/up failed: {}", String::from_utf8_lossy(&output.stderr));
    let settings = String::from_utf8(output.stdout).expect("text");
    let settings: HashMap<&str, &str> = settings.lines().filter_map(|line| line.split_once('=')).collect();
    Some(Broker::from_settings(|name| settings.get(name).copied().unwrap_or_default().to_owned()))
}

fn script(name: &str, arguments: &[&str], dir: &Path) {
    let status = Command::new(script_path(name)).args(arguments).arg("--dir").arg(dir).status().expect("script");
    assert!(status.success(), "scripts/kafka/{name} failed");
}

fn script_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka").join(name)
}

fn run_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka").join(name)
}

//! Signals, in a process of their own: this test binary starts itself again as the process that is signalled.

use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use kstream::driver::signal::drain_on_signal;

const CHILD: &str = "KSTREAM_TEST_SIGNAL_CHILD";

/// The signalled process; does nothing when it is run as a test.
#[test]
fn child_of_the_signal_tests() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let requests = drain_on_signal().unwrap();
    println!("ready");
    requests.recv().unwrap();
    println!("drain");
    // Longer than any test waits: only a second signal ends this process in time.
    thread::sleep(Duration::from_secs(60));
}

struct Signalled {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Signalled {
    fn start() -> Signalled {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["signal::child_of_the_signal_tests", "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut signalled = Signalled { child, lines };
        signalled.wait_for("ready");
        signalled
    }

    fn wait_for(&mut self, word: &str) {
        assert!(self.lines.by_ref().any(|line| line.unwrap().ends_with(word)), "the child never said {word}");
    }

    fn send(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Signalled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_first_signal_asks_for_a_drain_and_a_second_one_exits_with_its_code() {
    for (first, second, code) in [("-INT", "-INT", 130), ("-TERM", "-TERM", 143), ("-INT", "-TERM", 143)] {
        let mut signalled = Signalled::start();
        signalled.send(first);
        signalled.wait_for("drain");
        assert!(signalled.child.try_wait().unwrap().is_none(), "one signal ends nothing");
        signalled.send(second);
        assert_eq!(signalled.child.wait().unwrap().code(), Some(code), "{first} {second}");
    }
}

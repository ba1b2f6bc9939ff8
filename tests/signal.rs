//! Signals, in a process of their own: this test binary starts itself again as the process that is signalled.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
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
        Signalled::spawn(Command::new(env::current_exe().unwrap()))
    }

    /// A child that finds `signal` ignored, as under `nohup` or in the background of a script.
    fn start_ignoring(signal: &str) -> Signalled {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' \"$0\"; exec \"$@\"", signal]).arg(env::current_exe().unwrap());
        Signalled::spawn(shell)
    }

    fn spawn(mut command: Command) -> Signalled {
        let mut child = command
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
    for (first, second, code) in
        [("-INT", "-INT", 130), ("-TERM", "-TERM", 143), ("-INT", "-TERM", 143), ("-TERM", "-INT", 130)]
    {
        let mut signalled = Signalled::start();
        signalled.send(first);
        signalled.wait_for("drain");
        assert!(signalled.child.try_wait().unwrap().is_none(), "one signal ends nothing");
        signalled.send(second);
        assert_eq!(signalled.child.wait().unwrap().code(), Some(code), "{first} {second}");
    }
}

/// Whether this process was started as under `nohup`; where the system does not say it, it was not.
fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[test]
fn a_hangup_ends_the_process_unless_it_was_started_to_outlive_its_terminal() {
    // Tests that are themselves run to outlive their terminal pass that on.
    if !ignores_hangups() {
        let mut plain = Signalled::start();
        plain.send("-HUP");
        assert_eq!(plain.child.wait().unwrap().signal(), Some(1), "as any process that has no handler for it");
    }

    let mut outliving = Signalled::start_ignoring("HUP");
    outliving.send("-HUP");
    // Had the hangup asked for a drain, this signal were the second.
    outliving.send("-TERM");
    outliving.wait_for("drain");
    outliving.send("-HUP");
    thread::sleep(Duration::from_millis(50));
    assert!(outliving.child.try_wait().unwrap().is_none());
}

#[test]
fn an_interrupt_is_heard_in_the_background_of_a_script() {
    let mut signalled = Signalled::start_ignoring("INT");
    signalled.send("-INT");
    signalled.wait_for("drain");
}

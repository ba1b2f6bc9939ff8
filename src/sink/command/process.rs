//! One process from start to end: fed, listened to and timed at once, so that no full pipe can stop it.
//!
//! It leads a process group of its own. So a Ctrl-C at our terminal does not reach it in the middle of a batch, and at
//! the time limit all that it has started is killed with it.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How often a process that says nothing is asked whether it has ended.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// How long the pipes of an ended process may stay open: something it left in the background may hold them for ever.
const GRACE: Duration = Duration::from_secs(1);

/// A longer line is cut: it is for people.
const LONGEST_LINE: u64 = 8 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is no such program")]
    Absent,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How a process ended.
#[derive(Debug)]
pub struct Finished {
    /// None: it could not be waited for.
    pub status: Option<ExitStatus>,
    pub timed_out: bool,
    /// The last lines of its stderr.
    pub last_lines: Vec<String>,
}

enum Heard {
    Line(&'static str, String),
    /// A pipe of the process was closed.
    Closed,
}

/// A process under way. Its group is killed when this is dropped before its end.
pub struct Process {
    child: Child,
    ended: bool,
    heard: Receiver<Heard>,
    open_pipes: usize,
}

impl Process {
    /// Starts `run` and feeds it `input`.
    pub fn start(run: &[String], environment: &[(&str, String)], input: Arc<Vec<u8>>) -> Result<Process, StartError> {
        let (program, arguments) = run.split_first().ok_or(StartError::Absent)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value))).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StartError::Absent,
            _ => StartError::Io(error),
        })?;
        let (sender, heard) = unbounded();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // From here on a failure kills what was started.
        let mut process = Process { child, ended: false, heard, open_pipes: 0 };
        if let Some(mut pipe) = stdin {
            // Whoever closes stdin early has read enough: its exit code says what that meant.
            process.attend(sender.clone(), move |_| drop(pipe.write_all(&input)))?;
        }
        if let Some(pipe) = stdout {
            process.attend(sender.clone(), move |sender| listen("stdout", pipe, sender))?;
        }
        if let Some(pipe) = stderr {
            process.attend(sender, move |sender| listen("stderr", pipe, sender))?;
        }
        Ok(process)
    }

    /// A thread for one pipe. It is never joined: a pipe that a background process holds may outlive the batch.
    fn attend(&mut self, sender: Sender<Heard>, work: impl FnOnce(&Sender<Heard>) + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            work(&sender);
            // Nobody listens any more where the batch is over.
            let _ = sender.send(Heard::Closed);
        })?;
        self.open_pipes += 1;
        Ok(())
    }

    /// Waits for the end, not longer than `limit`, and hands each line to `tell`.
    pub fn finish(mut self, limit: Duration, keep: usize, mut tell: impl FnMut(&'static str, &str)) -> Finished {
        let begun = Instant::now();
        let mut finished = Finished { status: None, timed_out: false, last_lines: Vec::new() };
        let mut last = VecDeque::with_capacity(keep);
        let mut ended_at: Option<Instant> = None;
        while ended_at.is_none_or(|at| self.open_pipes > 0 && at.elapsed() < GRACE) {
            match self.heard.recv_timeout(ASK_EVERY) {
                Ok(Heard::Line(stream, line)) => {
                    tell(stream, &line);
                    if stream == "stderr" {
                        last.push_back(line);
                        if last.len() > keep {
                            last.pop_front();
                        }
                    }
                }
                Ok(Heard::Closed) => self.open_pipes = self.open_pipes.saturating_sub(1),
                // All pipes closed: the receive returns at once, and only the end of the process is awaited.
                Err(_) if self.open_pipes == 0 => thread::sleep(ASK_EVERY),
                Err(_) => {}
            }
            if ended_at.is_some() {
                continue;
            }
            match self.child.try_wait() {
                Ok(None) if begun.elapsed() < limit => continue,
                Ok(None) => {
                    finished.timed_out = true;
                    finished.status = self.kill();
                }
                Ok(status) => finished.status = status,
                Err(_) => finished.status = self.kill(),
            }
            self.ended = true;
            ended_at = Some(Instant::now());
        }
        finished.last_lines = last.into();
        finished
    }

    /// Kills the whole group, which exists as long as its leader was not waited for.
    fn kill(&mut self) -> Option<ExitStatus> {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        self.child.wait().ok().filter(|status| status.code().is_some() || status.signal().is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// Line by line until the pipe closes; bytes that are no UTF-8 are replaced.
fn listen(stream: &'static str, pipe: impl Read, sender: &Sender<Heard>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        if sender.send(Heard::Line(stream, text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
            // Reads on all the same: the writer must not meet a closed pipe.
            let _ = io::copy(&mut pipe, &mut io::sink());
            return;
        }
        line.clear();
    }
}

//! A process a batch (Spark's foreachRDD): its elements on stdin as JSON lines, at least once.
//!
//! The environment names the batch, so that a program can drop the repeat of the batch in flight: `KSTREAM_BATCH_ID`,
//! `KSTREAM_BATCH_TIME` (milliseconds since the epoch) and `KSTREAM_JOB`. Exit 0 is success, whatever was read of stdin;
//! anything else fails the batch, which is tried again. What the program prints goes to the log line by line: stdout is
//! for the job's own data. It runs in a process group of its own, so that Ctrl-C at the terminal does not reach it, and the
//! whole group ends with it, at the latest at the time limit.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{
    Content, Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, line::put_line,
};
use crate::{job::FileFormat, model::BatchIdentity};

/// Lines of stderr that an error shows.
const LAST_LINES: usize = 5;
/// Bytes of a printed line that the log shows.
const LINE_BYTES: u64 = 4096;
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Runs a program with each batch.
#[derive(Debug)]
pub struct CommandSink {
    name: String,
    job: String,
    /// Program and arguments; never empty.
    run: Vec<String>,
    timeout: Duration,
    staged: Vec<u8>,
}

impl CommandSink {
    pub fn new(name: impl Into<String>, job: impl Into<String>, run: Vec<String>, timeout: Duration) -> Self {
        Self { name: name.into(), job: job.into(), run, timeout, staged: Vec::new() }
    }

    fn start(&self, batch: &BatchIdentity) -> Result<Child, SinkError> {
        let (program, arguments) = self.run.split_first().ok_or_else(|| self.failed("no program is named"))?;
        let spawned = Command::new(program)
            .args(arguments)
            .env("KSTREAM_BATCH_ID", batch.batch.to_string())
            .env("KSTREAM_BATCH_TIME", batch.time.0.to_string())
            .env("KSTREAM_JOB", &self.job)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        spawned.map_err(|error| SinkError {
            detail: Some(format!("{error}.")),
            hint: (error.kind() == ErrorKind::NotFound)
                .then(|| "Check the program's name; a list is no shell line.".to_owned()),
            ..self.failed(&format!("cannot start {program}"))
        })
    }

    fn failed(&self, what: &str) -> SinkError {
        SinkError::new(SinkErrorKind::Failed, format!("command {:?}: {what}", self.run.join(" ")))
    }

    /// Feeds, listens and waits. The end of the process, and the last lines of its stderr.
    fn attend(&self, child: &mut Child) -> Result<(ExitStatus, VecDeque<String>), SinkError> {
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(self.failed("it has no streams"));
        };
        thread::scope(|scope| {
            let fed = scope.spawn(move || stdin.write_all(&self.staged));
            let said = scope.spawn(|| drop(listen(&self.name, "stdout", stdout)));
            let complained = scope.spawn(|| listen(&self.name, "stderr", stderr));
            let ended = self.wait(child);
            // Whoever of the group is left holds the pipes open.
            let _ = killpg(group(child), Signal::SIGKILL);
            let fed = fed.join().unwrap_or(Ok(()));
            let _ = said.join();
            let last = complained.join().unwrap_or_default();
            let status = ended?;
            match fed {
                // It need not read everything.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    Err(self.failed(&format!("cannot write to its stdin: {error}")))
                }
                _ => Ok((status, last)),
            }
        })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, SinkError> {
        let began = Instant::now();
        let mut look = FIRST_LOOK;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| self.failed(&format!("cannot wait: {error}")))? {
                return Ok(status);
            }
            if began.elapsed() >= self.timeout {
                let _ = killpg(group(child), Signal::SIGKILL);
                let _ = child.wait();
                let limit = format!("it has run for {} ms, its limit, and was killed", self.timeout.as_millis());
                let error = SinkError { kind: SinkErrorKind::Transient, ..self.failed(&limit) };
                return Err(error.with("The batch is not committed.", "Raise the command's `timeout`."));
            }
            thread::sleep(look);
            look = (look * 2).min(LAST_LOOK);
        }
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Every line to the log; gives the last ones.
fn listen(output: &str, stream: &str, from: impl Read) -> VecDeque<String> {
    let (mut from, mut last) = (BufReader::new(from), VecDeque::new());
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::info!(output, stream, "{line}");
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
}

impl Sink for CommandSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        0
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, _batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        let Content::Elements(elements) = output.content else { return Err(self.failed("it was given no elements")) };
        self.staged.clear();
        for element in &elements {
            put_line(&mut self.staged, element, FileFormat::Json).map_err(|error| {
                self.failed(&format!("an element cannot be handed over: {error}"))
                    .with("Elements go to the program as JSON.", "Add a `map` that makes text of it.")
            })?;
        }
        Ok(())
    }

    fn published(&mut self, _batch: &BatchIdentity) -> Result<Published, SinkError> {
        Ok(Published::Unknown)
    }

    fn holds(&mut self, _batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(Holds::Unknown)
    }

    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError> {
        let mut child = self.start(permit.identity())?;
        let (status, last) = self.attend(&mut child)?;
        if status.success() {
            self.staged.clear();
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it did not end well".to_owned(),
        };
        let said = last.into_iter().collect::<Vec<_>>().join(" / ");
        let detail = if said.is_empty() { "It said nothing on stderr.".to_owned() } else { format!("It said: {said}") };
        Err(SinkError { kind: SinkErrorKind::Transient, detail: Some(detail), ..self.failed(&how) })
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        self.staged.clear();
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Value,
        sink::log::tests_support::{identity, output},
    };

    /// Runs `line` by the shell with one batch. What went wrong, if anything.
    fn run(line: &str, elements: Vec<Value>, timeout_ms: u64) -> Result<(), SinkError> {
        let words = ["sh", "-c", line].map(str::to_owned).to_vec();
        let mut sink = CommandSink::new("output", "job", words, Duration::from_millis(timeout_ms));
        sink.stage(&identity(7), output(Content::Elements(elements)))?;
        assert_eq!(sink.published(&identity(7)).unwrap(), Published::Unknown);
        sink.publish(&PublishPermit::for_test(identity(7)))
    }

    #[test]
    fn elements_come_as_json_lines_with_the_batch_in_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got");
        let line =
            format!("{{ cat; echo $KSTREAM_BATCH_ID $KSTREAM_BATCH_TIME $KSTREAM_JOB; }} > '{}'", path.display());
        run(&line, vec![Value::pair(Value::str("a"), Value::Int(1)), Value::None], 10_000).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[\"a\", 1]\nnull\n7 8000 job\n");
        run(&line, Vec::new(), 10_000).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7 8000 job\n");
    }

    #[test]
    fn a_batch_larger_than_a_pipe_goes_through_whoever_reads_or_prints() {
        let many: Vec<Value> = (0..50_000).map(|at| Value::str(format!("line {at}"))).collect();
        run("cat; cat >&2 </dev/null", many.clone(), 30_000).unwrap();
        run("cat >&2", many.clone(), 30_000).unwrap();
        run("exit 0", many, 30_000).unwrap();
    }

    #[test]
    fn failures_name_what_happened() {
        let check = |line: &str, timeout_ms, kind, words: &[&str]| {
            let error = run(line, vec![Value::Int(1)], timeout_ms).unwrap_err();
            let text = format!("{error} {:?}", error.detail);
            assert_eq!(error.kind, kind, "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        check("echo bad news >&2; exit 3", 10_000, SinkErrorKind::Transient, &["exit code 3", "bad news"]);
        check("kill -9 $$", 10_000, SinkErrorKind::Transient, &["signal 9", "nothing on stderr"]);
        check("sleep 60", 100, SinkErrorKind::Transient, &["100 ms", "killed"]);
        check("sleep 60 & sleep 60", 100, SinkErrorKind::Transient, &["killed"]);
        let mut sink = CommandSink::new("output", "job", vec!["/no/such/program".into()], Duration::from_secs(1));
        sink.stage(&identity(0), output(Content::Elements(Vec::new()))).unwrap();
        let error = sink.publish(&PublishPermit::for_test(identity(0))).unwrap_err();
        assert_eq!(error.kind, SinkErrorKind::Failed);
        assert!(error.message.contains("cannot start /no/such/program"), "{error}");
        let error = run("cat", vec![Value::Bytes(b"x".as_slice().into())], 1_000).unwrap_err();
        assert!(error.message.contains("no JSON form"), "{error}");
    }

    #[test]
    fn what_a_program_leaves_running_ends_with_it() {
        let began = Instant::now();
        run("sleep 60 & exit 0", Vec::new(), 30_000).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

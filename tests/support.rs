//! Whole jobs on the real binary: a directory for each test, processes that end with it, and what a ledger says.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The manual clock of every test that fixes its batch times.
pub const START_MS: &str = "1700000000000";

/// Longest wait for anything; reached only by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Counts of words into `out.log`.
pub const COUNTED: &str = r#"
[[steps]]
flat_map = 'lambda record: record.value.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
name = "log"
pprint = { num = 100_000, to = "out.log" }
"#;

/// A job that reads one topic of a Kafka: `keys` are more keys of its source, and its steps come after it.
pub fn of_kafka(name: &str, interval: &str, (brokers, topic): (&str, &str), keys: &str, steps: &str) -> String {
    format!(
        r#"
name = "{name}"
batch_interval = "{interval}"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "{brokers}"
topics = ["{topic}"]
{keys}
{steps}
"#
    )
}

/// A working directory of one test, with a job file `job.toml` in it.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn with_job(text: &str) -> Place {
        let place = Place { dir: tempfile::tempdir().expect("temporary directory") };
        place.write("job.toml", text);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("write");
    }

    /// The text of a file; empty where there is none yet.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap_or_default()).expect("text")
    }

    /// Every file of a directory with its bytes, but the shared memory of the database, which is no part of a checkpoint.
    pub fn files(&self, dir: &str) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path(dir)).expect("directory").map(|entry| entry.expect("entry"));
        let mut files: Vec<_> = entries
            .filter(|entry| entry.file_type().expect("type").is_file())
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("read")))
            .filter(|(name, _)| !name.ends_with("-shm"))
            .collect();
        files.sort();
        files
    }

    /// `kstream ARGS`, with the words of `args` split at spaces, in this directory and in a clean environment.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kstream"));
        command.args(args.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["KSTREAM_BROKERS", "KSTREAM_LOG", "KSTREAM_CHUNK_RECORDS", "KSTREAM_LAMBDAS"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs to the end.
    pub fn kstream(&self, args: &str) -> Ended {
        self.start(args).wait()
    }

    /// A bounded run with fixed batch times, which must succeed.
    pub fn catch_up(&self) -> Ended {
        self.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}")).expect(0)
    }

    /// Starts a process; its stdout and stderr go to files.
    pub fn start(&self, args: &str) -> Running {
        self.spawn(self.command(args))
    }

    pub fn spawn(&self, mut command: Command) -> Running {
        let out = tempfile::NamedTempFile::new_in(self.dir.path()).expect("file").into_temp_path();
        let err = tempfile::NamedTempFile::new_in(self.dir.path()).expect("file").into_temp_path();
        command.stdout(File::create(&out).expect("file")).stderr(File::create(&err).expect("file"));
        let child = command.spawn().expect("kstream");
        Running { child, out: Some(out), err: Some(err), what: format!("{command:?}") }
    }

    /// Starts `args` and kills it, `times` times: each once `out.log` has grown by up to `bytes`, and up to `micros` later.
    /// Tells how many of the kills met a process that was alive.
    pub fn kill_as_it_writes(&self, args: &str, times: usize, bytes: u64, micros: u64) -> usize {
        let mut random = Random::seeded();
        let mut met = 0;
        for _ in 0..times {
            let enough = self.read("out.log").len() + random.below(bytes) as usize;
            let mut running = self.start(args);
            wait_until("more log", || self.read("out.log").len() > enough || !running.is_running());
            thread::sleep(Duration::from_micros(random.below(micros)));
            met += usize::from(running.kill());
        }
        met
    }

    /// The ledger, a JSON object a batch.
    pub fn ledger(&self) -> Vec<serde_json::Value> {
        let listed = self.kstream("batches job.toml -o json").expect(0);
        listed.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// A process under way; killed when dropped.
pub struct Running {
    child: Child,
    out: Option<tempfile::TempPath>,
    err: Option<tempfile::TempPath>,
    what: String,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill").success());
    }

    /// Kills it as a power cut would; whether it was still running.
    pub fn kill(mut self) -> bool {
        let alive = self.child.try_wait().expect("wait").is_none();
        let _ = self.child.kill();
        let _ = self.child.wait();
        alive
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// What it has written to stderr so far.
    pub fn err(&self) -> String {
        self.err.as_ref().map(|path| fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
    }

    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "{} does not end\n{}", self.what, self.err());
            thread::sleep(Duration::from_millis(5));
        }
        let code = self.child.wait().expect("wait").code();
        let text = |path: Option<tempfile::TempPath>| {
            path.map(|path| String::from_utf8(fs::read(path).expect("read")).expect("text")).unwrap_or_default()
        };
        Ended { code, out: text(self.out.take()), err: text(self.err.take()), what: self.what.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub what: String,
}

impl Ended {
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{}\n{}", self.what, self.err);
        self
    }

    /// Whether stderr holds every one of these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(self.err.contains(word), "{} does not say {word:?}:\n{}", self.what, self.err);
        }
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
            what: "kstream".to_owned(),
        }
    }
}

/// Waits until `done`, and fails with `what` where that takes too long.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Random numbers of a seed that a failing test names.
pub struct Random(u64);

impl Random {
    /// A seed of its own at each run, printed for the case of a failure; `KSTREAM_TEST_SEED` repeats one.
    pub fn seeded() -> Random {
        let given = std::env::var("KSTREAM_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(0)
        });
        eprintln!("KSTREAM_TEST_SEED={seed}");
        Random(seed)
    }

    /// The numbers of one seed.
    pub fn of(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One block of a pprint log: its time line and its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub time: String,
    pub lines: Vec<String>,
}

/// The blocks of a log. The log must be made of nothing else.
pub fn blocks(log: &str) -> Vec<Block> {
    let rule = "-".repeat(43);
    let mut lines = log.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        assert_eq!(line, rule, "a block begins with a rule");
        let time = lines.next().expect("a time line").strip_prefix("Time: ").expect("a time").to_owned();
        assert_eq!(lines.next(), Some(rule.as_str()), "a rule after the time");
        let elements = lines.by_ref().take_while(|line| !line.is_empty()).map(str::to_owned).collect();
        blocks.push(Block { time, lines: elements });
    }
    blocks
}

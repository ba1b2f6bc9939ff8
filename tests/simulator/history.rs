//! One history: a seed, a job, some processes that die or drain, a calm last one, and what is left.

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kstream::{
    checkpoint::{Archive, CheckpointError, LedgerRow},
    driver::{
        Class, DriverError,
        edges::Edges,
        inputs::Positions,
        options::{RunOptions, Until},
        run_between,
        sources::Opened,
    },
    job::{self, Job, OnError, Step},
    model::BatchId,
    sink::{
        Sink, SinkError,
        log::{Append, LogSink},
        text_files::{Naming, TextFilesSink},
    },
    telemetry::Bars,
};
use rusqlite::Connection;

use super::{
    super::support::Random,
    clock::SimClock,
    disk::{Platter, SimDisk},
    faults::{Crash, Fault, Faults},
    oracle::{Case, Row, judge},
    remains::{log_blocks, log_of, logged, saved},
    sink::{Delivery, FaultySink, Inner, MemorySink},
    source::SimSource,
    topic::Topic,
};

/// A bug of the engine as its edges would show it; the oracle must find each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    SinkForgetsWhatItPublished,
    SinkClaimsWhatItHasNot,
    RangeEndsOneEarly,
    RangeBeginsOneLate,
    FilesAreNotSynced,
    DirectoriesAreNotSynced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was read.
    CaughtUp,
    /// Offsets were gone, and the job does not skip that, or cannot any more.
    DataLoss,
}

#[derive(Debug)]
pub struct History {
    pub seed: u64,
    pub ended: Ended,
    pub batches: u64,
    pub met: BTreeMap<Fault, u64>,
    pub events: Vec<String>,
    pub violations: Vec<String>,
}

/// All that outlives a process.
pub struct World {
    faults: Mutex<Faults>,
    topic: Mutex<Topic>,
    /// Topics of the same name that were deleted.
    past: Mutex<Vec<Topic>>,
    delivered: Mutex<Vec<Delivery>>,
    /// Every row of the ledger that was ever seen, also those that were purged since.
    seen: Mutex<BTreeMap<u64, Row>>,
    violations: Mutex<Vec<String>>,
    pub dir: PathBuf,
    /// Where the log and the directories are; the checkpoint is on a real disk.
    pub platter: Platter,
    skips_losses: bool,
    /// Whether an output cannot say what it has published: then a batch that an earlier process planned keeps its plan.
    console: bool,
    pub planted: Planted,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A crash unwinds through everything, and poisons what it held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub fn topic(&self) -> MutexGuard<'_, Topic> {
        lock(&self.topic)
    }

    pub fn delivered(&self) -> MutexGuard<'_, Vec<Delivery>> {
        lock(&self.delivered)
    }

    fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    pub fn more_records(&self) {
        let mut faults = self.faults();
        if !faults.is_calm() {
            let appended = self.topic().append(faults.random(), 12);
            faults.note(format!("{appended} offsets more"));
        }
    }

    /// Takes the oldest offsets of a partition, now and then.
    pub fn retention(&self, fault: Fault) {
        let mut faults = self.faults();
        if !faults.strikes(fault, if self.skips_losses { 25 } else { 250 }) {
            return;
        }
        let mut topic = self.topic();
        let partition = faults.random().below(topic.partitions.len() as u64) as usize;
        let log = &mut topic.partitions[partition];
        let taken = 1 + faults.random().below(30) as i64;
        log.earliest = (log.earliest + taken).min(log.end());
        faults.note(format!("partition {partition} begins at {}", log.earliest));
    }

    /// Deletes the topic and makes it anew.
    pub fn recreate(&self) {
        let mut faults = self.faults();
        if !faults.strikes(Fault::Recreated, 500) {
            return;
        }
        let mut topic = self.topic();
        let mut new =
            Topic { id: topic.id + 1, partitions: topic.partitions.iter().map(|_| Default::default()).collect() };
        new.append(faults.random(), 30);
        lock(&self.past).push(std::mem::replace(&mut *topic, new));
    }

    /// From now on, writing a row of `table` fails; until the next process starts.
    pub fn store_fails(&self, table: &str, fault: Fault, odds: u64) {
        let path = self.checkpoint().join("checkpoint.db");
        if path.exists() && self.faults().strikes(fault, odds) {
            let conn = Connection::open(path).expect("database");
            let sql = format!(
                "CREATE TRIGGER IF NOT EXISTS broken_{table} BEFORE INSERT ON {table}
                 BEGIN SELECT RAISE(ABORT, 'injected: the disk fails'); END"
            );
            conn.execute_batch(&sql).expect("trigger");
        }
    }

    fn mend_the_store(&self) {
        let path = self.checkpoint().join("checkpoint.db");
        if path.exists() {
            let conn = Connection::open(path).expect("database");
            // Our connection would otherwise tidy the log away when it closes.
            let _ = conn.file_control(rusqlite::MAIN_DB.into(), rusqlite::FileControl::PersistWal(&mut 1));
            conn.execute_batch("DROP TRIGGER IF EXISTS broken_plans; DROP TRIGGER IF EXISTS broken_commits")
                .expect("triggers");
        }
    }

    pub fn violates(&self, what: String) {
        lock(&self.violations).push(what);
    }

    /// Reads the ledger as it is now. What is committed never changes.
    pub fn remember_ledger(&self) {
        // While the store is broken its schema is not ours, and it would be refused.
        self.mend_the_store();
        let read = || {
            let archive = Archive::open(&self.checkpoint())?;
            let kept = archive.kept()?;
            let (first, last) = kept.map_or((BatchId::FIRST, BatchId::FIRST), |(first, last)| (first, last.next()));
            archive.ledger(first..=last)
        };
        let rows = match read() {
            Ok(rows) => rows,
            Err(CheckpointError::Absent { .. }) => return,
            Err(error) => return self.violates(format!("the checkpoint cannot be read: {error:?}")),
        };
        let mut seen = lock(&self.seen);
        for LedgerRow { plan, commit } in rows {
            let id = plan.batch;
            let row = Row { plan, committed: commit.is_some() };
            if let Some(before) = seen.get(&id.0)
                && before.committed
                && *before != row
            {
                self.violates(format!("batch {id} has changed after its commit"));
            }
            seen.insert(id.0, row);
        }
    }
}

struct SimEdges(Arc<World>);

impl Edges for SimEdges {
    fn sources(&self, _job: &Job, _positions: &Positions) -> Result<Opened, DriverError> {
        Ok(Opened { sources: vec![Box::new(SimSource::new(self.0.clone()))], brokers: Vec::new() })
    }

    fn sink(&self, job: &Job, step: &Step) -> Result<Box<dyn Sink>, SinkError> {
        let inner = match &*step.id {
            "log" => {
                let disk = Arc::new(SimDisk::new(self.0.clone()));
                let path = self.0.dir.join("out.log");
                Inner::Real(Box::new(LogSink::new("log", path, None, Append::No, job.time_zone.clone(), disk)))
            }
            "files" => {
                let disk = Arc::new(SimDisk::new(self.0.clone()));
                let prefix = self.0.dir.join("saved/x").display().to_string();
                let naming = Naming::Prefix { prefix, suffix: None };
                Inner::Real(Box::new(TextFilesSink::new("files", naming, disk)))
            }
            name => Inner::Memory(MemorySink::new(name, self.0.clone(), name != "console")),
        };
        Ok(Box::new(FaultySink::new(inner, self.0.clone())))
    }

    fn dead_letters(&self, _job: &Job, name: &str, _to: &OnError) -> Result<Box<dyn Sink>, SinkError> {
        unreachable!("simulated jobs fail on poison, yet {name} is asked for")
    }
}

/// What a seed decides about its job.
struct Shape {
    windowed: bool,
    console: bool,
    skips_losses: bool,
    purges: bool,
    limit: u64,
}

fn job_text(dir: &Path, shape: &Shape) -> String {
    let dir = dir.display();
    let mut text = format!(
        r#"
name = "simulated"
batch_interval = "1s"
checkpoint_dir = "{dir}/checkpoint"
shuffle_partitions = 1
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "simulated"
topics = ["{topic}"]
start = "earliest"
max_records_per_partition = {limit}
on_data_loss = "{loss}"
[[steps]]
name = "lines"
map = 'lambda record: str(record.partition) + ":" + str(record.offset) + ":" + record.value'
[[steps]]
name = "memory"
pprint = 1_000_000
[[steps]]
name = "log"
from = "lines"
pprint = {{ num = 1_000_000, to = "{dir}/out.log" }}
[[steps]]
name = "files"
from = "lines"
save_as_text_files = "{dir}/saved/x"
[[steps]]
name = "pairs"
from = "lines"
map = 'lambda line: (line.split(":")[2], 1)'
[[steps]]
name = "state"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
name = "totals"
pprint = 1_000_000
"#,
        topic = super::topic::TOPIC,
        limit = shape.limit,
        loss = if shape.skips_losses { "skip" } else { "fail" },
    );
    if shape.console {
        text += "[[steps]]\nname = \"console\"\nfrom = \"lines\"\npprint = 1_000_000\n";
    }
    if shape.windowed {
        text += r#"
[[steps]]
name = "window"
from = "pairs"
reduce_by_key_and_window = { func = "lambda a, b: a + b", inverse = "lambda a, b: a - b", filter = "lambda pair: pair[1] > 0", length = "4s", slide = "2s" }
[[steps]]
name = "windowed"
pprint = 1_000_000
"#;
    }
    text
}

fn scratch() -> tempfile::TempDir {
    // In memory where there is such a place: thousands of commits, and no power cut is played here.
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("temporary directory")
}

pub fn play(seed: u64, planted: Planted) -> History {
    let scratch = scratch();
    let mut random = Random::of(seed);
    let shape = Shape {
        windowed: random.below(2) == 0,
        console: random.below(2) == 0,
        skips_losses: random.below(2) == 0,
        purges: random.below(3) == 0,
        limit: 1 + random.below(15),
    };
    let dir = scratch.path().to_owned();
    fs::write(dir.join("job.toml"), job_text(&dir, &shape)).expect("job");
    let loaded = job::load(&dir.join("job.toml"), &job::Overrides::default(), &|_| None);
    let (mut job, _) = loaded.unwrap_or_else(|error| panic!("{error}"));
    job.retention.batches = if shape.purges { 2 } else { u64::MAX };
    job.retention.age_ms = None;
    job.retention.bytes = None;
    let topic = Topic::new(&mut random);
    let start_ms = 1_700_000_000_000 + random.below(5000) as i64;
    let processes = 3 + random.below(6);
    let world = Arc::new(World {
        faults: Mutex::new(Faults::new(random)),
        topic: Mutex::new(topic),
        past: Mutex::default(),
        delivered: Mutex::default(),
        seen: Mutex::default(),
        violations: Mutex::default(),
        platter: Platter::new(&dir),
        dir,
        skips_losses: shape.skips_losses,
        console: shape.console,
        planted,
    });
    let clock = SimClock::new(world.clone(), start_ms);
    let mut ended = Ended::CaughtUp;
    // A bounded run that was interrupted ends where it was to end then; one more reads the rest.
    for process in 0..processes + 2 {
        let last = process >= processes;
        if last {
            world.faults().calm_down();
        }
        if run_once(&world, &job, &clock, last) == Some(Ended::DataLoss) {
            ended = Ended::DataLoss;
            break;
        }
    }
    finish(seed, &world, &shape, ended)
}

/// One process, from its start to its end, whatever that is.
fn run_once(world: &Arc<World>, job: &Job, clock: &SimClock, last: bool) -> Option<Ended> {
    world.mend_the_store();
    world.platter.next_process();
    let bounded = last || world.faults().random().below(4) == 0;
    let ticks = world.faults().random().below(8);
    clock.load(ticks);
    let until = if bounded { Until::CaughtUp } else { Until::Stopped };
    let options = RunOptions { until, threads: std::num::NonZeroUsize::new(1), ..RunOptions::default() };
    if bounded {
        world.more_records();
    }
    let (_keep, requests) = crossbeam_channel::bounded(1);
    let edges = SimEdges(world.clone());
    let run = AssertUnwindSafe(|| run_between(&edges, job.clone(), &options, clock, requests, &Bars::hidden()));
    let outcome = catch_unwind(run);
    world.remember_ledger();
    match outcome {
        Ok(Ok(())) => world.faults().note("drained".to_owned()),
        Ok(Err(error)) if error.class == Class::DataLoss => {
            let text = format!("{error} {}", error.detail.join(" "));
            world.faults().note(format!("data loss: {text}"));
            if !loss_is_real(world) {
                world.violates(format!("no offset is lost: {text}"));
            }
            return Some(Ended::DataLoss);
        }
        Ok(Err(error)) => {
            let text = format!("{error} {} {:?}", error.detail.join(" "), error.hint);
            if last || !text.contains("injected") {
                world.violates(format!("the run fails: {text}"));
            }
            world.faults().note(format!("failed: {}", error.message.replace(&*world.dir.display().to_string(), "DIR")));
        }
        Err(panic) if panic.is::<Crash>() => {
            let mut faults = world.faults();
            faults.note("crashed".to_owned());
            if faults.strikes(Fault::PowerLoss, 3) {
                world.platter.lose_power(|bound| faults.random().below(bound));
            }
        }
        Err(panic) => world.violates(format!("panic: {}", panic_text(&*panic))),
    }
    None
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Whether the end by data loss is justified: something that was not committed yet is gone, and the job does not skip
/// it, or cannot, because some of the batch in flight has been published with it.
fn loss_is_real(world: &World) -> bool {
    let seen = lock(&world.seen);
    let topic = world.topic();
    let in_flight = seen.values().next_back().filter(|row| !row.committed);
    let exposed = in_flight.is_some_and(|row| {
        let shown = world.delivered().iter().any(|own| own.batch == row.plan.batch.0);
        // The real sinks of this batch.
        let saved = world.platter.has_dir(&world.dir.join(format!("saved/x-{}", row.plan.time.0)));
        let logged = log_blocks(world).map_or(u64::MAX, |blocks| blocks.len() as u64) > row.plan.batch.0;
        shown || saved || logged || world.console
    });
    if world.skips_losses && !exposed {
        return false;
    }
    let is_gone = |partition: usize, log: &super::topic::Log| {
        let tp = Topic::tp(partition);
        let planned = seen.values().next_back().and_then(|row| row.plan.ranges.iter().find(|range| range.tp == tp));
        let Some(range) = planned else { return log.starts.last().is_some_and(|start| *start < log.earliest) };
        let needed = if in_flight.is_some() { range.start } else { range.until };
        let same = range.topic_id.as_deref() == Some(topic.id.to_string().as_str());
        needed < log.earliest || !same
    };
    topic.partitions.iter().enumerate().any(|(partition, log)| is_gone(partition, log))
}

fn finish(seed: u64, world: &World, shape: &Shape, ended: Ended) -> History {
    let ledger = lock(&world.seen).clone();
    let mut delivered = world.delivered().clone();
    let mut violations = lock(&world.violations).clone();
    let committed = ledger.values().filter(|row| row.committed).count();
    let blocks = log_blocks(world).or_else(|| {
        // No process has come to mend the tail that the power tore: it could not get that far.
        (ended == Ended::DataLoss).then(|| log_of(world, committed))?
    });
    match blocks {
        Some(blocks) => delivered.extend(logged(blocks)),
        None => violations.push("the log is torn".to_owned()),
    }
    delivered.extend(saved(world, &ledger));
    let facts = Archive::open(&world.checkpoint()).and_then(|archive| archive.facts());
    let mut topics = lock(&world.past).clone();
    topics.push(world.topic().clone());
    let case = Case {
        topics,
        zero_ms: facts.as_ref().map_or(0, |facts| facts.zero.0),
        ledger,
        delivered,
        windowed: shape.windowed,
        console: shape.console,
        caught_up: ended == Ended::CaughtUp,
    };
    violations.extend(judge(&case));
    if let (Ok(facts), Some((last, _))) = (&facts, case.ledger.last_key_value())
        && facts.batches.keys().next_back() != Some(&BatchId(*last))
    {
        violations.push("the checkpoint has forgotten its last batch".to_owned());
    }
    let mut faults = world.faults();
    History {
        seed,
        ended,
        batches: case.ledger.len() as u64,
        met: faults.met().clone(),
        events: std::mem::take(&mut faults.events),
        violations,
    }
}

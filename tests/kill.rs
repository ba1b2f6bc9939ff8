//! `kill -9` at random moments, and a start after each: the log must be that of a run that nobody disturbed.

use std::{thread, time::Duration};

use super::{
    broker::broker,
    run::{sums, totals, truth},
    support::{Place, Random, START_MS, wait_until},
};

/// Kills of one job before it is left alone.
const KILLS: usize = 8;

const LINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/data/harbour.txt");

fn embedded() -> String {
    format!(
        r#"
name = "killed"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "embedded"
topics = ["words"]
max_records_per_partition = 2
[source.embedded]
lines = "{LINES}"
repeat = 4
rate = 1_000_000_000
partitions = 2
[[steps]]
flat_map = 'lambda record: record.value.split(" ")'
[[steps]]
name = "pairs"
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 100_000, to = "out.log" }}
[[steps]]
from = "pairs"
count = true
[[steps]]
pprint = {{ num = 10, to = "count.log" }}
[[steps]]
save_as_text_files = "saved/count"
"#
    )
}

/// Runs until done, with kills in between. Gives how many of them met a live process that had begun its work.
fn disturbed(place: &Place, random: &mut Random) -> usize {
    let bounded = format!("run job.toml --until-caught-up --manual-clock {START_MS}");
    let mut met = 0;
    for _ in 0..KILLS {
        let before = place.read("out.log").len();
        let mut running = place.start(&bounded);
        // Some kills come before the first effect of this process, most of them in the middle of its batches.
        if random.below(4) > 0 {
            let more = random.below(2_000) as usize;
            wait_until("more log", || place.read("out.log").len() > before + more || !running.is_running());
        }
        thread::sleep(Duration::from_micros(random.below(20_000)));
        met += usize::from(running.kill());
    }
    place.catch_up();
    met
}

/// A calm and a disturbed run of the same job, with equal logs and equal ledgers.
fn check(fill: impl Fn(&Place), files: &[&str]) -> (Place, Place) {
    let mut random = Random::seeded();
    let (calm, rough) = (Place::with_job(""), Place::with_job(""));
    fill(&calm);
    fill(&rough);
    calm.catch_up();
    let met = disturbed(&rough, &mut random);
    assert!(met > KILLS / 2, "only {met} kills met a live process");
    for file in files {
        assert!(!calm.read(file).is_empty(), "{file}");
        assert_eq!(rough.read(file), calm.read(file), "{file}");
    }
    let digests = |place: &Place| -> Vec<_> {
        place.ledger().into_iter().map(|row| (row["id"].clone(), row["time"].clone(), row["outputs"].clone())).collect()
    };
    assert_eq!(digests(&rough), digests(&calm));
    rough.kstream("replay job.toml --verify").expect(0);
    (calm, rough)
}

/// The batch directories of a job, also those that are only half written.
fn saved(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("saved")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn kills_leave_no_trace_in_the_logs_and_directories_of_a_word_count() {
    let (calm, rough) = check(|place| place.write("job.toml", embedded()), &["out.log", "count.log"]);
    assert_eq!(saved(&rough), saved(&calm));
    assert!(saved(&calm).len() > 50);
    for name in saved(&calm) {
        let part = format!("saved/{name}/part-00000");
        assert_eq!(rough.read(&part), calm.read(&part), "{part}");
    }
}

#[test]
fn kills_leave_no_trace_in_the_log_of_running_totals() {
    check(|place| totals(place, 300), &["out.log"]);
}

/// Killed every 0 to 300 ms, so often that hardly a part of a start or a batch is spared.
fn restarts() -> usize {
    if std::env::var("KSTREAM_LONG").is_ok_and(|value| value == "1") { 2_000 } else { 100 }
}

/// Starts and kills until the job is done, and at least so often. Gives how many kills met a live process.
fn hammered(place: &Place, random: &mut Random) -> usize {
    let bounded = format!("run job.toml --until-caught-up --manual-clock {START_MS}");
    let mut met = 0;
    for _ in 0..restarts() {
        let running = place.start(&bounded);
        thread::sleep(Duration::from_micros(random.below(300_000)));
        met += usize::from(running.kill());
    }
    place.catch_up();
    met
}

/// Running totals and a window over words, with a log that rotates.
fn with_state(source: &str) -> String {
    format!(
        r#"
name = "hammered"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
retention = {{ batches = 50 }}
[source]
{source}
[[steps]]
flat_map = 'lambda record: record.value.split(" ")'
[[steps]]
name = "pairs"
map = "lambda word: (word, 1)"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
count = true
[[steps]]
pprint = {{ num = 10, to = "keys.log" }}
[[steps]]
from = "pairs"
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 100_000, to = "out.log" }}
[[steps]]
name = "windowed"
from = "pairs"
reduce_by_key_and_window = {{ func = "lambda a, b: a + b", inverse = "lambda a, b: a - b", length = "5s", slide = "1s" }}
[[steps]]
pprint = {{ num = 20, to = "windows.log", rotate = "64KiB" }}
"#
    )
}

fn hammer(source: &str) -> Place {
    let mut random = Random::seeded();
    let (calm, rough) = (Place::with_job(&with_state(source)), Place::with_job(&with_state(source)));
    calm.catch_up();
    let met = hammered(&rough, &mut random);
    eprintln!("{met} of {} kills met a live process", restarts());
    assert!(met > restarts() / 4, "only {met} kills met a live process");
    for file in ["out.log", "keys.log", "windows.log", "windows.log.1"] {
        assert!(calm.read(file).len() > 1_000, "{file}");
        assert!(rough.read(file) == calm.read(file), "{file} of {}", rough.path("").display());
    }
    rough.kstream("replay job.toml --verify").expect(0);
    rough
}

#[test]
fn a_hundred_kills_leave_no_trace_on_the_embedded_broker() {
    let embedded = format!(
        r#"
kind = "kafka"
brokers = "embedded"
topics = ["words"]
max_records_per_partition = 3
[source.embedded]
lines = "{LINES}"
repeat = 24
rate = 1_000_000_000
partitions = 2
"#
    );
    hammer(&embedded);
}

#[test]
fn a_hundred_kills_leave_no_trace_on_a_real_kafka() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("hammered", 4);
    let mut lines = Vec::new();
    for partition in 0..4 {
        let own: Vec<String> =
            (0..2_500).map(|at| format!("p{partition} k{} k{}", at % 977, (at * 7) % 5_003)).collect();
        broker.produce(topic.name(), partition, &own);
        lines.extend(own);
    }
    let source = format!(
        "kind = \"kafka\"\nbrokers = \"{}\"\ntopics = [\"{}\"]\nmax_records_per_partition = 4\n",
        broker.brokers,
        topic.name()
    );
    let rough = hammer(&source);
    assert_eq!(sums(&rough.read("out.log")), truth(lines.iter().map(String::as_str)));
}

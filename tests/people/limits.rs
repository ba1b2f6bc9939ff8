//! Few file descriptors, little memory, thousands of batches.

use std::{fs, path::Path};

use super::{COUNTED, bounded, embedded, shell};
use crate::{
    broker::broker,
    run::{sums, truth},
    support::{Ended, Place, blocks, of_kafka, wait_until},
};

const PARTITIONS: usize = 200;

fn expected(place: &Place) -> std::collections::BTreeMap<String, u64> {
    truth(place.read("lines.txt").lines())
}

#[test]
fn sixty_four_files_are_enough_for_200_partitions() {
    let steps = format!("{COUNTED}[[steps]]\nsave_as_text_files = \"saved/counts\"\n");
    let calm = Place::with_job("");
    embedded(&calm, 4_000, PARTITIONS, "max_records_per_partition = 5", &steps);
    calm.catch_up();
    assert_eq!(calm.ledger().len(), 4);
    for threads in [1, 8] {
        let place = Place::with_job("");
        embedded(&place, 4_000, PARTITIONS, "max_records_per_partition = 5", &steps);
        let script = format!("ulimit -n 64; exec \"$0\" {} --threads {threads}", bounded());
        place.spawn(shell(&place, &script)).wait().expect(0);
        assert_eq!(sums(&place.read("out.log")), expected(&place));
        assert_eq!(place.read("out.log"), calm.read("out.log"), "{threads} threads");
    }
}

#[test]
fn sixty_four_files_are_enough_for_200_partitions_of_a_real_kafka() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("many", PARTITIONS as i32);
    let line = |partition: usize| format!("all p{partition} w{}", partition % 7);
    for partition in 0..PARTITIONS {
        broker.produce(topic.name(), partition as i32, [line(partition), line(partition)]);
    }
    let truth =
        truth((0..PARTITIONS).flat_map(|at| [line(at), line(at)]).collect::<Vec<_>>().iter().map(String::as_str));
    for fetch in ["native", "librdkafka"] {
        let keys = format!("max_records_per_partition = 1\nfetch = \"{fetch}\"");
        let place = Place::with_job(&of_kafka("many", "1s", (&broker.brokers, topic.name()), &keys, COUNTED));
        place.spawn(shell(&place, &format!("ulimit -n 64; exec \"$0\" {}", bounded()))).wait().expect(0);
        assert_eq!(sums(&place.read("out.log")), truth, "{fetch}");
        assert_eq!(place.ledger().len(), 2, "{fetch}");
    }
}

/// The shell and the loader have words of their own for it.
fn assert_says_what_to_raise(ended: &Ended, files: u32) {
    let plain = ["Raise the limit of open files, now", "ulimit -n"].iter().all(|words| ended.err.contains(words));
    assert!(plain || ended.code == Some(127), "{files} files: {:?}\n{}", ended.code, ended.err);
}

#[test]
fn a_job_on_kafka_with_too_few_files_says_what_to_raise() {
    let output = "[[steps]]\nto_kafka = { topic = \"out\", delivery = \"at_least_once\" }\n";
    let place = Place::with_job("");
    embedded(&place, 40, 2, "unreachable_limit = \"4s\"", &(COUNTED.to_owned() + output));
    let mut failed = 0;
    for files in [24, 32, 36, 40, 44, 64] {
        let script = format!("ulimit -n {files}; exec \"$0\" {} --threads 2", bounded());
        let ended = place.spawn(shell(&place, &script)).wait();
        if ended.code == Some(0) {
            assert!(files > 32, "{files} files");
        } else {
            assert!(files < 64, "{}", ended.err);
            failed += 1;
            assert_says_what_to_raise(&ended, files);
        }
    }
    assert!(failed >= 2, "only {failed} failed");
    place.catch_up();
    assert_eq!(sums(&place.read("out.log")), expected(&place));
}

#[test]
fn too_few_files_are_an_error_and_what_was_done_stays() {
    let place = Place::with_job(
        r#"
name = "few"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
save_as_text_files = "saved/words"
[[steps]]
from = "source"
pprint = { num = 10, to = "out.log" }
"#,
    );
    place.write("queue.jsonl", (0..20).map(|batch| format!("[\"w{batch}\"]\n")).collect::<String>());
    let mut failed = 0;
    for files in 4..20 {
        let script = format!("ulimit -n {files}; exec \"$0\" {} --max-batches 1 --threads 1", bounded());
        let ended = place.spawn(shell(&place, &script)).wait();
        assert!(matches!(ended.code, Some(0..=2 | 127)), "{files} files: {:?}\n{}", ended.code, ended.err);
        if ended.code != Some(0) {
            failed += 1;
            assert_says_what_to_raise(&ended, files);
        }
    }
    assert!((1..16).contains(&failed), "{failed} of 16 failed");
    place.catch_up();
    let log = place.read("out.log");
    assert_eq!(blocks(&log).len(), 20);
    assert_eq!(fs::read_dir(place.path("saved")).unwrap().count(), 20);
    for batch in 0..20 {
        assert_eq!(log.matches(&format!("\nw{batch}\n")).count(), 1, "{batch} in\n{log}");
    }
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_batch_larger_than_the_memory_limit_is_read_in_parts() {
    let grouped = r#"
[[steps]]
flat_map = 'lambda record: record.value.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
group_by_key = true
[[steps]]
map_values = "len"
[[steps]]
pprint = { num = 100_000, to = "out.log" }
"#;
    let place = Place::with_job("");
    embedded(&place, 12_000, 2, "", grouped);
    place.write("job.toml", format!("memory_limit = \"100KiB\"\n{}", place.read("job.toml")));
    let ended = place.catch_up().says(&["reading half of the batch", "group_by_key", "102400"]);
    let halved = ended.err.matches("reading half of the batch").count();
    let ledger = place.ledger();
    assert!(halved > 3 && ledger.len() > 6, "{halved} halves, {} batches", ledger.len());
    assert_eq!(sums(&place.read("out.log")), expected(&place));
    place.kstream("replay job.toml --verify").expect(0);
    // What does not fit record by record is an error that says what to raise.
    let place = Place::with_job("");
    embedded(&place, 100, 1, "", grouped);
    place.write("job.toml", format!("memory_limit = \"1B\"\n{}", place.read("job.toml")));
    place.kstream(&bounded()).expect(1).says(&["memory_limit", "flat_map"]);
}

#[test]
fn what_a_log_shows_counts_against_the_memory_limit() {
    let shown = r#"
[[steps]]
map = 'lambda record: record.value + " " * 10000'
[[steps]]
pprint = { num = 100_000, to = "out.log" }
"#;
    let place = Place::with_job("");
    embedded(&place, 2_000, 2, "", shown);
    place.write("job.toml", format!("memory_limit = \"8MiB\"\n{}", place.read("job.toml")));
    place.catch_up().says(&["reading half of the batch"]);
    assert_eq!(place.read("out.log").lines().filter(|line| line.len() > 10_000).count(), 2_000);
    place.kstream("replay job.toml --verify").expect(0);
}

const BATCHES: usize = 10_000;
/// Bytes of a block of `out.log` below.
const BLOCK: u64 = 44 + 26 + 44 + 2 + 1;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    files: usize,
    threads: usize,
    resident_kib: u64,
    checkpoint_bytes: u64,
    checkpoint_files: usize,
}

fn held(checkpoint: &Path, pid: u32) -> Held {
    let process = Path::new("/proc").join(pid.to_string());
    let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let status = fs::read_to_string(process.join("status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let checkpoint = entries(checkpoint);
    Held {
        files: entries(&process.join("fd")).len(),
        threads: entries(&process.join("task")).len(),
        resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        checkpoint_bytes: checkpoint.iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum(),
        checkpoint_files: checkpoint.len(),
    }
}

/// Files that are open for a moment only.
const PASSING: usize = 3;

#[test]
fn thousands_of_batches_hold_no_more_than_some_hundred() {
    if !Path::new("/proc/self/fd").exists() {
        eprintln!("SKIPPED: no /proc here");
        return;
    }
    // What is held does not depend on the disk, which is most of the time.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let checkpoint = dir.path().join("checkpoint");
    let text = r#"
name = "many"
batch_interval = "1s"
checkpoint_dir = "DIR/checkpoint"
time_zone = "UTC"
retention = { batches = 20 }
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
name = "pairs"
map = "lambda word: (word, 1)"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
filter = "lambda pair: pair[0] == 'a'"
[[steps]]
pprint = { num = 1, to = "DIR/totals.log" }
[[steps]]
from = "pairs"
reduce_by_key_and_window = { func = "lambda a, b: a + b", inverse = "lambda a, b: a - b", length = "5s", slide = "1s" }
[[steps]]
count = true
[[steps]]
pprint = { num = 1, to = "DIR/out.log" }
"#;
    let place = Place::with_job(&text.replace("DIR", &dir.path().display().to_string()));
    let line = |batch: usize| format!("[\"a\", \"b{}\", \"c{}\"]\n", batch % 2, batch % 2);
    place.write("queue.jsonl", (0..BATCHES).map(line).collect::<String>());
    let mut running = place.start("run job.toml -q");
    let pid = running.pid();
    let done = || fs::metadata(dir.path().join("out.log")).map_or(0, |log| log.len() / BLOCK) as usize;
    let mut until = |batches: usize| wait_until("batches", || done() >= batches || !running.is_running());
    let mut samples = Vec::new();
    for batches in (500..BATCHES - 100).step_by(1_000) {
        until(batches);
        samples.push(held(&checkpoint, pid));
    }
    running.wait().expect(0);
    assert_eq!(done(), BATCHES);
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    for held in &samples {
        assert!(held.files.abs_diff(first.files) <= PASSING, "{samples:#?}");
        assert_eq!(held.threads, first.threads, "{samples:#?}");
        assert!(held.checkpoint_files.abs_diff(first.checkpoint_files) <= 1, "{samples:#?}");
    }
    assert!(last.resident_kib < first.resident_kib + 4 * 1024, "{samples:#?}");
    assert!(last.checkpoint_bytes < first.checkpoint_bytes * 5 / 4 + (1 << 20), "{samples:#?}");
    assert_eq!(place.ledger().len(), 20);
}

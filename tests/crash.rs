//! The process ends at every named point of a batch's life, and again while it recovers: what is left at the end is what an
//! undisturbed run leaves, byte for byte.
//!
//! A case is one point of one job: killed there, killed again on the way back, killed at the same point once more, then
//! left alone. Each run must say that it ended where it was told to. `KSTREAM_LONG=1` crosses every point with every second
//! one, for every kind of output of a stateless, a stateful and a windowed job.

mod creation;
#[cfg(target_os = "linux")]
mod disk_calls;
mod product;

use std::{collections::BTreeMap, fs, path::Path};

use kstream::crash::POINTS;

use self::product::{Share, long};
use super::{
    broker::{Broker, broker, own_broker, unique_name},
    support::{Place, START_MS},
};

/// Where a process is killed on its way back; all are reached by a batch in flight as by a fresh one.
const ON_THE_WAY_BACK: &[&str] =
    &["start: run begun", "execute: done", "stage: one output", "publish: asked", "commit: logged"];

/// Points that only a start on a checkpoint of an earlier program, with a batch in flight, a rewind or a Kafka output reach.
const SPECIAL: &[&str] = &["journal: ", "recover: ", "rewind: ", "kafka: ", "files: old aside"];

const BATCHES: usize = 9;

fn head(name: &str) -> String {
    format!(
        r#"
name = "{name}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
retention = {{ batches = 3 }}
[source]
kind = "queue"
path = "batches.jsonl"
partitions = 2
"#
    )
}

fn stateless() -> String {
    head("stateless")
        + r#"
[[steps]]
name = "words"
flat_map = 'lambda line: line.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = { num = 1000, to = "out.log", rotate = "400B" }
[[steps]]
save_as_text_files = "saved/counts"
[[steps]]
to_file = { path = "grown.jsonl", format = "json", layout = "append" }
"#
}

fn stateful() -> String {
    head("stateful")
        + r#"
[[steps]]
flat_map = 'lambda line: line.split(" ")'
[[steps]]
name = "pairs"
map = "lambda word: (word, 1)"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
pprint = { num = 1000, to = "totals.log" }
[[steps]]
name = "windowed"
from = "pairs"
reduce_by_key_and_window = { func = "lambda a, b: a + b", inverse = "lambda a, b: a - b", length = "3s", slide = "1s" }
[[steps]]
pprint = { num = 1000, to = "windows.log", rotate = "600B" }
"#
}

fn to_kafka(name: &str, brokers: &str, topic: &str) -> String {
    head(name)
        + &format!(
            r#"
[[steps]]
flat_map = 'lambda line: line.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 1000, to = "out.log" }}
[[steps]]
to_kafka = {{ topic = "{topic}", brokers = "{brokers}" }}
"#
        )
}

/// Input of every job: batches of two partitions, a few words each.
fn place(job: &str) -> Place {
    place_of(job, BATCHES)
}

fn place_of(job: &str, batches: usize) -> Place {
    let place = Place::with_job(job);
    let line = |batch: usize, partition: usize| format!("p{partition} w{} w{} all", batch % 3, batch % 5);
    let batch =
        |batch: usize| format!("{{\"partitions\": [[\"{}\"], [\"{}\", \"x\"]]}}\n", line(batch, 0), line(batch, 1));
    place.write("batches.jsonl", (0..batches).map(batch).collect::<String>());
    place
}

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS} --threads 1")
}

/// Runs until `point` and dies there.
#[track_caller]
fn die(place: &Place, args: &str, point: &str) {
    let (name, _) = point.split_once('#').unwrap_or((point, ""));
    let _ = fs::remove_file(place.path("report"));
    let mut command = place.command(args);
    command.env("KSTREAM_CRASH_AT", point).env("KSTREAM_CRASH_REPORT", place.path("report"));
    let ended = place.spawn(command).wait();
    assert_eq!(place.read("report").trim(), name, "{point} was not reached\n{}", ended.err);
    assert_eq!(ended.code, None, "{point}\n{}", ended.err);
}

/// Every file that outputs wrote, but the ones that name the checkpoint.
fn image(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    gather(&place.path(""), "", &mut files);
    files
}

fn gather(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let ours = ["checkpoint", "job.toml", "batches.jsonl", "report"].contains(&&*name) || name.starts_with(".tmp");
        if ours || name.ends_with("_SUCCESS") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files.insert(format!("{name}/"), Vec::new());
            gather(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

#[track_caller]
fn assert_same(found: &BTreeMap<String, Vec<u8>>, calm: &BTreeMap<String, Vec<u8>>, case: &str) {
    let names = |image: &BTreeMap<String, Vec<u8>>| image.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(calm), "{case}");
    for (name, bytes) in calm {
        assert!(found[name] == *bytes, "{case}: {name} is\n{}", String::from_utf8_lossy(&found[name]));
    }
}

/// The third time, where a batch passes the point often, so that batches lie before it.
fn in_the_middle(point: &str) -> String {
    let once =
        ["create: ", "start: ", "plan: ", "purge: ", "log: before", "log: rotated", "commit: snapshot", "kafka: begun"];
    if once.iter().any(|prefix| point.starts_with(prefix)) { point.to_owned() } else { format!("{point}#3") }
}

/// One case: killed at `point`, again at `second`, again at `point` where a later batch passes it, then left alone.
fn killed(place: &Place, point: &str, second: &str) {
    let second = if point.starts_with("create: ") { "start: run begun" } else { second };
    die(place, &bounded(), &in_the_middle(point));
    die(place, &bounded(), second);
    if !point.starts_with("create: ") && !point.starts_with("kafka: begun") && !point.starts_with("purge: ") {
        die(place, &bounded(), point);
    }
    place.kstream(&bounded()).expect(0);
}

fn every_point(job: &str, unreachable: &[&str]) {
    let calm = place(job);
    calm.kstream(&bounded()).expect(0);
    let expected = image(&calm);
    let is_ordinary = |point: &&&str| !SPECIAL.iter().chain(unreachable).any(|other| point.starts_with(other));
    let points: Vec<&str> = POINTS.iter().filter(is_ordinary).copied().collect();
    assert!(points.len() > 15, "{points:?}");
    let mut share = Share::given();
    for (at, point) in points.iter().enumerate() {
        let one = [ON_THE_WAY_BACK[at % ON_THE_WAY_BACK.len()]];
        for second in if long() { ON_THE_WAY_BACK } else { &one } {
            if !share.takes_next() {
                continue;
            }
            let rough = place(job);
            killed(&rough, point, second);
            assert_same(&image(&rough), &expected, &format!("{point}, then {second}"));
            rough.kstream("replay job.toml --verify").expect(0);
        }
    }
}

#[test]
fn every_point_of_a_stateless_job_recovers() {
    every_point(&stateless(), &["commit: snapshot written"]);
}

#[test]
fn every_point_of_a_stateful_and_windowed_job_recovers() {
    every_point(&stateful(), &["files: ", "commit: snapshot written"]);
}

/// A state is written whole after 200 changes, some slots of it with each of the next commits.
#[test]
fn a_kill_while_a_snapshot_is_written_is_recovered_from() {
    const MANY: usize = 230;
    let calm = place_of(&stateful(), MANY);
    calm.kstream(&bounded()).expect(0);
    let rough = place_of(&stateful(), MANY);
    for point in ["commit: logged#150", "commit: snapshot written", "commit: snapshot written#7", "commit: logged"] {
        die(&rough, &bounded(), point);
    }
    rough.kstream(&bounded()).expect(0);
    assert_same(&image(&rough), &image(&calm), "a snapshot under way");
    rough.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_kill_inside_recovery_is_recovered_from() {
    for job in [stateless(), stateful()] {
        let calm = place(&job);
        calm.kstream(&bounded()).expect(0);
        let expected = image(&calm);
        for point in POINTS.iter().filter(|point| point.starts_with("recover: ")) {
            let rough = place(&job);
            die(&rough, &bounded(), "publish: one output#4");
            die(&rough, &bounded(), point);
            if *point == "recover: decided" {
                die(&rough, &bounded(), point);
            }
            rough.kstream(&bounded()).expect(0);
            assert_same(&image(&rough), &expected, point);
        }
    }
}

#[test]
fn a_kill_inside_a_rewind_is_finished_by_the_next_start() {
    let to = (BATCHES - 3).to_string();
    let expected = image(&rewound(&to, None, false));
    assert!(expected.len() > BATCHES, "{:?}", expected.keys());
    for point in POINTS.iter().filter(|point| point.starts_with("rewind: ") || **point == "files: old aside") {
        assert_same(&image(&rewound(&to, Some(point), false)), &expected, point);
    }
}

#[test]
fn a_rewind_that_was_killed_may_be_repeated() {
    for to in [&*(BATCHES - 3).to_string(), "start"] {
        let expected = image(&rewound(to, None, false));
        for point in POINTS.iter().filter(|point| point.starts_with("rewind: ")) {
            assert_same(&image(&rewound(to, Some(point), true)), &expected, point);
        }
    }
}

/// A job that is rewound to `to` and runs to its end again, with a kill at `point` on the way; the rewind that is killed is
/// done `again` before the run.
fn rewound(to: &str, point: Option<&str>, again: bool) -> Place {
    let kept = if to == "start" { BATCHES } else { 3 };
    let place = place(&stateless().replace("batches = 3", &format!("batches = {kept}")));
    place.kstream(&bounded()).expect(0);
    let rewind = format!("rewind job.toml --to {to} --yes --leave-published");
    match point {
        Some(point) if point.starts_with("rewind: ") => {
            die(&place, &rewind, point);
            // Where the timeline was not raised yet, nothing has happened.
            if again || point == "rewind: written" {
                place.kstream(&rewind).expect(0).says(&["rewound"]);
            }
        }
        _ => drop(place.kstream(&rewind).expect(0)),
    }
    if point == Some("files: old aside") {
        die(&place, &bounded(), "files: old aside");
    }
    place.kstream(&bounded()).expect(0);
    place
}

/// What is delivered, in the order of its keys and batches.
fn messages(broker: &Broker, topic: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> =
        broker.read_committed(topic).into_iter().map(|record| (record.key_text(), record.value_text())).collect();
    found.sort();
    found
}

fn reads_kafka(brokers: &str, topic: &str) -> String {
    head("reads").replace(
        "kind = \"queue\"\npath = \"batches.jsonl\"\npartitions = 2",
        &format!("kind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = [\"{topic}\"]\nmax_records_per_partition = 10"),
    ) + "[[steps]]\nmap = \"lambda record: record.value\"\n[[steps]]\npprint = { num = 1000, to = \"out.log\" }\n[[steps]]\nsave_as_text_files = \"saved/lines\"\n"
}

/// Offsets of a planned batch go before it is executed again.
#[test]
fn what_is_lost_of_a_planned_batch_is_told_and_skipped_only_where_nothing_is_published() {
    let Some(broker) = broker() else { return };
    let lines = |from: usize| (from..from + 30).map(|at| format!("line {at}"));
    for (point, published) in [("plan: logged", false), ("execute: done#2", false), ("publish: one output#3", true)] {
        let topic = broker.topic("gone", 1);
        broker.produce(topic.name(), 0, lines(0));
        let place = Place::with_job(&reads_kafka(&broker.brokers, topic.name()));
        die(&place, &bounded(), point);
        let batch = place.ledger().len() - 1;
        let (from, to) = (10 * batch, 10 * batch + 5);
        broker.delete_records(topic.name(), 0, to as i64);
        place.kstream(&bounded()).expect(4).says(&[topic.name(), &from.to_string()]);
        let skip = format!("{} --set source.on_data_loss=skip", bounded());
        if published {
            place.kstream(&skip).expect(4).says(&["--leave-published"]);
            let back = format!("rewind job.toml --to {} --yes --leave-published", batch - 1);
            place.kstream(&back).expect(0);
        }
        place.kstream(&skip).expect(0);
        let log = place.read("out.log");
        let seen = |at: usize| log.lines().filter(|line| *line == format!("line {at}")).count();
        for at in 0..30 {
            assert_eq!(seen(at), usize::from(!(from..to).contains(&at)), "{point}: line {at} in\n{log}");
        }
    }
}

/// The brokers look for transactions that are too old every ten seconds.
#[test]
fn a_transaction_that_takes_too_long_is_made_again() {
    let Some(broker) = broker() else { return };
    let topics = [broker.topic("calm", 1), broker.topic("slow", 1)];
    let [calm, slow] = topics.each_ref().map(|topic| {
        let job = to_kafka(&unique_name("overdue"), &broker.brokers, topic.name());
        place(&job.replace("brokers = ", "properties = { \"transaction.timeout.ms\" = 1000 }, brokers = "))
    });
    calm.kstream(&bounded()).expect(0);
    let mut command = slow.command(&bounded());
    command.env("KSTREAM_CRASH_AT", "kafka: written#3").env("KSTREAM_CRASH_HOLD", "25");
    slow.spawn(command).wait().expect(0).says(&["took too long"]);
    let [expected, found] = topics.each_ref().map(|topic| messages(broker, topic.name()));
    assert_eq!(found, expected);
    let ended = broker.read_uncommitted(topics[1].name()).len() - found.len();
    assert!(0 < ended, "the brokers ended no transaction");
    assert_eq!(image(&slow), image(&calm));
}

#[test]
fn a_broker_that_dies_between_the_transaction_and_the_commit_costs_nothing() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("out");
    own.create_topic(&topic, 1, &[]);
    let calm = place(&to_kafka("calm", &own.brokers, &topic));
    calm.kstream(&bounded()).expect(0);
    let expected = messages(&own, &topic);
    for point in ["kafka: offset sent#4", "kafka: committed#4"] {
        let topic = unique_name("out");
        own.create_topic(&topic, 1, &[]);
        let rough = place(&to_kafka(&unique_name("rough"), &own.brokers, &topic));
        die(&rough, &bounded(), point);
        own.kill();
        own.start_again();
        rough.kstream(&bounded()).expect(0);
        assert_eq!(messages(&own, &topic), expected, "{point}");
    }
}

/// SQLite by itself takes a damaged or missing log for transactions that never were.
#[test]
fn a_checkpoint_that_lost_its_log_after_a_crash_is_refused_as_it_is() {
    for job in [stateful(), stateless().replace(", to = \"out.log\", rotate = \"400B\"", "")] {
        let crashed = place(&job);
        die(&crashed, &bounded(), "commit: logged#5");
        let files = crashed.files("checkpoint");
        let log = |files: &mut Vec<(String, Vec<u8>)>, damage: fn(&mut Vec<u8>)| {
            damage(&mut files.iter_mut().find(|(name, _)| name == "checkpoint.db-wal").expect("log").1);
        };
        type Damage<'a> = &'a dyn Fn(&mut Vec<(String, Vec<u8>)>);
        let damages: &[(&str, Damage<'_>)] = &[
            ("gone", &|files| files.retain(|(name, _)| name != "checkpoint.db-wal")),
            ("empty", &|files| log(files, Vec::clear)),
            ("cut", &|files| log(files, |bytes| bytes.truncate(bytes.len() * 2 / 3))),
            ("flipped at its head", &|files| log(files, |bytes| bytes[20] ^= 1)),
            ("flipped in the middle", &|files| log(files, |bytes| *bytes.get_mut(5000).expect("byte") ^= 1)),
        ];
        for (what, damage) in damages {
            let mut files = files.clone();
            damage(&mut files);
            fs::remove_dir_all(crashed.path("checkpoint")).expect("removed");
            fs::create_dir(crashed.path("checkpoint")).expect("directory");
            files.iter().for_each(|(name, bytes)| crashed.write(&format!("checkpoint/{name}"), bytes));
            let (outputs, held) = (image(&crashed), crashed.files("checkpoint"));
            for args in [bounded(), "batches job.toml".to_owned(), "rewind job.toml --to 1 --yes".to_owned()] {
                let ended = crashed.kstream(&args).expect(3).says(&["is refused", "checkpoint.mark"]);
                assert_eq!(ended.out, "", "{what}: {args}");
                let left: Vec<_> = crashed.files("checkpoint").into_iter().filter(|(name, _)| name != "lock").collect();
                let held: Vec<_> =
                    held.iter().filter(|(name, _)| name != "lock" && name != "holder.json").cloned().collect();
                assert!(
                    left.iter().filter(|(name, _)| name != "holder.json").eq(&held),
                    "{what}: {args} changed files"
                );
                assert_same(&image(&crashed), &outputs, what);
            }
        }
        // Whoever takes the risk goes on from what is left: of a job with logs, the outputs say no.
        fs::remove_file(crashed.path("checkpoint/checkpoint.mark")).expect("removed");
        let code = crashed.kstream(&bounded()).code;
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
}

#[test]
fn the_list_of_points_is_that_of_the_sources() {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let calls = text.split("crash::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(calls.map(str::to_owned));
            }
        }
    }
    found.sort();
    let mut listed: Vec<_> = POINTS.iter().map(|point| (*point).to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed);
}

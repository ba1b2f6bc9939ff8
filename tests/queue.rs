//! Jobs on queues: their logical clock, and files that change under a job.

use std::time::{Duration, Instant};

use super::{
    run::totals,
    support::{Place, START_MS, blocks},
};

/// Windows of two intervals over a queue, into `out.log`.
const WINDOWED: &str = r#"
name = "windowed"
batch_interval = "1m"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
count_by_value_and_window = { length = "2m", slide = "2m" }
[[steps]]
pprint = { num = 1000, to = "out.log" }
"#;

#[test]
fn a_queue_has_no_start_to_choose() {
    let place = Place::with_job("");
    totals(&place, 2);
    place.kstream("run job.toml --start latest").expect(2).says(&["--start is for kafka sources", "first line"]);
    assert_eq!(place.read("out.log"), "");
    place.kstream("run job.toml").expect(0).says(&["batches=2"]);
}

#[test]
fn a_queue_keeps_its_partitions() {
    let place = Place::with_job("");
    totals(&place, 4);
    place.kstream("run job.toml --max-batches 2").expect(0);
    let (text, files) = (place.read("job.toml"), place.files("checkpoint"));
    place.write("job.toml", text.replace("path = \"queue.jsonl\"", "path = \"queue.jsonl\"\npartitions = 2"));
    place.kstream("run job.toml").expect(3).says(&["had 1 partitions, has 2", "take the edit back"]);
    assert_eq!(place.files("checkpoint"), files, "a refusal changes nothing");
}

#[test]
fn a_job_on_a_queue_waits_for_no_tick_and_ends_with_it() {
    let place = Place::with_job("");
    totals(&place, 40);
    place.write("job.toml", place.read("job.toml").replace("\"1s\"", "\"1h\""));
    let began = Instant::now();
    place.kstream("run job.toml").expect(0).says(&["batches=40"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let queue = place.read("queue.jsonl");
    place.write("queue.jsonl", queue + "[\"late\"]\n[\"later\"]\n");
    place.kstream("run job.toml --max-batches 1").expect(0).says(&["batches=1"]);
    place.kstream("run job.toml --until-caught-up").expect(0).says(&["batches=1"]);
    place.kstream("run job.toml").expect(0).says(&["batches=0"]);
    let times: Vec<i64> = place.ledger().iter().map(|row| row["time"].as_i64().unwrap()).collect();
    assert_eq!(times.len(), 42);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3_600_000), "{times:?}");
    assert_eq!(blocks(&place.read("out.log")).last().unwrap().lines.len(), 1 + 3 + 7 + 2);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn windows_over_a_queue_do_not_depend_on_its_length_when_it_is_begun() {
    let run = |first: &str, more: &str| {
        let place = Place::with_job(WINDOWED);
        place.write("queue.jsonl", first);
        place.kstream(&format!("run job.toml --manual-clock {START_MS}")).expect(0);
        place.write("queue.jsonl", format!("{first}{more}"));
        place.kstream(&format!("run job.toml --manual-clock {START_MS}000")).expect(0);
        place.read("out.log")
    };
    let whole = run("[1]\n[2]\n[3]\n[4]\n[5]\n", "");
    assert_eq!(blocks(&whole).len(), 2);
    assert_eq!(blocks(&whole)[1].lines, ["(3, 1)", "(4, 1)"]);
    assert_eq!(run("[1]\n[2]\n[3]\n", "[4]\n[5]\n"), whole);
}

/// Numbers from a queue; the first line that holds none stays in flight.
const NUMBERS: &str = r#"
name = "numbers"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
map = "lambda text: (text, int(text))"
[[steps]]
name = "sums"
update_state_by_key = { func = "lambda values, old: sum(values) + (old or 0)", initial = "initial.jsonl" }
[[steps]]
pprint = { num = 1000, to = "out.log" }
"#;

fn numbers(queue: &str) -> Place {
    let place = Place::with_job(NUMBERS);
    place.write("queue.jsonl", queue);
    place.write("initial.jsonl", "[\"7\", 100]\n");
    place
}

fn refused_unchanged(place: &Place, arguments: &str, says: &[&str]) {
    let (files, log) = (place.files("checkpoint"), place.read("out.log"));
    let database = |files: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
        files.iter().filter(|(name, _)| name.contains(".db") || name.contains("sqlite")).cloned().collect()
    };
    place.kstream(arguments).expect(3).says(says);
    assert_eq!(database(&place.files("checkpoint")), database(&files), "a refusal changes nothing");
    assert!(!database(&files).is_empty(), "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(place.read("out.log"), log);
}

#[test]
fn a_batch_in_flight_is_not_read_from_another_queue() {
    let queue = "[\"7\"]\n[\"8\"]\n[\"x\"]\n[\"9\"]\n";
    let place = numbers(queue);
    place.kstream("run job.toml").expect(1).says(&["'x'"]);
    for changed in [queue.replace("x", "y"), queue.replace("\"7\"", "\"1\""), queue[..14].to_owned()] {
        place.write("queue.jsonl", &changed);
        refused_unchanged(&place, "run job.toml", &["queue.jsonl", "batch 2", "Expected", "found"]);
    }
    place.write("queue.jsonl", format!("{queue}[\"10\"]\n"));
    place.kstream("run job.toml").expect(1).says(&["'x'"]);
    place.kstream("rewind job.toml --to 1 --yes").expect(0);
    place.write("queue.jsonl", format!("{queue}[\"10\"]\n").replace("x", "11"));
    place.kstream("run job.toml").expect(0).says(&["batches=3"]);
    let last = blocks(&place.read("out.log")).pop().unwrap();
    assert!(last.lines.contains(&"('7', 107)".to_owned()) && last.lines.contains(&"('11', 11)".to_owned()), "{last:?}");
}

#[test]
fn a_first_batch_in_flight_does_not_begin_with_another_state() {
    let place = numbers("[\"x\"]\n");
    place.kstream("run job.toml").expect(1);
    place.write("initial.jsonl", "[\"7\", 101]\n");
    refused_unchanged(&place, "run job.toml", &["initial.jsonl", "Expected", "found"]);
    let committed = numbers("[\"7\"]\n[\"x\"]\n");
    committed.kstream("run job.toml").expect(1);
    committed.write("initial.jsonl", "[\"7\", 101]\n");
    committed.kstream("run job.toml").expect(1).says(&["'x'"]);
    committed.kstream("replay job.toml --verify").expect(3).says(&["initial.jsonl"]);
    committed.write("initial.jsonl", "[\"7\", 100]\n");
    committed.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_replay_is_verified_against_the_queue_that_was_read() {
    let place = numbers("[\"7\"]\n[\"8\"]\n");
    place.kstream("run job.toml").expect(0);
    place.write("queue.jsonl", "[\"7\"]\n[\"8\"]\n[\"9\"]\n");
    place.kstream("replay job.toml --verify").expect(0);
    place.write("queue.jsonl", "[\"8\"]\n[\"8\"]\n");
    refused_unchanged(&place, "replay job.toml --verify", &["queue.jsonl", "batch 0", "Expected", "found"]);
    place.write("shown.toml", place.read("job.toml").replace(", to = \"out.log\"", ""));
    let shown = place.kstream("replay shown.toml --batch 0").expect(0).out;
    assert!(shown.contains("('8', 8)"), "with the given job and what is there now: {shown}");
}

/// A plan that no edit can mend is taken back, the first one too.
#[test]
fn a_batch_that_fails_as_the_job_was_is_planned_anew_after_a_rewind() {
    let place = Place::with_job(
        r#"
name = "mended"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
map = "lambda x: 6 // x"
[[steps]]
pprint = { num = 10, to = "out.log" }
"#,
    );
    place.write("queue.jsonl", "[1, 0]\n[2]\n[3, 0]\n");
    place.kstream("run job.toml").expect(1).says(&["line 8 of the job file", "on_error"]);
    place.kstream("replay job.toml --from 2 --to 1").expect(2);
    let mended = |from: &str, to: &str| place.write("job.toml", place.read("job.toml").replace(from, to));
    mended("6 // x", "6 // x if x else -1");
    let failed = place.kstream("run job.toml").expect(1);
    failed.says(&["planned before the job was edited", "the job's text in the checkpoint", "--to start"]);
    place.kstream("rewind job.toml --to 0 --yes").expect(2).says(&["--to start"]);
    place.kstream("rewind job.toml --to start --yes").expect(0);
    place.kstream("run job.toml --max-batches 2").expect(0);
    mended("6 // x if x else -1", "6 // x");
    place.kstream("run job.toml").expect(1);
    mended("6 // x", "6 // (x or 7)");
    place.kstream("run job.toml").expect(1).says(&["--to 1"]);
    place.kstream("rewind job.toml --to 1 --yes").expect(0);
    place.kstream("run job.toml").expect(0);
    let shown = |log: &str| log.lines().filter(|line| line.parse::<i64>().is_ok()).collect::<Vec<_>>().join(" ");
    assert_eq!(shown(&place.read("out.log")), "6 -1 3 2 0");
    // And everything once more.
    place.kstream("rewind job.toml --to start --yes").expect(0);
    assert_eq!(shown(&place.read("out.log")), "");
    place.kstream("run job.toml").expect(0);
    assert_eq!(shown(&place.read("out.log")), "6 0 3 2 0");
    place.kstream("replay job.toml --from 2 --to 1").expect(2).says(&["--from, then --to"]);
}

#[test]
fn a_queue_with_fewer_lines_than_were_read_is_refused() {
    let place = numbers("[\"7\"]\n[]\n\n[\"9\"]\n");
    place.kstream("run job.toml").expect(0).says(&["batches=3"]);
    place.write("queue.jsonl", "[\"7\"]\n");
    for run in ["run job.toml", "run job.toml --until-caught-up"] {
        let refused = "queue file queue.jsonl has fewer lines than were read";
        refused_unchanged(&place, run, &[refused, "It has 1 line with a batch; 3 lines have", "Put the file back"]);
    }
    place.kstream("rewind job.toml --to 0 --yes").expect(0);
    place.kstream("run job.toml").expect(0).says(&["batches=0"]);
    place.write("queue.jsonl", "[\"7\"]\n[\"8\"]\n");
    place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    assert!(place.read("out.log").contains("('8', 8)"));
}

//! The `command` output on the real binary: what a program gets, what ends a batch, and what a kill repeats.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path, process::Command, thread, time::Duration};

use super::support::{Place, Random, START_MS, wait_until};

/// A job of `batches` queue batches, two elements each, that ends in `command`.
fn queue(batches: usize, command: &str) -> Place {
    let place = Place::with_job(&format!(
        r#"
name = "told"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
name = "teller"
command = {command}
"#
    ));
    place.write("queue.jsonl", (0..batches).map(|batch| format!("[\"a\", {batch}]\n")).collect::<String>());
    place
}

const TELL: &str =
    r#"'printf "%s " $KSTREAM_BATCH_ID $KSTREAM_JOB $KSTREAM_BATCH_ELEMENTS $(cat) >> told; echo >> told'"#;

#[test]
fn a_command_runs_once_for_each_batch_and_a_replay_runs_none() {
    let place = queue(3, TELL);
    place.catch_up();
    let told = "0 told 2 \"a\" 0 \n1 told 2 \"a\" 1 \n2 told 2 \"a\" 2 \n";
    assert_eq!(place.read("told"), told);
    place.kstream("replay job.toml --verify").expect(0);
    place.kstream("replay job.toml").expect(0);
    assert_eq!(place.read("told"), told);
}

#[test]
fn what_a_command_writes_goes_to_the_log_and_never_to_stdout() {
    let place = queue(1, "'echo to stdout; echo to stderr >&2'");
    let ended = place.catch_up().says(&["to stdout", "to stderr", "teller"]);
    assert_eq!(ended.out, "");
}

#[test]
fn a_command_that_fails_is_tried_again_and_then_ends_the_job_with_its_last_words() {
    let place = queue(1, "'echo try >> tries; echo no room >&2; echo at all >&2; exit 9'");
    let ended = place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
    ended.expect(1).says(&[
        "teller",
        "exit code 9",
        "detail: no room\n  detail: at all",
        "The end of its stderr: no room | at all",
    ]);
    assert_eq!(place.read("tries").lines().count(), 4);
}

#[test]
fn a_command_that_fails_once_is_forgiven() {
    let place = queue(2, "'echo $KSTREAM_BATCH_ID >> tries; test $(wc -l < tries) -ne 1'");
    place.catch_up();
    assert_eq!(place.read("tries"), "0\n0\n1\n");
}

#[test]
fn an_element_without_json_form_is_poison() {
    for (on_error, code, told) in
        [("fail", 1, "0 told 2 \"a\" 0 \n"), ("skip", 0, "0 told 2 \"a\" 0 \n1 told 1 \"a\" \n")]
    {
        let place = queue(2, TELL);
        let map = "[[steps]]\nmap = 'lambda item: str(item).encode(\"utf-8\") if item == 1 else item'\n[[steps]]";
        let text = place.read("job.toml").replace("[[steps]]", map);
        place.write("job.toml", format!("on_error = \"{on_error}\"\n{text}"));
        place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}")).expect(code);
        assert_eq!(place.read("told"), told, "{on_error}");
    }
}

#[test]
fn a_missing_program_ends_the_job_at_once_and_is_named() {
    let place = queue(1, r#"["no-such-program-here"]"#);
    let ended = place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
    ended.expect(1).says(&["cannot start `no-such-program-here`", "There is no such program."]);
}

#[test]
fn a_signal_to_the_group_of_kstream_lets_the_command_finish_its_batch() {
    use std::os::unix::process::CommandExt;
    let place = queue(1, "'touch begun; sleep 1; echo $KSTREAM_BATCH_ID >> told'");
    let mut command = place.command(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
    command.process_group(0);
    let running = place.spawn(command);
    wait_until("the command", || place.path("begun").exists());
    let group = format!("-{}", running.pid());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("kill").success());
    running.wait().expect(0);
    assert_eq!(place.read("told"), "0\n");
    assert_eq!(place.ledger().len(), 1);
}

#[test]
fn kills_repeat_at_most_the_batch_in_flight() {
    let place = queue(60, "'cat > /dev/null; echo $KSTREAM_BATCH_ID >> told'");
    let mut random = Random::seeded();
    let bounded = format!("run job.toml --until-caught-up --manual-clock {START_MS}");
    let mut met = 0;
    for _ in 0..6 {
        let before = place.read("told").len();
        let mut running = place.start(&bounded);
        wait_until("a batch", || place.read("told").len() > before + 6 || !running.is_running());
        thread::sleep(Duration::from_micros(random.below(10_000)));
        met += usize::from(running.kill());
        // The command of the killed process may still be about to write.
        thread::sleep(Duration::from_millis(200));
    }
    assert!(met >= 3, "only {met} kills met a live process");
    place.catch_up();
    let told: Vec<usize> = place.read("told").lines().map(|line| line.parse().expect("id")).collect();
    for pair in told.windows(2) {
        assert!(pair[1] == pair[0] || pair[1] == pair[0] + 1, "{told:?}");
    }
    assert_eq!((told.first(), told.last()), (Some(&0), Some(&59)));
    assert!(told.len() <= 60 + met, "{told:?}");
}

/// What the example's database must hold: the paid orders of `path`, `repeat` times.
fn takings(path: &Path, repeat: i64) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for line in fs::read_to_string(path).expect("orders").lines() {
        let Ok(order) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (Some(true), Some(shop), Some(pieces), Some(price)) =
            (order["paid"].as_bool(), order["shop"].as_str(), order["pieces"].as_i64(), order["price"].as_i64())
        else {
            continue;
        };
        *sums.entry(shop.to_owned()).or_default() += pieces * price * repeat;
    }
    sums
}

#[test]
fn the_sqlite_example_counts_every_order_once_whatever_is_killed() {
    if !Command::new("python3").args(["-c", "import sqlite3"]).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no python3 with sqlite3 here");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Place::with_job("");
    symlink(root.join("jobs"), place.path("jobs")).expect("link");
    let mut random = Random::seeded();
    let run = format!(
        "run jobs/orders_to_sqlite.toml --until-caught-up --manual-clock {START_MS} \
         --set source.max_records_per_partition=40 --set source.embedded.rate=1000000"
    );
    let mut met = 0;
    for _ in 0..6 {
        let mut running = place.start(&run);
        wait_until("a batch", || running.err().contains("batch ") || !running.is_running());
        thread::sleep(Duration::from_millis(random.below(150)));
        met += usize::from(running.kill());
    }
    assert!(met >= 2, "only {met} kills met a live process");
    place.kstream(&run).expect(0);
    let dump =
        "import json, sqlite3; print(json.dumps(dict(sqlite3.connect('takings.db').execute('SELECT * FROM takings'))))";
    let output = Command::new("python3").args(["-c", dump]).current_dir(place.path("")).output().expect("python3");
    let found: BTreeMap<String, i64> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found, takings(&root.join("jobs/data/orders.jsonl"), 5));
}

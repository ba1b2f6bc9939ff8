//! Time that passes while nothing runs, clocks that are set, batches that take too long.

use std::{thread, time::Duration};

use super::{COUNTED, bounded, embedded};
use crate::{
    run::{sums, truth},
    support::{Place, wait_until},
};

const START: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Counts, and the same over a window of three intervals.
fn windowed(place: &Place) {
    let window = r#"
[[steps]]
from = "pairs"
reduce_by_key_and_window = { func = "lambda a, b: a + b", length = "3s", slide = "1s" }
[[steps]]
pprint = { num = 100_000, to = "windows.log" }
"#;
    let steps = COUNTED.replace("map = \"lambda word", "name = \"pairs\"\nmap = \"lambda word") + window;
    embedded(place, 2_000, 2, "max_records_per_partition = 50", &steps);
}

fn live(place: &Place, now: i64, batches: usize) -> crate::support::Ended {
    place.kstream(&format!("run job.toml --manual-clock {now} --max-batches {batches}")).expect(0)
}

fn times(place: &Place) -> Vec<i64> {
    place.ledger().iter().map(|row| row["time"].as_i64().unwrap()).collect()
}

#[test]
fn a_week_of_downtime_is_a_few_batches_and_no_warning() {
    let place = Place::with_job("");
    windowed(&place);
    live(&place, START, 3);
    let late = START + 7 * DAY;
    let ended =
        live(&place, late, 5).says(&["one batch stands for the ticks at which nothing ran", "missed_ticks=6047"]);
    assert!(!ended.err.contains("WARN"), "{}", ended.err);
    let found = times(&place);
    // The window of the last batches still held records at the next two times; then it is the week later.
    let of_start = [1, 2, 3, 4, 5].map(|tick| START + tick * 1_000);
    assert_eq!(found, [&of_start[..], &[late, late + 1_000, late + 2_000]].concat());
    place.kstream(&format!("run job.toml --until-caught-up --manual-clock {}", late + 7 * DAY)).expect(0);
    let found = times(&place);
    assert!(found.len() < 40, "{} batches", found.len());
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
    assert_eq!(sums(&place.read("out.log")), truth(place.read("lines.txt").lines()));
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_clock_that_is_set_between_runs_changes_no_order_and_loses_nothing() {
    let calm = Place::with_job("");
    windowed(&calm);
    calm.catch_up();
    let place = Place::with_job("");
    windowed(&place);
    live(&place, START, 4);
    let ahead = |now: i64| live(&place, now, 3).says(&["batch times are ahead of the clock; the distance stays"]);
    ahead(START - DAY);
    ahead(START - 400 * DAY);
    live(&place, START + DAY, 4);
    ahead(START);
    let found = times(&place);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
    assert!(found.iter().all(|time| time % 1_000 == 0), "{found:?}");
    assert!(found.len() <= 4 + 3 + 3 + 4 + 3, "no storm of batches: {found:?}");
    place.kstream(&bounded()).expect(0);
    assert_eq!(sums(&place.read("out.log")), sums(&calm.read("out.log")));
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn batches_of_five_intervals_are_no_queue_of_batches() {
    let place = Place::with_job("");
    let slow = format!("{COUNTED}[[steps]]\ncommand = \"cat > /dev/null; sleep 0.5\"\n");
    embedded(&place, 60, 1, "max_records_per_partition = 10", &slow);
    place.write("job.toml", place.read("job.toml").replace("\"1s\"", "\"100ms\""));
    let running = place.start("run job.toml --progress progress.jsonl");
    wait_until("some batches", || place.read("progress.jsonl").lines().count() >= 5);
    thread::sleep(Duration::from_millis(50));
    running.signal("-TERM");
    running.wait().expect(0).says(&["falling behind", "missed_ticks=", "batch_interval_ms=100"]);
    let progress: Vec<serde_json::Value> =
        place.read("progress.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = times(&place);
    assert_eq!(found.len(), progress.len(), "the batch in flight is the last: none was queued behind it");
    for (pair, told) in found.windows(2).zip(&progress[1..]) {
        assert!(pair[1] - pair[0] >= 400, "{found:?}: a batch takes 500 ms");
        assert!(told["missed_ticks"].as_u64() >= Some(3), "{told}");
        assert!(told["processing_delay_ms"].as_f64() >= Some(500.0), "{told}");
        // Started at once, at the latest of the ticks that were missed.
        assert!(told["scheduling_delay_ms"].as_f64() < Some(300.0), "{told}");
    }
}

#[test]
fn ticks_that_pass_while_a_process_stands_still_are_not_blamed_on_batches() {
    let place = Place::with_job("");
    embedded(&place, 10, 1, "", COUNTED);
    let running = place.start("run job.toml");
    wait_until("a batch", || running.err().contains("batch committed"));
    thread::sleep(Duration::from_millis(300));
    running.signal("-STOP");
    thread::sleep(Duration::from_millis(3_500));
    running.signal("-CONT");
    wait_until("the word", || running.err().contains("this process stood still"));
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    assert!(!ended.err.contains("falling behind"), "{}", ended.err);
}

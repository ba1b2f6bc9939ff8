//! Whole jobs on a real Kafka: many batches under kills, losses, transactions, brokers that go away.

mod brokers;
mod clusters;
mod listeners;
mod loss;
mod made_again;

use std::{thread, time::Duration};

use rdkafka::producer::Producer;

use super::{
    broker::{Broker, End, NewRecord, broker, flush, send, unique_name},
    run::{sums, truth},
    support::{COUNTED, Place, START_MS, blocks, of_kafka, wait_until},
};

const PARTITIONS: i32 = 4;

/// Word counts of a topic into `out.log`.
fn word_count(brokers: &str, topic: &str, source: &str) -> String {
    of_kafka("counted", "1s", (brokers, topic), source, COUNTED)
}

/// The line at an offset of a partition.
fn line(partition: i32, offset: u64) -> String {
    format!("p{partition} w{} w{} w{}", offset % 7, offset % 101, (offset * 31) % 997)
}

fn fill(broker: &Broker, topic: &str, lines: u64) -> Vec<String> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let lines: Vec<String> = (0..lines).map(|offset| line(partition, offset)).collect();
        broker.produce(topic, partition, &lines);
        all.extend(lines);
    }
    all
}

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

#[test]
fn kills_lose_no_record_and_double_none() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("killed", PARTITIONS);
    let lines = fill(broker, topic.name(), 25_000);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 250"));
    let met = place.kill_as_it_writes(&bounded(), 8, 40_000, 20_000);
    assert!(met >= 3, "only {met} kills met a live process");
    place.catch_up();
    let log = place.read("out.log");
    assert_eq!(sums(&log), truth(lines.iter().map(String::as_str)));
    let times: Vec<_> = blocks(&log).into_iter().map(|block| block.time).collect();
    assert_eq!(times.len(), 100, "a batch for each 250 offsets");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let calm = Place::with_job(&place.read("job.toml"));
    calm.catch_up();
    assert_eq!(calm.read("out.log"), log);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn an_open_transaction_holds_back_its_partition_and_no_other() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("held", 2);
    let open = broker.transactional_producer();
    open.begin_transaction().unwrap();
    send(&open, topic.name(), 0, &NewRecord::value("open"));
    flush(&open);
    broker.produce(topic.name(), 0, ["behind"]);
    let job = word_count(&broker.brokers, topic.name(), "").replace("\"1s\"", "\"100ms\"");
    let place = Place::with_job(&job);
    let running = place.start("run job.toml --progress progress.jsonl");
    for word in ["a", "b", "c"] {
        broker.produce(topic.name(), 1, [word]);
        wait_until(word, || place.read("out.log").contains(&format!("('{word}', 1)")));
    }
    let log = place.read("out.log");
    assert!(!log.contains("open") && !log.contains("behind"), "{log}");
    open.commit_transaction(Duration::from_secs(10)).unwrap();
    wait_until("what was held back", || place.read("out.log").contains("('behind', 1)"));
    running.signal("-TERM");
    running.wait().expect(0);
    assert_eq!(sums(&place.read("out.log")), truth(["a", "b", "c", "open", "behind"].into_iter()));
}

#[test]
fn aborted_records_are_never_seen_and_markers_alone_are_a_batch() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("aborted", 1);
    broker.transaction(topic.name(), [(0, "a"), (0, "a")], End::Abort);
    broker.transaction(topic.name(), [(0, "b")], End::Commit);
    broker.transaction(topic.name(), [(0, "c"), (0, "d")], End::Abort);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 1"));
    place.catch_up();
    let log = place.read("out.log");
    assert_eq!(sums(&log), truth(["b"]));
    assert_eq!(blocks(&log).len(), 8, "each offset is a batch, markers too");
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("grown", 1);
    broker.produce(topic.name(), 0, ["a b"]);
    let job =
        word_count(&broker.brokers, topic.name(), "properties = { \"topic.metadata.refresh.interval.ms\" = \"200\" }");
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let running = place.start("run job.toml");
    wait_until("the first record", || place.read("out.log").contains("('a', 1)"));
    broker.add_partitions(topic.name(), 2);
    broker.produce(topic.name(), 1, ["c"]);
    wait_until("the new partition", || place.read("out.log").contains("('c', 1)"));
    running.signal("-TERM");
    running.wait().expect(0);
    assert_eq!(sums(&place.read("out.log")), truth(["a b c"]));
}

#[test]
fn a_group_mirrors_committed_offsets_and_decides_nothing() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("mirrored", PARTITIONS);
    let mut lines = fill(broker, topic.name(), 100);
    let group = unique_name("lag");
    let job = word_count(&broker.brokers, topic.name(), "max_records_per_partition = 30");
    let place = Place::with_job(&format!("mirror_offsets_to = \"{group}\"\n{job}"));
    let committed = |place: &Place| -> Vec<Option<i64>> {
        let ledger = place.ledger();
        let ranges = ledger.last().unwrap()["ranges"].as_array().unwrap();
        ranges.iter().map(|range| range["until"].as_i64()).collect()
    };
    place.kstream(&format!("{} --max-batches 2", bounded())).expect(0);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), vec![Some(60); 4]);
    assert_eq!(committed(&place), vec![Some(60); 4]);
    place.catch_up();
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), vec![Some(100); 4]);

    broker.set_group_offsets(&group, topic.name(), &[3, 2, 1, 0]);
    broker.produce(topic.name(), 0, ["a b"]);
    lines.push("a b".to_owned());
    place.catch_up();
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [101, 100, 100, 100].map(Some));

    broker.delete_group(&group);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [None; 4]);
    place.catch_up().says(&["batches=0"]);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [101, 100, 100, 100].map(Some));
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)));
}

#[test]
fn a_group_that_cannot_be_written_to_is_one_warning() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("member", 1);
    let group = unique_name("taken");
    let _member = broker.member(&group, topic.name());
    let job = word_count(&broker.brokers, topic.name(), "").replace("\"1s\"", "\"100ms\"");
    let place = Place::with_job(&format!("mirror_offsets_to = \"{group}\"\n{job}"));
    let running = place.start("run job.toml");
    for word in ["a", "b", "c"] {
        broker.produce(topic.name(), 0, [word]);
        wait_until("the word", || place.read("out.log").contains(&format!("('{word}', 1)")));
    }
    thread::sleep(Duration::from_millis(500));
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains("mirror") && line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.err);
    assert!(warnings[0].contains(&group), "{}", warnings[0]);
}

#[test]
fn absurd_timestamps_are_plain_numbers_that_move_no_batch_and_no_window() {
    let Some(broker) = broker() else { return };
    let any = i64::MAX.to_string();
    let settings =
        [("retention.ms", "-1"), ("message.timestamp.after.max.ms", &any), ("message.timestamp.before.max.ms", &any)];
    let topic = broker.topic_with("absurd", 1, &settings);
    let absurd = [253_402_300_800_000_000, 2, 1, 4_000_000_000_000, i64::MAX / 1_000, 1_600_000_000_000];
    broker.produce_records(topic.name(), 0, absurd.map(|at| NewRecord::value("w").timestamp(at)));
    for fetch in ["native", "librdkafka"] {
        let source = format!("fetch = \"{fetch}\"\nmax_records_per_partition = 2");
        let steps = "[[steps]]\nmap = \"lambda record: record.timestamp\"\n[[steps]]\npprint = { to = \"stamps.log\" }\n\
                     [[steps]]\nfrom = \"source\"\ncount_by_window = { length = \"2s\", slide = \"1s\" }\n\
                     [[steps]]\npprint = { to = \"windows.log\" }\n";
        let job = word_count(&broker.brokers, topic.name(), &source);
        let (head, _) = job.split_once("[[steps]]").unwrap();
        let place = Place::with_job(&format!("{head}{steps}"));
        place.catch_up();
        let lines = |log: &str| blocks(&place.read(log)).into_iter().flat_map(|block| block.lines).collect::<Vec<_>>();
        assert_eq!(lines("stamps.log"), absurd.map(|at| at.to_string()), "{fetch}");
        assert_eq!(lines("windows.log"), ["2", "4", "4"], "{fetch}: windows lie over batch times");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn latest_is_where_the_log_ended_when_the_job_started_not_at_its_first_tick() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("late", 1);
    broker.produce(topic.name(), 0, &["before".to_owned()]);
    let job = word_count(&broker.brokers, topic.name(), "start = \"latest\"").replace("\"1s\"", "\"6s\"");
    let place = Place::with_job(&job);
    let run = place.start("run job.toml");
    wait_until("start", || run.err().contains("where the first batch begins is found"));
    broker.produce(topic.name(), 0, &["after".to_owned()]);
    // Mostly the first batch; a tick that came in between leaves it to the second.
    wait_until("batch", || place.read("out.log").contains("('after', 1)"));
    run.signal("-TERM");
    run.wait().expect(0);
    let log = place.read("out.log");
    assert!(!log.contains("before"), "{log}");
}

#[test]
fn what_is_taken_back_to_a_start_of_the_moment_is_read_again_by_the_start_that_is_told() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("again", 1);
    broker.produce(topic.name(), 0, ["before"]);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "start = \"latest\""));
    place.catch_up();
    broker.produce(topic.name(), 0, ["after"]);
    place.catch_up();
    let log = sums(&place.read("out.log"));
    assert_eq!(log, truth(["after"]));
    let start = format!("{}:0:1", topic.name());
    place.kstream("rewind job.toml --to start --yes").expect(0).says(&[&start]);
    assert!(sums(&place.read("out.log")).is_empty());
    place.kstream(&format!("{} --start {start}", bounded())).expect(0);
    assert_eq!(sums(&place.read("out.log")), log);
}

#[test]
fn a_topic_of_a_pattern_that_is_made_between_two_runs_is_read_whole() {
    let Some(broker) = broker() else { return };
    let first = broker.topic("made", 1);
    broker.produce(first.name(), 0, ["before"]);
    let text = word_count(&broker.brokers, "", "start = \"latest\"")
        .replace("topics = [\"\"]", &format!("topic_pattern = \"{}.*\"", first.name()));
    let place = Place::with_job(&text);
    place.catch_up();
    let second = broker.topic(&format!("{}-second", first.name()), 1);
    broker.produce(second.name(), 0, ["meanwhile"]);
    place.catch_up();
    assert_eq!(sums(&place.read("out.log")), truth(["meanwhile"]));
    place.kstream("replay job.toml --verify").expect(0);
    // Also where the pattern had found nothing before; a topic of another source stood for the batch.
    let none = unique_name("none");
    let second = format!(
        "[sources.b]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic_pattern = \"{none}.*\"\nstart = \"latest\"\n",
        broker.brokers
    );
    let both = "[[steps]]\nname = \"both\"\nfrom = \"a\"\nunion = [\"b\"]\n[[steps]]";
    let two = word_count(&broker.brokers, first.name(), "").replace("[source]", "[sources.a]").replacen(
        "[[steps]]",
        &format!("{second}{both}"),
        1,
    );
    let beside = Place::with_job(&two);
    let ended = beside.kstream(&bounded()).expect(0);
    ended.says(&["there is no topic to read yet"]);
    let later = broker.topic(&none, 1);
    broker.produce(later.name(), 0, ["late"]);
    beside.catch_up();
    assert_eq!(sums(&beside.read("out.log")), truth(["before late"]));
    // One that only an edit brings in is news: it begins as the job says.
    let other = broker.topic("other", 1);
    broker.produce(other.name(), 0, ["long ago"]);
    place.write("job.toml", text.replace(".*\"", &format!(".*|{}\"", other.name())));
    place.kstream(&format!("{} --accept-changes", bounded())).expect(0);
    assert_eq!(sums(&place.read("out.log")), truth(["meanwhile"]));
}

#[test]
fn a_bounded_run_at_latest_stores_where_it_begins_though_it_reads_nothing() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("late", PARTITIONS);
    fill(broker, topic.name(), 10);
    for start in ["latest", "2100-01-01T00:00:00Z"] {
        let place = Place::with_job(&word_count(&broker.brokers, topic.name(), &format!("start = \"{start}\"")));
        place.catch_up();
        assert_eq!(place.ledger().len(), 1, "{start}: one empty batch holds the offsets");
        place.catch_up();
        assert_eq!(place.ledger().len(), 1, "{start}: with them stored there is nothing to do");
        broker.produce(topic.name(), 1, ["after"]);
        place.catch_up();
        let log = place.read("out.log");
        assert!(log.contains("('after', 1)") && !log.contains("p0"), "{start}: {log}");
        place.kstream("replay job.toml --verify").expect(0);
    }
    // A topic that is added begins in the same way.
    let added = broker.topic("added", 1);
    let text = word_count(&broker.brokers, topic.name(), "start = \"latest\"");
    let place = Place::with_job(&text);
    place.catch_up();
    place.write("job.toml", text.replace("topics = [", &format!("topics = [\"{}\", ", added.name())));
    broker.produce(added.name(), 0, ["before"]);
    place.catch_up();
    assert_eq!(place.ledger().len(), 2, "one empty batch holds where it begins");
    broker.produce(added.name(), 0, ["behind"]);
    place.catch_up();
    let log = place.read("out.log");
    assert!(log.contains("('behind', 1)") && !log.contains("before"), "{log}");
    let pattern = word_count(&broker.brokers, "", "start = \"latest\"")
        .replace("topics = [\"\"]", "topic_pattern = \"no-such-.*\"");
    let place = Place::with_job(&pattern);
    place.catch_up();
    assert!(place.ledger().is_empty(), "no partition, so nothing to store");
}

/// What lies behind the end of a range and cannot be seen is not missing from the next.
#[test]
fn ranges_that_end_amid_what_was_aborted_are_fetched_once() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("amid", 1);
    let mut committed = Vec::new();
    for nth in 0..12 {
        let end = if nth % 2 == 0 { End::Abort } else { End::Commit };
        // Each in a response of its own.
        let lines: Vec<String> = (0..57).map(|line| format!("t{nth} l{line} {}", "x".repeat(2_000))).collect();
        broker.transaction(topic.name(), lines.iter().map(|line| (0, line)), end);
        if end == End::Commit {
            committed.extend(lines);
        }
    }
    let keys = "max_records_per_partition = 10\nprefetch_memory = \"64KiB\"";
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), keys));
    let ended = place.catch_up();
    assert!(!ended.err.contains("fetching again"), "{}", ended.err);
    assert_eq!(sums(&place.read("out.log")), truth(committed.iter().map(String::as_str)));
    place.kstream("replay job.toml --verify").expect(0);
}

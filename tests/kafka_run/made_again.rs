//! Topics that are deleted and made again while a batch is planned, read, published, or waits for its next start.

use std::{collections::BTreeMap, process::Command, time::Duration};

use super::{
    super::{
        broker::{Broker, broker},
        support::{Place, Running, of_kafka, wait_until},
    },
    bounded,
};

const FETCHES: [&str; 2] = ["native", "librdkafka"];

/// Two partitions of a topic, record by record in a file.
fn copied(broker: &Broker, topic: &str, keys: &str) -> Place {
    let steps = "[[steps]]\nmap = 'lambda r: r.value.split(\"|\")[0]'\n[[steps]]\n\
                 to_file = { path = \"out.txt\", format = \"text\", layout = \"append\" }";
    Place::with_job(&of_kafka("copied", "200ms", (&broker.brokers, topic), keys, steps))
}

fn put(broker: &Broker, topic: &str, word: &str, records: usize) {
    for partition in 0..2 {
        broker.produce(topic, partition, (0..records).map(|i| format!("{word} {partition} {i}")));
    }
}

/// As [`put`], but too large for much of it to be fetched ahead.
fn put_large(broker: &Broker, topic: &str, word: &str, records: usize) {
    for (partition, i) in (0..2).flat_map(|partition| (0..records).map(move |i| (partition, i))) {
        broker.produce(topic, partition, [format!("{word} {partition} {i}|{}", "x".repeat(16 << 10))]);
    }
}

/// How often each word was read, by partition; none of its records twice.
fn read(place: &Place) -> BTreeMap<String, usize> {
    let text = if place.path("out.txt").exists() { place.read("out.txt") } else { String::new() };
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    text.lines().for_each(|line| *times.entry(line).or_default() += 1);
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let mut words = BTreeMap::new();
    for line in times.keys() {
        *words.entry(line.rsplit_once(' ').expect("a word and a number").0.to_owned()).or_default() += 1;
    }
    words
}

fn words<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    let there = expected.into_iter().filter(|(_, records)| *records > 0);
    there.flat_map(|(word, records)| [0, 1].map(|partition| (format!("{word} {partition}"), records))).collect()
}

/// A run that comes to `point` and dies there, or is held there for so long.
fn at(place: &Place, args: &str, point: &str, hold: Option<Duration>) -> Running {
    let report = place.path("report");
    let _ = std::fs::remove_file(&report);
    let mut command: Command = place.command(args);
    command.env("KSTREAM_CRASH_AT", point).env("KSTREAM_CRASH_REPORT", &report);
    if let Some(hold) = hold {
        command.env("KSTREAM_CRASH_HOLD", hold.as_secs().to_string());
    }
    let running = place.spawn(command);
    wait_until(point, || report.exists());
    running
}

fn make_again(broker: &Broker, topic: &str, word: &str, records: usize) {
    broker.delete_topic(topic);
    broker.create_topic(topic, 2, &[]);
    put(broker, topic, word, records);
}

const SKIP: &str = "--set source.on_data_loss=skip";

/// The offsets of its plan are there again, with other records.
#[test]
fn a_batch_in_flight_takes_nothing_of_a_topic_made_again_for_its_own() {
    let Some(broker) = broker() else { return };
    for fetch in FETCHES {
        for (point, before) in [("execute: begun", 5), ("stage: done", 0)] {
            let topic = broker.topic("flight", 2);
            let place = copied(broker, topic.name(), &format!("fetch = \"{fetch}\""));
            if before > 0 {
                put(broker, topic.name(), "first", before);
                place.kstream(&bounded()).expect(0);
            }
            put(broker, topic.name(), "lost", 10);
            at(&place, &bounded(), point, None).wait();
            make_again(broker, topic.name(), "new", 20);
            place.kstream(&bounded()).expect(4).says(&[topic.name(), "deleted and created again"]);
            assert_eq!(read(&place), words([("first", before)]), "{fetch} {point}");
            place.kstream(&format!("{} {SKIP}", bounded())).expect(0).says(&["topic recreated"]);
            place.kstream(&format!("{} {SKIP}", bounded())).expect(0);
            assert_eq!(read(&place), words([("first", before), ("new", 20)]), "{fetch} {point}");
        }
    }
}

/// Between the plan and the read of a run, and of one that has asked once what there is.
#[test]
fn a_topic_made_again_under_a_planned_batch_is_read_from_its_beginning() {
    let Some(broker) = broker() else { return };
    for fetch in FETCHES {
        let topic = broker.topic("under", 2);
        put_large(broker, topic.name(), "old", 20);
        let keys = "prefetch_memory = \"16KiB\"\nmax_records_per_partition = 5\non_data_loss = \"skip\"";
        let keys = format!("fetch = \"{fetch}\"\n{keys}");
        let place = copied(broker, topic.name(), &keys);
        let running = at(&place, &bounded(), "execute: begun#3", Some(Duration::from_secs(4)));
        make_again(broker, topic.name(), "new", 30);
        running.wait().expect(0).says(&["topic recreated"]);
        assert_eq!(read(&place), words([("old", 10), ("new", 20)]), "{fetch}: up to where the old one ended");
        place.kstream(&bounded()).expect(0);
        assert_eq!(read(&place), words([("old", 10), ("new", 30)]), "{fetch}");
    }
}

/// Where a topic began is of no use to another one of its name.
#[test]
fn a_topic_told_as_deleted_and_made_again_later_is_read_from_its_beginning() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("later", 2);
    put(broker, topic.name(), "before", 50);
    let place = copied(broker, topic.name(), "start = \"latest\"\non_data_loss = \"skip\"");
    let running = place.start("run job.toml");
    wait_until("the start", || running.err().contains("where the first batch begins is found"));
    put(broker, topic.name(), "first", 3);
    wait_until("the first records", || read(&place) == words([("first", 3)]));
    broker.delete_topic(topic.name());
    wait_until("the loss", || running.err().contains("topic or partition deleted"));
    broker.create_topic(topic.name(), 2, &[]);
    put(broker, topic.name(), "new", 70);
    wait_until("the new topic", || read(&place) == words([("first", 3), ("new", 70)]));
    running.signal("-TERM");
    running.wait().expect(0);
}

/// What is published is committed before the next plan can fail, or wait, for want of what it needs.
#[test]
fn a_published_batch_is_committed_though_its_topic_is_made_again_before_the_next_plan() {
    let Some(broker) = broker() else { return };
    for is_killed in [false, true] {
        let topic = broker.topic("published", 2);
        put(broker, topic.name(), "old", 50);
        let place = copied(broker, topic.name(), "max_records_per_partition = 5");
        let args = if is_killed { format!("run job.toml -v {SKIP}") } else { "run job.toml".to_owned() };
        let running = at(&place, &args, "publish: done#3", Some(Duration::from_secs(3)));
        make_again(broker, topic.name(), "new", 10);
        if is_killed {
            // The plan waits for some seconds until it believes in another topic.
            wait_until("the commit", || running.err().contains("batch committed batch=2"));
            assert!(!running.err().contains("topic recreated"), "it was planned already\n{}", running.err());
            assert!(running.kill());
        } else {
            running.wait().expect(4).says(&["cannot plan the next batch", "deleted and created again"]);
        }
        assert_eq!(place.ledger().len(), 3, "killed: {is_killed}");
        assert_eq!(read(&place), words([("old", 15)]));
        place.kstream(&format!("run job.toml --until-caught-up {SKIP}")).expect(0);
        assert_eq!(read(&place), words([("old", 15), ("new", 10)]), "killed: {is_killed}");
    }
}

#[test]
fn partitions_assigned_by_hand_that_a_topic_made_again_has_not_are_lost_and_no_slip() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("assigned", 2);
    put(broker, topic.name(), "old", 5);
    let place = copied(broker, topic.name(), "");
    let name = topic.name();
    let by_hand = format!("assign = {{ \"{name}\" = [0, 1] }}");
    place.write("job.toml", place.read("job.toml").replace(&format!("topics = [\"{name}\"]"), &by_hand));
    place.kstream(&bounded()).expect(0);
    broker.delete_topic(name);
    broker.create_topic(name, 1, &[]);
    broker.produce(name, 0, ["new 0 0", "new 0 1"]);
    place.kstream(&bounded()).expect(4).says(&[&format!("{name}/1"), "does not exist any more"]);
    place.kstream(&format!("{} {SKIP}", bounded())).expect(0).says(&["topic recreated", "partition deleted"]);
    let expected = [("new 0", 2), ("old 0", 5), ("old 1", 5)];
    assert_eq!(read(&place), expected.map(|(word, records)| (word.to_owned(), records)).into());
    // One that nobody has ever heard of is a slip.
    place.write("job.toml", place.read("job.toml").replace("[0, 1]", "[0, 1, 7]"));
    place.kstream(&bounded()).expect(2).says(&["there is no", &format!("{name}/7")]);
}

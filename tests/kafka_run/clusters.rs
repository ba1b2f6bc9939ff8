//! Topics of one name in two clusters: each source reads, and loses, its own.

use std::collections::BTreeMap;

use super::{
    super::{
        broker::{Broker, Topic, broker},
        support::{Place, START_MS, blocks},
    },
    bounded,
};

/// A job on a topic of the embedded broker, where partition 0 has four records and partition 1 three, and on the topic of
/// that name in `broker`, where they have two and five; a batch reads one record of each.
fn two_clusters(broker: &Broker) -> (Place, Topic) {
    let topic = broker.topic("same", 2);
    broker.produce(topic.name(), 0, ["there 0/0", "there 0/1"]);
    broker.produce(topic.name(), 1, (0..5).map(|offset| format!("there 1/{offset}")));
    let place = Place::with_job(&format!(
        r#"name = "same"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[sources.here]
kind = "kafka"
brokers = "embedded"
topics = ["{topic}"]
embedded = {{ lines = "lines.txt", rate = 1_000_000_000, partitions = 2 }}
max_records_per_partition = 1
[sources.there]
kind = "kafka"
brokers = "{brokers}"
topics = ["{topic}"]
max_records_per_partition = 1
on_data_loss = "skip"
[[steps]]
from = "here"
union = ["there"]
[[steps]]
map = "lambda record: record.value"
[[steps]]
pprint = {{ num = 1000, to = "out.log" }}
"#,
        topic = topic.name(),
        brokers = broker.brokers
    ));
    place.write("lines.txt", (0..7).map(|nth| format!("here {}/{}\n", nth % 2, nth / 2)).collect::<String>());
    (place, topic)
}

/// The lines of each topic partition in the log, in its order.
fn logged(place: &Place) -> BTreeMap<String, Vec<String>> {
    let mut logged: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in blocks(&place.read("out.log")).into_iter().flat_map(|block| block.lines) {
        let (partition, offset) = line.split_once('/').unwrap();
        logged.entry(partition.to_owned()).or_default().push(offset.to_owned());
    }
    logged
}

#[track_caller]
fn check(place: &Place, expected: [(&str, std::ops::Range<u32>); 4]) {
    let offsets = |range: std::ops::Range<u32>| range.map(|offset| offset.to_string()).collect::<Vec<_>>();
    let expected = expected.map(|(partition, range)| (partition.to_owned(), offsets(range)));
    assert_eq!(logged(place), BTreeMap::from(expected));
}

#[test]
fn a_bounded_run_ends_in_each_cluster_where_that_one_ends() {
    let Some(broker) = broker() else { return };
    let (place, _topic) = two_clusters(broker);
    // It is interrupted, and ends where it would have ended.
    place.kstream(&format!("{} --max-batches 2", bounded())).expect(0);
    place.kstream(&bounded()).expect(0);
    check(&place, [("here 0", 0..4), ("here 1", 0..3), ("there 0", 0..2), ("there 1", 0..5)]);
    assert_eq!(place.ledger().len(), 5);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn what_one_cluster_has_lost_of_a_planned_batch_is_not_looked_for_in_the_other() {
    let Some(broker) = broker() else { return };
    let (place, topic) = two_clusters(broker);
    let mut command = place.command(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
    command.env("KSTREAM_CRASH_AT", "plan: logged").env("KSTREAM_CRASH_REPORT", place.path("report"));
    place.spawn(command).wait();
    assert!(place.read("report").contains("plan: logged"));
    broker.delete_records(topic.name(), 1, 3);
    place.kstream(&bounded()).expect(0).says(&[&format!("{}/1 0..1 (retention)", topic.name())]);
    check(&place, [("here 0", 0..4), ("here 1", 0..3), ("there 0", 0..2), ("there 1", 3..5)]);
}

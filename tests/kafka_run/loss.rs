//! Offsets that are gone: retention, topics deleted and made again, logs that were cut.

use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::{
    super::{
        broker::{broker, own_broker, unique_name},
        proxy::{Fault, Plan, Proxy},
        run::sums,
        support::Place,
    },
    PARTITIONS, bounded, fill, line, word_count,
};

#[test]
fn a_replay_of_deleted_records_names_the_range() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("gone", PARTITIONS);
    fill(broker, topic.name(), 100);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 50"));
    place.catch_up();
    broker.delete_records(topic.name(), 2, 30);
    let name = format!("{}/2", topic.name());
    place.kstream("replay job.toml --verify").expect(4).says(&[&name, "0..30"]);
    place.kstream("replay job.toml --verify --batch 1").expect(0);
}

#[test]
fn retention_past_the_committed_offset_is_data_loss_or_skipped_and_recorded() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("lost", PARTITIONS);
    fill(broker, topic.name(), 10);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), ""));
    place.catch_up();
    let log = place.read("out.log");
    fill(broker, topic.name(), 20);
    broker.delete_records(topic.name(), 1, 25);
    let name = format!("{}/1", topic.name());
    place.kstream(&bounded()).expect(4).says(&[&name, "10", "25", "on_data_loss"]);
    assert_eq!(place.read("out.log"), log);
    place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0).says(&[&name]);
    let words: u64 = sums(&place.read("out.log")).values().sum();
    assert_eq!(words, 4 * (4 * 10 + 3 * 20 + 5));
    let ledger = place.ledger();
    let lost = ledger.last().unwrap()["lost"][0].as_str().unwrap_or_else(|| panic!("{ledger:?}")).to_owned();
    assert!(lost.contains(&format!("{name} 10..25")), "{lost}");
}

#[test]
fn a_deleted_or_recreated_topic_is_data_loss() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("deleted", PARTITIONS);
    fill(broker, topic.name(), 10);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), ""));
    place.catch_up();
    let log = place.read("out.log");
    broker.delete_topic(topic.name());
    place.kstream(&bounded()).expect(4).says(&[topic.name()]);
    broker.create_topic(topic.name(), PARTITIONS, &[]);
    fill(broker, topic.name(), 5);
    place.kstream(&bounded()).expect(4).says(&[topic.name()]);
    assert_eq!(place.read("out.log"), log);
}

#[test]
fn a_topic_made_again_past_the_committed_offset_is_data_loss_or_skipped_and_recorded() {
    let Some(broker) = broker() else { return };
    for fetch in ["native", "librdkafka"] {
        let topic = broker.topic("again", PARTITIONS);
        fill(broker, topic.name(), 10);
        let place = Place::with_job(&word_count(&broker.brokers, topic.name(), &format!("fetch = \"{fetch}\"")));
        place.catch_up();
        let log = place.read("out.log");
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), PARTITIONS, &[]);
        fill(broker, topic.name(), 30);
        place.kstream(&bounded()).expect(4).says(&[topic.name(), "deleted and created again", "on_data_loss"]);
        assert_eq!(place.read("out.log"), log, "{fetch}");
        place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0);
        let words: u64 = sums(&place.read("out.log")).values().sum();
        assert_eq!(words, 4 * 4 * (10 + 30), "{fetch}: the new topic is read from its beginning");
        let ledger = place.ledger();
        let lost = ledger.iter().filter_map(|batch| batch["lost"].as_array()).flatten();
        let lost: Vec<&str> = lost.filter_map(|lost| lost.as_str()).collect();
        for partition in 0..PARTITIONS {
            let expected = format!("{}/{partition} 10.. (topic recreated)", topic.name());
            assert!(lost.contains(&&*expected), "{fetch}: {lost:?}");
        }
        place.kstream(&bounded()).expect(0);
    }
}

/// The broker dies, half of a log does not come back, and producers write past the offsets that were read.
fn cut_and_grown_again(fetch: &str) {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("cut");
    own.create_topic(&topic, 1, &[]);
    (0..20).for_each(|_| own.produce(&topic, 0, (0..20).map(|i| line(0, i))));
    let place = Place::with_job(&word_count(&own.brokers, &topic, &format!("fetch = \"{fetch}\"")));
    place.catch_up();
    let log = place.read("out.log");
    own.kill();
    own.halve_log(&topic, 0);
    own.start_again();
    let cut = own.offsets(&topic, 0).1;
    assert!((1..400).contains(&cut), "the log was cut at {cut}");
    own.produce(&topic, 0, (0..600).map(|i| line(0, i)));
    let name = format!("{topic}/0");
    place.kstream(&bounded()).expect(4).says(&[&name, &cut.to_string(), "on_data_loss"]);
    assert_eq!(place.read("out.log"), log, "{fetch}");
    let skipped = place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0);
    assert_eq!(skipped.err.matches("lost and skipped").count(), 1, "{}", skipped.err);
    let words: u64 = sums(&place.read("out.log")).values().sum();
    assert_eq!(words, 4 * (400 + 600), "{fetch}: all of the new log, from the cut on");
    let ledger = place.ledger();
    let lost: Vec<&str> =
        ledger.iter().filter_map(|batch| batch["lost"].as_array()).flatten().filter_map(|lost| lost.as_str()).collect();
    assert_eq!(lost, [format!("{name} {cut}..400 (log truncated)")], "{fetch}");
    own.produce(&topic, 0, ["behind"]);
    place.kstream(&bounded()).expect(0);
    assert!(place.read("out.log").contains("'behind'"), "{fetch}");
}

#[test]
fn a_log_that_was_cut_and_has_grown_again_is_data_loss_or_skipped_over_own_connections() {
    cut_and_grown_again("native");
}

#[test]
fn a_log_that_was_cut_and_has_grown_again_is_data_loss_or_skipped_by_librdkafka() {
    cut_and_grown_again("librdkafka");
}

/// A log that is cut while damaged bytes are fetched again must show: nobody else compares it in the middle of a range.
#[test]
fn after_damaged_bytes_librdkafka_has_the_log_compared_with_what_was_read() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("damaged", 1);
    for round in 0..40 {
        broker.produce(topic.name(), 0, [format!("{round}{}", " word".repeat(50))]);
    }
    let proxy = Proxy::before(&broker.brokers);
    proxy.play(Plan { key: ApiKey::Fetch, nth: 1, fault: Fault::Damaged, away: Duration::ZERO });
    let place = Place::with_job(&word_count(&proxy.address, topic.name(), "fetch = \"librdkafka\""));
    place.kstream(&bounded()).expect(0).says(&["damaged bytes from the broker"]);
    assert!(proxy.was_played());
    assert!(proxy.seen(ApiKey::OffsetForLeaderEpoch) > 0, "nobody has compared the log");
    let words = sums(&place.read("out.log"));
    assert_eq!((words.len(), words["word"]), (41, 40 * 50));
}

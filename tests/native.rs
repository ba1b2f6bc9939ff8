//! The native data plane against a real broker: every record, compared with what an independent client reads.

mod codes;
mod faults;
mod leaders;
pub mod plane;
mod tls;

use std::time::{Duration, Instant};

use kstream::{job::Isolation, source::SourceErrorKind};

use self::plane::{Plane, all, config, expected};
use crate::{
    broker::{Broker, End, NewRecord, broker, flush, own_broker, send, unique_name},
    support::wait_until,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Reads the whole topic in ranges of every given length and compares every field of every record.
fn check(broker: &Broker, topic: &str, partitions: i32, isolation: Isolation, lengths: &[i64]) {
    let config = config(&broker.brokers, isolation);
    let expected = expected(broker, topic, isolation);
    let ends: Vec<(i64, i64)> = (0..partitions).map(|p| broker.offsets(topic, p)).collect();
    for &length in lengths {
        let plane = Plane::open(&config, topic, &ends.iter().map(|(low, _)| *low).collect::<Vec<_>>());
        let mut records = Vec::new();
        for (partition, (low, high)) in ends.iter().enumerate() {
            let mut start = *low;
            while start < *high {
                let until = (start + length).min(*high);
                records.extend(plane.read(partition as i32, start, until).unwrap());
                start = until;
            }
        }
        assert_eq!(records.len(), expected.len(), "ranges of {length}");
        for (ours, theirs) in records.iter().zip(&expected) {
            assert_eq!(ours, theirs, "ranges of {length}");
        }
    }
}

#[test]
fn mixed_codecs_keys_headers_and_nulls_arrive_as_other_clients_read_them() {
    let Some(broker) = broker() else { return };
    // Old timestamps, which retention must not act on.
    let topic = broker.topic_with("native-mixed", 3, &[("retention.ms", "-1")]);
    for (round, codec) in CODECS.iter().cycle().take(10).enumerate() {
        for partition in 0..3 {
            let records = (0..200).map(|i| {
                let mut record = NewRecord::value(format!("{codec} {round} {i} {}", "grüße ".repeat(i % 7)));
                record.timestamp_ms = Some(1_600_000_000_000 + i as i64 * 7 - (i as i64 % 3) * 1_000);
                match i % 5 {
                    0 => record.value = None,
                    1 => record = record.key(format!("k{i}")),
                    2 => record = record.key("").header("a", "1").header("b", ""),
                    _ => {}
                }
                record
            });
            broker.produce_with(&[("compression.codec", codec)], topic.name(), partition, records);
        }
    }
    check(broker, topic.name(), 3, Isolation::ReadCommitted, &[1_000_000, 997, 61]);
}

#[test]
fn aborted_transactions_over_partitions_are_hidden_or_shown_as_asked() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-transactions", 2);
    let producers = [broker.transactional_producer(), broker.transactional_producer()];
    for round in 0..6 {
        use rdkafka::producer::Producer;
        producers.iter().for_each(|producer| producer.begin_transaction().unwrap());
        for i in 0..40 {
            let producer = &producers[i % 2];
            send(producer, topic.name(), (i / 2 % 2) as i32, &NewRecord::value(format!("{round} {i}")));
            if i % 10 == 9 {
                producers.iter().for_each(flush);
                broker.produce(topic.name(), 0, [format!("plain {round} {i}")]);
            }
        }
        let (first, second) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let limit = Duration::from_secs(30);
        producers[first].abort_transaction(limit).unwrap();
        if round % 3 == 0 {
            producers[second].abort_transaction(limit)
        } else {
            producers[second].commit_transaction(limit)
        }
        .unwrap();
    }
    check(broker, topic.name(), 2, Isolation::ReadCommitted, &[1_000_000, 7, 1]);
    check(broker, topic.name(), 2, Isolation::ReadUncommitted, &[1_000_000, 7]);
}

#[test]
fn a_range_that_ends_in_markers_and_aborted_records_ends_at_once() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-markers", 1);
    broker.transaction(topic.name(), [(0, "a"), (0, "b")], End::Abort);
    let plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), topic.name(), &[0]);
    let begun = Instant::now();
    assert_eq!(plane.read(0, 0, 3).unwrap(), []);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn compacted_and_trimmed_logs_are_read_by_position() {
    let Some(broker) = broker() else { return };
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    let topic = broker.topic_with("native-compacted", 1, &settings);
    for round in 0..4 {
        let records = (0..50).map(|i| NewRecord::value(format!("{round}")).key(format!("k{}", i % 10)));
        broker.produce_records(topic.name(), 0, records);
        std::thread::sleep(Duration::from_millis(150));
    }
    // Whether or not the cleaner has been, positions hold.
    let deadline = Instant::now() + Duration::from_secs(15);
    while all(broker, topic.name(), Isolation::ReadCommitted).len() > 150 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(250));
    }
    check(broker, topic.name(), 1, Isolation::ReadCommitted, &[1_000, 13]);

    let trimmed = broker.topic("native-trimmed", 1);
    broker.produce(trimmed.name(), 0, (0..100).map(|i| i.to_string()));
    broker.delete_records(trimmed.name(), 0, 37);
    check(broker, trimmed.name(), 1, Isolation::ReadCommitted, &[1_000, 10]);
    let plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), trimmed.name(), &[30]);
    let error = plane.read(0, 30, 50).unwrap_err();
    let SourceErrorKind::DataLoss { planned, earliest, latest, .. } = error.kind else { panic!("{error:?}") };
    assert_eq!((planned, earliest, latest), ((30, 50), 37, 100), "{error}");
    assert_eq!(plane.read(0, 37, 40).unwrap().len(), 3, "the plane goes on after a loss");
}

#[test]
fn large_records_arrive() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic_with("native-large", 2, &[("max.message.bytes", "16777216")]);
    let large: String = (0..12 << 20).map(|i: u32| char::from(b'a' + (i.wrapping_mul(i) >> 7) as u8 % 26)).collect();
    for codec in ["none", "zstd"] {
        let properties = [("message.max.bytes", "16000000"), ("compression.codec", codec)];
        let records = ["small", &large, "small"].map(NewRecord::value);
        broker.produce_with(&properties, topic.name(), 0, records.clone());
        broker.produce_with(&properties, topic.name(), 1, records);
    }
    check(broker, topic.name(), 2, Isolation::ReadCommitted, &[100, 1]);
}

/// Twenty partitions of records larger than each one's share of the memory.
#[test]
fn memory_is_bounded_whatever_the_batches_and_every_partition_gets_its_share() {
    let Some(broker) = broker() else { return };
    const RECORD: usize = 1_000_000;
    let large: String = (0..RECORD as u32).map(|i| char::from(b'a' + (i.wrapping_mul(i) >> 7) as u8 % 26)).collect();
    let topic = broker.topic_with("native-memory", 20, &[("max.message.bytes", "2000000")]);
    for partition in 0..20 {
        broker.produce_with(
            &[("message.max.bytes", "2000000")],
            topic.name(),
            partition,
            [&large; 4].map(NewRecord::value),
        );
    }
    let mut config = config(&broker.brokers, Isolation::ReadCommitted);
    config.prefetch_memory_bytes = 2 << 20;
    let plane = Plane::open(&config, topic.name(), &[0; 20]);
    // Two readers at a time, as two threads would, range by range; nobody reads the last partition.
    let done = std::sync::atomic::AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(plane.held_bytes());
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let readers = [0, 1].map(|reader| {
            let plane = &plane;
            scope.spawn(move || {
                for offset in 0..4 {
                    for partition in (0..19).filter(|partition| partition % 2 == reader) {
                        assert_eq!(plane.read(partition, offset, offset + 1).unwrap().len(), 1);
                    }
                }
            })
        });
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        watch.join().unwrap()
    });
    // The bound, a batch in the hands of each reader, and one that came in for each.
    assert!(most <= (2 << 20) + 4 * (RECORD + 1_000), "{most} bytes were held");

    // Small batches: a partition of which nobody takes anything keeps to its share.
    let topic = broker.topic("native-share", 2);
    for _ in 0..40 {
        broker.produce(topic.name(), 0, [&large[..50_000]]);
    }
    broker.produce(topic.name(), 1, ["a"; 10]);
    config.prefetch_memory_bytes = 1 << 20;
    config.properties.insert("fetch.message.max.bytes".into(), "60000".into());
    let plane = Plane::open(&config, topic.name(), &[0, 0]);
    let limit = Instant::now() + Duration::from_secs(20);
    while plane.queued_bytes(0) < 200_000 && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(500));
    let (first, second) = (plane.queued_bytes(0), plane.queued_bytes(1));
    assert!((200_000..400_000).contains(&first) && second > 0, "{first} and {second} bytes");
    assert_eq!(plane.read(1, 0, 10).unwrap().len(), 10);
    assert_eq!(plane.read(0, 0, 40).unwrap().len(), 40);
}

#[test]
fn a_range_waits_for_records_that_come_later() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-later", 1);
    let plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), topic.name(), &[0]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| plane.read(0, 0, 3).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        broker.produce(topic.name(), 0, ["a", "b", "c", "d"]);
        assert_eq!(reader.join().unwrap().len(), 3);
    });
    assert_eq!(plane.read(0, 3, 4).unwrap().len(), 1);
    // Again, as a retry of the batch would.
    assert_eq!(plane.read(0, 1, 4).unwrap().len(), 3);
}

#[test]
fn a_topic_deleted_is_data_loss_and_another_id_of_its_name_is_none_of_the_plan() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-recreated", 1);
    broker.produce(topic.name(), 0, (0..10).map(|i| i.to_string()));
    let mut plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), topic.name(), &[0]);
    plane.stall_timeout_ms = 3_000;
    assert_eq!(plane.read(0, 0, 5).unwrap().len(), 5);
    let id = plane.known_topic_id(0);
    assert_eq!(id.as_deref().map(str::len), Some(22), "{id:?}");
    broker.delete_topic(topic.name());
    let error = plane.read(0, 10, 20).unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::DataLoss { .. }), "{error:?}");
    broker.create_topic(topic.name(), 1, &[]);
    broker.produce(topic.name(), 0, (0..30).map(|i| i.to_string()));
    // Whether it is another topic, or a broker is behind, is for the plan's side to find out.
    let error = plane.read(0, 10, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("made again"), "{error}");
    // A new process knows the topic id only from its plan.
    let mut plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), topic.name(), &[10]);
    plane.topic_id = id;
    let error = plane.read(0, 10, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    plane.topic_id = None;
    assert_eq!(plane.read(0, 10, 20).unwrap().len(), 10);
}

#[test]
fn a_plan_for_a_topic_made_anew_is_read_whole_wherever_the_old_one_was_left() {
    let Some(broker) = broker() else { return };
    let config = config(&broker.brokers, Isolation::ReadCommitted);
    for read in [0, 5] {
        let topic = broker.topic("native-anew", 1);
        // Offset 0 of the old topic is not read: what was fetched of it ahead is none of the new one's.
        broker.produce(topic.name(), 0, ["old"; 5]);
        let mut plane = Plane::open(&config, topic.name(), &[0]);
        wait_until("what is fetched ahead", || plane.queued_bytes(0) > 0);
        assert_eq!(plane.read(0, 0, read).unwrap().len(), read as usize);
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        broker.produce(topic.name(), 0, (0..7).map(|i| i.to_string()));
        let newer = Plane::open(&config, topic.name(), &[0]);
        wait_until("its topic's id", || newer.known_topic_id(0).is_some());
        plane.topic_id = newer.known_topic_id(0);
        let records = plane.read(0, 0, 7).unwrap_or_else(|error| panic!("after {read}: {error:?}"));
        assert_eq!(records.len(), 7);
        assert!(records.iter().all(|record| record.value.as_deref() != Some(b"old".as_slice())), "{records:?}");
        broker.produce(topic.name(), 0, ["7", "8"]);
        assert_eq!(plane.read(0, 7, 9).unwrap().len(), 2);
    }
}

#[test]
fn every_login_reads_and_a_wrong_one_is_refused_by_name() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-logins", 1);
    broker.produce(topic.name(), 0, ["a"]);
    let ca = broker.ca.to_str().unwrap();
    let login = |mechanism, user, password| {
        let mut config = config(&broker.sasl_ssl_brokers, Isolation::ReadCommitted);
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", ca),
            ("sasl.mechanisms", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
        ] {
            config.properties.insert(name.into(), value.into());
        }
        config
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let plane = Plane::open(&login(mechanism, &broker.user, &broker.password), topic.name(), &[0]);
        assert_eq!(plane.read(0, 0, 1).unwrap().len(), 1, "{mechanism}");
        for (user, password) in [(&broker.user, "wrong"), (&broker.stranger, &*broker.stranger_password)] {
            let plane = Plane::open(&login(mechanism, user, password), topic.name(), &[0]);
            let error = plane.read(0, 0, 1).unwrap_err();
            let is_final = matches!(error.kind, SourceErrorKind::Refused | SourceErrorKind::DataLoss { .. });
            assert!(is_final && !error.message.contains(password), "{mechanism} {error:?}");
        }
    }
    let mut tls = config(&broker.ssl_brokers, Isolation::ReadCommitted);
    tls.properties.insert("security.protocol".into(), "ssl".into());
    let error = Plane::open(&tls, topic.name(), &[0]).read(0, 0, 1).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Refused, "{error}");
    assert!(error.message.contains("certificate is not trusted"), "{error}");
}

#[test]
fn a_broker_that_restarts_in_the_middle_costs_time_and_no_record() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("native-restart");
    own.create_topic(&topic, 1, &[]);
    own.produce(&topic, 0, (0..2_000).map(|i| i.to_string()));
    // Little memory, so that most is still to be fetched when the broker goes.
    let mut config = config(&own.brokers, Isolation::ReadCommitted);
    config.prefetch_memory_bytes = 4_096;
    config.properties.insert("fetch.message.max.bytes".into(), "512".into());
    let mut plane = Plane::open(&config, &topic, &[0]);
    plane.stall_timeout_ms = 60_000;
    assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
    own.kill();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| plane.read(0, 10, 2_100));
        own.start_again();
        own.produce(&topic, 0, (0..100).map(|i| i.to_string()));
        let records = reader.join().unwrap().unwrap();
        assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (10..2_100).collect::<Vec<_>>());
    });
}

#[test]
fn dropping_a_plane_ends_its_threads_within_a_second() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("native-drop", 1);
    let plane = Plane::open(&config(&broker.brokers, Isolation::ReadCommitted), topic.name(), &[0]);
    let mut far = config("192.0.2.1:9092", Isolation::ReadCommitted);
    far.properties.insert("socket.connection.setup.timeout.ms".into(), "20000".into());
    let unreachable = Plane::open(&far, topic.name(), &[0]);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    drop(plane);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let begun = Instant::now();
    drop(unreachable);
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
}

//! The native data plane against a broker that misbehaves: it recovers, or says what is wrong; it never hangs, panics or
//! gives other records than were asked for.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use kstream::{
    job::Isolation,
    source::{SourceError, SourceErrorKind, kafka::native::PlaneConfig},
};
use uuid::Uuid;

use super::plane::{Plane, config};
use crate::{
    scripted_broker::{Fault, ScriptedBroker, TOPIC, batch, fetch_response_len},
    support::wait_until,
};

/// Short waits, so that hundreds of faults take seconds.
pub fn quick(broker: &ScriptedBroker) -> PlaneConfig {
    let mut config = config(&broker.address, Isolation::ReadCommitted);
    for (name, value) in [
        ("retry.backoff.ms", "2"),
        ("retry.backoff.max.ms", "10"),
        ("reconnect.backoff.ms", "2"),
        ("reconnect.backoff.max.ms", "10"),
        ("socket.timeout.ms", "150"),
        ("fetch.wait.max.ms", "5"),
    ] {
        config.properties.insert(name.into(), value.into());
    }
    config
}

pub fn open(broker: &ScriptedBroker) -> Plane {
    let mut plane = Plane::open(&quick(broker), TOPIC, &[0]);
    plane.stall_timeout_ms = 5_000;
    plane
}

/// The whole log, whole.
pub fn check_all(plane: &Plane, what: &str) {
    let records = plane.read(0, 0, 20).unwrap_or_else(|error| panic!("{what}: {error}"));
    let values: Vec<String> = records.iter().map(|record| record.value_text()).collect();
    assert_eq!(values, (0..20).map(|i| format!("v{i}")).collect::<Vec<_>>(), "{what}");
}

pub fn check_loss(error: SourceError, expected: (i64, i64), text: &str) {
    let SourceErrorKind::DataLoss { earliest, latest, .. } = error.kind else { panic!("{error:?}") };
    assert_eq!((earliest, latest), expected, "{error}");
    assert!(error.message.contains(text), "{error}");
}

#[test]
fn every_version_from_kafka_2_1_on_is_spoken_and_older_ones_are_refused_by_name() {
    let max = [(7, 10, 4, 2), (8, 11, 5, 3), (9, 12, 6, 4), (10, 13, 6, 4), (12, 15, 7, 4), (13, 18, 10, 4)];
    for (metadata, fetch, list_offsets, epochs) in max {
        let broker = ScriptedBroker::start();
        broker.change(|state| {
            for (key, max) in [
                (ApiKey::ApiVersions, if metadata < 9 { 2 } else { 4 }),
                (ApiKey::Metadata, metadata),
                (ApiKey::Fetch, fetch),
                (ApiKey::ListOffsets, list_offsets),
                (ApiKey::OffsetForLeaderEpoch, epochs),
            ] {
                state.versions.insert(key as i16, (0, max));
            }
        });
        check_all(&open(&broker), &format!("Fetch up to {fetch}"));
        let (version, id, epoch) = broker.change(|state| state.last_fetch).unwrap();
        assert_eq!(version, fetch.min(15));
        assert_eq!(id.is_nil(), fetch < 13, "topic ids from version 13 on");
        assert!(fetch >= 12 || epoch == -1);
    }
    let broker = ScriptedBroker::start();
    broker.change(|state| state.versions.insert(ApiKey::Fetch as i16, (0, 7)));
    let error = open(&broker).read(0, 0, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Refused);
    assert!(error.message.contains("older than Kafka 2.1") && error.message.contains(&broker.address), "{error}");
}

#[test]
fn a_response_cut_at_any_byte_is_asked_for_again() {
    let broker = ScriptedBroker::start();
    let plane = open(&broker);
    for len in 0..fetch_response_len(&broker, 15) {
        broker.push(Fault::CutAt(len));
        check_all(&plane, &format!("cut at {len}"));
        broker.assert_played();
    }
}

#[test]
fn responses_that_make_no_sense_are_asked_for_again() {
    let broker = ScriptedBroker::start();
    let plane = open(&broker);
    let mut faults = vec![Fault::WrongCorrelationId, Fault::Silence, Fault::NoRecords, Fault::NoPartition];
    faults.extend([i32::MIN, -1, 0, 3, 5, 100_000, 100_000_001, i32::MAX].map(Fault::Length));
    // Arrays of billions, of which nothing is there.
    faults.extend(
        [vec![], vec![0xff; 40], vec![0x7f; 40], [vec![0; 10], vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat()]
            .map(Fault::Body),
    );
    for fault in faults {
        broker.push(fault.clone());
        check_all(&plane, &format!("{fault:?}"));
        broker.assert_played();
    }
}

#[test]
fn damaged_bytes_are_fetched_again_and_then_stop_the_range() {
    let broker = ScriptedBroker::start();
    let plane = open(&broker);
    let first = broker.change(|state| state.batches[0].2.len());
    for at in 0..first + 20 {
        broker.push(Fault::FlipByte(at));
        let result = plane.read(0, 0, 20);
        // Magic 0 and 1 are known and refused; nothing else may change what is read.
        match result {
            Ok(records) => assert_eq!(records.len(), 20, "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
        }
        broker.assert_played();
    }
    broker.change(|state| state.lasting_fault = Some(Fault::FlipByte(first + 70)));
    let before = broker.change(|state| state.answered.len());
    let error = plane.read(0, 0, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Corrupt, "{error}");
    for fact in [&*broker.address, "t/0", "offset 5", "checksum"] {
        assert!(error.message.contains(fact), "{error} without {fact}");
    }
    let fetched = broker.change(|state| state.answered[before..].iter().filter(|(_, offset)| *offset == 0).count());
    assert_eq!(fetched, 3, "once, and twice again");
    broker.change(|state| state.lasting_fault = None);
    check_all(&plane, "after the damage");
}

#[test]
fn a_log_that_was_cut_is_data_loss() {
    let broker = ScriptedBroker::start();
    let plane = open(&broker);
    assert_eq!(plane.read(0, 0, 20).unwrap().len(), 20);
    // Seen by the broker, from the epoch that we read last.
    broker.change(|state| {
        state.batches.push(batch(20, 5));
        state.faults.push_back(Fault::Diverging { epoch: 2, end_offset: 17 });
    });
    check_loss(plane.read(0, 20, 25).unwrap_err(), (0, 17), "was cut at offset 17");
    assert_eq!(broker.change(|state| state.last_fetch).unwrap().2, 3, "the epoch of the last record was sent");
    check_all(&plane, "after the loss was accepted");

    // Seen by us, from the epoch that the plan was made in.
    broker.change(|state| state.epoch_end = 12);
    let mut later = open(&broker);
    later.leader_epoch = Some(2);
    check_loss(later.read(0, 10, 15).unwrap_err(), (0, 12), "was cut at offset 12");
    let mut later = open(&broker);
    later.leader_epoch = Some(2);
    assert_eq!(later.read(0, 10, 12).unwrap().len(), 2, "a plan that ends before the cut is whole");

    // Seen by a new process, from the epoch in which another one read up to here: the log has grown past it again.
    let mut restarted = open(&broker);
    restarted.start_epoch = Some(2);
    restarted.leader_epoch = Some(3);
    check_loss(restarted.read(0, 15, 20).unwrap_err(), (0, 12), "was cut at offset 12");
    let mut restarted = open(&broker);
    restarted.start_epoch = Some(2);
    restarted.leader_epoch = Some(3);
    assert_eq!(restarted.read(0, 12, 25).unwrap().len(), 13, "what was read ends before the cut");
    let mut restarted = open(&broker);
    restarted.start_epoch = Some(3);
    assert_eq!(restarted.read(0, 15, 20).unwrap().len(), 5, "the same leader has cut nothing");

    // A plan of an epoch that the topic has not reached again.
    for waits in [true, false] {
        let mut newer = open(&broker);
        newer.stall_timeout_ms = 20_000;
        if waits {
            wait_until("the leader and its topic's id", || newer.known_topic_id(0).is_some());
        }
        newer.leader_epoch = Some(9);
        check_loss(newer.read(0, 0, 5).unwrap_err(), (0, 0), "made again");
    }

    // A log that ends before the plan does.
    let mut short = open(&broker);
    short.stall_timeout_ms = 200;
    check_loss(short.read(0, 15, 30).unwrap_err(), (0, 25), "ends at offset 25");
    check_loss(short.read(0, 28, 30).unwrap_err(), (0, 25), "holds offsets 0..25");
}

/// The plan's side finds out whether the topic was made again, or a broker is behind.
#[track_caller]
fn check_doubt(error: SourceError) {
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("another topic id than the plan"), "{error}");
}

#[test]
fn another_topic_id_is_none_of_the_plan() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    assert_eq!(plane.read(0, 0, 5).unwrap().len(), 5);
    broker.change(|state| state.topic_id = Uuid::from_u128(8));
    check_doubt(plane.read(0, 0, 5).unwrap_err());
    plane.assign(&[(0, 0)]);
    check_all(&plane, "after the source was assigned again");

    let mut planned = open(&broker);
    planned.topic_id = Some("AAAAAAAAAAAAAAAAAAAACA".into());
    check_all(&planned, "the id as Kafka prints it");
    planned.topic_id = Some("AAAAAAAAAAAAAAAAAAAABw".into());
    check_doubt(planned.read(0, 0, 5).unwrap_err());
}

#[test]
fn a_leader_that_moves_is_followed() {
    let (old, new) = (ScriptedBroker::start(), ScriptedBroker::start());
    let plane = open(&old);
    assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
    for broker in [&old, &new] {
        broker.change(|state| {
            state.leader = Some(new.address.clone());
            state.leader_epoch = 4;
        });
    }
    old.change(|state| state.lasting_fault = Some(Fault::Error(6)));
    new.change(|state| state.batches.push(batch(20, 5)));
    assert_eq!(plane.read(0, 10, 25).unwrap().len(), 15);
    assert!(new.requests(ApiKey::Fetch) > 0);
}

#[test]
fn a_broker_that_dies_is_named_and_one_that_comes_back_is_used() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    assert_eq!(plane.read(0, 0, 5).unwrap().len(), 5);
    broker.change(|state| state.lasting_fault = Some(Fault::CutAt(0)));
    plane.stall_timeout_ms = 200;
    let error = plane.read(0, 0, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable);
    assert!(error.message.contains(&broker.address) && error.message.contains("closed the connection"), "{error}");
    broker.change(|state| state.lasting_fault = None);
    check_all(&plane, "after it came back");
}

#[test]
fn silence_ends_at_the_deadline() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    broker.change(|state| state.lasting_fault = Some(Fault::Silence));
    plane.stall_timeout_ms = 400;
    let begun = Instant::now();
    let error = plane.read(0, 0, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!((400..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn a_throttled_client_waits_as_long_as_it_was_told() {
    let broker = ScriptedBroker::start();
    broker.push(Fault::Throttle(300));
    check_all(&open(&broker), "throttled");
    broker.assert_played();
    let answered = broker.change(|state| state.answered.clone());
    assert!(answered[1].0 - answered[0].0 >= Duration::from_millis(290), "{:?}", answered[1].0 - answered[0].0);
}

#[test]
fn a_quota_or_a_slow_link_costs_time_and_no_record() {
    let broker = ScriptedBroker::start();
    let mut config = quick(&broker);
    config.properties.insert("socket.timeout.ms".into(), "2000".into());
    let mut plane = Plane::open(&config, TOPIC, &[0]);
    plane.stall_timeout_ms = 300;
    // The announced time is longer than a silence may be, and so is the response.
    for fault in [Fault::Quota(900), Fault::Throttle(900), Fault::Trickle { bytes: 20, pause_ms: 60 }] {
        let begun = Instant::now();
        broker.push(fault.clone());
        check_all(&plane, &format!("{fault:?}"));
        broker.assert_played();
        assert!(begun.elapsed() > Duration::from_millis(600), "{fault:?} took {:?}", begun.elapsed());
        assert_eq!(broker.requests(ApiKey::ApiVersions), 2, "{fault:?}: one connection each for router and fetcher");
    }
}

#[test]
fn silence_behind_a_quota_names_the_quota() {
    let broker = ScriptedBroker::start();
    broker.push(Fault::Quota(600));
    broker.change(|state| state.lasting_fault = Some(Fault::NoRecords));
    let mut plane = open(&broker);
    plane.stall_timeout_ms = 300;
    let begun = Instant::now();
    let error = plane.read(0, 0, 20).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("after a quota held them back"), "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("consumer_byte_rate")), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    let error = plane.read(0, 0, 20).unwrap_err();
    assert_eq!(error.hint, None, "the quota was over before: {error}");
    broker.change(|state| state.lasting_fault = None);
    check_all(&plane, "a later try goes on with what was under way");
}

#[test]
fn a_stop_is_seen_while_a_response_trickles() {
    let broker = ScriptedBroker::start();
    broker.change(|state| state.lasting_fault = Some(Fault::Trickle { bytes: 1, pause_ms: 10 }));
    let plane = open(&broker);
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    drop(plane);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn metadata_that_is_out_of_date_is_waited_out_or_asked_of_another_broker() {
    let check = |with_ids: bool| {
        let broker = ScriptedBroker::start();
        if !with_ids {
            broker.change(|state| state.versions.insert(ApiKey::Metadata as i16, (0, 9)));
        }
        let mut plane = open(&broker);
        plane.leader_epoch = Some(3);
        if with_ids {
            plane.topic_id = Some("AAAAAAAAAAAAAAAAAAAABw".into());
        }
        // As after a partition of the network: an older epoch, and no right to be read.
        let is_stale = |stale| {
            broker.change(|state| {
                state.leader_epoch = if stale { 2 } else { 3 };
                state.lasting_fault = stale.then_some(Fault::Error(74));
            });
        };
        is_stale(true);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| plane.read(0, 0, 20));
            std::thread::sleep(Duration::from_millis(800));
            is_stale(false);
            assert_eq!(reader.join().unwrap().unwrap().len(), 20, "with ids: {with_ids}");
        });
        let mut plane = open(&broker);
        (plane.leader_epoch, plane.topic_id) = (Some(9), with_ids.then(|| "AAAAAAAAAAAAAAAAAAAABw".into()));
        let error = plane.read(0, 0, 20).unwrap_err();
        match with_ids {
            true => assert_eq!(error.kind, SourceErrorKind::Unreachable, "the same topic is never another: {error}"),
            false => check_loss(error, (0, 0), "older leader epoch"),
        }
    };
    check(true);
    check(false);

    let (stale, fresh) = (ScriptedBroker::start(), ScriptedBroker::start());
    stale.change(|state| (state.leader_epoch, state.leader) = (2, Some(fresh.address.clone())));
    let mut config = quick(&stale);
    config.brokers = format!("{},{}", stale.address, fresh.address);
    let mut plane = Plane::open(&config, TOPIC, &[0]);
    plane.leader_epoch = Some(3);
    plane.stall_timeout_ms = 2_000;
    check_all(&plane, "the other broker knows better");
}

#[test]
fn brokers_that_went_away_are_not_taken_for_a_topic_that_did() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    plane.stall_timeout_ms = 1_500;
    broker.change(|state| {
        state.metadata_error = Some(3);
        state.lasting_fault = Some(Fault::Error(3));
    });
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| plane.read(0, 0, 20));
        std::thread::sleep(Duration::from_millis(300));
        broker.change(|state| state.hangs_up = true);
        let error = reader.join().unwrap().unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    });
    // Back again, the topic is known after a while only.
    broker.change(|state| state.hangs_up = false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| plane.read(0, 0, 20));
        std::thread::sleep(Duration::from_millis(500));
        broker.change(|state| (state.metadata_error, state.lasting_fault) = (None, None));
        assert_eq!(reader.join().unwrap().unwrap().len(), 20);
    });
}

#[test]
fn what_went_wrong_before_a_range_is_asked_about_again() {
    for code in [29, 1] {
        let broker = ScriptedBroker::start();
        let plane = open(&broker);
        assert_eq!(plane.read(0, 0, 20).unwrap().len(), 20);
        broker.change(|state| state.lasting_fault = Some(Fault::Error(code)));
        // Met while nobody reads, it ends the fetching, which otherwise asks every few milliseconds.
        let mut fetches = 0;
        wait_until("the error", || {
            let before = std::mem::replace(&mut fetches, broker.requests(ApiKey::Fetch));
            std::thread::sleep(Duration::from_millis(200));
            before == fetches && fetches == broker.requests(ApiKey::Fetch)
        });
        broker.change(|state| {
            state.lasting_fault = None;
            state.batches.push(batch(20, 5));
        });
        assert_eq!(plane.read(0, 20, 25).unwrap().len(), 5, "error {code} is over");
    }
}

#[test]
fn brokers_are_told_the_name_of_the_client() {
    let broker = ScriptedBroker::start();
    check_all(&open(&broker), "by name");
    assert_eq!(broker.change(|state| Vec::from_iter(state.client_ids.clone())), ["kstream-test"]);
}

#[test]
fn an_unknown_topic_is_data_loss_once_it_stays_unknown() {
    let broker = ScriptedBroker::start();
    let mut plane = Plane::open(&quick(&broker), "nowhere", &[0]);
    plane.stall_timeout_ms = 100;
    check_loss(plane.read(0, 0, 5).unwrap_err(), (0, 0), "knows no topic nowhere");
}

#[test]
fn idle_planes_ask_seldom() {
    for (wait_ms, expected) in [("100", 5..=12), ("0", 20..=220)] {
        let broker = ScriptedBroker::start();
        let mut config = quick(&broker);
        config.properties.insert("fetch.wait.max.ms".into(), wait_ms.into());
        let plane = Plane::open(&config, TOPIC, &[0]);
        assert_eq!(plane.read(0, 0, 20).unwrap().len(), 20);
        let before = broker.requests(ApiKey::Fetch);
        std::thread::sleep(Duration::from_millis(1_000));
        let asked = broker.requests(ApiKey::Fetch) - before;
        assert!(expected.contains(&asked), "{asked} requests in a second with fetch.wait.max.ms = {wait_ms}");
    }
}

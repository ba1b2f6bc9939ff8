//! Leaders that change while nothing has been fetched yet of what is to be read: what the reader knows of the log is
//! compared with each of them, whether its brokers compare epochs in Fetch or not.

use std::{
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::ApiKey;
use kstream::source::SourceErrorKind;

use super::{
    faults::{check_loss, open},
    plane::Plane,
};
use crate::{
    scripted_broker::{Fault, ScriptedBroker, batch, batch_in},
    support::wait_until,
};

const NOT_LEADER: i16 = 6;
/// Fetch as brokers before and since they compare epochs in it speak it.
const FETCH_VERSIONS: [i16; 2] = [11, 15];

/// A leader in epoch 3, and one that will be in epoch 5 and holds records 0..25.
struct Leaders {
    old: ScriptedBroker,
    new: ScriptedBroker,
}

impl Leaders {
    /// The log that the new one has keeps `kept` offsets of epoch 3.
    fn start(fetch_version: i16, kept: i64) -> Leaders {
        let leaders = Leaders { old: ScriptedBroker::start(), new: ScriptedBroker::start() };
        for broker in [&leaders.old, &leaders.new] {
            broker.change(|state| state.versions.insert(ApiKey::Fetch as i16, (0, fetch_version)));
        }
        leaders.new.change(|state| {
            state.leader_epoch = 5;
            state.epoch_end = kept;
            state.batches.push(batch(20, 5));
        });
        leaders
    }

    /// The old one gives no records any more, and metadata does not know it yet.
    fn depose(&self) {
        self.old.change(|state| state.lasting_fault = Some(Fault::Error(NOT_LEADER)));
    }

    fn elect(&self) {
        let new = self.new.address.clone();
        self.old.change(|state| (state.leader, state.leader_epoch) = (Some(new), 5));
    }

    /// Reads, as planned in epoch 3, while the leader changes.
    fn read_across(&self, plane: &mut Plane, (start, until): (i64, i64), expected_cut: Option<i64>, what: &str) {
        (plane.start_epoch, plane.leader_epoch) = (Some(3), Some(3));
        plane.stall_timeout_ms = 5_000;
        let plane = &*plane;
        let result = thread::scope(|scope| {
            let reading = scope.spawn(|| plane.read(0, start, until));
            thread::sleep(Duration::from_millis(100));
            self.elect();
            reading.join().unwrap()
        });
        match (result, expected_cut) {
            (Err(error), Some(cut)) => check_loss(error, (0, cut), &format!("was cut at offset {cut}")),
            (Ok(records), None) => {
                let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
                assert_eq!(offsets, (start..until).collect::<Vec<_>>(), "{what}");
            }
            (Err(error), None) => panic!("{what}: {error}"),
            (Ok(records), Some(_)) => panic!("{what}: {} records of another log were read", records.len()),
        }
        assert!(self.new.requests(ApiKey::OffsetForLeaderEpoch) > 0, "{what}: the new leader was asked");
    }
}

/// The read that `prepare` leads to, under a new leader whose log was cut at `cut`, and under one whose was not.
fn check(what: &str, range: (i64, i64), cut: i64, prepare: impl Fn(&Leaders, &mut Plane)) {
    for fetch_version in FETCH_VERSIONS {
        for cut in [Some(cut), None] {
            let leaders = Leaders::start(fetch_version, cut.unwrap_or(i64::MAX));
            let mut plane = open(&leaders.old);
            prepare(&leaders, &mut plane);
            let what = format!("{what}, Fetch {fetch_version}, cut at {cut:?}");
            leaders.read_across(&mut plane, range, cut, &what);
        }
    }
}

#[test]
fn a_log_that_was_cut_is_found_after_a_seek() {
    check("elsewhere", (15, 20), 12, |leaders, plane| {
        plane.leader_epoch = Some(3);
        assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
        leaders.depose();
    });
}

#[test]
fn a_log_that_was_cut_is_found_by_a_second_try_and_by_a_smaller_range() {
    for range in [(15, 20), (15, 18)] {
        check("again", range, 12, |leaders, plane| {
            leaders.depose();
            (plane.start_epoch, plane.leader_epoch, plane.stall_timeout_ms) = (Some(3), Some(3), 100);
            for _ in 0..3 {
                let error = plane.read(0, 15, 20).unwrap_err();
                assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
            }
        });
    }
}

#[test]
fn a_log_that_was_cut_is_found_where_a_partition_is_taken_up_again() {
    check("taken up again", (10, 20), 8, |leaders, plane| {
        plane.leader_epoch = Some(3);
        assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
        plane.assign(&[]);
        leaders.depose();
        plane.assign(&[(0, 10)]);
        let asked = leaders.old.requests(ApiKey::Fetch);
        wait_until("the leader is known", || leaders.old.requests(ApiKey::Fetch) > asked);
    });
}

#[test]
fn a_log_that_was_cut_within_a_range_is_found_in_its_middle() {
    let part_of_it = |leaders: &Leaders, plane: &mut Plane, epoch| {
        // The rest is there, and no follower has it yet.
        leaders.old.change(|state| state.batches.truncate(3));
        plane.leader_epoch = epoch;
        assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
        wait_until("the next batch", || plane.queued_bytes(0) > 0);
        leaders.depose();
    };
    check("planned", (10, 20), 17, |leaders, plane| part_of_it(leaders, plane, Some(3)));
    check("planned, after a range without a plan", (10, 20), 17, |leaders, plane| part_of_it(leaders, plane, None));
}

#[test]
fn a_log_without_the_epoch_that_was_read_is_another_however_long_it_is() {
    for fetch_version in FETCH_VERSIONS {
        let leaders = Leaders::start(fetch_version, 22);
        let plane = open(&leaders.old);
        assert_eq!(plane.read(0, 0, 20).unwrap().len(), 20);
        leaders.new.change(|state| state.epoch_found = Some(1));
        leaders.depose();
        leaders.elect();
        check_loss(plane.read(0, 20, 25).unwrap_err(), (0, 20), "was cut at offset 20");
    }
    // As the broker says it itself.
    let broker = ScriptedBroker::start();
    let plane = open(&broker);
    assert_eq!(plane.read(0, 0, 20).unwrap().len(), 20);
    broker.change(|state| {
        state.batches.push(batch(20, 5));
        state.faults.push_back(Fault::Diverging { epoch: 1, end_offset: 30 });
    });
    check_loss(plane.read(0, 20, 25).unwrap_err(), (0, 20), "was cut at offset 20");
}

#[test]
fn a_connection_that_is_lost_while_epochs_are_compared_is_made_again() {
    let leaders = Leaders::start(15, i64::MAX);
    let mut plane = open(&leaders.old);
    assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
    leaders.new.change(|state| state.hangs_up_at = vec![ApiKey::OffsetForLeaderEpoch; 2]);
    leaders.depose();
    leaders.elect();
    plane.leader_epoch = Some(3);
    let begun = Instant::now();
    assert_eq!(plane.read(0, 10, 25).unwrap().len(), 15);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_new_leader_that_does_not_let_all_be_read_yet_has_lost_nothing() {
    let check = |kept: i64| {
        let leaders = Leaders::start(15, kept);
        let mut plane = open(&leaders.old);
        (plane.start_epoch, plane.leader_epoch) = (Some(3), Some(3));
        // It was all of the log in epoch 3; the new leader shows ten of it.
        let hidden = leaders.new.change(|state| state.batches.split_off(2));
        leaders.depose();
        leaders.elect();
        plane.stall_timeout_ms = 300;
        let error = plane.read(0, 5, 20).unwrap_err();
        leaders.new.change(|state| state.batches.extend(hidden));
        (plane, leaders, error)
    };
    let (plane, _leaders, error) = check(20);
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("followers"), "{error}");
    assert_eq!(plane.read(0, 5, 20).unwrap().len(), 15, "once the followers have it");
    let (_, _leaders, error) = check(10);
    check_loss(error, (0, 10), "was cut at offset 10");
}

#[test]
fn what_was_fetched_of_a_log_that_is_no_more_is_not_read_as_part_of_the_new_one() {
    for waits in [true, false] {
        let leaders = Leaders::start(15, 10);
        leaders.new.change(|state| {
            state.batches.truncate(2);
            state.batches.extend((2..6).map(|i| batch_in(5, "new", i * 5, 5)));
        });
        let mut plane = open(&leaders.old);
        plane.leader_epoch = Some(3);
        assert_eq!(plane.read(0, 0, 10).unwrap().len(), 10);
        wait_until("the records behind it", || plane.queued_bytes(0) > 0);
        leaders.depose();
        leaders.elect();
        if waits {
            wait_until("the comparison", || leaders.new.requests(ApiKey::OffsetForLeaderEpoch) > 0);
            thread::sleep(Duration::from_millis(50));
        }
        // Planned with the new leader: nothing that the job has read is gone.
        (plane.start_epoch, plane.leader_epoch) = (Some(3), Some(5));
        let values: Vec<String> = plane.read(0, 10, 30).unwrap().iter().map(|record| record.value_text()).collect();
        assert_eq!(values, (10..30).map(|offset| format!("new{offset}")).collect::<Vec<_>>(), "after a wait: {waits}");
    }
}

#[test]
fn a_topic_without_an_id_whose_epochs_begin_anew_is_another() {
    let read = |has_ids: bool| {
        let broker = ScriptedBroker::start();
        if !has_ids {
            broker.change(|state| state.versions.insert(ApiKey::Metadata as i16, (0, 9)));
        }
        let mut plane = open(&broker);
        plane.stall_timeout_ms = 10_000;
        (plane.start_epoch, plane.leader_epoch) = (Some(9), Some(3));
        plane.read(0, 5, 20)
    };
    check_loss(read(false).unwrap_err(), (0, 0), "older leader epoch");
    assert_eq!(read(true).unwrap().len(), 15, "its id says that it is the same");
}

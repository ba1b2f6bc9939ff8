//! A reader over lanes that the test fills.

use std::sync::Mutex;

use bytes::Bytes;

use super::{
    super::{
        lane::{Lane, lane},
        made::MadeBatch,
        memory::Memory,
        settings::BackoffRange,
    },
    *,
};
use crate::model::{RawColumn, TopicPartition, ValueFormat, View};

#[test]
fn chunks_of_long_records_have_fewer_of_them() {
    let chunk = |len: u32| {
        let views = |view| RawColumn { buffer: Bytes::new(), views: vec![view; 10] };
        records_of(
            CHUNK_BYTES,
            &RecordColumn {
                tp: TopicPartition::new("t", 0),
                key_format: ValueFormat::Bytes,
                value_format: ValueFormat::Bytes,
                offsets: (0..10).collect(),
                timestamps: vec![-1; 10],
                keys: views(View::NULL),
                values: views(View { offset: 0, len }),
                headers: Vec::new(),
            },
        )
    };
    assert!(chunk(0) > 2048 && chunk(10) > 2048);
    assert_eq!(chunk(256), 1024);
    assert_eq!(chunk(1 << 20), CHUNK_RECORDS_MIN);
}

#[test]
fn what_cannot_be_read_says_what_to_do_about_it() {
    let check = |malformed: Malformed, kind, hint: &str| {
        let error = unreadable(&malformed, malformed.to_string());
        assert_eq!(error.kind, kind);
        assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
    };
    check(Malformed::OldMagic(1), SourceErrorKind::Refused, "rewrite the topic");
    check(Malformed::TooLarge { offset: 3, limit: 9 }, SourceErrorKind::Corrupt, "smaller");
    check(Malformed::Checksum { offset: 3, expected: 1, found: 2 }, SourceErrorKind::Corrupt, "damaged");
}

/// A partition's lane, and what reads it.
fn one() -> (Lane, Mutex<Reading>) {
    let tp = TopicPartition::new("t", 0);
    let retry = BackoffRange { first: Duration::from_millis(1), most: Duration::from_millis(1) };
    let (lane, feed) = lane(tp.clone(), 0, 1 << 20, Memory::new(1 << 20), retry);
    let shape = ChunkShape { tp, key_format: ValueFormat::Bytes, value_format: ValueFormat::Bytes };
    (lane, Mutex::new(Reading::new(feed, shape, Isolation::ReadCommitted, BufferPool::default())))
}

fn range(start: i64, until: i64) -> OffsetRange {
    OffsetRange {
        source: "source".into(),
        tp: TopicPartition::new("t", 0),
        start,
        until,
        topic_id: None,
        leader_epoch: None,
        start_epoch: None,
    }
}

fn reader<'a>(reading: &'a Mutex<Reading>, range: &OffsetRange, stall_timeout_ms: u64) -> NativeReader<'a> {
    NativeReader::new(
        reading.lock().unwrap(),
        range,
        ReadOptions { chunk_records: 100, stall_timeout_ms },
        Watched::default(),
    )
}

/// The offsets that come before the end, or before the error.
fn read(reader: &mut NativeReader<'_>) -> (Vec<i64>, Option<SourceError>) {
    let mut offsets = Vec::new();
    loop {
        match reader.next_chunk() {
            Ok(Some(Column::Record(chunk))) => offsets.extend(chunk.offsets.iter().copied()),
            Ok(_) => return (offsets, None),
            Err(error) => return (offsets, Some(error)),
        }
    }
}

fn whole(mut reader: NativeReader<'_>) -> Vec<i64> {
    let (offsets, error) = read(&mut reader);
    assert!(error.is_none(), "{error:?}");
    offsets
}

/// Three records, as if the lane stood at `from`.
fn deliver(lane: &mut Lane, from: i64) {
    lane.position = from;
    lane.deliver(from + 3, 5, Bytes::from(MadeBatch::of(from..from + 3).bytes()).into(), Vec::new(), "b".into());
}

#[test]
fn a_set_that_is_missing_between_two_is_fetched_again() {
    let (mut lane, reading) = one();
    deliver(&mut lane, 0);
    deliver(&mut lane, 6);
    let range = OffsetRange { leader_epoch: Some(7), start_epoch: Some(4), ..range(0, 9) };
    let reader = reader(&reading, &range, 10_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The first order has the plan compared with the log.
            lane.take_order();
            assert_eq!(lane.known.start, Some(EpochCheck { epoch: 4, until: 0 }));
            deliver(&mut lane, 0);
            deliver(&mut lane, 6);
            while lane.is_current() {
                std::thread::yield_now();
            }
            lane.take_order();
            assert_eq!(lane.position, 3, "asked for again from where the reader stands");
            assert_eq!(lane.known.end, Some(EpochCheck { epoch: 7, until: 9 }));
            assert_eq!(lane.known.start, Some(EpochCheck { epoch: 5, until: 3 }), "what was read is compared");
            deliver(&mut lane, 3);
            deliver(&mut lane, 6);
        });
        assert_eq!(whole(reader), (0..9).collect::<Vec<_>>());
    });
}

#[test]
fn an_error_of_before_is_asked_about_again_with_every_comparison_that_is_due() {
    let (mut lane, reading) = one();
    let range = OffsetRange { leader_epoch: Some(7), start_epoch: Some(4), ..range(0, 3) };
    let (_, error) = read(&mut reader(&reading, &range, 1));
    assert_eq!(error.unwrap().kind, SourceErrorKind::Unreachable);
    // The lane has taken the order, and ends before it could compare anything.
    lane.take_order();
    lane.park(Content::Failed(refused("no right to read", None)));
    std::thread::sleep(Duration::from_millis(2));
    let reader = reader(&reading, &range, 10_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while lane.is_current() {
                std::thread::yield_now();
            }
            lane.take_order();
            assert_eq!(lane.known.end, Some(EpochCheck { epoch: 7, until: 3 }));
            assert_eq!(lane.known.start, Some(EpochCheck { epoch: 4, until: 0 }));
            deliver(&mut lane, 0);
        });
        assert_eq!(whole(reader), [0, 1, 2]);
    });
}

#[test]
fn an_error_that_answers_this_readers_own_order_is_told_at_once() {
    let (mut lane, reading) = one();
    reading.lock().unwrap().fail();
    std::thread::scope(|scope| {
        let parking = scope.spawn(|| {
            while lane.is_current() {
                std::thread::yield_now();
            }
            lane.take_order();
            lane.park(Content::Failed(refused("no right to read", None)));
            lane
        });
        let (_, error) = read(&mut reader(&reading, &range(0, 3), 10_000));
        assert_eq!(error.unwrap().kind, SourceErrorKind::Refused);
        assert!(parking.join().unwrap().is_current(), "not asked twice");
    });
}

#[test]
fn a_reader_that_stalls_twice_seeks_unless_its_records_are_under_way() {
    let (mut lane, reading) = one();
    let stall = || read(&mut reader(&reading, &range(0, 3), 1)).1.unwrap();
    assert_eq!(stall().kind, SourceErrorKind::Unreachable);
    assert!(!reading.lock().unwrap().has_failed(), "over a slow link the first try may take too long");
    lane.note_asked(true);
    stall();
    stall();
    assert!(!reading.lock().unwrap().has_failed(), "a request for its records is under way");
    lane.note_asked(false);
    lane.position = 3;
    lane.note_asked(true);
    stall();
    assert!(reading.lock().unwrap().has_failed(), "what is under way lies behind its records");
    stall();
    assert!(!lane.is_current(), "the next try asks anew");
    lane.take_order();
    deliver(&mut lane, 0);
    assert_eq!(whole(reader(&reading, &range(0, 3), 10_000)), [0, 1, 2]);
    deliver(&mut lane, 3);
    assert_eq!(whole(reader(&reading, &range(3, 6), 10_000)), [3, 4, 5]);
    assert!(lane.is_current(), "it goes on as before");
}

#[test]
fn a_lane_that_nobody_fetches_for_any_more_fails_at_once() {
    let (lane, reading) = one();
    lane.shared.note_progress(Instant::now() + Duration::from_secs(300));
    drop(lane);
    let begun = Instant::now();
    let (_, error) = read(&mut reader(&reading, &range(0, 3), 60_000));
    assert!(error.unwrap().message.contains("has ended"));
    assert!(begun.elapsed() < Duration::from_secs(30), "nothing is waited for");
    assert!(reading.lock().unwrap().has_failed(), "the partition gets a new lane");
}

#[test]
fn a_set_that_finds_no_room_is_told_and_fetched_again() {
    let (mut lane, reading) = one();
    // As a lane that never asks whether it has room.
    (0..100).for_each(|nth| deliver(&mut lane, nth * 3));
    let (offsets, error) = read(&mut reader(&reading, &range(0, 300), 10_000));
    assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>(), "up to there, whole");
    assert!(error.unwrap().message.contains("than is held"));
    assert_eq!(lane.shared.queued_bytes(), 0);
    let at = offsets.len() as i64;
    std::thread::scope(|scope| {
        let again = scope.spawn(|| whole(reader(&reading, &range(at, at + 3), 10_000)));
        while lane.is_current() {
            std::thread::yield_now();
        }
        lane.take_order();
        assert!(!lane.is_parked);
        deliver(&mut lane, at);
        assert_eq!(again.join().unwrap(), [at, at + 1, at + 2]);
    });
}

#[test]
fn what_a_panic_left_half_read_is_fetched_again() {
    let (mut lane, reading) = one();
    deliver(&mut lane, 0);
    std::thread::scope(|scope| {
        let task = scope.spawn(|| {
            let options = ReadOptions { chunk_records: 1, stall_timeout_ms: 10_000 };
            let mut reader = NativeReader::new(reading.lock().unwrap(), &range(0, 3), options, Watched::default());
            reader.next_chunk().unwrap();
            panic!("planted");
        });
        assert!(task.join().is_err());
    });
    let guard = reading.lock().unwrap_or_else(after_a_panic);
    assert!(guard.has_failed() && guard.position() == 1, "the task stood in the middle of a set");
    let _reader = NativeReader::new(
        guard,
        &range(1, 3),
        ReadOptions { chunk_records: 1, stall_timeout_ms: 10_000 },
        Watched::default(),
    );
    lane.take_order();
    assert_eq!(lane.position, 1);
}

#[test]
fn a_log_that_looks_short_is_lost_only_while_its_broker_says_so() {
    let (lane, reading) = one();
    let stall = || read(&mut reader(&reading, &range(0, 3), 1)).1.unwrap();
    lane.shared.change_facts(|facts| facts.heard_bounds(0, 2, Duration::ZERO));
    assert!(matches!(stall().kind, SourceErrorKind::DataLoss { latest: 2, .. }));
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(stall().kind, SourceErrorKind::Unreachable, "the broker has fallen silent since");
}

#[test]
fn silence_behind_a_quota_names_the_quota() {
    let (lane, reading) = one();
    lane.shared.note_throttle(Instant::now() + Duration::from_millis(20));
    let error = read(&mut reader(&reading, &range(0, 3), 5)).1.unwrap();
    assert_eq!(
        (error.kind.clone(), error.hint.as_deref()),
        (SourceErrorKind::Unreachable, Some(QUOTA_HINT)),
        "{error}"
    );
    assert!(error.message.contains("after a quota held them back"), "{error}");
    let error = read(&mut reader(&reading, &range(0, 3), 5)).1.unwrap();
    assert_eq!(error.hint, None, "it was over before this reader began");
}

#[test]
fn topic_ids_are_read_in_every_form_they_are_printed_in() {
    let id = Uuid::from_u128(0xfbff_0000_0000_0000_0000_0000_0000_00fe);
    assert_eq!(print_topic_id(id), "-_8AAAAAAAAAAAAAAAAA_g");
    for text in ["-_8AAAAAAAAAAAAAAAAA_g", "+/8AAAAAAAAAAAAAAAAA/g", "+/8AAAAAAAAAAAAAAAAA/g==", &id.to_string()] {
        assert_eq!(parse_topic_id(text), Some(id), "{text}");
    }
    for text in ["", "short", "-_8AAAAAAAAAAAAAAAAA_gAA", "no topic id at all!!!!"] {
        assert_eq!(parse_topic_id(text), None, "{text}");
    }
}

#[test]
fn what_is_known_of_a_range_is_told_to_a_lane_that_goes_on() {
    let (mut lane, reading) = one();
    let planned = OffsetRange { leader_epoch: Some(7), start_epoch: Some(7), ..range(0, 6) };
    let tell = |lane: &mut Lane| {
        let (offsets, _) = read(&mut reader(&reading, &planned, 1));
        lane.take_order();
        (offsets, lane.known)
    };
    let known = Known { start: Some(EpochCheck { epoch: 7, until: 0 }), end: Some(EpochCheck { epoch: 7, until: 6 }) };
    lane.shared.change_facts(|facts| (facts.leader_epoch, facts.compared_epoch) = (Some(7), Some(7)));
    deliver(&mut lane, 0);
    assert_eq!(tell(&mut lane), (vec![0, 1, 2], known));
    assert_eq!(lane.position, 3, "and what it has fetched is read");

    // The leader is known, and what was fetched under the one before has not been compared with its log.
    let (mut lane, reading) = one();
    lane.shared.change_facts(|facts| (facts.leader_epoch, facts.compared_epoch) = (Some(7), Some(5)));
    deliver(&mut lane, 0);
    let (offsets, _) = read(&mut reader(&reading, &planned, 1));
    assert_eq!(offsets, [0i64; 0]);
    lane.take_order();
    assert_eq!((lane.position, lane.known), (0, known));
    deliver(&mut lane, 0);
    assert_eq!(read(&mut reader(&reading, &planned, 1)).0, [0, 1, 2], "a second try takes what has come since");
}

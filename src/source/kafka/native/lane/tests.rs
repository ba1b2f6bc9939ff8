//! One lane between two threads.

use super::*;

/// Two lanes of a plane that may hold 1,000 bytes.
fn two() -> ((Lane, Feed), (Lane, Feed)) {
    let memory = Memory::new(1_000);
    let range = BackoffRange { first: Duration::from_millis(1), most: Duration::from_millis(1) };
    let make = |partition| lane(TopicPartition::new("t", partition), 0, 500, memory.clone(), range);
    (make(0), make(1))
}

fn deliver(lane: &mut Lane, len: usize) {
    lane.deliver(lane.position + 1, 0, Bytes::from(vec![0; len]).into(), Vec::new(), "b".into());
}

#[test]
fn a_lane_that_nobody_reads_leaves_the_others_their_share() {
    let ((mut first, _unread), (second, _feed)) = two();
    assert_eq!((first.room(), second.room()), (500, 500));
    deliver(&mut first, 300);
    assert_eq!(first.room(), 0, "half its share lies unread");
    assert_eq!(second.room(), 500);
}

#[test]
fn beyond_the_bound_only_a_lane_whose_reader_waits_is_filled() {
    let ((mut first, feed), (mut second, other)) = two();
    deliver(&mut first, 4_000);
    assert_eq!((first.room(), second.room()), (0, 0), "one batch was larger than all of the bound");
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(other.receive(Instant::now() + Duration::from_secs(10)).is_ok()));
        while !second.shared.is_waiting() {
            std::thread::yield_now();
        }
        assert!(second.room() > 0 && first.room() == 0);
        deliver(&mut second, 4_000);
    });
    let held = feed.receive(Instant::now()).unwrap();
    assert_eq!(second.room(), 0, "what is being read counts");
    drop(held);
    assert!(first.room() > 0 && second.room() > 0);
}

#[test]
fn what_comes_while_the_reader_seeks_is_not_dropped() {
    const SETS: usize = 8;
    let ((mut lane, mut feed), _other) = two();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                if !lane.is_current() {
                    lane.take_order();
                    (0..SETS).for_each(|_| deliver(&mut lane, 1));
                }
            }
        });
        let lost = (0..20_000).find(|&position| {
            feed.seek(position, Known::default(), None);
            (0..SETS).any(|_| feed.receive(Instant::now() + Duration::from_secs(5)).is_err())
        });
        is_over.store(true, Ordering::Release);
        assert_eq!(lost, None, "an order brings all of its sets");
    });
}

#[test]
fn a_set_of_an_unknown_epoch_leaves_what_was_known_before_it() {
    let ((mut lane, mut feed), _other) = two();
    let start = EpochCheck { epoch: 3, until: 10 };
    feed.seek(10, Known { start: Some(start), end: None }, None);
    lane.take_order();
    lane.deliver(12, -1, Bytes::from_static(b"a").into(), Vec::new(), "b".into());
    assert_eq!((lane.known.start, lane.read, lane.last_epoch()), (Some(start), None, -1));
    lane.deliver(15, 5, Bytes::from_static(b"a").into(), Vec::new(), "b".into());
    let read = Some(EpochCheck { epoch: 5, until: 15 });
    assert_eq!((lane.known.start, lane.read, lane.last_epoch()), (None, read, 5));
    lane.deliver(18, -1, Bytes::from_static(b"a").into(), Vec::new(), "b".into());
    assert_eq!((lane.read, lane.last_epoch()), (read, -1), "of the last batch nothing is known");
}

#[test]
fn what_is_told_is_compared_anew_and_moves_nothing() {
    let ((mut lane, mut feed), _other) = two();
    deliver(&mut lane, 5);
    (lane.leader_epoch, lane.compared_with) = (3, Some(3));
    let known = Known { start: None, end: Some(EpochCheck { epoch: 3, until: 9 }) };
    feed.tell(known);
    lane.take_order();
    assert_eq!((lane.known, lane.compared_with, lane.position), (known, None, 1));
    lane.compared_with = Some(3);
    feed.tell(known);
    lane.take_order();
    assert_eq!(lane.compared_with, Some(3), "it knows that");
    assert!(lane.is_current() && feed.receive(Instant::now()).is_ok());
}

#[test]
fn a_response_counts_until_the_last_of_its_sets_is_read() {
    let ((mut first, feed), (mut second, slow)) = two();
    let memory = first.shared.memory.clone();
    let response = memory.hold(900);
    for lane in [&mut first, &mut second] {
        let set = Held { bytes: Bytes::from(vec![0; 120]), whole: Some(response.clone()) };
        lane.deliver(1, 0, set, Vec::new(), "b".into());
    }
    drop(response);
    assert_eq!(memory.held(), 900, "once, whatever its sets are");
    drop(feed.receive(Instant::now()).unwrap());
    assert_eq!(memory.held(), 900, "the other set keeps all of it");
    drop(slow.receive(Instant::now()).unwrap());
    assert_eq!(memory.held(), 0);
}

#[test]
fn a_plan_for_a_topic_made_anew_forgets_the_one_before() {
    let ((mut lane, mut feed), _other) = two();
    let id = Uuid::from_u128;
    (lane.topic_id, lane.leader_epoch) = (id(1), 9);
    lane.shared
        .change_facts(|facts| (facts.topic_id, facts.leader_epoch, facts.held_until) = (id(1), Some(9), Some(5)));
    for (planned, expected) in [(None, (id(1), 9)), (Some(id(1)), (id(1), 9)), (Some(id(2)), (id(2), -1))] {
        feed.seek(0, Known::default(), planned);
        lane.take_order();
        assert_eq!((lane.topic_id, lane.leader_epoch), expected, "{planned:?}");
        assert_eq!(lane.shared.facts().topic_id, expected.0);
    }
    assert_eq!((lane.shared.facts().leader_epoch, lane.shared.facts().held_until), (None, None));
    // Where brokers tell no ids, there is nothing to compare.
    lane.topic_id = Uuid::nil();
    feed.seek(0, Known::default(), Some(id(3)));
    lane.take_order();
    assert!(lane.topic_id.is_nil() && lane.planned_id == id(3));
}

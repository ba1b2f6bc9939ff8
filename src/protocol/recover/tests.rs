//! The recovery decision as a table: what is found, what is decided.

use std::collections::BTreeMap;

use super::*;
use crate::protocol::{
    DroppedPartition, LossReason, LostRange, MemoryStore, StateWrites, Store, memory::tests_support::*,
};

/// Batches 0 and 1 committed, of two topic partitions.
fn two_committed() -> MemoryStore {
    let mut store = MemoryStore::new("job");
    store.log_planned(&plan(0, &[(0, 0, 10), (1, 0, 5)])).unwrap();
    store.log_committed(&commit(0), &StateWrites::default(), None).unwrap();
    store.log_planned(&plan(1, &[(0, 10, 20)])).unwrap();
    store.log_committed(&commit(1), &StateWrites::default(), None).unwrap();
    store
}

/// The same, and batch 2 planned.
fn one_in_flight() -> Facts {
    let mut store = two_committed();
    store.log_planned(&plan(2, &[(0, 20, 30), (1, 5, 6)])).unwrap();
    store.facts()
}

fn decided(facts: Facts) -> Decision {
    decide(facts, Expected { job: "job" })
}

fn check_refused(change: impl FnOnce(&mut Facts), expected: Reason) {
    let mut facts = one_in_flight();
    change(&mut facts);
    match decided(facts) {
        Decision::Refuse(reason) => assert_eq!(reason, expected, "{reason}"),
        other => panic!("expected {expected:?}, decided {other:?}"),
    }
}

fn check_contradiction(change: impl FnOnce(&mut Facts), part: &str) {
    let mut facts = one_in_flight();
    change(&mut facts);
    match decided(facts) {
        Decision::Refuse(Reason::Contradiction(what)) => assert!(what.contains(part), "{what}"),
        other => panic!("expected a contradiction, decided {other:?}"),
    }
}

#[test]
fn nothing_in_flight_is_planned_fresh() {
    let next = |store: MemoryStore| match decided(store.facts()) {
        Decision::PlanFresh { next } => next,
        other => panic!("{other:?}"),
    };
    assert_eq!(next(MemoryStore::new("job")), BatchId(0));
    assert_eq!(next(two_committed()), BatchId(2));
}

#[test]
fn a_planned_batch_is_executed_again_from_its_logged_inputs() {
    match decided(one_in_flight()) {
        Decision::ReExecute(batch) => {
            assert_eq!(batch.plan(), &plan(2, &[(0, 20, 30), (1, 5, 6)]));
            assert_eq!(batch.exposure(), crate::protocol::Exposure::Possible);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unfinished_rewind_is_finished_first() {
    let mut facts = two_committed().facts();
    let rewind = RewindRecord {
        to: Some(BatchId(1)),
        timeline: Timeline(1),
        sinks: BTreeMap::new(),
        job_text: None,
        earlier_job_texts: Vec::new(),
    };
    facts.rewind = Some(rewind.clone());
    assert!(matches!(decided(facts), Decision::FinishRewind(found) if found == rewind));
}

#[test]
fn a_newer_or_foreign_checkpoint_is_refused() {
    check_refused(|facts| facts.format = FORMAT + 1, Reason::NewerFormat { found: FORMAT + 1, known: FORMAT });
    check_refused(
        |facts| facts.job = "other".to_owned(),
        Reason::ForeignJob { found: "other".to_owned(), expected: "job".to_owned() },
    );
}

#[test]
fn holes_and_commits_without_plan_are_refused() {
    check_refused(
        |facts| drop(facts.batches.remove(&BatchId(1))),
        Reason::Hole { after: BatchId(0), before: BatchId(2) },
    );
    check_refused(
        |facts| facts.batches.get_mut(&BatchId(1)).unwrap().plan = None,
        Reason::CommittedWithoutPlanned(BatchId(1)),
    );
}

#[test]
fn ranges_that_do_not_meet_are_refused() {
    let gap = Reason::RangesDoNotMeet {
        tp: TopicPartition::new("words", 0),
        earlier: BatchId(1),
        until: 20,
        later: BatchId(2),
        start: 21,
    };
    let set_start = |facts: &mut Facts, start: i64| {
        facts.batches.get_mut(&BatchId(2)).unwrap().plan.as_mut().unwrap().ranges[0].start = start;
    };
    check_refused(|facts| set_start(facts, 21), gap.clone());
    let lose = |facts: &mut Facts, start: i64| {
        let plan = facts.batches.get_mut(&BatchId(2)).unwrap().plan.as_mut().unwrap();
        let (source, tp, reason) = ("source".into(), TopicPartition::new("words", 0), LossReason::Retention);
        plan.lost.push(LostRange { source, tp, start, until: Some(21), resumes_at: Some(21), reason, topic_id: None });
    };
    check_refused(
        |facts| {
            set_start(facts, 21);
            lose(facts, 19);
        },
        gap,
    );
    let mut facts = one_in_flight();
    set_start(&mut facts, 21);
    lose(&mut facts, 20);
    assert!(matches!(decided(facts), Decision::ReExecute(_)));
}

#[test]
fn every_kind_of_loss_explains_where_a_range_begins() {
    let check = |start: i64, lost: (i64, Option<i64>, Option<i64>, LossReason)| {
        let mut facts = one_in_flight();
        let plan = facts.batches.get_mut(&BatchId(2)).unwrap().plan.as_mut().unwrap();
        let (source, tp) = ("source".into(), TopicPartition::new("words", 0));
        let (lost_start, until, resumes_at, reason) = lost;
        plan.ranges[0] = OffsetRange { start, until: start + 1, ..plan.ranges[0].clone() };
        plan.lost.push(LostRange { source, tp, start: lost_start, until, resumes_at, reason, topic_id: None });
        assert!(matches!(decided(facts), Decision::ReExecute(_)), "{start} {reason:?}");
    };
    check(25, (20, Some(25), Some(25), LossReason::Retention));
    check(12, (12, Some(20), Some(12), LossReason::Truncated));
    check(3, (20, None, Some(3), LossReason::Recreated));
}

#[test]
fn a_partition_that_was_gone_may_come_back_anywhere() {
    let mut facts = one_in_flight();
    let tp = TopicPartition::new("words", 0);
    let gone = LostRange {
        source: "source".into(),
        tp: tp.clone(),
        start: 20,
        until: None,
        resumes_at: None,
        reason: LossReason::Deleted,
        topic_id: None,
    };
    let plan = |facts: &mut Facts, batch: u64, change: &dyn Fn(&mut PlanRecord)| {
        change(facts.batches.get_mut(&BatchId(batch)).unwrap().plan.as_mut().unwrap());
    };
    plan(&mut facts, 2, &|plan| plan.ranges[0].start = 0);
    assert!(matches!(decided(facts.clone()), Decision::Refuse(Reason::RangesDoNotMeet { .. })));
    plan(&mut facts, 1, &|plan| plan.lost.push(gone.clone()));
    assert!(matches!(decided(facts), Decision::ReExecute(_)));
}

#[test]
fn a_dropped_partition_may_begin_anywhere() {
    let mut facts = one_in_flight();
    let plan = facts.batches.get_mut(&BatchId(2)).unwrap().plan.as_mut().unwrap();
    plan.ranges[0].start = 3;
    plan.dropped_partitions.push(dropped(Some("source")));
    facts.positions.retain(|position| position.tp.partition != 0);
    assert!(matches!(decided(facts), Decision::ReExecute(_)));
}

fn dropped(source: Option<&str>) -> DroppedPartition {
    DroppedPartition { source: source.map(Arc::from), tp: TopicPartition::new("words", 0) }
}

#[test]
fn what_one_source_drops_another_may_read_and_goes_on_with() {
    let of_other = |start, until| OffsetRange { source: "other".into(), ..range(0, start, until) };
    for source in [Some("source"), None] {
        let mut store = two_committed();
        let mut moving = plan(2, &[]);
        moving.ranges.push(of_other(0, 7));
        moving.dropped_partitions.push(dropped(source));
        store.log_planned(&moving).unwrap();
        assert!(matches!(decided(store.facts()), Decision::ReExecute(_)), "{source:?}");
        let following = |start| PlanRecord { ranges: vec![of_other(start, 9)], ..plan(3, &[]) };
        let mut again = store.clone();
        store.log_committed(&commit(2), &StateWrites::default(), Some(&following(7))).unwrap();
        let positions = store.facts().positions;
        let positions: Vec<_> = positions.iter().map(|at| (&*at.source, at.tp.partition, at.offset)).collect();
        assert_eq!(positions, [("other", 0, 7), ("source", 1, 5)], "{source:?}");
        assert!(matches!(decided(store.facts()), Decision::ReExecute(_)), "{source:?}");
        again.log_committed(&commit(2), &StateWrites::default(), Some(&following(0))).unwrap();
        assert!(matches!(decided(again.facts()), Decision::Refuse(Reason::RangesDoNotMeet { .. })), "{source:?}");
    }
}

#[test]
fn a_plan_of_an_earlier_version_does_not_say_which_source_drops() {
    let old = r#"{"topic":"words","partition":0}"#;
    assert_eq!(serde_json::from_str::<DroppedPartition>(old).unwrap(), dropped(None));
    let new = serde_json::to_string(&dropped(Some("source"))).unwrap();
    assert_eq!(serde_json::from_str::<DroppedPartition>(&new).unwrap(), dropped(Some("source")));
}

#[test]
fn missing_state_is_refused() {
    let missing = MissingState { state: "totals".to_owned(), batch: BatchId(1), slot: None };
    check_refused(|facts| facts.missing_state.push(missing.clone()), Reason::StateMissing(missing.clone()));
}

#[test]
fn facts_that_contradict_each_other_are_refused() {
    fn row(facts: &mut Facts, batch: u64) -> &mut super::super::BatchFacts {
        facts.batches.get_mut(&BatchId(batch)).unwrap()
    }
    check_contradiction(|facts| facts.head_planned = Some(BatchId(3)), "head says 3 and 1");
    check_contradiction(|facts| facts.head_committed = Some(BatchId(2)), "head says 2 and 2");
    check_contradiction(|facts| facts.head_first = BatchId(1), "oldest batch is 0");
    check_contradiction(|facts| drop(facts.batches.pop_last()), "planned up to 1");
    check_contradiction(|facts| row(facts, 0).commit = None, "batch 0 is not committed");
    check_contradiction(|facts| row(facts, 1).commit.as_mut().unwrap().batch = BatchId(0), "another id");
    check_contradiction(|facts| row(facts, 1).commit.as_mut().unwrap().time = BatchTime(1), "another time");
    check_contradiction(|facts| row(facts, 2).plan.as_mut().unwrap().time = BatchTime(2000), "not later");
    check_contradiction(|facts| row(facts, 2).plan.as_mut().unwrap().run_epoch = RunEpoch(2), "later timeline or run");
    check_contradiction(|facts| row(facts, 2).plan.as_mut().unwrap().run_epoch = RunEpoch(0), "earlier timeline");
    check_contradiction(|facts| row(facts, 2).plan.as_mut().unwrap().ranges[1].until = 4, "impossible range");
    check_contradiction(|facts| row(facts, 2).plan.as_mut().unwrap().ranges[1] = range(0, 30, 31), "two ranges");
    check_contradiction(|facts| facts.positions[0].offset = 19, "stands at 19");
    check_contradiction(|facts| drop(facts.positions.remove(0)), "has no position");
    check_contradiction(|facts| facts.positions[1].batch = BatchId(2), "stands at 5");
    check_contradiction(|facts| facts.batches.clear(), "planned up to none");
}

//! The oracle is shown a sound case, then the same with one thing wrong: it names each.

use std::{collections::BTreeMap, sync::Arc};

use kstream::{
    model::{BatchId, BatchTime, OffsetRange, RunEpoch, Timeline},
    planner::{LossReason, LostRange},
    protocol::{JobTextHash, PlanRecord},
};

use super::{
    oracle::{Case, INTERVAL_MS, Row, judge},
    sink::Delivery,
    topic::{Log, Topic},
};

fn plan(batch: u64, start: i64, until: i64) -> PlanRecord {
    PlanRecord {
        batch: BatchId(batch),
        time: BatchTime((batch as i64 + 1) * INTERVAL_MS),
        timeline: Timeline(0),
        run_epoch: RunEpoch(1),
        ranges: vec![OffsetRange {
            source: Arc::from("source"),
            tp: Topic::tp(0),
            start,
            until,
            topic_id: Some("1".to_owned()),
            leader_epoch: Some(0),
            start_epoch: None,
        }],
        job_text: JobTextHash::of(b""),
        lost: Vec::new(),
        dropped_partitions: Vec::new(),
        dropped_states: Vec::new(),
        renamed_states: Vec::new(),
        bases: BTreeMap::new(),
        planned_at_ms: 0,
        replaced: 0,
    }
}

/// Three batches of three offsets each, one of which holds nothing.
fn sound() -> Case {
    let values = ["a", "b", "c", "d", "", "b", "a", "c", "c"];
    let offsets = values.iter().map(|value| (!value.is_empty()).then(|| Arc::from(*value))).collect();
    let log = Log { offsets, earliest: 0, starts: vec![0] };
    let topic = Topic { partitions: vec![log], id: 1 };
    let ledger =
        (0..3).map(|batch| (batch, Row { plan: plan(batch, 3 * batch as i64, 3 * batch as i64 + 3), committed: true }));
    let lines = [["0:0:a", "0:1:b", "0:2:c"].as_slice(), &["0:3:d", "0:5:b"], &["0:6:a", "0:7:c", "0:8:c"]];
    let totals = [
        ["('a', 1)", "('b', 1)", "('c', 1)"].as_slice(),
        &["('a', 1)", "('b', 2)", "('c', 1)", "('d', 1)"],
        &["('a', 2)", "('b', 2)", "('c', 3)", "('d', 1)"],
    ];
    let mut delivered = Vec::new();
    for (output, batches) in
        [("memory", lines), ("log", lines), ("files", lines), ("console", lines), ("totals", totals)]
    {
        delivered.extend((0u64..).zip(batches).map(|(batch, lines)| Delivery {
            output: output.to_owned(),
            batch,
            time_ms: (batch as i64 + 1) * INTERVAL_MS,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            torn: false,
        }));
    }
    Case {
        topics: vec![topic],
        zero_ms: 0,
        ledger: ledger.collect(),
        delivered,
        windowed: false,
        console: true,
        caught_up: true,
    }
}

fn delivery<'a>(case: &'a mut Case, output: &str, batch: u64) -> &'a mut Delivery {
    case.delivered.iter_mut().find(|own| own.output == output && own.batch == batch).unwrap()
}

#[test]
fn the_oracle_accepts_what_is_right_and_names_what_is_wrong() {
    let check = |what: &str, change: &dyn Fn(&mut Case), named: &[&str]| {
        let mut case = sound();
        change(&mut case);
        let wrong = judge(&case);
        assert_eq!(wrong.is_empty(), named.is_empty(), "{what}: {wrong:?}");
        for name in named {
            assert!(wrong.iter().any(|wrong| wrong.contains(name)), "{what}: no {name:?} in {wrong:?}");
        }
    };
    check("sound", &|_| {}, &[]);
    for output in ["memory", "log", "files", "console"] {
        let of = |case: &mut Case| delivery(case, output, 0).lines.clone();
        let set = |case: &mut Case, lines: Vec<String>| delivery(case, output, 0).lines = lines;
        let differs = format!("batch 0 of {output} differs: ");
        let named = |how: &str| format!("{differs}{how}");
        check(
            "a dropped record",
            &|case| {
                let mut l = of(case);
                l.remove(1);
                set(case, l);
            },
            &[&named("lacks [\"0:1:b\"]")],
        );
        check(
            "a doubled record",
            &|case| {
                let mut l = of(case);
                l.insert(1, l[1].clone());
                set(case, l);
            },
            &[&named("doubles [\"0:1:b\"]")],
        );
        check(
            "a swapped record",
            &|case| {
                let mut l = of(case);
                l.swap(0, 1);
                set(case, l);
            },
            &[&named("in another order")],
        );
        check(
            "an altered record",
            &|case| {
                let mut l = of(case);
                l[1] = "0:1:x".to_owned();
                set(case, l);
            },
            &[&named("has [\"0:1:x\"] in place of [\"0:1:b\"]")],
        );
        let missing = format!("batch 2 of {output} is missing");
        check(
            "a missing tail",
            &|case| case.delivered.retain(|own| own.output != output || own.batch != 2),
            &[&missing],
        );
    }
    check(
        "a dropped record, by the topic",
        &|case| {
            delivery(case, "memory", 1).lines.pop();
        },
        &["record 0:5 is lost"],
    );
    check(
        "a doubled record, by the topic",
        &|case| delivery(case, "memory", 1).lines.push("0:2:c".to_owned()),
        &["record 0:2 is there 2 times"],
    );
    check(
        "a record of no topic",
        &|case| delivery(case, "memory", 1).lines.push("0:99:c".to_owned()),
        &["record 0:99:c was never written"],
    );
    check(
        "a wrong total",
        &|case| delivery(case, "totals", 2).lines[0] = "('a', 1)".to_owned(),
        &["batch 2 of totals differs"],
    );
    for output in ["memory", "log", "totals"] {
        let twice = format!("batch 1 of {output} is there twice");
        check(
            "a doubled batch",
            &|case| {
                let again = delivery(case, output, 1).clone();
                case.delivered.push(again);
            },
            &[&twice],
        );
    }
    check(
        "a batch again on the console",
        &|case| {
            let (again, at) = (
                delivery(case, "console", 1).clone(),
                case.delivered.iter().position(|own| own.output == "console" && own.batch == 1),
            );
            case.delivered.insert(at.unwrap(), again);
        },
        &[],
    );
    check(
        "a batch again, later, on the console",
        &|case| {
            let again = delivery(case, "console", 1).clone();
            case.delivered.push(again);
        },
        &["out of order"],
    );
    check(
        "swapped batches",
        &|case| {
            let (a, b) = (0, 1);
            case.delivered.swap(a, b);
        },
        &["memory are out of order"],
    );
    check("a torn batch", &|case| delivery(case, "memory", 1).torn = true, &["committed and torn"]);
    check("a batch of another time", &|case| delivery(case, "log", 1).time_ms += 1, &["has time 2001, not 2000"]);
    check(
        "a batch that is none",
        &|case| delivery(case, "files", 2).batch = u64::MAX,
        &["which is none", "batch 2 of files is missing"],
    );
    check(
        "a hole",
        &|case| {
            case.ledger.remove(&1);
        },
        &["batch 1 is a hole"],
    );
    check(
        "a batch not committed",
        &|case| case.ledger.get_mut(&1).unwrap().committed = false,
        &["batch 1 is not committed"],
    );
    check("a batch in flight", &|case| case.ledger.get_mut(&2).unwrap().committed = false, &["left in flight"]);
    check(
        "equal times",
        &|case| case.ledger.get_mut(&1).unwrap().plan.time = BatchTime(1000),
        &["has time 1000 after 1000"],
    );
    check("ranges apart", &|case| case.ledger.get_mut(&1).unwrap().plan.ranges[0].start = 4, &["do not meet at 3"]);
    check(
        "ranges that overlap",
        &|case| case.ledger.get_mut(&1).unwrap().plan.ranges[0].start = 2,
        &["do not meet at 3"],
    );
    check(
        "a start of nobody's",
        &|case| case.ledger.get_mut(&0).unwrap().plan.ranges[0].start = 1,
        &["no start of it"],
    );
    check("an end not reached", &|case| case.topics[0].partitions[0].offsets.push(None), &["and ends at 10"]);
    check(
        "a loss that is none",
        &|case| {
            let plan = &mut case.ledger.get_mut(&1).unwrap().plan;
            plan.ranges[0].start = 4;
            plan.lost.push(LostRange {
                source: Arc::from("source"),
                tp: Topic::tp(0),
                start: 3,
                until: Some(4),
                resumes_at: Some(4),
                reason: LossReason::Retention,
                topic_id: None,
            });
            delivery(case, "memory", 1).lines.remove(0);
        },
        &["begins at 0", "record 0:3 is lost"],
    );
}

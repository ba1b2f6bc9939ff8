//! The reference cases of `data/conformance.json`: what Spark's DStreams give for known batches.
//!
//! Every case of the DStream categories is a test with its id as its name ([`by_id`]), straight from the file, or stands
//! in the one table of exceptions ([`exceptions`]) with its reason. Jobs run twice: straight through, and with the
//! process starting anew before every batch; both must give what the file says.

#[expect(non_snake_case, reason = "tests are named as the file names its cases")]
pub mod by_id;
mod exceptions;
mod own;
mod pipeline;
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use exceptions::{EXCEPTIONS, Exception, Why};
use serde_json::Value;

static FILE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("data/conformance.json")).expect("JSON"));

/// The cases of a category, by id.
fn cases(category: &str) -> BTreeMap<&'static str, &'static Value> {
    let of_category = FILE["cases"].as_array().expect("cases").iter().filter(|case| case["category"] == category);
    of_category.map(|case| (case["id"].as_str().expect("id"), case)).collect()
}

/// What an id is called as a test.
fn test_name(id: &str) -> String {
    id.replace(['.', '-'], "_")
}

fn exception(id: &str) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|exception| exception.id == id)
}

/// Runs the case of this category whose test is called `name`.
fn check(category: &str, name: &str) {
    let (id, case) = cases(category).into_iter().find(|(id, _)| test_name(id) == name).expect("a case of this name");
    if let Err(what) = answer(category, id, case) {
        panic!("{id}: {what}");
    }
}

fn answer(category: &str, id: &str, case: &Value) -> Result<(), String> {
    let exception = exception(id);
    if let Some(Exception { why: Why::Later { source, step, refusal, .. }, .. }) = exception {
        return own::is_refused_so_far(source, step, refusal);
    }
    match (category, id) {
        ("dstream", "context.slice") => own::slices_are_replays(case),
        ("dstream", "context.transform_many") => own::several_streams_in_any_order(case),
        ("dstream-state", "sc.updateStateByKey.batch_time") => own::batch_times_reach_the_state(case),
        ("dstream" | "dstream-window" | "dstream-state", _) => pipeline::check(case, exception),
        ("rate", _) if id.starts_with("rate.") => own::estimates(case),
        ("rate", _) if id.starts_with("kafka.") => own::shares(case),
        ("timer", "timer.ticks") => own::missed_ticks_are_not_queued(case),
        ("timer", "timer.graceful_stop_one_more") => own::a_drained_run_begins_no_further_batch(case),
        ("source", "source.queue.all") => own::a_line_of_a_queue_is_a_batch(case),
        ("format", "format.pprint.python") => {
            own::pprint_blocks(case, |vector| vector["expect"].as_str().map(str::to_owned))
        }
        ("format", "format.print.scala") => own::pprint_blocks(case, own::python_instead_of_scala),
        ("format", "format.save_as_text_files") => own::text_files(case),
        ("lifecycle", "lifecycle.failure_reasons") => own::the_first_failing_output_fails_the_batch(case),
        ("lifecycle", "lifecycle.listener_batch_info") => own::progress_records_tell_of_each_batch(case),
        ("lifecycle", "lifecycle.rules") => own::lifecycle_rules(case),
        ("lifecycle", "lifecycle.window_validation") => own::windows_are_multiples_of_the_interval(case),
        _ => Err("nothing reads it".to_owned()),
    }
}

/// The categories that are DStreams; the others are of other interfaces or need a live Kafka.
const CATEGORIES: [(&str, usize); 8] = [
    ("dstream", 31),
    ("dstream-window", 22),
    ("dstream-state", 8),
    ("rate", 8),
    ("timer", 2),
    ("source", 3),
    ("format", 4),
    ("lifecycle", 4),
];

#[test]
fn every_case_of_the_file_is_one_test() {
    let in_file = |category| FILE["cases"].as_array().expect("cases").iter().filter(move |c| c["category"] == category);
    let named: BTreeMap<&str, &[&str]> = by_id::NAMED.iter().copied().collect();
    assert_eq!(named.len(), by_id::NAMED.len(), "a category is listed twice");
    assert_eq!(named.keys().copied().collect::<BTreeSet<_>>(), CATEGORIES.map(|(category, _)| category).into());
    for (category, count) in CATEGORIES {
        let ids: Vec<String> = in_file(category).map(|case| test_name(case["id"].as_str().expect("id"))).collect();
        let once: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!((ids.len(), once.len()), (count, count), "{category}: each case of the file, by its own name");
        assert_eq!(named[category].len(), count, "{category}: each test, once");
        assert_eq!(named[category].iter().copied().collect::<BTreeSet<_>>(), once, "{category}");
    }
}

#[test]
fn exceptions_are_counted_and_name_cases_of_the_file() {
    let ids: Vec<&str> = CATEGORIES.iter().flat_map(|(category, _)| cases(category).into_keys()).collect();
    for exception in EXCEPTIONS {
        assert!(ids.contains(&exception.id), "{} is no case", exception.id);
        assert!(exception.reason.len() > 10, "{} has no reason", exception.id);
    }
    let count = |of: fn(&Why) -> bool| EXCEPTIONS.iter().filter(|exception| of(&exception.why)).count();
    assert_eq!(
        count(|why| matches!(why, Why::Python)),
        4,
        "cases where PySpark differs from Spark, and kstream follows it"
    );
    assert_eq!(count(|why| matches!(why, Why::Batches(_))), 1, "cases with batches of kstream's own");
    assert_eq!(count(|why| matches!(why, Why::Test)), 9, "cases with a test of kstream's own");
    assert_eq!(count(|why| matches!(why, Why::Later { .. })), 3, "cases of a later feature");
}

#[test]
fn an_altered_case_fails() {
    let case = cases("dstream-window")["sc.countByValueAndWindow"];
    assert_eq!(pipeline::check(case, None), Ok(()));
    let alter = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut altered = case.clone();
        change(altered["expected"]["batches"][1].as_array_mut().expect("batch"));
        assert!(pipeline::check(&altered, None).is_err(), "{}", altered["expected"]);
    };
    alter(&|batch| drop(batch.pop()));
    alter(&|batch| batch.push(batch[0].clone()));
    alter(&|batch| batch[0][1] = Value::from(7));
    let mut ordered = cases("dstream")["py.union.uneven"].clone();
    ordered["expected"]["batches"][0].as_array_mut().expect("batch").swap(0, 1);
    assert!(pipeline::check(&ordered, None).is_err());
    let mut state = cases("dstream-state")["sc.mapWithState.running_sum"].clone();
    state["expected"]["state_snapshots"][2][0][1] = Value::from(7);
    assert!(pipeline::check(&state, None).is_err());
}

//! The reference cases of `data/conformance.json`: what Spark's DStreams give for known batches.
//!
//! Every case of the DStream categories runs here straight from the file, or stands in the one table of exceptions
//! ([`exceptions`]) with its reason. A failing test names the cases by their ids. Jobs run twice: straight through, and
//! with the process starting anew before every batch; both must give what the file says.

mod exceptions;
mod own;
mod pipeline;
mod shape;

use std::{collections::BTreeMap, fs, path::Path};

use exceptions::{EXCEPTIONS, Exception, Why};
use serde_json::Value;

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

/// The cases of a category, by id.
fn cases(category: &str) -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).expect("the cases")).expect("JSON");
    let of_category = all["cases"].as_array().expect("cases").iter().filter(|case| case["category"] == category);
    of_category.map(|case| (case["id"].as_str().expect("id").to_owned(), case.clone())).collect()
}

fn exception(id: &str) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|exception| exception.id == id)
}

/// Runs every case of a category and reports all that fail, by id.
fn check(category: &str, run: impl Fn(&str, &Value) -> Result<(), String>) {
    let mut failed = Vec::new();
    for (id, case) in cases(category) {
        if matches!(exception(&id), Some(Exception { why: Why::Later(_), .. })) {
            continue;
        }
        if let Err(what) = run(&id, &case) {
            failed.push(format!("{id}: {what}"));
        }
    }
    assert!(failed.is_empty(), "{} cases fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn dstream_cases_give_what_spark_gives() {
    check("dstream", |id, case| match id {
        "context.slice" => own::slices_are_replays(case),
        "context.transform_many" => own::several_streams_in_any_order(case),
        _ => pipeline::check(case, exception(id)),
    });
}

#[test]
fn window_cases_give_what_spark_gives() {
    check("dstream-window", |id, case| pipeline::check(case, exception(id)));
}

#[test]
fn state_cases_give_what_spark_gives() {
    check("dstream-state", |id, case| pipeline::check(case, exception(id)));
}

#[test]
fn rate_cases_give_what_spark_gives() {
    check("rate", |id, case| match id.split_once('.') {
        Some(("rate", _)) => own::estimates(case),
        Some(("kafka", _)) => own::shares(case),
        _ => Err("no test reads it".to_owned()),
    });
}

#[test]
fn timer_cases_give_what_kstream_decided() {
    check("timer", |id, case| match id {
        "timer.ticks" => own::missed_ticks_are_not_queued(case),
        "timer.graceful_stop_one_more" => own::a_drained_run_begins_no_further_batch(case),
        _ => Err("no test reads it".to_owned()),
    });
}

#[test]
fn source_cases_give_what_kstream_decided() {
    check("source", |id, case| match id {
        "source.queue.all" => own::a_line_of_a_queue_is_a_batch(case),
        _ => Err("no test reads it".to_owned()),
    });
}

#[test]
fn formats_are_those_of_pyspark() {
    check("format", |id, case| match id {
        "format.pprint.python" => own::pprint_blocks(case, |vector| vector["expect"].as_str().map(str::to_owned)),
        "format.print.scala" => own::pprint_blocks(case, own::python_instead_of_scala),
        "format.save_as_text_files" => own::text_files(case),
        _ => Err("no test reads it".to_owned()),
    });
}

#[test]
fn lifecycle_cases_give_what_kstream_decided() {
    check("lifecycle", |id, case| match id {
        "lifecycle.failure_reasons" => own::the_first_failing_output_fails_the_batch(case),
        "lifecycle.listener_batch_info" => own::progress_records_tell_of_each_batch(case),
        "lifecycle.rules" => own::lifecycle_rules(case),
        "lifecycle.window_validation" => own::windows_are_multiples_of_the_interval(case),
        _ => Err("no test reads it".to_owned()),
    });
}

#[test]
fn the_file_holds_the_cases_this_suite_was_made_for() {
    for (category, count) in CATEGORIES {
        assert_eq!(cases(category).len(), count, "{category}");
    }
}

#[test]
fn exceptions_are_counted_and_name_cases_of_the_file() {
    let ids: Vec<String> = CATEGORIES.iter().flat_map(|(category, _)| cases(category).into_keys()).collect();
    for exception in EXCEPTIONS {
        assert!(ids.iter().any(|id| id == exception.id), "{} is no case", exception.id);
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
    assert_eq!(count(|why| matches!(why, Why::Later(_))), 3, "cases of a later feature");
}

#[test]
fn an_altered_case_fails() {
    let case = &cases("dstream-window")["sc.countByValueAndWindow"];
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

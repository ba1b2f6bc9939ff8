//! What the benchmark keeps of earlier measurements.

#[allow(dead_code)]
#[path = "../scripts/bench/results.rs"]
mod results;

use serde_json::{Map, Value, json};

fn merged(all: &mut Map<String, Value>, commit: &str, found: Value) {
    results::merge(all, &found, &json!({ "commit": commit }));
}

#[test]
fn what_is_measured_again_replaces_its_own_part_and_no_other() {
    let mut all = Map::new();
    let row = |workload: &str, program: &str, cpu: u64| json!({ "workload": workload, "program": program, "cpu": cpu });
    let run = |workload: &str, cpu: u64| json!({ "workload": workload, "program": "kstream", "cpu": cpu });
    merged(
        &mut all,
        "first",
        json!({
            "rounds": 3,
            "idle": { "rss_mib": 18 },
            "start": { "ms": [60, 61] },
            "rows": [row("words", "bare", 1), row("words", "kstream", 2), row("lines", "kstream", 3)],
            "runs": [run("words", 1), run("words", 2), run("lines", 3)],
            "peers": { "rounds": 1, "rows": [{ "workload": "words", "engine": "flink", "cpu": 9 }] },
        }),
    );
    merged(
        &mut all,
        "second",
        json!({
            "rounds": 1,
            "idle": null,
            "start": null,
            "live": [],
            "rows": [row("words", "kstream", 7), row("json", "kstream", 8)],
            "runs": [run("words", 7)],
        }),
    );
    let rows = |name: &str| -> Vec<(String, u64, String, u64)> {
        let rows = all[name].as_array().unwrap();
        rows.iter()
            .map(|row| {
                let measured = &row["measured"];
                let commit = measured["commit"].as_str().unwrap().to_owned();
                let workload = row["workload"].as_str().unwrap().to_owned();
                (workload, row["cpu"].as_u64().unwrap(), commit, measured["rounds"].as_u64().unwrap())
            })
            .collect()
    };
    let is = |workload: &str, cpu, commit: &str, rounds| (workload.to_owned(), cpu, commit.to_owned(), rounds);
    assert_eq!(
        rows("rows"),
        [
            is("words", 1, "first", 3),
            is("words", 7, "second", 1),
            is("lines", 3, "first", 3),
            is("json", 8, "second", 1)
        ]
    );
    assert_eq!(
        rows("runs"),
        [is("words", 7, "second", 1), is("lines", 3, "first", 3)],
        "all runs of a part go together"
    );
    assert_eq!(all["idle"], json!({ "rss_mib": 18, "measured": { "commit": "first", "rounds": 3 } }));
    assert_eq!(all["start"]["ms"], json!([60, 61]));
    let engine = &all["peers"]["rows"][0];
    assert_eq!((&engine["cpu"], &engine["measured"]["rounds"]), (&json!(9), &json!(1)));

    merged(
        &mut all,
        "third",
        json!({ "peers": { "rounds": 2, "rows": [{ "workload": "words", "engine": "kstream" }] } }),
    );
    assert_eq!(all["peers"]["rows"].as_array().unwrap().len(), 2);
    assert_eq!(all["rows"].as_array().unwrap().len(), 4);
}

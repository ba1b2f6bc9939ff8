//! The command line as its users see it: help, usage errors and exit codes, as snapshots under `tests/cli/`.
//!
//! `TRYCMD=overwrite` rewrites the snapshots.

use std::path::Path;

use super::support::Place;

#[test]
fn help_and_usage_errors_are_as_pinned() {
    trycmd::TestCases::new()
        .env("KSTREAM_BROKERS", "")
        .register_bin("kstream", Path::new(env!("CARGO_BIN_EXE_kstream")))
        .case("tests/cli/*.trycmd")
        .run();
}

#[test]
fn a_number_of_partitions_that_no_client_takes_is_bad_usage_and_the_limit_is_named() {
    let place = Place::with_job("");
    let check = |option: &str, limit: &str| {
        place.kstream(&format!("topics create words {option} --brokers 127.0.0.1:1")).expect(2).says(&[limit]);
    };
    check("--partitions 99999999", "100000");
    check("--partitions 0", "100000");
    check("--replication-factor 10001", "10000");
}

#[test]
fn a_start_that_reads_as_a_time_is_a_time() {
    let job = r#"
name = "started"
batch_interval = "1s"
[source]
kind = "kafka"
brokers = "embedded"
topics = ["words"]
embedded = { lines = "lines.txt", partitions = 1 }
[[steps]]
pprint = 10
"#;
    // With seconds, the end of it could also be a partition and an offset of a topic.
    let check = |start: &str, code: i32, says: &str| {
        let place = Place::with_job(job);
        place.write("lines.txt", "a\n");
        place.kstream(&format!("run job.toml --until-caught-up --start {start}")).expect(code).says(&[says]);
    };
    check("2018-11-20T10:00:00", 0, "batches=1");
    check("2018-11-20T10:00:00Z", 0, "batches=1");
    check("2018-13-20T10:00:00", 2, "no such time");
    check("2018-11-20T25:00:00", 2, "no such time");
    check("other:0:0", 2, "`start` names other/0");
}

//! Every example job at any number of threads, any size of chunks, and with the evaluator alone: the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::support::{Place, START_MS};

fn example_jobs() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs")).unwrap();
    let mut jobs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    jobs.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    jobs.sort();
    jobs
}

/// Everything a bounded run of an example delivers: stdout, and each file it writes.
fn delivered(job: &Path, settings: &[(&str, &str)], threads: &str) -> Vec<(String, String)> {
    // What a command is given, in place of what the example's program makes of it.
    let program = r#"["python3", "jobs/data/into_sqlite.py", "takings.db"]"#;
    let text = fs::read_to_string(job).unwrap().replace(program, r#""mkdir -p target; cat >> target/given""#);
    let place = Place::with_job(&text);
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs"), place.path("jobs")).unwrap();
    let mut args = format!("run job.toml --until-caught-up --manual-clock {START_MS} --threads {threads}");
    if text.contains("[source.embedded]") {
        args += " --set source.embedded.rate=1000000000 --set source.max_records_per_partition=40";
    }
    let mut command = place.command(&args);
    command.args(["--set", "time_zone=Asia/Shanghai"]).envs(settings.iter().copied());
    let ended = place.spawn(command).wait().expect(0);
    let mut all = vec![("stdout".to_owned(), ended.out)];
    collect(&place, &place.path("target"), &mut all);
    all
}

fn collect(place: &Place, dir: &Path, all: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(place, &path, all);
        } else if !path.ends_with("_SUCCESS") {
            let name = path.strip_prefix(place.path("")).unwrap().display().to_string();
            all.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn check(threads: &str, settings: &[(&str, &str)]) {
    let jobs = example_jobs();
    assert!(jobs.len() >= 10, "{jobs:?}");
    for job in jobs {
        let expected = delivered(&job, &[], "1");
        assert!(expected.iter().any(|(_, text)| text.len() > 100), "{}", job.display());
        let found = delivered(&job, settings, threads);
        assert_eq!(found, expected, "{} with {threads} threads and {settings:?}", job.display());
    }
}

#[test]
fn threads_change_nothing() {
    check("2", &[]);
    check("8", &[]);
}

#[test]
fn the_size_of_chunks_changes_nothing() {
    check("2", &[("KSTREAM_CHUNK_RECORDS", "1")]);
    check("8", &[("KSTREAM_CHUNK_RECORDS", "7")]);
}

#[test]
fn the_evaluator_alone_gives_the_same_bytes() {
    check("2", &[("KSTREAM_LAMBDAS", "starlark"), ("KSTREAM_CHUNK_RECORDS", "4096")]);
}

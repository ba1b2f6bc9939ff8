//! The example jobs: each passes `kstream check`, whatever the environment is, and runs to the end of its data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::support::{Place, START_MS};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn jobs() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("jobs")).expect("jobs");
    let mut jobs: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    jobs.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    jobs.sort();
    assert!(11 <= jobs.len(), "only {} jobs", jobs.len());
    jobs
}

#[test]
fn every_example_job_passes_the_check() {
    let tour = fs::read_to_string(root().join("jobs/README.md")).expect("jobs/README.md");
    for job in jobs() {
        let name = job.file_name().expect("name").to_string_lossy().into_owned();
        assert!(tour.contains(&format!("]({name})")), "jobs/README.md does not tell of {name}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_kstream"));
        check.arg("check").arg(&job).current_dir(root()).env_remove("KSTREAM_BROKERS");
        let output = check.output().expect("kstream");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A directory beside which the jobs and their data lie as in the package.
fn beside_the_jobs() -> Place {
    let place = Place::with_job("");
    std::os::unix::fs::symlink(root().join("jobs"), place.path("jobs")).expect("link");
    place
}

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_example_job_runs_to_the_end_of_its_data() {
    for job in jobs() {
        let name = job.file_name().expect("name").to_string_lossy().into_owned();
        if name == "orders_to_sqlite.toml" && !has_python() {
            eprintln!("{name} needs python3, which is missing: not run");
            continue;
        }
        let place = beside_the_jobs();
        let fast = if fs::read_to_string(&job).expect("job").contains("[source.embedded]") {
            "--set source.embedded.rate=1000000000"
        } else {
            ""
        };
        let ended =
            place.kstream(&format!("run jobs/{name} --until-caught-up --manual-clock {START_MS} {fast}")).expect(0);
        assert!(ended.err.contains("batch committed"), "{name}\n{}", ended.err);
        place.kstream(&format!("replay jobs/{name} --verify")).expect(0);
    }
}

//! The example jobs: each must pass `kstream check`, whatever the environment is.

use std::{fs, path::Path, process::Command};

#[test]
fn every_example_job_passes_the_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("jobs")).expect("jobs");
    let mut jobs: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    jobs.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    jobs.sort();
    assert!(10 <= jobs.len(), "only {} jobs", jobs.len());
    let tour = fs::read_to_string(root.join("jobs/README.md")).expect("jobs/README.md");
    for job in jobs {
        let name = job.file_name().expect("name").to_string_lossy().into_owned();
        assert!(tour.contains(&format!("]({name})")), "jobs/README.md does not tell of {name}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_kstream"));
        check.arg("check").arg(&job).current_dir(root).env_remove("KSTREAM_BROKERS");
        let output = check.output().expect("kstream");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

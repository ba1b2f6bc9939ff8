//! `kstream test`: the fixtures of the example jobs and of this suite pass; differences, updates and mistakes show.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const JOB: &str = r#"
# Doubles.
job = '''
name = "doubles"
batch_interval = "1s"
[source]
kind = "queue"
path = "jobs/data/batches.jsonl"
[[steps]]
map = "lambda x: 10 // x"
[[steps]]
pprint = 3
'''
"#;

fn kstream(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kstream"));
    command.arg("test").args(arguments).current_dir(root).env_remove("KSTREAM_BROKERS").env("RUST_BACKTRACE", "0");
    command.output().expect("kstream")
}

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).expect("fixtures");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths
}

fn pass(directory: &str, at_least: usize) {
    let paths = fixtures(directory);
    assert!(at_least <= paths.len(), "only {} fixtures in {directory}", paths.len());
    let arguments: Vec<&str> = paths.iter().map(|path| path.to_str().expect("path")).collect();
    let output = kstream(&arguments);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.ends_with(&format!("{} passed, 0 failed\n", paths.len())), "{told}");
}

#[test]
fn fixtures_of_the_example_jobs_pass() {
    pass("jobs/fixtures", 8);
}

#[test]
fn fixtures_of_windows_state_and_joins_pass() {
    pass("tests/fixture", 11);
}

/// Runs a fixture with these batches; gives the exit code, what was told, and the file afterwards.
fn run(batches: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("fixture.toml");
    fs::write(&path, format!("{JOB}{batches}")).expect("fixture");
    let output = kstream(&[arguments, &[path.to_str().expect("path")]].concat());
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = told.replace(&path.display().to_string(), "FIXTURE");
    let after = fs::read_to_string(&path).expect("fixture");
    (output.status.code(), told, after[JOB.len()..].to_owned())
}

#[test]
fn a_difference_is_shown_line_by_line_and_ends_with_7() {
    let (code, told, _) = run("[[batch]]\nsource = [1, 2, 5]\nexpect = ['10', '4', '2']\n", &[]);
    assert_eq!(code, Some(7));
    let shown =
        "FAILED   FIXTURE\n  batch 0, output pprint#1 (- expected, + given)\n      10\n    - 4\n    + 5\n      2\n";
    assert!(told.starts_with(shown), "{told}");
    assert!(told.contains("0 passed, 1 failed"), "{told}");
}

#[test]
fn the_order_of_lines_may_be_free() {
    let batch = "[[batch]]\nsource = [5, 1, 2]\nexpect = ['10', '5', '2']\n";
    assert_eq!(run(batch, &[]).0, Some(7));
    assert_eq!(run(&format!("unordered = true\n{batch}"), &[]).0, Some(0));
    assert_eq!(run(&format!("unordered = ['pprint#1']\n{batch}"), &[]).0, Some(0));
    let (code, told, _) = run(&format!("unordered = ['other']\n{batch}"), &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("`unordered`: `other` is no output of the job; it has pprint#1"), "{told}");
}

#[test]
fn an_update_rewrites_expectations_and_nothing_else() {
    let old = "\n# First.\n[[batch]]\nsource = [1]   # one\nexpect = [\n    'wrong', # gone\n]\n\n[[batch]]\nsource = [1, 2, 5, 10]\n";
    let (code, told, new) = run(old, &["--update"]);
    assert_eq!((code, told.as_str()), (Some(0), "updated  FIXTURE\n0 passed, 0 failed, 1 updated\n"));
    let expected = "\n# First.\n[[batch]]\nsource = [1]   # one\nexpect = [\"10\"]\n\n[[batch]]\nsource = [1, 2, 5, 10]\n\
                    expect = [\"10\", \"5\", \"2\", \"...\"]\n";
    assert_eq!(new, expected);
    let (code, told, same) = run(expected, &["--update"]);
    assert_eq!((code, told.as_str()), (Some(0), "ok       FIXTURE (2 batches)\n1 passed, 0 failed\n"));
    assert_eq!(same, expected);
}

#[test]
fn an_expected_error_must_come_where_it_is_expected() {
    let failing = |batches: &str| run(batches, &[]).0;
    assert_eq!(failing("[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n"), Some(0));
    assert_eq!(failing("[[batch]]\nsource = [0]\nerror = 'out of range'\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [0]\nexpect = []\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [1]\nerror = 'modulo by zero'\n"), Some(7));
    assert_eq!(failing("[[batch]]\nsource = [1]\n[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n"), Some(0));
    let (_, told, _) = run("[[batch]]\nsource = [1]\n[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n", &[]);
    assert!(told.contains("(2 batches)"), "{told}");
}

#[test]
fn nothing_can_be_expected_behind_an_expected_error() {
    let failing = "[[batch]]\nsource = [0]\nerror = 'modulo by zero'\n";
    for (batches, message) in [
        (
            format!("{failing}[[batch]]\nsource = [1]\nexpect = ['anything']\n"),
            "batch 1: the run ends with the `error`",
        ),
        (format!("{failing}expect = ['anything']\n"), "batch 0: a batch with an `error` gives nothing"),
    ] {
        let (code, told, _) = run(&batches, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(message), "{message}: {told}");
    }
}

#[test]
fn a_refused_job_may_be_what_is_expected() {
    assert_eq!(run("error = 'nothing to execute'\n", &[]).0, Some(7), "the job is accepted");
    let refused = |error: &str| run(&format!("set = {{ batch_interval = '0s' }}\nerror = '{error}'\n"), &[]).0;
    assert_eq!(refused("a duration must be positive"), Some(0));
    assert_eq!(refused("no such thing"), Some(7));
}

#[test]
fn mistakes_and_failures_of_a_job_in_a_fixture_are_cited_at_their_place_in_it() {
    let table = "[job]\nname = 'x'\nbatch_interval = '1s'\n[job.source]\nkind = 'queue'\npath = \
                 'jobs/data/batches.jsonl'\n[[batch]]\nsource = [0]\nexpect = []\n[[job.steps]]\nmap = 'lambda x: 10 // \
                 x'\n[[job.steps]]\npprint = 3\n";
    for (fixture, place, line) in [
        (format!("{JOB}[[batch]]\nsource = [0]\nexpect = []\n"), "10:18", "map = \"lambda x: 10 // x\""),
        (JOB.replace("lambda x: 10 // x", "lambda x: 10 // y"), "10:24", "map = \"lambda x: 10 // y\""),
        (JOB.replace("pprint = 3", "map = \"lambda x: x\""), "4:1", "name = \"doubles\""),
        (table.to_owned(), "11:18", "map = 'lambda x: 10 // x'"),
        (table.replace("// x", "// y"), "11:24", "map = 'lambda x: 10 // y'"),
        (JOB.replace("'''", "\"\"\"").replace("\"lambda x: 10 // x\"", "'lambda x: 10 // y'"), "10:24", "10 // y"),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("fixture.toml");
        fs::write(&path, &fixture).expect("fixture");
        let output = kstream(&[path.to_str().expect("path")]);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(told.contains(&format!("--> {}:{place}\n", path.display())), "{place}: {told}\n{fixture}");
        assert!(told.contains(line), "{line}: {told}");
        assert!(!told.contains("kstream-test-"), "{told}");
    }
}

#[test]
fn what_is_no_fixture_is_told_what_it_is_and_what_to_do() {
    let check = |path: &str, what: &str, hint: &str| {
        let output = kstream(&[path]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("cannot run fixture {path}: {what}")), "{told}");
        assert!(told.contains(&format!("hint: {hint}")), "{told}");
    };
    check("jobs/top_words.toml", "it is a job file, no fixture", "Its fixture may be jobs/fixtures/top_words.toml.");
    check(
        "tests/job/ok_minimal.toml",
        "it is a job file, no fixture",
        "A fixture is a file of its own, with `job = \"tests/job/ok_minimal.toml\"`",
    );
    check("jobs", "it is a directory", "Name the fixture files in it: `kstream test jobs/fixtures/*.toml`.");
    check("tests/fixture", "it is a directory", "Name the fixture files in it: `kstream test tests/fixture/*.toml`.");
    check("tests/fixture/join.toml", "no such file", "Did you mean tests/fixture/joins.toml?");
}

#[test]
fn a_fixture_that_cannot_run_is_bad_usage() {
    for (batches, message) in [
        ("[[batch]]\nsource = [1]\n", "it expects nothing"),
        ("[[batch]]\nsuorce = [1]\nexpect = []\n", "`suorce` is no source of the job"),
        ("[[batch]]\nexpect.pprint = []\n", "`pprint` is no output of the job; it has pprint#1"),
        ("[[batch]]\nstate.totals = []\n", "`totals` has no keyed state; no step of the job has"),
        ("bach = 1\n", "unknown key `bach`"),
        ("set = { batch_interval = '0s' }\n", "a duration must be positive"),
    ] {
        let (code, told, _) = run(batches, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("cannot run fixture FIXTURE") && told.contains(message), "{message}: {told}");
    }
}

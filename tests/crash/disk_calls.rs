//! The n-th operation of a whole process on its disk fails, for every n until one comes to its end: outputs, side files and
//! the database alike. The process ends and says what to do, or nothing was lost by it; the next one leaves what an
//! undisturbed one leaves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{
    super::support::{Ended, Place},
    assert_same, bounded, die, head, image, place_of,
    product::long,
};

const BATCHES: usize = 4;

/// `failing_disk.c`, built once, which is preloaded.
fn failing_disk() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failing_disk-{}.so", std::process::id()));
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library);
        compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/failing_disk.c")).arg("-ldl");
        let built = compiler.output().expect("a C compiler, as the build has");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        library
    })
}

/// Every kind of file that a job writes to.
fn job() -> String {
    let letters = "on_error = \"dead_letter\"\ndead_letter = { file = \"letters.jsonl\" }\n[source]";
    head("failing").replace("batches = 3", "batches = 2").replace("[source]", letters)
        + r#"
[[steps]]
flat_map = 'lambda line: line.split(" ")'
[[steps]]
name = "pairs"
map = "lambda word: (word, 1 // (0 if word == 'w2' else 1))"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
pprint = { num = 1000, to = "totals.log", rotate = "120B" }
[[steps]]
from = "pairs"
to_file = { path = "grown.jsonl", format = "json", layout = "append" }
"#
}

/// What a rewind cannot take back.
const DIRECTORIES: &str = "[[steps]]\nfrom = \"pairs\"\nsave_as_text_files = \"saved/counts\"\n";

/// What is done while the disk fails.
struct Scene {
    more_steps: &'static str,
    before: fn(&Place),
    args: &'static str,
    /// What comes after it, with a disk that is whole again; first of all `args` once more.
    after: &'static [&'static str],
}

const RUN: &str = "run";

impl Scene {
    fn place(&self) -> Place {
        let place = place_of(&(job() + self.more_steps), BATCHES);
        (self.before)(&place);
        place
    }

    fn args(&self) -> String {
        spelled(self.args)
    }

    #[track_caller]
    fn heal(&self, place: &Place, case: &str) {
        for args in [self.args].iter().chain(self.after) {
            let ended = place.kstream(&spelled(args));
            assert_eq!(ended.code, Some(0), "{case}, then {args}\n{}", ended.err);
        }
    }
}

fn spelled(args: &str) -> String {
    if args == RUN { bounded() } else { args.to_owned() }
}

/// Operations from the one that failed on, as `sync checkpoint/checkpoint.db`.
fn fail(place: &Place, args: &str, how: &str, nth: usize) -> (Ended, Option<Vec<String>>) {
    let report = place.path("report");
    let _ = fs::remove_file(&report);
    let mut command = place.command(args);
    command.env("LD_PRELOAD", failing_disk()).env("FAILING_DISK_UNDER", place.path("")).env("FAILING_DISK_HOW", how);
    command.env("FAILING_DISK_AT", nth.to_string()).env("FAILING_DISK_REPORT", &report);
    let ended = place.spawn(command).wait();
    let told = fs::read_to_string(&report).ok();
    let under = place.path("").display().to_string();
    (ended, told.map(|told| told.lines().map(|line| line.replace(&under, "")).collect()))
}

/// Whether a failure of `operation` is nothing to the user.
fn is_harmless(operation: &str) -> bool {
    let (call, path) = operation.split_once(' ').unwrap();
    // What is left over goes at the next start; the mark stays a bound; SQLite opens its log anew, or to read only, and puts
    // what processes share of it together again; the name of the log need not be durable, as the mark tells of its loss.
    let of_log = path.ends_with("-shm") || operation == "open checkpoint/checkpoint.db-wal";
    call == "unlink" || path.ends_with("checkpoint.mark") || of_log || operation == "sync checkpoint"
}

/// Fails every `step`-th operation of a scene, in the way of `how`.
fn check(how: &str, scene: &Scene, step: usize, least: usize) {
    let calm = scene.place();
    scene.heal(&calm, "undisturbed");
    let expected = image(&calm);
    let mut failed = 0;
    for nth in (1..).step_by(if long() { 1 } else { step }) {
        let place = scene.place();
        let (ended, told) = fail(&place, &scene.args(), how, nth);
        let Some(operations) = told else {
            ended.expect(0);
            break;
        };
        failed += 1;
        let case = format!("{how} {nth}: {}\n{}", operations[0], ended.err);
        match ended.code {
            Some(0) if scene.args == RUN => {
                let ledger = place.ledger();
                assert!(ledger.last().is_some_and(|last| last["id"] == BATCHES - 1), "{case}");
                assert!(ledger.iter().all(|batch| batch["status"] == "committed"), "{case}");
                // The database is put in order at the end, which nothing depends on.
                let at_the_end = operations.iter().all(|operation| operation.contains(" checkpoint"));
                // What was read again, by SQLite or as it is looked at twice, is no failure.
                assert!(how == "read" || is_harmless(&operations[0]) || at_the_end, "{case}{operations:?}");
            }
            Some(0) => {}
            Some(1 | 2) => {
                assert!(ended.err.contains("error: "), "{case}");
                assert!(["read", "bad"].contains(&how) || ended.err.contains("hint: "), "{case}");
            }
            _ => panic!("{case}"),
        }
        // Nobody believes the second fsync of a file whose first one failed.
        if how == "once" && operations[0].starts_with("sync ") && !operations[0].contains(" checkpoint") {
            assert!(ended.code == Some(1), "{case}");
            assert!(operations.iter().filter(|operation| **operation == operations[0]).count() == 1, "{case}");
        }
        scene.heal(&place, &case);
        assert_same(&image(&place), &expected, &case);
        if nth % 10 == 1 {
            place.kstream("replay job.toml --verify").expect(0);
        }
    }
    assert!(failed >= least / step, "only {failed} operations");
}

/// From nothing to the end of the input.
const NEW: Scene = Scene { more_steps: DIRECTORIES, before: |_| {}, args: RUN, after: &[] };

/// From a batch in flight, which one output has and others have not.
const RECOVERED: Scene = Scene { before: |place| die(place, &bounded(), "publish: one output#5"), ..NEW };

const REWOUND: Scene = Scene {
    more_steps: "",
    before: |place| _ = place.kstream(&bounded()).expect(0),
    args: "rewind job.toml --to 2 --yes",
    after: &[RUN],
};

#[test]
fn an_operation_that_fails_once_ends_the_process_or_costs_nothing() {
    check("once", &NEW, 1, 250);
}

#[test]
fn an_operation_that_fails_once_in_a_recovery_ends_the_process_or_costs_nothing() {
    check("once", &RECOVERED, 3, 100);
    check("once", &REWOUND, 3, 20);
}

#[test]
fn a_disk_that_is_full_from_any_operation_on_costs_nothing_once_there_is_room() {
    check("full", &NEW, 4, 250);
    check("full", &RECOVERED, 4, 100);
    check("full", &REWOUND, 4, 20);
}

#[test]
fn a_read_that_fails_is_told_as_that() {
    for how in ["read", "bad"] {
        check(how, &NEW, 4, 50);
        check(how, &RECOVERED, 4, 50);
        check(how, &REWOUND, 4, 20);
    }
}

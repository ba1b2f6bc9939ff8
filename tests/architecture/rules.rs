//! The rules, applied to one file's text.

use super::text::{code_of, rooms_used, words_of};

/// A room uses only rooms of a lower rank.
const RANKS: &[(&str, u8)] = &[
    ("crash", 0),
    ("open_files", 0),
    ("model", 0),
    ("expr", 1),
    ("job", 2),
    ("lineage", 3),
    ("planner", 3),
    ("protocol", 4),
    ("source", 5),
    ("checkpoint", 5),
    ("telemetry", 5),
    ("sink", 6),
    ("kafka_admin", 7),
    ("shuffle", 6),
    ("state", 7),
    ("operator", 8),
    ("executor", 9),
    ("driver", 10),
    ("cli", 11),
];

/// A crate's name in code, and the only places (file or room, as a prefix) that may say it.
const CRATES: &[(&str, &[&str])] = &[
    (
        "rdkafka",
        &["src/source/kafka/", "src/source/kafka.rs", "src/sink/kafka/", "src/sink/kafka.rs", "src/kafka_admin/"],
    ),
    ("rayon", &["src/executor/", "src/shuffle/"]),
    ("crossbeam_channel", &["src/driver/", "src/telemetry/", "src/source/kafka/", "src/sink/command/"]),
    ("rusqlite", &["src/checkpoint/"]),
];

const CLOCK_FILE: &str = "src/driver/clock.rs";
const CLOCK_WORDS: &[&str] = &["SystemTime", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now"];
const FORBIDDEN_NAMES: &[&str] = &["common", "util", "utils", "types", "helper", "helpers", "manager", "misc"];
pub const MOST_LINES: usize = 500;

/// What passes although a rule forbids it; the last part of each is the reason.
pub struct Exceptions {
    /// Room, the outer room it may use.
    pub outward: &'static [(&'static str, &'static str, &'static str)],
    pub unsafe_files: &'static [(&'static str, &'static str)],
    pub long_files: &'static [(&'static str, &'static str)],
}

/// Every rule the file breaks, one line each.
pub fn faults_of(path: &str, text: &str, exceptions: &Exceptions) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{path}: {what}"));

    if !text.starts_with("//!") {
        fault("begins without //! (one sentence: what the file is for)".into());
    }
    for part in path.trim_end_matches(".rs").split('/') {
        if FORBIDDEN_NAMES.contains(&part) {
            fault(format!("`{part}` names no idea"));
        }
    }
    let lines = text.lines().count();
    if lines > MOST_LINES && !exceptions.long_files.iter().any(|(file, _)| *file == path) {
        fault(format!("{lines} lines; over {MOST_LINES} needs a reason in tests/architecture.rs"));
    }

    let code = code_of(text);
    let words = words_of(&code);
    for (name, places) in CRATES {
        if words.contains(name) && !places.iter().any(|place| path.starts_with(place)) {
            fault(format!("names `{name}`, which only {} may", places.join(", ")));
        }
    }
    for word in CLOCK_WORDS {
        let read = if word.contains("::") { code.contains(word) } else { words.contains(word) };
        if read && path != CLOCK_FILE {
            fault(format!("`{word}`: the wall clock is read in {CLOCK_FILE} alone"));
        }
    }
    if words.contains("unsafe") && !exceptions.unsafe_files.iter().any(|(file, _)| *file == path) {
        fault("`unsafe` outside the files that tests/architecture.rs lists".into());
    }
    if let Some(room) = room_of(path) {
        match rank_of(room) {
            None => fault(format!("`{room}` is not a room that tests/architecture.rs knows")),
            Some(rank) => {
                for used in rooms_used(text) {
                    let inward = used == room || rank_of(&used).is_none_or(|other| other < rank);
                    let excused = exceptions.outward.iter().any(|(from, to, _)| *from == room && *to == used);
                    if !inward && !excused {
                        fault(format!("`{room}` uses `{used}`, which is not further in"));
                    }
                }
            }
        }
    }
    faults
}

/// `src/source/kafka/raw.rs` is in the room `source`; `src/lib.rs` and `src/main.rs` are in none.
pub fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some((room, _)) => Some(room),
        None => inside.strip_suffix(".rs").filter(|name| *name != "lib" && *name != "main"),
    }
}

fn rank_of(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

mod tests {
    use super::*;

    const NONE: Exceptions = Exceptions { outward: &[], unsafe_files: &[], long_files: &[] };

    /// The file breaks exactly the rules whose messages contain these.
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let faults = faults_of(path, text, &NONE);
        assert_eq!(faults.len(), expected.len(), "{path}: {faults:?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part), "{fault:?} does not say {part:?}");
        }
    }

    #[test]
    fn a_file_that_keeps_the_rules_passes() {
        check(
            "src/planner/plan.rs",
            "//! Plans.\nuse crate::{job::Job, model::{Column, Value}, planner::limit};\n",
            &[],
        );
        check("src/main.rs", "//! Main.\nuse kstream::cli;\n", &[]);
    }

    #[test]
    fn a_room_may_not_use_an_outer_one_however_it_is_written() {
        let outward = &["`planner` uses `driver`"];
        check("src/planner/plan.rs", "//! P\nuse crate::driver::Clock;\n", outward);
        check("src/planner/plan.rs", "//! P\nuse crate::{\n    model::{Value, Key},\n    driver,\n};\n", outward);
        check("src/planner/plan.rs", "//! P\nfn f() -> crate::driver::Clock { todo!() }\n", outward);
        check("src/planner/plan.rs", "//! P\nuse crate::lineage::Stage;\n", &["`planner` uses `lineage`"]);
    }

    #[test]
    fn an_outer_room_in_a_comment_a_string_or_a_test_is_no_use_of_it() {
        let text = "//! P, see crate::driver.\nconst S: &str = \"crate::driver\"; // crate::driver\n\
                    #[cfg(test)]\nmod tests {\n    use crate::driver::Clock;\n}\n";
        check("src/planner/plan.rs", text, &[]);
    }

    #[test]
    fn crates_are_named_only_in_their_rooms() {
        check("src/planner/a.rs", "//! A\nuse rdkafka::Offset;\n", &["`rdkafka`"]);
        check("src/source/kafka/a.rs", "//! A\nuse rdkafka::Offset;\n", &[]);
        check("src/source/queue.rs", "//! A\nuse rdkafka::Offset;\n", &["`rdkafka`"]);
        check("src/operator/a.rs", "//! A\nfn f() { rayon::join(a, b); }\n", &["`rayon`"]);
        check("src/cli/a.rs", "//! A\nuse crossbeam_channel::Sender;\n", &["`crossbeam_channel`"]);
        check("src/sink/a.rs", "//! A\nuse rusqlite::Connection;\n", &["`rusqlite`"]);
        check("src/sink/a.rs", "//! A like librdkafka and rusqlite\nconst A: &str = \"rdkafka\";\n", &[]);
    }

    #[test]
    fn the_wall_clock_is_read_in_one_file() {
        check("src/cli/a.rs", "//! A\nuse std::time::SystemTime;\n", &["`SystemTime`"]);
        check("src/sink/a.rs", "//! A\nfn f() { jiff::Timestamp::now(); }\n", &["`Timestamp::now`"]);
        check("src/sink/a.rs", "//! A\nfn f() { std::time::Instant::now(); }\n", &[]);
        check("src/driver/clock.rs", "//! A\nuse std::time::SystemTime;\n", &[]);
    }

    #[test]
    fn unsafe_undocumented_long_and_nameless_files_are_found() {
        check("src/shuffle/a.rs", "//! A\nfn f() { unsafe { g() } }\n", &["`unsafe`"]);
        check("src/shuffle/a.rs", "//! No unsafe here.\n#![forbid(unsafe_code)]\n", &[]);
        check("src/shuffle/a.rs", "// A\n", &["without //!"]);
        check("src/shuffle/utils.rs", "//! A\n", &["`utils`"]);
        check("src/helpers/mod.rs", "//! A\n", &["`helpers`", "`helpers` is not a room"]);
        check("src/shuffle/a.rs", &format!("//! A\n{}", "\n".repeat(MOST_LINES)), &["501 lines"]);
    }

    #[test]
    fn an_exception_lets_pass_what_it_names_and_nothing_else() {
        let some = Exceptions {
            outward: &[("job", "source", "why")],
            unsafe_files: &[("src/job/a.rs", "why")],
            long_files: &[],
        };
        let text = "//! A\nuse crate::source::Start;\nuse crate::driver::Clock;\nfn f() { unsafe { g() } }\n";
        let faults = faults_of("src/job/a.rs", text, &some);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("`job` uses `driver`"));
    }
}

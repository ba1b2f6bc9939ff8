//! The tidy test: the rules between the rooms, kept by a program and not by memory.
//!
//! `rules.rs` judges one file's text and is itself tested with planted faults; this file applies it to the whole of `src/`
//! and holds the few exceptions, each with its reason. A reason that is no longer needed is a failure too.

mod rules;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rules::{Exceptions, faults_of};

/// What the rules let pass, and why.
const EXCEPTIONS: Exceptions = Exceptions {
    outward: &[],
    unsafe_files: &[("src/source/kafka/raw.rs", "librdkafka's raw batch call has no safe form")],
    long_files: &[
        ("src/expr/tests.rs", "one table of lambdas and their results"),
        ("src/expr/primitive/builtin.rs", "a small function a builtin, and their table"),
        ("src/expr/primitive/json.rs", "reader and writer of one format, with their tests"),
        ("src/expr/primitive/str_method.rs", "a small function a method, and their table"),
    ],
};

#[test]
fn every_file_keeps_the_rules_of_the_rooms() {
    let faults: Vec<String> =
        sources("src").iter().flat_map(|(path, text)| faults_of(path, text, &EXCEPTIONS)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_file_of_tests_and_scripts_says_what_it_is_for() {
    for dir in ["tests", "scripts"] {
        for (path, text) in sources(dir) {
            assert!(text.starts_with("//!"), "{path} begins without //!");
        }
    }
}

#[test]
fn every_reason_is_still_needed() {
    let all = sources("src");
    let long = |path: &str| all.iter().any(|(p, text)| p == path && text.lines().count() > rules::MOST_LINES);
    for (path, _) in EXCEPTIONS.long_files {
        assert!(long(path), "{path} is no longer over {} lines: take its reason out", rules::MOST_LINES);
    }
    for (room, outer, _) in EXCEPTIONS.outward {
        let used = |(path, text): &(String, String)| {
            rules::room_of(path) == Some(*room) && text::rooms_used(text).contains(*outer)
        };
        assert!(all.iter().any(used), "{room} no longer uses {outer}: take its reason out");
    }
}

/// Path below the package, with `/`, and text of every Rust file under `dir`.
fn sources(dir: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).expect("below").to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    found.sort();
    found
}

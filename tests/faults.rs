//! The table of faults in `tests/README.md` names tests: each of them exists.

use std::{collections::BTreeSet, fs, path::Path};

use super::conformance::by_id;

fn sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Names in the test column of every row of a table: what stands in backticks.
fn named(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let cells = rows.filter_map(|row| row.rsplit(" | ").next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    quoted.filter(|name| name.contains('_')).collect()
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("tests"), &mut all);
    sources(&root.join("src"), &mut all);
    let names = named(&fs::read_to_string(root.join("tests/README.md")).unwrap());
    assert!(names.len() > 60, "{} names", names.len());
    // Those of the reference cases are made from a list of names.
    let is_case = |name: &str| by_id::NAMED.iter().any(|(_, names)| names.contains(&name));
    let missing: Vec<_> = names.iter().filter(|name| !all.contains(&format!("fn {name}(")) && !is_case(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are no tests");
}

#[test]
fn a_name_of_no_test_would_be_missed() {
    let names = named("| # | what | tests |\n|---|---|---|\n| A1 | kill | `a_kill`, `b_kill` and more |\nno `c_row`\n");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a_kill", "b_kill"]);
}

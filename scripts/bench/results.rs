//! `results.json`: what each kind of measurement found last, side by side.
//!
//! What is measured again replaces what it was, row by row; the rest stays. Each part says when, on which commit and under
//! which conditions it was measured.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};

/// What tells rows apart: rows alike in these are of one part, which is replaced as a whole.
const NAMES: [&str; 4] = ["workload", "program", "engine", "case"];
const MEASURED: &str = "measured";

pub fn path(dir: &Path) -> PathBuf {
    dir.join("results.json")
}

/// Puts `found` into the file. A file that is no JSON is begun anew.
pub fn update(dir: &Path, found: &Value) -> Result<(), Box<dyn Error>> {
    let path = path(dir);
    let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut all: Map<String, Value> = known.unwrap_or_default();
    let commit = said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"]);
    let stamp = json!({ "date": said("date", &["-u", "+%FT%TZ"]), "commit": commit });
    merge(&mut all, found, &stamp);
    Ok(fs::write(path, serde_json::to_string_pretty(&all)?)?)
}

/// The words of a program; nothing where it cannot be run.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Members that are null or empty were not measured.
pub fn merge(all: &mut Map<String, Value>, found: &Value, stamp: &Value) {
    let members = || found.as_object().into_iter().flatten();
    let mut stamp = stamp.clone();
    for (name, value) in members().filter(|(_, value)| value.is_number()) {
        stamp[name] = value.clone();
    }
    for (name, value) in members() {
        match value {
            Value::Null => {}
            Value::Array(rows) => {
                let known = all.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
                all.insert(name.clone(), merge_rows(known, rows, &stamp).into());
            }
            Value::Object(members) if has_rows(members) => {
                let mut known = all.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
                merge(&mut known, value, &stamp);
                all.insert(name.clone(), known.into());
            }
            Value::Object(_) => {
                all.insert(name.clone(), stamped(value, &stamp));
            }
            _ => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
}

fn has_rows(members: &Map<String, Value>) -> bool {
    members.values().any(|value| value.as_array().is_some_and(|rows| rows.iter().any(Value::is_object)))
}

/// Each part stays in its place; new ones follow.
fn merge_rows(known: Vec<Value>, found: &[Value], stamp: &Value) -> Vec<Value> {
    let mut parts: Vec<(Value, Vec<Value>)> = Vec::new();
    for row in known {
        push(&mut parts, row);
    }
    let mut new = Vec::new();
    for row in found {
        push(&mut new, stamped(row, stamp));
    }
    for (part, rows) in new {
        match parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, known)) => *known = rows,
            None => parts.push((part, rows)),
        }
    }
    parts.into_iter().flat_map(|(_, rows)| rows).collect()
}

fn push(parts: &mut Vec<(Value, Vec<Value>)>, row: Value) {
    let part: Value = NAMES.iter().map(|name| row[*name].clone()).collect();
    match parts.iter_mut().find(|(known, _)| *known == part) {
        Some((_, rows)) => rows.push(row),
        None => parts.push((part, vec![row])),
    }
}

fn stamped(value: &Value, stamp: &Value) -> Value {
    let mut value = value.clone();
    if let Some(members) = value.as_object_mut() {
        members.insert(MEASURED.to_owned(), stamp.clone());
    }
    value
}

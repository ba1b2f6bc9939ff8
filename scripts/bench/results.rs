//! `results.json`: what each kind of measurement found last, side by side.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

pub fn path(dir: &Path) -> PathBuf {
    dir.join("results.json")
}

/// Puts the members of `found` into the file; what other measurements have left there stays. A file that is no JSON is
/// begun anew.
pub fn update(dir: &Path, found: &Value) -> Result<(), Box<dyn Error>> {
    let path = path(dir);
    let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut all: Map<String, Value> = known.unwrap_or_default();
    all.extend(found.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    Ok(fs::write(path, serde_json::to_string_pretty(&all)?)?)
}

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

/// Puts the members of `found` into the file; what other measurements have left there stays.
pub fn update(dir: &Path, found: &Value) -> Result<(), Box<dyn Error>> {
    let path = path(dir);
    let mut all: Map<String, Value> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Map::new(),
    };
    all.extend(found.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    Ok(fs::write(path, serde_json::to_string_pretty(&all)?)?)
}

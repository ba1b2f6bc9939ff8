//! `results.json`: each kind of run replaces its own part and leaves the others'.

use std::{error::Error, fs, path::Path};

use serde_json::{Map, Value};

/// Replaces the top-level keys that `part` has. A file that is no JSON is begun anew.
pub fn put(path: &Path, part: Value) -> Result<(), Box<dyn Error>> {
    let known = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut all: Map<String, Value> = known.unwrap_or_default();
    if let Value::Object(part) = part {
        all.extend(part);
    }
    Ok(fs::write(path, serde_json::to_string_pretty(&all)?)?)
}

//! Results as text: a key, a tab and a number a line, in key order; and kstream's log read back as the same.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

pub type Counts = BTreeMap<String, u64>;

/// The result of a program that only counts messages.
pub fn messages(count: u64) -> Counts {
    Counts::from([("messages".to_owned(), count)])
}

pub fn write(path: &Path, counts: &Counts) -> Result<(), Box<dyn Error>> {
    let text: String = counts.iter().map(|(key, count)| format!("{key}\t{count}\n")).collect();
    Ok(fs::write(path, text)?)
}

pub fn read(path: &Path) -> Result<Counts, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().map(|line| {
        let (key, count) = line.split_once('\t').ok_or_else(|| format!("no tab in {line:?}"))?;
        Ok((key.to_owned(), count.parse()?))
    });
    lines.collect()
}

/// The sums over all batches of a log of `('key', number)`s.
pub fn read_log(path: &Path) -> Result<Counts, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut counts = Counts::new();
    for line in text.lines() {
        if line == "..." {
            return Err(format!("{} shows only a part of a batch", path.display()).into());
        }
        let Some(pair) = line.strip_prefix("('").and_then(|rest| rest.strip_suffix(')')) else { continue };
        let (key, count) = pair.split_once("', ").ok_or_else(|| format!("no pair: {line:?}"))?;
        *counts.entry(key.to_owned()).or_default() += count.parse::<u64>()?;
    }
    Ok(counts)
}

/// The first difference between two results, told.
pub fn difference(truth: &Counts, found: &Counts) -> Option<String> {
    if let Some((key, count)) = truth.iter().find(|(key, count)| found.get(*key) != Some(count)) {
        return Some(format!("{key}: {} instead of {count}", found.get(key).copied().unwrap_or_default()));
    }
    let extra = found.iter().find(|(key, _)| !truth.contains_key(*key));
    extra.map(|(key, count)| format!("{key}: {count} instead of nothing"))
}

//! A table's keys: those that are known, those that are missing, and those that nobody knows.

use super::{
    mistake::Mistake,
    reader::{Reader, all_of},
    suggest::closest,
    synonym::{advice, synonym},
    tree::{Entry, Node, Table, Tree},
};

/// A table being read; remembers which keys it was asked for, and which it lacks.
pub struct Fields<'t> {
    pub table: &'t Table,
    known: Vec<&'static str>,
    /// Any one of the keys would do.
    lacking: Vec<(Vec<&'static str>, Mistake)>,
}

impl<'t> Fields<'t> {
    pub fn new(table: &'t Table) -> Self {
        Self { table, known: Vec::new(), lacking: Vec::new() }
    }

    pub fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        self.known.push(key);
        self.table.get(key)
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A key that must be there; `example` shows how it is written.
    pub fn require(&mut self, key: &'static str, example: &str) -> Option<&'t Node> {
        let node = self.get(key);
        if node.is_none() {
            let mistake = Mistake::at(&self.table.span, format!("missing key `{key}`"));
            self.lacks([key], mistake.hint(format!("add `{key} = {example}`")));
        }
        node
    }

    /// None of the keys is there. That counts unless one of them is there in another spelling.
    pub fn lacks(&mut self, keys: impl Into<Vec<&'static str>>, mistake: Mistake) {
        self.lacking.push((keys.into(), mistake));
    }

    /// Reports the keys nobody asked for, and those that are missing.
    pub fn finish(self, reader: &mut Reader<'_>) {
        finish(reader, self.table, &self.known, self.lacking);
    }
}

/// Reports what a table has beyond the keys that are known, and what it lacks.
pub fn finish(reader: &mut Reader<'_>, table: &Table, known: &[&str], lacking: Vec<(Vec<&'static str>, Mistake)>) {
    let unknown = || table.entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
    for entry in unknown() {
        report_unknown_key(reader, entry, known);
    }
    let meant: Vec<&str> = unknown().filter_map(|entry| meant_by(&entry.key, known)).collect();
    for (keys, mistake) in lacking {
        if !keys.iter().any(|key| meant.contains(key)) {
            reader.report_absence(mistake);
        }
    }
}

pub fn report_unknown_key(reader: &mut Reader<'_>, entry: &Entry, known: &[&str]) {
    let mut hint = meant_by(&entry.key, known).map(|key| format!("did you mean `{key}`?"));
    hint = hint.or_else(|| advice(&entry.key).map(str::to_owned));
    if hint.is_none() && known.contains(&"properties") && is_property(entry) {
        hint = Some("properties of the Kafka client stand in `properties`".to_owned());
    }
    if hint.is_none() && known.len() <= MOST_LISTED {
        hint = Some(match known {
            [] => "no keys are known here".to_owned(),
            known => format!("the keys here are {}", all_of(known)),
        });
    }
    reader.report(Mistake::at(&entry.key_span, format!("unknown key `{}`", entry.key)).hint(hint));
}

/// More keys than these are no help.
const MOST_LISTED: usize = 14;

/// The known key that an unknown one is closest to, or another word for.
pub fn meant_by<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    closest(word, known.iter().copied()).or_else(|| synonym(word, known))
}

/// `"security.protocol" = ...`, with or without quotes.
fn is_property(entry: &Entry) -> bool {
    let is_table = matches!(entry.node.tree, Tree::Table(_));
    let families = ["security", "sasl", "ssl", "socket", "client", "fetch", "reconnect", "message", "queued"];
    entry.key.contains('.') || (is_table && families.contains(&entry.key.as_str()))
}

//! The computations by hand: hashbrown with its default hasher, one table a thread, merged at the end.

use hashbrown::HashMap;
use serde::Deserialize;

use crate::{consume::Computation, counts::Counts, workload::Workload};

/// Counts messages.
#[derive(Debug, Default)]
pub struct Bare {
    pub messages: u64,
}

impl Computation for Bare {
    fn message(&mut self, _value: &[u8]) {
        self.messages += 1;
    }
}

/// Computes a workload's answer.
#[derive(Debug)]
pub struct Reference {
    workload: Workload,
    table: HashMap<Vec<u8>, u64>,
}

/// The fields that are asked for; the others are skipped by the parser.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    status: u32,
    #[serde(borrow)]
    country: &'a str,
    bytes: u64,
}

impl Reference {
    pub fn new(workload: Workload) -> Reference {
        Reference { workload, table: HashMap::new() }
    }

    fn add(&mut self, key: &[u8], count: u64) {
        *self.table.entry_ref(key).or_default() += count;
    }
}

impl Computation for Reference {
    fn message(&mut self, value: &[u8]) {
        match self.workload {
            Workload::Lines | Workload::LinesStarlark | Workload::LinesLz4 | Workload::LinesZstd => {
                let mut start = 0;
                for space in memchr::memchr_iter(b' ', value) {
                    self.add(&value[start..space], 1);
                    start = space + 1;
                }
                self.add(&value[start..], 1);
            }
            Workload::Json => {
                let event: Event<'_> = serde_json::from_slice(value).expect("the bench's own JSON");
                if event.status == 200 {
                    self.add(event.country.as_bytes(), event.bytes);
                }
            }
            _ => self.add(value, 1),
        }
    }
}

pub fn merge(tables: Vec<Reference>) -> Counts {
    let mut counts = Counts::new();
    for (key, count) in tables.into_iter().flat_map(|part| part.table) {
        *counts.entry(String::from_utf8_lossy(&key).into_owned()).or_default() += count;
    }
    counts
}

//! The reduce side: tables of all tasks, cut by the partitioning hash, merged in task order.

use rayon::prelude::*;

use super::{
    combine::{CombineError, CombineTable},
    fold::Fold,
    key_table::{Entry, EntryKey, KeyTable, key_column},
};
use crate::{
    expr::Evaluator,
    lineage::Need,
    model::{Column, Value},
};

/// One shuffle partition after the merge: distinct keys with their values.
#[derive(Debug, Default)]
pub struct Merged {
    pub table: CombineTable,
}

/// Merges the tables of all tasks into `partitions` shuffle partitions. Each key's values are folded in task order.
pub fn by_partition(
    tables: Vec<CombineTable>,
    partitions: usize,
    fold: &Fold,
    evaluator: impl Fn() -> Evaluator + Sync,
) -> Result<Vec<Merged>, CombineError> {
    let cut: Vec<Vec<Vec<Entry>>> = match is_alone() {
        true => tables.iter().map(|table| cut_keys(&table.keys, partitions)).collect(),
        false => tables.par_iter().map(|table| cut_keys(&table.keys, partitions)).collect(),
    };
    each_partition(partitions, |partition| {
        let mut evaluator = evaluator();
        let mut merged = CombineTable::default();
        for (table, cut) in tables.iter().zip(&cut) {
            for entry in &cut[partition] {
                merge_entry(&mut merged, entry, table.values.get(entry.number), fold, &mut evaluator)?;
            }
        }
        Ok(Merged { table: merged })
    })
}

/// Whether the caller is no thread of a pool, as where a batch is too small to be spread over threads.
fn is_alone() -> bool {
    rayon::current_thread_index().is_none()
}

/// Runs `merge` for every shuffle partition, in parallel where the caller is a thread of a pool; results in partition
/// order.
pub fn each_partition<T: Send, E: Send>(
    partitions: usize,
    merge: impl Fn(usize) -> Result<T, E> + Sync + Send,
) -> Result<Vec<T>, E> {
    match is_alone() {
        true => (0..partitions).map(merge).collect(),
        false => (0..partitions).into_par_iter().map(merge).collect(),
    }
}

fn merge_entry(
    merged: &mut CombineTable,
    entry: &Entry,
    value: Value,
    fold: &Fold,
    evaluator: &mut Evaluator,
) -> Result<(), CombineError> {
    let number = match &entry.key {
        EntryKey::Str(text) => merged.keys.number_str(text.as_bytes()),
        EntryKey::Int(int) => merged.keys.number_int(*int),
        EntryKey::Other(key) => {
            merged.keys.number(key).map_err(|type_name| CombineError::NoKey { idx: 0, type_name })?
        }
    };
    merged
        .values
        .fold_value(fold, number, value, evaluator)
        .map_err(|failed| CombineError::Fold { key: entry.key.value(), error: failed.error })
}

/// The keys of a table by shuffle partition, each in the order in which keys were first seen.
pub fn cut_keys(keys: &KeyTable, partitions: usize) -> Vec<Vec<Entry>> {
    let mut cut: Vec<Vec<Entry>> = vec![Vec::with_capacity(keys.len() / partitions.max(1)); partitions];
    for entry in keys.entries_as_seen() {
        cut[(entry.key.partition_hash() % partitions as u64) as usize].push(entry);
    }
    cut
}

/// Brings `entries` into the order that `need` asks for, and drops what it does not look at.
pub fn sort_entries(entries: &mut Vec<Entry>, need: Need) {
    match need {
        Need::Any => {}
        Need::First(first) if first < entries.len() => {
            if first > 0 {
                entries.select_nth_unstable_by(first - 1, |a, b| a.key.compare(&b.key));
            }
            entries.truncate(first);
            entries.sort_unstable_by(|a, b| a.key.compare(&b.key));
        }
        Need::Sorted | Need::First(_) => entries.par_sort_unstable_by(|a, b| a.key.compare(&b.key)),
    }
}

impl Merged {
    /// Pairs of key and folded value.
    pub fn pairs(&self, need: Need) -> Column {
        let mut entries = self.table.keys.entries();
        sort_entries(&mut entries, need);
        let keys = key_column(entries.iter().map(|entry| &entry.key));
        let values = self.table.values.column(entries.iter().map(|entry| entry.number));
        Column::Tuple([keys, values].into())
    }
}

//! The map-side table: distinct keys of one task with one folded value each.

use super::{
    accumulator::{Accumulator, FoldError},
    fold::Fold,
    key_table::KeyTable,
};
use crate::{
    expr::{Evaluator, element},
    model::{Column, Value, refusal::no_pair},
};

/// Keys and their folded values, in the order in which keys were first seen.
#[derive(Debug, Default)]
pub struct CombineTable {
    pub keys: KeyTable,
    pub values: Accumulator,
    numbers: Vec<u32>,
}

/// What [`CombineTable::add`] could not take.
#[derive(Debug)]
pub enum CombineError {
    /// Element `idx` has a key of a type that is none.
    NoKey {
        idx: u32,
        type_name: &'static str,
    },
    Fold {
        key: Value,
        error: crate::expr::EvalError,
    },
}

impl CombineTable {
    /// Folds `values[i]` into `keys[i]`, in order. Elements whose key is no key are returned and left out.
    pub fn add(
        &mut self,
        keys: &Column,
        values: &Column,
        fold: &Fold,
        evaluator: &mut Evaluator,
    ) -> Result<Vec<(u32, &'static str)>, CombineError> {
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.clear();
        let mut no_keys = Vec::new();
        match keys {
            Column::Str(column) => self.keys.number_strs(column, &mut numbers),
            Column::Int(column) => numbers.extend(column.iter().map(|int| self.keys.number_int(*int))),
            Column::Const(value, len) if *len > 0 => match self.keys.number(value) {
                Ok(number) => numbers.resize(*len, number),
                Err(type_name) => no_keys.extend((0..*len as u32).map(|idx| (idx, type_name))),
            },
            other => {
                for idx in 0..other.len() {
                    // Key columns never hold undecoded records: records are no keys and are reported as such.
                    let key = other.get(idx).map_or(Err("record"), |key| self.keys.number(&key));
                    match key {
                        Ok(number) => numbers.push(number),
                        Err(type_name) => no_keys.push((idx as u32, type_name)),
                    }
                }
            }
        }
        let kept;
        let values = if no_keys.is_empty() {
            values
        } else {
            kept = without(values, no_keys.iter().map(|(idx, _)| *idx));
            &kept
        };
        let folded = self.values.fold(fold, &numbers, values, evaluator);
        self.numbers = numbers;
        folded.map_err(|failed| self.explain(failed))?;
        Ok(no_keys)
    }

    /// Folds one value into one key.
    pub fn add_value(
        &mut self,
        key: &Value,
        value: Value,
        fold: &Fold,
        evaluator: &mut Evaluator,
    ) -> Result<(), CombineError> {
        let number = self.keys.number(key).map_err(|type_name| CombineError::NoKey { idx: 0, type_name })?;
        self.values.fold_value(fold, number, value, evaluator).map_err(|failed| self.explain(failed))
    }

    /// Key numbers of the elements that the last [`CombineTable::add`] took, in order.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.values.memory_bytes()
    }

    fn explain(&self, failed: FoldError) -> CombineError {
        let key = self.keys.entries().into_iter().find(|entry| entry.number == failed.number);
        CombineError::Fold { key: key.map_or(Value::None, |entry| entry.key.value()), error: failed.error }
    }
}

/// `column` without the elements named, which are ascending.
pub fn without(column: &Column, dropped: impl Iterator<Item = u32>) -> Column {
    let mut dropped = dropped.peekable();
    let kept: Vec<u32> = (0..column.len() as u32).filter(|idx| dropped.next_if_eq(idx).is_none()).collect();
    column.gather(&kept)
}

/// Keys and values of a column of pairs. Elements that are no pairs are returned by index, with their type's name.
pub fn split_pairs(pairs: &Column) -> (Column, Column, Vec<(u32, String)>) {
    if let Column::Tuple(parts) = pairs
        && let [keys, values] = &parts[..]
        && !holds_records(keys)
        && !holds_records(values)
    {
        return (keys.clone(), values.clone(), Vec::new());
    }
    let (mut keys, mut values, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for idx in 0..pairs.len() {
        match element(pairs, idx) {
            Ok(value) => match value.as_pair() {
                Some((key, part)) => {
                    keys.push(key.clone());
                    values.push(part.clone());
                }
                None => others.push((idx as u32, no_pair(&value))),
            },
            Err(error) => others.push((idx as u32, error.message)),
        }
    }
    (Column::from_values(keys), Column::from_values(values), others)
}

/// Records that are still to be decoded: they are no values yet, and each may turn out to be poison.
fn holds_records(column: &Column) -> bool {
    match column {
        Column::Record(_) => true,
        Column::Tuple(parts) => parts.iter().any(holds_records),
        Column::List(lists) => holds_records(&lists.values),
        _ => false,
    }
}

//! Windows that fold: `reduce_by_window`, `reduce_by_key_and_window`, `count_by_value_and_window`.
//!
//! A batch is folded per key before it is kept. Without an inverse a window is folded anew from its batches, oldest
//! first. With one, the running fold of the last grid time is changed: what left is taken out (inverse first), then what
//! came is added; a key leaves when its window has no record, which is counted, not guessed from its value.
//!
//! ```text
//!  previous grid p    (p - length ................. p]
//!  this grid g                    (g - length ................. g]
//!                      \-- old --/                  \-- new --/       new starts at g - length if slide > length
//! ```

use hashbrown::HashMap;

use super::window_part::{by_partition, part};
use crate::{
    expr::{Evaluator, Function},
    job::WindowSpec,
    model::{Column, Value, key::Key, refusal::no_key},
    operator::{
        Cause, Collector, Dataset, MergeContext, Partial, PoisonElement, StepFailure, no_pairs, no_pairs_and, values,
    },
    shuffle::{CombineTable, accumulator::Accumulator, combine::split_pairs, fold::Fold},
    state::window::{Part, Running, WindowBatch, WindowState, put_running},
};

pub struct WindowFold {
    pub fold: Fold,
    pub inverse: Option<Inverse>,
    pub filter: Option<Function>,
    pub counting: Counting,
    pub window: WindowSpec,
    pub partitions: usize,
}

pub enum Inverse {
    Function(Function),
    /// Counts are taken out by subtraction.
    Counts,
}

/// What a chunk's keys and values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Elements are (key, value) pairs.
    Pairs,
    /// The element is the key, counted.
    Elements,
    /// The element is a value of the one hidden key.
    Whole,
}

/// A task's keys with their folded values and numbers of records.
#[derive(Default)]
pub struct CountedTable {
    table: CombineTable,
    records: Vec<u64>,
}

pub struct CountedCollector {
    counted: CountedTable,
    fold: Fold,
    counting: Counting,
}

impl Collector for CountedCollector {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let len = chunk.len();
        let (keys, values, poison) = match self.counting {
            Counting::Pairs => {
                let (keys, values, others) = split_pairs(&chunk);
                (keys, values, no_pairs(others))
            }
            Counting::Elements => (chunk, Column::Const(Value::Int(1), len), Vec::new()),
            Counting::Whole => {
                let (elements, poison) = values(&chunk);
                (Column::Const(Value::None, elements.len()), Column::from_values(elements), poison)
            }
        };
        let no_keys = self.counted.table.add(&keys, &values, &self.fold, evaluator)?;
        let poison = no_pairs_and(poison, no_keys);
        self.counted.records.resize(self.counted.table.keys.len(), 0);
        for &number in self.counted.table.numbers() {
            self.counted.records[number as usize] += 1;
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new(self.counted)
    }

    fn memory_bytes(&self) -> usize {
        self.counted.table.memory_bytes() + self.counted.records.capacity() * 8
    }
}

/// Running folds that this grid time changes; `None` for keys that leave.
type Changes = HashMap<Key, Option<Running>>;

impl WindowFold {
    pub fn collector(&self) -> CountedCollector {
        CountedCollector { counted: CountedTable::default(), fold: self.fold.clone(), counting: self.counting }
    }

    /// One part a key: the tables of all tasks, folded in task order.
    pub fn parts(&self, tables: Vec<CountedTable>, context: &MergeContext<'_>) -> Result<Vec<Part>, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut merged = CountedTable::default();
        for CountedTable { table, records } in tables {
            let mut entries = table.keys.entries();
            entries.sort_unstable_by_key(|entry| entry.number);
            for entry in entries {
                let key = entry.key.value();
                let value = table.values.get(entry.number);
                merged.table.add_value(&key, value, &self.fold, &mut evaluator)?;
                let number = merged.table.keys.number(&key).map_err(|name| StepFailure::element(no_key(name)))?;
                merged.records.resize(merged.table.keys.len(), 0);
                merged.records[number as usize] += records[entry.number as usize];
            }
        }
        let mut entries = merged.table.keys.entries();
        entries.sort_unstable_by(|a, b| a.key.compare(&b.key));
        entries
            .iter()
            .map(|entry| {
                let number = entry.number;
                part(entry.key.value(), merged.table.values.get(number), merged.records[number as usize])
            })
            .collect()
    }

    /// A window without inverse: all its batches, oldest first.
    pub fn whole_window(&self, batches: &[&WindowBatch], context: &MergeContext<'_>) -> Result<Dataset, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut table = CombineTable::default();
        for part in batches.iter().flat_map(|batch| &batch.parts) {
            table.add_value(part.key.value(), part.value.clone(), &self.fold, &mut evaluator)?;
        }
        let pairs = table.keys.entries().into_iter().map(|entry| (entry.key.value(), table.values.get(entry.number)));
        let pairs: Result<Vec<_>, StepFailure> =
            pairs.map(|(key, value)| Ok((part(key, Value::None, 0)?.key, value))).collect();
        // The pairs hold all of it.
        drop(table);
        self.emit(pairs?, &mut evaluator, context)
    }

    /// A window with inverse: brings the running fold to this grid time, and appends its changes to `delta`.
    /// Gives the result (`None` off the grid) and the grid time the running fold then stands at.
    pub fn advance(
        &self,
        state: &WindowState,
        batch: &WindowBatch,
        on_grid: bool,
        context: &MergeContext<'_>,
        delta: &mut Vec<u8>,
    ) -> Result<(Option<Dataset>, Option<i64>), StepFailure> {
        if !on_grid {
            return Ok((None, state.grid_ms));
        }
        let mut evaluator = (context.evaluator)();
        let grid_ms = context.batch_time_ms;
        let from_ms = grid_ms - self.window.length_ms;
        let mut changes = Changes::new();
        if let Some(previous_ms) = state.grid_ms {
            let left = state.between(previous_ms - self.window.length_ms, previous_ms.min(from_ms));
            for (key, value, records) in self.fold_batches(left, &mut evaluator)? {
                self.take_out(state, &mut changes, key, value, records, &mut evaluator)?;
            }
        }
        let came_after_ms = state.grid_ms.map_or(from_ms, |previous_ms| previous_ms.max(from_ms));
        let came = state.between(came_after_ms, grid_ms).chain([batch]);
        let came = self.fold_batches(came, &mut evaluator)?;
        self.add(state, &mut changes, came, &mut evaluator)?;
        let mut sorted: Vec<(&Key, Option<&Running>)> = changes.iter().map(|(k, r)| (k, r.as_ref())).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        put_running(delta, grid_ms, sorted.into_iter());
        let kept = state.running.iter().filter(|(key, _)| !changes.contains_key(*key));
        let changed = changes.iter().filter_map(|(key, running)| Some((key, running.as_ref()?)));
        let pairs = kept.chain(changed).map(|(key, running)| (key.clone(), running.value.clone())).collect();
        Ok((Some(self.emit(pairs, &mut evaluator, context)?), Some(grid_ms)))
    }

    /// Per key, in key order: the fold of some batches, oldest first, and their records.
    fn fold_batches<'a>(
        &self,
        batches: impl Iterator<Item = &'a WindowBatch>,
        evaluator: &mut Evaluator,
    ) -> Result<Vec<(Key, Value, u64)>, StepFailure> {
        let mut table = CombineTable::default();
        let mut records: Vec<u64> = Vec::new();
        for part in batches.flat_map(|batch| &batch.parts) {
            table.add_value(part.key.value(), part.value.clone(), &self.fold, evaluator)?;
            let number = table.keys.number(part.key.value()).map_err(|name| StepFailure::element(no_key(name)))?;
            records.resize(table.keys.len(), 0);
            records[number as usize] += part.records;
        }
        let mut entries = table.keys.entries();
        entries.sort_unstable_by(|a, b| a.key.compare(&b.key));
        entries
            .iter()
            .map(|entry| {
                let key = part(entry.key.value(), Value::None, 0)?.key;
                Ok((key, table.values.get(entry.number), records[entry.number as usize]))
            })
            .collect()
    }

    fn take_out(
        &self,
        state: &WindowState,
        changes: &mut Changes,
        key: Key,
        value: Value,
        records: u64,
        evaluator: &mut Evaluator,
    ) -> Result<(), StepFailure> {
        let Some(running) = current(state, changes, &key) else { return Ok(()) };
        let left = running.records.saturating_sub(records);
        let new = if left == 0 {
            None
        } else {
            Some(Running { value: self.without(&key, &running.value, &value, evaluator)?, records: left })
        };
        changes.insert(first_form(state, key), new);
        Ok(())
    }

    /// What is left of the running fold `old` of a key when `gone` leaves it.
    fn without(&self, key: &Key, old: &Value, gone: &Value, evaluator: &mut Evaluator) -> Result<Value, StepFailure> {
        let Some(Inverse::Function(inverse)) = &self.inverse else {
            return Ok(match (old, gone) {
                (Value::Int(old), Value::Int(gone)) => Value::Int(old - gone),
                (old, _) => old.clone(),
            });
        };
        match (inverse.is_difference() && !evaluator.force_evaluator, old, gone) {
            (true, Value::Int(old), Value::Int(gone)) if let Some(left) = old.checked_sub(*gone) => {
                Ok(Value::Int(left))
            }
            (true, Value::Float(old), Value::Float(gone)) => Ok(Value::Float(old - gone)),
            _ => evaluator
                .call(inverse, &[old.clone(), gone.clone()])
                .map_err(|error| StepFailure { key: Some(key.value().clone()), cause: Cause::Lambda(error) }),
        }
    }

    /// Folds what came, one entry a key, into the running folds.
    fn add(
        &self,
        state: &WindowState,
        changes: &mut Changes,
        came: Vec<(Key, Value, u64)>,
        evaluator: &mut Evaluator,
    ) -> Result<(), StepFailure> {
        let mut folded = Accumulator::default();
        for (number, (key, value, records)) in (0..).zip(came) {
            let old = current(state, changes, &key);
            let before = old.map_or(0, |old| old.records);
            for value in old.map(|old| old.value.clone()).into_iter().chain([value]) {
                folded.fold_value(&self.fold, number, value, evaluator).map_err(|failed| StepFailure {
                    key: Some(key.value().clone()),
                    cause: Cause::Lambda(failed.error),
                })?;
            }
            changes
                .insert(first_form(state, key), Some(Running { value: folded.get(number), records: before + records }));
        }
        Ok(())
    }

    /// What the step emits: pairs, or for a whole window the one value; `filter` hides pairs.
    fn emit(
        &self,
        mut pairs: Vec<(Key, Value)>,
        evaluator: &mut Evaluator,
        context: &MergeContext<'_>,
    ) -> Result<Dataset, StepFailure> {
        if self.counting == Counting::Whole {
            return Ok(Dataset::single(pairs.into_iter().map(|(_, value)| value).collect()));
        }
        if let Some(filter) = &self.filter {
            pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let elements: Vec<Value> =
                pairs.iter().map(|(key, value)| Value::pair(key.value().clone(), value.clone())).collect();
            let (kept, poison) = evaluator.filter(filter, &Column::from_values(elements));
            if let Some((_, error)) = poison.into_iter().next() {
                return Err(StepFailure::lambda(error));
            }
            let mut kept = kept.into_iter().peekable();
            let mut idx = 0..;
            pairs.retain(|_| idx.next().is_some_and(|idx| kept.next_if_eq(&idx).is_some()));
        }
        Ok(by_partition(pairs, self.partitions, context))
    }
}

/// Of keys that are equal (`1`, `1.0`) a running fold keeps the form it began with.
fn first_form(state: &WindowState, key: Key) -> Key {
    state.running.get_key_value(&key).map_or(key, |(first, _)| first.clone())
}

fn current<'a>(state: &'a WindowState, changes: &'a Changes, key: &Key) -> Option<&'a Running> {
    match changes.get(key) {
        Some(changed) => changed.as_ref(),
        None => state.running.get(key),
    }
}

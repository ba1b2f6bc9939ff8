//! `update_state_by_key`: one call for every key with state or values, in every batch; the whole state out.

use hashbrown::HashMap;

use super::group::{CutTable, Group, GroupTable};
use crate::{
    expr::Function,
    model::{Column, Value, encode::put_value, key::Key, refusal::no_key},
    operator::{Cause, Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide, put_together, take_all},
    shuffle::merge::{cut_keys, each_partition},
    state::keyed::{Held, KeyedState, put_entry},
};

pub struct UpdateState {
    func: Function,
    partitions: usize,
    group: Group,
}

impl UpdateState {
    pub fn new(func: &Function, partitions: u32) -> Self {
        Self { func: func.clone(), partitions: partitions as usize, group: Group::by_key(partitions) }
    }

    /// New state of one shuffle partition, and what changed.
    fn update(
        &self,
        tables: &[CutTable],
        partition: usize,
        state: &KeyedState,
        context: &MergeContext<'_>,
    ) -> Result<(Column, Vec<u8>), StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut updates: HashMap<Key, Vec<Value>> =
            state.partition(partition).map(|(key, _)| (key.clone(), Vec::new())).collect();
        for (table, cut) in tables {
            for entry in &cut[partition] {
                let key = Key::new(entry.key.value()).map_err(|name| StepFailure::element(no_key(name)))?;
                updates.entry(key).or_default().extend_from_slice(&table.lists[entry.number as usize]);
            }
        }
        let mut updates: Vec<(Key, Vec<Value>)> = updates.into_iter().collect();
        updates.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let (mut pairs, mut delta) = (Vec::with_capacity(updates.len()), Vec::new());
        for (key, values) in updates {
            let held = state.get(&key);
            let touched_ms = match held {
                Some(held) if values.is_empty() => held.touched_ms,
                _ => context.batch_time_ms,
            };
            let old = held.map_or(Value::None, |held| held.value.clone());
            let new = evaluator
                .call(&self.func, &[Value::list(values), old])
                .map_err(|error| StepFailure { key: Some(key.value().clone()), cause: Cause::Lambda(error) })?;
            match (&new, held) {
                (Value::None, Some(_)) => put_entry(&mut delta, key.value(), None),
                (Value::None, None) => {}
                (new, Some(held)) if same(new, &held.value) => pairs.push(Value::pair(key.into_value(), new.clone())),
                (new, _) => {
                    put_entry(&mut delta, key.value(), Some(&Held { value: new.clone(), touched_ms }));
                    pairs.push(Value::pair(key.into_value(), new.clone()));
                }
            }
        }
        Ok((Column::from_values(pairs), delta))
    }
}

/// Whether two values are the same to the last bit, so that a delta need not carry the second.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Int(_) | Value::Str(_), _) | (_, Value::Int(_) | Value::Str(_)) => false,
        (a, b) => {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            put_value(&mut left, a);
            put_value(&mut right, b);
            left == right
        }
    }
}

impl Wide for UpdateState {
    fn collector(&self, input: usize) -> Box<dyn Collector> {
        self.group.collector(input)
    }

    /// Measured: 0.5 for ints and short strs as keys, 2.2 to 2.8 for long ones (tests/memory/merges.rs).
    fn merge_factor(&self) -> u64 {
        3
    }

    /// Measured: 0.3 to 1.0.
    fn state_factor(&self) -> u64 {
        1
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let empty = KeyedState::new(self.partitions as u32);
        let state = context.state.and_then(|state| state.as_any().downcast_ref::<KeyedState>()).unwrap_or(&empty);
        let tables: Vec<_> = take_all::<GroupTable>(inputs.into_iter().flatten().collect())?
            .into_iter()
            .map(|table| (cut_keys(&table.keys, self.partitions), table))
            .map(|(cut, table)| (table, cut))
            .collect();
        let updated = each_partition(self.partitions, |partition| self.update(&tables, partition, state, context))?;
        let (partitions, deltas): (Vec<_>, Vec<_>) = updated.into_iter().map(|(pairs, d)| (vec![pairs], d)).unzip();
        Ok(Merge { dataset: Some(Dataset { partitions }), delta: Some(put_together(deltas)) })
    }
}

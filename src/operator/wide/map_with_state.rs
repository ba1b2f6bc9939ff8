//! `map_with_state`: one call a record, state by key, a timeout in batch time.

use hashbrown::HashMap;

use super::{
    collect::{Elements, elements},
    update_state::same,
};
use crate::{
    expr::{Evaluator, Function},
    job::Emit,
    model::{
        Column, Value,
        key::Key,
        refusal::{a, no_key, no_pair},
    },
    operator::{Cause, Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide, put_together},
    shuffle::{accumulator::value_bytes, merge::each_partition},
    state::keyed::{Held, KeyedState, UNTOUCHED_MS, put_entry},
};

pub struct MapWithState {
    pub func: Function,
    /// A key idle for longer gets one last call, with no value, and is removed.
    pub timeout_ms: Option<i64>,
    pub emit: Emit,
    pub partitions: usize,
}

/// What this batch has changed so far: the key's state, or that it is gone.
type Changes = HashMap<Key, Option<Held>>;

/// What the end of an idle key takes, without the key itself, which goes into the delta and into what is emitted: its
/// place among the changes, in a table that may just have doubled. Measured together: 75 bytes for a short str.
const TIMED_OUT_BYTES: u64 = 2 * size_of::<(Key, Option<Held>)>() as u64;

struct Work<'a> {
    step: &'a MapWithState,
    state: &'a KeyedState,
    now_ms: i64,
    evaluator: Evaluator,
    changes: Changes,
    emitted: Vec<Value>,
}

impl Work<'_> {
    fn current(&self, key: &Key) -> Option<&Held> {
        match self.changes.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.state.get(key),
        }
    }

    /// One call. Its state is kept, or dropped where it is None, as it must be where the key timed out.
    fn call(&mut self, key: &Key, value: Value, timed_out: bool) -> Result<(), StepFailure> {
        let old = self.current(key).map_or(Value::None, |held| held.value.clone());
        let arguments = [key.value().clone(), value, old, Value::Bool(timed_out)];
        let taken = self.step.func.arity().clamp(3, 4);
        let fail = |cause| StepFailure { key: Some(key.value().clone()), cause };
        let result =
            self.evaluator.call(&self.step.func, &arguments[..taken]).map_err(|error| fail(Cause::Lambda(error)))?;
        let wrong = |message| fail(Cause::Lambda(self.step.func.wrong_result(message)));
        let Value::Tuple(parts) = &result else { return Err(wrong(expected(&a(result.type_name())))) };
        let [emitted, new] = &parts[..] else {
            return Err(wrong(expected(&format!("a tuple of {}", parts.len()))));
        };
        if timed_out && !matches!(new, Value::None) {
            return Err(wrong(
                "a key that times out keeps no state: give None where the fourth argument is True".to_owned(),
            ));
        }
        if !matches!(emitted, Value::None) {
            self.emitted.push(emitted.clone());
        }
        let held = match new {
            Value::None => None,
            new => Some(Held { value: new.clone(), touched_ms: self.now_ms }),
        };
        self.changes.insert(key.clone(), held);
        Ok(())
    }

    fn time_out(&mut self, partition: usize, timeout_ms: i64, context: &MergeContext<'_>) -> Result<(), StepFailure> {
        let horizon_ms = self.now_ms - timeout_ms;
        let state = self.state;
        let mut idle: Vec<&Key> = state
            .partition(partition)
            .filter(|(_, held)| held.touched_ms < horizon_ms && held.touched_ms != UNTOUCHED_MS)
            .filter(|(key, _)| !self.changes.contains_key(*key))
            .map(|(key, _)| key)
            .collect();
        // However small the batch is.
        let bytes = idle.iter().map(|key| TIMED_OUT_BYTES + 2 * value_bytes(key.value()) as u64).sum();
        (context.room)(bytes)?;
        idle.sort_unstable();
        idle.into_iter().try_for_each(|key| self.call(key, Value::None, true))
    }

    /// Initial state is as old as the first batch that could have touched it, as Spark has it
    /// (`MapWithStateRDD.createFromPairRDD`, `updateTime`).
    fn age(&self, partition: usize, context: &MergeContext<'_>, delta: &mut Vec<u8>) -> Result<(), StepFailure> {
        let initial = self.state.partition(partition).filter(|(_, held)| held.touched_ms == UNTOUCHED_MS);
        let mut idle: Vec<(&Key, &Held)> = initial.filter(|(key, _)| !self.changes.contains_key(*key)).collect();
        let bytes = |(key, held): &(&Key, &Held)| value_bytes(key.value()) + value_bytes(&held.value);
        (context.room)(idle.iter().map(bytes).sum::<usize>() as u64)?;
        idle.sort_unstable_by_key(|(key, _)| *key);
        for (key, held) in idle {
            put_entry(delta, key.value(), Some(&Held { value: held.value.clone(), touched_ms: self.now_ms }));
        }
        Ok(())
    }

    fn delta(&self) -> Vec<u8> {
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_unstable_by_key(|(key, _)| *key);
        let mut delta = Vec::new();
        for (key, new) in changes {
            match (new, self.state.get(key)) {
                (None, None) => {}
                (Some(new), Some(old)) if new.touched_ms == old.touched_ms && same(&new.value, &old.value) => {}
                (new, _) => put_entry(&mut delta, key.value(), new.as_ref()),
            }
        }
        delta
    }

    /// The whole state of a partition as of the end of this batch, in key order.
    fn snapshot(&self, partition: usize) -> Vec<Value> {
        // Of keys that are equal (`1`, `1.0`) the state keeps the first form.
        let kept = self.state.partition(partition).filter_map(|(key, held)| match self.changes.get(key) {
            None => Some((key, held)),
            Some(changed) => Some((key, changed.as_ref()?)),
        });
        let new = self.changes.iter().filter(|(key, _)| self.state.get(key).is_none());
        let new = new.filter_map(|(key, held)| Some((key, held.as_ref()?)));
        let mut all: Vec<(&Key, &Held)> = kept.chain(new).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().map(|(key, held)| Value::pair(key.value().clone(), held.value.clone())).collect()
    }
}

fn expected(given: &str) -> String {
    format!("the function must give (emitted or None, new state or None), not {given}")
}

impl MapWithState {
    fn run(
        &self,
        records: &[(Key, Value)],
        partition: usize,
        state: &KeyedState,
        context: &MergeContext<'_>,
    ) -> Result<(Column, Vec<u8>), StepFailure> {
        let mut work = Work {
            step: self,
            state,
            now_ms: context.batch_time_ms,
            evaluator: (context.evaluator)(),
            changes: Changes::new(),
            emitted: Vec::new(),
        };
        for (key, value) in records {
            work.call(key, value.clone(), false)?;
        }
        if let Some(timeout_ms) = self.timeout_ms {
            work.time_out(partition, timeout_ms, context)?;
        }
        let mut delta = work.delta();
        if self.timeout_ms.is_some() {
            work.age(partition, context, &mut delta)?;
        }
        let elements = match self.emit {
            Emit::Mapped => std::mem::take(&mut work.emitted),
            Emit::Snapshots => work.snapshot(partition),
        };
        Ok((Column::from_values(elements), delta))
    }
}

impl Wide for MapWithState {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Elements::pairs())
    }

    /// Measured: 0.3 for ints as keys, 0.5 for short strs, 2.0 for long ones (tests/memory/merges.rs).
    fn merge_factor(&self) -> u64 {
        2
    }

    /// Snapshots are of all keys. Measured: 0.3 to 1.0. Those that time out are counted by themselves.
    fn state_factor(&self) -> u64 {
        u64::from(self.emit == Emit::Snapshots)
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let empty = KeyedState::new(self.partitions as u32);
        let state = context.state.and_then(|state| state.as_any().downcast_ref::<KeyedState>()).unwrap_or(&empty);
        let mut records: Vec<Vec<(Key, Value)>> = vec![Vec::new(); self.partitions];
        for element in elements(inputs)? {
            let Some((key, value)) = element.as_pair() else {
                return Err(StepFailure::element(no_pair(&element)));
            };
            let key = Key::new(key.clone()).map_err(|name| StepFailure::element(no_key(name)))?;
            records[(key.partition_hash() % self.partitions as u64) as usize].push((key, value.clone()));
        }
        let done =
            each_partition(self.partitions, |partition| self.run(&records[partition], partition, state, context))?;
        let (partitions, deltas): (Vec<_>, Vec<_>) = done.into_iter().map(|(column, d)| (vec![column], d)).unzip();
        Ok(Merge { dataset: Some(Dataset { partitions }), delta: Some(put_together(deltas)) })
    }
}

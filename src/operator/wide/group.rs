//! `group_by_key`, `combine_by_key`: one list or combiner a key.

use std::collections::HashMap;

use crate::{
    expr::{EvalError, Evaluator, Function, Growing},
    model::{Column, Value, refusal::no_key},
    operator::{
        Cause, Collector, Dataset, Merge, MergeContext, Partial, PoisonElement, StepFailure, Wide, no_pairs, place,
        take_all,
    },
    shuffle::{
        KeyTable,
        accumulator::value_bytes,
        combine::split_pairs,
        key_table::{Entry, key_column},
        merge::{cut_keys, sort_entries},
    },
};

/// How the values of a key become one.
#[derive(Clone)]
enum Make {
    /// All of them, in order: topic partitions in order, offsets within.
    List,
    Combiner {
        create: Function,
        merge_value: Function,
        merge_combiners: Function,
    },
}

#[derive(Clone)]
pub struct Group {
    make: Make,
    partitions: usize,
}

impl Group {
    pub fn by_key(partitions: u32) -> Self {
        Self { make: Make::List, partitions: partitions as usize }
    }

    pub fn combine(create: &Function, merge_value: &Function, merge_combiners: &Function, partitions: u32) -> Self {
        let make = Make::Combiner {
            create: create.clone(),
            merge_value: merge_value.clone(),
            merge_combiners: merge_combiners.clone(),
        };
        Self { make, partitions: partitions as usize }
    }
}

/// Keys with a combiner each; a list is a combiner of its own.
#[derive(Default)]
pub struct GroupTable {
    pub keys: KeyTable,
    pub lists: Vec<Vec<Value>>,
    pub bytes: usize,
}

/// What a list of few values takes besides them: its own place, and the room it is given at first.
const LIST_BYTES: usize = 96;

/// A task's groups, and its keys by shuffle partition.
pub type CutTable = (GroupTable, Vec<Vec<Entry>>);

struct Grouper {
    table: GroupTable,
    make: Make,
    /// Long combiners that are added to at their end, by number, in place of that in the table.
    growing: HashMap<usize, Growing>,
}

impl Collector for Grouper {
    fn push(&mut self, chunk: Column, evaluator: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let (keys, values, others) = split_pairs(&chunk);
        let others = no_pairs(others);
        let mut poison = others.clone();
        let mut leave_out = |idx, cause| poison.push(PoisonElement { idx: place(&others, idx as u32), cause });
        for idx in 0..keys.len() {
            let (Some(key), Some(value)) = (keys.get(idx), values.get(idx)) else { continue };
            let number = match self.table.keys.number(&key) {
                Ok(number) => number as usize,
                Err(name) => {
                    leave_out(idx, Cause::Element(no_key(name)));
                    continue;
                }
            };
            // A list grows to twice its length.
            self.table.bytes += 48 + value_bytes(&value);
            let new = number == self.table.lists.len();
            if new {
                self.table.bytes += LIST_BYTES;
                self.table.lists.push(Vec::new());
            }
            if self.grows(number, &value, evaluator) {
                continue;
            }
            let list = &mut self.table.lists[number];
            match self.make.begin(list, &value, evaluator) {
                None => self.make.add(list, value, evaluator).map_err(|error| failed(key, error))?,
                Some(Ok(())) => {}
                // The key begins with its next element, if there is one.
                Some(Err(error)) => leave_out(idx, Cause::Lambda(error)),
            }
        }
        poison.sort_by_key(|element| element.idx);
        Ok(poison)
    }

    fn finish(mut self: Box<Self>) -> Partial {
        for (number, growing) in self.growing.drain() {
            self.table.lists[number] = vec![growing.into_value()];
        }
        Box::new(self.table)
    }

    fn memory_bytes(&self) -> usize {
        self.table.keys.memory_bytes() + self.table.bytes
    }
}

impl Grouper {
    /// Adds the value to a long combiner in place, where `merge_value` does just that.
    fn grows(&mut self, number: usize, value: &Value, evaluator: &Evaluator) -> bool {
        let Make::Combiner { merge_value, .. } = &self.make else { return false };
        if !self.growing.contains_key(&number)
            && let [combiner] = self.table.lists[number].as_slice()
            && let Some(growing) = Growing::begin(merge_value, combiner, evaluator)
        {
            self.growing.insert(number, growing);
        }
        let Some(growing) = self.growing.get_mut(&number) else { return false };
        let added = growing.add(merge_value, value, evaluator);
        if !added && let Some(growing) = self.growing.remove(&number) {
            self.table.lists[number] = vec![growing.into_value()];
        }
        added
    }
}

impl Make {
    /// Makes the combiner of a key from its first element; `None` where it is not the first.
    fn begin(&self, list: &mut Vec<Value>, value: &Value, evaluator: &mut Evaluator) -> Option<Result<(), EvalError>> {
        match self {
            Make::Combiner { create, .. } if list.is_empty() => {
                Some(evaluator.call(create, std::slice::from_ref(value)).map(|combiner| list.push(combiner)))
            }
            _ => None,
        }
    }

    fn add(&self, list: &mut Vec<Value>, value: Value, evaluator: &mut Evaluator) -> Result<(), EvalError> {
        let added = match (self, list.pop()) {
            (Make::Combiner { merge_value, .. }, Some(old)) => evaluator.call(merge_value, &[old, value])?,
            (_, old) => {
                list.extend(old);
                value
            }
        };
        list.push(added);
        Ok(())
    }

    fn join(&self, left: &mut Vec<Value>, right: &[Value], evaluator: &mut Evaluator) -> Result<(), EvalError> {
        match self {
            Make::List => left.extend_from_slice(right),
            Make::Combiner { merge_combiners, .. } => {
                for value in right.iter().cloned() {
                    match left.pop() {
                        None => left.push(value),
                        Some(old) => left.push(evaluator.call(merge_combiners, &[old, value])?),
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&self, mut list: Vec<Value>) -> Value {
        match self {
            Make::List => Value::list(list),
            Make::Combiner { .. } => list.pop().unwrap_or(Value::None),
        }
    }
}

fn failed(key: Value, error: EvalError) -> StepFailure {
    StepFailure { key: Some(key), cause: Cause::Lambda(error) }
}

impl Group {
    /// The groups of one shuffle partition, tables in task order.
    fn merge_partition(
        &self,
        tables: &[CutTable],
        partition: usize,
        context: &MergeContext<'_>,
    ) -> Result<Column, StepFailure> {
        let mut evaluator = (context.evaluator)();
        let mut merged = GroupTable::default();
        for (table, cut) in tables {
            for entry in &cut[partition] {
                let values = &table.lists[entry.number as usize];
                if values.is_empty() {
                    // Every element of the key was left out.
                    continue;
                }
                let key = entry.key.value();
                let number = merged.keys.number(&key).map_err(|name| StepFailure::element(no_key(name)))? as usize;
                if number == merged.lists.len() {
                    merged.lists.push(Vec::new());
                }
                self.make
                    .join(&mut merged.lists[number], values, &mut evaluator)
                    .map_err(|error| failed(key, error))?;
            }
        }
        let mut entries = merged.keys.entries();
        sort_entries(&mut entries, context.need);
        let keys = key_column(entries.iter().map(|entry| &entry.key));
        let lists = &mut merged.lists;
        let values = entries.iter().map(|entry| self.make.finish(std::mem::take(&mut lists[entry.number as usize])));
        Ok(Column::Tuple([keys, Column::from_values(values.collect())].into()))
    }
}

impl Wide for Group {
    fn collector(&self, _: usize) -> Box<dyn Collector> {
        Box::new(Grouper { table: GroupTable::default(), make: self.make.clone(), growing: HashMap::new() })
    }

    fn merge_factor(&self) -> u64 {
        3
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let tables: Vec<_> = take_all::<GroupTable>(inputs.into_iter().flatten().collect())?
            .into_iter()
            .map(|table| {
                let cut = cut_keys(&table.keys, self.partitions);
                (table, cut)
            })
            .collect();
        let partitions = crate::shuffle::merge::each_partition(self.partitions, |partition| {
            self.merge_partition(&tables, partition, context).map(|column| vec![column])
        })?;
        Ok(Dataset { partitions }.into())
    }
}

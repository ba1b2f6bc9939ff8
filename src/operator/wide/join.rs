//! `join` and its outer forms, `cogroup`: the pairs of two streams with the same key, within this batch.

use super::group::{CutTable, Group, GroupTable};
use crate::{
    job::JoinKind,
    model::{Column, Value, refusal::no_key},
    operator::{Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide, take_all},
    shuffle::{
        KeyTable,
        merge::{cut_keys, each_partition, sort_entries},
    },
};

const VALUE_BYTES: u64 = size_of::<Value>() as u64;
/// A tuple of two: its counts and its parts.
const TUPLE_BYTES: u64 = 16 + 2 * VALUE_BYTES;
/// (key, (left, right)), while the list of all grows.
const PAIR_BYTES: u64 = 2 * VALUE_BYTES + 2 * TUPLE_BYTES;
/// (key, (lefts, rights)) without what is in the lists.
const LISTS_BYTES: u64 = PAIR_BYTES + 2 * (16 + VALUE_BYTES);

pub struct Join {
    /// `None` for cogroup.
    kind: Option<JoinKind>,
    partitions: usize,
    sides: Group,
}

impl Join {
    pub fn of(kind: JoinKind, partitions: u32) -> Self {
        Self { kind: Some(kind), partitions: partitions as usize, sides: Group::by_key(partitions) }
    }

    pub fn cogroup(partitions: u32) -> Self {
        Self { kind: None, partitions: partitions as usize, sides: Group::by_key(partitions) }
    }

    /// What the elements of one key will take: a few values of each side can be many pairs.
    fn bytes(&self, [left, right]: &[Vec<Value>; 2]) -> u64 {
        let (left, right) = (left.len() as u64, right.len() as u64);
        let values = match self.kind {
            None => left + right,
            Some(JoinKind::Inner) => left.saturating_mul(right),
            // At most: a side without partner has one pair for each of its own.
            Some(_) => left.max(1).saturating_mul(right.max(1)),
        };
        let (each, once) = if self.kind.is_some() { (PAIR_BYTES, 0) } else { (VALUE_BYTES, LISTS_BYTES) };
        values.saturating_mul(each).saturating_add(once)
    }

    /// What comes of one key: pairs in the order (left, right).
    fn emit(&self, key: &Value, left: &[Value], right: &[Value], out: &mut Vec<Value>) {
        let Some(kind) = self.kind else {
            let lists = Value::pair(Value::list(left.to_vec()), Value::list(right.to_vec()));
            out.push(Value::pair(key.clone(), lists));
            return;
        };
        let none = [Value::None];
        let keep_left = matches!(kind, JoinKind::LeftOuter | JoinKind::FullOuter);
        let keep_right = matches!(kind, JoinKind::RightOuter | JoinKind::FullOuter);
        let left = if left.is_empty() && keep_right { &none[..] } else { left };
        let right = if right.is_empty() && keep_left { &none[..] } else { right };
        for a in left {
            out.extend(right.iter().map(|b| Value::pair(key.clone(), Value::pair(a.clone(), b.clone()))));
        }
    }

    fn join_partition(
        &self,
        sides: &[Vec<CutTable>],
        partition: usize,
        context: &MergeContext<'_>,
    ) -> Result<Column, StepFailure> {
        let mut keys = KeyTable::default();
        let mut lists: Vec<[Vec<Value>; 2]> = Vec::new();
        for (side, tables) in sides.iter().enumerate().take(2) {
            for (table, cut) in tables {
                for entry in &cut[partition] {
                    let number = keys.number(&entry.key.value()).map_err(|name| StepFailure::element(no_key(name)))?;
                    if number as usize == lists.len() {
                        lists.push(Default::default());
                    }
                    lists[number as usize][side].extend_from_slice(&table.lists[entry.number as usize]);
                }
            }
        }
        let mut entries = keys.entries();
        sort_entries(&mut entries, context.need);
        let bytes = entries.iter().map(|entry| self.bytes(&lists[entry.number as usize])).fold(0, u64::saturating_add);
        (context.room)(bytes)?;
        let mut out = Vec::new();
        for entry in &entries {
            let [left, right] = &lists[entry.number as usize];
            self.emit(&entry.key.value(), left, right, &mut out);
        }
        Ok(Column::from_values(out))
    }
}

impl Wide for Join {
    fn collector(&self, input: usize) -> Box<dyn Collector> {
        self.sides.collector(input)
    }

    /// Without the pairs, which are counted by themselves.
    fn merge_factor(&self) -> u64 {
        2
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let mut sides = Vec::new();
        for partials in inputs {
            let tables = take_all::<GroupTable>(partials)?.into_iter();
            sides.push(
                tables.map(|table| (cut_keys(&table.keys, self.partitions), table)).map(|(c, t)| (t, c)).collect(),
            );
        }
        let partitions = each_partition(self.partitions, |partition| {
            self.join_partition(&sides, partition, context).map(|c| vec![c])
        })?;
        Ok(Dataset { partitions }.into())
    }
}

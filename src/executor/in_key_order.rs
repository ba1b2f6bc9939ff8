//! A keyed result as one partition: key order over all shuffle partitions.
//!
//! Partitions are in key order already, as far as somebody looks at them, so this is a merge of sorted runs; where keys
//! are all strs or all ints, without making a value of any of them. Whatever else comes is sorted as values.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use crate::{
    job::Operator,
    lineage::Need,
    model::{Column, StrColumn, Value, column::StrBuilder, key::compare},
    operator::Dataset,
};

/// Rows of a column of the result.
const COLUMN_ROWS: usize = 16 << 10;

/// Equal keys lie in one partition.
pub(super) fn merge(dataset: &Dataset, operator: &Operator, need: Need) -> Vec<Column> {
    let columns: Vec<&Column> = dataset.partitions.iter().flatten().filter(|column| !column.is_empty()).collect();
    let most = match need {
        Need::First(first) => first.min(dataset.rows()),
        _ => dataset.rows(),
    };
    let are_keys = matches!(operator, Operator::Distinct { .. });
    merge_typed(&columns, are_keys, most).unwrap_or_else(|| sort_values(&columns, are_keys, most))
}

/// One column: its keys, and what belongs to each; nothing where the keys are all there is.
struct Run<'a> {
    keys: Keys<'a>,
    values: Option<&'a Column>,
}

#[derive(Clone, Copy)]
enum Keys<'a> {
    Str(&'a StrColumn),
    Int(&'a [i64]),
}

impl<'a> Run<'a> {
    fn of(column: &'a Column, are_keys: bool) -> Option<Run<'a>> {
        let (keys, values) = match column {
            keys if are_keys => (keys, None),
            Column::Tuple(parts) => match &parts[..] {
                [keys, values] => (keys, Some(values)),
                _ => return None,
            },
            _ => return None,
        };
        let keys = match keys {
            Column::Str(keys) => Keys::Str(keys),
            Column::Int(keys) => Keys::Int(keys),
            _ => return None,
        };
        Some(Run { keys, values })
    }
}

/// None where keys are of another type, of several, or not in order.
fn merge_typed(columns: &[&Column], are_keys: bool, most: usize) -> Option<Vec<Column>> {
    let runs: Vec<Run<'_>> = columns.iter().map(|column| Run::of(column, are_keys)).collect::<Option<_>>()?;
    let strs: Option<Vec<&StrColumn>> = runs
        .iter()
        .map(|run| match run.keys {
            Keys::Str(keys) => Some(keys),
            Keys::Int(_) => None,
        })
        .collect();
    let order = match strs {
        Some(strs) => in_order(&strs, |keys| keys.len(), |keys, row| keys.bytes(row), most)?,
        None => {
            let ints = runs.iter().map(|run| match run.keys {
                Keys::Int(keys) => Some(keys),
                Keys::Str(_) => None,
            });
            in_order(&ints.collect::<Option<Vec<&[i64]>>>()?, |keys| keys.len(), |keys, row| keys[row], most)?
        }
    };
    Some(order.chunks(COLUMN_ROWS).map(|rows| gather(&runs, rows)).collect())
}

/// The first `most` places (run and row) in the order of their keys. Of equal keys the earlier run's come first.
fn in_order<'a, R: ?Sized, K: Ord>(
    runs: &[&'a R],
    len: impl Fn(&'a R) -> usize,
    key: impl Fn(&'a R, usize) -> K,
    most: usize,
) -> Option<Vec<(u32, u32)>> {
    if !runs.iter().all(|run| (1..len(run)).all(|row| key(run, row - 1) <= key(run, row))) {
        return None;
    }
    let heads = runs.iter().enumerate().filter(|(_, run)| len(run) > 0);
    let mut heads: BinaryHeap<_> = heads.map(|(at, run)| Reverse((key(run, 0), at, 0))).collect();
    let mut order = Vec::with_capacity(most);
    while order.len() < most
        && let Some(mut head) = heads.peek_mut()
    {
        let Reverse((_, at, row)) = *head;
        order.push((at as u32, row as u32));
        match runs.get(at).filter(|run| row + 1 < len(run)) {
            Some(run) => *head = Reverse((key(run, row + 1), at, row + 1)),
            None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
        }
    }
    Some(order)
}

/// The rows named, as one column.
fn gather(runs: &[Run<'_>], rows: &[(u32, u32)]) -> Column {
    let places = || rows.iter().filter_map(|(run, row)| Some((runs.get(*run as usize)?, *row as usize)));
    let keys = match runs.first().map(|run| run.keys) {
        Some(Keys::Int(_)) => Column::Int(Arc::new(
            places()
                .filter_map(|(run, row)| match run.keys {
                    Keys::Int(keys) => keys.get(row).copied(),
                    Keys::Str(_) => None,
                })
                .collect(),
        )),
        _ => {
            let mut builder = StrBuilder::default();
            for (run, row) in places() {
                if let Keys::Str(keys) = run.keys {
                    builder.push(keys.str(row));
                }
            }
            Column::Str(builder.finish())
        }
    };
    if runs.iter().any(|run| run.values.is_none()) {
        return keys;
    }
    let ints: Option<Vec<i64>> = places()
        .map(|(run, row)| match run.values {
            Some(Column::Int(values)) => values.get(row).copied(),
            _ => None,
        })
        .collect();
    let values = match ints {
        Some(ints) => Column::Int(Arc::new(ints)),
        None => Column::from_values(places().filter_map(|(run, row)| run.values?.get(row)).collect()),
    };
    Column::Tuple([keys, values].into())
}

fn sort_values(columns: &[&Column], are_keys: bool, most: usize) -> Vec<Column> {
    let mut elements: Vec<Value> =
        columns.iter().flat_map(|column| (0..column.len()).filter_map(|idx| column.get(idx))).collect();
    match are_keys {
        true => elements.sort_by(compare),
        false => elements.sort_by(|a, b| match (a.as_pair(), b.as_pair()) {
            (Some((a, _)), Some((b, _))) => compare(a, b),
            _ => std::cmp::Ordering::Equal,
        }),
    }
    elements.truncate(most);
    vec![Column::from_values(elements)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::repr;

    fn pairs<'a>(keys: impl IntoIterator<Item = &'a str>) -> Column {
        let keys: StrColumn = keys.into_iter().collect();
        let values = (0..keys.len() as i64).collect::<Vec<_>>();
        Column::Tuple([Column::Str(keys), Column::Int(values.into())].into())
    }

    fn ints(keys: &[i64]) -> Column {
        Column::Int(keys.to_vec().into())
    }

    fn shown(columns: &[Column]) -> String {
        let values = columns.iter().flat_map(|column| (0..column.len()).filter_map(|idx| column.get(idx)));
        values.map(|value| repr(&value).to_string()).collect::<Vec<_>>().join(" ")
    }

    fn check(columns: &[Column], are_keys: bool, most: usize, is_typed: bool, expected: &str) {
        let columns: Vec<&Column> = columns.iter().collect();
        let typed = merge_typed(&columns, are_keys, most);
        assert_eq!(typed.is_some(), is_typed, "{expected}");
        assert_eq!(shown(&sort_values(&columns, are_keys, most)), expected);
        if let Some(typed) = typed {
            assert_eq!(shown(&typed), expected);
        }
    }

    #[test]
    fn sorted_runs_are_merged_as_sorting_their_values_would() {
        let (a, b) = (pairs(["a", "c", "é"]), pairs(["", "b", "d"]));
        let all = "('', 0) ('a', 0) ('b', 1) ('c', 1) ('d', 2) ('é', 2)";
        check(&[a.clone(), b.clone()], false, 6, true, all);
        check(&[a.clone(), b], false, 2, true, "('', 0) ('a', 0)");
        check(&[a.clone(), a], false, 4, true, "('a', 0) ('a', 0) ('c', 1) ('c', 1)");
        check(&[ints(&[-5, 7]), ints(&[i64::MIN, 0, 9])], true, 5, true, "-9223372036854775808 -5 0 7 9");
        check(&[ints(&[1]), ints(&[0])], true, 0, true, "");
    }

    #[test]
    fn what_is_not_in_order_or_of_one_type_is_sorted_as_values() {
        check(&[pairs(["b", "a"])], false, 2, false, "('a', 1) ('b', 0)");
        let words: StrColumn = ["x"].into_iter().collect();
        check(&[ints(&[3]), Column::Str(words)], true, 2, false, "3 'x'");
    }

    #[test]
    fn a_result_longer_than_a_column_keeps_every_row() {
        let keys: Vec<i64> = (0..COLUMN_ROWS as i64 * 2 + 5).collect();
        let merged = merge_typed(&[&ints(&keys)], true, keys.len()).unwrap();
        assert_eq!(merged.iter().map(Column::len).collect::<Vec<_>>(), [COLUMN_ROWS, COLUMN_ROWS, 5]);
    }
}

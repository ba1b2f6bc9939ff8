//! Lists, tuples and records: displays, comprehensions, access.

use std::sync::Arc;

use super::{
    general, json,
    operand::{ints, same, str_column},
    select, text,
    walk::Frame,
};
use crate::{
    expr::{
        builder::Builder,
        node::{Clause, Comprehension, Node, TargetKind},
        primitive::{self, Budget},
    },
    model::{Column, Value, column::ListColumn},
};

/// `[a, b]`
pub fn display(parts: &[Column], len: usize) -> Option<Column> {
    let values = match parts {
        [] => Column::empty(),
        [one] => one.clone(),
        parts => {
            let mut builder = Builder::default();
            for idx in 0..len {
                for part in parts {
                    builder.push(part.get(idx)?);
                }
            }
            builder.finish()
        }
    };
    let offsets = (0..=len).map(|idx| (idx * parts.len()) as u32).collect::<Vec<_>>();
    Some(Column::List(ListColumn { offsets: Arc::new(offsets), values: Box::new(values) }))
}

/// The column as lists whose values are all there and nothing else.
fn lists(column: &Column, frame: &Frame<'_>) -> Option<ListColumn> {
    if let Column::List(lists) = column {
        let start = lists.offsets.first().copied()?;
        let end = lists.offsets.last().copied()? as usize;
        if start == 0 && end == lists.values.len() {
            return Some(lists.clone());
        }
        let offsets = lists.offsets.iter().map(|offset| offset - start).collect::<Vec<_>>();
        let values = Box::new(lists.values.slice(start as usize..end));
        return Some(ListColumn { offsets: Arc::new(offsets), values });
    }
    let mut builder = Builder::default();
    let mut offsets = vec![0];
    let mut budget = Budget::new(frame.limits);
    let mut count = 0;
    for idx in 0..column.len() {
        budget.reset();
        let items = primitive::iterate(&column.get(idx)?, &mut budget).ok()?;
        count += items.len();
        items.into_iter().for_each(|item| builder.push(item));
        offsets.push(u32::try_from(count).ok()?);
    }
    Some(ListColumn { offsets: Arc::new(offsets), values: Box::new(builder.finish()) })
}

/// `[value for target in over if condition]`
pub fn comprehension(frame: &Frame<'_>, inner: &Comprehension) -> Option<Column> {
    let (Clause::For(target, over), conditions) = inner.clauses.split_first()? else { return None };
    let lists = lists(&frame.eval(over)?, frame)?;
    let mut parents = Vec::with_capacity(lists.values.len());
    for idx in 0..frame.len {
        parents.extend(std::iter::repeat_n(idx as u32, lists.range(idx).len()));
    }
    let mut nodes: Vec<&Node> = vec![&inner.value];
    nodes.extend(conditions.iter().filter_map(|clause| match clause {
        Clause::If(condition) => Some(condition),
        Clause::For(..) => None,
    }));
    let mut inside = frame.gather(&parents, &nodes);
    match &target.kind {
        TargetKind::Local(slot) => inside.set(*slot, (*lists.values).clone()),
        TargetKind::Tuple(targets) => {
            let Column::Tuple(parts) = &*lists.values else { return None };
            if parts.len() != targets.len() {
                return None;
            }
            for (target, part) in targets.iter().zip(parts.iter()) {
                let TargetKind::Local(slot) = &target.kind else { return None };
                inside.set(*slot, part.clone());
            }
        }
        TargetKind::Index(_) => return None,
    }
    for clause in conditions {
        let Clause::If(condition) = clause else { return None };
        let kept = select::indices(&select::truthy(&inside.eval(condition)?)?);
        if kept.len() < inside.len {
            parents = kept.iter().map(|idx| parents.get(*idx as usize).copied()).collect::<Option<_>>()?;
            inside = inside.gather(&kept, &nodes);
        }
    }
    let values = inside.eval(&inner.value)?;
    let mut offsets = vec![0u32; frame.len + 1];
    for parent in &parents {
        *offsets.get_mut(*parent as usize + 1)? += 1;
    }
    let mut total = 0;
    for offset in &mut offsets {
        total += *offset;
        *offset = total;
    }
    Some(Column::List(ListColumn { offsets: Arc::new(offsets), values: Box::new(values) }))
}

/// `of[idx]`
pub fn index(frame: &Frame<'_>, of: &Column, idx: &Column) -> Option<Column> {
    match (of, same(idx)) {
        (Column::Tuple(parts), Some(Value::Int(at))) => parts.get(position(*at, parts.len())?).cloned(),
        (Column::Record(records), Some(Value::Int(at))) => {
            let name = if position(*at, 2)? == 0 { "key" } else { "value" };
            frame.field(records, name)
        }
        (Column::List(lists), Some(Value::Int(at))) => {
            let mut indices = Vec::with_capacity(lists.len());
            for idx in 0..lists.len() {
                let range = lists.range(idx);
                indices.push((range.start + position(*at, range.len())?) as u32);
            }
            Some(lists.values.gather(&indices))
        }
        (Column::Json(documents), Some(Value::Str(_))) => json::index(documents, idx, frame.limits),
        _ => match (str_column(of), ints(idx)) {
            (Some(column), Some(at)) => text::letter(column, at).or_else(|| general::index(of, idx, frame.len)),
            _ => general::index(of, idx, frame.len),
        },
    }
}

/// A position counted from either end.
pub fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(len as i64)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// `of.name`
pub fn attribute(frame: &Frame<'_>, of: &Column, name: &str) -> Option<Column> {
    match of {
        Column::Record(records) => frame.field(records, name),
        other => general::each(&[other], frame.len, frame.limits, |row| primitive::attribute(row.first()?, name).ok()),
    }
}

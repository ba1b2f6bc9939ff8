//! The input of a function: records with the parts it uses decoded.

use std::sync::Arc;

use super::{json, walk::Decoded};
use crate::{
    expr::{Limits, builder::Builder, record},
    model::{Column, RawColumn, RecordColumn, StrColumn, Value, ValueFormat, View},
};

/// The parts of records that a function uses; none where one of them cannot be decoded.
pub fn records(records: &Arc<RecordColumn>, used: record::Use, limits: Limits) -> Option<Decoded> {
    let key = match used.key {
        Some(_) => Some(part(&records.keys, records.key_format, limits)?),
        None => None,
    };
    let value = match used.value {
        Some(_) => Some(part(&records.values, records.value_format, limits)?),
        None => None,
    };
    Some(Decoded { records: Arc::clone(records), key, value })
}

/// Records inside of tuples or lists are decoded whole, by the evaluator.
pub fn holds_records(column: &Column) -> bool {
    match column {
        Column::Record(_) => true,
        Column::Tuple(parts) => parts.iter().any(holds_records),
        Column::List(lists) => holds_records(&lists.values),
        _ => false,
    }
}

/// A field of records.
pub fn field(records: &RecordColumn, name: &str, limits: Limits) -> Option<Column> {
    Some(match name {
        "key" => part(&records.keys, records.key_format, limits)?,
        "value" => part(&records.values, records.value_format, limits)?,
        "offset" => Column::Int(Arc::new(records.offsets.clone())),
        "timestamp" => Column::Int(Arc::new(records.timestamps.clone())),
        "topic" => Column::Const(Value::str(&*records.tp.topic), records.len()),
        "partition" => Column::Const(Value::Int(i64::from(records.tp.partition)), records.len()),
        _ => return None,
    })
}

fn part(raw: &RawColumn, format: ValueFormat, limits: Limits) -> Option<Column> {
    if raw.views.iter().all(|view| view.is_null()) {
        return Some(Column::Const(Value::None, raw.views.len()));
    }
    if format == ValueFormat::Utf8
        && let Some(column) = utf8(raw)
    {
        return Some(Column::Str(column));
    }
    if format == ValueFormat::Json
        && let Some(column) = json::raw_documents(raw, limits)
    {
        return Some(Column::Json(column));
    }
    let mut builder = Builder::default();
    for idx in 0..raw.views.len() {
        builder.push(record::decode_part(raw.get(idx), format, "", limits).ok()?);
    }
    Some(builder.finish())
}

/// The same bytes as text, if all are UTF-8 and none is null.
fn utf8(raw: &RawColumn) -> Option<StrColumn> {
    let valid = |view: &View| {
        let bytes = if view.is_null() { None } else { raw.buffer.get(view.range()) };
        bytes.is_some_and(|bytes| bytes.is_ascii() || std::str::from_utf8(bytes).is_ok())
    };
    let valid = raw.views.iter().all(valid);
    valid.then(|| StrColumn { buffer: raw.buffer.clone(), views: Arc::new(raw.views.clone()) })
}

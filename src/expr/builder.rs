//! Builds the narrowest column from values that come one by one.

use std::sync::Arc;

use crate::model::{
    Column, Value,
    column::{ListColumn, StrBuilder},
};

/// A column's buffer stays below 4 GiB.
const MAX_BUFFER: usize = u32::MAX as usize / 2;

/// The kind is taken from the first value; a value of another kind turns the column into one of any values.
#[derive(Debug, Default)]
pub enum Builder {
    #[default]
    Empty,
    None(usize),
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Str(StrBuilder, usize),
    Tuple(Vec<Builder>, usize),
    List(Vec<u32>, Box<Builder>, usize),
    Any(Vec<Value>),
}

impl Builder {
    pub fn push(&mut self, value: Value) {
        match (&mut *self, &value) {
            (Builder::Any(values), _) => values.push(value),
            (Builder::None(len), Value::None) => *len += 1,
            (Builder::Bool(values), Value::Bool(bool)) => values.push(*bool),
            (Builder::Int(values), Value::Int(int)) => values.push(*int),
            (Builder::Float(values), Value::Float(float)) => values.push(*float),
            (Builder::Str(builder, len), Value::Str(text)) if builder.buffer_len() + text.len() < MAX_BUFFER => {
                builder.push(text);
                *len += 1;
            }
            (Builder::Tuple(parts, len), Value::Tuple(items)) if parts.len() == items.len() => {
                parts.iter_mut().zip(items.iter()).for_each(|(part, item)| part.push(item.clone()));
                *len += 1;
            }
            (Builder::List(offsets, inner, len), Value::List(items)) if *len + items.len() < MAX_BUFFER => {
                items.iter().for_each(|item| inner.push(item.clone()));
                *len += items.len();
                offsets.push(*len as u32);
            }
            (Builder::Empty, _) => {
                *self = Builder::like(&value);
                self.push(value);
            }
            _ => {
                let mut values = std::mem::take(self).into_values();
                values.push(value);
                *self = Builder::Any(values);
            }
        }
    }

    fn like(value: &Value) -> Builder {
        match value {
            Value::None => Builder::None(0),
            Value::Bool(_) => Builder::Bool(Vec::new()),
            Value::Int(_) => Builder::Int(Vec::new()),
            Value::Float(_) => Builder::Float(Vec::new()),
            Value::Str(_) => Builder::Str(StrBuilder::default(), 0),
            Value::Tuple(items) if !items.is_empty() => {
                Builder::Tuple(items.iter().map(|_| Builder::Empty).collect(), 0)
            }
            Value::List(_) => Builder::List(vec![0], Box::default(), 0),
            _ => Builder::Any(Vec::new()),
        }
    }

    fn into_values(self) -> Vec<Value> {
        match self {
            Builder::Any(values) => values,
            other => {
                let column = other.finish();
                (0..column.len()).filter_map(|idx| column.get(idx)).collect()
            }
        }
    }

    pub fn finish(self) -> Column {
        match self {
            Builder::Empty => Column::empty(),
            Builder::None(len) => Column::Const(Value::None, len),
            Builder::Bool(values) => Column::Bool(Arc::new(values)),
            Builder::Int(values) => Column::Int(Arc::new(values)),
            Builder::Float(values) => Column::Float(Arc::new(values)),
            Builder::Str(builder, _) => Column::Str(builder.finish()),
            Builder::Tuple(parts, _) => Column::Tuple(parts.into_iter().map(Builder::finish).collect()),
            Builder::List(offsets, inner, _) => {
                Column::List(ListColumn { offsets: Arc::new(offsets), values: Box::new(inner.finish()) })
            }
            Builder::Any(values) => Column::Any(Arc::new(values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[Value], kind: &str) {
        let mut builder = Builder::default();
        values.iter().for_each(|value| builder.push(value.clone()));
        let column = builder.finish();
        let name = format!("{column:?}");
        assert!(name.starts_with(kind), "{name} is not {kind}");
        assert_eq!(column.len(), values.len());
        for (idx, value) in values.iter().enumerate() {
            assert_eq!(format!("{:?}", column.get(idx)), format!("{:?}", Some(value)));
        }
    }

    #[test]
    fn columns_are_as_narrow_as_their_values() {
        let (one, text) = (Value::Int(1), Value::str("a"));
        check(&[one.clone(), Value::Int(2)], "Int");
        check(&[text.clone(), Value::str("")], "Str");
        check(&[Value::None, Value::None], "Const");
        check(&[Value::None, one.clone()], "Any");
        check(&[one.clone(), Value::Bool(true)], "Any");
        check(&[one.clone(), Value::Float(1.0)], "Any");
        check(&[Value::pair(text.clone(), one.clone()), Value::pair(text.clone(), Value::None)], "Tuple");
        check(&[Value::pair(text.clone(), one.clone()), Value::tuple([one.clone()])], "Any");
        check(&[Value::tuple([])], "Any");
        check(&[Value::list(vec![]), Value::list(vec![one.clone()]), Value::list(vec![])], "List");
        check(&[Value::list(vec![one.clone()]), Value::list(vec![text])], "List");
        check(&[Value::list(vec![]), one], "Any");
    }
}

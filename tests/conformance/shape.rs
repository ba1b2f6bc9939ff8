//! Values of kstream and of the file in one form, to compare them.

use kstream::model::Value as Element;
use serde_json::{Value, json};

/// Tuples and lists are arrays, as in the file.
pub fn json(element: &Element) -> Value {
    match element {
        Element::None => Value::Null,
        Element::Bool(b) => json!(b),
        Element::Int(i) => json!(i),
        Element::Float(f) => json!(f),
        Element::Str(text) => json!(text.as_str()),
        Element::List(items) => items.iter().map(json).collect(),
        Element::Tuple(items) => items.iter().map(json).collect(),
        other => json!(kstream::model::text::repr(other)),
    }
}

/// From the file.
pub fn element(value: &Value) -> Element {
    match value {
        Value::Null => Element::None,
        Value::Bool(b) => Element::Bool(*b),
        Value::Number(number) => match number.as_i64() {
            Some(i) => Element::Int(i),
            None => Element::Float(number.as_f64().expect("number")),
        },
        Value::String(text) => Element::str(text),
        Value::Array(items) => Element::list(items.iter().map(element).collect()),
        Value::Object(_) => panic!("the file has no objects as records"),
    }
}

pub fn elements(values: &Value) -> Vec<Element> {
    values.as_array().map(|values| values.iter().map(element).collect()).unwrap_or_default()
}

/// How records are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Given,
    /// The order of records is free.
    Free,
    /// That of records, and of values in lists.
    FreeInLists,
}

/// The records of one batch, ordered as far as order is free.
pub fn canonical(batch: &Value, order: Order) -> Vec<Value> {
    let mut records: Vec<Value> = batch.as_array().cloned().unwrap_or_default();
    if order == Order::FreeInLists {
        for record in &mut records {
            if let Some(value) = record.get_mut(1) {
                sort_lists(value);
            }
        }
    }
    if order != Order::Given {
        records.sort_by_key(Value::to_string);
    }
    records
}

fn sort_lists(value: &mut Value) {
    let Some(items) = value.as_array_mut() else { return };
    // The two lists of a cogroup stay where they are.
    match items.iter().any(Value::is_array) {
        true => items.iter_mut().for_each(sort_lists),
        false => items.sort_by_key(Value::to_string),
    }
}

//! `range(start, stop, step)`

use std::any::Any;

use crate::model::{Opaque, Value};

#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    /// Not zero.
    pub step: i64,
}

impl Opaque for Range {
    fn type_name(&self) -> &'static str {
        "range"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn repr(&self) -> String {
        match self.step {
            1 => format!("range({}, {})", self.start, self.stop),
            step => format!("range({}, {}, {step})", self.start, self.stop),
        }
    }
}

/// The range inside a value.
pub fn of(value: &Value) -> Option<&Range> {
    match value {
        Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
        _ => None,
    }
}

impl Range {
    pub fn len(&self) -> u64 {
        let (distance, step) = match self.step > 0 {
            true => (i128::from(self.stop) - i128::from(self.start), i128::from(self.step)),
            false => (i128::from(self.start) - i128::from(self.stop), -i128::from(self.step)),
        };
        if distance <= 0 { 0 } else { ((distance - 1) / step + 1) as u64 }
    }

    pub fn get(&self, idx: u64) -> Option<i64> {
        let value = i128::from(self.start) + i128::from(self.step) * i128::from(idx);
        if idx < self.len() { i64::try_from(value).ok() } else { None }
    }

    pub fn contains(&self, value: i64) -> bool {
        let distance = i128::from(value) - i128::from(self.start);
        let idx = distance / i128::from(self.step);
        distance % i128::from(self.step) == 0 && idx >= 0 && idx < i128::from(self.len())
    }

    pub fn same_elements(&self, other: &Range) -> bool {
        let len = self.len();
        len == other.len() && (len == 0 || self.start == other.start) && (len <= 1 || self.step == other.step)
    }

    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.len()).filter_map(|idx| self.get(idx)).map(Value::Int)
    }
}

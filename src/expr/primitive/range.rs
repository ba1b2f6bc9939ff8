//! `range(start, stop, step)`: a sequence of ints that is not laid out.

use std::{any::Any, sync::Arc};

use crate::model::{Opaque, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    /// Never 0.
    pub step: i64,
}

impl Range {
    pub fn len(&self) -> u64 {
        let (low, high) = if self.step > 0 { (self.start, self.stop) } else { (self.stop, self.start) };
        if high <= low {
            return 0;
        }
        let distance = (i128::from(high) - i128::from(low)) as u128;
        let step = u128::from(self.step.unsigned_abs());
        u64::try_from(distance.div_ceil(step)).unwrap_or(u64::MAX)
    }

    /// Element `idx`, which is below `len`.
    pub fn get(&self, idx: u64) -> i64 {
        (i128::from(self.start) + i128::from(idx) * i128::from(self.step)) as i64
    }

    pub fn contains(&self, int: i64) -> bool {
        let distance = i128::from(int) - i128::from(self.start);
        let inside =
            if self.step > 0 { self.start <= int && int < self.stop } else { self.stop < int && int <= self.start };
        inside && distance % i128::from(self.step) == 0
    }

    pub fn same_elements(&self, other: &Range) -> bool {
        let len = self.len();
        len == other.len() && (len == 0 || self.start == other.start && (len == 1 || self.step == other.step))
    }

    pub fn value(self) -> Value {
        Value::Opaque(Arc::new(self))
    }
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

/// The range behind an opaque value.
pub fn of(opaque: &Arc<dyn Opaque>) -> Option<&Range> {
    opaque.as_any().downcast_ref()
}

//! Slots of a call's frame.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Value;

/// A local variable.
#[derive(Debug, Clone, Default)]
pub enum Slot {
    /// Not assigned yet.
    #[default]
    Unset,
    Value(Value),
    /// Shared with closures that mention it.
    Shared(Arc<Variable>),
}

/// A variable that closures share. One evaluator uses it, so the lock is never waited for.
#[derive(Debug, Default)]
pub struct Variable(Mutex<Option<Value>>);

impl Variable {
    pub fn new(value: Option<Value>) -> Arc<Variable> {
        Arc::new(Variable(Mutex::new(value)))
    }

    pub fn get(&self) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, value: Option<Value>) {
        let old = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), value);
        drop(old);
    }
}

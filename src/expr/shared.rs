//! What all functions of a job see of `[functions]`.

use std::{collections::HashSet, sync::Arc};

use super::{compile::GlobalNames, node::Code};
use crate::model::Value;

/// What all functions of a job see of `[functions]`.
#[derive(Debug, Default)]
pub struct Shared {
    pub names: GlobalNames,
    pub(super) values: Vec<Option<Value>>,
    pub(super) codes: Vec<Option<Arc<Code>>>,
    /// Changes lists or dicts in place, itself or in what it uses.
    pub(super) mutates: Vec<bool>,
    /// Names given to arguments: possible fields of structs.
    pub fields: HashSet<String>,
}

impl Shared {
    pub fn value(&self, idx: u32) -> Option<&Value> {
        self.values.get(idx as usize)?.as_ref()
    }

    /// The code of a name that is a function.
    pub fn code(&self, idx: u32) -> Option<&Arc<Code>> {
        self.codes.get(idx as usize)?.as_ref()
    }

    pub fn mutates(&self, idx: u32) -> bool {
        self.mutates.get(idx as usize).copied().unwrap_or(false)
    }
}

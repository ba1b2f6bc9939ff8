//! How two values of one key become one.

use crate::expr::{Function, Reducer};

/// How two values of one key become one.
#[derive(Debug, Clone)]
pub struct Fold {
    /// `None` for counting, where `reducer` says all.
    pub function: Option<Function>,
    pub reducer: Reducer,
}

impl Fold {
    pub fn of(function: &Function) -> Fold {
        Fold { reducer: function.reducer(), function: Some(function.clone()) }
    }

    /// Adds counts.
    pub fn count() -> Fold {
        Fold { function: None, reducer: Reducer::Add }
    }

    /// Keeps the first value.
    pub fn first() -> Fold {
        Fold { function: None, reducer: Reducer::First }
    }
}

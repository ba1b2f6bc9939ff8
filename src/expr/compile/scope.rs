//! Scopes while compiling: which slot a name lives in, and what closures capture.

use std::collections::{BTreeSet, HashMap, HashSet};

/// One function being compiled.
#[derive(Debug, Default)]
pub struct Scope {
    /// Name of the def, for recursion.
    pub name: String,
    /// The function's own names, then those of the comprehensions around the current expression.
    blocks: Vec<HashMap<String, u32>>,
    pub slots: u32,
    /// Names that nested functions mention.
    pub shared: HashSet<String>,
    /// Slot of the enclosing function, and own slot.
    pub captures: Vec<(u32, u32)>,
    pub boxes: Vec<u32>,
    pub mutates: bool,
    pub globals: BTreeSet<u32>,
    pub level: u32,
    pub depth: u32,
}

impl Scope {
    pub fn new(name: &str, shared: HashSet<String>) -> Scope {
        Scope { name: name.to_owned(), blocks: vec![HashMap::new()], shared, ..Scope::default() }
    }

    pub fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots - 1
    }

    /// The slot of a name of the innermost block, made if it is new there.
    pub fn bind(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.blocks.last().and_then(|block| block.get(name)) {
            return *slot;
        }
        let slot = self.slot();
        if let Some(block) = self.blocks.last_mut() {
            block.insert(name.to_owned(), slot);
        }
        slot
    }

    pub fn find(&self, name: &str) -> Option<u32> {
        self.blocks.iter().rev().find_map(|block| block.get(name)).copied()
    }

    pub fn enter(&mut self) {
        self.blocks.push(HashMap::new());
    }

    pub fn leave(&mut self) {
        self.blocks.pop();
    }

    fn capture(&mut self, name: &str, outer: u32) -> u32 {
        let slot = self.slot();
        self.captures.push((outer, slot));
        if let Some(block) = self.blocks.first_mut() {
            block.insert(name.to_owned(), slot);
        }
        slot
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().flat_map(|block| block.keys().map(String::as_str))
    }
}

/// The slot of `name` in the function at `scopes[level]`; captured from an enclosing one where it lives there.
pub fn resolve(scopes: &mut [Scope], name: &str) -> Option<u32> {
    let (scope, outer) = scopes.split_last_mut()?;
    if let Some(slot) = scope.find(name) {
        return Some(slot);
    }
    let slot = resolve(outer, name)?;
    Some(scope.capture(name, slot))
}

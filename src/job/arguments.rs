//! The arguments of one operator: a scalar is its main argument, a table gives the rest.

use std::{ops::RangeInclusive, path::PathBuf};

use crate::expr::Function;

use super::{
    fields::finish,
    mistake::{Mistake, Span},
    name::Named,
    reader::{Reader, Texts},
    tree::{Entry, Node, Table, Tree},
    written::{Defaults, ReadWindow},
};

pub struct Arguments {
    scalar: Option<Node>,
    table: Table,
    known: Vec<&'static str>,
    lacking: Vec<(Vec<&'static str>, Mistake)>,
    /// The operator's key.
    pub key: String,
    /// Its value.
    pub span: Span,
}

impl Arguments {
    /// Every type is taken here; what it means is asked later.
    pub fn new(reader: &mut Reader<'_>, entry: &Entry) -> Option<Arguments> {
        let node = match &entry.node.tree {
            Tree::Untyped(_) => reader.any(&entry.node)?,
            _ => entry.node.clone(),
        };
        let span = entry.node.span.clone();
        let (scalar, table) = match node.tree {
            Tree::Table(table) => (None, table),
            tree => (Some(Node { span: node.span, tree }), Table { span: span.clone(), entries: Vec::new() }),
        };
        let shown = match &entry.node.tree {
            Tree::Table(table) => table.span.clone(),
            _ => span,
        };
        Some(Arguments { scalar, table, known: Vec::new(), lacking: Vec::new(), key: entry.key.clone(), span: shown })
    }

    pub fn get(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.table.get(key).map(|entry| entry.node.clone())
    }

    /// The argument a scalar stands for.
    pub fn main(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.scalar.take().or_else(|| self.table.get(key).map(|entry| entry.node.clone()))
    }

    pub fn require_main(&mut self, key: &'static str) -> Option<Node> {
        let node = self.main(key);
        self.required(key, node)
    }

    pub fn require(&mut self, key: &'static str) -> Option<Node> {
        let node = self.get(key);
        self.required(key, node)
    }

    fn required(&mut self, key: &'static str, node: Option<Node>) -> Option<Node> {
        // What is there and is no table will be said to be something else.
        if node.is_none() && self.scalar.is_none() {
            self.lacks([key], Mistake::at(&self.span, format!("`{}` lacks `{key}`", self.key)));
        }
        node
    }

    /// None of the keys is there.
    pub fn lacks(&mut self, keys: impl Into<Vec<&'static str>>, mistake: Mistake) {
        self.lacking.push((keys.into(), mistake));
    }

    /// `= true`, for operators that need no argument.
    pub fn flag(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let Some(node) = self.scalar.take() else { return Some(()) };
        if let Tree::Bool(true) = node.tree {
            return Some(());
        }
        if !matches!(node.tree, Tree::Bool(_) | Tree::Untyped(_)) {
            let hint = format!("write `{} = true`", self.key);
            return reader.wrong_type_with(&node, "`true`", Some(hint));
        }
        match reader.boolean(&node) {
            Some(true) => Some(()),
            Some(false) => {
                reader.report(Mistake::at(&node.span, format!("`{} = false` does nothing", self.key)));
                None
            }
            None => None,
        }
    }

    /// Takes `= true` where the main argument has a default.
    pub fn is_flag(&mut self) -> bool {
        let flag = matches!(self.scalar.as_ref().map(|node| &node.tree), Some(Tree::Bool(true)));
        if flag {
            self.scalar = None;
        }
        flag
    }

    pub fn func(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        arity: RangeInclusive<usize>,
    ) -> Option<Function> {
        let node = self.require_main(key)?;
        reader.function(&node, arity)
    }

    /// A function that must be named by its key.
    pub fn named_func(&mut self, reader: &mut Reader<'_>, key: &'static str, arity: usize) -> Option<Function> {
        let node = self.require(key)?;
        reader.function(&node, arity..=arity)
    }

    /// `Some(None)` where it is left out.
    pub fn optional_func(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        arity: usize,
    ) -> Option<Option<Function>> {
        match self.get(key) {
            Some(node) => reader.function(&node, arity..=arity).map(Some),
            None => Some(None),
        }
    }

    pub fn partitions(&mut self, reader: &mut Reader<'_>, defaults: &Defaults) -> Option<u32> {
        self.get("partitions").map_or(Some(defaults.partitions), |node| reader.partitions(&node))
    }

    pub fn window(&mut self, reader: &mut Reader<'_>) -> Option<ReadWindow> {
        let length = self.require("length");
        self.window_of(reader, length)
    }

    /// A window whose length may be the scalar.
    pub fn main_window(&mut self, reader: &mut Reader<'_>) -> Option<ReadWindow> {
        let length = self.require_main("length");
        self.window_of(reader, length)
    }

    fn window_of(&mut self, reader: &mut Reader<'_>, length: Option<Node>) -> Option<ReadWindow> {
        if let Some(Node { span, tree: Tree::List(_) }) = &length {
            let hint = format!("write `{} = {{ length = \"30s\", slide = \"10s\" }}`", self.key);
            reader.report(Mistake::at(span, "expected a table or a duration, found a list").hint(hint));
            return None;
        }
        let length = length.and_then(|node| Some((reader.duration_ms(&node)?, node.span)));
        let slide = match self.get("slide") {
            Some(node) => reader.duration_ms(&node).map(|ms| Some((ms, node.span))),
            None => Some(None),
        };
        Some(ReadWindow { length: length?, slide: slide? })
    }

    /// A file with initial state: `Some(None)` where it is left out.
    pub fn initial(&mut self, reader: &mut Reader<'_>) -> Option<Option<PathBuf>> {
        let Some(node) = self.get("initial") else { return Some(None) };
        let path = reader.path(&node)?;
        reader.input_file(&node.span, &path);
        Some(Some(path))
    }

    /// Names of other steps: one as a scalar, or several.
    pub fn names(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Vec<Named>> {
        let node = self.require_main(key)?;
        let Texts { texts, whole } = reader.texts(&self.key, &node)?;
        if texts.is_empty() && whole {
            reader.report(Mistake::at(&node.span, "no step is named here"));
            return None;
        }
        Some(texts.into_iter().map(|(name, span)| Named { name, span }).collect())
    }

    pub fn name(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Named> {
        let node = self.require_main(key)?;
        if !matches!(node.tree, Tree::Text(_) | Tree::Untyped(_)) {
            let hint = format!("write `{} = \"STEP\"`, the name of another step", self.key);
            return reader.wrong_type_with(&node, "the name of a step", Some(hint));
        }
        Some(Named { name: reader.nonempty(&node)?, span: node.span })
    }

    /// Reports what nobody asked for.
    pub fn finish(self, reader: &mut Reader<'_>) {
        if let Some(scalar) = &self.scalar {
            let keys = self.known.iter().map(|key| format!("{key} = ...")).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` takes a table, found {}", self.key, scalar.tree.describe());
            let hint = format!("write `{} = {{ {keys} }}`", self.key);
            reader.report(Mistake::at(&scalar.span, message).hint(hint));
        }
        finish(reader, &self.table, &self.known, self.lacking);
    }
}

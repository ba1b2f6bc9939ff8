//! Walks a resolved tree, a column at a time.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::{arithmetic, decode, general, json, list, operand::same, select, text};
use crate::{
    expr::{
        Limits,
        node::{CallNode, Callee, Kind, Node},
        primitive::CompareOp,
        reducer,
        shared::Shared,
    },
    model::{Column, JsonColumn, RecordColumn, StrColumn, Value},
};

/// The locals of a function as columns, all of one length.
pub struct Frame<'a> {
    pub shared: &'a Shared,
    pub len: usize,
    slots: Vec<Option<Column>>,
    pub limits: Limits,
    /// Fields of the input's records that have been decoded.
    decoded: Option<Decoded>,
    /// Documents that have been read, with their texts.
    pub loaded: Rc<RefCell<Vec<(StrColumn, JsonColumn)>>>,
}

/// Records, and their key and value where the function uses them.
#[derive(Clone)]
pub struct Decoded {
    pub records: Arc<RecordColumn>,
    pub key: Option<Column>,
    pub value: Option<Column>,
}

impl<'a> Frame<'a> {
    pub fn new(shared: &'a Shared, len: usize, slots: usize, limits: Limits) -> Frame<'a> {
        Frame { shared, len, slots: vec![None; slots], limits, decoded: None, loaded: Rc::default() }
    }

    pub fn set(&mut self, slot: u32, column: Column) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(column);
        }
    }

    fn get(&self, slot: u32) -> Option<&Column> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The frame of some of the elements, or of elements repeated.
    pub fn gather(&self, indices: &[u32], nodes: &[&Node]) -> Frame<'a> {
        let mut used = Vec::new();
        nodes.iter().for_each(|node| locals(node, &mut used));
        let pick = |(slot, column): (usize, &Option<Column>)| match used.contains(&(slot as u32)) {
            true => column.as_ref().map(|column| column.gather(indices)),
            false => None,
        };
        let slots: Vec<Option<Column>> = self.slots.iter().enumerate().map(pick).collect();
        let mut frame = Frame {
            shared: self.shared,
            len: indices.len(),
            slots,
            limits: self.limits,
            decoded: None,
            loaded: Rc::clone(&self.loaded),
        };
        if let Some(decoded) = &self.decoded {
            let picked = self.slots.iter().zip(&frame.slots).find_map(|pair| match pair {
                (Some(Column::Record(old)), Some(Column::Record(new))) if Arc::ptr_eq(old, &decoded.records) => {
                    Some(new)
                }
                _ => None,
            });
            frame.decoded = picked.map(|records| Decoded {
                records: Arc::clone(records),
                key: decoded.key.as_ref().map(|column| column.gather(indices)),
                value: decoded.value.as_ref().map(|column| column.gather(indices)),
            });
        }
        frame
    }

    pub fn set_decoded(&mut self, decoded: Option<Decoded>) {
        self.decoded = decoded;
    }

    /// A field of records.
    pub fn field(&self, records: &Arc<RecordColumn>, name: &str) -> Option<Column> {
        let decoded = self.decoded.as_ref().filter(|decoded| Arc::ptr_eq(&decoded.records, records));
        let known = decoded.and_then(|decoded| match name {
            "key" => decoded.key.clone(),
            "value" => decoded.value.clone(),
            _ => None,
        });
        known.or_else(|| decode::field(records, name, self.limits))
    }

    pub fn constant(&self, value: Value) -> Column {
        Column::Const(value, self.len)
    }

    /// The node's values, or none: give up.
    pub fn eval(&self, node: &Node) -> Option<Column> {
        match &node.kind {
            Kind::Constant(value) => Some(self.constant(value.clone())),
            Kind::Local(slot) => self.get(*slot).cloned(),
            Kind::Global(idx) => Some(self.constant(self.shared.value(*idx)?.clone())),
            Kind::Tuple(parts) => {
                let parts: Option<Vec<Column>> = parts.iter().map(|part| self.eval(part)).collect();
                match parts? {
                    parts if parts.is_empty() => Some(self.constant(Value::tuple([]))),
                    parts => Some(Column::Tuple(parts.into())),
                }
            }
            Kind::List(parts) => {
                let parts: Option<Vec<Column>> = parts.iter().map(|part| self.eval(part)).collect();
                list::display(&parts?, self.len)
            }
            Kind::Dict(pairs) => {
                let mut columns = Vec::with_capacity(pairs.len() * 2);
                for (key, value) in pairs {
                    columns.push(self.eval(key)?);
                    columns.push(self.eval(value)?);
                }
                general::dicts(&columns, self.len)
            }
            Kind::ListComprehension(inner) => list::comprehension(self, inner),
            Kind::Not(of) => {
                let truth = select::truthy(&self.eval(of)?)?;
                Some(bools(truth.into_iter().map(|b| !b).collect()))
            }
            Kind::Unary(op, of) => arithmetic::unary(*op, &self.eval(of)?),
            Kind::Binary(op, pair) => {
                let (left, right) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                arithmetic::binary(*op, &left, &right, self.len, self.limits)
            }
            Kind::Compare(op, pair) => {
                let (left, right) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                arithmetic::compare(*op, &left, &right, self.len)
            }
            Kind::In(pair) => self.contains(pair, false),
            Kind::NotIn(pair) => self.contains(pair, true),
            Kind::And(pair) => self.either(pair, true),
            Kind::Or(pair) => self.either(pair, false),
            Kind::If(parts) => {
                let truth = select::truthy(&self.eval(&parts.0)?)?;
                self.branch(&truth, Branch::Node(&parts.1), Branch::Node(&parts.2))
            }
            Kind::Index(pair) => {
                let of = self.eval(&pair.0)?;
                list::index(self, &of, &self.eval(&pair.1)?)
            }
            Kind::Slice(slice) => {
                let of = self.eval(&slice.of)?;
                let bound = |node: &Option<Node>| match node {
                    Some(node) => self.eval(node).map(Some),
                    None => Some(None),
                };
                let bounds = [bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?];
                text::slice(&of, &bounds, self.len)
            }
            Kind::Attribute(of, name) => list::attribute(self, &self.eval(of)?, name),
            Kind::Call(call) => self.call(call),
            Kind::Format(parts) => text::format(self, parts),
            Kind::DictComprehension(_) | Kind::Closure(_) => None,
        }
    }

    fn call(&self, call: &CallNode) -> Option<Column> {
        let arguments: Option<Vec<Column>> = call.positional.iter().map(|node| self.eval(node)).collect();
        let arguments = arguments?;
        match &call.callee {
            Callee::Value(Node { kind: Kind::Global(idx), .. }) => {
                let code = self.shared.code(*idx)?;
                let mut frame = Frame::new(self.shared, self.len, code.slots as usize, self.limits);
                frame.decoded = self.decoded.clone();
                arguments.into_iter().enumerate().for_each(|(slot, column)| frame.set(slot as u32, column));
                frame.loaded = Rc::clone(&self.loaded);
                frame.eval(reducer::result(code)?)
            }
            Callee::Value(_) => None,
            Callee::Builtin(builtin) => {
                let named = self.named(call)?;
                if let ("json.loads" | "json.decode", [text], []) = (builtin.name.as_str(), &*arguments, &*named)
                    && let Some(column) = json::loads(self, text)
                {
                    return Some(column);
                }
                text::builtin(&builtin.name, &arguments, self.len)
                    .filter(|_| named.is_empty())
                    .or_else(|| general::builtin(builtin, &arguments, &named, self.len, self.limits))
            }
            Callee::Method(of, method) => {
                let of = self.eval(of)?;
                let named = self.named(call)?;
                if let (Column::Json(documents), "get", []) = (&of, method.name.as_str(), &*named)
                    && let Some(column) = json::get(documents, &arguments, self.limits)
                {
                    return Some(column);
                }
                text::method(&method.name, &of, &arguments, self.limits)
                    .filter(|_| named.is_empty())
                    .or_else(|| general::method(method, &of, &arguments, &named, self.len, self.limits))
            }
        }
    }

    fn named(&self, call: &CallNode) -> Option<Vec<(smol_str::SmolStr, Column)>> {
        call.named.iter().map(|(name, node)| Some((name.clone(), self.eval(node)?))).collect()
    }

    fn contains(&self, pair: &(Node, Node), not: bool) -> Option<Column> {
        let (item, container) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
        let found = match &container {
            Column::Json(documents) => json::contains(documents, &item),
            _ => text::contains(&item, &container, self.len),
        };
        let found = found.or_else(|| general::contains(&item, &container, self.len))?;
        Some(bools(found.into_iter().map(|found| found != not).collect()))
    }

    /// `and`: the left value where it is false, else the right one. `or`: the other way round.
    fn either(&self, pair: &(Node, Node), and: bool) -> Option<Column> {
        let left = self.eval(&pair.0)?;
        let truth = select::truthy(&left)?;
        match and {
            true => self.branch(&truth, Branch::Node(&pair.1), Branch::Done(left)),
            false => self.branch(&truth, Branch::Done(left), Branch::Node(&pair.1)),
        }
    }

    /// One of two values by element; a branch sees only the elements that take it.
    fn branch(&self, truth: &[bool], then: Branch<'_>, otherwise: Branch<'_>) -> Option<Column> {
        let taken = truth.iter().filter(|b| **b).count();
        if taken == truth.len() {
            return then.all(self);
        }
        if taken == 0 {
            return otherwise.all(self);
        }
        let yes = select::indices(truth);
        let no: Vec<u32> = (0..truth.len() as u32).filter(|i| !truth[*i as usize]).collect();
        let (then, otherwise) = (then.some(self, &yes)?, otherwise.some(self, &no)?);
        select::merge(truth, &then, &otherwise)
    }
}

enum Branch<'a> {
    Node(&'a Node),
    Done(Column),
}

impl Branch<'_> {
    fn all(self, frame: &Frame<'_>) -> Option<Column> {
        match self {
            Branch::Node(node) => frame.eval(node),
            Branch::Done(column) => Some(column),
        }
    }

    fn some(self, frame: &Frame<'_>, indices: &[u32]) -> Option<Column> {
        match self {
            Branch::Node(node) => frame.gather(indices, &[node]).eval(node),
            Branch::Done(column) => Some(column.gather(indices)),
        }
    }
}

pub fn bools(values: Vec<bool>) -> Column {
    Column::Bool(values.into())
}

fn locals(node: &Node, used: &mut Vec<u32>) {
    if let Kind::Local(slot) = &node.kind {
        used.push(*slot);
    }
    node.children(&mut |child| locals(child, used));
}

/// Whether two constants are compared, whose result is the same for all elements.
pub fn constant_compare(op: CompareOp, left: &Column, right: &Column, len: usize) -> Option<Column> {
    let (left, right) = (same(left)?, same(right)?);
    let result = crate::expr::primitive::compare(op, left, right).ok()?;
    Some(Column::Const(Value::Bool(result), len))
}

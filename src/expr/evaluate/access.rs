//! Index, slice, attribute, `in`, and what a `for` goes over.

use smol_str::SmolStr;

use super::{Evaluated, Machine, Stop, cell};
use crate::{
    expr::{
        EvalErrorKind,
        node::{Node, SliceNode, Span, Target, TargetKind},
        primitive,
    },
    model::Value,
};

impl Machine {
    pub(super) fn index(&mut self, pair: &(Node, Node), span: Span) -> Evaluated {
        let of = self.eval(&pair.0)?;
        let idx = self.eval(&pair.1)?;
        self.index_value(&of, &idx, span)
    }

    pub(super) fn index_value(&mut self, of: &Value, idx: &Value, span: Span) -> Evaluated {
        let result = match cell::cell(of) {
            Some(cell) => primitive::index(&cell.get(), idx),
            None => primitive::index(of, idx),
        };
        self.at(span, result)
    }

    pub(super) fn slice(&mut self, slice: &SliceNode, span: Span) -> Evaluated {
        let of = cell::open(self.eval(&slice.of)?);
        let mut bound = |node: &Option<Node>| node.as_ref().map(|node| self.eval(node)).transpose();
        let (start, stop, step) = (bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?);
        let result = primitive::slice(&of, start.as_ref(), stop.as_ref(), step.as_ref());
        drop(of);
        let result = self.at(span, result)?;
        Ok(self.adopt(result))
    }

    pub(super) fn attribute(&mut self, of: Value, name: &str, span: Span) -> Evaluated {
        let of = cell::open(of);
        if let Value::Record(record) = &of {
            match name {
                "value" => return Ok(record.value.clone()),
                "key" => return Ok(record.key.clone()),
                _ => {}
            }
        }
        match primitive::attribute(&of, name) {
            Ok(value) => Ok(self.adopt(value)),
            Err(mut fault) => {
                if primitive::method(of.type_name(), name).is_some() {
                    fault.message = format!("method `{name}` must be called: write .{name}(...)");
                }
                Err(self.stop(span, fault))
            }
        }
    }

    pub(super) fn contains(&mut self, pair: &(Node, Node), span: Span) -> Result<bool, Stop> {
        let item = self.eval(&pair.0)?;
        let container = self.eval(&pair.1)?;
        let item = self.plain(item, span)?;
        let container = self.plain(container, span)?;
        let found = primitive::contains(&container, &item);
        self.at(span, found)
    }

    /// The elements of what a `for` goes over. A cell is held, so that the body cannot change it; `release` it after.
    pub(super) fn elements(&mut self, over: &Value, span: Span) -> Result<Elements, Stop> {
        if let Some(cell) = cell::cell(over) {
            cell.hold();
            return match cell.get() {
                Value::List(items) => Ok(Elements::Shared(items)),
                other => self.iterate(&other, span).inspect_err(|_| cell.release()),
            };
        }
        match over {
            Value::List(items) => Ok(Elements::Shared(items.clone())),
            other => self.iterate(other, span),
        }
    }

    fn iterate(&mut self, value: &Value, span: Span) -> Result<Elements, Stop> {
        let items = primitive::iterate(value, &mut self.budget);
        Ok(Elements::Own(self.at(span, items)?))
    }

    pub(super) fn step(&mut self, span: Span) -> Result<(), Stop> {
        let step = self.budget.step();
        self.at(span, step)
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Result<(), Stop> {
        match &target.kind {
            TargetKind::Local(slot) => self.set_local(*slot, value),
            TargetKind::Tuple(targets) => self.unpack(target.span, targets, &value)?,
            TargetKind::Index(pair) => {
                let of = self.eval(&pair.0)?;
                let idx = self.eval(&pair.1)?;
                self.set_index(&of, idx, value, target.span)?;
            }
        }
        Ok(())
    }

    fn unpack(&mut self, span: Span, targets: &[Target], value: &Value) -> Result<(), Stop> {
        let items = match value {
            Value::Tuple(items) => items.to_vec(),
            other => {
                let name = cell::open(other.clone()).type_name();
                let opened = cell::open(other.clone());
                match primitive::iterate(&opened, &mut self.budget) {
                    Ok(items) => items,
                    Err(fault) if matches!(fault.kind, EvalErrorKind::Limit | EvalErrorKind::Host) => {
                        return Err(self.stop(span, fault));
                    }
                    Err(_) => {
                        let message = format!("cannot unpack non-iterable {name} object");
                        return self.fail(span, EvalErrorKind::Type, message);
                    }
                }
            }
        };
        if items.len() < targets.len() {
            let message = format!("not enough values to unpack (expected {}, got {})", targets.len(), items.len());
            return self.fail(span, EvalErrorKind::Value, message);
        }
        if items.len() > targets.len() {
            let message = format!("too many values to unpack (expected {})", targets.len());
            return self.fail(span, EvalErrorKind::Value, message);
        }
        for (target, item) in targets.iter().zip(items) {
            self.assign(target, item)?;
        }
        Ok(())
    }

    pub(super) fn set_index(&mut self, of: &Value, idx: Value, value: Value, span: Span) -> Result<(), Stop> {
        let Some(cell) = cell::cell(of) else { return self.fail(span, EvalErrorKind::Type, immutable(of)) };
        let room = self.budget.allocate(cell::ELEMENT_BYTES);
        self.at(span, room)?;
        let taken = cell.take();
        let mut content = self.at(span, taken)?;
        let result = match &mut content {
            Value::List(items) => match (&idx, items.len() as i64) {
                (Value::Int(i), len) if (-len..len).contains(i) => {
                    let at = if *i < 0 { *i + len } else { *i } as usize;
                    if let Some(place) = std::sync::Arc::make_mut(items).get_mut(at) {
                        *place = value;
                    }
                    Ok(())
                }
                (Value::Int(_), _) => self.fail(span, EvalErrorKind::Index, "list assignment index out of range"),
                (other, _) => {
                    let message = format!("list indices must be integers or slices, not {}", other.type_name());
                    self.fail(span, EvalErrorKind::Type, message)
                }
            },
            Value::Dict(dict) => match self.key(idx, span) {
                Ok(key) => {
                    std::sync::Arc::make_mut(dict).insert(key, value);
                    Ok(())
                }
                Err(stop) => Err(stop),
            },
            _ => Ok(()),
        };
        cell.set(content);
        result
    }

    pub(super) fn named(&mut self, named: &[(SmolStr, Node)]) -> Result<Vec<(SmolStr, Value)>, Stop> {
        named.iter().map(|(name, node)| Ok((name.clone(), self.eval(node)?))).collect()
    }
}

/// Why a value cannot be changed.
pub fn immutable(of: &Value) -> String {
    match of {
        Value::List(_) | Value::Dict(_) => {
            let name = of.type_name();
            format!("this {name} is frozen, it belongs to [functions] or to another value: change a copy, {name}(x)")
        }
        other => format!("'{}' object does not support item assignment", other.type_name()),
    }
}

/// What a loop goes over.
pub enum Elements {
    Shared(std::sync::Arc<Vec<Value>>),
    Own(Vec<Value>),
}

impl Elements {
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub fn get(&self, idx: usize) -> Option<Value> {
        self.as_slice().get(idx).cloned()
    }

    fn as_slice(&self) -> &[Value] {
        match self {
            Elements::Shared(items) => items,
            Elements::Own(items) => items,
        }
    }
}

//! Statements.

use super::{Evaluated, Machine, Stop, cell};
use crate::{
    expr::{
        EvalErrorKind,
        node::{Node, Span, Statement, StatementKind, Target, TargetKind},
        primitive::{self, BinaryOp},
    },
    model::Value,
};

/// How a statement ended.
enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

impl Machine {
    pub(super) fn body(&mut self, statements: &[Statement]) -> Evaluated {
        match self.block(statements)? {
            Flow::Return(value) => Ok(value),
            _ => Ok(Value::None),
        }
    }

    fn block(&mut self, statements: &[Statement]) -> Result<Flow, Stop> {
        for statement in statements {
            match self.statement(statement)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &Statement) -> Result<Flow, Stop> {
        match &statement.kind {
            StatementKind::Expression(node) => {
                self.eval(node)?;
            }
            StatementKind::Assign(target, node) => {
                let value = self.eval(node)?;
                self.check_nesting(&value, node.span)?;
                self.assign(target, value)?;
            }
            StatementKind::Augment(target, op, node) => self.augment(target, *op, node)?,
            StatementKind::If(condition, then, otherwise) => {
                return match self.condition(condition)? {
                    true => self.block(then),
                    false => self.block(otherwise),
                };
            }
            StatementKind::For(target, over, body) => return self.each(target, over, body, statement.span),
            StatementKind::Return(node) => {
                return Ok(Flow::Return(match node {
                    Some(node) => self.eval(node)?,
                    None => Value::None,
                }));
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Pass => {}
        }
        Ok(Flow::Next)
    }

    fn each(&mut self, target: &Target, over: &Node, body: &[Statement], span: Span) -> Result<Flow, Stop> {
        let value = self.eval(over)?;
        let elements = self.elements(&value, over.span)?;
        let mut flow = Ok(Flow::Next);
        for idx in 0..elements.len() {
            let Some(element) = elements.get(idx) else { break };
            let step = self.step(span).and_then(|()| self.assign(target, element));
            match step.and_then(|()| self.block(body)) {
                Ok(Flow::Next | Flow::Continue) => {}
                Ok(Flow::Break) => break,
                other => {
                    flow = other;
                    break;
                }
            }
        }
        if let Some(cell) = cell::cell(&value) {
            cell.release();
        }
        flow
    }

    /// `target op= value`: the parts of the target are evaluated once; a list is changed in place.
    fn augment(&mut self, target: &Target, op: BinaryOp, node: &Node) -> Result<(), Stop> {
        match &target.kind {
            TargetKind::Local(slot) => {
                let old = self.local(*slot, target.span)?;
                let value = self.eval(node)?;
                if let Some(new) = self.combine(old, op, value, target.span)? {
                    self.check_nesting(&new, node.span)?;
                    self.set_local(*slot, new);
                }
            }
            TargetKind::Index(pair) => {
                let of = self.eval(&pair.0)?;
                let idx = self.eval(&pair.1)?;
                let old = self.index_value(&of, &idx, target.span)?;
                let value = self.eval(node)?;
                if let Some(new) = self.combine(old, op, value, target.span)? {
                    self.check_nesting(&new, node.span)?;
                    self.set_index(&of, idx, new, target.span)?;
                }
            }
            TargetKind::Tuple(_) => {}
        }
        Ok(())
    }

    /// The new value, or none where the old one was changed in place.
    fn combine(&mut self, old: Value, op: BinaryOp, value: Value, span: Span) -> Result<Option<Value>, Stop> {
        let in_place =
            matches!((op, old.type_name()), (BinaryOp::Add | BinaryOp::Multiply, "list") | (BinaryOp::BitOr, "dict"));
        let Some(cell) = cell::cell(&old).filter(|_| in_place) else {
            if in_place && self.mutates {
                return self.fail(span, EvalErrorKind::Type, super::access::immutable(&old));
            }
            return self.binary(op, old, value, span).map(Some);
        };
        let value = match (op, cell::open(value)) {
            (BinaryOp::Add, Value::List(items)) => Value::List(items),
            (BinaryOp::Add, other) => {
                let items = primitive::iterate(&other, &mut self.budget);
                Value::list(self.at(span, items)?)
            }
            (_, other) => other,
        };
        let taken = cell.take();
        let content = self.at(span, taken)?;
        let result = primitive::binary(op, &content, &value, &mut self.budget);
        match result {
            Ok(new) => cell.set(new),
            Err(fault) => {
                cell.set(content);
                return Err(self.stop(span, fault));
            }
        }
        Ok(None)
    }

    /// Refuses values that a loop has nested too deep.
    pub(super) fn check_nesting(&mut self, value: &Value, span: Span) -> Result<(), Stop> {
        match value {
            Value::List(_) | Value::Tuple(_) | Value::Dict(_) => {
                let measured = cell::measure(value, &mut self.budget);
                self.at(span, measured)
            }
            _ => Ok(()),
        }
    }
}

//! List and dict comprehensions.

use super::{Evaluated, Machine, Stop, cell};
use crate::{
    expr::node::{Clause, Comprehension, Span},
    model::{Dict, Value},
};

/// Where the elements go.
enum Into {
    List(Vec<Value>),
    Dict(Dict),
}

impl Machine {
    pub(super) fn list_comprehension(&mut self, inner: &Comprehension, span: Span) -> Evaluated {
        let mut into = Into::List(Vec::new());
        self.comprehension(inner, &inner.clauses, &mut into, span)?;
        match into {
            Into::List(items) => self.list(items, span),
            Into::Dict(dict) => self.dict(dict, span),
        }
    }

    pub(super) fn dict_comprehension(&mut self, inner: &Comprehension, span: Span) -> Evaluated {
        let mut into = Into::Dict(Dict::new());
        self.comprehension(inner, &inner.clauses, &mut into, span)?;
        match into {
            Into::List(items) => self.list(items, span),
            Into::Dict(dict) => self.dict(dict, span),
        }
    }

    fn comprehension(
        &mut self,
        inner: &Comprehension,
        clauses: &[Clause],
        into: &mut Into,
        span: Span,
    ) -> Result<(), Stop> {
        match clauses.split_first() {
            Some((Clause::If(condition), rest)) => match self.condition(condition)? {
                true => self.comprehension(inner, rest, into, span),
                false => Ok(()),
            },
            Some((Clause::For(target, over), rest)) => {
                let value = self.eval(over)?;
                if rest.len() + 1 == inner.clauses.len() {
                    for slot in &inner.boxes {
                        self.share(self.base + *slot as usize);
                    }
                }
                let elements = self.elements(&value, over.span)?;
                let mut result = Ok(());
                for idx in 0..elements.len() {
                    let Some(element) = elements.get(idx) else { break };
                    result = self.step(span).and_then(|()| self.assign(target, element));
                    if result.is_ok() {
                        result = self.comprehension(inner, rest, into, span);
                    }
                    if result.is_err() {
                        break;
                    }
                }
                if let Some(cell) = cell::cell(&value) {
                    cell.release();
                }
                result
            }
            None => self.element(inner, into, span),
        }
    }

    fn element(&mut self, inner: &Comprehension, into: &mut Into, span: Span) -> Result<(), Stop> {
        let key = match &inner.key {
            Some(node) => {
                let key = self.eval(node)?;
                Some(self.key(key, node.span)?)
            }
            None => None,
        };
        let value = self.eval(&inner.value)?;
        let room = self.budget.allocate(cell::ELEMENT_BYTES);
        self.at(span, room)?;
        match (into, key) {
            (Into::List(items), _) => items.push(value),
            (Into::Dict(dict), Some(key)) => {
                dict.insert(key, value);
            }
            (Into::Dict(_), None) => {}
        }
        Ok(())
    }
}

//! Column kernels: functions of a single expression over typed columns.
//!
//! A kernel gives the result of the whole chunk, or gives up on it: types do not fit, or an element would raise. Then
//! the evaluator runs the chunk, so what an error says and where it points is decided in one place. Types are those of
//! the columns that come, so the next chunk may be native again.
//!
//! The resolved tree is walked once a chunk, not once an element. A node without a typed kernel runs its primitive on
//! one element after the other (`general`); what cannot run here at all is said by [`recognise`].

mod arithmetic;
mod decode;
mod general;
mod json;
mod json_scan;
mod list;
mod operand;
mod select;
mod split;
mod text;
mod walk;

use self::walk::Frame;
use super::{
    Limits,
    node::{Callee, Clause, Code, FormatPart, Kind, Node, TargetKind},
    record, reducer,
    shared::Shared,
};
use crate::model::Column;

pub use self::select::{indices, truthy};

/// Deepest chain of functions that are inlined.
const MAX_INLINED: usize = 8;

/// Whether the function can run as kernels, else why not.
pub fn recognise(code: &Code, shared: &Shared, arity: usize) -> Result<(), String> {
    if arity != 1 {
        return Err(format!("takes {arity} arguments"));
    }
    if code.parameters.positional.len() != 1 {
        return Err("has parameters beside the element".to_owned());
    }
    function(code, shared, 0)
}

fn function(code: &Code, shared: &Shared, depth: usize) -> Result<(), String> {
    if depth > MAX_INLINED {
        return Err(format!("calls functions more than {MAX_INLINED} deep"));
    }
    if code.mutates {
        return Err("changes a list or dict".to_owned());
    }
    let Some(node) = reducer::result(code) else {
        return Err(match depth {
            0 => "is more than one expression".to_owned(),
            _ => format!("calls {}, which is more than one expression", code.name),
        });
    };
    expression(node, shared, depth)
}

fn expression(node: &Node, shared: &Shared, depth: usize) -> Result<(), String> {
    match &node.kind {
        Kind::Closure(_) => return Err("makes a function".to_owned()),
        Kind::Constant(crate::model::Value::Opaque(_)) => return Err("passes a function".to_owned()),
        Kind::Attribute(_, name) if name == "headers" => return Err("reads headers".to_owned()),
        Kind::DictComprehension(_) => return Err("makes a dict".to_owned()),
        Kind::Global(idx) if shared.code(*idx).is_some() => return Err("passes a function".to_owned()),
        Kind::Global(idx) if matches!(shared.value(*idx), Some(crate::model::Value::Opaque(_)) | None) => {
            return Err("uses a value that is no data".to_owned());
        }
        Kind::ListComprehension(inner) => {
            let simple = inner.clauses.iter().skip(1).all(|clause| matches!(clause, Clause::If(_)));
            let Some(Clause::For(target, _)) = inner.clauses.first() else { return Err("loops".to_owned()) };
            let plain = match &target.kind {
                TargetKind::Local(_) => true,
                TargetKind::Tuple(targets) => targets.iter().all(|t| matches!(t.kind, TargetKind::Local(_))),
                TargetKind::Index(_) => false,
            };
            if !simple || !plain || !inner.boxes.is_empty() {
                return Err("has a comprehension of several loops".to_owned());
            }
        }
        Kind::Call(call) => {
            if call.rest.is_some() || call.named_rest.is_some() {
                return Err("unpacks arguments".to_owned());
            }
            match &call.callee {
                Callee::Value(Node { kind: Kind::Global(idx), .. }) => {
                    let Some(code) = shared.code(*idx) else { return Err("calls a value".to_owned()) };
                    let simple = call.named.is_empty()
                        && code.parameters.positional.len() == call.positional.len()
                        && code.parameters.keyword_only.is_empty()
                        && code.parameters.rest.is_none()
                        && code.parameters.named_rest.is_none();
                    if !simple {
                        return Err(format!("calls {} with defaults or names", code.name));
                    }
                    function(code, shared, depth + 1)?;
                    return call.positional.iter().try_for_each(|node| expression(node, shared, depth));
                }
                Callee::Value(_) => return Err("calls a value".to_owned()),
                Callee::Builtin(builtin) if !general::is_pure(&builtin.name) => {
                    return Err(format!("calls {}", builtin.name));
                }
                Callee::Builtin(_) | Callee::Method(..) => {}
            }
        }
        Kind::Format(parts) => {
            for part in parts {
                if let FormatPart::Field(node, _) = part {
                    expression(node, shared, depth)?;
                }
            }
            return Ok(());
        }
        _ => {}
    }
    let mut result = Ok(());
    node.children(&mut |child| {
        if result.is_ok() {
            result = expression(child, shared, depth);
        }
    });
    result
}

/// The results of a recognised function of one parameter, or none: give the chunk to the evaluator.
pub fn run(code: &Code, used: record::Use, shared: &Shared, input: &Column, limits: Limits) -> Option<Column> {
    let len = input.len();
    if len == 0 {
        return None;
    }
    let mut frame = Frame::new(shared, len, code.slots as usize, limits);
    match input {
        Column::Record(records) => frame.set_decoded(Some(decode::records(records, used, limits)?)),
        other if decode::holds_records(other) => return None,
        _ => {}
    }
    frame.set(0, input.clone());
    let column = frame.eval(reducer::result(code)?)?;
    (column.len() == len).then_some(column)
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests;

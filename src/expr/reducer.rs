//! Folds that are recognised by their shape.

use super::{
    Reducer,
    library::Shared,
    node::{Body, Callee, Code, Kind, Node},
    primitive::{BinaryOp, CompareOp},
};

/// The fold that a function of two parameters is, whatever the parameters are called.
pub fn recognise(code: &Code, shared: &Shared) -> Reducer {
    if code.parameters.positional.len() != 2 || !code.boxes.is_empty() {
        return Reducer::Other;
    }
    let Some(node) = result(code) else { return Reducer::Other };
    match &node.kind {
        Kind::Local(0) => Reducer::First,
        Kind::Local(1) => Reducer::Last,
        Kind::Binary(BinaryOp::Add, pair) if locals(&pair.0, &pair.1) == Some((0, 1)) => Reducer::Add,
        Kind::If(parts) => choice(&parts.0, &parts.1, &parts.2),
        Kind::Call(call) if call.named.is_empty() && call.rest.is_none() && call.named_rest.is_none() => {
            let [a, b] = &*call.positional else { return Reducer::Other };
            match &call.callee {
                Callee::Builtin(builtin) if locals(a, b) == Some((0, 1)) => match builtin.name.as_str() {
                    "min" => Reducer::Min,
                    "max" => Reducer::Max,
                    _ => Reducer::Other,
                },
                Callee::Value(Node { kind: Kind::Global(idx), .. }) if locals(a, b) == Some((0, 1)) => {
                    shared.code(*idx).map_or(Reducer::Other, |code| recognise(code, shared))
                }
                _ => Reducer::Other,
            }
        }
        _ => Reducer::Other,
    }
}

/// The expression a function gives, if it is a single one.
pub fn result(code: &Code) -> Option<&Node> {
    use super::node::{Statement, StatementKind};
    match &code.body {
        Body::Expression(node) => Some(node),
        Body::Block(statements) => {
            let mut effective = statements.iter().filter(|s| !matches!(s.kind, StatementKind::Pass));
            match (effective.next(), effective.next()) {
                (Some(Statement { kind: StatementKind::Return(Some(node)), .. }), None) => Some(node),
                _ => None,
            }
        }
    }
}

fn locals(a: &Node, b: &Node) -> Option<(u32, u32)> {
    match (&a.kind, &b.kind) {
        (Kind::Local(a), Kind::Local(b)) => Some((*a, *b)),
        _ => None,
    }
}

/// `b if b < a else a` and its kin: exactly what min and max do, also for NaN and for equal values of different form.
/// (`a if a < b else b` gives the other one of two that are equal.)
fn choice(condition: &Node, then: &Node, otherwise: &Node) -> Reducer {
    let Kind::Compare(op, pair) = &condition.kind else { return Reducer::Other };
    if locals(then, otherwise) != Some((1, 0)) {
        return Reducer::Other;
    }
    match (op, locals(&pair.0, &pair.1)) {
        (CompareOp::Less, Some((1, 0))) | (CompareOp::Greater, Some((0, 1))) => Reducer::Min,
        (CompareOp::Greater, Some((1, 0))) | (CompareOp::Less, Some((0, 1))) => Reducer::Max,
        _ => Reducer::Other,
    }
}

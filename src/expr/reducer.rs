//! Folds that are recognised by their shape.

use super::{
    Reducer,
    node::{Body, Callee, Code, Kind, Node},
    primitive::{BinaryOp, CompareOp},
    shared::Shared,
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
        Kind::Binary(BinaryOp::Multiply, pair) if locals(&pair.0, &pair.1) == Some((0, 1)) => Reducer::Multiply,
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

/// Whether a function of two parameters is `a - b`: no fold, but what takes a value out of a sum.
pub fn is_difference(code: &Code) -> bool {
    code.parameters.positional.len() == 2
        && code.boxes.is_empty()
        && result(code).is_some_and(|node| {
            matches!(&node.kind, Kind::Binary(BinaryOp::Subtract, pair) if locals(&pair.0, &pair.1) == Some((0, 1)))
        })
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

/// `b if b < a else a`: exactly what min and max do, also for NaN and for equal values of different form; or one of the
/// other spellings, which differ there and not in ints.
fn choice(condition: &Node, then: &Node, otherwise: &Node) -> Reducer {
    let Kind::Compare(op, pair) = &condition.kind else { return Reducer::Other };
    let less = match op {
        CompareOp::Less | CompareOp::LessOrEqual => true,
        CompareOp::Greater | CompareOp::GreaterOrEqual => false,
        _ => return Reducer::Other,
    };
    let strict = matches!(op, CompareOp::Less | CompareOp::Greater);
    let (Some(given), Some(compared)) = (locals(then, otherwise), locals(&pair.0, &pair.1)) else {
        return Reducer::Other;
    };
    if !matches!((given, compared), ((0, 1) | (1, 0), (0, 1) | (1, 0))) {
        return Reducer::Other;
    }
    // The one that is given is the left one of the comparison, or the right one.
    let is_min = less == (given == compared);
    match (is_min, strict && given == (1, 0)) {
        (true, true) => Reducer::Min,
        (false, true) => Reducer::Max,
        (true, false) => Reducer::MinOfInts,
        (false, false) => Reducer::MaxOfInts,
    }
}

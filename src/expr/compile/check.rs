//! Types that an expression certainly has, whatever its input.

use crate::expr::{
    evaluate::callable,
    node::{Callee, Kind, Node},
    primitive::BinaryOp,
};

/// The name of the node's type, where it is certain (and the node raises no error).
pub fn type_of(node: &Node) -> Option<&'static str> {
    match &node.kind {
        Kind::Constant(value) => Some(value.type_name()),
        Kind::Format(_) => Some("str"),
        Kind::Not(_) | Kind::Compare(..) | Kind::In(_) | Kind::NotIn(_) => Some("bool"),
        Kind::Tuple(_) => Some("tuple"),
        Kind::List(_) | Kind::ListComprehension(_) => Some("list"),
        Kind::Dict(_) | Kind::DictComprehension(_) => Some("dict"),
        Kind::And(pair) | Kind::Or(pair) => type_of(&pair.0).filter(|name| type_of(&pair.1) == Some(name)),
        Kind::If(parts) => type_of(&parts.1).filter(|name| type_of(&parts.2) == Some(name)),
        Kind::Binary(BinaryOp::Percent, pair) => type_of(&pair.0).filter(|name| *name == "str"),
        Kind::Binary(BinaryOp::Add, pair) => match (type_of(&pair.0), type_of(&pair.1)) {
            (Some("str"), _) | (_, Some("str")) => Some("str"),
            _ => None,
        },
        Kind::Call(call) => match &call.callee {
            Callee::Builtin(builtin) => result_of(&builtin.name),
            Callee::Method(of, method) => result_of_method(type_of(of), &method.name),
            Callee::Value(_) => None,
        },
        _ => None,
    }
}

fn result_of(builtin: &str) -> Option<&'static str> {
    Some(match builtin {
        "str" | "repr" | "chr" | "type" | "json.dumps" | "json.encode" => "str",
        "int" | "len" | "ord" | "hash" => "int",
        "float" => "float",
        "bool" | "any" | "all" | "hasattr" | "isinstance" => "bool",
        "list" | "sorted" => "list",
        "tuple" => "tuple",
        "dict" => "dict",
        "bytes" => "bytes",
        _ => return None,
    })
}

fn result_of_method(receiver: Option<&str>, method: &str) -> Option<&'static str> {
    match method {
        "startswith" | "endswith" | "isdigit" | "isalpha" | "isalnum" | "isspace" | "isupper" | "islower" => {
            Some("bool")
        }
        "format" | "title" | "capitalize" | "lower" | "upper" | "strip" | "lstrip" | "rstrip" | "replace" | "join"
        | "zfill" | "ljust" | "rjust" | "center"
            if receiver == Some("str") =>
        {
            Some("str")
        }
        "split" | "rsplit" | "splitlines" => Some("list"),
        "encode" => Some("bytes"),
        _ => None,
    }
}

/// `str`, `int` ... as a value
pub fn is_type_name(node: &Node) -> bool {
    match &node.kind {
        Kind::Constant(value) => callable::builtin_name(value).is_some_and(|name| callable::TYPES.contains(&name)),
        _ => false,
    }
}

/// A call of that builtin.
pub fn calls(node: &Node, name: &str) -> bool {
    match &node.kind {
        Kind::Call(call) => matches!(&call.callee, Callee::Builtin(builtin) if builtin.name == name),
        _ => false,
    }
}

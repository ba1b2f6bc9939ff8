//! `json.loads(x)["a"]["b"]`: the field alone, without building the document.
use super::walk::Frame;
use crate::{expr::node::Node, model::Column};

pub fn project(_frame: &Frame<'_>, _node: &Node) -> Option<Column> {
    None
}

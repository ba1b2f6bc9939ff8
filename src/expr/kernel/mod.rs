//! Column kernels: recognised functions over typed columns.
use super::{Limits, library::Shared, node::Code};
use crate::model::Column;

pub fn recognise(_code: &Code, _shared: &Shared, _arity: usize) -> Result<(), String> {
    Err("not yet".to_owned())
}
pub fn run(_code: &Code, _shared: &Shared, _input: &Column, _limits: Limits) -> Option<Column> {
    None
}
pub fn truthy(_column: &Column) -> Option<Vec<bool>> {
    None
}
pub fn indices(_kept: &[bool]) -> Vec<u32> {
    Vec::new()
}

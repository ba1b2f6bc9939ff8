//! Lists and dicts that change.
//!
//! Values are immutable and shared, but the language has `xs.append(1)` and `d[k] = v` with Python's reference
//! semantics: two names of one list see the same change. So in functions whose text changes lists or dicts (and only
//! there) every list and dict that is created is a *cell*: one shared place that holds the container, whose elements may
//! be cells again.
//!
//! - Arguments become cells when the function is entered: it may change them, the caller does not see it.
//! - Results of builtins become cells where nobody else holds them; a value of `[functions]` stays frozen, and so does
//!   what was copied for a builtin that looks inside: changing those is an error, never a silent difference.
//! - What leaves the function is plain again. A container that holds itself cannot leave.

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    expr::{
        EvalErrorKind,
        primitive::{Budget, Fault},
    },
    model::{Dict, Opaque, Struct, Value},
};

/// Deepest nesting of a value that leaves a function, and of one that a loop builds.
const MAX_NESTING: usize = crate::model::encode::MAX_VALUE_DEPTH;
/// What one element costs of the memory limit.
pub const ELEMENT_BYTES: u64 = 32;

/// A list or dict that may change. One evaluator uses it, so the lock is never waited for.
#[derive(Debug)]
pub struct Cell {
    is_dict: bool,
    value: Mutex<Value>,
    /// Loops that go over it now.
    iterating: AtomicU32,
}

impl Opaque for Cell {
    fn type_name(&self) -> &'static str {
        if self.is_dict { "dict" } else { "list" }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Cell {
    fn new(value: Value) -> Arc<Cell> {
        let is_dict = matches!(value, Value::Dict(_));
        Arc::new(Cell { is_dict, value: Mutex::new(value), iterating: AtomicU32::new(0) })
    }

    /// What it holds now; elements that are cells stay cells.
    pub fn get(&self) -> Value {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the content out, to be put back with [`Cell::set`].
    pub fn take(&self) -> Result<Value, Fault> {
        if self.iterating.load(Ordering::Relaxed) > 0 {
            let message = format!("{} changed during iteration", if self.is_dict { "dictionary" } else { "list" });
            return Err(Fault { kind: EvalErrorKind::Value, message });
        }
        Ok(std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), Value::None))
    }

    pub fn set(&self, value: Value) {
        let old = std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), value);
        drop(old);
    }

    pub fn hold(&self) {
        self.iterating.fetch_add(1, Ordering::Relaxed);
    }

    pub fn release(&self) {
        self.iterating.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The cell inside a value.
pub fn cell(value: &Value) -> Option<&Cell> {
    match value {
        Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
        _ => None,
    }
}

/// Methods that change their receiver.
pub fn changes(method: &str) -> bool {
    matches!(
        method,
        "append"
            | "extend"
            | "insert"
            | "pop"
            | "remove"
            | "clear"
            | "update"
            | "setdefault"
            | "popitem"
            | "sort"
            | "reverse"
    )
}

/// Methods that only this room knows.
pub fn is_method(method: &str) -> bool {
    matches!(method, "copy" | "sort" | "reverse")
}

/// A value with its outermost cell opened.
pub fn open(value: Value) -> Value {
    match cell(&value) {
        Some(cell) => cell.get(),
        None => value,
    }
}

/// Whether cells are in the elements of a list, tuple or dict, or the value is one. Costs a step for each container.
pub fn holds_cells(value: &Value, budget: &mut Budget) -> Result<bool, Fault> {
    fn any<'a>(items: impl Iterator<Item = &'a Value>, budget: &mut Budget) -> Result<bool, Fault> {
        for item in items {
            if (matches!(item, Value::Opaque(_) | Value::Struct(_)) || is_container(item)) && holds_cells(item, budget)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
    match value {
        Value::Opaque(opaque) => return Ok(opaque.as_any().is::<Cell>()),
        Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Struct(_) => budget.step()?,
        _ => return Ok(false),
    }
    match value {
        Value::List(items) => any(items.iter(), budget),
        Value::Tuple(items) => any(items.iter(), budget),
        Value::Dict(dict) => any(dict.values(), budget),
        Value::Struct(fields) => any(fields.fields.iter().map(|(_, value)| value), budget),
        _ => Ok(false),
    }
}

/// The cells made in one call. They are held until its end, so that dropping a long chain of them needs no stack, and
/// cycles can be broken; the memory limit counts what was ever made, so this holds no more than it allows.
#[derive(Debug, Default)]
pub struct Made {
    cells: Vec<Arc<Cell>>,
}

impl Made {
    pub fn cell(&mut self, value: Value) -> Value {
        let cell = Cell::new(value);
        self.cells.push(cell.clone());
        Value::Opaque(cell)
    }

    /// Empties every cell: containers that hold themselves would otherwise live forever.
    pub fn end(&mut self) {
        self.cells.iter().for_each(|cell| cell.set(Value::None));
        self.cells.clear();
    }

    /// A value of its own for the function: every list and dict in it becomes a cell.
    pub fn thaw(&mut self, value: Value) -> Value {
        match value {
            Value::List(items) => {
                let items = items.iter().map(|item| self.thaw(item.clone())).collect();
                self.cell(Value::list(items))
            }
            Value::Dict(dict) => {
                let dict = dict.iter().map(|(key, value)| (key.clone(), self.thaw(value.clone()))).collect();
                self.cell(Value::Dict(Arc::new(dict)))
            }
            Value::Tuple(items) if items.iter().any(is_container) => {
                Value::Tuple(items.iter().map(|item| self.thaw(item.clone())).collect())
            }
            other => other,
        }
    }

    /// Cells for the lists and dicts of a result that nobody else holds; the others stay frozen.
    pub fn adopt(&mut self, value: Value) -> Value {
        match value {
            Value::List(mut items) => match Arc::get_mut(&mut items) {
                Some(inner) => {
                    inner.iter_mut().filter(|item| is_container(item)).for_each(|item| self.adopt_in(item));
                    self.cell(Value::List(items))
                }
                None => Value::List(items),
            },
            Value::Dict(mut dict) => match Arc::get_mut(&mut dict) {
                Some(inner) => {
                    inner.values_mut().filter(|item| is_container(item)).for_each(|item| self.adopt_in(item));
                    self.cell(Value::Dict(dict))
                }
                None => Value::Dict(dict),
            },
            Value::Tuple(mut items) => {
                if let Some(inner) = Arc::get_mut(&mut items) {
                    inner.iter_mut().filter(|item| is_container(item)).for_each(|item| self.adopt_in(item));
                }
                Value::Tuple(items)
            }
            other => other,
        }
    }

    fn adopt_in(&mut self, place: &mut Value) {
        let value = std::mem::replace(place, Value::None);
        *place = self.adopt(value);
    }

    /// Like `adopt`, for a result whose elements were copied: only the outermost container may change.
    pub fn adopt_outer(&mut self, value: Value) -> Value {
        match value {
            Value::List(items) if Arc::strong_count(&items) == 1 => self.cell(Value::List(items)),
            Value::Dict(dict) if Arc::strong_count(&dict) == 1 => self.cell(Value::Dict(dict)),
            other => other,
        }
    }
}

fn is_container(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Dict(_) | Value::Tuple(_))
}

/// The value without cells. Costs steps by the elements it copies; a container that holds itself is an error.
pub fn plain(value: Value, budget: &mut Budget) -> Result<Value, Fault> {
    if holds_cells(&value, budget)? { copy(&value, budget, 0) } else { Ok(value) }
}

fn copy(value: &Value, budget: &mut Budget, depth: usize) -> Result<Value, Fault> {
    if depth > MAX_NESTING {
        return Err(too_deep());
    }
    if let Some(cell) = cell(value) {
        return copy(&cell.get(), budget, depth);
    }
    if !is_container(value) && !matches!(value, Value::Struct(_)) {
        return Ok(value.clone());
    }
    Ok(match value {
        Value::List(items) => {
            charge(items.len(), budget)?;
            Value::list(items.iter().map(|item| copy(item, budget, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Tuple(items) => {
            charge(items.len(), budget)?;
            Value::Tuple(items.iter().map(|item| copy(item, budget, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Dict(dict) => {
            charge(dict.len(), budget)?;
            let copied: Dict = dict
                .iter()
                .map(|(key, value)| Ok((key.clone(), copy(value, budget, depth + 1)?)))
                .collect::<Result<_, Fault>>()?;
            Value::Dict(Arc::new(copied))
        }
        Value::Struct(fields) => {
            let fields = fields.fields.iter().map(|(name, value)| Ok((name.clone(), copy(value, budget, depth + 1)?)));
            Value::Struct(Arc::new(Struct { fields: fields.collect::<Result<_, Fault>>()? }))
        }
        other => other.clone(),
    })
}

fn charge(len: usize, budget: &mut Budget) -> Result<(), Fault> {
    budget.steps(len as u64)?;
    budget.allocate(len as u64 * ELEMENT_BYTES)
}

fn too_deep() -> Fault {
    let message = format!("lists, tuples and dicts are nested more than {MAX_NESTING} deep");
    Fault { kind: EvalErrorKind::Limit, message }
}

/// Nothing of the evaluator's own may leave a function, and nothing that nests deeper than state and files hold. Costs
/// a step for each container.
pub fn leaves(value: &Value, budget: &mut Budget) -> Result<(), Fault> {
    leaves_within(value, budget, 0)
}

fn leaves_within(value: &Value, budget: &mut Budget, depth: usize) -> Result<(), Fault> {
    fn all<'a>(mut items: impl Iterator<Item = &'a Value>, budget: &mut Budget, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_NESTING {
            return Err(too_deep());
        }
        budget.step()?;
        items.try_for_each(|item| leaves_within(item, budget, depth + 1))
    }
    match value {
        Value::Opaque(opaque) => {
            let message = match opaque.type_name() {
                "range" => "a range cannot leave a lambda: write list(range(...))".to_owned(),
                other => format!("a {other} cannot leave a lambda"),
            };
            Err(Fault { kind: EvalErrorKind::Type, message })
        }
        Value::List(items) => all(items.iter(), budget, depth),
        Value::Tuple(items) => all(items.iter(), budget, depth),
        Value::Dict(dict) => all(dict.iter().flat_map(|(key, value)| [key.value(), value]), budget, depth),
        Value::Struct(fields) => all(fields.fields.iter().map(|(_, value)| value), budget, depth),
        Value::Record(record) => all([&record.key, &record.value].into_iter(), budget, depth),
        _ => Ok(()),
    }
}

/// Whether a value nests no deeper than one may that leaves a function, `above` levels down.
pub fn fits(value: &Value, above: usize) -> bool {
    fn all<'a>(mut items: impl Iterator<Item = &'a Value>, above: usize) -> bool {
        above < MAX_NESTING && items.all(|item| fits(item, above + 1))
    }
    match value {
        Value::List(items) => all(items.iter(), above),
        Value::Tuple(items) => all(items.iter(), above),
        Value::Dict(dict) => all(dict.iter().flat_map(|(key, value)| [key.value(), value]), above),
        Value::Struct(fields) => all(fields.fields.iter().map(|(_, value)| value), above),
        Value::Record(record) => all([&record.key, &record.value].into_iter(), above),
        _ => true,
    }
}

/// Most elements of a value, those counted again that are in it more than once.
const MAX_ELEMENTS: u64 = 100_000_000;

/// Refuses a value that is nested so deep that dropping it would overflow the stack, or that is so often in itself that
/// writing it out would never end.
pub fn measure(value: &Value, budget: &mut Budget) -> Result<(), Fault> {
    if !is_container(value) || !items(value).any(is_container) {
        return Ok(());
    }
    let mut known = HashMap::new();
    let (depth, elements) = size(value, 0, &mut known);
    budget.steps(known.len() as u64 / 8)?;
    let message = match (depth > MAX_NESTING, elements > MAX_ELEMENTS) {
        (true, _) => "lists and tuples are nested too deep",
        (_, true) => "a list or tuple holds the same one too often",
        _ => return Ok(()),
    };
    Err(Fault { kind: EvalErrorKind::Limit, message: message.to_owned() })
}

/// Depth and number of elements; each container is visited once.
fn size(value: &Value, above: usize, known: &mut HashMap<*const u8, (usize, u64)>) -> (usize, u64) {
    let address = match value {
        Value::List(items) => Arc::as_ptr(items).cast::<u8>(),
        Value::Tuple(items) => Arc::as_ptr(items).cast::<u8>(),
        Value::Dict(dict) => Arc::as_ptr(dict).cast::<u8>(),
        _ => return (0, 1),
    };
    if let Some(found) = known.get(&address) {
        return *found;
    }
    if above > MAX_NESTING {
        return (1, 1);
    }
    let (mut depth, mut elements) = (0, 1u64);
    for item in items(value) {
        let (inner_depth, inner_elements) = size(item, above + 1, known);
        depth = depth.max(inner_depth);
        elements = elements.saturating_add(inner_elements);
    }
    known.insert(address, (depth + 1, elements));
    (depth + 1, elements)
}

fn items(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::List(items) => Box::new(items.iter()),
        Value::Tuple(items) => Box::new(items.iter()),
        Value::Dict(dict) => Box::new(dict.values()),
        _ => Box::new(std::iter::empty()),
    }
}

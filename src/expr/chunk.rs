//! Functions over columns: as a kernel where the chunk fits one, else element by element.

use std::sync::Arc;

use super::{
    EvalError, EvalErrorKind, Evaluator, Function, Limits, Poison,
    builder::Builder,
    evaluate::{Evaluated, Machine, cell},
    kernel,
    node::Code,
    primitive, record,
    shared::Shared,
};
use crate::model::{Column, Value, encode::MAX_VALUE_DEPTH};

impl Evaluator {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The bytes of results at which the last chunk was given up, if it was: what it gave is to be thrown away.
    pub fn take_overflow(&mut self) -> Option<usize> {
        self.overflow.take()
    }

    fn machine(&mut self) -> &mut Machine {
        let limits = self.limits;
        self.machine.get_or_insert_with(|| Machine::new(limits))
    }

    /// One call.
    pub fn call(&mut self, function: &Function, arguments: &[Value]) -> Result<Value, EvalError> {
        let inner = &function.inner;
        self.machine()
            .run(&inner.shared, &inner.code, &inner.defaults, arguments)
            .map_err(|stop| EvalError { function: Some(inner.source.clone()), ..*stop })
    }

    /// One call of a function that gives the elements of a partition or a batch.
    pub fn call_for_elements(&mut self, function: &Function, arguments: &[Value]) -> Result<Vec<Value>, EvalError> {
        let inner = &function.inner;
        let limits = self.limits;
        self.machine()
            .run_for_elements(&inner.shared, &inner.code, &inner.defaults, arguments)
            .map_err(|stop| *stop)
            .and_then(|result| elements(function, &result, limits))
            .map_err(|error| EvalError { function: Some(inner.source.clone()), ..error })
    }

    /// Calls a one-argument function on every element. The column holds the results of the elements that did not fail,
    /// in order; `poison` the others, ascending.
    pub fn map(&mut self, function: &Function, input: &Column) -> (Column, Vec<Poison>) {
        if let Some(column) = self.native(function, input) {
            return (column, Vec::new());
        }
        let mut builder = Builder::default();
        let poison = self.each(function, input, Machine::run, |_, value| {
            builder.push(value);
            Ok(())
        });
        (builder.finish(), poison)
    }

    /// Indices of the elements for which the function is true (Python's truthiness).
    pub fn filter(&mut self, function: &Function, input: &Column) -> (Vec<u32>, Vec<Poison>) {
        if let Some(kept) = self.native(function, input).and_then(|column| kernel::truthy(&column)) {
            return (kernel::indices(&kept), Vec::new());
        }
        let mut kept = Vec::new();
        let poison = self.each(function, input, Machine::run, |idx, value| {
            if primitive::truthy(&value) {
                kept.push(idx as u32);
            }
            Ok(())
        });
        (kept, poison)
    }

    /// Like `map`, with the results (list, tuple, range, dict's keys) flattened. The second part has one count an
    /// element of the input, 0 for a failed one.
    pub fn flat_map(&mut self, function: &Function, input: &Column) -> (Column, Vec<u32>, Vec<Poison>) {
        if let Some(Column::List(lists)) = self.native(function, input) {
            let counts = lists.offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
            return (whole(&lists), counts, Vec::new());
        }
        let mut builder = Builder::default();
        let mut counts = vec![0; input.len()];
        let limits = self.limits;
        let poison = self.each(function, input, Machine::run_for_elements, |idx, value| {
            let items = elements(function, &value, limits)?;
            if let Some(count) = counts.get_mut(idx) {
                *count = items.len() as u32;
            }
            items.into_iter().for_each(|item| builder.push(item));
            Ok(())
        });
        (builder.finish(), counts, poison)
    }

    fn native(&mut self, function: &Function, input: &Column) -> Option<Column> {
        if self.force_evaluator || function.native().is_err() || function.arity() != 1 {
            return None;
        }
        let inner = &function.inner;
        let column = kernel::run(&inner.code, inner.record, &inner.shared, input, self.limits)?;
        fits(&column, 0).then_some(column)
    }

    /// Calls the function on every element and gives the results that did not fail to `take`.
    fn each(
        &mut self,
        function: &Function,
        input: &Column,
        run: impl Fn(&mut Machine, &Arc<Shared>, &Arc<Code>, &[Value], &[Value]) -> Evaluated,
        mut take: impl FnMut(usize, Value) -> Result<(), EvalError>,
    ) -> Vec<Poison> {
        let limits = self.limits;
        let inner = &function.inner;
        let room = self.chunk_bytes.unwrap_or(usize::MAX);
        let machine = self.machine();
        let (mut poison, mut bytes) = (Vec::new(), 0_usize);
        for idx in 0..input.len() {
            if bytes > room {
                self.overflow = Some(bytes);
                break;
            }
            let result = read(input, idx, inner.record, limits)
                .and_then(|value| {
                    run(machine, &inner.shared, &inner.code, &inner.defaults, &[value]).map_err(|stop| *stop)
                })
                .and_then(|value| {
                    bytes = bytes.saturating_add(value.heap_bytes());
                    take(idx, value)
                });
            if let Err(mut error) = result {
                if error.kind == EvalErrorKind::Decode && !error.in_library {
                    error.in_library = inner.code.in_library;
                }
                error.function = Some(inner.source.clone());
                poison.push((idx as u32, error));
            }
        }
        poison
    }
}

/// The values of all lists of a column, nothing before the first and after the last.
fn whole(lists: &crate::model::column::ListColumn) -> Column {
    let start = lists.offsets.first().copied().unwrap_or(0) as usize;
    let end = lists.offsets.last().copied().unwrap_or(0) as usize;
    match start == 0 && end == lists.values.len() {
        true => (*lists.values).clone(),
        false => lists.values.slice(start..end),
    }
}

/// Whether no value of a column nests deeper than one may that leaves a function; `above` levels hold the column.
fn fits(column: &Column, above: usize) -> bool {
    match column {
        Column::Any(values) => values.iter().all(|value| cell::fits(value, above)),
        Column::Const(value, _) => cell::fits(value, above),
        Column::Tuple(parts) => parts.iter().all(|part| fits(part, above + 1)),
        Column::List(lists) => fits(&lists.values, above + 1),
        _ => above < MAX_VALUE_DEPTH - JSON_DEPTH,
    }
}

/// Most levels of what is decoded later than the column that holds it is made.
const JSON_DEPTH: usize = 514;

/// The elements that a result stands for; the error is at the whole function.
fn elements(function: &Function, result: &Value, limits: Limits) -> Result<Vec<Value>, EvalError> {
    match result {
        Value::List(items) => Ok(items.to_vec()),
        Value::Tuple(items) => Ok(items.to_vec()),
        other => flattened(other, limits).map_err(|(kind, message)| EvalError {
            kind,
            message,
            span: function.inner.code.span.range(),
            in_library: function.inner.code.in_library,
            function: None,
        }),
    }
}

/// What a flat_map makes of a result that is no list.
fn flattened(value: &Value, limits: Limits) -> Result<Vec<Value>, (EvalErrorKind, String)> {
    let wrong = |given: &str, hint: &str| {
        let message = format!("the function must give a list, tuple, range or dict to flatten, not {given}{hint}");
        Err((EvalErrorKind::Type, message))
    };
    match value {
        Value::Str(_) => wrong("a str", ": write x.split(\" \") for its words, or [x]"),
        Value::None => wrong("None", ": write [] for nothing"),
        Value::Dict(_) | Value::Opaque(_) | Value::Record(_) => {
            primitive::iterate(value, &mut primitive::Budget::new(limits)).map_err(|fault| (fault.kind, fault.message))
        }
        other => wrong(&format!("'{}'", other.type_name()), ": write [x]"),
    }
}

/// Element `idx` of any column as a value; decodes records.
pub fn element(column: &Column, idx: usize) -> Result<Value, EvalError> {
    let both = record::Use { key: Some(Default::default()), value: Some(Default::default()) };
    read(column, idx, both, Limits::default())
}

/// Element `idx`, with what the function uses of a record.
fn read(column: &Column, idx: usize, used: record::Use, limits: Limits) -> Result<Value, EvalError> {
    match column {
        Column::Record(records) => record::decode(records, idx, used, limits),
        Column::Tuple(parts) => {
            let parts: Result<Vec<Value>, EvalError> = parts.iter().map(|part| element(part, idx)).collect();
            parts.map(Value::tuple)
        }
        Column::List(lists) => {
            let items: Result<Vec<Value>, EvalError> =
                lists.range(idx).map(|idx| element(&lists.values, idx)).collect();
            items.map(Value::list)
        }
        other => Ok(other.get(idx).unwrap_or(Value::None)),
    }
}

//! One folded value a key: typed while it can be, values otherwise.

use num_bigint::BigInt;

use super::fold::Fold;
use crate::{
    expr::{EvalError, Evaluator, Growing, Reducer, element},
    model::{Column, Value},
};

/// Folded values by key number. `Int` becomes `Any` when a value is no 64-bit int, or a sum leaves 64 bits.
#[derive(Debug)]
pub enum Accumulator {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Any(Vec<Folded>),
}

/// One folded value.
#[derive(Debug)]
pub enum Folded {
    Value(Value),
    /// Long, and added to at its end.
    Growing(Box<Growing>),
}

impl Folded {
    pub fn value(&self) -> Value {
        match self {
            Folded::Value(value) => value.clone(),
            Folded::Growing(growing) => growing.value(),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Folded::Value(value) => value,
            Folded::Growing(growing) => growing.into_value(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Folded::Value(value) => value_bytes(value),
            Folded::Growing(growing) => growing.memory_bytes(),
        }
    }
}

/// A reducer that failed: on which key number, and why.
#[derive(Debug)]
pub struct FoldError {
    pub number: u32,
    pub error: EvalError,
}

impl Default for Accumulator {
    fn default() -> Self {
        Accumulator::Int(Vec::new())
    }
}

impl Accumulator {
    pub fn len(&self) -> usize {
        match self {
            Accumulator::Int(values) => values.len(),
            Accumulator::Float(values) => values.len(),
            Accumulator::Any(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Accumulator::Int(values) => values.capacity() * 8,
            Accumulator::Float(values) => values.capacity() * 8,
            Accumulator::Any(values) => {
                let sample: usize = values.iter().step_by(values.len() / 64 + 1).map(Folded::heap_bytes).sum();
                let samples = values.len().div_ceil(values.len() / 64 + 1).max(1);
                values.capacity() * 24 + values.len() * (sample / samples)
            }
        }
    }

    pub fn get(&self, number: u32) -> Value {
        match self {
            Accumulator::Int(values) => Value::Int(values[number as usize]),
            Accumulator::Float(values) => Value::Float(values[number as usize]),
            Accumulator::Any(values) => values[number as usize].value(),
        }
    }

    /// The values at `numbers`, in that order.
    pub fn column(&self, numbers: impl Iterator<Item = u32>) -> Column {
        match self {
            Accumulator::Int(values) => Column::Int(numbers.map(|n| values[n as usize]).collect::<Vec<_>>().into()),
            Accumulator::Float(values) => Column::Float(numbers.map(|n| values[n as usize]).collect::<Vec<_>>().into()),
            Accumulator::Any(values) => Column::from_values(numbers.map(|n| values[n as usize].value()).collect()),
        }
    }

    /// Folds `values[i]` into key `numbers[i]`, for every i in order. A number equal to the length so far is a new key.
    pub fn fold(
        &mut self,
        fold: &Fold,
        numbers: &[u32],
        values: &Column,
        evaluator: &mut Evaluator,
    ) -> Result<(), FoldError> {
        if self.is_empty() && matches!(values, Column::Float(_) | Column::Const(Value::Float(_), _)) {
            *self = Accumulator::Float(Vec::new());
        }
        let mut done = 0;
        match (&mut *self, values) {
            (Accumulator::Int(sums), Column::Const(Value::Int(value), _)) => {
                done = fold_ints(sums, numbers, |_| *value, fold, evaluator);
            }
            (Accumulator::Int(sums), Column::Int(values)) => {
                done = fold_ints(sums, numbers, |i| values[i], fold, evaluator);
            }
            (Accumulator::Float(sums), Column::Float(values)) => {
                done = fold_floats(sums, numbers, |i| values[i], fold, evaluator);
            }
            (Accumulator::Float(sums), Column::Const(Value::Float(value), _)) => {
                done = fold_floats(sums, numbers, |_| *value, fold, evaluator);
            }
            _ => {}
        }
        for (i, &number) in numbers.iter().enumerate().skip(done) {
            let value = element(values, i).map_err(|error| FoldError { number, error })?;
            self.fold_value(fold, number, value, evaluator)?;
        }
        Ok(())
    }

    /// Folds one value into key `number`; a number equal to the length so far is a new key.
    pub fn fold_value(
        &mut self,
        fold: &Fold,
        number: u32,
        value: Value,
        evaluator: &mut Evaluator,
    ) -> Result<(), FoldError> {
        let at = number as usize;
        match (&mut *self, &value) {
            (Accumulator::Int(values), Value::Int(new)) if at == values.len() => {
                values.push(*new);
                return Ok(());
            }
            (Accumulator::Float(values), Value::Float(new)) if at == values.len() => {
                values.push(*new);
                return Ok(());
            }
            (Accumulator::Int(values), Value::Int(new)) => {
                if let Some(folded) = fold.int(evaluator).and_then(|f| f(values[at], *new)) {
                    values[at] = folded;
                    return Ok(());
                }
            }
            (Accumulator::Float(values), Value::Float(new)) => {
                if let Some(folded) = fold.float(evaluator).and_then(|f| f(values[at], *new)) {
                    values[at] = folded;
                    return Ok(());
                }
            }
            _ => {}
        }
        let values = self.any();
        if at == values.len() {
            values.push(Folded::Value(value));
            return Ok(());
        }
        let old = std::mem::replace(&mut values[at], Folded::Value(Value::None));
        values[at] = fold.add(old, value, evaluator).map_err(|error| FoldError { number, error })?;
        Ok(())
    }

    fn any(&mut self) -> &mut Vec<Folded> {
        let values = match self {
            Accumulator::Int(values) => values.iter().map(|v| Folded::Value(Value::Int(*v))).collect(),
            Accumulator::Float(values) => values.iter().map(|v| Folded::Value(Value::Float(*v))).collect(),
            Accumulator::Any(values) => std::mem::take(values),
        };
        *self = Accumulator::Any(values);
        match self {
            Accumulator::Any(values) => values,
            // Assigned in the line above.
            Accumulator::Int(_) | Accumulator::Float(_) => unreachable!("the accumulator has just become Any"),
        }
    }
}

/// A sum is a loop of its own: through a function pointer it would take several times as long.
fn fold_ints(
    sums: &mut Vec<i64>,
    numbers: &[u32],
    value: impl Fn(usize) -> i64,
    fold: &Fold,
    evaluator: &Evaluator,
) -> usize {
    match (fold.reducer, fold.int(evaluator)) {
        (Reducer::Add, Some(_)) => fold_typed(sums, numbers, value, i64::checked_add),
        (_, Some(other)) => fold_typed(sums, numbers, value, other),
        (_, None) => 0,
    }
}

fn fold_floats(
    sums: &mut Vec<f64>,
    numbers: &[u32],
    value: impl Fn(usize) -> f64,
    fold: &Fold,
    evaluator: &Evaluator,
) -> usize {
    match (fold.reducer, fold.float(evaluator)) {
        (Reducer::Add, Some(_)) => fold_typed(sums, numbers, value, |a, b| Some(a + b)),
        (_, Some(other)) => fold_typed(sums, numbers, value, other),
        (_, None) => 0,
    }
}

/// Folds while `fold` gives results; returns how many elements it has folded.
#[inline]
fn fold_typed<T: Copy>(
    folded: &mut Vec<T>,
    numbers: &[u32],
    value: impl Fn(usize) -> T,
    fold: impl Fn(T, T) -> Option<T>,
) -> usize {
    for (i, &number) in numbers.iter().enumerate() {
        match folded.get_mut(number as usize) {
            Some(old) => match fold(*old, value(i)) {
                Some(new) => *old = new,
                None => return i,
            },
            None => folded.push(value(i)),
        }
    }
    numbers.len()
}

impl Fold {
    /// Whether the evaluator is to be called where a loop over numbers would do.
    fn is_called(&self, evaluator: &Evaluator) -> bool {
        evaluator.force_evaluator && self.function.is_some()
    }

    fn int(&self, evaluator: &Evaluator) -> Option<fn(i64, i64) -> Option<i64>> {
        match self.reducer {
            _ if self.is_called(evaluator) => None,
            Reducer::Add => Some(i64::checked_add),
            Reducer::Multiply => Some(i64::checked_mul),
            Reducer::Min | Reducer::MinOfInts => Some(|a, b| Some(if b < a { b } else { a })),
            Reducer::Max | Reducer::MaxOfInts => Some(|a, b| Some(if b > a { b } else { a })),
            Reducer::First => Some(|a, _| Some(a)),
            Reducer::Last => Some(|_, b| Some(b)),
            Reducer::Other => None,
        }
    }

    fn float(&self, evaluator: &Evaluator) -> Option<fn(f64, f64) -> Option<f64>> {
        match self.reducer {
            _ if self.is_called(evaluator) => None,
            Reducer::Add => Some(|a, b| Some(a + b)),
            Reducer::First => Some(|a, _| Some(a)),
            Reducer::Last => Some(|_, b| Some(b)),
            Reducer::Multiply => Some(|a, b| Some(a * b)),
            // As Python's min and max: the first of two that are equal, and the first beside NaN.
            Reducer::Min => Some(|a, b| Some(if b < a { b } else { a })),
            Reducer::Max => Some(|a, b| Some(if b > a { b } else { a })),
            Reducer::MinOfInts | Reducer::MaxOfInts | Reducer::Other => None,
        }
    }

    /// As [`Fold::call`], without copying what is only added to.
    fn add(&self, old: Folded, new: Value, evaluator: &mut Evaluator) -> Result<Folded, EvalError> {
        let Some(function) = &self.function else {
            return self.call(old.into_value(), new, evaluator).map(Folded::Value);
        };
        let mut old = match old {
            Folded::Value(value) => match Growing::begin(function, &value, evaluator) {
                Some(growing) => Folded::Growing(Box::new(growing)),
                None => Folded::Value(value),
            },
            growing => growing,
        };
        if let Folded::Growing(growing) = &mut old
            && growing.add(function, &new, evaluator)
        {
            return Ok(old);
        }
        self.call(old.into_value(), new, evaluator).map(Folded::Value)
    }

    fn call(&self, old: Value, new: Value, evaluator: &mut Evaluator) -> Result<Value, EvalError> {
        match (&self.function, self.reducer) {
            (Some(function), _) => evaluator.call(function, &[old, new]),
            (None, Reducer::Last) => Ok(new),
            (None, Reducer::Add) => Ok(Value::int(exact(&old) + exact(&new))),
            (None, _) => Ok(old),
        }
    }
}

/// Counts are the only folds without a function: their values are ints.
fn exact(value: &Value) -> BigInt {
    match value {
        Value::Int(int) => BigInt::from(*int),
        Value::BigInt(int) => (**int).clone(),
        _ => BigInt::ZERO,
    }
}

/// Bytes a value holds on the heap, roughly.
pub fn value_bytes(value: &Value) -> usize {
    value.heap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Function, Library};

    /// Every fold of a typed column gives, bit by bit, what calling its function gives.
    #[test]
    fn a_recognised_fold_is_what_its_function_gives() {
        let mut sources: Vec<String> =
            ["a + b", "a * b", "min(a, b)", "max(a, b)", "a", "b"].map(|fold| format!("lambda a, b: {fold}")).to_vec();
        for op in ["<", "<=", ">", ">="] {
            for (left, right) in [("a", "b"), ("b", "a")] {
                sources.push(format!("lambda a, b: a if {left} {op} {right} else b"));
                sources.push(format!("lambda a, b: b if {left} {op} {right} else a"));
            }
        }
        let ints = [3, -1, 7, 7, 0, i64::MAX, 2, i64::MIN, -1].map(Value::Int);
        let floats = [0.0, -0.0, 1.5, f64::NAN, -2.0, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY].map(Value::Float);
        for source in sources {
            let function = Function::compile(&source, &Library::default(), 2..=2).unwrap();
            assert_ne!(function.reducer(), Reducer::Other, "{source}");
            for values in [&ints, &floats] {
                // From every place on, over two keys in turn.
                for start in 0..values.len() {
                    let values = values[start..].to_vec();
                    let numbers: Vec<u32> = (0..values.len() as u32).map(|i| i % 2).collect();
                    let folded = |force_evaluator: bool| {
                        let mut evaluator = Evaluator::default();
                        evaluator.force_evaluator = force_evaluator;
                        let mut folded = Accumulator::default();
                        let column = Column::from_values(values.clone());
                        folded.fold(&Fold::of(&function), &numbers, &column, &mut evaluator).unwrap();
                        let mut bytes = Vec::new();
                        (0..folded.len())
                            .for_each(|n| crate::model::encode::put_value(&mut bytes, &folded.get(n as u32)));
                        bytes
                    };
                    assert_eq!(folded(false), folded(true), "{source} from {start}");
                }
            }
        }
    }
}

//! Primitives through the language, against what Python gives.

use crate::{
    expr::{Evaluator, Function, Library},
    model::text::repr,
};

/// `repr` of what an expression gives, or kind and message of its error.
pub fn call(expression: &str) -> String {
    let library = Library::default();
    let function = match Function::compile(&format!("lambda: {expression}"), &library, 0..=0) {
        Ok(function) => function,
        Err(errors) => return format!("Mistake: {}", errors.first().map_or("", |error| &error.message)),
    };
    match Evaluator::default().call(&function, &[]) {
        Ok(value) => repr(&value),
        Err(error) => format!("{:?}: {}", error.kind, error.message),
    }
}

/// A line is an expression, a tab, and what Python gives: `repr`, or the kind of the error and its message.
#[test]
fn results_and_messages_are_those_of_python() {
    let vectors = include_str!("../../../tests/data/python_values.txt");
    let mut wrong = Vec::new();
    for line in vectors.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (expression, expected) = line.split_once('\t').unwrap_or((line, ""));
        let found = call(expression);
        if found != expected {
            wrong.push(format!("{expression}\n  python  {expected}\n  kstream {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

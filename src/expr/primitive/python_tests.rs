//! Lambdas against what Python makes of them: the vectors of `scripts/lambdas/vectors.py`.

use crate::{
    expr::{EvalErrorKind, Evaluator, Function, Library, Limits},
    model::text::repr,
};

const VECTORS: &str = include_str!("../../../tests/data/python.txt");

/// Python's exceptions by the kinds of faults.
fn python_name(kind: EvalErrorKind) -> &'static [&'static str] {
    match kind {
        EvalErrorKind::Type => &["TypeError"],
        EvalErrorKind::Value => &["ValueError"],
        EvalErrorKind::ZeroDivision => &["ZeroDivisionError"],
        EvalErrorKind::Index => &["IndexError"],
        EvalErrorKind::Key => &["KeyError"],
        EvalErrorKind::Attribute => &["AttributeError"],
        EvalErrorKind::Overflow => &["OverflowError"],
        EvalErrorKind::Decode => &["UnicodeDecodeError", "JSONDecodeError"],
        EvalErrorKind::Failed | EvalErrorKind::Limit => &[],
    }
}

#[test]
fn lambdas_give_what_python_gives() {
    let mut wrong = Vec::new();
    let mut evaluator = Evaluator::new(Limits::default());
    for line in VECTORS.lines() {
        let (text, expected) = line.split_once('\t').unwrap();
        let source = format!("lambda _: {text}");
        let found = match Function::compile(&source, &Library::default(), 1..=1) {
            Ok(function) => match evaluator.call(&function, &[crate::model::Value::None]) {
                Ok(value) => repr(&value),
                Err(error) => match expected.strip_prefix('!').and_then(|e| e.split_once(": ")) {
                    Some((name, _)) if python_name(error.kind).contains(&name) => expected.to_owned(),
                    _ => format!("!{:?}: {}", error.kind, error.message),
                },
            },
            Err(errors) if expected.starts_with('!') && !errors.is_empty() => expected.to_owned(),
            Err(errors) => format!("does not compile: {}", errors[0].message),
        };
        if found != expected {
            wrong.push(format!("{text}\n    expected {expected}\n    found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), VECTORS.lines().count(), wrong.join("\n"));
}

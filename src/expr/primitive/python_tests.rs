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
        // `re.error` is no ValueError there, and only its name is lost here.
        EvalErrorKind::Value => &["ValueError", "error"],
        EvalErrorKind::ZeroDivision => &["ZeroDivisionError"],
        EvalErrorKind::Index => &["IndexError"],
        EvalErrorKind::Key => &["KeyError"],
        EvalErrorKind::Attribute => &["AttributeError"],
        EvalErrorKind::Overflow => &["OverflowError"],
        EvalErrorKind::Decode => &["UnicodeDecodeError", "JSONDecodeError"],
        EvalErrorKind::Failed | EvalErrorKind::Limit | EvalErrorKind::Host => &[],
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

/// Sizes that no machine has are refused before anything is allocated, also where their arithmetic leaves 64 bits.
#[test]
fn what_grows_asks_the_budget_first() {
    let mut evaluator = Evaluator::new(Limits::default());
    for text in [
        "''.center(2**62, '😀')",
        "''.ljust(2**63 - 1, '😀')",
        "'-'.rjust(2**63 - 1)",
        "'1'.zfill(2**63 - 1)",
        "'\\t\\t'.expandtabs(2**63 - 1)",
        "'%*d' % (2**63 - 1, 1)",
        "'%.*f' % (2**62, 1.5)",
        "'{:😀>9223372036854775807}'.format(1)",
        "'a' * (2**62)",
        "[0] * (2**62)",
        "('ab' * 1000000).replace('a', 'b' * 1000000)",
        "list(range(2**62))",
        "b'x' * (2**62)",
        "1 << 2**40",
    ] {
        let source = format!(
            "lambda _: {}",
            text.replace("2**62", "4611686018427387904")
                .replace("2**63", "9223372036854775808")
                .replace("2**40", "1099511627776")
        );
        let function = Function::compile(&source, &Library::default(), 1..=1).unwrap();
        let error = evaluator.call(&function, &[crate::model::Value::None]).expect_err(text);
        assert!(
            matches!(error.kind, EvalErrorKind::Limit | EvalErrorKind::Overflow | EvalErrorKind::Value),
            "{text}: {error:?}"
        );
    }
}

/// The table of differences that users read: what its second column says is so, and the third is no repetition of it.
#[test]
fn the_table_of_differences_is_true() {
    let readme = include_str!("../../../jobs/README.md");
    let (_, table) = readme.split_once("| expression | here | Python |\n|---|---|---|\n").unwrap();
    let mut evaluator = Evaluator::new(Limits::default());
    let argument = crate::model::Value::list(vec![crate::model::Value::Int(3), crate::model::Value::Int(1)]);
    let mut rows = 0;
    for line in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|cell| cell.trim()).collect();
        let [expression, here, python] = cells[..] else { panic!("{line}") };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let source = format!("lambda x: {}", plain(expression));
        let found = match Function::compile(&source, &Library::default(), 1..=1) {
            Err(_) => "refused".to_owned(),
            Ok(function) => match evaluator.call(&function, std::slice::from_ref(&argument)) {
                Ok(value) => repr(&value),
                Err(_) => "an error".to_owned(),
            },
        };
        assert_eq!(found, plain(here), "{expression}");
        assert!(here != python || here == "an error", "{expression} is no difference");
        rows += 1;
    }
    assert!(rows > 40, "only {rows} rows are read");
}

//! Kernels and evaluator give the same: random expressions over random chunks, both ways.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use num_bigint::BigInt;
use proptest::prelude::*;

use crate::{
    expr::{Evaluator, Function, Library, Poison, element, tests::records},
    model::{Column, Dict, Value, ValueFormat, key::Key},
};

const LIBRARY: &str = "
WORDS = ['a', 'b', 'ä']
LIMIT = 3
def double(y): return y + y
def first(y):
    return y[0]
";

/// Expressions of the grammar, over the names in `names`.
fn expression(names: Vec<&'static str>) -> BoxedStrategy<String> {
    let atoms = prop_oneof![
        6 => proptest::sample::select(names),
        2 => proptest::sample::select(vec![
            "0", "1", "-1", "2", "7", "10", "9223372036854775807", "0.5", "-0.0", "'a'", "' '", "''", "'ab'", "'ä'", "'1'",
            "None", "True", "WORDS", "LIMIT", "('a', 1)",
        ]),
    ];
    let leaf = atoms.prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let arithmetic = proptest::sample::select(vec!["+", "-", "*", "//", "%", "/", "&", "|", "<<"]);
        let compare = proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]);
        let calls = proptest::sample::select(vec![
            "len",
            "str",
            "int",
            "float",
            "abs",
            "sum",
            "bool",
            "repr",
            "double",
            "first",
            "list",
            "tuple",
            "json.loads",
            "hash",
            "sorted",
            "max",
        ]);
        let methods = proptest::sample::select(vec![
            "split(' ')",
            "split()",
            "split(',')",
            "split('ab')",
            "strip()",
            "lstrip('a')",
            "rstrip()",
            "lower()",
            "upper()",
            "startswith('a')",
            "endswith('ä')",
            "find('b')",
            "replace('a', 'bc')",
            "replace('', 'x')",
            "title()",
            "count('a')",
            "elems()",
            "get('a')",
            "get('b', 7)",
            "items()",
            "isdigit()",
            "zfill(4)",
        ]);
        let access = proptest::sample::select(vec![
            "[0]",
            "[1]",
            "[-1]",
            "[1:]",
            "[:2]",
            "[-2:-1]",
            "[::2]",
            "['a']",
            "['a']['b']",
            ".key",
            ".offset",
        ]);
        prop_oneof![
            (pair.clone(), arithmetic).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            (pair.clone(), compare).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            (inner.clone(), calls).prop_map(|(a, call)| format!("{call}({a})")),
            (inner.clone(), methods).prop_map(|(a, method)| format!("({a}).{method}")),
            (inner.clone(), access).prop_map(|(a, access)| format!("({a}){access}")),
            (pair.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} if {b} else {c})")),
            pair.clone().prop_map(|(a, b)| format!("({a}, {b})")),
            pair.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            pair.clone().prop_map(|(a, b)| format!("min({a}, {b})")),
            pair.clone().prop_map(|(a, b)| format!("f'{{{}}}-{{{}!r:>6}}'", quote(&a), quote(&b))),
            pair.clone().prop_map(|(a, b)| format!("'%s/%5s' % ({a}, {b})")),
            pair.clone().prop_map(|(a, b)| format!("[{} for w in {b}]", a.replace('x', "w"))),
            (pair.clone(), inner.clone()).prop_map(|((a, b), c)| format!(
                "[({}, x) for w in {b} if {}]",
                a.replace('x', "w"),
                c.replace('x', "w")
            )),
            inner.clone().prop_map(|a| format!("(not {a})")),
            inner.clone().prop_map(|a| format!("(-{a})")),
            inner.prop_map(|a| format!("json.loads({a})['a']['b']")),
        ]
    })
    .boxed()
}

/// Expressions whose types fit, so that most of them run as kernels: random ones raise more often than not.
fn fitting() -> BoxedStrategy<(String, Column)> {
    prop_oneof![(numeric(), numbers()), (textual(), lines())].boxed()
}

fn numeric() -> impl Strategy<Value = String> {
    let atoms = proptest::sample::select(vec!["x", "x", "x", "1", "-1", "2", "7", "0.5", "LIMIT"]);
    atoms.prop_map(str::to_owned).prop_recursive(3, 12, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        let arithmetic = proptest::sample::select(vec!["+", "-", "*", "//", "%", "/"]);
        let compare = proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
        let calls = proptest::sample::select(vec!["abs", "float", "double", "-", "str", "bool"]);
        prop_oneof![
            4 => (pair.clone(), arithmetic).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            1 => (pair.clone(), compare.clone()).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            1 => (inner.clone(), calls).prop_map(|(a, call)| format!("{call}({a})")),
            1 => (pair.clone(), compare, pair).prop_map(|((a, b), op, (c, d))| format!("({a} if {b} {op} {c} else {d})")),
        ]
    })
}

fn numbers() -> impl Strategy<Value = Column> {
    prop_oneof![
        proptest::collection::vec((-4..9i64).prop_map(Value::Int), 1..6),
        proptest::collection::vec(ints().prop_map(Value::Int), 1..4),
        proptest::collection::vec((-4.0..9.0f64).prop_map(Value::Float), 1..6),
    ]
    .prop_map(Column::from_values)
}

fn textual() -> impl Strategy<Value = String> {
    let atoms = proptest::sample::select(vec!["x", "x", "x", "'a'", "' '", "WORDS[0]"]);
    let text = atoms.prop_map(str::to_owned).prop_recursive(3, 8, 2, |inner| {
        let methods = proptest::sample::select(vec![
            ".strip()",
            ".lower()",
            ".upper()",
            ".replace('a', 'bc')",
            ".lstrip('a')",
            "[1:]",
            "[:2]",
            "[-2:]",
            ".split('b')[0]",
            ".zfill(4)",
            ".title()",
        ]);
        prop_oneof![
            2 => (inner.clone(), methods).prop_map(|(a, method)| format!("({a}){method}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("f'{{{}}}-{{{}}}'", quote(&a), quote(&b))),
        ]
    });
    let whole = proptest::sample::select(vec![
        "{}",
        "({}).split(' ')",
        "({}).split()",
        "len({})",
        "({}).startswith('a')",
        "({}, 1)",
        "[w.lower() for w in ({}).split(' ') if len(w) > 1]",
        "'a' in {}",
        "({}).find('b')",
        "({}) < 'b'",
    ]);
    (text, whole).prop_map(|(text, whole)| whole.replace("{}", &text))
}

fn lines() -> impl Strategy<Value = Column> {
    proptest::collection::vec(prop_oneof!["[ab ,]{0,8}", "[aäß\u{3c3} 1]{0,6}"].prop_map(Value::str), 1..6)
        .prop_map(Column::from_values)
}

/// Inside of an f-string the other quotes are needed.
fn quote(expression: &str) -> String {
    expression.replace('\'', "\"")
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab ,]{0,8}",
        "[aäß\u{3c3} 1]{0,6}",
        "-?[0-9]{1,20}",
        " ?[0-9]{1,3}\\.?[0-9]{0,2} ?",
        Just("{\"a\": {\"b\": 1}, \"c\": [1, \"x\"]}".to_owned()),
        Just("{\"a\": {\"b\": \"\\u00e4\", \"b\": 2.5}, \"a\": {\"b\": 12345678901234567890}}".to_owned()),
        Just("{\"a\": {\"b\": null}".to_owned()),
        Just("{\"a\": {\"b\": [1, {\"c\": true}]}, \"d\": -1e400}".to_owned()),
        Just("{\"a\": 01}".to_owned()),
    ]
}

fn ints() -> impl Strategy<Value = i64> {
    prop_oneof![-3..4i64, any::<i64>(), Just(i64::MAX), Just(i64::MIN), Just(1 << 53)]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        ints().prop_map(Value::Int),
        ints().prop_map(|int| Value::int(BigInt::from(int) * i64::MAX)),
        prop_oneof![any::<f64>(), Just(0.5), Just(f64::NAN)].prop_map(Value::Float),
        texts().prop_map(Value::str),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::list),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::tuple),
            inner.prop_map(|value| {
                let mut dict = Dict::new();
                dict.insert(Key::from("a"), value);
                Value::Dict(Arc::new(dict))
            }),
        ]
    })
}

fn columns() -> BoxedStrategy<Column> {
    let bytes = || {
        proptest::option::weighted(
            0.9,
            prop_oneof![
                9 => texts().prop_map(String::into_bytes),
                1 => proptest::collection::vec(any::<u8>(), 0..4),
            ],
        )
    };
    prop_oneof![
        proptest::collection::vec(texts().prop_map(Value::str), 1..6).prop_map(Column::from_values),
        proptest::collection::vec(ints().prop_map(Value::Int), 1..6).prop_map(Column::from_values),
        proptest::collection::vec((-4..4i64).prop_map(Value::Int), 1..6).prop_map(Column::from_values),
        proptest::collection::vec(any::<f64>().prop_map(Value::Float), 1..6).prop_map(Column::from_values),
        proptest::collection::vec((texts(), -9..9i64), 1..6)
            .prop_map(|pairs| pairs.into_iter().map(|(a, b)| Value::pair(Value::str(a), Value::Int(b))).collect())
            .prop_map(Column::from_values),
        proptest::collection::vec(values(), 1..6).prop_map(Column::from_values),
        proptest::collection::vec((bytes(), bytes()), 1..5).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_deref(), value.as_deref())).collect();
            records(&pairs, ValueFormat::Utf8)
        }),
        proptest::collection::vec(json().prop_map(String::into_bytes), 1..5).prop_map(|values| {
            let pairs: Vec<_> = values.iter().map(|value| (None, Some(value.as_slice()))).collect();
            records(&pairs, ValueFormat::Json)
        }),
        proptest::collection::vec(json(), 1..5).prop_map(|texts| decoded(&texts)),
    ]
    .boxed()
}

/// Documents with equal names, escapes, deep values, and now and then a wrong byte.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(vec![
            "1",
            "-0",
            "12345678901234567890",
            "2.5",
            "1e400",
            "NaN",
            "01",
            "null",
            "true",
            "\"a\"",
            "\"\"",
            "\"\\u00e4\"",
            "\"\\ud83c\\udf89\"",
            "\"\\ud83c\"",
            "\"\\udf89\"",
            "\"\\ud83cx\"",
            "\"\\n\"",
            "\"\\x\"",
            "\"\t\"",
            "\"a b c d e f g h i ä\"",
        ])
        .prop_map(str::to_owned),
        // Long texts are read by blocks.
        ("[a-zä ]{0,90}", "|\\\\\"|\\\\n|\u{1f}|\"", "[a-z]{0,40}").prop_map(|(a, b, c)| format!("\"{a}{b}{c}\"")),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        let name = proptest::sample::select(vec!["a", "b", "c", "\\u0061", ""]);
        let space = proptest::sample::select(vec!["", " ", "\n\t"]);
        prop_oneof![
            3 => (proptest::collection::vec((name, inner.clone()), 0..4), space).prop_map(|(members, space)| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{space}\"{name}\"{space}:{space}{value}")).collect();
                format!("{{{}{space}}}", members.join(","))
            }),
            1 => proptest::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
        ]
    });
    let cut = proptest::option::weighted(0.05, any::<proptest::sample::Index>());
    (value, cut).prop_map(|(text, cut)| match cut {
        None => text,
        Some(at) => {
            let at = at.index(text.chars().count());
            text.chars().enumerate().filter(|(idx, _)| *idx != at).map(|(_, letter)| letter).collect()
        }
    })
}

/// What `json.loads` makes of those of the texts it takes: undecoded objects where all of them are.
fn decoded(texts: &[String]) -> Column {
    let function = Function::compile("lambda x: json.loads(x)", &Library::default(), 1..=1).unwrap();
    let texts = Column::from_values(texts.iter().map(Value::str).collect());
    Evaluator::default().map(&function, &texts).0
}

/// What a run gave, in a form that tells every difference that counts.
fn outcome(column: &Column, counts: &[u32], poison: &[Poison]) -> String {
    let values: Vec<String> = (0..column.len()).map(|idx| format!("{:?}", element(column, idx))).collect();
    let poison: Vec<String> = poison
        .iter()
        .map(|(idx, error)| format!("{idx} {:?} {:?} {}", error.kind, error.span, error.message))
        .collect();
    format!("{values:?} {counts:?} {poison:?}")
}

#[derive(Default)]
struct Seen {
    cases: AtomicUsize,
    native: AtomicUsize,
}

fn run(source: &str, input: &Column, seen: &Seen) -> Result<(), TestCaseError> {
    let library = Library::parse(LIBRARY).map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
    let Ok(function) = Function::compile(&format!("lambda x: {source}"), &library, 1..=1) else { return Ok(()) };
    let inner = &function.inner;
    seen.cases.fetch_add(1, Ordering::Relaxed);
    let native = function.native().is_ok()
        && super::run(&inner.code, inner.record, &inner.shared, input, Default::default()).is_some();
    seen.native.fetch_add(usize::from(native), Ordering::Relaxed);
    let both = [false, true].map(|force_evaluator| {
        let mut evaluator = Evaluator { force_evaluator, ..Evaluator::default() };
        let (column, poison) = evaluator.map(&function, input);
        let mapped = outcome(&column, &[], &poison);
        let (kept, poison) = evaluator.filter(&function, input);
        let kept = outcome(&Column::empty(), &kept, &poison);
        let (column, counts, poison) = evaluator.flat_map(&function, input);
        (mapped, kept, outcome(&column, &counts, &poison))
    });
    let [native, evaluated] = both;
    prop_assert_eq!(native, evaluated, "lambda x: {}", source);
    Ok(())
}

/// A runner whose seed is printed where it fails; `KSTREAM_TEST_SEED` repeats one.
fn runner(cases: u32) -> (proptest::test_runner::TestRunner, u64) {
    let given = std::env::var("KSTREAM_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand_seed);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    (proptest::test_runner::TestRunner::new(config), seed)
}

/// Another one in each process.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn told<T: std::fmt::Debug>(result: Result<(), proptest::test_runner::TestError<T>>, seed: u64) -> Result<(), String> {
    result.map_err(|error| format!("KSTREAM_TEST_SEED={seed}\n{error}"))
}

fn compare_random_runs(cases: u32, seen: &Seen) -> Result<(), String> {
    let (mut runner, seed) = runner(cases);
    let any = (expression(vec!["x", "x.value", "x[0]", "x[1]"]), columns());
    let runs = prop_oneof![any, fitting()];
    told(runner.run(&runs, |(source, input)| run(&source, &input, seen)), seed)
}

#[test]
fn kernels_and_evaluator_agree() {
    let seen = Seen::default();
    let result = compare_random_runs(3000, &seen);
    assert!(result.is_ok(), "{}", result.err().unwrap_or_default());
    let (cases, native) = (seen.cases.into_inner(), seen.native.into_inner());
    assert!(native * 4 > cases, "only {native} of {cases} expressions ran as kernels");
}

/// Undecoded objects are what their values are.
#[test]
fn undecoded_objects_are_their_values() {
    let seen = AtomicUsize::new(0);
    let (mut runner, seed) = runner(2000);
    let texts = proptest::collection::vec(json(), 1..4);
    let result = runner.run(&(expression(vec!["x", "x['a']"]), texts), |run| {
        let (source, texts) = run;
        let column = decoded(&texts);
        let Column::Json(_) = column else { return Ok(()) };
        seen.fetch_add(1, Ordering::Relaxed);
        let plain = Column::Any(Arc::new((0..column.len()).filter_map(|idx| column.get(idx)).collect()));
        let Ok(function) = Function::compile(&format!("lambda x: {source}"), &Library::parse(LIBRARY).unwrap(), 1..=1)
        else {
            return Ok(());
        };
        let results = [column, plain].map(|column| {
            let mut evaluator = Evaluator::default();
            let (mapped, poison) = evaluator.map(&function, &column);
            let (kept, _) = evaluator.filter(&function, &column);
            (outcome(&mapped, &kept, &poison), outcome(&column.gather(&kept), &[], &[]))
        });
        prop_assert_eq!(&results[0], &results[1], "lambda x: {}", source);
        Ok(())
    });
    let result = told(result, seed);
    assert!(result.is_ok(), "{}", result.err().unwrap_or_default());
    assert!(seen.into_inner() > 200, "too few documents stayed undecoded");
}

#[test]
fn objects_stay_undecoded_where_they_can() {
    let check = |texts: &[&str], expected: bool| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(matches!(decoded(&texts), Column::Json(_)), expected, "{texts:?}");
    };
    check(&[r#"{"a": 1}"#, r#" {"a": [{"b": "\ud83c\udf89"}], "c": -1.5e3} "#, "{}"], true);
    check(&[r#"{"a": 1}"#, "[1]"], false);
    check(&[r#"{"\u0061": 1}"#], false);
    check(&[r#"{"a": NaN}"#], false);
    let deep = |depth: usize| format!("{{\"a\": {}1{}}}", "[".repeat(depth), "]".repeat(depth));
    check(&[&deep(50)], true);
    check(&[&deep(200)], false);
}

#[test]
fn shapes_that_users_write_run_as_kernels() {
    let texts = || Column::from_values(["a b", "ä 1", "", "12"].map(Value::str).to_vec());
    let pairs = || Column::from_values(vec![Value::pair(Value::str("a"), Value::Int(2)); 3]);
    let documents = || {
        let document = "{\"a\": {\"b\": 1}, \"c\": \"\\u00e4\", \"d\": [1, 2]}";
        Column::from_values(vec![Value::str(document); 2])
    };
    for (source, input) in [
        ("x.split(' ')", texts()),
        ("x.split()", texts()),
        ("[(w.lower(), 1) for w in x.split(' ') if len(w) > 0 and not w.startswith('1')]", texts()),
        ("(x.strip().upper(), len(x))", texts()),
        ("x.replace('a', 'b') + '!' if 'a' in x else x[0:1]", texts()),
        ("f'{x}:{len(x):>5}'", texts()),
        ("'%s %d' % (x, len(x))", texts()),
        ("(x[1], x[0])", pairs()),
        ("x[1] * 2 + 1 > 4 or x[0] == 'b'", pairs()),
        ("(x[0], double(x[1]) / 2)", pairs()),
        ("json.loads(x)['a']['b'] + 1", documents()),
        ("(json.loads(x)['c'], json.loads(x)['d'])", documents()),
        ("json.loads(x).get('a').get('b', 0) + json.loads(x).get('n', 1)", documents()),
        ("'a' in json.loads(x) and 'z' not in json.loads(x)", documents()),
        ("x['a']['b'] == 1 and len(x) == 3", decoded(&["{\"a\": {\"b\": 1}, \"c\": 2, \"d\": 3}".to_owned()])),
        ("sum([int(w) for w in x.split() if w.isdigit()])", texts()),
    ] {
        let seen = Seen::default();
        run(source, &input, &seen).unwrap();
        assert_eq!(seen.native.into_inner(), 1, "{source}");
    }
}

/// The property test itself, over a kernel that is wrong: it must not pass.
#[test]
fn a_wrong_kernel_would_be_found() {
    super::arithmetic::PLANTED.set(true);
    let result = compare_random_runs(3000, &Seen::default());
    super::arithmetic::PLANTED.set(false);
    let found = result.expect_err("no difference was found");
    assert!(found.contains("lambda x:") && found.contains('-'), "{found}");
}

//! The language as users meet it: results, errors, mistakes, columns.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::{
    Column, RawColumn, RecordColumn, TopicPartition, Value, ValueFormat, View,
    text::{put_repr, repr},
};

fn compile(source: &str, library: &str, arity: usize) -> Result<Function, Vec<LambdaError>> {
    let library = Library::parse(library)?;
    Function::compile(source, &library, arity..=arity)
}

/// The argument is what the expression `input` gives.
fn value(input: &str) -> Value {
    let function = compile(&format!("lambda: {input}"), "", 0).unwrap_or_else(|e| panic!("{input}: {e:?}"));
    Evaluator::default().call(&function, &[]).unwrap_or_else(|e| panic!("{input}: {e:?}"))
}

fn show(result: Result<Value, EvalError>) -> String {
    match result {
        Ok(value) => repr(&value),
        Err(error) => format!("{:?}: {}", error.kind, error.message),
    }
}

/// Lambda, argument, result (or kind and message of the error).
fn check(library: &str, cases: &[(&str, &str, &str)]) {
    for (lambda, input, expected) in cases {
        let function = compile(lambda, library, 1).unwrap_or_else(|e| panic!("{lambda}: {e:?}"));
        let argument = value(input);
        let shown = show(Evaluator::default().call(&function, std::slice::from_ref(&argument)));
        assert_eq!(&shown, expected, "{lambda} of {input}");
        let column = Column::Any(Arc::new(vec![argument]));
        for force_evaluator in [false, true] {
            let mut evaluator = Evaluator { force_evaluator, ..Evaluator::default() };
            let (mapped, poison) = evaluator.map(&function, &column);
            let shown = match poison.into_iter().next() {
                Some((_, error)) => show(Err(error)),
                None => show(element(&mapped, 0)),
            };
            assert_eq!(&shown, expected, "{lambda} of {input} in a column, evaluator: {force_evaluator}");
        }
    }
}

/// Found by fuzzing: Rust's own formats end at 65535 digits.
#[test]
fn a_float_is_written_with_any_number_of_digits() {
    check(
        "",
        &[
            ("lambda x: len('{:.70000f}'.format(x))", "2.5", "70002"),
            ("lambda x: '%.70000e' % x == '2.5' + '0' * 69999 + 'e+00'", "2.5", "True"),
            ("lambda x: '{:.70000g}'.format(x)", "2.5", "'2.5'"),
            ("lambda x: '{:.70000%}'.format(x)[:5]", "0.5", "'50.00'"),
            ("lambda x: '{:.1100f}'.format(x) == '{:.1074f}'.format(x) + '0' * 26", "5e-324", "True"),
        ],
    );
}

#[test]
fn classic_lambdas_paste() {
    check(
        "",
        &[
            ("lambda line: line.split(\" \")", "'a b  c'", "['a', 'b', '', 'c']"),
            ("lambda line: line.split(\",\")", "'a,b'", "['a', 'b']"),
            ("lambda word: (word, 1)", "'a'", "('a', 1)"),
            ("lambda x: x[1]", "(1, 2)", "2"),
            ("lambda x: x[-1][0]", "(1, 'ab')", "'a'"),
            ("lambda kv: (kv[1], kv[0])", "('a', 1)", "(1, 'a')"),
            ("lambda x: x % 2 == 0", "4", "True"),
            ("lambda s: s.upper() if s else None", "''", "None"),
            ("lambda s: len(s) > 2 and s.startswith('a')", "'abc'", "True"),
            ("lambda xs: [x * x for x in xs if x > 1]", "[1, 2, 3]", "[4, 9]"),
            ("lambda d: d['a']['b']", "{'a': {'b': 1}}", "1"),
            ("lambda s: json.loads(s)['n'] + 1", "'{\"n\": 41}'", "42"),
            ("lambda xs: sorted(xs, key=lambda x: x[1])", "[('a', 2), ('b', 1)]", "[('b', 1), ('a', 2)]"),
            ("lambda xs: {k: v for k, v in xs}", "[('a', 1)]", "{'a': 1}"),
            ("lambda x: f'{x}-{x + 1}'", "1", "'1-2'"),
            ("lambda x, y=2, *rest, **more: (x, y, rest, more)", "1", "(1, 2, (), {})"),
            ("lambda x: (lambda y, z=x: y + z)(1)", "5", "6"),
            ("lambda x: str.upper(x)", "'a'", "'A'"),
            ("lambda x: isinstance(x, (int, str)) and not isinstance(True, int)", "'a'", "True"),
            ("lambda xs: xs[1:][0] or 'no'", "[1, 0]", "'no'"),
            ("lambda x: 9223372036854775807 + x", "1", "9223372036854775808"),
        ],
    );
}

#[test]
fn defs_have_loops_closures_and_all_kinds_of_parameters() {
    let library = "
LIMIT = 3
TABLE = {'a': [1]}
square = lambda x: x * x

def count(words):
    'counts'
    counts = {}
    for word in words:
        if word == 'stop':
            break
        elif word == 'skip':
            continue
        counts[word] = counts.get(word, 0) + 1
    return counts

def group(pairs):
    groups = {}
    for k, v in pairs:
        groups.setdefault(k, []).append(v)
    return groups

def aliased(x):
    a = [x]
    b = a
    b.append(2)
    c = {'l': a}
    c['l'].append(3)
    a += [4]
    rows = [[], []]
    for row in rows:
        row.append(x)
    def add(to):
        to.append('added')
    add(rows[0])
    same = [[0]] * 2
    same[0].append(1)
    return (a, b, c, rows, same, a == b)

def chunks(xs):
    out = []
    cur = []
    for x in xs:
        cur.append(x)
        if len(cur) == 2:
            out.append(cur)
            cur = []
    return out + [cur]

def late(x):
    def get():
        return y
    y = x + 1
    fs = [lambda: i for i in range(3)]
    return (get(), [f() for f in fs])

def kinds(a, /, b, *, c=3, **d):
    return (a, b, c, d)

def call(x):
    return kinds(x, *[2], **{'e': 5})

def change_argument(state):
    state['n'] += 1
    return state

def frozen(x):
    TABLE['a'].append(x)

def during(xs):
    for x in xs:
        xs.append(x)

def no_return(x):
    pass

def unassigned(x):
    if x:
        y = 1
    return y

def itself(x):
    xs = [x]
    xs.append(xs)
    return xs

def deep(n):
    t = ()
    for i in range(n):
        t = (t,)
    return 0

def counted(x):
    n = 0
    for i in range(10):
        n += i
    return n
";
    check(
        library,
        &[
            ("count", "['a', 'b', 'skip', 'a', 'stop', 'c']", "{'a': 2, 'b': 1}"),
            ("group", "[('a', 1), ('b', 2), ('a', 3)]", "{'a': [1, 3], 'b': [2]}"),
            (
                "aliased",
                "1",
                "([1, 2, 3, 4], [1, 2, 3, 4], {'l': [1, 2, 3, 4]}, [[1, 'added'], [1]], [[0, 1], [0, 1]], True)",
            ),
            ("chunks", "[1, 2, 3, 4, 5]", "[[1, 2], [3, 4], [5]]"),
            ("late", "1", "(2, [2, 2, 2])"),
            ("call", "1", "(1, 2, 3, {'e': 5})"),
            ("change_argument", "{'n': 1}", "{'n': 2}"),
            ("square", "3", "9"),
            ("lambda x: square(x) + LIMIT", "3", "12"),
            ("no_return", "3", "None"),
            ("counted", "3", "45"),
            (
                "frozen",
                "1",
                "Type: this list is frozen, it belongs to [functions] or to another value: change a copy, list(x)",
            ),
            ("during", "[1]", "Value: list changed during iteration"),
            ("unassigned", "0", "Value: local variable referenced before assignment"),
            ("itself", "0", "Limit: lists, tuples and dicts are nested more than 544 deep"),
            ("deep", "1000000", "Limit: lists and tuples are nested too deep"),
            ("lambda x: (lambda f: f(x))(kinds)", "0", "Type: kinds() missing 1 required positional argument: 'b'"),
            ("lambda x: kinds(1, 2, f=3, b=x)", "0", "Type: kinds() got multiple values for argument 'b'"),
            (
                "lambda x: (lambda f: f(f))(lambda f: f(f))",
                "0",
                "Value: <lambda>() calls itself: there is no recursion",
            ),
            ("lambda x: x(1)", "0", "Type: 'int' object is not callable"),
            ("lambda x: [a for a, b in x]", "[1]", "Type: cannot unpack non-iterable int object"),
            ("lambda x: [a for a, b in x]", "[(1,)]", "Value: not enough values to unpack (expected 2, got 1)"),
            ("lambda x: [a for a, b in x]", "[(1, 2, 3)]", "Value: too many values to unpack (expected 2)"),
            ("lambda x: fail('no')", "0", "Failed: no"),
            ("lambda x: {x: 1}", "[]", "Type: unhashable type: 'list'"),
            ("lambda x: x.split()", "0", "Attribute: 'int' object has no attribute 'split'"),
            ("lambda x: lambda y: y", "0", "Type: a function cannot leave a lambda"),
            ("lambda x: range(3)", "0", "Type: a range cannot leave a lambda: write list(range(...))"),
            ("lambda x: [range(3)]", "0", "Type: a range cannot leave a lambda: write list(range(...))"),
            ("lambda x: list(range(3))", "0", "[0, 1, 2]"),
        ],
    );
}

/// One limit, for both ways to run: what a state is to hold may be written and read back.
#[test]
fn values_nest_only_as_deep_as_they_can_be_kept() {
    let nested = |depth: usize| (0..depth).fold(Value::Int(1), |inner, _| Value::list(vec![inner]));
    let deepest = crate::model::encode::MAX_VALUE_DEPTH;
    for (source, library, allowed) in [
        ("lambda x: x", "", deepest),
        ("lambda x: [x]", "", deepest - 1),
        ("lambda x: (x, 1)", "", deepest - 1),
        ("lambda x: {1: x}", "", deepest - 1),
        ("wrap", "def wrap(x):\n    out = []\n    out.append(x)\n    return out\n", deepest - 1),
    ] {
        let function = compile(source, &library.replace("\\n", "\n"), 1).unwrap();
        for (depth, fits) in [(allowed, true), (allowed + 1, false)] {
            let called = Evaluator::default().call(&function, &[nested(depth)]);
            assert_eq!(called.is_ok(), fits, "{source} at {depth}: {called:?}");
            let (mapped, poison) = Evaluator::default().map(&function, &Column::from_values(vec![nested(depth)]));
            assert_eq!((mapped.len(), poison.len()), if fits { (1, 0) } else { (0, 1) }, "{source} at {depth}");
            if let Err(error) = called {
                assert_eq!(error.message, "lists, tuples and dicts are nested more than 544 deep");
            }
        }
    }
}

#[test]
fn errors_point_at_the_innermost_expression() {
    let library = "def f(x):\n    return 1 // x\n";
    for (lambda, input, spanned, in_library) in [
        ("lambda x: (1 + 2, 10 // (x - 1))", "1", "10 // (x - 1", false),
        ("lambda x: [y[0] for y in x]", "[()]", "y[0]", false),
        ("  lambda x: f(x)", "0", "1 // x", true),
        ("lambda xs: sorted(xs, key=lambda x: x[1])", "[(1,)]", "x[1]", false),
        ("lambda x: f'{x} {x[2]}'", "(1,)", "x[2]", false),
    ] {
        let function = compile(lambda, library, 1).unwrap();
        let error = Evaluator::default().call(&function, &[value(input)]).unwrap_err();
        let text = if error.in_library { library } else { lambda };
        assert_eq!((&text[error.span], error.in_library), (spanned, in_library), "{lambda}");
    }
}

#[test]
fn nothing_runs_without_end_or_memory() {
    let limits = Limits { steps: 10_000, memory_bytes: 1 << 20, ..Limits::default() };
    let library = "
def spin(x):
    for a in range(1000000):
        for b in range(1000000):
            x += 1
    return x
def grow(x):
    s = 'ab'
    for i in range(100):
        s = s + s
    return s
def double(x):
    xs = [x]
    for i in range(60):
        xs = [xs, xs]
        xs.append(1)
    return xs
";
    for lambda in [
        "spin",
        "grow",
        "double",
        "lambda x: 'a' * 10000000000",
        "lambda x: [0] * 10000000000",
        "lambda x: [i for i in range(1000000000000)]",
        "lambda x: list(range(1000000000000))",
        "lambda x: [1 for a in [1] * 200 for b in [1] * 200]",
        "lambda x: len(str(pow(7, 100000)))",
        "lambda x: pow(7, 1000000)",
        "lambda x: pow(3, pow(7, 1000), pow(7, 1000) + 2)",
    ] {
        let function = compile(lambda, library, 1).unwrap();
        let error = Evaluator::new(limits).call(&function, &[Value::Int(1)]).unwrap_err();
        assert_eq!(error.kind, EvalErrorKind::Limit, "{lambda}: {}", error.message);
    }
}

#[test]
fn limits_are_counted_per_element() {
    let function = compile("lambda x: [i for i in range(x)]", "", 1).unwrap();
    let input = Column::from_values([90, 900, 90, 90].map(Value::Int).to_vec());
    let (column, poison) =
        Evaluator::new(Limits { steps: 300, memory_bytes: 1 << 20, ..Limits::default() }).map(&function, &input);
    assert_eq!((column.len(), poison.len(), poison[0].0), (3, 1, 1));
}

#[test]
fn deep_trees_fit_the_stack() {
    let deepest = [
        format!("lambda x: {}x{}", "(".repeat(95), ")".repeat(95)),
        format!("lambda x: {}x{}", "[".repeat(95), "]".repeat(95)),
        format!("lambda x: x{}", " + x".repeat(240)),
        format!("lambda x: {}x", "-".repeat(240)),
        format!("lambda x: {}x", "x if x else ".repeat(120)),
        format!("lambda x: {}x{}", "str(".repeat(95), ")".repeat(95)),
    ];
    for source in &deepest {
        let function = compile(source, "", 1).unwrap_or_else(|e| panic!("{source}: {e:?}"));
        let run = move || Evaluator::default().call(&function, &[Value::Int(1)]).map(|_| ());
        let result = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
        assert_eq!(result, Ok(()), "{source}");
    }
    let minus = "-".repeat(230);
    let library = format!("def a(x): return {minus}b(x)\ndef b(x): return {minus}c(x)\ndef c(x): return {minus}x\n");
    for (source, fits) in [("lambda x: b(x)".to_owned(), true), (format!("lambda x: {minus}a(x)"), false)] {
        let function = compile(&source, &library, 1).unwrap();
        let run = move || Evaluator::default().call(&function, &[Value::Int(1)]).is_ok();
        let result = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
        assert_eq!(result, fits, "{source}");
    }
    for open in ["(", "[", "{", "f(", "-", "not ", "lambda: ", "x if x else ", "x + ", "x."] {
        let source = format!("lambda x: {}", open.repeat(10_000));
        assert!(compile(&source, "", 1).is_err(), "{open}");
        assert!(Library::parse(&format!("def f(x):\n    return {}", open.repeat(10_000))).is_err(), "{open}");
    }
    let blocks: String = (1..10_000).map(|depth| format!("{}if x:\n", " ".repeat(depth % 1000))).collect();
    assert!(Library::parse(&format!("def f(x):\n{blocks}")).is_err());
    let elifs = "    elif x:\n        pass\n".repeat(10_000);
    assert!(Library::parse(&format!("def f(x):\n    if x:\n        pass\n{elifs}")).is_err());
}

/// Lambda, and each mistake's text, message and hint.
fn check_mistakes(lambda: &str, library: &str, arity: usize, expected: &[(&str, &str, &str)]) {
    let (source, errors) = match Library::parse(library) {
        Err(errors) => (library, errors),
        Ok(library) => (lambda, Function::compile(lambda, &library, arity..=arity).err().unwrap_or_default()),
    };
    let found: Vec<(&str, String, String)> =
        errors.into_iter().map(|e| (&source[e.span], e.message, e.hint.unwrap_or_default())).collect();
    let found: Vec<(&str, &str, &str)> = found.iter().map(|(a, b, c)| (*a, b.as_str(), c.as_str())).collect();
    assert_eq!(found, expected, "{lambda}");
}

#[test]
fn all_mistakes_of_a_lambda_are_found_at_once() {
    for (lambda, expected) in [
        (
            "lambda word: (wrod, lenn(word), word.spilt())",
            &[
                ("wrod", "unknown name `wrod`", "did you mean `word`?"),
                ("lenn", "unknown name `lenn`", "did you mean `len`?"),
                ("spilt", "no type has a method `spilt`", "did you mean `split`?"),
            ][..],
        ),
        (
            "lambda rdd: rdd.sortBy(len)",
            &[(
                "sortBy",
                "no type has a method `sortBy`",
                "a batch is a list here, no RDD; sort_by, take, distinct and the like are steps, `[[steps]]`",
            )][..],
        ),
        ("lambda x: len(x, 1)", &[("len(x, 1)", "`len` takes 1 argument, not 2", "")][..]),
        (
            r#"lambda x: re.sub("(a", "", re.escape("(")) + re.split("a(?=b)", x)[0]"#,
            &[
                (r#""(a""#, "pattern '(a' is not usable: unclosed group", ""),
                (
                    r#""a(?=b)""#,
                    "pattern 'a(?=b)' is not usable: look-around, including look-ahead and look-behind, is not supported",
                    "",
                ),
            ][..],
        ),
        ("lambda x: (x > 1) + 1", &[("x > 1", "bool is no number", "write `int(x)`, or `1 if x else 0`")][..]),
        (
            "lambda xs: sum([x > 1 for x in xs])",
            &[("[x > 1 for x in xs]", "bool is no number", "write `len([x for x in xs if condition])`")][..],
        ),
        (
            "lambda x: [c for c in x.upper() + 'a']",
            &[(
                "x.upper() + 'a'",
                "'str' object is not iterable",
                "write `x.elems()` for its characters, or `x.split()` for its words",
            )][..],
        ),
        (
            "lambda x: type(x) == str",
            &[("str", "type(x) gives the name of the type", "write `isinstance(x, str)`, or `type(x) == \"str\"`")][..],
        ),
        ("lambda x: json.lods(x)", &[("lods", "`json` has no `lods`", "did you mean `loads`?")][..]),
        (
            "lambda x: x, 1",
            &[(
                "lambda x: x, 1",
                "expected a lambda or the name of a function",
                "put a tuple that a lambda gives in parentheses: `lambda x: (x, 1)`",
            )][..],
        ),
        (
            "lambda k, v: k",
            &[(
                "lambda k, v: k",
                "the function takes 2 arguments, kstream passes 1",
                "a pair is one argument: write `lambda kv: ...` with kv[0] and kv[1]",
            )][..],
        ),
        ("lne", &[("lne", "unknown function `lne`", "did you mean `len`?")][..]),
        (
            "lambda x: sum(y ** 2 for y in x)",
            &[
                ("(y ** 2 for y in x)", "generator expressions are not known", "write `sum([y ** 2 for y in x])`"),
                ("**", "`**` is not known", "write `pow(y, 2)`"),
            ][..],
        ),
        ("", &[("", "expected a lambda or the name of a function", "")][..]),
    ] {
        check_mistakes(lambda, "", 1, expected);
    }
}

#[test]
fn all_mistakes_of_functions_are_found_at_once() {
    for (library, expected) in [
        (
            "def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\n",
            &[
                ("g(x)", "`f` and `g` call each other", compile::RECURSION),
                ("f(x)", "`g` and `f` call each other", compile::RECURSION),
            ][..],
        ),
        (
            "def f(x):\n    def g(y):\n        return g(y)\n    return g(x)\n",
            &[("g(y)", "`g` calls itself", compile::RECURSION)][..],
        ),
        (
            "A = 1\nA = 2\nfor x in []:\n    pass\nload('a', 'b')\ndef f(x): return y\nprint(1)\n",
            &[
                ("A", "`A` is defined twice", ""),
                ("for x in []:\n    pass", "only def and NAME = ... stand here", "put the statement into a def"),
                ("load('a', 'b')", "`load` is not known", "all functions stand in [functions]"),
                ("y", "unknown name `y`", ""),
                ("print(1)", "the expression has no effect", "define a name: NAME = ..."),
            ][..],
        ),
        (
            "A = [][0]\n",
            &[("[][0]", "list index out of range", "constants and defaults are computed when the job is read")][..],
        ),
        ("def f(a, b): return a\ndef g(x): return f(x)\n", &[("f(x)", "`f` takes 2 arguments, not 1", "")][..]),
        (
            "def f(x):\n    while x:\n        x.y = 1\n",
            &[(
                "while",
                "`while` is not known",
                "write a for loop over a range that is long enough, and leave it with break",
            )][..],
        ),
    ] {
        check_mistakes("", library, 1, expected);
    }
}

#[test]
fn functions_tell_how_many_arguments_they_take() {
    let library = Library::parse("def f(a, b=1): return a\n").unwrap();
    for (source, arity, expected) in [
        ("f", 1..=2, Some(2)),
        ("f", 1..=1, Some(1)),
        ("lambda *xs: xs", 1..=3, Some(3)),
        ("lambda a: a", 1..=2, Some(1)),
        ("max", 2..=2, Some(2)),
        ("json.loads", 1..=2, Some(1)),
        ("str.upper", 1..=1, Some(1)),
        ("lambda: 1", 1..=1, None),
        ("lambda a, *, b: 1", 1..=1, None),
        ("len", 2..=2, None),
    ] {
        let found = Function::compile(source, &library, arity).ok().map(|function| function.arity());
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn folds_are_recognised_by_shape() {
    let library = Library::parse("def add(x, y):\n    return x + y\n").unwrap();
    for (source, expected) in [
        ("lambda a, b: a + b", Reducer::Add),
        ("lambda total, n: total + n", Reducer::Add),
        ("add", Reducer::Add),
        ("lambda a, b: add(a, b)", Reducer::Add),
        ("lambda a, b: b + a", Reducer::Other),
        ("lambda a, b: a + a", Reducer::Other),
        ("min", Reducer::Min),
        ("lambda a, b: max(a, b)", Reducer::Max),
        ("lambda a, b: b if b < a else a", Reducer::Min),
        ("lambda a, b: a * b", Reducer::Multiply),
        ("lambda a, b: b if a > b else a", Reducer::Min),
        ("lambda a, b: b if b > a else a", Reducer::Max),
        ("lambda a, b: b if a < b else a", Reducer::Max),
        ("lambda a, b: a if a < b else b", Reducer::MinOfInts),
        ("lambda a, b: a if a <= b else b", Reducer::MinOfInts),
        ("lambda a, b: a if b > a else b", Reducer::MinOfInts),
        ("lambda a, b: a if b >= a else b", Reducer::MinOfInts),
        ("lambda a, b: b if b <= a else a", Reducer::MinOfInts),
        ("lambda a, b: b if a >= b else a", Reducer::MinOfInts),
        ("lambda a, b: a if a > b else b", Reducer::MaxOfInts),
        ("lambda a, b: a if a >= b else b", Reducer::MaxOfInts),
        ("lambda a, b: a if b < a else b", Reducer::MaxOfInts),
        ("lambda a, b: a if b <= a else b", Reducer::MaxOfInts),
        ("lambda a, b: b if b >= a else a", Reducer::MaxOfInts),
        ("lambda a, b: b if a <= b else a", Reducer::MaxOfInts),
        ("lambda a, b: a if a < a else b", Reducer::Other),
        ("lambda a, b: a if a == b else b", Reducer::Other),
        ("lambda a, b: a", Reducer::First),
        ("lambda a, b: b", Reducer::Last),
        ("lambda a, b: (a[0] + b[0], 1)", Reducer::Other),
    ] {
        assert_eq!(Function::compile(source, &library, 2..=2).unwrap().reducer(), expected, "{source}");
    }
}

/// Key and value of a record.
type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Records with these keys and values, offsets from 10.
pub(super) fn records(pairs: &[Pair<'_>], format: ValueFormat) -> Column {
    fn raw(parts: Vec<Option<&[u8]>>) -> RawColumn {
        let mut buffer = Vec::new();
        let views = parts.into_iter().map(|part| match part {
            None => View::NULL,
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                View { offset: (buffer.len() - bytes.len()) as u32, len: bytes.len() as u32 }
            }
        });
        let views = views.collect();
        RawColumn { buffer: Bytes::from(buffer), views }
    }
    Column::Record(Arc::new(RecordColumn {
        tp: TopicPartition::new("words", 3),
        key_format: format,
        value_format: format,
        offsets: (10..10 + pairs.len() as i64).collect(),
        timestamps: vec![-1; pairs.len()],
        keys: raw(pairs.iter().map(|pair| pair.0).collect()),
        values: raw(pairs.iter().map(|pair| pair.1).collect()),
        headers: Vec::new(),
    }))
}

fn repr_all(column: &Column) -> String {
    let mut out = String::new();
    for idx in 0..column.len() {
        match element(column, idx) {
            Ok(value) => put_repr(&mut out, &value),
            Err(error) => out.push_str(&error.message),
        }
        out.push(' ');
    }
    out.trim_end().to_owned()
}

#[test]
fn only_what_a_function_uses_of_a_record_is_decoded() {
    let bad: Option<&[u8]> = Some(b"abc\xff");
    let (a, b): (Option<&[u8]>, Option<&[u8]>) = (Some(b"a"), Some(b"b"));
    let input = records(&[(bad, a), (a, b), (None, bad), (a, None)], ValueFormat::Utf8);
    for (lambda, expected, poisoned) in [
        ("lambda r: r.value", "'a' 'b' None", "2 value is not valid UTF-8 at byte 3 at r.value"),
        ("lambda r: r[1]", "'a' 'b' None", "2 value is not valid UTF-8 at byte 3 at r[1]"),
        ("lambda r: r.key", "'a' None 'a'", "0 key is not valid UTF-8 at byte 3 at r.key"),
        ("lambda r: (r.offset, r.partition)", "(10, 3) (11, 3) (12, 3) (13, 3)", ""),
        ("lambda r: r[0] if r.offset > 100 else 1", "1 1 1", "0 key is not valid UTF-8 at byte 3 at r[0]"),
    ] {
        for force_evaluator in [false, true] {
            let function = compile(lambda, "", 1).unwrap();
            let mut evaluator = Evaluator { force_evaluator, ..Evaluator::default() };
            let (column, poison) = evaluator.map(&function, &input);
            assert_eq!(repr_all(&column), expected, "{lambda}");
            let poison = poison.first().map_or(String::new(), |(idx, error)| {
                assert_eq!(error.kind, EvalErrorKind::Decode);
                format!("{idx} {} at {}", error.message, &lambda[error.span.clone()])
            });
            assert_eq!(poison, poisoned, "{lambda}");
        }
    }
}

#[test]
fn json_and_bytes_records_are_decoded_by_format() {
    let input = records(&[(None, Some(b"{\"a\": [1]}")), (None, Some(b"{"))], ValueFormat::Json);
    let function = compile("lambda r: r.value['a']", "", 1).unwrap();
    let (column, poison) = Evaluator::default().map(&function, &input);
    assert_eq!(repr_all(&column), "[1]");
    assert!(poison[0].1.message.starts_with("value is not JSON: "), "{poison:?}");
    let input = records(&[(None, Some(b"\xff"))], ValueFormat::Bytes);
    let (column, poison) = Evaluator::default().map(&compile("lambda r: r.value", "", 1).unwrap(), &input);
    assert!(poison.is_empty() && matches!(element(&column, 0), Ok(Value::Bytes(_))));
}

#[test]
fn flat_map_flattens_lists_tuples_ranges_and_dicts() {
    let input = Column::from_values(vec![Value::str("a b"), Value::str(""), Value::str("c")]);
    for (lambda, expected, counts, poisoned) in [
        ("lambda x: x.split()", "'a' 'b' 'c'", &[2, 0, 1][..], ""),
        ("lambda x: (x, 1)", "'a b' 1 '' 1 'c' 1", &[2, 2, 2][..], ""),
        ("lambda x: range(len(x))", "0 1 2 0", &[3, 0, 1][..], ""),
        ("lambda x: {x: 1}", "'a b' '' 'c'", &[1, 1, 1][..], ""),
        ("lambda x: [(w, 1) for w in x.split()]", "('a', 1) ('b', 1) ('c', 1)", &[2, 0, 1][..], ""),
        ("lambda x: [x[0]]", "'a' 'c'", &[1, 0, 1][..], "string index out of range"),
        (
            "lambda x: x",
            "",
            &[0, 0, 0][..],
            "the function must give a list, tuple, range or dict to flatten, not a str: write x.split(\" \") for its words, or [x]",
        ),
    ] {
        for force_evaluator in [false, true] {
            let function = compile(lambda, "", 1).unwrap();
            let mut evaluator = Evaluator { force_evaluator, ..Evaluator::default() };
            let (column, found, poison) = evaluator.flat_map(&function, &input);
            assert_eq!((repr_all(&column).as_str(), found.as_slice()), (expected, counts), "{lambda}");
            let message = poison.first().map_or("", |(_, error)| error.message.as_str());
            assert_eq!(message, poisoned, "{lambda}");
        }
    }
}

#[test]
fn filter_keeps_what_is_true_in_pythons_sense() {
    let input = Column::from_values(vec![Value::str("a"), Value::str(""), Value::str("b")]);
    for (lambda, expected) in [
        ("lambda x: x", &[0, 2][..]),
        ("lambda x: not x", &[1][..]),
        ("lambda x: x in ('a', '')", &[0, 1][..]),
        ("lambda x: None", &[][..]),
    ] {
        for force_evaluator in [false, true] {
            let mut evaluator = Evaluator { force_evaluator, ..Evaluator::default() };
            let (kept, poison) = evaluator.filter(&compile(lambda, "", 1).unwrap(), &input);
            assert_eq!((kept.as_slice(), poison.len()), (expected, 0), "{lambda}");
        }
    }
}

#[test]
fn native_says_why_not() {
    let library = "def two(x):\n    y = x\n    return y\ndef one(x): return x + 1\n";
    for (lambda, expected) in [
        ("lambda x: x.split(' ')", Ok(())),
        ("lambda x: one(x)", Ok(())),
        ("one", Ok(())),
        ("len", Ok(())),
        ("two", Err("is more than one expression")),
        ("lambda x: two(x)", Err("calls two, which is more than one expression")),
        ("lambda xs: sorted(xs, key=lambda x: x[1])", Err("makes a function")),
        ("lambda xs: map(len, xs)", Err("calls map")),
    ] {
        let found = compile(lambda, library, 1).unwrap().native();
        assert_eq!(found, expected.map_err(str::to_owned), "{lambda}");
    }
}

#[test]
fn a_chunk_whose_results_take_too_much_is_given_up_behind_the_first_that_did() {
    let function = compile("lambda x: [x * 100]", "", 1).unwrap();
    let input = Column::from_values((0..8).map(|_| Value::str("0123456789")).collect());
    let mut evaluator =
        Evaluator { force_evaluator: true, chunk_bytes: Some(3000), ..Evaluator::new(Limits::default()) };
    assert_eq!(evaluator.flat_map(&function, &input).0.len(), 3);
    assert!(evaluator.take_overflow().is_some_and(|bytes| bytes > 3000));
    evaluator.flat_map(&function, &input.slice(0..2));
    assert_eq!(evaluator.take_overflow(), None);
}

/// A kernel that made its whole column first would hold 40 MB here.
#[test]
fn a_kernel_leaves_a_column_that_grows_too_large_to_the_evaluator() {
    let lines: Vec<Value> = (0..2_000).map(|nth| Value::str(format!("{nth}"))).collect();
    let input = Column::from_values(lines);
    for text in ["x * 20000", "x.replace(x, 'y' * 20000)", "'-'.join([x, 'y' * 20000])", "x + 'y' * 20000"] {
        let function = compile(&format!("lambda x: {text}"), "", 1).unwrap();
        let mut evaluator = Evaluator::new(Limits { column_bytes: 1 << 20, ..Limits::default() });
        evaluator.chunk_bytes = Some(1 << 19);
        let (column, _) = evaluator.map(&function, &input);
        let bytes = evaluator.take_overflow().unwrap_or_else(|| panic!("{text}"));
        assert!(bytes < 1 << 20 && column.len() < 60, "{text}: {bytes} bytes, {} elements", column.len());
    }
}

#[test]
fn what_the_host_cannot_give_is_told_from_what_no_element_may_take() {
    let check = |host_bytes: u64, kind: EvalErrorKind| {
        let function = compile("lambda x: x * 1000000", "", 1).unwrap();
        let limits = Limits { memory_bytes: 1 << 20, host_bytes, ..Limits::default() };
        let error = Evaluator::new(limits).call(&function, &[Value::str("0123456789")]).unwrap_err();
        assert_eq!(error.kind, kind, "{}", error.message);
    };
    check(u64::MAX, EvalErrorKind::Limit);
    check(1 << 10, EvalErrorKind::Limit);
    let function = compile("lambda x: x * 50", "", 1).unwrap();
    let limits = Limits { host_bytes: 100, ..Limits::default() };
    let error = Evaluator::new(limits).call(&function, &[Value::str("0123456789")]).unwrap_err();
    assert_eq!(error.kind, EvalErrorKind::Host, "{}", error.message);
}

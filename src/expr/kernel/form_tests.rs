//! The forms that users write, each with an example that runs as kernels and gives what the evaluator gives.

use crate::{
    expr::{Evaluator, Function, Library, element, tests::records},
    model::{Column, Value, ValueFormat},
};

const LIBRARY: &str = "
STOP = ['a', 'the']
def clean(word): return word.strip().lower()
def key(word):
    return (clean(word), 1)
";

fn texts() -> Column {
    Column::from_values(["a b c", " The, cat ", "", "12", "ä b"].map(Value::str).to_vec())
}

fn words() -> Column {
    Column::from_values(["12", "7", "0", "345"].map(Value::str).to_vec())
}

fn pairs() -> Column {
    let pair = |(word, count): (&str, i64)| Value::pair(Value::str(word), Value::Int(count));
    Column::from_values([("a", 2), ("", 0), ("the", -7), ("b", 1 << 40)].map(pair).to_vec())
}

fn floats() -> Column {
    Column::from_values([0.5, -2.0, 1e300].map(Value::Float).to_vec())
}

fn lists() -> Column {
    let list = |ints: &[i64]| Value::list(ints.iter().map(|int| Value::Int(*int)).collect());
    Column::from_values(vec![list(&[3, 1, 2]), list(&[5]), list(&[0, 0])])
}

fn kafka() -> Column {
    records(&[(Some(b"k"), Some(b"a b")), (None, Some(b"c"))], ValueFormat::Utf8)
}

fn json() -> Column {
    let documents = [r#"{"user": {"name": "a", "age": 7}, "tags": ["x"], "ok": true}"#; 2];
    Column::from_values(documents.map(Value::str).to_vec())
}

/// Every source runs as kernels on the column, with the evaluator's results.
fn check(form: &str, input: &Column, sources: &[&str]) {
    let library = Library::parse(LIBRARY).unwrap();
    for source in sources {
        let function = Function::compile(&format!("lambda x: {source}"), &library, 1..=1).unwrap();
        assert_eq!(function.native(), Ok(()), "{form}: {source}");
        let inner = &function.inner;
        let native = super::run(&inner.code, inner.record, &inner.shared, input, Default::default());
        let native = native.unwrap_or_else(|| panic!("{form}: {source} gives up"));
        let mut evaluator = Evaluator { force_evaluator: true, ..Evaluator::default() };
        let (evaluated, poison) = evaluator.map(&function, input);
        assert!(poison.is_empty(), "{form}: {source}: {poison:?}");
        let shown =
            |column: &Column| (0..column.len()).map(|idx| format!("{:?}", element(column, idx))).collect::<Vec<_>>();
        assert_eq!(shown(&native), shown(&evaluated), "{form}: {source}");
    }
}

#[test]
fn text_forms_are_native() {
    check("split", &texts(), &["x.split(' ')", "x.split(', ')", "x.split()", "x.split(None)", "x.split(' ', 1)"]);
    check("split from the end", &texts(), &["x.rsplit(' ', 1)", "x.splitlines()", "x.partition(' ')", "x.elems()"]);
    check(
        "strip",
        &texts(),
        &["x.strip()", "x.lstrip()", "x.rstrip()", "x.strip(' a,')", "x.lstrip('a')", "x.rstrip('b')"],
    );
    check("case", &texts(), &["x.lower()", "x.upper()", "x.title()", "x.capitalize()"]);
    check("replace", &texts(), &["x.replace('a', 'b')", "x.replace(' ', '')", "x.replace('a', 'b', 1)"]);
    check("search", &texts(), &["x.startswith('a')", "x.endswith('b')", "x.find('b')", "'b' in x", "x not in 'a b c'"]);
    check("search more", &texts(), &["x.rfind('b')", "x.count('b')", "x.isdigit()", "x.startswith(('a', 'b'))"]);
    check("len", &texts(), &["len(x)", "len(x.split(' '))", "len(x) > 3"]);
    check("slices", &texts(), &["x[:2]", "x[1:]", "x[-2:]", "x[::2]", "x[1:3].upper()", "x[len(x) // 2:]"]);
    check("index", &words(), &["x[0]", "x[-1]"]);
    check("join", &texts(), &["'-'.join(x.split(' '))", "x + '!'", "x * 2", "'<' + x + '>'"]);
    check("int, float, str", &words(), &["int(x)", "float(x)", "str(int(x) + 1)", "int(x, 10)", "bool(x)", "repr(x)"]);
}

#[test]
fn format_forms_are_native() {
    check("%", &pairs(), &["'%s=%d' % (x[0], x[1])", "'%s' % x[0]", "'%5.1f%%' % x[1]", "'%r' % x[0]"]);
    check(
        "format",
        &pairs(),
        &["'{}={}'.format(x[0], x[1])", "'{1:>8}{0}'.format(x[0], x[1])", "'{n}'.format(n = x[1])"],
    );
    check("f-string", &pairs(), &["f'{x[0]}={x[1]}'", "f'{x[1]:>8}'", "f'{x[0]!r}'"]);
}

#[test]
fn number_forms_are_native() {
    let arithmetic = ["x[1] + 1", "x[1] - x[1]", "x[1] * 3", "x[1] // 2", "x[1] % 5", "-x[1]", "x[1] / 2", "+x[1]"];
    check("arithmetic", &pairs(), &arithmetic);
    check("bits", &pairs(), &["x[1] & 3", "x[1] | 1", "x[1] ^ 5", "x[1] << 2", "x[1] >> 1", "~x[1]"]);
    check("beyond 64 bits", &pairs(), &["x[1] * x[1] * x[1]", "x[1] + 9223372036854775807 + 1"]);
    check("floats", &floats(), &["x * 2", "x + 1", "x / 4.0", "x > 0", "-x", "int(x / 1e290)", "abs(x)", "str(x)"]);
    check("compare", &pairs(), &["x[1] > 1", "x[1] == 2", "x[0] < 'b'", "x[0] != ''", "0 <= x[1] and x[1] < 9"]);
    check(
        "min, max, sum",
        &lists(),
        &["min(x)", "max(x)", "sum(x)", "min(x[0], 2)", "max(1, x[-1], 3)", "sum(x) / len(x)"],
    );
    check("hash", &pairs(), &["hash(x[0])", "abs(x[1])", "hash(x[0]) % 16"]);
}

#[test]
fn logic_forms_are_native() {
    check("and, or, not", &pairs(), &["x[0] and x[1]", "x[0] or 'none'", "not x[1]", "x[1] > 0 and not x[0]"]);
    check("short circuit", &pairs(), &["x[1] != 0 and 10 // x[1] > 1", "x[0] == '' or x[0][0] == 'a'"]);
    check(
        "condition",
        &pairs(),
        &["'big' if x[1] > 9 else 'small'", "x[1] if x[0] else None", "10 // x[1] if x[1] else 0"],
    );
    check("in", &pairs(), &["x[0] in ['a', 'b']", "x[0] in STOP", "x[0] not in ('a', 'the')", "x[0] in {'a': 1}"]);
}

#[test]
fn data_forms_are_native() {
    check("tuples", &pairs(), &["(x[1], x[0])", "(x[0], (x[1], 1))", "x[0:1]", "x[-1]", "(x, 1)", "len(x)"]);
    check(
        "lists",
        &lists(),
        &["x[0]", "x[-1]", "x[1:]", "len(x)", "sorted(x)", "[x[0], 1]", "x + [1]", "list(x)", "1 in x"],
    );
    check("comprehension", &texts(), &["[w for w in x.split(' ')]", "[(w, 1) for w in x.split(' ') if w]"]);
    check("conditions", &texts(), &["[w.lower() for w in x.split() if len(w) > 1 if w not in STOP]"]);
    check("unpacking", &pairs(), &["[a + 1 for a, b in [(x[1], 2)]]", "{'word': x[0], 'n': x[1]}", "{'n': x[1]}['n']"]);
    check("[functions]", &texts(), &["clean(x)", "key(x)", "[key(w) for w in x.split(' ')]", "clean(x) in STOP"]);
}

#[test]
fn record_forms_are_native() {
    let fields =
        ["x.value", "x.key", "x[1]", "x[0]", "x.offset", "x.partition", "x.topic", "x.timestamp", "(x.key, x.value)"];
    check("fields", &kafka(), &fields);
    check("of fields", &kafka(), &["x.value.split(' ')", "(x.value, 1)", "x.key or 'none'", "len(x.value) > 1"]);
}

#[test]
fn json_forms_are_native() {
    check("loads", &json(), &["json.loads(x)", "json.loads(x)['user']", "json.loads(x)['user']['age'] + 1"]);
    check("get", &json(), &["json.loads(x).get('user')", "json.loads(x).get('no')", "json.loads(x).get('no', 3)"]);
    check("in", &json(), &["'user' in json.loads(x)", "'x' in json.loads(x)['tags']", "json.loads(x)['ok'] == True"]);
    check("pairs", &json(), &["(json.loads(x)['user']['name'], 1)", "len(json.loads(x))", "json.dumps([x, 1])"]);
}

#[test]
fn folds_are_recognised() {
    let check = |source: &str, expected: crate::expr::Reducer| {
        let function = Function::compile(source, &Library::default(), 2..=2).unwrap();
        assert_eq!(function.reducer(), expected, "{source}");
    };
    check("lambda a, b: a + b", crate::expr::Reducer::Add);
    check("lambda x, y: x + y", crate::expr::Reducer::Add);
    check("lambda a, b: min(a, b)", crate::expr::Reducer::Min);
    check("lambda a, b: max(a, b)", crate::expr::Reducer::Max);
    check("max", crate::expr::Reducer::Max);
    check("lambda a, b: b if b > a else a", crate::expr::Reducer::Max);
    check("lambda a, b: a", crate::expr::Reducer::First);
    check("lambda a, b: b", crate::expr::Reducer::Last);
    check("lambda a, b: a - b", crate::expr::Reducer::Other);
}

//! What is fuzzed: plain functions of bytes. Each must return; an error of the code under test is a fine result, a panic,
//! an endless loop or unbounded memory is a finding. Some also check what they got.

use std::{cell::RefCell, fs, path::Path, path::PathBuf};

use kstream::{
    checkpoint,
    expr::{Evaluator, Function, Library, Limits, primitive},
    job,
    model::{Column, Value},
    protocol::{CommitRecord, Expected, PlanRecord, Position, decide},
    source::kafka::native::decode,
};

use super::{
    mutate::{Dice, mutate},
    record_sets::{record_sets, seal_batches},
};

pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub corpus: fn() -> Vec<Vec<u8>>,
    pub dictionary: &'static [&'static str],
    /// What makes a mutated input pass the outermost check again, e.g. its checksum.
    pub seal: fn(&mut Vec<u8>),
}

pub const TARGETS: &[Target] = &[
    Target { name: "job", run: job_file, corpus: job_files, dictionary: JOB_WORDS, seal: |_| {} },
    Target { name: "lambda", run: lambda, corpus: lambdas, dictionary: LAMBDA_WORDS, seal: |_| {} },
    Target { name: "facts", run: facts, corpus: fact_rows, dictionary: FACT_WORDS, seal: |_| {} },
    Target { name: "database", run: database, corpus: databases, dictionary: FACT_WORDS, seal: |_| {} },
    Target { name: "records", run: records, corpus: record_sets, dictionary: &[], seal: |bytes| seal_batches(bytes) },
    Target { name: "json", run: json, corpus: jsons, dictionary: JSON_WORDS, seal: |_| {} },
];

/// The next input of a target.
pub fn next_input(target: &Target, dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let base = dice.pick(corpus).cloned().unwrap_or_default();
    let mut input = mutate(dice, &base, corpus, target.dictionary);
    if dice.below(4) > 0 {
        (target.seal)(&mut input);
    }
    input
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &str, extension: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(root().join(dir)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

thread_local! {
    /// A directory of this thread, in memory where that is possible.
    static SCRATCH: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fn scratch(name: &str) -> PathBuf {
    SCRATCH.with_borrow_mut(|scratch| {
        let made = scratch.get_or_insert_with(|| {
            let shm = Path::new("/dev/shm");
            if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("temporary directory")
        });
        made.path().join(name)
    })
}

// A job file

const JOB_WORDS: &[&str] = &[
    "[source]",
    "[[steps]]",
    "[sources.a]",
    "kind = \"queue\"\n",
    "kind = \"kafka\"\n",
    "topics = [",
    "map = ",
    "pprint",
    "reduce_by_key",
    "window = {",
    "length = \"",
    "slide",
    "${HOME}",
    "${A:-",
    "}",
    "= {",
    "\"\"\"",
    "'''",
    "_",
    "\u{feff}",
    "0s",
    "-10m",
    "1970-01-01T00:00:00Z",
    "\u{0}",
    "é",
    "on_error",
    "\"skip\"",
    "functions",
    "def f(x):\n  return x\n",
];

fn job_files() -> Vec<Vec<u8>> {
    ["jobs", "tests/job"].iter().flat_map(|dir| files(dir, "toml")).collect()
}

fn job_file(input: &[u8]) {
    let path = scratch("job.toml");
    fs::write(&path, input).expect("write");
    let environment = |name: &str| (name == "HOME").then(|| "/home/fuzz".to_owned());
    if let Err(error) = job::load(&path, &job::Overrides::default(), &environment) {
        assert!(error.render(job::Colour::Plain).contains("error"), "a mistake is shown as one");
    }
}

// A lambda

const LAMBDA_WORDS: &[&str] = &[
    "lambda x: ",
    "lambda a, b: ",
    "x",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ":",
    ",",
    " for y in ",
    " if ",
    " else ",
    "not ",
    " and ",
    " in ",
    "range(",
    "sorted(",
    "str(",
    "int(",
    "len(",
    ".split(",
    ".join(",
    ".format(",
    "%",
    "**",
    "//",
    "<<",
    "* 1000000000",
    "\"{}\"",
    "\"%d\" % ",
    "f\"{x}\"",
    "[::-1]",
    "[-1]",
    "json.decode(",
    "json.encode(",
    "re.match(",
    "math.sqrt(",
    "None",
    "True",
    "-",
    "~",
    "\\u0000",
    "\"é\"",
    "*[1]",
    "**{}",
    "list(range(1000000))",
    "x * 100000",
];

fn lambdas() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for file in job_files() {
        let text = String::from_utf8_lossy(&file).into_owned();
        for (at, _) in text.match_indices("lambda") {
            let rest = &text[at..];
            let end = rest.find(['"', '\n']).unwrap_or(rest.len());
            let end = if text[..at].ends_with('\'') { rest.find('\'').unwrap_or(end) } else { end };
            found.push(rest.as_bytes()[..end].to_vec());
        }
    }
    let more = [
        "lambda x: [y * 2 for y in range(x) if y % 3 == 0]",
        "lambda x: {str(k): v for k, v in [(1, x), (2, None)]}",
        "lambda x: \"{0:>10}|{1!r:<5}|{2:.3f}\".format(x, [1], 2.5)",
        "lambda x: \"%s %05d %x %r\" % (x, 42, 255, \"a\")",
        "lambda x: json.decode(json.encode({\"a\": [1, 2.5, None, True]}))[\"a\"]",
        "lambda x: sorted([3, 1, 2], key = lambda y: -y, reverse = True)[:2]",
        "lambda x: re.findall(\"(a+)(b*)\", str(x))",
        "lambda x: x.value.split(\" \")[0].upper().strip(\"abc\").replace(\"A\", \"b\")",
        "lambda x: max([len(str(x)), 3]) ** 2 // 7 << 3 & 0xff | ~1",
        "lambda x: b\"abc\"[1] if x else (1, 2)[0]",
    ];
    found.extend(more.iter().map(|text| text.as_bytes().to_vec()));
    found.sort();
    found.dedup();
    found
}

/// Compiles, and calls with one value of each kind: element by element and as a column, which must agree.
fn lambda(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else { return };
    let Ok(library) = Library::parse("") else { return };
    let function = match Function::compile(source, &library, 1..=1) {
        Ok(function) => function,
        Err(errors) => {
            for error in errors {
                assert!(source.get(error.span.clone()).is_some(), "{:?} lies within the source", error.span);
            }
            return;
        }
    };
    let limits = Limits { steps: 100_000, memory_bytes: 16 << 20, ..Limits::default() };
    let columns = [
        vec![Value::Str("the cat's 7 lives\n".into()), Value::Str("".into()), Value::Str("é\u{1F600}{}%s".into())],
        vec![Value::Int(0), Value::Int(-3), Value::Int(i64::MAX)],
        vec![
            Value::Tuple([Value::Str("a".into()), Value::Int(1)].into()),
            Value::Tuple([Value::None, Value::Int(2)].into()),
        ],
        vec![Value::Float(-0.0), Value::Float(f64::NAN), Value::Float(1e300)],
        vec![Value::None, Value::Bool(true), Value::List(vec![Value::Int(1), Value::Str("x".into())].into())],
    ];
    for values in columns {
        let column = Column::from_values(values.clone());
        let mut slow = Evaluator::new(limits);
        slow.force_evaluator = true;
        let (fast, fast_poison) = Evaluator::new(limits).map(&function, &column);
        let (plain, plain_poison) = slow.map(&function, &column);
        let shown = |column: &Column| -> Vec<String> {
            (0..column.len())
                .filter_map(|idx| column.get(idx))
                .map(|value| kstream::model::text::repr(&value))
                .collect()
        };
        let poisoned =
            |poison: &[(u32, kstream::expr::EvalError)]| poison.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(poisoned(&fast_poison), poisoned(&plain_poison), "kernel and evaluator fail on the same elements");
        assert_eq!(shown(&fast), shown(&plain), "kernel and evaluator give the same");
    }
}

// A checkpoint

const FACT_WORDS: &[&str] = &[
    "\"batch\":",
    "\"ranges\":[",
    "\"lost\":[",
    "\"start\":",
    "\"until\":",
    "null",
    "{}",
    "[]",
    "true",
    "\"topic\":",
    "-1",
    "\"timeline\":",
    "\"run_epoch\":",
    "\"retention\"",
    "\"recreated\"",
    "\"deleted\"",
    "\"resumes_at\":",
    "\"facts\":",
];

const FIXTURE: &str = "tests/data/checkpoint-v1/outputs/checkpoint";

fn copy_fixture(to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(root().join(FIXTURE)).expect("fixture").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

/// The bodies of every fact in the fixture, each behind the name of its table and its key.
fn fact_rows() -> Vec<Vec<u8>> {
    let dir = scratch("rows");
    copy_fixture(&dir);
    let conn = rusqlite::Connection::open(dir.join("checkpoint.db")).expect("database");
    let mut rows = Vec::new();
    for (table, key) in [("meta", "key"), ("plans", "batch"), ("commits", "batch"), ("sinks", "name")] {
        let sql = format!("SELECT CAST({key} AS TEXT), body FROM {table}");
        let mut statement = conn.prepare(&sql).expect("rows");
        let found = statement.query_map([], |row| {
            let body = match row.get_ref(1)? {
                rusqlite::types::ValueRef::Text(body) | rusqlite::types::ValueRef::Blob(body) => body.to_vec(),
                _ => Vec::new(),
            };
            Ok((row.get::<_, String>(0)?, body))
        });
        for (key, body) in found.expect("rows").flatten() {
            rows.push([format!("{table}\n{key}\n").as_bytes(), &body].concat());
        }
    }
    assert!(rows.len() > 10, "{} rows", rows.len());
    rows
}

/// The checksum that the checkpoint keeps beside a row: CRC-32C of table, key and body.
fn crc_of(table: &str, key: &str, body: &[u8]) -> u32 {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let key = match table {
        "plans" | "commits" => key.parse::<i64>().unwrap_or(0).to_le_bytes().to_vec(),
        _ => text(key),
    };
    crc_fast::crc32_iscsi(&[text(table), key, body.to_vec()].concat())
}

/// One row of a sound checkpoint is replaced by other bytes under a fitting checksum: it is refused or decided about.
fn facts(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (Some(table), Some(key), Some(body)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (Ok(table), Ok(key)) = (std::str::from_utf8(table), std::str::from_utf8(key)) else { return };
    // Straight through the types first: far more inputs a second than through the database.
    let _ = serde_json::from_slice::<PlanRecord>(body);
    let _ = serde_json::from_slice::<CommitRecord>(body);
    let _ = serde_json::from_slice::<Position>(body);
    let column = match table {
        "meta" => "key",
        "plans" | "commits" => "batch",
        "sinks" => "name",
        _ => return,
    };
    let dir = scratch("facts");
    copy_fixture(&dir);
    let conn = rusqlite::Connection::open(dir.join("checkpoint.db")).expect("database");
    let sql = format!("UPDATE {table} SET body = ?, crc = ? WHERE {column} = ?");
    let crc = crc_of(table, key, body);
    let changed = match std::str::from_utf8(body) {
        Ok(text) => conn.execute(&sql, rusqlite::params![text, crc, key]),
        Err(_) => conn.execute(&sql, rusqlite::params![body, crc, key]),
    };
    drop(conn);
    if changed.is_ok() {
        look(&dir);
    }
}

/// All that a start reads before it writes.
fn look(dir: &Path) {
    let facts = match checkpoint::inspect(dir) {
        Ok(facts) => facts,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let job = facts.job.clone();
    let last = facts.batches.keys().next_back().copied();
    let _ = format!("{:?}", decide(facts, Expected { job: &job }));
    let Ok(archive) = checkpoint::Archive::open(dir) else { return };
    if let (Ok(Some((first, _))), Some(last)) = (archive.kept(), last) {
        let _ = archive.ledger(first..=last);
        let _ = archive.job_text(last);
        if let Ok(point) = archive.restore_point(first) {
            point.states.iter().for_each(|state| drop(archive.state(state, first)));
        }
    }
}

fn databases() -> Vec<Vec<u8>> {
    fs::read(root().join(FIXTURE).join("checkpoint.db")).into_iter().collect()
}

/// The bytes are the database, beside the fixture's log.
fn database(input: &[u8]) {
    let dir = scratch("database");
    copy_fixture(&dir);
    fs::write(dir.join("checkpoint.db"), input).expect("write");
    look(&dir);
}

// Records

fn records(input: &[u8]) {
    for (range, aborted, chunk) in
        [((0, i64::MAX), None, 1000), ((11, 14), None, 1), ((0, 100), Some(&[(7, 0), (8, 3)][..]), 3)]
    {
        let Ok(chunks) = decode(input, range, aborted, chunk) else { continue };
        let offsets: Vec<i64> = chunks.iter().flat_map(|chunk| chunk.offsets.iter().copied()).collect();
        assert!(offsets.iter().all(|offset| range.0 <= *offset && *offset < range.1), "offsets lie in the range");
        assert!(offsets.is_sorted_by(|a, b| a < b), "offsets grow");
        for column in chunks {
            assert!(column.len() <= chunk);
            for idx in 0..column.len() {
                let _ = (column.keys.get(idx), column.values.get(idx), column.headers(idx));
            }
        }
    }
}

// A value as JSON

const JSON_WORDS: &[&str] = &[
    "{", "}", "[", "]", ":", ",", "\"", "\\u0000", "\\ud800", "\\udc00", "null", "true", "false", "NaN", "Infinity",
    "1e400", "-", "0.", ".5", "\\x", "\u{0}", "\u{2028}",
];

fn jsons() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"a":[1,2.5,-3e7,null,true,false,"x\"\n\u00e9\ud83d\ude00"],"b":{"c":{}}}"#,
        "[[[[[[]]]]]]",
        r#"{"same":1,"same":2}"#,
        "123456789012345678901234567890",
        r#""text""#,
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push("[".repeat(10_000).into_bytes());
    all
}

/// What decodes prints, and prints the same again after another decode.
fn json(input: &[u8]) {
    let mut budget = primitive::Budget::new(Limits { steps: 10_000_000, memory_bytes: 64 << 20, ..Limits::default() });
    let Ok(value) = primitive::parse_json(input, &mut budget) else { return };
    let mut text = Vec::new();
    if primitive::write_json(&mut text, &value).is_err() {
        return;
    }
    let mut budget = primitive::Budget::new(Limits { steps: 10_000_000, memory_bytes: 256 << 20, ..Limits::default() });
    let again = primitive::parse_json(&text, &mut budget).expect("what was written can be read");
    let mut twice = Vec::new();
    primitive::write_json(&mut twice, &again).expect("what was written once can be written again");
    assert_eq!(text, twice);
}

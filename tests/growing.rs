//! Long lists, tuples and texts that a batch adds up, element by element, under one key: linear in their length.

use std::time::{Duration, Instant};

use super::support::Place;

const ELEMENTS: usize = 100_000;

/// Copied at every element, the sum of so many takes minutes.
const AT_MOST: Duration = Duration::from_secs(20);

fn job(steps: &str) -> Place {
    let place = Place::with_job(&format!(
        r#"
name = "growing"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[functions]
code = '''
def append(a, b):
    a.append(b)
    return a

def first(b):
    return [b]

def add(a, b):
    return a + b
'''
[source]
kind = "queue"
path = "queue.jsonl"
partitions = 2
{steps}
[[steps]]
pprint = {{ num = 1000, to = "out.log" }}
"#
    ));
    let numbers: Vec<String> = (0..ELEMENTS).map(|i| i.to_string()).collect();
    place.write("queue.jsonl", format!("[{}]\n", numbers.join(",")));
    place
}

#[test]
fn sums_of_many_sequences_under_one_key_are_linear() {
    let length = "[[steps]]\nmap = \"lambda kv: (kv[0], len(kv[1]), kv[1][-1])\"";
    let cases = [
        ("map = \"lambda x: ('k', (x,))\"", "reduce_by_key = \"lambda a, b: a + b\"", "('k', 100000, 99999)"),
        ("map = \"lambda x: ('k', [x])\"", "reduce_by_key = \"add\"", "('k', 100000, 99999)"),
        (
            "map = \"lambda x: ('k', str(x % 10) * 100)\"",
            "reduce_by_key = \"lambda a, b: a + b\"",
            "('k', 10000000, '9')",
        ),
        (
            "map = \"lambda x: ('k', x)\"",
            "combine_by_key = { create = \"first\", merge_value = \"append\", \
         merge_combiners = \"add\" }",
            "('k', 100000, 99999)",
        ),
        (
            "map = \"lambda x: ('k', x)\"",
            "combine_by_key = { create = \"lambda b: (b,)\", \
         merge_value = \"lambda a, b: a + (b,)\", merge_combiners = \"lambda a, b: a + b\" }",
            "('k', 100000, 99999)",
        ),
        (
            "map = \"lambda x: (x,)\"",
            "reduce = \"lambda a, b: a + b\"\n[[steps]]\nmap = \"lambda all: ('k', all)\"",
            "('k', 100000, 99999)",
        ),
        (
            "map = \"lambda x: ('k', [x])\"",
            "reduce_by_key_and_window = { func = \"lambda a, b: a + b\", length = \"2s\", \
         slide = \"1s\" }",
            "('k', 100000, 99999)",
        ),
    ];
    for (map, sum, expected) in cases {
        let place = job(&format!("[[steps]]\n{map}\n[[steps]]\n{sum}\n{length}"));
        let began = Instant::now();
        place.kstream("run job.toml --max-batches 1").expect(0);
        assert!(began.elapsed() < AT_MOST, "{sum}: {:?}", began.elapsed());
        let out = place.read("out.log");
        assert!(out.contains(expected), "{sum}: {out}");
    }
}

#[test]
fn sums_that_do_not_fit_end_the_run_and_name_bytes_and_setting() {
    let place =
        job("[[steps]]\nmap = \"lambda x: ('k', [x] * 100)\"\n[[steps]]\nreduce_by_key = \"lambda a, b: a + b\"");
    place.write("job.toml", place.read("job.toml").replace("[functions]", "memory_limit = \"64MiB\"\n[functions]"));
    let began = Instant::now();
    place.kstream("run job.toml").expect(1).says(&["step ", "bytes", "Raise memory_limit"]);
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
}

//! Cases that are batches in, operations, batches out: translated to a job, played, compared.

use std::fmt::Write as _;

use kstream::{
    driver::fixture::{Batch, Input, Outcome, Scratch, Script, play},
    job::{Job, Overrides, load},
    sink::Content,
};
use serde_json::{Value, json};

use super::{
    exceptions::{Exception, Why},
    shape::{self, Order, canonical, elements},
};

/// Elements that a batch of the file never has more of.
const ALL: u64 = 1_000_000;

pub fn check(case: &Value, exception: Option<&Exception>) -> Result<(), String> {
    check_from("s1", case, exception)
}

/// [`check`] with the pipeline on stream `main`.
pub fn check_from(main: &str, case: &Value, exception: Option<&Exception>) -> Result<(), String> {
    let mut expected = case["expected"]["batches"].clone();
    match exception.map(|exception| &exception.why) {
        Some(Why::Python) => expected = case["python_divergence"]["batches"].clone(),
        Some(Why::Batches(batches)) => expected = serde_json::from_str(batches).expect("JSON"),
        Some(Why::Test | Why::Later { .. }) => return Err("is no pipeline".to_owned()),
        None => {}
    }
    let scratch = Scratch::new().expect("temporary directory");
    let job = job_from(main, case, &scratch)?;
    let script = script(case);
    let straight = play(job.clone(), &script).map_err(|error| error.to_string())?;
    compare(case, &expected, &straight)?;
    let mut restarted = script;
    restarted.batches.iter_mut().for_each(|batch| batch.restart = true);
    let restarted = play(job, &restarted).map_err(|error| error.to_string())?;
    compare(case, &expected, &restarted).map_err(|what| format!("with a restart before every batch: {what}"))
}

pub fn script(case: &Value) -> Script {
    let batches = case["num_batches"].as_u64().expect("num_batches") as usize;
    let inputs = case["inputs"].as_object().expect("inputs");
    let batch = |idx: usize| {
        let input = |(name, batches): (&String, &Value)| (name.clone(), Input::Elements(elements(&batches[idx])));
        Batch { inputs: inputs.iter().map(input).collect(), ..Batch::default() }
    };
    Script { start_ms: 0, batches: (0..batches).map(batch).collect() }
}

/// The batches that the output gave.
fn outputs(outcome: &Outcome) -> Vec<Value> {
    let contents = outcome.batches.iter().flat_map(|batch| &batch.outputs).map(|(_, content)| content);
    contents
        .map(|content| match content {
            Content::Shown { elements, more: false } => elements.iter().map(shape::json).collect(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn compare(case: &Value, expected: &Value, outcome: &Outcome) -> Result<(), String> {
    if let Some(error) = &outcome.error {
        return Err(format!("{error}: {}", error.detail.join(" ")));
    }
    let lists = case["pipeline"].as_array().into_iter().flatten().any(|operation| {
        matches!(operation["op"].as_str(), Some("group_by_key" | "group_by_key_and_window" | "cogroup"))
    });
    let order = match (case["compare"].as_str(), lists) {
        (Some("ordered"), _) => Order::Given,
        (_, true) => Order::FreeInLists,
        _ => Order::Free,
    };
    let expected = expected.as_array().expect("batches");
    let given = outputs(outcome);
    if given.len() != expected.len() {
        return Err(format!("{} batches, expected {}: {}", given.len(), expected.len(), json!(given)));
    }
    for (idx, (given, expected)) in given.iter().zip(expected).enumerate() {
        if canonical(given, order) != canonical(expected, order) {
            return Err(format!("batch {idx}: {given}, expected {expected}"));
        }
    }
    let Some(snapshots) = case["expected"]["state_snapshots"].as_array() else { return Ok(()) };
    let states: Vec<Value> =
        outcome.batches.iter().filter_map(|batch| batch.states.values().next()).map(|state| pairs(state)).collect();
    if states.len() != snapshots.len() {
        return Err(format!("{} states, expected {}", states.len(), snapshots.len()));
    }
    for (idx, (given, expected)) in states.iter().zip(snapshots).enumerate() {
        if canonical(given, Order::Free) != canonical(expected, Order::Free) {
            return Err(format!("state after batch {idx}: {given}, expected {expected}"));
        }
    }
    Ok(())
}

fn pairs(state: &[(kstream::model::Value, kstream::model::Value)]) -> Value {
    state.iter().map(|(key, value)| json!([shape::json(key), shape::json(value)])).collect()
}

/// The job of a case; `scratch` holds its files.
pub fn job(case: &Value, scratch: &Scratch) -> Result<Job, String> {
    job_from("s1", case, scratch)
}

fn job_from(main: &str, case: &Value, scratch: &Scratch) -> Result<Job, String> {
    let text = Steps::job_text(main, case, scratch);
    from_text(&text, scratch)
}

pub fn from_text(text: &str, scratch: &Scratch) -> Result<Job, String> {
    let path = scratch.path().join("job.toml");
    std::fs::write(&path, text).expect("job file");
    let loaded = load(&path, &Overrides::default(), &|_| None);
    loaded.map(|(job, _)| job).map_err(|error| format!("{error}\n{text}"))
}

struct Steps<'a> {
    case: &'a Value,
    scratch: &'a Scratch,
    text: String,
    number: usize,
}

impl Steps<'_> {
    fn job_text(main: &str, case: &Value, scratch: &Scratch) -> String {
        let interval = case["batch_interval_ms"].as_i64().expect("batch_interval_ms");
        let mut text = format!("name = \"case\"\nbatch_interval = \"{interval}ms\"\ntime_zone = \"UTC\"\n");
        let queue = scratch.path().join("queue.jsonl");
        std::fs::write(&queue, "").expect("queue file");
        for name in case["inputs"].as_object().expect("inputs").keys() {
            let partitions = case["input_partitions"].as_u64().unwrap_or(1);
            writeln!(text, "[sources.{name}]\nkind = \"queue\"\npath = '{}'", queue.display()).expect("text");
            writeln!(text, "partitions = {partitions}").expect("text");
        }
        let mut steps = Steps { case, scratch, text, number: 0 };
        let last = steps.pipeline(main.to_owned(), &case["pipeline"]);
        steps.step(&last, &format!("pprint = {ALL}"));
        steps.text
    }

    fn pipeline(&mut self, from: String, operations: &Value) -> String {
        let operations = operations.as_array().expect("pipeline");
        operations.iter().fold(from, |from, operation| self.operation(&from, operation))
    }

    /// Appends a step and gives its name.
    fn step(&mut self, from: &str, operator: &str) -> String {
        let name = format!("step{}", self.number);
        self.number += 1;
        writeln!(self.text, "[[steps]]\nname = \"{name}\"\nfrom = \"{from}\"\n{operator}").expect("text");
        name
    }

    fn other(&mut self, current: &str, other: &Value) -> String {
        let stream = other["stream"].as_str().expect("stream");
        let from = if stream == "self" { current } else { stream };
        self.pipeline(from.to_owned(), &other["pipeline"])
    }

    fn operation(&mut self, from: &str, operation: &Value) -> String {
        let op = operation["op"].as_str().expect("op");
        let func = |key: &str| lambda(operation[key].as_str().unwrap_or_else(|| panic!("{op} without {key}")));
        let optional = |name: &str, key: &str| match operation[key].as_str() {
            Some(function) => format!(", {name} = \"{}\"", lambda(function)),
            None => String::new(),
        };
        match op {
            "map" | "filter" | "flat_map" | "map_values" | "reduce" | "reduce_by_key" | "transform" => {
                let step = format!("{op} = '{}'", func("fn"));
                self.step(from, &step)
            }
            "count" | "glom" | "group_by_key" => self.step(from, &format!("{op} = true")),
            "repartition" => self.step(from, &format!("repartition = {}", operation["n"])),
            "combine_by_key" => {
                let (create, value, combiners) = (func("create"), func("merge_value"), func("merge_combiners"));
                let functions =
                    format!("create = '{create}', merge_value = '{value}', merge_combiners = '{combiners}'");
                self.step(from, &format!("combine_by_key = {{ {functions} }}"))
            }
            "join" | "left_outer_join" | "right_outer_join" | "full_outer_join" | "cogroup" => {
                let other = self.other(from, &operation["other"]);
                self.step(from, &format!("{op} = \"{other}\""))
            }
            "transform_with" => {
                assert_eq!(operation["fn"], "join");
                let other = self.other(from, &operation["other"]);
                self.step(from, &format!("join = \"{other}\""))
            }
            "union" => {
                let others = operation["others"].as_array().expect("others").iter();
                let others: Vec<String> = others.map(|other| format!("\"{}\"", self.other(from, other))).collect();
                self.step(from, &format!("union = [{}]", others.join(", ")))
            }
            "update_state_by_key" | "map_with_state" => {
                let initial = self.initial(operation);
                let name = operation["fn"].as_str().expect("fn");
                let step = self.step(from, &format!("{op} = {{ func = '{}'{initial} }}", lambda(name)));
                match name {
                    "count_expire_after_2_idle" => self.step(&step, "map_values = 'lambda state: state[0]'"),
                    _ => step,
                }
            }
            "window" | "count_by_window" | "count_by_value_and_window" | "group_by_key_and_window" => {
                let window = self.window(operation);
                self.step(from, &format!("{op} = {{ {window} }}"))
            }
            "reduce_by_window" | "reduce_by_key_and_window" => {
                let window = self.window(operation);
                let more = optional("inverse", "inv_fn") + &optional("filter", "filter_fn");
                self.step(from, &format!("{op} = {{ func = \"{}\", {window}{more} }}", func("fn")))
            }
            other => panic!("no step for {other}"),
        }
    }

    fn initial(&self, operation: &Value) -> String {
        let Some(pairs) = operation["initial"].as_array() else { return String::new() };
        let path = self.scratch.path().join("initial.jsonl");
        let lines: String = pairs.iter().map(|pair| format!("{pair}\n")).collect();
        std::fs::write(&path, lines).expect("initial state");
        format!(", initial = '{}'", path.display())
    }

    fn window(&self, operation: &Value) -> String {
        let interval = self.case["batch_interval_ms"].as_i64().expect("batch_interval_ms");
        let length = operation["window"].as_i64().expect("window") * interval;
        let slide = operation["slide"].as_i64().unwrap_or(1) * interval;
        format!("length = \"{length}ms\", slide = \"{slide}ms\"")
    }
}

/// The functions of the file, as they would be written in a job.
pub fn lambda(name: &str) -> &'static str {
    match name {
        "to_string" => "lambda x: str(x)",
        "x_and_2x" => "lambda x: [x, 2 * x]",
        "is_even" => "lambda x: x % 2 == 0",
        "add" => "lambda a, b: a + b",
        "sub" => "lambda a, b: a - b",
        "min" => "lambda a, b: min(a, b)",
        "add4" => "lambda x: x + 4",
        "add8" => "lambda x: x + 8",
        "add10" => "lambda x: x + 10",
        "pair_with_1" => "lambda x: (x, 1)",
        "pair_with_x" => "lambda x: (x, \"x\")",
        "concat" => "lambda a, b: a + str(b)",
        "split_space" => "lambda line: line.split(\" \")",
        "value_ne_0" => "lambda pair: pair[1] != 0",
        "map_to_string" => "lambda batch: [str(x) for x in batch]",
        "append_to_list" => "lambda values, state: (state or []) + values",
        "running_sum" => "lambda values, state: sum(values) + (state or 0)",
        "count_expire_after_2_idle" => {
            "lambda values, state: [(state or [0, 0])[0] + sum(values), 0] if sum(values) else \
             ([state[0], state[1] + 1] if state[1] + 1 < 2 else None)"
        }
        "sum_emit_sum" => "lambda key, value, state: ((state or 0) + value, (state or 0) + value)",
        "sum_emit_key_twice" => "lambda key, value, state: (key + key, (state or 0) + value)",
        "sum_emit_pair" => "lambda key, value, state: ((key, (state or 0) + value), (state or 0) + value)",
        "sum_emit_nothing" => "lambda key, value, state: (None, (state or 0) + value)",
        other => panic!("no lambda for {other}"),
    }
}

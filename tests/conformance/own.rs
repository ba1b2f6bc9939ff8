//! Cases that are no pipeline, or that kstream decided differently: each has its test here, called with its case.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use kstream::{
    driver::fixture::{Scratch, play},
    job::BackPressure,
    model::{BatchTime, Value as Element, text::repr},
    planner::{Due, Interval, PidEstimator, Rate, limit::share, rate::Completed},
    sink::pprint::block,
};
use serde_json::{Value, json};

use super::{pipeline, shape};

/// `kstream` with its clock at `start_ms`, in `scratch`.
fn kstream(scratch: &Scratch, start_ms: i64, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kstream"));
    command.args(["--manual-clock", &start_ms.to_string()]).args(arguments).current_dir(scratch.path());
    command.output().expect("kstream")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// What `pprint` printed, without headers and empty lines.
fn printed(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let element = |line: &&str| !line.is_empty() && !line.starts_with("-----") && !line.starts_with("Time: ");
    text.lines().filter(element).map(str::to_owned).collect()
}

/// A job over a queue of `lines`, with these steps.
fn queue_job(scratch: &Scratch, lines: &[Value], partitions: usize, steps: &str) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(scratch.path().join("queue.jsonl"), text).expect("queue");
    let job = format!(
        "name = \"own\"\nbatch_interval = \"1s\"\ntime_zone = \"UTC\"\ncheckpoint_dir = \"checkpoint\"\n\
         [source]\nkind = \"queue\"\npath = \"queue.jsonl\"\npartitions = {partitions}\n{steps}"
    );
    fs::write(scratch.path().join("job.toml"), job).expect("job");
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, given: T, expected: T) -> Result<(), String> {
    if given == expected { Ok(()) } else { Err(format!("{what}: {given:?}, expected {expected:?}")) }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("array").iter()
}

/// A feature of a later version: a job that asks for it is refused with `refusal`.
pub fn is_refused_so_far(source: &str, step: &str, refusal: &str) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    fs::write(scratch.path().join("queue.jsonl"), "").expect("queue");
    let job = format!("name = \"later\"\nbatch_interval = \"1s\"\n[source]\n{source}\n[[steps]]\n{step}\n");
    fs::write(scratch.path().join("job.toml"), job).expect("job");
    let checked = kstream(&scratch, 0, &["check", "job.toml"]);
    same("check", code(&checked), Some(2))?;
    same("says why", String::from_utf8_lossy(&checked.stderr).contains(refusal), true)
}

pub fn slices_are_replays(case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    let lines: Vec<Value> = array(&case["inputs"]).cloned().collect();
    queue_job(&scratch, &lines, 1, "[[steps]]\npprint = true\n");
    same("run", code(&kstream(&scratch, 0, &["run", "job.toml", "--until-caught-up"])), Some(0))?;
    for vector in array(&case["vectors"]) {
        let [from, to] = ["from_batch", "to_batch"].map(|key| vector[key].as_u64().expect("batch") - 1);
        let from = from.to_string();
        let bounded = ["replay", "job.toml", "--from", &from, "--to", &to.to_string()].map(str::to_owned);
        let bounded: Vec<&str> = bounded.iter().map(String::as_str).collect();
        let mut replayed = kstream(&scratch, 0, &bounded);
        if lines.len() as u64 <= to {
            same("a slice that ends behind the last batch", code(&replayed), Some(2))?;
            replayed = kstream(&scratch, 0, &["replay", "job.toml", "--from", &from]);
        }
        let expected: Vec<String> = array(&vector["expect"]).map(Value::to_string).collect();
        same("slice", printed(&replayed), expected)?;
    }
    Ok(())
}

pub fn several_streams_in_any_order(case: &Value) -> Result<(), String> {
    let union =
        json!([{ "op": "union", "others": [{ "stream": "s3", "pipeline": [] }, { "stream": "s1", "pipeline": [] }] }]);
    let mut whole = case.clone();
    let fields = whole.as_object_mut().expect("case");
    let pipeline = json!([{ "op": "union", "others": [{ "stream": "s2", "pipeline": union }] }]);
    // An empty stream stands in front, so that the named ones come in the order of the case.
    fields.insert("pipeline".into(), pipeline);
    fields.insert("batch_interval_ms".into(), json!(1000));
    fields.insert("num_batches".into(), json!(1));
    fields.insert("compare".into(), json!("ordered"));
    let mut inputs = case["inputs"].clone();
    inputs["s0"] = json!([[]]);
    fields.insert("inputs".into(), inputs);
    fields.insert("expected".into(), json!({ "batches": case["expect"] }));
    pipeline::check_from("s0", &whole, None)
}

pub fn estimates(case: &Value) -> Result<(), String> {
    let number = |name: &str| case["params"][name].as_f64().expect("number");
    let settings = BackPressure {
        initial_rate: None,
        proportional: number("proportional"),
        integral: number("integral"),
        derived: number("derivative"),
        min_rate: number("min_rate"),
    };
    let mut estimator = PidEstimator::new(settings, number("batch_interval_ms") as i64);
    for (call, expected) in array(&case["calls"]).zip(array(&case["expect"])) {
        let rate = estimator.complete(Completed {
            time_ms: call["time_ms"].as_i64().expect("time"),
            records: call["records"].as_u64().expect("records"),
            processing_ms: call["processing_ms"].as_i64().expect("processing"),
            scheduling_ms: call["scheduling_ms"].as_i64().expect("scheduling"),
        });
        let close = match (rate, expected.as_f64()) {
            (Some(rate), Some(expected)) => (rate - expected).abs() < 1e-6,
            (rate, expected) => rate == expected,
        };
        if !close {
            return Err(format!("{call}: {rate:?}, expected {expected}"));
        }
    }
    Ok(())
}

pub fn shares(case: &Value) -> Result<(), String> {
    let params = &case["params"];
    let interval_ms = params["batch_interval_ms"].as_i64().expect("interval");
    let numbers = |name: &str| -> Vec<f64> {
        params[name].as_object().expect("table").values().map(|number| number.as_f64().expect("number")).collect()
    };
    let estimated = params["backpressure_rate"].as_f64().filter(|rate| *rate > 0.0);
    let enabled = params["backpressure_enabled"].as_bool().expect("flag");
    let rate = enabled.then(|| estimated.or(params["initial_rate"].as_f64()).unwrap_or(0.0));
    let lags = numbers("latest_offsets")
        .iter()
        .zip(numbers("current_offsets"))
        .map(|(l, c)| (l - c) as u64)
        .collect::<Vec<_>>();
    let max = numbers("max_rate_per_partition")
        .iter()
        .map(|rate| (rate * interval_ms as f64 / 1000.0) as u64)
        .collect::<Vec<_>>();
    let per_batch =
        rate.map(|records_per_second| Rate { records_per_second, batch_interval_ms: interval_ms }.records_per_batch());
    let expected = case["expect"].as_object().map(|shares| shares.values().filter_map(Value::as_u64).collect());
    same("shares", share(per_batch, &lags, &max), expected)
}

pub fn missed_ticks_are_not_queued(case: &Value) -> Result<(), String> {
    let interval = Interval::new(case["period_ms"].as_i64().expect("period"));
    let mut tick = case["start_at_ms"].as_i64().expect("start") - interval.ms();
    for step in array(&case["clock_steps"]) {
        let now = step["clock_ms"].as_i64().expect("clock");
        let last = array(&step["ticks"]).last().and_then(Value::as_i64).expect("tick");
        same("one batch at the latest tick", interval.due(tick, now), Due::Now(last))?;
        tick = last;
        same("and no other", interval.due(tick, now), Due::At(last + interval.ms()))?;
    }
    Ok(())
}

pub fn a_drained_run_begins_no_further_batch(case: &Value) -> Result<(), String> {
    use kstream::driver::{clock::JumpingClock, options::RunOptions, run};
    let scratch = Scratch::new().expect("directory");
    queue_job(&scratch, &[json!([1]), json!([2])], 1, "[[steps]]\nsave_as_text_files = \"out\"\n");
    let text = fs::read_to_string(scratch.path().join("job.toml")).expect("job");
    let here = |name: &str| format!("'{}'", scratch.path().join(name).display());
    let text = text.replace("\"queue.jsonl\"", &here("queue.jsonl")).replace("\"out\"", &here("out"));
    let text = text.replace("\"checkpoint\"", &here("checkpoint"));
    let job = pipeline::from_text(&text, &scratch)?;
    let (ask, requests) = kstream_channel();
    ask();
    let start = case["start_at_ms"].as_i64().expect("start");
    let bars = kstream::telemetry::Bars::hidden();
    run(job, &RunOptions::default(), &JumpingClock::at(start), requests, &bars).map_err(|error| error.to_string())?;
    let written = fs::read_dir(scratch.path())
        .expect("directory")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("out")));
    same("batches after the request", written.count(), 0)
}

fn kstream_channel() -> (impl Fn(), crossbeam_channel::Receiver<()>) {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    (move || sender.send(()).expect("receiver"), receiver)
}

pub fn batch_times_reach_the_state(_case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    let step =
        |func: &str| format!("[[steps]]\nname = \"sums\"\nupdate_state_by_key = '{func}'\n[[steps]]\npprint = true\n");
    queue_job(&scratch, &[], 1, &step("lambda time, values, state: (state or 0) + time"));
    let refused = kstream(&scratch, 0, &["check", "job.toml"]);
    same("a function of three is refused", code(&refused), Some(2))?;
    queue_job(&scratch, &[], 1, &step("lambda values, state: state"));
    same("a function of two", code(&kstream(&scratch, 0, &["check", "job.toml"])), Some(0))
}

pub fn a_line_of_a_queue_is_a_batch(case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    let lines: Vec<Value> =
        ["enqueue_before_batch1", "enqueue_before_batch2"].iter().flat_map(|key| array(&case[*key])).cloned().collect();
    queue_job(&scratch, &lines, 1, "[[steps]]\nglom = true\n[[steps]]\npprint = true\n");
    let ran = kstream(&scratch, 0, &["run", "job.toml", "--until-caught-up"]);
    let expected = ["['1']", "['2']", "['3']", "['4']", "['5']"].map(str::to_owned).to_vec();
    same("batches", printed(&ran), expected)
}

/// Blocks as `pprint` prints them; `expected` gives the text of a vector.
pub fn pprint_blocks(case: &Value, expected: impl Fn(&Value) -> Option<String>) -> Result<(), String> {
    for vector in array(&case["vectors"]) {
        let num = vector["num"].as_u64().expect("num") as usize;
        let pair = |value: &Value| match shape::element(value) {
            Element::List(items) => Element::tuple(items.iter().cloned()),
            other => other,
        };
        let records: Vec<Element> = array(&vector["records"]).map(pair).collect();
        let time = BatchTime(vector["batch_ms"].as_i64().expect("time"));
        let shown = records.get(..num.min(records.len())).expect("shown");
        let given = block(time, &jiff::tz::TimeZone::UTC, shown, num < records.len());
        same("block", Some(given), expected(vector))?;
    }
    Ok(())
}

/// The time as Python's datetime prints it.
pub fn python_instead_of_scala(vector: &Value) -> Option<String> {
    let ms = vector["batch_ms"].as_i64()?;
    let time = jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let text = vector["expect"].as_str()?;
    Some(text.replace(&format!("{ms} ms"), &time.strftime("%Y-%m-%d %H:%M:%S").to_string()))
}

pub fn text_files(case: &Value) -> Result<(), String> {
    for vector in array(&case["vectors"]) {
        let scratch = Scratch::new().expect("directory");
        let partitions = &vector["partitions"];
        let line = json!({ "partitions": partitions });
        let map = if vector["record_type"] == "pair" { "[[steps]]\nmap = 'lambda p: (p[0], p[1])'\n" } else { "" };
        let save = "[[steps]]\nsave_as_text_files = { prefix = \"out/pre\", suffix = \"suf\" }\n";
        queue_job(&scratch, &[line], partitions.as_array().expect("partitions").len(), &format!("{map}{save}"));
        let before_ms = vector["batch_ms"].as_i64().expect("time") - 1000;
        let ran = kstream(&scratch, before_ms, &["run", "job.toml", "--max-batches", "1"]);
        same("run", code(&ran), Some(0)).map_err(|what| what + &String::from_utf8_lossy(&ran.stderr))?;
        for (path, content) in vector["expect_files"].as_object().expect("files") {
            let given = fs::read_to_string(scratch.path().join(path)).map_err(|error| format!("{path}: {error}"))?;
            match Path::new(path).ends_with("_SUCCESS") {
                true => same("_SUCCESS says whose batch it is", given.contains("\"batch\""), true)?,
                false => same(path, given.as_str(), content.as_str().expect("text"))?,
            }
        }
    }
    Ok(())
}

pub fn the_first_failing_output_fails_the_batch(_case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    let steps = "[[steps]]\nname = \"sound\"\nfrom = \"s1\"\npprint = true\n\
                 [[steps]]\nfrom = \"s1\"\nmap_partitions = 'lambda part: [1 // 0]'\n[[steps]]\nname = \"failing\"\npprint = true\n";
    let case = json!({ "batch_interval_ms": 1000, "num_batches": 2, "inputs": { "s1": [[1], [2]] }, "pipeline": [] });
    let job = pipeline::job(&case, &scratch)?;
    drop(job);
    let text = fs::read_to_string(scratch.path().join("job.toml")).expect("job");
    let source = text.split("[[steps]]").next().expect("source");
    let outcome = play(pipeline::from_text(&format!("{source}{steps}"), &scratch)?, &pipeline::script(&case))
        .map_err(|error| error.to_string())?;
    let error = outcome.error.ok_or("the run did not fail")?;
    same("the error names the batch", error.message.contains("batch 0"), true)?;
    same("committed batches", outcome.batches.len(), 0)
}

pub fn progress_records_tell_of_each_batch(case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    let lines: Vec<Value> = array(&case["inputs"]).cloned().collect();
    queue_job(&scratch, &lines, 1, "[[steps]]\npprint = true\n");
    let ran = kstream(&scratch, 0, &["run", "job.toml", "--until-caught-up", "--progress", "progress.jsonl"]);
    same("run", code(&ran), Some(0))?;
    let text = fs::read_to_string(scratch.path().join("progress.jsonl")).map_err(|error| error.to_string())?;
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("record")).collect();
    same("records", records.len(), lines.len())?;
    for (idx, record) in records.iter().enumerate() {
        same("batch", record["batch"].as_u64(), Some(idx as u64))?;
        same("input rows", &record["input_rows"], &case["expect"]["submitted"]["num_records"])?;
        let delay = |name: &str| record[name].as_f64().filter(|delay| *delay >= 0.0).ok_or(format!("{name}: {record}"));
        let total = delay("total_delay_ms")? - delay("scheduling_delay_ms")? - delay("processing_delay_ms")?;
        same("the delays add up", total.abs() < 0.01, true)?;
    }
    Ok(())
}

pub fn lifecycle_rules(_case: &Value) -> Result<(), String> {
    let scratch = Scratch::new().expect("directory");
    queue_job(&scratch, &[json!([1]), json!([2])], 1, "[[steps]]\nmap = 'lambda x: x'\n");
    let idle = kstream(&scratch, 0, &["run", "job.toml"]);
    same("start with no output operation", code(&idle), Some(2))?;
    same("what it says", String::from_utf8_lossy(&idle.stderr).contains("nothing to execute"), true)?;

    let run = ["run", "job.toml", "--until-caught-up", "--max-batches", "1"];
    queue_job(
        &scratch,
        &[json!([1]), json!([0])],
        1,
        "[[steps]]\nmap = 'lambda x: 10 // x'\n[[steps]]\npprint = true\n",
    );
    same("a path without checkpoint begins", printed(&kstream(&scratch, 0, &run)), vec!["10".to_owned()])?;
    same("a task error ends the run", code(&kstream(&scratch, 0, &run)), Some(1))?;
    queue_job(
        &scratch,
        &[json!([1]), json!([0]), json!([5])],
        1,
        "[[steps]]\nmap = 'lambda x: 10 // (x + 5)'\n[[steps]]\npprint = true\n",
    );
    let refused = kstream(&scratch, 0, &run);
    same("a batch in flight keeps the job that planned it", code(&refused), Some(1))?;

    let database = fs::read_dir(scratch.path().join("checkpoint")).expect("checkpoint").filter_map(|entry| {
        let path = entry.expect("entry").path();
        path.metadata().is_ok_and(|metadata| metadata.len() > 4096).then_some(path)
    });
    for path in database {
        let mut bytes = fs::read(&path).expect("file");
        bytes.iter_mut().take(2048).for_each(|byte| *byte = 0x5a);
        fs::write(&path, bytes).expect("file");
    }
    same("a corrupt checkpoint is refused", code(&kstream(&scratch, 0, &run)), Some(3))
}

pub fn windows_are_multiples_of_the_interval(case: &Value) -> Result<(), String> {
    for vector in array(&case["vectors"]) {
        let scratch = Scratch::new().expect("directory");
        let operation = "reduce_by_key_and_window = { func = 'lambda a, b: a + b', inverse = 'lambda a, b: a - b'";
        let step = format!(
            "[[steps]]\n{operation}, length = \"{}ms\", slide = \"{}ms\" }}\n[[steps]]\npprint = true\n",
            vector["window_ms"], vector["slide_ms"]
        );
        queue_job(&scratch, &[], 1, &step);
        let path = scratch.path().join("job.toml");
        let text =
            fs::read_to_string(&path).expect("job").replace("\"1s\"", &format!("\"{}ms\"", case["batch_interval_ms"]));
        fs::write(&path, text).expect("job");
        let checked = kstream(&scratch, 0, &["check", "job.toml"]);
        let expected = if vector["expect"] == "ok" { 0 } else { 2 };
        same(&repr(&Element::str(vector.to_string())), code(&checked), Some(expected))?;
    }
    Ok(())
}

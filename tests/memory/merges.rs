//! What a merge really takes: the room that is kept for it is enough, and not far too much.
//!
//! Each merge is measured by the kernel, in a process that does nothing else: this test program, which calls itself. Large
//! blocks go back to the kernel at once there, so that what the tables before the merge gave back hides nothing.

use std::{env, fs, process::Command};

use kstream::{
    expr::{Evaluator, Function, Library, Limits},
    job::{Emit, JoinKind, Operator, WindowSpec},
    lineage::Need,
    model::{Column, StrColumn, Value, key::Key},
    operator::{self, MergeContext, Wide, wide},
    state::{
        StepState,
        keyed::{Held, put_entry},
        window::{Part, Running, WindowBatch, put_batch, put_partitions, put_running},
    },
};

use super::is_long;

/// Set in the process that measures: the case, and how many keys it has.
const CASE: &str = "KSTREAM_TEST_MERGE";

const TASKS: u64 = 4;
const CHUNK: u64 = 2048;
const PARTITIONS: u32 = 8;

/// Batches of a window, a second each; the last is the one that is merged.
const BATCHES: u64 = 5;
const SECOND_MS: i64 = 1_000;
const NOW_MS: i64 = BATCHES as i64 * SECOND_MS;

/// What a merge takes whatever its size.
const SLACK_BYTES: u64 = 1 << 20;

/// More than so many times what a merge takes is too much, batches would be made smaller for nothing; and whether it is
/// one over a state.
fn most_kept(case: &str) -> (u64, bool) {
    match case.split(' ').next().unwrap_or_default() {
        "count_by_value" | "distinct" | "group_by_key" | "cogroup" => (4, false),
        // Room is kept for the keys and the pairs as if they were long; those of ints take a sixth of it.
        "join" => (7, false),
        // Long keys go into the delta and the result; short ones hardly count.
        "update_state" | "map_with_state" | "state_snapshots" | "state_timeouts" => (8, true),
        // Batches of a window are gone over, and little more is made of them where most of their keys are others.
        _ => (6, true),
    }
}

/// Large blocks go back to the kernel, whatever was freed before.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

#[derive(Debug, Clone, Copy)]
enum Keys {
    Short,
    Long,
    Huge,
    Ints,
    Tuples,
}

impl Keys {
    fn value(self, number: u64) -> Value {
        self.column(number..number + 1).get(0).expect("a value")
    }

    fn column(self, numbers: std::ops::Range<u64>) -> Column {
        let strs = |text: fn(u64) -> String| Column::Str(StrColumn::from_iter(numbers.clone().map(text)));
        match self {
            Keys::Short => strs(|number| format!("w{number:09}")),
            Keys::Long => strs(|number| format!("https://example.org/some/longer/path/{number:09}")),
            Keys::Huge => strs(|number| format!("{number:0900}")),
            Keys::Ints => Column::Int(numbers.map(|number| number as i64 * 7_919).collect::<Vec<_>>().into()),
            Keys::Tuples => Column::from_values(
                numbers.map(|number| Value::pair(Value::Int(number as i64), Value::str("part"))).collect(),
            ),
        }
    }
}

fn function(source: &str) -> Function {
    let arguments = source.split_once(':').map_or(0, |(arguments, _)| arguments.split(',').count());
    Function::compile(source, &Library::default(), arguments..=arguments).expect("a lambda")
}

/// What a state holds before the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The keys of the batch.
    Same,
    /// Others.
    Others,
}

fn state_before(name: &str) -> Before {
    match name.rsplit_once(' ').map(|(_, before)| before) {
        Some("same") => Before::Same,
        Some("others") => Before::Others,
        _ => Before::Nothing,
    }
}

/// An operator over distinct keys, and whether its elements are pairs.
fn case(name: &str) -> (Operator, Keys, bool) {
    let mut words = name.split(' ');
    let (operator, keys) = (words.next().expect("an operator"), words.next().expect("keys"));
    let window = WindowSpec { length_ms: NOW_MS, slide_ms: SECOND_MS };
    let add = || function("lambda a, b: a + b");
    let keys = match keys {
        "short" => Keys::Short,
        "long" => Keys::Long,
        "huge" => Keys::Huge,
        "ints" => Keys::Ints,
        _ => Keys::Tuples,
    };
    let partitions = PARTITIONS;
    match operator {
        "count_by_value" => (Operator::CountByValue { partitions }, keys, false),
        "distinct" => (Operator::Distinct { partitions }, keys, false),
        "group_by_key" => (Operator::GroupByKey { partitions }, keys, true),
        "cogroup" => (Operator::Cogroup { partitions }, keys, true),
        "update_state" => {
            let func = function("lambda new, old: sum(new) + (old or 0)");
            (Operator::UpdateStateByKey { func, initial: None, partitions }, keys, true)
        }
        "map_with_state" | "state_snapshots" | "state_timeouts" => {
            let emit = if operator == "state_snapshots" { Emit::Snapshots } else { Emit::Mapped };
            let timeout_ms = (operator == "state_timeouts").then_some(SECOND_MS);
            let func = function("lambda key, value, old, gone: ((key, value), None if gone else (old or 0) + value)");
            (Operator::MapWithState { func, timeout_ms, initial: None, emit, partitions }, keys, true)
        }
        "window" => (Operator::Window(window), keys, true),
        "windowed_groups" => (Operator::GroupByKeyAndWindow { window, partitions }, keys, true),
        "windowed_counts" => (Operator::CountByValueAndWindow { window, partitions }, keys, false),
        "windowed_sums" => {
            let (func, inverse, filter) = (add(), None, None);
            (Operator::ReduceByKeyAndWindow { func, inverse, filter, window, partitions }, keys, true)
        }
        "sums_with_inverse" => {
            let (func, inverse, filter) = (add(), Some(function("lambda a, b: a - b")), None);
            (Operator::ReduceByKeyAndWindow { func, inverse, filter, window, partitions }, keys, true)
        }
        _ => (Operator::Join { kind: JoinKind::Inner, partitions }, keys, true),
    }
}

fn status_kib(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// A state with one value for each of these keys; in a window, a share of them from each batch before this one.
fn filled(operator: &Operator, kind: Keys, numbers: std::ops::Range<u64>) -> Box<dyn StepState> {
    let mut state = operator::state(operator).expect("a state");
    let share = (numbers.end - numbers.start).div_ceil(BATCHES - 1);
    let value = |number: u64| match operator {
        Operator::GroupByKeyAndWindow { .. } => Value::list(vec![Value::Int(number as i64)]),
        Operator::Window(_) => Value::pair(kind.value(number), Value::Int(number as i64)),
        _ => Value::Int(number as i64 + 1_000),
    };
    for (batch, start) in numbers.clone().step_by(share as usize).enumerate() {
        let time_ms = (batch as i64 + 1) * SECOND_MS;
        let end = numbers.end.min(start + share);
        for start in (start..end).step_by(CHUNK as usize) {
            let mut delta = Vec::new();
            let chunk = start..end.min(start + CHUNK);
            if operator.window().is_none() {
                for number in chunk {
                    put_entry(&mut delta, &kind.value(number), Some(&Held { value: value(number), touched_ms: 0 }));
                }
            } else {
                // A batch in several pieces of one time: what it holds is the same.
                let key = |number: u64| match operator {
                    Operator::Window(_) => Key::new(Value::Int((number % TASKS) as i64)).expect("a key"),
                    _ => Key::new(kind.value(number)).expect("a key"),
                };
                let parts: Vec<Part> =
                    chunk.map(|number| Part { key: key(number), value: value(number), records: 1 }).collect();
                let running: Vec<(Key, Running)> = parts
                    .iter()
                    .map(|part| (part.key.clone(), Running { value: part.value.clone(), records: 1 }))
                    .collect();
                put_batch(&mut delta, &WindowBatch { time_ms, parts }, i64::MIN);
                let folds_on = matches!(
                    operator,
                    Operator::CountByValueAndWindow { .. } | Operator::ReduceByKeyAndWindow { inverse: Some(_), .. }
                );
                if folds_on {
                    put_running(&mut delta, time_ms, running.iter().map(|(key, running)| (key, Some(running))));
                }
            }
            state.apply(&delta).expect("a delta");
        }
        let mut delta = Vec::new();
        if let Operator::Window(_) = operator {
            put_partitions(&mut delta, time_ms, TASKS as usize);
        }
        state.apply(&delta).expect("a delta");
    }
    state
}

/// Bytes of the parts and of the state, what is kept besides them for the merge, and what it really took.
fn measure(name: &str, keys: u64) -> [u64; 3] {
    let (operator, kind, are_pairs) = case(name);
    let state = match state_before(name) {
        Before::Nothing => operator::state(&operator),
        Before::Same => Some(filled(&operator, kind, 0..keys)),
        Before::Others => Some(filled(&operator, kind, keys..2 * keys)),
    };
    // Beside a state of others, a batch of next to nothing.
    let new_keys = if state_before(name) == Before::Others { TASKS } else { keys };
    let working: Box<dyn Wide> = wide(&operator).unwrap();
    let mut evaluator = Evaluator::new(Limits::default());
    let sides = if name.starts_with("join") || name.starts_with("cogroup") { 2 } else { 1 };
    let (mut inputs, mut bytes) = (Vec::new(), 0);
    for side in 0..sides {
        let mut parts = Vec::new();
        for task in 0..TASKS {
            let mut collector = working.collector(side);
            let (first, last) = (task * new_keys / TASKS, (task + 1) * new_keys / TASKS);
            for start in (first..last).step_by(CHUNK as usize) {
                let end = last.min(start + CHUNK);
                let mut column = kind.column(start..end);
                if are_pairs {
                    let values = Column::Int((start as i64..end as i64).collect::<Vec<_>>().into());
                    column = Column::Tuple([column, values].into());
                }
                let poison = collector.push(column, &mut evaluator).unwrap();
                assert!(poison.is_empty());
            }
            bytes += collector.memory_bytes() as u64;
            parts.push(collector.finish());
        }
        inputs.push(parts);
    }
    let asked = std::sync::atomic::AtomicU64::new(0);
    let room = |more: u64| {
        asked.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    };
    let context = MergeContext {
        evaluator: &|| Evaluator::new(Limits::default()),
        need: Need::Sorted,
        batch_time_ms: NOW_MS,
        zero_ms: 0,
        state: state.as_deref(),
        room: &room,
    };
    let before = status_kib("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let merged = working.merge(inputs, &context).unwrap();
    let took = status_kib("VmHWM").saturating_sub(before) << 10;
    let rows = match (&operator, state_before(name)) {
        (Operator::MapWithState { emit: Emit::Mapped, timeout_ms: None, .. }, _) | (_, Before::Nothing) => new_keys,
        (Operator::Window(_), Before::Same) => 2 * keys,
        (_, Before::Same) => keys,
        (_, Before::Others) => keys + new_keys,
    };
    assert_eq!(merged.dataset.unwrap().rows() as u64, rows, "{name}");
    let whole = state.as_ref().map_or(0, |state| state.memory_bytes() * working.state_factor());
    let kept = bytes * working.merge_factor() + whole + asked.into_inner();
    [bytes + state.map_or(0, |state| state.memory_bytes()), kept, took]
}

#[test]
fn the_room_kept_for_a_merge_is_what_it_takes() {
    const NAME: &str = "memory::merges::the_room_kept_for_a_merge_is_what_it_takes";
    if let Ok(case) = env::var(CASE) {
        let (name, keys) = case.rsplit_once(' ').unwrap();
        let [bytes, kept, took] = measure(name, keys.parse().unwrap());
        println!("measured {bytes} {kept} {took}");
        return;
    }
    if fs::metadata("/proc/self/clear_refs").is_err() {
        eprintln!("SKIPPED: no /proc here");
        return;
    }
    // Tables double: what they take of what they may take depends on how far they are from that.
    let sizes: &[u64] = if is_long() { &[1_000_000, 1_300_000, 2_000_000, 4_000_000] } else { &[250_000] };
    let mut wrong = Vec::new();
    for case in cases() {
        for size in sizes.iter().map(|size| if case.contains("huge") { size / 10 } else { *size }) {
            let case = format!("{case} {size}");
            let mut alone = Command::new(env::current_exe().unwrap());
            alone.args(["--exact", NAME, "--nocapture"]).env(CASE, &case).envs(ALLOCATOR);
            let output = alone.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text.lines().find_map(|line| line.split_once("measured ")).map(|(_, numbers)| numbers);
            let line = line.unwrap_or_else(|| panic!("{case}: {text}{}", String::from_utf8_lossy(&output.stderr)));
            let numbers: Vec<u64> = line.split(' ').map(|number| number.trim().parse().unwrap()).collect();
            let [bytes, kept, took] = numbers[..] else { panic!("{line}") };
            eprintln!(
                "{case}: parts {} KiB, kept {:.2} times that, took {:.2} times",
                bytes >> 10,
                kept as f64 / bytes as f64,
                took as f64 / bytes as f64
            );
            let (most, has_state) = most_kept(&case);
            let is_enough = took <= kept + kept / 20 + SLACK_BYTES;
            let is_little = kept <= most * took.max(SLACK_BYTES) && (has_state || kept <= bytes * 3 + bytes / 20);
            if !is_enough || !is_little {
                wrong.push(format!("{case}: {} KiB kept, {} KiB taken", kept >> 10, took >> 10));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Operators with kinds of keys; those with state with what it held before.
fn cases() -> Vec<String> {
    let mut cases = Vec::new();
    for operator in ["count_by_value", "distinct", "group_by_key", "join", "cogroup"] {
        cases.extend(["short", "long", "huge", "ints", "tuples"].map(|keys| format!("{operator} {keys}")));
    }
    let with_state = ["update_state", "map_with_state", "state_snapshots", "state_timeouts"];
    let windows = ["window", "windowed_groups", "windowed_counts", "windowed_sums", "sums_with_inverse"];
    for operator in with_state.into_iter().chain(windows) {
        for before in ["nothing", "same", "others"] {
            let keys: &[_] = if is_long() { &["short", "long", "huge", "ints", "tuples"] } else { &["huge", "ints"] };
            cases.extend(keys.iter().map(|keys| format!("{operator} {keys} {before}")));
        }
    }
    cases
}

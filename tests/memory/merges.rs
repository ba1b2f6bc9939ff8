//! What a merge really takes: the room that is kept for it is enough, and not far too much.
//!
//! Each merge is measured by the kernel, in a process that does nothing else: this test program, which calls itself.

use std::{env, fs, process::Command};

use kstream::{
    expr::{Evaluator, Limits},
    job::{JoinKind, Operator},
    lineage::Need,
    model::{Column, StrColumn, Value},
    operator::{MergeContext, Wide, wide},
};

use super::is_long;

/// Set in the process that measures: the case, and how many keys it has.
const CASE: &str = "KSTREAM_TEST_MERGE";

const TASKS: u64 = 4;
const CHUNK: u64 = 2048;
const PARTITIONS: u32 = 8;

#[derive(Debug, Clone, Copy)]
enum Keys {
    Short,
    Long,
    Huge,
    Ints,
    Tuples,
}

impl Keys {
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

/// An operator over distinct keys, and whether its elements are pairs.
fn case(name: &str) -> (Operator, Keys, bool) {
    let (operator, keys) = name.split_once(' ').expect("operator and keys");
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
        _ => (Operator::Join { kind: JoinKind::Inner, partitions }, keys, true),
    }
}

fn status_kib(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Bytes of the parts, what is kept besides them for the merge, and what it really took.
fn measure(name: &str, keys: u64) -> [u64; 3] {
    let (operator, kind, are_pairs) = case(name);
    let working: Box<dyn Wide> = wide(&operator).unwrap();
    let mut evaluator = Evaluator::new(Limits::default());
    let sides = if name.starts_with("join") || name.starts_with("cogroup") { 2 } else { 1 };
    let (mut inputs, mut bytes) = (Vec::new(), 0);
    for side in 0..sides {
        let mut parts = Vec::new();
        for task in 0..TASKS {
            let mut collector = working.collector(side);
            let (first, last) = (task * keys / TASKS, (task + 1) * keys / TASKS);
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
        batch_time_ms: 0,
        zero_ms: 0,
        state: None,
        room: &room,
    };
    let before = status_kib("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let merged = working.merge(inputs, &context).unwrap();
    let took = status_kib("VmHWM").saturating_sub(before) << 10;
    assert_eq!(merged.dataset.unwrap().rows() as u64, keys);
    let kept = bytes * working.merge_factor() + asked.into_inner();
    [bytes, kept, took]
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
    for operator in ["count_by_value", "distinct", "group_by_key", "join", "cogroup"] {
        for keys in ["short", "long", "huge", "ints", "tuples"] {
            for size in sizes.iter().map(|size| if keys == "huge" { size / 10 } else { *size }) {
                let case = format!("{operator} {keys} {size}");
                let mut alone = Command::new(env::current_exe().unwrap());
                alone.args(["--exact", NAME, "--nocapture"]).env(CASE, &case);
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
                // What the tables before the merge gave back is used again, so that little may seem taken.
                if kept + kept / 20 < took || kept > 8 * took || kept > bytes * 3 + bytes / 20 {
                    wrong.push(format!("{case}: {} KiB kept, {} KiB taken", kept >> 10, took >> 10));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Memory: jobs whose input is many times what their process may hold, on a real Kafka.
//!
//! The limit is the kernel's, on the data of the process (`ulimit -d`): beyond it an allocation fails, kstream aborts.
//! Peak RSS is looked at besides. `KSTREAM_LONG=1` runs the full size: 256 MiB, and 20 times as much input.

mod merges;

use std::{fs, io::Read, process::Command, thread, time::Duration};

use super::{
    broker::{Broker, broker},
    support::{Ended, PATIENCE, Place, START_MS, blocks},
};

const PARTITIONS: i32 = 4;
const WORDS_PER_LINE: u64 = 8;

/// How much goes in, and how much the process may hold.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// What the kernel gives, stacks of threads included.
    hard_mib: u64,
    peak_mib: u64,
    memory_limit: &'static str,
    lines: u64,
}

fn is_long() -> bool {
    std::env::var("KSTREAM_LONG").is_ok_and(|value| value == "1")
}

fn size() -> Size {
    match is_long() {
        // 88 bytes a line.
        true => Size { hard_mib: 256, peak_mib: 256, memory_limit: "64MiB", lines: ((20 * 256) << 20) / 88 },
        false => Size { hard_mib: 144, peak_mib: 80, memory_limit: "4MiB", lines: 60_000 },
    }
}

/// What the words of the input are.
#[derive(Debug, Clone, Copy)]
enum Words {
    Thousand,
    /// 95 of 100 are the same.
    Skewed,
    /// No two are the same.
    Distinct,
}

impl Words {
    fn word(self, number: u64) -> String {
        let mixed = number.wrapping_mul(2_654_435_761) >> 7;
        match self {
            Words::Skewed if mixed % 100 < 95 => "word-often".to_owned(),
            Words::Thousand | Words::Skewed => format!("word{:06}", mixed % 1000),
            Words::Distinct => format!("w{number:09}"),
        }
    }

    fn line(self, number: u64) -> String {
        let words = (0..WORDS_PER_LINE).map(|word| self.word(number * WORDS_PER_LINE + word));
        words.collect::<Vec<_>>().join(" ")
    }

    fn fill(self, broker: &Broker, topic: &str, lines: u64) {
        for partition in 0..PARTITIONS as u64 {
            let lines = (partition..lines).step_by(PARTITIONS as usize).map(|number| self.line(number));
            broker.produce(topic, partition as i32, lines);
        }
    }
}

/// A job that takes all there is in one batch, if it can.
fn job(broker: &Broker, topic: &str, memory_limit: &str, steps: &str) -> String {
    format!(
        r#"
name = "bounded"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
memory_limit = "{memory_limit}"
[source]
kind = "kafka"
brokers = "{}"
topics = ["{topic}"]
max_records_per_partition = 1_000_000_000
prefetch_memory = "4MiB"
{steps}
"#,
        broker.brokers
    )
}

/// Runs the job under a hard limit; its end, and its peak RSS in MiB.
fn run(place: &Place, hard_mib: u64) -> (Ended, u64) {
    let kstream = place.command("");
    let mut command = Command::new("sh");
    // Stacks of C's threads count as data.
    let script = format!("ulimit -s 1024; ulimit -d {}; exec \"$@\"", hard_mib << 10);
    command.args(["-c", &script, "sh"]).arg(kstream.get_program()).current_dir(place.path("."));
    command.args(["run", "job.toml", "--until-caught-up", "--threads", "2", "--manual-clock", START_MS]);
    let mut running = place.spawn(command);
    let status = format!("/proc/{}/status", running.pid());
    let patience = if is_long() { PATIENCE * 60 } else { PATIENCE };
    let (mut peak_kib, began) = (0, std::time::Instant::now());
    while running.is_running() && began.elapsed() < patience {
        let mut text = String::new();
        let _ = fs::File::open(&status).and_then(|mut file| file.read_to_string(&mut text));
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(peak_kib);
        thread::sleep(Duration::from_millis(5));
    }
    (running.wait(), peak_kib >> 10)
}

/// Sum of the last numbers of all lines of a log.
fn sum(log: &str) -> u64 {
    let last = |line: &str| line.trim_end_matches(')').rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    blocks(log).iter().flat_map(|block| &block.lines).map(|line| last(line).expect("a number")).sum()
}

const SPLIT: &str = "[[steps]]\nflat_map = 'lambda record: record.value.split(\" \")'\n";
const PAIRS: &str = "[[steps]]\nmap = 'lambda word: (word, 1)'\n";
const OUT: &str = "[[steps]]\npprint = { num = 10_000, to = \"out.log\" }\n";

/// Whether a run within the limits counts every word once, and in batches that had to be made smaller.
#[track_caller]
fn fits(words: Words, steps: &str, is_halved: bool) {
    let Some(broker) = broker() else { return };
    let size = size();
    let topic = broker.topic("memory", PARTITIONS);
    words.fill(broker, topic.name(), size.lines);
    let place = Place::with_job(&job(broker, topic.name(), size.memory_limit, &format!("{SPLIT}{steps}{OUT}")));
    let (ended, peak_mib) = run(&place, size.hard_mib);
    let ended = ended.expect(0);
    eprintln!("{words:?}: {} lines, {size:?}, peak RSS {peak_mib} MiB", size.lines);
    assert!(peak_mib < size.peak_mib, "{peak_mib} MiB");
    let told = || format!("{}\n{:?}", ended.err, place.ledger());
    assert_eq!(sum(&place.read("out.log")), size.lines * WORDS_PER_LINE, "{}", told());
    assert_eq!(ended.err.contains("reading half of the batch"), is_halved, "{}", ended.err);
}

#[test]
fn word_counts_hold_what_they_count_not_what_they_read() {
    fits(Words::Thousand, &format!("{PAIRS}[[steps]]\nreduce_by_key = 'lambda a, b: a + b'\n"), false);
}

#[test]
fn keys_that_are_all_distinct_fit_in_smaller_batches() {
    fits(
        Words::Distinct,
        &format!("{PAIRS}[[steps]]\nreduce_by_key = 'lambda a, b: a + b'\n[[steps]]\ncount = true\n"),
        true,
    );
}

const GROUP: &str = "[[steps]]\ngroup_by_key = true\n[[steps]]\nmap = 'lambda pair: (pair[0], len(pair[1]))'\n";

#[test]
fn groups_fit_in_smaller_batches() {
    fits(Words::Thousand, &format!("{PAIRS}{GROUP}"), true);
}

#[test]
fn one_key_with_nearly_all_records_fits_in_smaller_batches() {
    fits(Words::Skewed, &format!("{PAIRS}{GROUP}"), true);
}

#[test]
fn windows_of_elements_fit_in_smaller_batches() {
    let window = "[[steps]]\nwindow = { length = \"1s\", slide = \"1s\" }\n[[steps]]\ncount = true\n";
    fits(Words::Distinct, window, true);
}

#[test]
fn a_batch_that_stdout_may_have_been_given_is_not_halved_but_can_be_taken_back() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("memory", PARTITIONS);
    Words::Distinct.fill(broker, topic.name(), 4_000);
    let steps = format!("{SPLIT}{PAIRS}{GROUP}[[steps]]\ncount = true\n[[steps]]\npprint = 5\n");
    let place = Place::with_job(&job(broker, topic.name(), "1MiB", &steps));
    let bounded = format!("run job.toml --until-caught-up --threads 2 --manual-clock {START_MS}");
    let mut command = place.command(&bounded);
    command.env("KSTREAM_CRASH_AT", "plan: logged").env("KSTREAM_CRASH_REPORT", place.path("report"));
    place.spawn(command).wait();
    assert!(place.read("report").contains("plan: logged"));
    let ended = place.kstream(&bounded).expect(1);
    ended.says(&["memory_limit", "its plan stands", "rewind JOB --to start"]);
    place.kstream("rewind job.toml --to start --yes --leave-published").expect(0);
    place.kstream(&bounded).expect(0).says(&["reading half of the batch"]);
}

#[test]
fn joins_of_many_with_many_are_counted_before_they_are_built() {
    let Some(broker) = broker() else { return };
    // 95 of 100 words are the same: each with each would be 14 million pairs.
    let lines = 500;
    let topic = broker.topic("memory", PARTITIONS);
    Words::Skewed.fill(broker, topic.name(), lines);
    let steps =
        format!("{SPLIT}[[steps]]\nname = \"pairs\"\nmap = 'lambda word: (word, 1)'\n[[steps]]\njoin = \"pairs\"\n");
    let place = Place::with_job(&job(broker, topic.name(), "4MiB", &format!("{steps}[[steps]]\ncount = true\n{OUT}")));
    let (ended, peak_mib) = run(&place, size().hard_mib);
    ended.expect(0).says(&["reading half of the batch", "step join#1", "memory_limit is 4194304"]);
    assert!(peak_mib < size().peak_mib, "{peak_mib} MiB");
    assert!(sum(&place.read("out.log")) > lines * WORDS_PER_LINE, "every word is joined at least with itself");
}

/// Whether a job that cannot fit ends with exit code 1, and words that name what does not.
#[track_caller]
fn ends(lines: u64, memory_limit: &str, functions: &str, steps: &str, says: &[&str]) -> Option<Ended> {
    let broker = broker()?;
    let topic = broker.topic("memory", PARTITIONS);
    Words::Distinct.fill(broker, topic.name(), lines);
    let place = Place::with_job(&job(broker, topic.name(), memory_limit, &format!("{functions}{steps}{OUT}")));
    let (ended, peak_mib) = run(&place, size().hard_mib);
    assert!(peak_mib < size().peak_mib, "{peak_mib} MiB");
    Some(ended.expect(1).says(says))
}

#[test]
fn state_that_grows_beyond_the_limit_ends_the_run_and_names_step_bytes_and_setting() {
    let state = "update_state_by_key = 'lambda new, old: sum(new) + (old or 0)'";
    let steps = format!("{SPLIT}{PAIRS}[[steps]]\nname = \"ever\"\n{state}\n[[steps]]\ncount = true\n");
    let said = ["step ever holds ", " bytes of ", "memory_limit is 4194304", "Raise memory_limit"];
    ends(size().lines, "4MiB", "", &steps, &said);
}

#[test]
fn one_element_beyond_the_limit_ends_the_run_and_names_step_bytes_and_setting() {
    let steps = "[[steps]]\nname = \"blown\"\nmap = 'lambda record: record.value * 100000'\n[[steps]]\ncount = true\n";
    let said = [
        "step blown asks for more than 4194304 bytes for one element",
        "memory_limit is 4194304",
        "Raise memory_limit",
    ];
    ends(100, "4MiB", "", steps, &said);
}

#[test]
fn a_lambda_without_bound_or_end_ends_the_run_and_names_its_step() {
    let functions = r#"
[functions]
code = '''
def grow(record):
    grown = []
    for i in range(1000000):
        grown.append(record.value + str(i))
    return len(grown)
'''
"#;
    ends(
        10,
        "16MiB",
        functions,
        "[[steps]]\nname = \"grown\"\nmap = \"grow\"\n",
        &["step grown asks for more than 16777216 bytes for one element; memory_limit is 16777216"],
    );
    let at_once = "[[steps]]\nname = \"blown\"\nmap = 'lambda record: record.value * 1000000000'\n";
    ends(10, "16MiB", "", at_once, &["step blown cannot take an element: more than 268435456 bytes for one element"]);
    let endless = "[[steps]]\nname = \"spun\"\nmap = 'lambda record: sum([0 for i in range(10000000000)])'\n";
    ends(10, "16MiB", "", endless, &["step spun", "for one element"]);
}

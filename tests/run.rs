//! Whole jobs on the embedded broker and on queues: bounded runs, signals, edits, and checkpoints that are refused.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::support::{COUNTED, Ended, Place, START_MS, blocks, wait_until};

const LINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/data/harbour.txt");

/// Word counts of the harbour on an embedded broker, 20 records of each partition a batch, into `out.log`.
fn harbour(more: &str) -> String {
    format!(
        r#"
name = "harbour"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "embedded"
topics = ["words"]
max_records_per_partition = 20
[source.embedded]
lines = "{LINES}"
repeat = 3
rate = 1_000_000_000
partitions = 3{COUNTED}{more}
"#
    )
}

/// Totals over a queue of `batches` lines, into `out.log`.
pub fn totals(place: &Place, batches: usize) {
    let line = |batch: usize| format!("[\"a\", \"b{}\", \"c{}\"]\n", batch % 3, batch % 7);
    place.write("queue.jsonl", (0..batches).map(line).collect::<String>());
    place.write("job.toml", TOTALS);
}

const TOTALS: &str = r#"
name = "totals"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
pprint = { num = 1000, to = "out.log" }
"#;

/// Sum of all `(word, count)` lines of a log.
pub fn sums(log: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in blocks(log).into_iter().flat_map(|block| block.lines) {
        // A word with an apostrophe is in double quotes.
        let pair =
            line.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).and_then(|pair| pair.split_once(", "));
        let (word, count) = pair.unwrap_or_else(|| panic!("no pair: {line}"));
        *sums.entry(word[1..word.len() - 1].to_owned()).or_default() += count.parse::<u64>().expect("count");
    }
    sums
}

/// Counts of words, by no part of kstream.
pub fn truth<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut truth = BTreeMap::new();
    for word in lines.into_iter().flat_map(|line| line.split(' ')) {
        *truth.entry(word.to_owned()).or_default() += 1;
    }
    truth
}

#[test]
fn a_bounded_run_reads_everything_once_and_ends() {
    let place = Place::with_job(&harbour(""));
    place.catch_up();
    let log = place.read("out.log");
    let text = fs::read_to_string(LINES).unwrap();
    let expected = truth((0..3).flat_map(|_| text.lines()));
    assert_eq!(sums(&log), expected);
    let times: Vec<_> = blocks(&log).into_iter().map(|block| block.time).collect();
    assert!(times.len() > 5 && times.is_sorted(), "{times:?}");
    assert_eq!(times.last().unwrap(), "2023-11-14 22:13:20");
    place.catch_up().says(&["batches=0"]);
    assert_eq!(place.read("out.log"), log, "nothing is left to do");
}

#[test]
fn replay_prints_what_was_printed_and_verify_finds_no_difference() {
    let place = Place::with_job(&harbour("[[steps]]\nname = \"shown\"\npprint = 7\n"));
    let printed = place.catch_up().out;
    place.write("shown.toml", harbour("[[steps]]\nname = \"shown\"\npprint = 7\n").replace(", to = \"out.log\"", ""));
    let files = place.files("checkpoint");
    place.kstream("replay job.toml --verify").expect(0);
    let replayed = place.kstream("replay shown.toml").expect(0).out;
    let (of_log, of_stdout): (Vec<_>, Vec<_>) =
        blocks(&replayed).into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let bare = |blocks: Vec<(usize, _)>| blocks.into_iter().map(|(_, block)| block).collect::<Vec<_>>();
    assert_eq!(bare(of_stdout), blocks(&printed));
    assert_eq!(bare(of_log), blocks(&place.read("out.log")));
    let one = place.kstream("replay shown.toml --batch 3").expect(0).out;
    assert_eq!(blocks(&one), blocks(&replayed)[6..8]);
    place.kstream("replay job.toml --batch 999").expect(2).says(&["999", "0 to"]);
    assert_eq!(place.files("checkpoint"), files, "a replay touches no checkpoint");
}

#[test]
fn a_replay_starts_from_the_state_of_the_batch_before() {
    let place = Place::with_job("");
    totals(&place, 30);
    place.catch_up();
    place.kstream("replay job.toml --verify").expect(0);
    place.write("shown.toml", TOTALS.replace(", to = \"out.log\"", ""));
    let late = place.kstream("replay shown.toml --from 20 --to 22").expect(0).out;
    assert_eq!(blocks(&late), blocks(&place.read("out.log"))[20..23]);
}

#[test]
fn a_verified_replay_with_other_input_tells_the_batches() {
    let place = Place::with_job("");
    totals(&place, 5);
    place.catch_up();
    let queue = place.read("queue.jsonl");
    place.write("queue.jsonl", queue.replacen("b2", "zz", 1));
    place.kstream("replay job.toml --verify").expect(3).says(&["queue.jsonl", "batch 0"]);
}

#[test]
fn a_verified_replay_is_of_the_job_that_ran_whatever_the_file_says_now() {
    let place = Place::with_job("");
    totals(&place, 5);
    place.catch_up();
    let more = place.read("queue.jsonl") + "[\"a\"]\n";
    place.write("queue.jsonl", more);
    let files = place.files("checkpoint");
    let check = |edited: &str, args: &str, code, says: &[&str]| {
        assert_ne!(edited, TOTALS, "{says:?}");
        place.write("edited.toml", edited);
        place.kstream(&format!("replay edited.toml {args}")).expect(code).says(says);
    };
    let upper = TOTALS.replace("(word, 1)", "(word.upper(), 1)");
    check(&upper, "--verify", 0, &["WARN", "step `map#1` has changed", "verified"]);
    check(&TOTALS.replace("num = 1000", "num = 1"), "--verify", 0, &["step `pprint#1` has changed", "verified"]);
    check(&TOTALS.replace("name = \"totals\"\nupdate", "name = \"sums\"\nupdate"), "--verify", 0, &["verified"]);
    check(
        &TOTALS.replace("path = \"queue.jsonl\"", "path = \"queue.jsonl\"\npartitions = 3"),
        "--verify",
        0,
        &["verified"],
    );
    let renamed = TOTALS.replace("[source]", "[sources.words]");
    check(&renamed, "--verify", 3, &["batch 0", "Source `source` is gone", "Put the source back"]);
    let kafka = "kind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\ntopics = [\"t\"]";
    let of_kafka = TOTALS.replace("kind = \"queue\"\npath = \"queue.jsonl\"", kafka);
    check(&of_kafka, "--verify", 3, &["Source `source` is of another kind"]);
    let others = TOTALS.replacen("name = \"totals\"", "name = \"others\"", 1);
    for args in ["--verify", "--batch 1"] {
        check(&others, args, 3, &["belongs to job \"totals\"", "\"others\""]);
    }
    assert_eq!(place.files("checkpoint"), files, "a replay touches no checkpoint");
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn an_allowed_edit_goes_on_and_a_dropped_state_needs_to_be_accepted() {
    let place = Place::with_job("");
    totals(&place, 4);
    place.catch_up();
    let more = place.read("queue.jsonl") + "[\"a\"]\n";
    place.write("queue.jsonl", more);
    place.write("job.toml", TOTALS.replace("(word, 1)", "(word.upper(), 1)"));
    place.catch_up();
    let log = place.read("out.log");
    let last = blocks(&log).pop().unwrap();
    assert!(last.lines.contains(&"('A', 1)".to_owned()) && last.lines.contains(&"('a', 4)".to_owned()), "{last:?}");

    place.write("job.toml", TOTALS.replace("name = \"totals\"\nupdate", "name = \"sums\"\nupdate"));
    let files = place.files("checkpoint");
    let bounded = format!("run job.toml --until-caught-up --manual-clock {START_MS}");
    place.kstream(&bounded).expect(3).says(&["totals", "--accept-changes"]);
    assert_eq!(place.files("checkpoint"), files, "a refusal changes nothing");
    assert_eq!(place.read("out.log"), log);
    let more = place.read("queue.jsonl") + "[\"n\"]\n";
    place.write("queue.jsonl", more);
    place.kstream(&format!("{bounded} --accept-changes")).expect(0);
    assert_eq!(blocks(&place.read("out.log")).pop().unwrap().lines, ["('n', 1)"], "the state began anew");
    place.kstream(&bounded).expect(0);
    place.kstream("replay job.toml --verify").expect(0);
}

/// A live run of the harbour on a clock that jumps: batch after batch, most of them empty.
fn live(place: &Place) -> super::support::Running {
    let running = place.start(&format!("run job.toml --manual-clock {START_MS}"));
    wait_until("the first batches", || blocks_so_far(place) >= 3);
    running
}

fn blocks_so_far(place: &Place) -> usize {
    place.read("out.log").matches("Time: ").count()
}

#[test]
fn a_signal_drains_and_the_ledger_can_be_read_meanwhile() {
    for signal in ["-TERM", "-INT"] {
        let place = Place::with_job(&harbour(""));
        let mut running = live(&place);
        let ledger = place.ledger();
        assert!(ledger.len() >= 3, "{ledger:?}");
        assert_eq!(ledger[0]["status"], "committed");
        assert!(running.is_running());
        running.signal(signal);
        running.wait().expect(0);
        let ledger = place.ledger();
        assert!(ledger.iter().all(|row| row["status"] == "committed"), "the batch in flight is committed");
        assert_eq!(ledger.len(), blocks_so_far(&place));
        place.kstream("replay job.toml --verify --from 0 --to 3").expect(0);
    }
}

#[test]
fn a_second_process_is_told_who_has_the_checkpoint() {
    let place = Place::with_job(&harbour(""));
    let running = live(&place);
    let began = Instant::now();
    let pid = running.pid().to_string();
    let held = place.kstream("run job.toml").expect(5).says(&[&pid, "since"]);
    assert!(
        held.err.contains(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim()),
        "{held:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    place.kstream("rewind job.toml --to 0 --yes").expect(5).says(&[&pid]);
    running.signal("-TERM");
    running.wait().expect(0);
    place.kstream(&format!("run job.toml --max-batches 1 --manual-clock {START_MS}")).expect(0);
}

#[test]
fn a_second_signal_stops_a_batch_that_hangs() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = Place::with_job(&harbour("[[steps]]\npprint = 100_000\n"));
        // Nobody reads its stdout: publishing hangs once the pipe is full.
        let mut command = place.command(&format!("run job.toml --manual-clock {START_MS}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut before = 0;
        wait_until("a full pipe", || {
            thread::sleep(Duration::from_millis(300));
            let now = place.ledger_len();
            std::mem::replace(&mut before, now) == now && now > 0
        });
        let send = || {
            let pid = child.id().to_string();
            assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        };
        send();
        thread::sleep(Duration::from_millis(200));
        send();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

impl Place {
    /// Batches in the ledger; 0 where there is none yet.
    fn ledger_len(&self) -> usize {
        self.kstream("batches job.toml -o json").out.lines().count()
    }
}

#[test]
fn a_reader_that_leaves_ends_the_run_and_its_batch_is_not_committed() {
    let job = harbour("[[steps]]\npprint = 100_000\n").replace(", to = \"out.log\"", "");
    let place = Place::with_job(&job);
    let mut command = place.command(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 200];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap()).expect(0);
    assert!(!ended.err.contains("error"), "{}", ended.err);
    let ledger = place.ledger();
    assert_eq!(ledger.last().unwrap()["status"], "planned", "{ledger:?}");
    let whole = Place::with_job(&job);
    let shown = blocks(&whole.catch_up().out);
    let rest = blocks(&place.catch_up().out);
    let done = ledger.len() - 1;
    assert_eq!(rest, shown[2 * done..], "the batch that nobody read comes again");
}

#[test]
fn after_a_rewind_the_next_run_writes_the_same_log() {
    for job in [harbour(""), String::new()] {
        let place = Place::with_job(&job);
        if job.is_empty() {
            totals(&place, 10);
        }
        place.catch_up();
        let log = place.read("out.log");
        place.kstream("rewind job.toml --to 3").expect(2).says(&["--yes"]);
        place.kstream("rewind job.toml --to 3 --yes").expect(0);
        let cut = place.read("out.log");
        assert_eq!(blocks(&cut), blocks(&log)[..4], "the log is cut after batch 3");
        assert_eq!(place.ledger().len(), 4);
        place.catch_up();
        assert_eq!(place.read("out.log"), log);
        place.kstream("replay job.toml --verify").expect(0);
        place.kstream("rewind job.toml --to 99 --yes").expect(2).says(&["99"]);
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_and_nothing_changes() {
    let sound = Place::with_job("");
    totals(&sound, 40);
    sound.catch_up();
    let log = sound.read("out.log");
    let database = sound
        .files("checkpoint")
        .into_iter()
        .max_by_key(|(name, bytes)| (!name.ends_with("-wal"), bytes.len()))
        .unwrap();
    let (name, bytes) = database;
    let queue = sound.read("queue.jsonl") + "[\"late\"]\n";
    let check = |what: &str, damaged: Vec<u8>| {
        let place = Place::with_job(TOTALS);
        place.write("queue.jsonl", &queue);
        place.write("out.log", &log);
        fs::create_dir(place.path("checkpoint")).unwrap();
        for (name, bytes) in sound.files("checkpoint") {
            place.write(&format!("checkpoint/{name}"), bytes);
        }
        // The job's paths are absolute in its text: the copy is another place, so only the damage may decide.
        place.write(&format!("checkpoint/{name}"), damaged);
        let files = place.files("checkpoint");
        let ended = place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
        if ended.code == Some(3) {
            assert_eq!(place.files("checkpoint"), files, "{what}: a refusal changes nothing");
            assert_eq!(place.read("out.log"), log, "{what}");
        }
        ended.code
    };
    assert_eq!(check("sound", bytes.clone()), Some(0), "the copy itself is fine");
    for kept in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1, 100, 1] {
        assert_eq!(
            check(&format!("cut to {kept}"), bytes[..kept].to_vec()),
            Some(3),
            "cut to {kept} of {}",
            bytes.len()
        );
    }
    let mut refused = 0;
    let places = 16;
    for at in (0..places).map(|n| n * bytes.len() / places) {
        let mut damaged = bytes.clone();
        damaged[at..(at + 512).min(bytes.len())].iter_mut().for_each(|byte| *byte ^= 0x55);
        let code = check(&format!("flipped at {at}"), damaged);
        // A stretch that holds nothing may be flipped without harm.
        assert!(matches!(code, Some(0 | 3)), "flipped at {at}: {code:?}");
        refused += usize::from(code == Some(3));
    }
    assert!(refused >= places / 2, "only {refused} of {places} damages were seen");
}

/// Numbers of which one is none.
const POISONED: &str = r#"
name = "poisoned"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
[source]
kind = "kafka"
brokers = "embedded"
topics = ["numbers"]
[source.embedded]
lines = "numbers.txt"
rate = 1_000_000_000
partitions = 2
[[steps]]
name = "numbers"
map = "lambda record: int(record.value)"
[[steps]]
pprint = { num = 100, to = "out.log" }
"#;

#[test]
fn a_poison_record_is_named_or_skipped_and_counted() {
    let place = Place::with_job(POISONED);
    place.write("numbers.txt", "1\n2\n3\n4\n5\nsix\n7\n");
    place.kstream("run job.toml --until-caught-up").expect(1).says(&[
        "numbers",
        "numbers/1",
        "offset 2",
        "--> job.toml:15:23",
        "map = \"lambda record: int(record.value)\"",
        "six",
    ]);
    assert_eq!(place.read("out.log"), "");
    place.kstream("run job.toml --until-caught-up --set on_error=skip").expect(1);
    let place = Place::with_job(&POISONED.replace("batch_interval", "on_error = \"skip\"\nbatch_interval"));
    place.write("numbers.txt", "1\n2\n3\n4\n5\nsix\n7\n");
    place.kstream("run job.toml --until-caught-up --progress progress.jsonl").expect(0);
    let progress: serde_json::Value =
        serde_json::from_str(place.read("progress.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!(progress["poison"]["numbers"], 1, "{progress}");
    assert_eq!(progress["input_rows"], 7);
    assert_eq!(blocks(&place.read("out.log"))[0].lines, ["1", "3", "5", "7", "2", "4"]);
    let ledger = place.ledger();
    assert_eq!(ledger[0]["poison"]["numbers"], 1, "{ledger:?}");
}

#[test]
fn a_failing_function_is_shown_where_it_is_written() {
    let check = |change: &dyn Fn(&str) -> String, arguments: &str, says: &[&str]| {
        let place = Place::with_job(&change(POISONED));
        place.write("numbers.txt", "six\n");
        place.write("functions.star", "# What a number is\ndef number(record):\n    return int(record.value)\n");
        let run = format!("run job.toml --until-caught-up {arguments}");
        place.kstream(&run).expect(1).says(says);
        // The batch in flight is finished with the text of its job.
        place.kstream(&run).expect(1).says(&["int(record.value)", "^^^^"]);
    };
    let named = |functions: &str| POISONED.replace("\"lambda record: int(record.value)\"", "\"number\"") + functions;
    check(
        &|_| named("[functions]\ncode = '''\ndef number(record):\n  return int(record.value)\n'''\n"),
        "",
        &["--> job.toml:21:10", "21 |   return int(record.value)", "line 13 of the job file"],
    );
    check(
        &|_| named("[functions]\nfile = \"functions.star\"\n"),
        "",
        &["--> functions.star:3:12", "3 |     return int(record.value)"],
    );
    check(
        &|job| {
            job.replace("\"lambda record: int(record.value)\"", "\"lambda record: \\\"\\\" + str(int(record.value))\"")
        },
        "",
        &["--> job.toml:15:34"],
    );
    // The same function in two steps, and a function that is no main argument.
    check(
        &|job| {
            job.replace(
                "[[steps]]\npprint",
                "[[steps]]\nfrom = \"source\"\nmap = \"lambda record: int(record.value)\"\n[[steps]]\npprint",
            )
            .replace("record: int(record.value)\"\n[[steps]]\nfrom", "record: record.value\"\n[[steps]]\nfrom")
        },
        "",
        &["--> job.toml:18:23"],
    );
    check(
        &|job| {
            job.replace("\nmap = \"lambda record: int(record.value)\"", "\nmap = \"lambda record: (1, record)\"\n[[steps]]\ncombine_by_key = { create = \"lambda record: int(record.value)\", merge_value = \"lambda a, b: a\", merge_combiners = \"lambda a, b: a\" }")
        },
        "",
        &["--> job.toml:17:45"],
    );
    let place = Place::with_job(POISONED);
    place.write("numbers.txt", "six\n");
    let mut command = place.command("run job.toml --until-caught-up --set");
    command.arg("steps.numbers.map=lambda record: int(record.value)");
    place.spawn(command).wait().expect(1).says(&["--> --set:1:34", "^^^^"]);
}

#[test]
fn a_whole_record_may_be_the_value_of_a_pair() {
    let check = |steps: &str, expected: &[&str]| {
        let steps = format!("map = \"lambda record: (1, record)\"\n[[steps]]\n{steps}");
        let place = Place::with_job(&POISONED.replace("map = \"lambda record: int(record.value)\"", &steps));
        place.write("numbers.txt", "1\n2\n3\n");
        place.catch_up();
        assert_eq!(blocks(&place.read("out.log"))[0].lines, expected, "{steps}");
    };
    check("group_by_key = true", &["(1, [(None, '1'), (None, '3'), (None, '2')])"]);
    check("reduce_by_key = \"lambda a, b: b\"", &["(1, (None, '2'))"]);
    check(
        "combine_by_key = { create = \"lambda r: r.value\", merge_value = \"lambda a, r: a + r.value\", merge_combiners = \"lambda a, b: a + b\" }",
        &["(1, '132')"],
    );
    check("update_state_by_key = \"lambda values, old: len(values)\"", &["(1, 3)"]);
    check("partition_by = 2", &["(1, (None, '1'))", "(1, (None, '3'))", "(1, (None, '2'))"]);
    check("join = \"numbers\"\n[[steps]]\ncount = true", &["9"]);
    check("group_by_key_and_window = { length = \"2s\" }\n[[steps]]\nmap_values = \"len\"", &["(1, 3)"]);
}

#[test]
fn threads_that_the_system_does_not_give_are_told_as_such() {
    let place = Place::with_job(
        "name = 'k'\nbatch_interval = '1s'\n[source]\nkind = 'queue'\npath = 'q.jsonl'\n[[steps]]\npprint = 3\n",
    );
    place.write("q.jsonl", "[1]\n");
    place.catch_up();
    let mut replay = place.command("replay job.toml --threads 1024");
    // No system has room for one such stack.
    let output = replay.env("RUST_MIN_STACK", (1u64 << 46).to_string()).output().expect("kstream");
    let ended = Ended::from(output).expect(1);
    ended.says(&["error: cannot start 1024 threads: ", "`ulimit -u`", "hint: Ask for fewer with --threads"]);
}

//! Directories that are copied or moved together with a job, its checkpoint and its outputs.

use std::{fs, path::Path, process::Command};

use super::{
    old_checkpoint::copy,
    support::{Ended, Place, blocks},
};

/// Three batches; one that holds a `!` fails until there is a file `ok`.
const JOB: &str = r#"
name = "copied"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
name = "numbers"
map = "int"
on_error = "dead_letter"
dead_letter = { file = "dead.jsonl" }
[[steps]]
filter = "lambda number: number != 0"
[[steps]]
name = "gate"
command = "grep -q '^9' && test ! -e ok && exit 1; exit 0"
[[steps]]
name = "log"
pprint = { num = 100, to = "logs/out.log" }
[[steps]]
name = "parts"
to_file = { path = "parts", format = "text", layout = "batches" }
[[steps]]
name = "absolute"
pprint = { num = 100, to = "@/apart.log" }
"#;

/// A tree `one` with a job that has run.
struct Trees {
    place: Place,
}

impl Trees {
    fn run(queue: &str, code: i32) -> Trees {
        Trees::of(JOB, queue, code)
    }

    fn of(job: &str, queue: &str, code: i32) -> Trees {
        let place = Place::with_job("");
        fs::create_dir_all(place.path("one/logs")).unwrap();
        place.write("one/job.toml", job.replace('@', &place.path("").display().to_string()));
        place.write("one/queue.jsonl", queue);
        let trees = Trees { place };
        trees.kstream("one", "run job.toml").expect(code);
        trees
    }

    /// `kstream ARGS` in one of the trees.
    fn kstream(&self, tree: &str, args: &str) -> Ended {
        let mut command: Command = self.place.command(args);
        command.current_dir(self.place.path(tree));
        self.place.spawn(command).wait()
    }

    fn copy(&self, from: &str, to: &str) {
        copy(&self.place.path(from), &self.place.path(to));
    }

    /// What the outputs of a tree hold, and its database.
    fn written(&self, tree: &str) -> Vec<(String, Vec<u8>)> {
        let files = |dir: &str| {
            let path = format!("{tree}/{dir}");
            let there = Path::new(&self.place.path(&path)).is_dir();
            if there { self.place.files(&path) } else { Vec::new() }
        };
        let kept =
            |(name, _): &(String, Vec<u8>)| name.ends_with(".log") || name.contains(".db") || name == "dead.jsonl";
        let mut written: Vec<_> =
            [files(""), files("logs"), files("checkpoint")].concat().into_iter().filter(kept).collect();
        let parts = fs::read_dir(self.place.path(&format!("{tree}/parts"))).into_iter().flatten();
        written.extend(parts.map(|part| (part.unwrap().file_name().to_string_lossy().into_owned(), Vec::new())));
        written.sort();
        assert!(written.iter().any(|(name, _)| name.contains(".db")), "{written:?}");
        written
    }

    fn log(&self, tree: &str) -> Vec<String> {
        let blocks = blocks(&self.place.read(&format!("{tree}/logs/out.log")));
        blocks.into_iter().map(|block| block.lines.join(" ")).collect()
    }

    /// The job of tree `one`, with all of its paths absolute and in `tree`.
    fn by_absolute_paths(&self, tree: &str) -> String {
        let at = self.place.path(tree);
        let keys = [
            ("path", "queue.jsonl"),
            ("file", "dead.jsonl"),
            ("to", "logs/out.log"),
            ("path", "parts"),
            ("checkpoint_dir", "checkpoint"),
        ];
        keys.iter().fold(self.place.read("one/job.toml"), |job, (key, file)| {
            job.replace(&format!("{key} = \"{file}\""), &format!("{key} = \"{}\"", at.join(file).display()))
        })
    }

    fn letters(&self, tree: &str) -> usize {
        self.place.read(&format!("{tree}/dead.jsonl")).lines().count()
    }
}

const QUEUE: &str = "[\"1\", \"x\"]\n[\"2\"]\n[\"3\", \"y\"]\n";

#[test]
fn a_rewind_in_a_copy_does_not_cut_the_files_of_the_original() {
    let trees = Trees::run(QUEUE, 0);
    trees.copy("one", "two");
    let (one, two) = (trees.written("one"), trees.written("two"));
    let rewind = "rewind job.toml --to 0 --yes --leave-published";
    let refused = trees.kstream("two", rewind).expect(3).says(&["output log", "dead letters", "Nothing was changed"]);
    let place = |tree: &str| trees.place.path(tree).join("logs/out.log").display().to_string();
    let refused = refused.says(&[&place("one"), &place("two"), "Rewind in"]);
    assert!(!refused.err.contains("parts"), "it would be left as it is: {}", refused.err);
    assert!(!refused.err.contains("apart.log"), "both name it: {}", refused.err);
    assert_eq!((trees.written("one"), trees.written("two")), (one, two));
    // Once the copy has run, what it wrote last is its own.
    trees.place.write("two/queue.jsonl", format!("{QUEUE}[\"4\"]\n"));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=1"]);
    trees.kstream("two", "rewind job.toml --to 2 --yes --leave-published").expect(0);
    let numbers = ["1", "2", "3"].map(str::to_owned).to_vec();
    assert_eq!((trees.log("one"), trees.log("two")), (numbers.clone(), numbers));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=1"]);
    trees.kstream("two", rewind).expect(0);
    assert_eq!((trees.log("two"), trees.log("one").len()), (vec!["1".to_owned()], 3));
}

#[test]
fn a_copy_of_a_job_with_absolute_paths_leaves_the_files_of_the_original() {
    for in_flight in [false, true] {
        let trees = Trees::run("[\"5\", \"x\"]\n[\"9\", \"y\"]\n", 1);
        let absolute = |tree: &str| {
            let job = trees.by_absolute_paths(tree);
            trees.place.write(&format!("{tree}/absolute.toml"), job.replace("apart.log", &format!("{tree}.log")));
        };
        fs::remove_dir_all(trees.place.path("one/checkpoint")).unwrap();
        for file in ["one/dead.jsonl", "one/logs/out.log", "apart.log"] {
            fs::remove_file(trees.place.path(file)).unwrap();
        }
        fs::remove_dir_all(trees.place.path("one/parts")).unwrap();
        absolute("one");
        if !in_flight {
            trees.place.write("one/ok", "");
        }
        trees.kstream("one", "run absolute.toml").expect(i32::from(in_flight));
        trees.copy("one", "two");
        fs::copy(trees.place.path("one.log"), trees.place.path("two.log")).unwrap();
        absolute("two");
        let (one, two) = (trees.written("one"), trees.written("two"));
        trees
            .kstream("two", "rewind absolute.toml --to 0 --yes --leave-published")
            .expect(3)
            .says(&["Nothing was changed"]);
        if in_flight {
            trees.place.write("two/ok", "");
            trees.kstream("two", "run absolute.toml").expect(3).says(&["Nothing was changed"]);
        }
        // Where the original is does not matter.
        let log = trees.place.read("one.log");
        fs::rename(trees.place.path("one"), trees.place.path("renamed")).unwrap();
        for command in ["run absolute.toml", "rewind absolute.toml --to 0 --yes --leave-published"] {
            if in_flight || command.starts_with("rewind") {
                trees.kstream("two", command).expect(3).says(&["one.log", "The checkpoint was then in"]);
            }
        }
        assert_eq!(trees.place.read("one.log"), log);
        fs::rename(trees.place.path("renamed"), trees.place.path("one")).unwrap();
        if !in_flight {
            assert_eq!((trees.written("one"), trees.written("two")), (one.clone(), two.clone()));
            // Letters are known by their path: the copy begins its own. After a batch it cuts its own files.
            trees.kstream("two", "run absolute.toml").expect(3).says(&["dead.jsonl", "Move the file away"]);
            fs::remove_file(trees.place.path("two/dead.jsonl")).unwrap();
            trees.place.write("two/queue.jsonl", "[\"5\", \"x\"]\n[\"9\", \"y\"]\n[\"7\", \"z\"]\n");
            trees.kstream("two", "run absolute.toml").expect(0).says(&["batches=1"]);
            assert_eq!((trees.log("two").len(), trees.letters("two")), (3, 1));
            trees.kstream("two", "rewind absolute.toml --to 1 --yes --leave-published").expect(0);
            assert_eq!((trees.log("two").len(), trees.letters("two")), (2, 0));
        }
        assert_eq!(trees.written("one"), one);
        trees.kstream("one", "replay absolute.toml --verify").expect(0);
    }
}

#[test]
fn what_the_job_of_a_copy_dropped_is_left_and_told() {
    let trees = Trees::run(QUEUE, 0);
    trees.copy("one", "two");
    let one = trees.written("one");
    let job = trees.place.read("two/job.toml");
    trees
        .place
        .write("two/job.toml", job.replace("name = \"log\"", "name = \"other\"").replace("out.log", "other.log"));
    trees.place.write("two/queue.jsonl", format!("{QUEUE}[\"4\"]\n"));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=1"]);
    let rewind = "rewind job.toml --to 0 --yes --leave-published";
    trees.kstream("two", rewind).expect(0).says(&["it is left as it is", "output=\"log\""]);
    assert_eq!((trees.written("one"), trees.log("two").len()), (one, 3));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=3"]);
    assert_eq!((blocks(&trees.place.read("two/logs/other.log")).len(), trees.letters("two")), (3, 2));
    trees.place.write("two/job.toml", job);
    trees.kstream("two", "run job.toml").expect(3).says(&["does not fit", "give the step another `name`"]);
}

#[test]
fn a_batch_in_flight_is_not_finished_in_the_original_of_a_copy() {
    let trees = Trees::run("[\"1\", \"x\"]\n[\"9\", \"y\"]\n", 1);
    trees.copy("one", "two");
    for tree in ["one", "two"] {
        trees.place.write(&format!("{tree}/ok"), "");
    }
    let (one, two) = (trees.written("one"), trees.written("two"));
    let says = ["output log", "output parts", "dead letters", "checkpoint_dir", "Nothing was changed"];
    for edit in ["run job.toml", "run job.toml --set steps.log.pprint={num=1,to=\"other.log\"}"] {
        trees.kstream("two", edit).expect(3).says(&says);
        assert_eq!((trees.written("one"), trees.written("two")), (one.clone(), two.clone()), "{edit}");
    }
    trees.kstream("one", "run job.toml").expect(0);
    assert_eq!((trees.log("one"), trees.letters("one")), (vec!["1".to_owned(), "9".to_owned()], 2));
    trees.kstream("one", "replay job.toml --verify").expect(0).says(&["batches=2"]);
}

#[test]
fn a_tree_that_was_moved_goes_on_where_it_is() {
    let trees = Trees::run("[\"1\", \"x\"]\n[\"9\", \"y\"]\n[\"5\", \"z\"]\n", 1);
    fs::rename(trees.place.path("one"), trees.place.path("two")).unwrap();
    trees.place.write("two/ok", "");
    trees.kstream("two", "run job.toml").expect(0);
    assert_eq!((trees.log("two"), trees.letters("two")), (vec!["1".to_owned(), "9".to_owned(), "5".to_owned()], 3));
    assert_eq!(fs::read_dir(trees.place.path("two/parts")).unwrap().count(), 3);
    assert!(!trees.place.path("one").exists());
    trees.kstream("two", "replay job.toml --verify").expect(0).says(&["batches=3"]);
    // Moved with nothing in flight: it goes on, and can be taken back.
    fs::rename(trees.place.path("two"), trees.place.path("three")).unwrap();
    trees.kstream("three", "rewind job.toml --to 1 --yes --leave-published").expect(0);
    assert_eq!((trees.log("three"), trees.letters("three")), (vec!["1".to_owned(), "9".to_owned()], 2));
    fs::rename(trees.place.path("three"), trees.place.path("four")).unwrap();
    trees.kstream("four", "run job.toml").expect(0).says(&["batches=1"]);
    assert_eq!((trees.log("four"), trees.letters("four")), (vec!["1".to_owned(), "9".to_owned(), "5".to_owned()], 3));
}

#[test]
fn dead_letters_are_taken_back_over_any_number_of_moves() {
    let all = "[\"1\", \"x\"]\n[\"2\", \"y\"]\n[\"3\", \"z\"]\n[\"4\", \"w\"]\n";
    let trees = Trees::run("[\"1\", \"x\"]\n[\"2\", \"y\"]\n", 0);
    for (number, (tree, next)) in [("one", "two"), ("two", "three")].into_iter().enumerate() {
        fs::rename(trees.place.path(tree), trees.place.path(next)).unwrap();
        let lines: Vec<&str> = all.split_inclusive('\n').take(3 + number).collect();
        trees.place.write(&format!("{next}/queue.jsonl"), lines.concat());
        trees.kstream(next, "run job.toml").expect(0).says(&["batches=1"]);
    }
    for (to, left) in [("2", 3), ("0", 1), ("start", 0)] {
        let rewind = format!("rewind job.toml --to {to} --yes --leave-published");
        trees.kstream("three", &rewind).expect(0);
        assert_eq!((trees.log("three").len(), trees.letters("three")), (left, left), "{to}");
        if to == "start" {
            fs::remove_dir_all(trees.place.path("three/parts")).unwrap();
        }
        trees.kstream("three", "run job.toml").expect(0).says(&[&format!("batches={}", 4 - left)]);
        assert_eq!((trees.log("three").len(), trees.letters("three")), (4, 4), "{to}");
    }
    trees.kstream("three", "replay job.toml --verify").expect(0).says(&["batches=4"]);
}

#[test]
fn dead_letters_by_an_absolute_path_are_the_same_from_any_directory() {
    let trees = Trees::run("[\"1\", \"x\"]\n", 0);
    let job = trees.by_absolute_paths("one");
    for dir in ["one/checkpoint", "one/parts", "one/logs"] {
        fs::remove_dir_all(trees.place.path(dir)).unwrap();
    }
    fs::remove_file(trees.place.path("one/dead.jsonl")).unwrap();
    fs::remove_file(trees.place.path("apart.log")).unwrap();
    fs::create_dir_all(trees.place.path("one/logs")).unwrap();
    fs::create_dir_all(trees.place.path("two")).unwrap();
    let run = |tree: &str, lines: usize| {
        let queue: String = (0..lines).map(|line| format!("[\"{line}\", \"x\"]\n")).collect();
        trees.place.write("one/queue.jsonl", queue.replace("\"0\"", "\"5\""));
        trees.place.write(&format!("{tree}/absolute.toml"), &job);
        trees.kstream(tree, "run absolute.toml").expect(0).says(&["batches=1"]);
        assert_eq!(trees.letters("one"), lines);
    };
    for (lines, tree) in [(1, "one"), (2, "two"), (3, "one")] {
        run(tree, lines);
    }
    for tree in ["one", "two"] {
        trees.kstream(tree, "replay absolute.toml --verify").expect(0).says(&["batches=3"]);
    }
    trees.kstream("two", "rewind absolute.toml --to 0 --yes --leave-published").expect(0);
    assert_eq!(trees.letters("one"), 1);
}

#[test]
fn dead_letters_that_rest_for_a_while_go_on_after_a_move() {
    let trees = Trees::run("[\"1\", \"x\"]\n", 0);
    let job = trees.place.read("one/job.toml");
    let skips = job.replace("\"dead_letter\"\ndead_letter = { file = \"dead.jsonl\" }", "\"skip\"");
    assert!(skips != job);
    trees.place.write("one/job.toml", skips);
    trees.place.write("one/queue.jsonl", "[\"1\", \"x\"]\n[\"2\", \"y\"]\n");
    trees.kstream("one", "run job.toml").expect(0).says(&["batches=1"]);
    fs::rename(trees.place.path("one"), trees.place.path("two")).unwrap();
    trees.place.write("two/job.toml", job);
    trees.place.write("two/queue.jsonl", QUEUE.replace("[\"2\"]", "[\"2\", \"y\"]"));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=1"]);
    assert_eq!((trees.log("two").len(), trees.letters("two")), (3, 2));
    trees.kstream("two", "rewind job.toml --to 0 --yes --leave-published").expect(0);
    assert_eq!((trees.log("two").len(), trees.letters("two")), (1, 1));
    trees.kstream("two", "run job.toml").expect(0);
    assert_eq!((trees.log("two").len(), trees.letters("two")), (3, 3));
}

#[test]
fn dead_letters_go_on_and_back_however_their_path_is_written() {
    for spellings in [[0, 1, 2, 0, 1], [1, 0, 0, 1, 0], [0, 0, 2, 0, 0], [2, 1, 0, 2, 2]] {
        let trees = Trees::run("", 0);
        let job = trees.place.read("one/job.toml");
        let absolute = trees.place.path("one/dead.jsonl").display().to_string();
        let run = |line: usize, batches: usize| {
            let paths = ["dead.jsonl".to_owned(), absolute.clone(), absolute.replace("/dead", "/.//dead")];
            let spelled = job.replace("dead.jsonl", &paths[spellings[line]]);
            trees.place.write("one/job.toml", spelled);
            trees.place.write("one/queue.jsonl", lines(line));
            trees.kstream("one", "run job.toml").expect(0).says(&[&format!("batches={batches}")]);
            let letters = fs::read_to_string(trees.place.path("one/dead.jsonl")).unwrap_or_default().lines().count();
            assert_eq!((trees.log("one").len(), letters), (line + 1, line), "{spellings:?}");
        };
        (0..5).for_each(|line| run(line, 1));
        for to in ["3", "2", "1", "0", "start"] {
            trees.kstream("one", &format!("rewind job.toml --to {to} --yes --leave-published")).expect(0);
            let left = to.parse().map_or(0, |to: usize| to + 1);
            assert_eq!(
                (trees.log("one").len(), trees.letters("one")),
                (left, left.saturating_sub(1)),
                "{spellings:?} {to}"
            );
            if to == "start" {
                fs::remove_dir_all(trees.place.path("one/parts")).unwrap();
            }
            // By each of the two jobs.
            let line = 4 - usize::from(to == "2");
            run(line, line + 1 - left);
            if line < 4 {
                run(4, 1);
            }
        }
        trees.kstream("one", "replay job.toml --verify").expect(0).says(&["batches=5"]);
    }
}

/// A line of the queue: the first one makes no letter.
fn lines(to: usize) -> String {
    (0..=to).map(|line| if line == 0 { "[\"5\"]\n".to_owned() } else { format!("[\"{line}\", \"x\"]\n") }).collect()
}

#[cfg(feature = "crash-points")]
#[test]
fn a_batch_in_flight_keeps_its_letters_whose_path_is_written_otherwise_since() {
    for (from, point, rewound) in [
        (0, "plan: logged", false),
        (1, "plan: logged", false),
        (0, "publish: done", false),
        (0, "publish: done", true),
    ] {
        let trees = Trees::run("", 0);
        let job = trees.place.read("one/job.toml");
        let absolute = trees.place.path("one/dead.jsonl").display().to_string();
        let spell = |spelling: usize| {
            let spelled = if spelling == 1 { job.replace("dead.jsonl", &absolute) } else { job.clone() };
            trees.place.write("one/job.toml", spelled);
        };
        spell(from);
        trees.place.write("one/queue.jsonl", lines(1));
        trees.kstream("one", "run job.toml").expect(0).says(&["batches=2"]);
        spell(1 - from);
        trees.place.write("one/queue.jsonl", lines(2));
        let mut killed: Command = trees.place.command("run job.toml");
        killed.current_dir(trees.place.path("one")).env("KSTREAM_CRASH_AT", point);
        assert_eq!(trees.place.spawn(killed).wait().code, None, "killed");
        spell(from);
        if rewound {
            trees.kstream("one", "rewind job.toml --to 1 --yes --leave-published").expect(0);
            assert_eq!((trees.log("one").len(), trees.letters("one")), (2, 1), "{from} {point}");
        }
        trees.kstream("one", "run job.toml").expect(0);
        assert_eq!((trees.log("one").len(), trees.letters("one")), (3, 2), "{from} {point}");
    }
}

#[test]
fn an_output_that_an_edit_moves_is_finished_where_it_was() {
    let trees = Trees::run("[\"1\", \"x\"]\n[\"9\", \"y\"]\n[\"5\"]\n", 1);
    trees.place.write("one/ok", "");
    let job =
        trees.place.read("one/job.toml").replace("name = \"log\"", "name = \"other\"").replace("out.log", "other.log");
    trees.place.write("one/job.toml", job);
    trees.kstream("one", "run job.toml").expect(0);
    assert_eq!(trees.log("one"), ["1", "9"]);
    assert_eq!(blocks(&trees.place.read("one/logs/other.log")).len(), 1);
}

#[test]
fn a_link_to_the_directory_is_the_directory() {
    let trees = Trees::run("[\"1\"]\n[\"9\"]\n", 1);
    std::os::unix::fs::symlink("one", trees.place.path("link")).unwrap();
    trees.place.write("one/ok", "");
    trees.kstream("link", "run job.toml").expect(0);
    assert_eq!(trees.log("one"), ["1", "9"]);
}

#[test]
fn a_batch_that_is_planned_after_a_move_is_finished_however_often_the_process_dies() {
    let trees = Trees::run("[\"1\", \"x\"]\n", 0);
    fs::rename(trees.place.path("one"), trees.place.path("two")).unwrap();
    trees.place.write("two/queue.jsonl", "[\"1\", \"x\"]\n[\"9\", \"y\"]\n");
    for _ in 0..2 {
        trees.kstream("two", "run job.toml").expect(1).says(&["output gate"]);
    }
    trees.copy("two", "three");
    trees.place.write("two/ok", "");
    trees.kstream("two", "run job.toml").expect(0);
    assert_eq!((trees.log("two"), trees.letters("two")), (vec!["1".to_owned(), "9".to_owned()], 2));
    trees.kstream("two", "replay job.toml --verify").expect(0).says(&["batches=2"]);
    trees.kstream("two", "rewind job.toml --to 0 --yes --leave-published").expect(0);
    assert_eq!((trees.log("two"), trees.letters("two")), (vec!["1".to_owned()], 1));
    trees.kstream("two", "run job.toml").expect(0);
    assert_eq!((trees.log("two"), trees.letters("two")), (vec!["1".to_owned(), "9".to_owned()], 2));
}

/// Rewound to the first of three batches by a process that dies as soon as that is decided.
#[cfg(feature = "crash-points")]
fn dies_in_a_rewind() -> Trees {
    let trees = Trees::run(QUEUE, 0);
    let mut command: Command = trees.place.command("rewind job.toml --to 0 --yes --leave-published");
    command.current_dir(trees.place.path("one")).env("KSTREAM_CRASH_AT", "rewind: logged");
    assert_eq!(trees.place.spawn(command).wait().code, None, "killed");
    assert_eq!((trees.log("one").len(), trees.letters("one")), (3, 2), "nothing is cut yet");
    trees
}

/// Between a rotation and the next write there is no file of the log's own name.
#[cfg(feature = "crash-points")]
#[test]
fn the_rotated_logs_of_the_original_are_left_by_a_copy() {
    let rotates = JOB.replace("to = \"logs/out.log\" }", "to = \"logs/out.log\", rotate = \"100\" }");
    let trees = Trees::of(&rotates, QUEUE, 0);
    let dies = |args: &str, point: &str| {
        let mut command: Command = trees.place.command(args);
        command.current_dir(trees.place.path("one")).env("KSTREAM_CRASH_AT", point);
        assert_eq!(trees.place.spawn(command).wait().code, None, "killed");
    };
    let logs = |tree: &str| trees.place.files(&format!("{tree}/logs"));
    trees.place.write("one/queue.jsonl", format!("{QUEUE}[\"4\"]\n"));
    dies("run job.toml", "log: rotated");
    assert!(!trees.place.path("one/logs/out.log").exists() && logs("one").len() > 1, "{:?}", logs("one"));
    trees.copy("one", "two");
    let before = logs("one");
    let rewind = "rewind job.toml --to 0 --yes --leave-published";
    trees.kstream("two", rewind).expect(3).says(&["output log", "Nothing was changed"]);
    assert_eq!((logs("one"), logs("two")), (before.clone(), before.clone()));
    dies(rewind, "rewind: logged");
    trees.copy("one", "three");
    trees.kstream("three", "run job.toml").expect(3).says(&["output log", "Nothing was changed"]);
    assert_eq!((logs("one"), logs("three")), (before.clone(), before));
    trees.kstream("one", "run job.toml").expect(0);
    trees.kstream("one", "replay job.toml --verify").expect(0).says(&["batches=4"]);
}

/// What the original has archived is no more the copy's than what it still has; the copy's own file is told with it.
#[test]
fn what_the_original_has_archived_is_left_and_told_by_a_copy_as_well() {
    let trees = Trees::run(QUEUE, 0);
    trees.copy("one", "two");
    fs::remove_file(trees.place.path("one/dead.jsonl")).unwrap();
    let job = trees.place.read("two/job.toml").replace("dead.jsonl", "new.jsonl");
    trees.place.write("two/job.toml", job);
    trees.place.write("two/queue.jsonl", format!("{QUEUE}[\"4\"]\n"));
    trees.kstream("two", "run job.toml").expect(0).says(&["batches=1"]);
    let letters = trees.place.read("two/dead.jsonl");
    let path = |name: &str| trees.place.path(name).display().to_string();
    let rewound = trees.kstream("two", "rewind job.toml --to 0 --yes --leave-published").expect(0);
    rewound.says(&["it is left as it is", &path("one/dead.jsonl"), &path("two/dead.jsonl")]);
    assert_eq!(trees.place.read("two/dead.jsonl"), letters);
    assert!(!trees.place.path("one/dead.jsonl").exists());
    assert_eq!((trees.log("one").len(), trees.log("two").len()), (3, 1));
}

#[cfg(feature = "crash-points")]
#[test]
fn a_rewind_that_a_kill_has_left_is_finished_where_the_directory_was_moved_to() {
    let trees = dies_in_a_rewind();
    trees.copy("one", "copy");
    trees.kstream("copy", "run job.toml").expect(3).says(&["output log", "dead letters", "Nothing was changed"]);
    fs::rename(trees.place.path("one"), trees.place.path("two")).unwrap();
    trees.kstream("two", "run job.toml").expect(0);
    assert_eq!((trees.log("two"), trees.letters("two")), (["1", "2", "3"].map(str::to_owned).to_vec(), 2));
    trees.kstream("two", "replay job.toml --verify").expect(0).says(&["batches=3"]);
}

#[cfg(feature = "crash-points")]
#[test]
fn a_rewind_that_a_kill_has_left_is_finished_by_the_job_that_wrote_though_it_was_edited() {
    let trees = dies_in_a_rewind();
    let job = trees.place.read("one/job.toml").replace("name = \"log\"", "name = \"other\"");
    let job = job.replace("out.log", "other.log").replace("dead.jsonl", "dead2.jsonl");
    trees.place.write("one/job.toml", job);
    trees.kstream("one", "run job.toml").expect(0);
    assert_eq!((trees.log("one"), trees.letters("one")), (vec!["1".to_owned()], 1), "cut back by the job that wrote");
    let other: Vec<_> = blocks(&trees.place.read("one/logs/other.log")).into_iter().map(|block| block.lines).collect();
    assert_eq!(other, [["2"], ["3"]]);
    assert_eq!(trees.place.read("one/dead2.jsonl").lines().count(), 1);
}

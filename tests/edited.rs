//! Edits between runs and what they do to state: given up, it begins anew at once; under another name, it goes on whole.
//! What they do to what is read is in `source`.

mod source;

use super::support::{Place, START_MS, blocks};

const LINES: [&str; 9] =
    ["['a','b']", "['a']", "['c','a']", "['b']", "['a','d']", "['b','b']", "['a']", "['d','a']", "['c']"];

/// How many lines were read before the edit.
const BEFORE: usize = 4;

fn job(steps: &str) -> String {
    format!(
        r#"
name = "edited"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
map = "lambda word: (word, 1)"
{steps}
"#
    )
}

/// The steps, the last into `out.log`.
fn logged(steps: &str) -> String {
    job(&format!("[[steps]]\n{steps}\n[[steps]]\npprint = {{ num = 1000, to = \"out.log\" }}"))
}

fn queue(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{}\n", line.replace('\'', "\""))).collect()
}

fn place(job: &str, lines: &[&str]) -> Place {
    let place = Place::with_job(job);
    place.write("queue.jsonl", queue(lines));
    place
}

fn run(place: &Place, more: &str) {
    place.kstream(&format!("run job.toml --manual-clock {START_MS} {more}")).expect(0);
}

/// Ends at a point of the first batch of a run.
fn killed(place: &Place, point: &str, more: &str) {
    let mut command = place.command(&format!("run job.toml --manual-clock {START_MS} {more}"));
    command.env("KSTREAM_CRASH_AT", point).env("KSTREAM_CRASH_REPORT", place.path("report"));
    let ended = place.spawn(command).wait();
    assert!(place.read("report").contains(point), "{point} was not reached: {}", ended.err);
}

const POINTS: [&str; 4] = ["plan: logged", "execute: begun", "publish: one output", "commit: logged"];

fn shown(place: &Place) -> Vec<Vec<String>> {
    blocks(&place.read("out.log")).into_iter().map(|block| block.lines).collect()
}

#[test]
fn a_state_that_is_given_up_begins_anew_in_that_run_and_in_the_next() {
    let sums = "update_state_by_key = \"lambda values, sum: len(values) + (sum or 0)\"";
    let mapped = "map_with_state = { func = \"lambda key, value, sum: ((key, (sum or 0) + 1), (sum or 0) + 1)\" }";
    let window = |length: u32, more: &str| {
        format!("reduce_by_key_and_window = {{ func = \"lambda a, b: a + b\", {more} length = \"{length}s\" }}")
    };
    let inverse = "inverse = \"lambda a, b: a - b\",";
    let counts = |length: u32| format!("count_by_window = {{ length = \"{length}s\" }}");
    let spread = format!("{sums}\n[[steps]]\nrepartition = 1").replace("\" }", "\"");
    let cases = [
        (sums.to_owned(), sums.replace("= \"lambda", "= { partitions = 3, func = \"lambda") + " }"),
        (window(4, inverse), window(2, inverse)),
        (window(4, inverse), window(4, "")),
        (window(2, ""), window(4, inverse)),
        (counts(3), counts(5)),
        (window(3, ""), sums.to_owned()),
        (sums.to_owned(), "window = \"3s\"".to_owned()),
        (window(3, ""), "window = \"3s\"".to_owned()),
        (sums.to_owned(), mapped.to_owned()),
        (mapped.to_owned(), spread),
    ];
    for (nth, (before, after)) in cases.into_iter().enumerate() {
        let [before, after] = [before, after].map(|step| logged(&format!("name = \"it\"\n{step}")));
        // What the edited job gives that has never seen the first lines.
        let alone = place(&after, &LINES[BEFORE..]);
        run(&alone, "");
        let expected = shown(&alone);

        let edited = place(&before, &LINES);
        run(&edited, &format!("--max-batches {BEFORE}"));
        edited.write("job.toml", &after);
        edited.kstream("run job.toml").expect(3).says(&["--accept-changes"]);
        match POINTS.get(nth % (POINTS.len() + 1)) {
            Some(point) => killed(&edited, point, "--accept-changes"),
            None => run(&edited, "--accept-changes --max-batches 2"),
        }
        run(&edited, "--max-batches 1");
        run(&edited, "");
        assert_eq!(shown(&edited)[BEFORE..], expected, "{before}{after}");
        edited.kstream("replay job.toml --from 0 --verify").expect(0);
    }
}

#[test]
fn initial_state_of_a_step_that_is_added_is_as_old_as_its_first_batch() {
    let late = "lambda key, value, state, late: ((key, state), None) if late else (None, value)";
    let step = format!("map_with_state = {{ func = \"{late}\", timeout = \"2s\", initial = \"initial.jsonl\" }}");
    let place = place(&logged("map_values = \"lambda count: count\""), &LINES[..BEFORE]);
    run(&place, "");
    place.write("job.toml", logged(&step));
    place.write("initial.jsonl", "[\"a\", 7]\n[\"z\", 9]\n");
    place.write("queue.jsonl", queue(&[&LINES[..BEFORE], &["['a']"], &["[]"; 4][..]].concat()));
    run(&place, "--max-batches 2");
    run(&place, "");
    let (none, a, z) = (vec![], vec!["('a', 1)".to_owned()], vec!["('z', 9)".to_owned()]);
    let both = [a, z].concat();
    assert_eq!(shown(&place)[BEFORE..], [none.clone(), none.clone(), none.clone(), both, none]);
    place.kstream(&format!("replay job.toml --from {BEFORE} --verify")).expect(0);
}

/// The log of a job before and after an edit is the one that it gives without.
fn goes_on(before: &str, after: &str) {
    let undisturbed = place(before, &LINES);
    run(&undisturbed, "");
    let expected = undisturbed.read("out.log");
    for point in POINTS {
        let edited = place(before, &LINES);
        run(&edited, &format!("--max-batches {BEFORE}"));
        edited.write("job.toml", after);
        killed(&edited, point, "");
        run(&edited, "--max-batches 1");
        // It says so once; what it says has been done.
        let again = edited.kstream(&format!("run job.toml --manual-clock {START_MS} --max-batches 1")).expect(0);
        assert!(!again.err.contains("takes over"), "{}", again.err);
        run(&edited, "");
        assert_eq!(edited.read("out.log"), expected, "{point}: {after}");
        edited.kstream("replay job.toml --from 0 --verify").expect(0);
        // Behind a rewind the state is known by its old name again, or by the new one.
        for back in [BEFORE - 1, BEFORE + 1] {
            edited.kstream(&format!("rewind job.toml --to {back} --yes")).expect(0);
            run(&edited, "");
            let lines = |log: &str| blocks(log).into_iter().map(|block| block.lines).collect::<Vec<_>>();
            assert_eq!(lines(&edited.read("out.log")), lines(&expected), "{point}, back to {back}: {after}");
        }
    }
}

#[test]
fn a_state_goes_on_whole_under_another_name() {
    for step in [
        "update_state_by_key = \"lambda values, sum: len(values) + (sum or 0)\"",
        "map_with_state = { func = \"lambda key, value, sum: ((key, (sum or 0) + 1), (sum or 0) + 1) if value else ((key, -1), None)\", timeout = \"3s\" }",
        "reduce_by_key_and_window = { func = \"lambda a, b: a + b\", inverse = \"lambda a, b: a - b\", length = \"3s\" }",
        "count_by_window = { length = \"3s\" }",
    ] {
        let operator = step.split(' ').next().expect("a word");
        goes_on(&logged(step), &logged(&format!("name = \"total\"\nwas = \"{operator}#1\"\n{step}")));
    }
}

#[test]
fn a_state_goes_on_under_another_name_where_its_step_rests_at_the_time() {
    let sums = "update_state_by_key = \"lambda values, sum: len(values) + (sum or 0)\"";
    let behind = |named: &str| {
        logged(&format!("name = \"w\"\nwindow = {{ length = \"3s\", slide = \"3s\" }}\n[[steps]]\n{named}\n{sums}"))
    };
    goes_on(&behind(""), &behind("name = \"other\"\nwas = \"update_state_by_key#1\""));
}

#[test]
fn two_states_get_names_in_another_order() {
    let sums = |was: &str, by: u32, log: &str| {
        format!(
            "[[steps]]\nfrom = \"pairs\"\n{was}\nupdate_state_by_key = \"lambda values, sum: {by} * len(values) + (sum or 0)\"\n\
             [[steps]]\nname = \"{log}\"\npprint = {{ num = 1000, to = \"{log}.log\" }}\n"
        )
    };
    let was = |nth: u32| format!("name = \"n{nth}\"\nwas = \"update_state_by_key#{nth}\"");
    let head = "[[steps]]\nname = \"pairs\"\nfilter = \"lambda pair: True\"\n";
    let before = format!("{head}{}{}", sums("", 1, "out"), sums("", 100, "other"));
    let after = format!("{head}{}{}", sums(&was(2), 100, "other"), sums(&was(1), 1, "out"));
    goes_on(&job(&before), &job(&after));
}

/// The state has another name in the edited job, and is given up all the same.
#[test]
fn a_state_that_is_given_up_under_another_name_begins_anew() {
    let window = |length: &str, inverse: &str, named: &str| {
        logged(&format!(
            "{named}reduce_by_key_and_window = {{ func = \"lambda a, b: a + b\", {inverse}length = \"{length}\", slide = \"1s\" }}"
        ))
    };
    let total = |partitions: u32, named: &str| {
        logged(&format!(
            "{named}update_state_by_key = {{ func = \"lambda values, total: sum(values) + (total or 0)\", partitions = {partitions} }}"
        ))
    };
    let inverse = "inverse = \"lambda a, b: a - b\", ";
    let window_was = "name = \"n\"\nwas = \"reduce_by_key_and_window#1\"\n";
    let total_was = "name = \"n\"\nwas = \"update_state_by_key#1\"\n";
    for (before, after) in [
        (window("5s", inverse, ""), window("2s", inverse, window_was)),
        (window("2s", inverse, ""), window("5s", inverse, window_was)),
        (window("3s", "", ""), window("3s", inverse, window_was)),
        (total(8, ""), total(3, total_was)),
    ] {
        // What the edited job shows of the rest of the input on a checkpoint of its own.
        let alone = place(&after.replace("was = ", "# was = "), &LINES[BEFORE..]);
        run(&alone, "");
        let expected: Vec<_> = blocks(&alone.read("out.log")).into_iter().map(|block| block.lines).collect();
        for point in POINTS.map(Some).into_iter().chain([None]) {
            let place = place(&before, &LINES);
            run(&place, &format!("--max-batches {BEFORE}"));
            place.write("job.toml", &after);
            place.kstream("run job.toml").expect(3).says(&["--accept-changes"]);
            match point {
                Some(point) => killed(&place, point, "--accept-changes"),
                None => run(&place, "--accept-changes --max-batches 1"),
            }
            run(&place, "--max-batches 1");
            run(&place, "");
            let mut found: Vec<_> = blocks(&place.read("out.log")).into_iter().skip(BEFORE).map(|b| b.lines).collect();
            found.truncate(expected.len());
            assert_eq!(found, expected, "{point:?} {after}");
            place.kstream("replay job.toml --verify").expect(0);
        }
    }
}

/// Windows lie on the ticks of the new interval; those of the old one come back with a rewind.
#[test]
fn another_interval_has_a_grid_of_its_own() {
    let job = |interval: &str, steps: &str| {
        job(&format!("{steps}[[steps]]\npprint = {{ num = 1000, to = \"out.log\" }}"))
            .replace("\"1s\"", &format!("\"{interval}\""))
    };
    let window = |length: &str, slide: &str| {
        format!("[[steps]]\ncount_by_window = {{ length = \"{length}\", slide = \"{slide}\" }}\n")
    };
    let before = job("3s", &window("6s", "3s"));
    for (interval, length, slide) in [("5s", "10s", "5s"), ("2s", "4s", "2s"), ("7s", "7s", "7s"), ("1s", "3s", "1s")] {
        let after = job(interval, &window(length, slide));
        let place = place(&before, &LINES);
        run(&place, &format!("--max-batches {BEFORE}"));
        let first = place.read("out.log");
        place.write("job.toml", &after);
        run(&place, "--accept-changes");
        let edited = place.read("out.log");
        let shown = blocks(&edited);
        let step: i64 = interval.trim_end_matches('s').parse::<i64>().unwrap() * 1000;
        let times: Vec<i64> = place.ledger().iter().map(|row| row["time"].as_i64().unwrap()).collect();
        assert!(times[BEFORE..].iter().all(|time| time % step == 0), "{interval}: {times:?}");
        assert_eq!(shown.len(), LINES.len(), "{interval}: one block a batch\n{edited}");
        assert!(shown[BEFORE + 1..].iter().all(|block| block.lines.len() == 1), "{interval}: {edited}");
        place.kstream("replay job.toml --verify").expect(0);

        // Back on the old grid: with the old job, and then with the edited one again.
        place.kstream(&format!("rewind job.toml --to {} --yes", BEFORE - 1)).expect(0);
        assert_eq!(place.read("out.log"), first);
        place.write("job.toml", &before);
        run(&place, "");
        let calm = crate::edited::place(&before, &LINES);
        run(&calm, "");
        assert_eq!(place.read("out.log"), calm.read("out.log"), "{interval}");
        place.kstream("replay job.toml --verify").expect(0);
        place.kstream(&format!("rewind job.toml --to {} --yes", BEFORE - 1)).expect(0);
        place.write("job.toml", &after);
        run(&place, "--accept-changes");
        assert_eq!(place.read("out.log"), edited, "{interval}");
    }
}

/// An edit that never came to a plan has changed nothing: neither the grid nor which jobs are known.
#[test]
fn what_an_edit_brings_is_stored_with_its_first_plan() {
    let counted = |interval: &str, window: &str| {
        job(&format!(
            "[[steps]]\ncount_by_window = {{ length = \"{window}\", slide = \"{window}\" }}\n\
             [[steps]]\npprint = {{ num = 1000, to = \"out.log\" }}"
        ))
        .replace("\"1s\"", &format!("\"{interval}\""))
        .replace("[source]", "retention = { batches = 1 }\n[source]")
    };
    let (before, after) = (counted("2s", "4s"), counted("3s", "6s"));
    let lines: Vec<&str> = LINES.into_iter().chain(LINES).collect();
    let calm = place(&before, &lines);
    run(&calm, "");
    for point in ["commit: logged", "recover: done"] {
        let place = place(&before, &lines);
        run(&place, "--max-batches 6");
        killed(&place, "plan: logged", "");
        place.write("job.toml", &after);
        killed(&place, point, "--accept-changes");
        place.write("job.toml", &before);
        run(&place, "");
        assert_eq!(place.read("out.log"), calm.read("out.log"), "{point}");
    }

    // The batch in flight is finished, and purged is what is not kept any more, before the edited job plans.
    let plain = |added: u32| {
        logged(&format!("map = \"lambda pair: (pair[0], pair[1] + {added})\""))
            .replace("[source]", "retention = { batches = 1 }\n[source]")
    };
    let place = place(&plain(0), &LINES);
    run(&place, "--max-batches 3");
    killed(&place, "plan: logged", "");
    place.write("job.toml", plain(1));
    run(&place, "--max-batches 2");
    run(&place, "");
    let sums: Vec<_> = shown(&place).into_iter().map(|lines| lines.iter().any(|line| line.ends_with(", 2)"))).collect();
    assert_eq!(sums, [false, false, false, false, true, true, true, true, true]);
    place.kstream("replay job.toml --verify").expect(0);
}

/// A replay with the job at hand begins a state anew where the run did, and where it does not fit.
#[test]
fn a_replay_over_a_state_that_was_dropped_shows_what_the_run_showed() {
    let out = "[[steps]]\npprint = { num = 1000, to = \"out.log\" }";
    let counted = |partitions: u32| {
        let update = format!("{{ func = \"lambda new, old: (old or 0) + sum(new)\", partitions = {partitions} }}");
        job(&format!(
            "[[steps]]\nmap = \"lambda line: ('k', 1)\"\n[[steps]]\nname = \"s\"\nupdate_state_by_key = {update}\n{out}"
        ))
    };
    let place = place(&counted(2), &LINES);
    run(&place, &format!("--max-batches {BEFORE}"));
    place.write("job.toml", counted(3));
    run(&place, "--accept-changes");
    let shown = |text: &str| blocks(text).into_iter().map(|block| block.lines).collect::<Vec<_>>();
    let expected = shown(&place.read("out.log"));
    let all = place.kstream("replay job.toml").expect(0);
    assert_eq!(shown(&all.out), expected);
    let last = place.kstream(&format!("replay job.toml --batch {}", expected.len() - 1)).expect(0);
    assert_eq!(shown(&last.out), expected[expected.len() - 1..]);

    let window = format!("[[steps]]\nmap = \"lambda line: ('k', 1)\"\n[[steps]]\nname = \"s\"\nwindow = \"2s\"\n{out}");
    place.write("job.toml", job(&window));
    let other = place.kstream("replay job.toml --batch 1").expect(0);
    assert_eq!(shown(&other.out), [vec!["('k', 1)"]], "the window of batch 1 alone");
}

/// The job at hand begins with those states of then that are its own, and goes on with its own.
#[test]
fn a_replay_with_the_job_at_hand_mixes_no_states() {
    let values = |text: &str| blocks(text).into_iter().flat_map(|block| block.lines).collect::<Vec<_>>();
    let counted =
        |head: &str, step: &str| logged(&format!("map = \"lambda pair: ('k', 1)\"\n[[steps]]\n{head}\n{step}"));
    let sums = |times: u32| format!("update_state_by_key = \"lambda new, old: (old or 0) + {times} * len(new)\"");
    let place_of_one = place(&counted("", &sums(1)), &["['a']"; 4]);
    run(&place_of_one, "--max-batches 2");
    let named = "name = \"w\"\nwas = \"update_state_by_key#1\"";
    place_of_one.write("job.toml", counted(named, &sums(1)));
    run(&place_of_one, "");
    let replayed = |job: &str, args: &str| {
        place_of_one.write("job.toml", job);
        place_of_one.kstream(&format!("replay job.toml {args}")).expect(0)
    };
    let tenfold = counted(named, &sums(10));
    assert_eq!(values(&replayed(&tenfold, "").out), ["('k', 10)", "('k', 20)", "('k', 30)", "('k', 40)"]);
    assert_eq!(values(&replayed(&tenfold, "--batch 2").out), ["('k', 12)"]);
    let other = replayed(&counted("name = \"w\"", "window = \"2s\""), "--batch 2");
    assert_eq!(values(&other.says(&["does not fit"]).out), ["('k', 1)"]);

    let plain = counted("name = \"w\"", &sums(1));
    assert_eq!(values(&replayed(&plain, "").out), ["('k', 1)", "('k', 2)", "('k', 3)", "('k', 4)"]);
    // A step that was away for a while began anew, as it does in the replay.
    let place_of_two = place(&counted("name = \"w\"", &sums(1)), &["['a']"; 6]);
    let away = logged("map = \"lambda pair: ('k', 0)\"");
    for (job, batches) in [(counted("name = \"w\"", &sums(1)), 2), (away, 2), (counted("name = \"w\"", &sums(1)), 2)] {
        place_of_two.write("job.toml", job);
        run(&place_of_two, &format!("--max-batches {batches} --accept-changes"));
    }
    let shown_again = values(&place_of_two.kstream("replay job.toml").expect(0).out);
    let expected: Vec<_> = [1, 2, 1, 2, 1, 2].iter().map(|count| format!("('k', {count})")).collect();
    assert_eq!(shown_again, expected, "given up with batch 2, begun anew with batch 4");

    let branch = |word: &str| {
        let head = format!("[[steps]]\nfrom = \"source\"\nfilter = \"lambda word: word == '{word}'\"");
        format!(
            "{head}\n[[steps]]\nmap = \"lambda word: (word, 1)\"\n[[steps]]\n{}\n[[steps]]\npprint = true\n",
            sums(1)
        )
    };
    let both = |first: &str, second: &str| {
        job(&(branch(first) + &branch(second)))
            .replace("[[steps]]\nmap = \"lambda word: (word, 1)\"\n[[steps]]\nfrom", "[[steps]]\nfrom")
    };
    let place = place(&both("a", "b"), &["['a','b']"; 2]);
    run(&place, "");
    place.write("job.toml", both("b", "a"));
    place.kstream("run job.toml").expect(3).says(&["stand in another order"]);
    let swapped = place.kstream("replay job.toml --batch 1").expect(0).says(&["does not fit"]);
    assert_eq!(values(&swapped.out), ["('b', 1)", "('a', 1)"]);
    assert_eq!(
        values(&place.kstream("replay job.toml").expect(0).out),
        ["('b', 1)", "('a', 1)", "('b', 2)", "('a', 2)"]
    );
}

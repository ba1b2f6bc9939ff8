//! Going back: whatever is cut, left or refused, the next run leaves what an undisturbed one leaves, or was told otherwise.

use super::{
    broker::broker,
    old_checkpoint::copy,
    support::{Place, START_MS, of_kafka},
};

fn head(more: &str) -> String {
    format!(
        "name = \"back\"\nbatch_interval = \"1s\"\ncheckpoint_dir = \"checkpoint\"\ntime_zone = \"UTC\"\n{more}\
         [source]\nkind = \"queue\"\npath = \"queue.jsonl\"\n"
    )
}

fn log(name: &str) -> String {
    format!("[[steps]]\nfrom = \"source\"\nname = \"{name}\"\npprint = {{ num = 1000, to = \"{name}.log\" }}\n")
}

/// A job on a queue of `lines` lines, a, b, c and so on.
fn place(job: &str, lines: u8) -> Place {
    let place = Place::with_job(job);
    let line = |nth: u8| format!("[\"{}\"]\n", char::from(b'a' + nth));
    place.write("queue.jsonl", (0..lines).map(line).collect::<String>());
    place
}

fn run(place: &Place, job: &str, more: &str) {
    place.write("job.toml", job);
    place.kstream(&format!("run job.toml --manual-clock {START_MS} {more}")).expect(0);
}

/// The elements in a log, without the lines that frame a batch.
fn elements(place: &Place, name: &str) -> String {
    let text = place.read(name);
    let is_element = |line: &&str| !line.is_empty() && !line.starts_with("---") && !line.starts_with("Time: ");
    text.lines().filter(is_element).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_output_is_cut_to_where_it_began_however_often_the_job_is_rewound() {
    let before = head("") + &log("raw");
    for (keys, name) in [
        ("pprint = { num = 1000, to = \"more.log\" }", "more.log"),
        ("pprint = { num = 1000, to = \"more.log\", append = true }", "more.log"),
        ("pprint = { num = 1000, to = \"more.log\", rotate = \"1B\" }", "more.log"),
        ("to_file = { path = \"more.txt\", layout = \"append\" }", "more.txt"),
        ("to_file = { path = \"more.txt\", layout = \"append\", append = true }", "more.txt"),
    ] {
        let after = format!("{before}[[steps]]\nfrom = \"source\"\nname = \"more\"\n{keys}\n");
        let place = place(&before, 4);
        let found = if keys.contains("append = true") { "found\n" } else { "" };
        if !found.is_empty() {
            place.write(name, found);
        }
        run(&place, &before, "--max-batches 2");
        run(&place, &after, "");
        let whole = place.read(name);
        assert!(whole.contains('d') && !whole.contains('b'), "{keys}: {whole}");
        for round in 0..3 {
            place.kstream("rewind job.toml --to 1 --yes").expect(0);
            assert_eq!(place.read(name), found, "{keys}, round {round}");
            assert_eq!(elements(&place, "raw.log"), "a b", "{keys}, round {round}");
            run(&place, &after, if round == 1 { "--max-batches 1" } else { "" });
        }
        run(&place, &after, "");
        assert_eq!(place.read(name), whole, "{keys}");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn an_output_that_seldom_writes_is_cut_though_the_batch_that_wrote_last_is_no_longer_kept() {
    let window = "[[steps]]\ncount_by_window = { length = \"3s\", slide = \"3s\" }\n[[steps]]\nname = \"win\"\n\
                  pprint = { num = 1000, to = \"win.log\", append = true }\n";
    let letters = "on_error = \"dead_letter\"\ndead_letter = { file = \"letters.jsonl\" }\n";
    let bad = "[[steps]]\nfrom = \"source\"\nmap = \"lambda line: 1 // (0 if line in ['b', 'k'] else 1)\"\n\
               [[steps]]\npprint = { num = 1000, to = \"good.log\" }\n";
    let job = head(&format!("{letters}retention = {{ batches = 2 }}\n")) + window + bad;
    let names = ["win.log", "letters.jsonl", "good.log"];
    let calm = place(&job, 13);
    run(&calm, &job, "");
    let expected = names.map(|name| calm.read(name));
    for stop in 4..13 {
        let place = place(&job, 13);
        run(&place, &job, &format!("--max-batches {stop}"));
        for _ in 0..2 {
            place.kstream(&format!("rewind job.toml --to {} --yes", stop - 2)).expect(0);
            run(&place, &job, "--max-batches 1");
        }
        run(&place, &job, "");
        assert_eq!(names.map(|name| place.read(name)), expected, "rewound at {stop}");
    }
}

#[test]
fn outputs_that_the_job_no_longer_has_are_cut_or_asked_about_as_the_others() {
    let less = head("") + &log("raw");
    let directories = "[[steps]]\nfrom = \"source\"\nname = \"files\"\nsave_as_text_files = \"saved/d\"\n";
    let more = less.clone() + &log("other") + directories;
    let place = place(&more, 6);
    run(&place, &more, "--max-batches 4");
    run(&place, &less, "--max-batches 1");
    let (files, raw) = (place.files("checkpoint"), place.read("raw.log"));
    place.kstream("rewind job.toml --to 1 --yes").expect(3).says(&["files", "--leave-published"]);
    assert_eq!((place.files("checkpoint"), place.read("raw.log")), (files.clone(), raw.clone()), "nothing is changed");

    // A log that is gone is told, and what the user wants.
    let other = place.read("other.log");
    std::fs::rename(place.path("other.log"), place.path("aside")).unwrap();
    let gone = place.kstream("rewind job.toml --to 4 --yes");
    gone.expect(0);
    place.kstream("rewind job.toml --to 3 --yes").expect(0);
    std::fs::rename(place.path("aside"), place.path("other.log")).unwrap();
    assert_eq!(place.read("other.log"), other);
    place.kstream("rewind job.toml --to 1 --yes --leave-published").expect(0);
    for name in ["raw.log", "other.log"] {
        assert_eq!(elements(&place, name), "a b", "{name}");
    }
    run(&place, &more, "");
    for name in ["raw.log", "other.log"] {
        assert_eq!(elements(&place, name), "a b c d e f", "{name}");
    }
    assert_eq!(std::fs::read_dir(place.path("saved")).unwrap().count(), 6);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_log_that_is_gone_stops_the_rewind_before_anything_is_changed() {
    let job = head("") + &log("raw") + &log("other");
    let place = place(&job, 6);
    run(&place, &job, "");
    let before = || (place.files("checkpoint"), place.read("raw.log"));
    let found = before();
    std::fs::rename(place.path("other.log"), place.path("aside")).unwrap();
    for more in ["", " --leave-published"] {
        place.kstream(&format!("rewind job.toml --to 2 --yes{more}")).expect(3).says(&["other.log", "are committed"]);
        assert!(before() == found, "a refusal changes nothing");
    }
    std::fs::rename(place.path("aside"), place.path("other.log")).unwrap();
    place.kstream("rewind job.toml --to 2 --yes").expect(0);
    assert_eq!(elements(&place, "other.log"), "a b c");

    // One that the job has no more may be left as it is.
    run(&place, &job, "--max-batches 2");
    run(&place, &(head("") + &log("raw")), "");
    std::fs::remove_file(place.path("other.log")).unwrap();
    let found = before();
    let asked = place.kstream("rewind job.toml --to 2 --yes").expect(3);
    asked.says(&["other.log", "--leave-published"]);
    assert!(before() == found, "a refusal changes nothing");
    place.kstream("rewind job.toml --to 2 --yes --leave-published").expect(0).says(&["it is left as it is"]);
    assert_eq!(elements(&place, "raw.log"), "a b c");
}

#[test]
fn an_older_copy_of_a_checkpoint_does_not_go_back_to_where_it_stands_unasked() {
    for output in [log("raw"), "[[steps]]\nsave_as_text_files = \"saved/d\"\n".to_owned()] {
        let job = head("") + &output;
        let place = place(&job, 6);
        run(&place, &job, "--max-batches 3");
        copy(&place.path("checkpoint"), &place.path("old"));
        run(&place, &job, "");
        std::fs::remove_dir_all(place.path("checkpoint")).unwrap();
        copy(&place.path("old"), &place.path("checkpoint"));
        let (files, log) = (place.files("checkpoint"), place.read("raw.log"));
        place.kstream("run job.toml").expect(3);
        place.kstream("rewind job.toml --to 2 --yes").expect(3).says(&["--leave-published"]);
        assert_eq!((place.files("checkpoint"), place.read("raw.log")), (files, log), "nothing is changed");
        place.kstream("rewind job.toml --to 2 --yes --leave-published").expect(0);
        run(&place, &job, "");
        if output.contains("raw") {
            assert_eq!(elements(&place, "raw.log"), "a b c d e f");
        } else {
            assert_eq!(std::fs::read_dir(place.path("saved")).unwrap().count(), 6);
        }
    }
}

#[test]
fn an_older_copy_is_rewound_though_its_log_has_rotated_since() {
    let job = head("") + "[[steps]]\npprint = { num = 1000, to = \"o.log\", rotate = \"400B\" }\n";
    let calm = place(&job, 8);
    run(&calm, &job, "");
    let names = ["o.log", "o.log.1", "o.log.2", "o.log.3", "o.log.4"];
    let expected = names.map(|name| calm.read(name));
    for to in ["start", "0", "1"] {
        let place = place(&job, 8);
        run(&place, &job, "--max-batches 2");
        copy(&place.path("checkpoint"), &place.path("old"));
        run(&place, &job, "--max-batches 5");
        std::fs::remove_dir_all(place.path("checkpoint")).unwrap();
        copy(&place.path("old"), &place.path("checkpoint"));
        place.kstream(&format!("rewind job.toml --to {to} --yes")).expect(3).says(&["--leave-published"]);
        place.kstream(&format!("rewind job.toml --to {to} --yes --leave-published")).expect(0);
        run(&place, &job, "");
        if to == "start" {
            // Its times are those of a new job on the clock of the machine or of the test: the same.
            assert_eq!(elements(&place, "o.log"), elements(&calm, "o.log"));
        } else {
            assert_eq!(names.map(|name| place.read(name)), expected, "{to}");
        }
    }
}

#[test]
fn a_log_is_cut_though_its_step_delivers_elsewhere_since() {
    let to = |output: &str| format!("{}[[steps]]\nname = \"o\"\n{output}\n", head(""));
    let log = to("pprint = { num = 1000, to = \"o.log\" }");
    for (other, more) in [
        (to("pprint = 10"), ""),
        (to("save_as_text_files = \"saved/d\""), " --leave-published"),
        (to("command = { run = [\"sh\", \"-c\", \"cat >/dev/null\"] }"), " --leave-published"),
    ] {
        let place = place(&log, 6);
        run(&place, &log, "--max-batches 2");
        run(&place, &other, "--max-batches 1");
        place.kstream(&format!("rewind job.toml --to 0 --yes{more}")).expect(0);
        assert_eq!(elements(&place, "o.log"), "a", "{other}");
        run(&place, &other, "--max-batches 1");
        run(&place, &log, "--max-batches 1");
        run(&place, &other, "--max-batches 1");
        place.kstream(&format!("rewind job.toml --to 0 --yes{more}")).expect(0);
        run(&place, &log, "");
        assert_eq!(elements(&place, "o.log"), "a b c d e f", "{other}");
    }
}

#[test]
fn a_queue_goes_on_after_a_rewind_over_an_edit_to_kafka() {
    let queue = head("") + &log("raw");
    let place = place(&queue, 5);
    run(&place, &queue, "--max-batches 3");
    place.write("lines.txt", "x\ny\n");
    let embedded = "[source]\nkind = \"kafka\"\nbrokers = \"embedded\"\ntopics = [\"words\"]\n\
                    [source.embedded]\nlines = \"lines.txt\"\n";
    let value = "[[steps]]\nmap = \"lambda record: record.value\"\n";
    let kafka = head("").replace("[source]\nkind = \"queue\"\npath = \"queue.jsonl\"\n", embedded)
        + value
        + &log("raw").replace("from = \"source\"\n", "");
    run(&place, &kafka, "--until-caught-up --accept-changes");
    assert_eq!(elements(&place, "raw.log"), "a b c x y");
    place.kstream("rewind job.toml --to 2 --yes").expect(0);
    run(&place, &queue, "");
    assert_eq!(elements(&place, "raw.log"), "a b c d e");
    place.kstream("replay job.toml --verify").expect(0);
}

/// What was read of a topic that was deleted says nothing of the one that has its name now.
#[test]
fn a_rewind_reads_all_of_a_topic_that_was_deleted_and_made_anew() {
    let Some(broker) = broker() else { return };
    let (gone, stays) = (broker.topic("gone", 1), broker.topic("stays", 1));
    broker.produce(gone.name(), 0, ["a0", "a1"]);
    broker.produce(stays.name(), 0, (0..10).map(|at| at.to_string()));
    let keys = "max_records_per_partition = 2\non_data_loss = \"skip\"";
    let steps = "[[steps]]\nmap = \"lambda record: record.value\"\n[[steps]]\nto_file = { path = \"o.txt\", layout = \"append\" }\n";
    let job = of_kafka("anew", "1s", (&broker.brokers, gone.name()), keys, steps)
        .replace("topics = [", &format!("topics = [\"{}\", ", stays.name()))
        .replace("[source]", "retention = { batches = 2 }\n[source]");
    let place = Place::with_job(&job);
    let once = "run job.toml --until-caught-up --max-batches 1";
    place.kstream(once).expect(0);
    broker.delete_topic(gone.name());
    for _ in 0..2 {
        place.kstream(once).expect(0).says(&["deleted"]);
    }
    broker.create_topic(gone.name(), 1, &[]);
    broker.produce(gone.name(), 0, ["b0", "b1", "b2", "b3"]);
    place.kstream(once).expect(0).says(&["recreated"]);
    place.kstream("rewind job.toml --to 2 --yes").expect(0);
    place.write("job.toml", job.replace("\"skip\"", "\"fail\""));
    place.kstream("run job.toml --until-caught-up").expect(4).says(&["created again"]);
    place.write("job.toml", &job);
    place.kstream("run job.toml --until-caught-up").expect(0).says(&["recreated"]);
    let mut shown: Vec<_> = place.read("o.txt").lines().map(str::to_owned).collect();
    shown.sort();
    assert_eq!(shown.join(" "), "0 1 2 3 4 5 6 7 8 9 a0 a1 b0 b1 b2 b3");
}

//! Checkpoints that earlier programs left, in `tests/data/checkpoint-v*`: each opens for ever, and goes on as it would have.

use std::{fs, path::Path};

use super::{
    run::{sums, truth},
    support::{Place, blocks},
};

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn fixture(name: &str) -> Place {
    let place = Place::with_job("");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint-v1").join(name), &place.path(""));
    place
}

const GO_ON: &str = "run job.toml --until-caught-up --manual-clock 1700000006000";

/// Words of the last block of a log of totals, against the whole input.
fn check_totals(place: &Place, text: &str) {
    let last = blocks(text).pop().unwrap();
    let rule = "-".repeat(43);
    let alone = format!("{rule}\nTime: {}\n{rule}\n{}\n\n", last.time, last.lines.join("\n"));
    assert_eq!(sums(&alone), truth(place.read("lines.txt").lines()), "nothing is lost, nothing doubled");
}

#[test]
fn a_checkpoint_of_format_1_opens_and_continues() {
    let place = fixture("outputs");
    let (log, windowed) = (place.read("out.log"), place.read("windowed.log"));
    let before = place.ledger();
    let digests: Vec<_> = before.iter().map(|row| (row["id"].as_u64(), row["outputs"].clone())).collect();
    assert_eq!(digests.len(), 6);
    assert!(before.iter().all(|row| row["status"] == "committed"), "{before:?}");
    place.kstream("replay job.toml --verify").expect(0).says(&["batches=6"]);
    place.kstream(GO_ON).expect(0);
    assert!(place.read("out.log").starts_with(&log) && place.read("windowed.log").starts_with(&windowed));
    let after = place.ledger();
    assert_eq!(after[..6].iter().map(|row| (row["id"].as_u64(), row["outputs"].clone())).collect::<Vec<_>>(), digests);
    assert_eq!(after.len(), 10);
    assert_eq!(blocks(&place.read("out.log")).len(), 10);
    assert_eq!(fs::read_dir(place.path("saved")).unwrap().count(), 10);
    check_totals(&place, &place.read("out.log"));
    place.kstream("replay job.toml --verify").expect(0).says(&["batches=10"]);
    place.kstream("rewind job.toml --to 2 --yes").expect(3).says(&["saved", "--leave-published"]);
    place.kstream("rewind job.toml --to 2 --yes --leave-published").expect(0);
    place.kstream(GO_ON).expect(0);
    check_totals(&place, &place.read("out.log"));
}

#[test]
fn a_checkpoint_of_format_1_with_a_batch_in_flight_finishes_it() {
    let place = fixture("in-flight");
    let before = place.ledger();
    assert_eq!((before.len(), before[6]["status"].as_str()), (7, Some("planned")));
    let shown = place.kstream(GO_ON).expect(0).out;
    let ledger = place.ledger();
    assert_eq!(ledger.len(), 10);
    assert_eq!((&ledger[6]["time"], &ledger[6]["ranges"]), (&before[6]["time"], &before[6]["ranges"]));
    let first = blocks(&shown).remove(0);
    assert_eq!(first.time, "2023-11-14 22:13:27", "the batch keeps its time");
    let totals: String = {
        let last = blocks(&shown).into_iter().find(|block| block.time == "2023-11-14 22:13:30").unwrap();
        let rule = "-".repeat(43);
        format!("{rule}\nTime: {}\n{rule}\n{}\n\n", last.time, last.lines.join("\n"))
    };
    check_totals(&place, &totals);
    place.kstream("replay job.toml --verify").expect(0).says(&["batches=10"]);
}

#[test]
fn dead_letters_that_were_known_by_their_absolute_path_go_on() {
    let letters = |place: &Place| place.read("dead.jsonl").lines().count();
    let queue = |place: &Place, more: &str| place.write("queue.jsonl", place.read("queue.jsonl") + more);
    let place = fixture("dead-letters");
    place.kstream("replay job.toml --verify").expect(0).says(&["batches=3"]);
    queue(&place, "[\"z\"]\n");
    place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    place.kstream("rewind job.toml --to 2 --yes").expect(0);
    assert_eq!(letters(&place), 2, "what it has written stays");
    place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    assert_eq!(letters(&place), 3);
    queue(&place, "[\"w\"]\n");
    place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    place.kstream("rewind job.toml --to 3 --yes").expect(0);
    assert_eq!(letters(&place), 3);
    place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    place.kstream("replay job.toml --verify").expect(0).says(&["batches=5"]);

    // What only the earlier version knew is not cut, whatever the user says.
    for to in ["0", "1", "start"] {
        for more in ["", "--leave-published"] {
            let before = (place.read("dead.jsonl"), place.read("out.log"));
            let rewind = format!("rewind job.toml --to {to} --yes {more}");
            place.kstream(&rewind).expect(3).says(&["an earlier version", "Rewind to batch 2"]);
            assert_eq!((place.read("dead.jsonl"), place.read("out.log")), before, "{rewind}");
        }
    }
    place.kstream("run job.toml").expect(0).says(&["batches=0"]);

    // Killed before its first commit of today, in a directory that was moved.
    #[cfg(feature = "crash-points")]
    for rewound in [false, true] {
        let place = fixture("dead-letters");
        queue(&place, "[\"z\"]\n[\"w\"]\n");
        let mut killed = place.command("run job.toml");
        killed.env("KSTREAM_CRASH_AT", if rewound { "publish: done" } else { "plan: logged" });
        assert_eq!(place.spawn(killed).wait().code, None, "killed");
        if rewound {
            place.kstream("rewind job.toml --to 2 --yes").expect(0);
            assert_eq!(letters(&place), 2);
        }
        place.kstream("run job.toml").expect(0);
        assert_eq!(letters(&place), 4);
    }

    // After a rest, and written otherwise.
    let place = fixture("dead-letters");
    let job = place.read("job.toml");
    place.write("job.toml", job.replace("\"dead_letter\"\ndead_letter = { file = \"dead.jsonl\" }", "\"skip\""));
    queue(&place, "[\"z\"]\n");
    place.kstream("run job.toml").expect(0).says(&["poison=1"]);
    assert_eq!(letters(&place), 2);
    for path in ["dead.jsonl", ".//dead.jsonl", "./dead.jsonl"] {
        place.write("job.toml", job.replace("dead.jsonl", path));
        queue(&place, "[\"w\"]\n");
        place.kstream("run job.toml").expect(0).says(&["batches=1"]);
    }
    assert_eq!(letters(&place), 5);
    place.kstream("rewind job.toml --to 4 --yes").expect(0);
    assert_eq!(letters(&place), 3);
    place.kstream("run job.toml").expect(0).says(&["batches=2"]);
    assert_eq!(letters(&place), 5);
}

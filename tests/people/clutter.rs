//! Files that are not ours stay as they are; what an earlier process left of its own goes.

use std::fs;

use super::{COUNTED, bounded, embedded};
use crate::support::{Place, START_MS};

#[test]
fn strangers_in_our_directories_stay_and_own_leftovers_go() {
    let steps = format!("{COUNTED}[[steps]]\nsave_as_text_files = \"saved/counts\"\n");
    let fill = |place: &Place| embedded(place, 100, 1, "max_records_per_partition = 10", &steps);
    let calm = Place::with_job("");
    fill(&calm);
    calm.catch_up();

    let place = Place::with_job("");
    fill(&place);
    let strangers = [
        "checkpoint/.DS_Store",
        "checkpoint/checkpoint.db~",
        "checkpoint/checkpoint.db.bak",
        "checkpoint/#checkpoint.db#",
        "saved/.DS_Store",
        "saved/notes.txt",
        "saved/counts-old/part-00000",
        "saved/counts",
        "saved/.counts-1700000001000.swp",
        "saved/.other-1700000001000.kstream-staged/part-00000",
        "out.log~",
        "out.log.bak",
        ".out.log.swp",
    ];
    let leftovers = ["checkpoint/checkpoint.db.new", "checkpoint/holder.json.new", "checkpoint/lock"];
    for name in strangers.iter().chain(&leftovers) {
        fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
        place.write(name, format!("of {name}"));
    }
    place.kstream(&format!("{} --max-batches 4", bounded())).expect(0);
    for name in &leftovers[..2] {
        assert!(!place.path(name).exists(), "{name} is left");
    }
    // As a process leaves them that was killed between commit and tidying.
    let staged: Vec<String> =
        ["staged", "replaced"].iter().map(|role| format!("saved/.counts-1700000000000.kstream-{role}")).collect();
    for dir in &staged {
        fs::create_dir_all(place.path(dir)).unwrap();
        place.write(&format!("{dir}/part-00000"), "half");
    }
    place.catch_up();
    for dir in &staged {
        assert!(!place.path(dir).exists(), "{dir} is left");
    }
    for name in strangers {
        assert_eq!(place.read(name), format!("of {name}"));
    }
    assert_eq!(place.read("out.log"), calm.read("out.log"));
    place.kstream("replay job.toml --verify").expect(0);
    place.kstream("rewind job.toml --to 2 --yes --leave-published").expect(0);
    place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}")).expect(0);
    for name in strangers {
        assert_eq!(place.read(name), format!("of {name}"), "after a rewind");
    }
    assert_eq!(place.read("out.log"), calm.read("out.log"));
    let hidden = fs::read_dir(place.path("saved")).unwrap().map(|entry| entry.unwrap().file_name());
    let ours: Vec<_> = hidden.filter(|name| name.to_string_lossy().starts_with(".counts-")).collect();
    assert_eq!(ours, [".counts-1700000001000.swp"], "nothing of ours is left aside");
}

#[test]
fn a_strange_line_in_one_log_is_found_before_any_log_shows_the_batch() {
    let place = Place::with_job("");
    let second = format!("{COUNTED}[[steps]]\npprint = {{ num = 1000, to = \"second.log\" }}\n");
    embedded(&place, 100, 1, "max_records_per_partition = 10", &second);
    place.kstream(&format!("{} --max-batches 2", bounded())).expect(0);
    let mut killed = place.command(&bounded());
    killed.env("KSTREAM_CRASH_AT", "stage: done").env("KSTREAM_CRASH_REPORT", place.path("report"));
    place.spawn(killed).wait();
    assert!(place.read("report").contains("stage: done"));
    let (first, own) = (place.read("out.log"), place.read("second.log"));
    place.write("second.log", format!("{own}of another program\n"));
    place
        .kstream(&bounded())
        .expect(3)
        .says(&["second.log does not fit the checkpoint", "19 that are not this batch's"]);
    assert_eq!(place.read("out.log"), first);
    place.write("second.log", own);
    place.catch_up();
    assert_eq!(place.read("out.log"), place.read("second.log"));
}

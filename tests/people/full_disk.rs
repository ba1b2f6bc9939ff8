//! Disks that fill up under a job: it ends with what is wrong and leaves nothing torn, and when there is room again the next
//! start leaves what an undisturbed run leaves.

use std::{collections::BTreeMap, fs, path::Path};

use super::{bounded, directories::Mount, shell};
use crate::support::{Place, wait_until};

const BATCHES: usize = 150;

/// Totals into a log and pairs into directories; each may lie on another disk.
fn job(place: &Place, checkpoint: &str, log: &str, saved: &str) {
    let line =
        |batch: usize| format!("[\"a\", \"b{}\", \"c{}\", \"{}\"]\n", batch % 3, batch % 7, "x".repeat(batch % 50));
    place.write("queue.jsonl", (0..BATCHES).map(line).collect::<String>());
    let text = format!(
        r#"
name = "filling"
batch_interval = "1s"
checkpoint_dir = "{checkpoint}/checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
name = "pairs"
map = "lambda word: (word, 1)"
[[steps]]
name = "totals"
update_state_by_key = "lambda values, total: sum(values) + (total or 0)"
[[steps]]
pprint = {{ num = 1000, to = "{log}/out.log" }}
[[steps]]
from = "pairs"
save_as_text_files = "{saved}/saved/pairs"
"#
    );
    place.write("job.toml", text);
}

/// Files of the outputs with their bytes, whatever disk they lie on.
fn outputs(place: &Place, dirs: &[&str]) -> BTreeMap<String, Vec<u8>> {
    fn gather(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() && name != "checkpoint" {
                gather(&entry.path(), &format!("{name}/"), files);
            } else if name != "checkpoint" && !name.ends_with("_SUCCESS") {
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    dirs.iter().for_each(|dir| gather(&place.path(dir), "", &mut files));
    files
}

fn calm() -> BTreeMap<String, Vec<u8>> {
    let place = Place::with_job("");
    job(&place, ".", "wide", "wide");
    place.kstream(&bounded()).expect(0);
    let files = outputs(&place, &["wide"]);
    assert_eq!(files.len(), 1 + BATCHES);
    files
}

/// What a reader sees of each batch is the whole of it.
fn assert_whole_batches(found: &BTreeMap<String, Vec<u8>>, calm: &BTreeMap<String, Vec<u8>>, case: &str) {
    for (name, bytes) in found.iter().filter(|(name, _)| !name.contains("/.")) {
        let whole = calm.get(name).unwrap_or_else(|| panic!("{case}: {name} is nobody's"));
        if name == "out.log" {
            assert!(whole.starts_with(bytes), "{case}: the log is no beginning of what it should be");
        } else {
            assert!(whole == bytes, "{case}: {name} is torn");
        }
    }
}

#[test]
fn a_full_disk_ends_the_job_and_costs_nothing_once_there_is_room() {
    let expected = calm();
    let check = |checkpoint: &str, log: &str, saved: &str, kib: usize, says: &[&str]| {
        let case = format!("{kib} KiB for {checkpoint} {log} {saved}");
        let place = Place::with_job("");
        let Some(disk) = Mount::tmpfs(place.path("disk"), &format!("size={kib}k")) else { return };
        let Some(_wide) = Mount::tmpfs(place.path("wide"), "size=64m") else { return };
        job(&place, checkpoint, log, saved);
        place.kstream(&bounded()).expect(1).says(says);
        assert_whole_batches(&outputs(&place, &["disk", "wide"]), &expected, &case);
        if place.path(checkpoint).join("checkpoint/checkpoint.db").exists() {
            let rows = place.ledger();
            let committed = rows.iter().filter(|row| row["status"] == "committed").count();
            assert!(rows.len() - committed <= 1 && rows.len() < BATCHES, "{case}: {rows:?}");
        }
        if checkpoint == "disk" {
            place.kstream(&bounded()).expect(1).says(&["start the job again"]);
        }
        disk.remount("size=64m");
        place.kstream(&bounded()).expect(0);
        let found = outputs(&place, &["disk", "wide"]);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{case}");
        assert!(found == expected, "{case}: other bytes than in an undisturbed run");
        place.kstream("replay job.toml --verify").expect(0);
    };
    for kib in [4, 40, 88, 120, 160] {
        check("disk", "wide", "wide", kib, &["checkpoint", "disk", "full", "start the job again"]);
    }
    check("wide", "disk", "wide", 20, &["out.log", "No space left", "3 of 3", "start the job again"]);
    check("wide", "wide", "disk", 300, &["saved", "No space left", "start the job again"]);
    // Whichever of the files takes the last page.
    check("disk", "disk", "disk", 400, &["start the job again"]);
}

#[test]
fn room_that_comes_back_while_a_batch_is_tried_again_is_used() {
    let expected = calm();
    let place = Place::with_job("");
    let Some(disk) = Mount::tmpfs(place.path("disk"), "size=20k") else { return };
    let Some(_wide) = Mount::tmpfs(place.path("wide"), "size=64m") else { return };
    job(&place, "wide", "disk", "wide");
    let running = place.start(&bounded());
    wait_until("a second try", || running.err().contains("trying the batch again"));
    disk.remount("size=64m");
    let again = "trying the batch again";
    let ended = running.wait().expect(0).says(&[again, "1 of 3", "No space left"]);
    let told = ended.err.lines().find(|line| line.contains(again)).unwrap();
    assert!(told.contains("1 of 3") && told.contains("No space left"), "{told}");
    assert!(outputs(&place, &["disk", "wide"]) == expected);
}

#[test]
fn a_limit_on_the_size_of_files_is_as_good_as_a_full_disk() {
    let expected = calm();
    // In blocks.
    for blocks in [16, 200, 400] {
        let place = Place::with_job("");
        job(&place, "wide", "wide", "wide");
        let limited = place.spawn(shell(&place, &format!("ulimit -f {blocks}; exec \"$0\" {}", bounded()))).wait();
        limited.expect(1).says(&["error: cannot", "start the job again"]);
        assert_whole_batches(&outputs(&place, &["wide"]), &expected, &format!("{blocks} blocks"));
        place.kstream(&bounded()).expect(0);
        assert!(outputs(&place, &["wide"]) == expected, "{blocks} blocks");
    }
}

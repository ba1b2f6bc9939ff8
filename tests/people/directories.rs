//! Checkpoint directories that cannot be one, checkpoints of others, job files of no sensible size: refused before anything
//! happens.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use super::{COUNTED, bounded, embedded};
use crate::support::{Place, START_MS};

/// A job that reads brokers at `address`.
fn reading(address: &str, checkpoint_dir: &Path) -> String {
    format!(
        r#"
name = "people"
batch_interval = "1s"
checkpoint_dir = "{}"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "{address}"
topics = ["words"]
unreachable_limit = "1s"
{COUNTED}
"#,
        checkpoint_dir.display()
    )
}

/// A file system of its own, which is gone with it.
pub struct Mount {
    dir: PathBuf,
}

impl Mount {
    /// None where this process may not mount.
    pub fn tmpfs(dir: PathBuf, options: &str) -> Option<Mount> {
        fs::create_dir_all(&dir).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&dir).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mount { dir });
        }
        eprintln!("no file system of its own here: this process may not mount");
        None
    }

    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.dir).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves behind may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

/// Nobody has connected to the listener.
#[track_caller]
fn assert_lonely(listener: &TcpListener, case: &str) {
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "{case}: a connection was made");
}

#[test]
fn a_directory_that_cannot_hold_a_checkpoint_is_refused_before_any_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place::with_job("");
    place.write("file", "of somebody");
    let read_only = Mount::tmpfs(place.path("ro"), "ro");
    let mut dirs: Vec<PathBuf> = vec![place.path("file"), place.path("file/below"), "/dev/null".into()];
    dirs.extend(
        ["/proc/nothing", "/sys/nothing"].map(PathBuf::from).into_iter().filter(|dir| dir.parent().unwrap().exists()),
    );
    if read_only.is_some() {
        dirs.extend([place.path("ro"), place.path("ro/below")]);
    }
    for dir in dirs {
        let case = dir.display().to_string();
        place.write("job.toml", reading(&address, &dir));
        for args in ["run job.toml", "run job.toml --until-caught-up", "rewind job.toml --to 0 --yes"] {
            place.kstream(args).expect(2).says(&["cannot be used", &case, "checkpoint_dir"]);
        }
        assert_lonely(&listener, &case);
        assert!(!place.path("out.log").exists(), "{case}");
    }
    assert_eq!(place.read("file"), "of somebody");
    // The same job, with a directory that can, does connect.
    place.write("job.toml", reading(&address, &place.path("fine")));
    place.kstream("run job.toml").expect(6);
    assert!(listener.accept().is_ok());
}

#[test]
fn a_checkpoint_that_became_read_only_is_refused_and_goes_on_when_it_is_not() {
    let place = Place::with_job("");
    let Some(disk) = Mount::tmpfs(place.path("disk"), "size=8m") else { return };
    embedded(&place, 60, 1, "max_records_per_partition = 20", COUNTED);
    place.write("job.toml", place.read("job.toml").replace("\"checkpoint\"", "\"disk/checkpoint\""));
    place.kstream(&format!("{} --max-batches 1", bounded())).expect(0);
    let (files, log) = (place.files("disk/checkpoint"), place.read("out.log"));
    disk.remount("ro");
    place.kstream(&bounded()).expect(2).says(&["cannot be used", "Read-only"]);
    assert_eq!((place.files("disk/checkpoint"), place.read("out.log")), (files, log));
    assert_eq!(place.ledger().len(), 1, "it can be read all the same");
    disk.remount("rw");
    place.catch_up();
    assert_eq!(place.ledger().len(), 3);
}

#[test]
fn a_checkpoint_of_another_job_is_refused_and_not_touched() {
    let theirs = Place::with_job("");
    embedded(&theirs, 60, 1, "", COUNTED);
    theirs.write("job.toml", theirs.read("job.toml").replace("\"people\"", "\"theirs\""));
    theirs.catch_up();
    let ours = Place::with_job("");
    embedded(&ours, 60, 1, "", COUNTED);
    fs::create_dir(ours.path("checkpoint")).unwrap();
    for (name, bytes) in theirs.files("checkpoint") {
        ours.write(&format!("checkpoint/{name}"), bytes);
    }
    let files = ours.files("checkpoint");
    for args in [&*bounded(), "rewind job.toml --to 0 --yes"] {
        ours.kstream(args).expect(3).says(&["theirs", "people"]);
    }
    assert_eq!(ours.files("checkpoint"), files, "a refusal changes nothing");
    assert!(!ours.path("out.log").exists());
}

/// The checksum of a row of the table `meta`: CRC-32C over table, key and body, texts after their lengths.
fn meta_checksum(key: &str, body: &str) -> u32 {
    let mut bytes = Vec::new();
    for text in ["meta", key] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(body.as_bytes());
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn a_checkpoint_of_a_newer_program_is_refused_with_both_versions() {
    let place = Place::with_job("");
    embedded(&place, 60, 1, "", COUNTED);
    place.catch_up();
    let (body, log) = (r#"{"format":9}"#, place.read("out.log"));
    let database = rusqlite::Connection::open(place.path("checkpoint/checkpoint.db")).unwrap();
    let rows = database
        .execute(
            "UPDATE meta SET body = ?, crc = ? WHERE key = 'format'",
            rusqlite::params![body, meta_checksum("format", body)],
        )
        .unwrap();
    assert_eq!(rows, 1);
    database.close().unwrap();
    // The log of the database is gone with its last user; a reader makes it anew, empty.
    let written = |place: &Place| {
        place.files("checkpoint").into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect::<Vec<_>>()
    };
    let files = written(&place);
    for args in [&*bounded(), "batches job.toml", "replay job.toml", "rewind job.toml --to 0 --yes"] {
        place.kstream(args).expect(3).says(&["version 9", "up to 1"]);
    }
    assert!(written(&place) == files, "a refusal changes nothing");
    assert_eq!(place.read("out.log"), log);
}

#[test]
fn a_job_file_of_ten_megabytes_and_one_that_is_none_are_refused_at_once() {
    let place = Place::with_job("");
    let check = |text: &[u8], says: &str| {
        place.write("job.toml", text);
        for args in ["check job.toml", "explain job.toml", "run job.toml", "replay job.toml", "batches job.toml"] {
            place.kstream(args).expect(2).says(&["job.toml", says]);
        }
        assert!(!place.path("checkpoint").exists() && !place.path(".kstream").exists(), "{says}");
    };
    check(&vec![b'#'; 10 << 20], "larger than 4 MiB");
    check(b"", "job.toml:1:1");
    check(b"name = 'x'\nbatch_interval = '\xe9s'\n", "job.toml:2:19");
    check(&[0_u8; 64], "job.toml:1:1");
    check(format!("name = {}\n", "[".repeat(100_000)).as_bytes(), "job.toml");
    check(format!("run job.toml {START_MS}").as_bytes(), "job.toml:1");
}

/// A job on a queue whose log is `log`, a word a batch.
fn logging(log: &str) -> Place {
    let place = Place::with_job(&format!(
        r#"
name = "logging"
batch_interval = "100ms"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "queue"
path = "queue.jsonl"
[[steps]]
pprint = {{ to = "{log}" }}
"#
    ));
    place.write("queue.jsonl", "[\"a\"]\n".repeat(2_000));
    place
}

#[test]
fn a_log_that_is_no_regular_file_is_refused_and_nothing_waits_for_its_reader() {
    let check = |log: &str, says: &str| {
        let place = logging(log);
        assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
        fs::create_dir(place.path("directory")).unwrap();
        let ended = place.kstream(&bounded()).expect(3);
        ended.says(&["cannot be a log", says, "`pprint` without `to` writes to standard output"]);
    };
    check("pipe", "It is a named pipe, not a regular file");
    check("directory", "It is a directory");
    check("/dev/null", "It is a device");
}

#[test]
fn a_log_that_becomes_a_pipe_under_the_job_ends_it() {
    let place = logging("out.log");
    place.kstream(&format!("{} --max-batches 3", bounded())).expect(0);
    fs::rename(place.path("out.log"), place.path("moved.log")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("out.log")).status().unwrap().success());
    place.kstream(&bounded()).expect(3).says(&["It is a named pipe"]);
    fs::rename(place.path("moved.log"), place.path("out.log")).unwrap();
    place.kstream(&format!("{} --max-batches 3", bounded())).expect(0);
}

/// Both kinds of links, made of `from` to the name `to`.
const LINKS: [fn(&Path, &Path); 2] = [
    |from, to| std::os::unix::fs::symlink(from, to).unwrap(),
    |from, to| {
        if !from.exists() {
            fs::write(from, "").unwrap();
        }
        fs::hard_link(from, to).unwrap();
    },
];

#[test]
fn a_link_to_the_file_of_another_output_is_the_same_place() {
    let check = |more: &str, (from, to): (&str, &str), says: &[&str]| {
        for link in LINKS {
            let place = logging("a.log");
            let text = place.read("job.toml").replace("checkpoint_dir", &format!("{more}\ncheckpoint_dir"));
            place.write("job.toml", text + "[[steps]]\npprint = { to = \"b.log\" }\n");
            place.kstream("check job.toml").expect(0);
            link(&place.path(from), &place.path(to));
            for command in ["check job.toml".to_owned(), bounded()] {
                place.kstream(&command).expect(2).says(says).says(&["job.toml:"]);
            }
        }
    };
    check("", ("a.log", "b.log"), &["writes to the same place"]);
    let letters = "on_error = \"dead_letter\"\ndead_letter = { file = \"dead.jsonl\" }";
    check(letters, ("b.log", "dead.jsonl"), &["dead letters cannot go into the file of an output"]);
}

#[test]
fn a_link_to_a_file_that_a_log_has_rotated_into_or_that_the_job_reads_is_no_output() {
    for link in LINKS {
        let place = logging("a.log");
        let text = place.read("job.toml").replace("to = \"a.log\"", "to = \"a.log\", rotate = \"1 KiB\"");
        place.write("job.toml", &text);
        place.kstream(&format!("{} --max-batches 50", bounded())).expect(0);
        assert!(place.path("a.log.1").exists(), "it has rotated");
        link(&place.path("a.log.1"), &place.path("b.log"));
        place.write("job.toml", text + "[[steps]]\npprint = { to = \"b.log\" }\n");
        place.kstream(&bounded()).expect(2).says(&["into this file", "`a.log.` and a number"]);
    }
    for link in LINKS {
        let place = logging("a.log");
        link(&place.path("queue.jsonl"), &place.path("a.log"));
        place.kstream(&bounded()).expect(2).says(&["an output cannot go into a file of the job itself"]);
    }
}

#[test]
fn no_output_goes_into_the_job_its_functions_or_its_checkpoint() {
    for own in
        ["job.toml", "functions.star", "checkpoint/checkpoint.db", "checkpoint/checkpoint.mark", "checkpoint/lock"]
    {
        let place = logging("a.log");
        place.write("functions.star", "one = 1\n");
        let text = format!("{}[functions]\nfile = \"functions.star\"\n", place.read("job.toml"));
        let output =
            |steps: &str| place.write("job.toml", text.replacen("[[steps]]", &format!("{steps}\n[[steps]]"), 1));
        output("");
        place.kstream("check job.toml").expect(0);
        output(&format!("[[steps]]\npprint = {{ to = \"{own}\", append = true }}"));
        for command in ["check job.toml".to_owned(), bounded()] {
            place.kstream(&command).expect(2).says(&["an output cannot go into a file of the job itself"]);
        }
        assert!(!place.path("checkpoint").exists(), "{own}");
    }
}

#[test]
fn a_checkpoint_that_is_deleted_or_moved_away_under_the_job_ends_it() {
    let check = |code: i32, says: &str, change: &dyn Fn(&Path)| {
        let place = logging("out.log");
        // Slow enough to be met amid its batches.
        let slow = place.read("job.toml") + "[[steps]]\ncommand = \"cat > /dev/null; sleep 0.05\"\n";
        place.write("job.toml", slow);
        let mut running = place.start(&bounded());
        let log = place.path("out.log");
        crate::support::wait_until("some batches", || {
            fs::metadata(&log).is_ok_and(|log| log.len() > 300) || !running.is_running()
        });
        change(&place.path("checkpoint"));
        running.wait().expect(code).says(&[says, "while the job ran"]);
    };
    check(1, "is gone", &|dir| fs::remove_dir_all(dir).or_else(|_| fs::remove_dir_all(dir)).unwrap());
    check(1, "is gone", &|dir| fs::rename(dir, dir.with_file_name("moved")).unwrap());
    check(5, "was replaced", &|dir| {
        let moved = dir.with_file_name("moved");
        fs::rename(dir, &moved).unwrap();
        fs::create_dir(dir).unwrap();
        for name in ["checkpoint.db", "lock"] {
            fs::copy(moved.join(name), dir.join(name)).unwrap();
        }
    });
}

#[test]
fn a_start_that_is_refused_leaves_no_new_checkpoint() {
    let place = Place::with_job("");
    embedded(&place, 4, 1, "", COUNTED);
    place.write("job.toml", place.read("job.toml").replace("\"checkpoint\"", "\"new/checkpoint\""));
    place.write("out.log", "somebody else's\n");
    place.kstream(&bounded()).expect(3).says(&["is not empty, and this checkpoint did not write it"]);
    assert!(!place.path("new").exists());
    fs::create_dir_all(place.path("new/checkpoint")).unwrap();
    place.kstream(&bounded()).expect(3);
    assert_eq!(fs::read_dir(place.path("new/checkpoint")).unwrap().count(), 0);
    assert_eq!(place.read("out.log"), "somebody else's\n");
    fs::remove_file(place.path("out.log")).unwrap();
    place.kstream(&bounded()).expect(0);
}

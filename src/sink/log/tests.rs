//! The tail rule as a table; then a kill at every disk operation, with every power loss, compared byte by byte.

use std::collections::BTreeMap;

use super::{tests_support::*, *};
use crate::sink::disk::frail::{FAILURES, Failure, FrailDisk, LOSSES, Loss};

const PATH: &str = "/out/x.log";

fn sink(disk: &FrailDisk, rotate_bytes: Option<u64>) -> LogSink {
    LogSink::new("log", PATH.into(), rotate_bytes, Append::No, TimeZone::UTC, Arc::new(disk.clone()))
}

/// Runs one batch as the driver does; gives the facts that its commit would store.
fn run(sink: &mut LogSink, batch: u64, text: &str) -> Result<Option<SinkFacts>, SinkError> {
    sink.stage(&identity(batch), lines(text))?;
    if sink.published(&identity(batch))? != Published::Whole {
        sink.publish(&PublishPermit::for_test(identity(batch)))?;
    }
    let facts = sink.facts();
    Sink::committed(sink, &identity(batch))?;
    Ok(facts)
}

/// A log that holds `committed`, and facts that say so.
fn written(disk: &FrailDisk, committed: &str) -> Option<SinkFacts> {
    let mut sink = sink(disk, None);
    sink.base_facts().unwrap();
    run(&mut sink, 0, committed).unwrap()
}

fn check_tail(tail: &[u8], batch: &str, expected: Option<&str>) {
    let disk = FrailDisk::new();
    let facts = written(&disk, "one\n");
    disk.write_at(Path::new(PATH), 4, tail).unwrap();
    let mut sink = sink(&disk, None);
    sink.restore(facts.as_ref()).unwrap();
    match (run(&mut sink, 1, batch), expected) {
        (Ok(_), Some(expected)) => assert_eq!(disk.files()[Path::new(PATH)], expected, "{tail:?}"),
        (Err(error), None) => {
            assert_eq!(error.kind, SinkErrorKind::Refused, "{error}");
            assert_eq!(disk.files()[Path::new(PATH)].as_bytes()[4..], *tail, "a refusal changes nothing");
        }
        (result, _) => panic!("{tail:?}: {result:?}"),
    }
}

/// The sink of a process that goes on after `facts` with the batch in flight.
fn resumed(sink: LogSink, facts: Option<&SinkFacts>) -> Result<LogSink, SinkError> {
    standing(sink, facts, true)
}

fn standing(mut sink: LogSink, facts: Option<&SinkFacts>, in_flight: bool) -> Result<LogSink, SinkError> {
    sink.restore(facts)?;
    let standing = Standing { next: identity(1), in_flight, assume: None };
    sink.inspect(&standing).map(|()| sink)
}

#[test]
fn a_tail_is_completed_rewritten_or_refused() {
    let whole = Some("one\ntwo\n");
    check_tail(b"", "two\n", whole);
    check_tail(b"tw", "two\n", whole);
    check_tail(b"two\n", "two\n", whole);
    check_tail(b"t\0o\n", "two\n", whole);
    check_tail(b"\0\0\0\0", "two\n", whole);
    check_tail(b"\0\0\0\0\0", "two\n", None);
    check_tail(b"two\nthree\n", "two\n", None);
    check_tail(b"six", "two\n", None);
    check_tail(b"\0x", "two\n", None);
    check_tail(b"two\n", "", None);
    check_tail(b"", "", Some("one\n"));
}

#[test]
fn without_a_batch_in_flight_nothing_may_lie_behind_the_committed_bytes() {
    let disk = FrailDisk::new();
    let facts = written(&disk, "one\n");
    assert!(standing(sink(&disk, None), facts.as_ref(), false).is_ok());
    disk.write_at(Path::new(PATH), 4, b"two\n").unwrap();
    assert!(standing(sink(&disk, None), facts.as_ref(), true).is_ok(), "the batch in flight may have written it");
    let refused = standing(sink(&disk, None), facts.as_ref(), false).unwrap_err();
    assert_eq!(refused.kind, SinkErrorKind::Refused);
    assert!(refused.to_string().contains("does not fit the checkpoint"), "{refused}");

    let disk = FrailDisk::new();
    let facts = written(&disk, "one\n");
    disk.rename(Path::new(PATH), Path::new(&format!("{PATH}.1"))).unwrap();
    assert!(standing(sink(&disk, Some(5)), facts.as_ref(), true).is_ok(), "the batch in flight may have rotated it");
    assert_eq!(standing(sink(&disk, Some(5)), facts.as_ref(), false).unwrap_err().kind, SinkErrorKind::Refused);
}

#[test]
fn committed_bytes_that_changed_are_refused_at_start() {
    for damage in ["onE\n", "one", ""] {
        let disk = FrailDisk::new();
        let facts = written(&disk, "one\n");
        disk.put(PATH, damage.as_bytes());
        assert_eq!(resumed(sink(&disk, None), facts.as_ref()).unwrap_err().kind, SinkErrorKind::Refused, "{damage:?}");
    }
}

#[test]
fn only_the_last_64_kib_are_compared() {
    let disk = FrailDisk::new();
    let facts = written(&disk, &"0123456789abcdef".repeat(5000));
    disk.write_at(Path::new(PATH), 14_463, b"?").unwrap();
    resumed(sink(&disk, None), facts.as_ref()).unwrap();
    disk.write_at(Path::new(PATH), 14_464, b"?").unwrap();
    assert!(resumed(sink(&disk, None), facts.as_ref()).is_err());
}

#[test]
fn a_foreign_file_is_only_written_to_where_the_job_says_so() {
    let disk = FrailDisk::new();
    disk.put(PATH, b"mine\n");
    let refused = sink(&disk, None).base_facts().unwrap_err();
    assert_eq!(refused.kind, SinkErrorKind::Refused);
    let mut appending = LogSink { append: Append::Yes, ..sink(&disk, None) };
    appending.base_facts().unwrap();
    run(&mut appending, 0, "ours\n").unwrap();
    assert_eq!(disk.files()[Path::new(PATH)], "mine\nours\n");
}

#[test]
fn a_log_that_rotates_does_not_begin_beside_a_file_of_that_name() {
    let disk = FrailDisk::new();
    disk.put("/out/x.log.1", b"mine\n");
    assert_eq!(sink(&disk, Some(10)).base_facts().unwrap_err().kind, SinkErrorKind::Refused);
    assert!(sink(&disk, None).base_facts().is_ok());
    let facts = written(&disk, "one\n");
    sink(&disk, None).take_back(facts.as_ref()).unwrap();
    assert_eq!(disk.files()[Path::new("/out/x.log.1")], "mine\n");
}

/// Six batches; those from the third on rotate where there is a limit.
const BATCHES: [&str; 6] = ["one\n", "two\n", "three\n", "", "four four\n", "five\n"];

fn straight(rotate_bytes: Option<u64>, until: usize) -> BTreeMap<PathBuf, String> {
    let disk = FrailDisk::new();
    let mut sink = sink(&disk, rotate_bytes);
    sink.base_facts().unwrap();
    for (batch, text) in BATCHES.iter().enumerate().take(until) {
        run(&mut sink, batch as u64, text).unwrap();
    }
    disk.files()
}

#[test]
fn a_log_rotates_before_the_batch_that_does_not_fit() {
    let files = straight(Some(10), 6);
    let shown: Vec<_> = files.iter().map(|(path, text)| (path.to_str().unwrap(), text.as_str())).collect();
    let expected = [
        ("/out/x.log", "five\n"),
        ("/out/x.log.1", "one\ntwo\n"),
        ("/out/x.log.2", "three\n"),
        ("/out/x.log.3", "four four\n"),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_kill_at_any_disk_operation_leaves_a_log_that_is_finished() {
    for rotate_bytes in [None, Some(10)] {
        let expected = straight(rotate_bytes, 6);
        for loss in LOSSES {
            let mut at = 0;
            while killed_and_finished(rotate_bytes, loss, at, &expected) {
                at += 1;
            }
            assert!(at > 30, "only {at} operations were reached");
        }
    }
}

/// Runs all batches on a disk that dies at operation `at`, goes on after it, and compares. Says whether it died.
fn killed_and_finished(
    rotate_bytes: Option<u64>,
    loss: crate::sink::disk::frail::Loss,
    at: u64,
    expected: &BTreeMap<PathBuf, String>,
) -> bool {
    let disk = FrailDisk::new();
    let mut committed: (u64, Option<SinkFacts>) = (0, None);
    disk.die_at(at);
    let mut died = false;
    while committed.0 < BATCHES.len() as u64 {
        match attempt(&disk, rotate_bytes, &mut committed) {
            Ok(()) => {}
            Err(error) => {
                assert!(
                    disk.died() && error.kind != SinkErrorKind::Refused,
                    "{loss:?} {at}: {error} {:?}",
                    error.detail
                );
                died = true;
                disk.lose(loss);
            }
        }
    }
    assert_eq!(&disk.files(), expected, "{loss:?} at operation {at}");
    died
}

/// One process: restores, then runs what is left. `committed` is what a checkpoint would hold.
fn attempt(
    disk: &FrailDisk,
    rotate_bytes: Option<u64>,
    committed: &mut (u64, Option<SinkFacts>),
) -> Result<(), SinkError> {
    let sink = sink(disk, rotate_bytes);
    let mut sink = resumed(sink, committed.1.as_ref())?;
    if committed.1.is_none() {
        committed.1 = sink.base_facts()?;
    }
    while let Some(text) = BATCHES.get(committed.0 as usize) {
        let facts = run(&mut sink, committed.0, text)?;
        *committed = (committed.0 + 1, facts);
    }
    Ok(())
}

/// Every operation fails once, each way: what may help is tried again in the process, everything else ends it. What is
/// committed is durable at the end.
#[test]
fn a_disk_operation_that_fails_once_costs_a_try_or_a_process() {
    for rotate_bytes in [None, Some(10)] {
        let expected = straight(rotate_bytes, 6);
        for failure in FAILURES {
            let (mut again, mut ended, mut at) = (0, 0, 0);
            while let Some(kind) = failed_and_finished(rotate_bytes, failure, at, &expected) {
                again += u32::from(kind == Some(SinkErrorKind::Transient));
                ended += u32::from(kind == Some(SinkErrorKind::Failed));
                at += 1;
            }
            assert!(at > 30, "only {at} operations were reached");
            assert!(ended >= 5, "{failure:?}: {ended} processes ended");
            assert_eq!(again > 5, failure == Failure::Full, "{failure:?}: {again} tries");
        }
    }
}

/// Goes on after a failure at operation `at`. Gives what the first error was; none where so many operations are not made.
fn failed_and_finished(
    rotate_bytes: Option<u64>,
    failure: Failure,
    at: u64,
    expected: &BTreeMap<PathBuf, String>,
) -> Option<Option<SinkErrorKind>> {
    let disk = FrailDisk::new();
    let mut committed: (u64, Option<SinkFacts>) = (0, None);
    disk.fail_at(at, failure);
    let (mut first, mut processes) = (None, 0);
    while let Err(error) = patient(&disk, rotate_bytes, &mut committed, &mut first) {
        processes += 1;
        assert!(disk.failed() && error.kind != SinkErrorKind::Refused, "{failure:?} {at}: {error}");
        assert!(processes < 3, "{failure:?} {at}: {error}");
    }
    disk.lose(Loss::Everything);
    assert_eq!(&disk.files(), expected, "{failure:?} at operation {at}");
    disk.reached().then_some(first)
}

/// One process, which tries a batch again where that may help.
fn patient(
    disk: &FrailDisk,
    rotate_bytes: Option<u64>,
    committed: &mut (u64, Option<SinkFacts>),
    first: &mut Option<SinkErrorKind>,
) -> Result<(), SinkError> {
    let mut note = |error: &SinkError| {
        first.get_or_insert(error.kind);
    };
    let mut sink = resumed(sink(disk, rotate_bytes), committed.1.as_ref()).inspect_err(&mut note)?;
    if committed.1.is_none() {
        committed.1 = sink.base_facts().inspect_err(&mut note)?;
    }
    while let Some(text) = BATCHES.get(committed.0 as usize) {
        match run(&mut sink, committed.0, text).inspect_err(&mut note) {
            Ok(facts) => *committed = (committed.0 + 1, facts),
            Err(error) if error.kind == SinkErrorKind::Transient => sink.discard(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn a_rewind_cuts_the_log_also_over_rotations_and_kills() {
    for rotate_bytes in [None, Some(10)] {
        for to in 0..BATCHES.len() {
            let expected = straight(rotate_bytes, to);
            for loss in LOSSES {
                let mut at = 0;
                while cut_and_killed(rotate_bytes, to, loss, at, &expected) {
                    at += 1;
                }
            }
        }
    }
}

fn cut_and_killed(
    rotate_bytes: Option<u64>,
    to: usize,
    loss: crate::sink::disk::frail::Loss,
    at: u64,
    expected: &BTreeMap<PathBuf, String>,
) -> bool {
    let disk = FrailDisk::new();
    let mut writer = sink(&disk, rotate_bytes);
    let mut facts = vec![writer.base_facts().unwrap()];
    for (batch, text) in BATCHES.iter().enumerate() {
        facts.push(run(&mut writer, batch as u64, text).unwrap());
    }
    disk.die_at(at);
    let died = sink(&disk, rotate_bytes).take_back(facts[to].as_ref()).is_err();
    disk.lose(loss);
    sink(&disk, rotate_bytes).take_back(facts[to].as_ref()).unwrap();
    let files: BTreeMap<_, _> = disk.files().into_iter().filter(|(_, text)| !text.is_empty()).collect();
    assert_eq!(&files, expected, "{loss:?} at operation {at}, to {to}");
    died
}

#[test]
fn a_log_says_whether_it_holds_some_of_the_batch_in_flight() {
    let disk = FrailDisk::new();
    let facts = written(&disk, "one\n");
    let mut sink = sink(&disk, None);
    sink.restore(facts.as_ref()).unwrap();
    assert_eq!(sink.holds(&identity(1)).unwrap(), Holds::Nothing);
    disk.write_at(Path::new(PATH), 4, b"t").unwrap();
    assert_eq!(sink.holds(&identity(1)).unwrap(), Holds::Something);
}

#[test]
fn a_batch_published_twice_in_one_process_is_there_once() {
    let disk = FrailDisk::new();
    let mut sink = sink(&disk, None);
    sink.base_facts().unwrap();
    for _ in 0..2 {
        sink.stage(&identity(0), lines("one\n")).unwrap();
        sink.publish(&PublishPermit::for_test(identity(0))).unwrap();
        assert_eq!(sink.published(&identity(0)).unwrap(), Published::Whole);
    }
    assert_eq!(disk.files()[Path::new(PATH)], "one\n");
}

//! What is found at the target, as a table; then a kill at every disk operation, with every power loss.

use std::collections::BTreeMap;

use super::*;
use crate::{
    model::{BatchId, Timeline},
    sink::{
        disk::frail::{FAILURES, Failure, FrailDisk, LOSSES, Loss},
        log::tests_support::{identity, output},
    },
};

fn sink(disk: &FrailDisk) -> TextFilesSink {
    let naming = Naming::Prefix { prefix: "/out/pre".to_owned(), suffix: Some("suf".to_owned()) };
    TextFilesSink::new("save", naming, Arc::new(disk.clone()))
}

fn run(sink: &mut TextFilesSink, batch: &BatchIdentity, parts: &[&str]) -> Result<(), SinkError> {
    let parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
    sink.stage(batch, output(Content::Parts(parts)))?;
    if sink.published(batch)? != Published::Whole {
        sink.publish(&PublishPermit::for_test(batch.clone()))?;
    }
    sink.committed(batch)
}

fn later(batch: u64) -> BatchIdentity {
    BatchIdentity { timeline: Timeline(1), ..identity(batch) }
}

#[test]
fn names_are_sparks() {
    let disk = FrailDisk::new();
    run(&mut sink(&disk), &identity(0), &["a\n", ""]).unwrap();
    let files = disk.files();
    let shown: Vec<_> = files.iter().map(|(path, text)| (path.to_str().unwrap(), text.as_str())).collect();
    let success = "{\"checkpoint\":\"uuid\",\"timeline\":0,\"batch\":0,\"time\":1000,\
                   \"digest\":\"000000000000000000000000000000ff:3\"}";
    let expected = [
        ("/out/pre-1000.suf/_SUCCESS", success),
        ("/out/pre-1000.suf/part-00000", "a\n"),
        ("/out/pre-1000.suf/part-00001", ""),
    ];
    assert_eq!(shown, expected);
    let within = Naming::Within { path: "/out/x".into(), extension: ".csv" };
    assert_eq!(within.directory(BatchTime(5)).join(within.part(3)), Path::new("/out/x/5/part-00003.csv"));
}

#[test]
fn an_older_checkpoint_is_refused_where_directories_of_later_batches_are() {
    let disk = FrailDisk::new();
    let mut writer = sink(&disk);
    (0..4).for_each(|batch| run(&mut writer, &identity(batch), &["a\n"]).unwrap());
    let inspected = |next: BatchIdentity, in_flight: bool| {
        sink(&disk).inspect(&Standing { next, in_flight, assume: None }).map_err(|error| error.kind)
    };
    // What comes next, with the time of the last one.
    let behind = |last: u64| BatchIdentity { batch: BatchId(last + 1), ..identity(last) };
    assert_eq!(inspected(behind(3), false), Ok(()));
    assert_eq!(inspected(identity(3), true), Ok(()), "a batch in flight may be published");
    assert_eq!(inspected(identity(2), true), Err(SinkErrorKind::Refused));
    assert_eq!(inspected(behind(2), false), Err(SinkErrorKind::Refused));
    assert_eq!(inspected(behind(0), false), Err(SinkErrorKind::Refused));
    assert_eq!(inspected(BatchIdentity { timeline: Timeline(1), ..behind(0) }, false), Ok(()), "behind a rewind");
    assert_eq!(inspected(BatchIdentity { checkpoint: "other".to_owned(), ..behind(0) }, false), Ok(()));
}

/// Publishes batch 0 over what `before` left; says the answer of `published`, or the refusal.
fn check_found(before: impl FnOnce(&FrailDisk), batch: BatchIdentity, expected: Result<Published, ()>) {
    let disk = FrailDisk::new();
    before(&disk);
    let found = disk.files();
    let mut sink = sink(&disk);
    sink.stage(&batch, output(Content::Parts(vec![b"a\n".to_vec()]))).unwrap();
    match (sink.published(&batch), expected) {
        (Ok(answer), Ok(expected)) => assert_eq!(answer, expected),
        (Err(error), Err(())) => {
            assert_eq!(error.kind, SinkErrorKind::Refused, "{error}");
            sink.discard();
            assert_eq!(disk.files(), found, "a refusal changes nothing");
        }
        (answer, _) => panic!("{answer:?}"),
    }
}

#[test]
fn what_is_at_the_target_decides() {
    let ours = |disk: &FrailDisk| run(&mut sink(disk), &identity(0), &["a\n"]).unwrap();
    check_found(|_| {}, identity(0), Ok(Published::No));
    check_found(ours, identity(0), Ok(Published::Whole));
    check_found(ours, later(0), Ok(Published::No));
    check_found(|disk| run(&mut sink(disk), &later(0), &["a\n"]).unwrap(), identity(0), Err(()));
    check_found(|disk| run(&mut sink(disk), &identity(0), &["b\n"]).unwrap(), identity(0), Err(()));
    check_found(|disk| run(&mut sink(disk), &identity(0), &["a\n", ""]).unwrap(), identity(0), Err(()));
    check_found(|disk| disk.put("/out/pre-1000.suf/part-00000", b"a\n"), identity(0), Err(()));
    check_found(|disk| disk.put("/out/pre-1000.suf/_SUCCESS", b""), identity(0), Err(()));
    check_found(|disk| disk.put("/out/pre-1000.suf", b""), identity(0), Err(()));
    let foreign = BatchIdentity { checkpoint: "other".to_owned(), ..identity(0) };
    check_found(|disk| run(&mut sink(disk), &foreign, &["a\n"]).unwrap(), identity(0), Err(()));
    let other = BatchIdentity { batch: BatchId(9), ..identity(0) };
    check_found(|disk| run(&mut sink(disk), &other, &["a\n"]).unwrap(), identity(0), Err(()));
}

fn straight(batch: &BatchIdentity) -> BTreeMap<PathBuf, String> {
    let disk = FrailDisk::new();
    run(&mut sink(&disk), batch, &["a\n", "b\n"]).unwrap();
    disk.files()
}

#[test]
fn a_kill_at_any_disk_operation_leaves_whole_batches_and_is_finished() {
    for (before, batch) in [(None, identity(0)), (Some(identity(0)), later(0))] {
        for loss in LOSSES {
            let mut at = 0;
            while killed_and_finished(before.as_ref(), &batch, loss, at) {
                at += 1;
            }
            assert!(at > 10, "only {at} operations were reached");
        }
    }
}

fn killed_and_finished(before: Option<&BatchIdentity>, batch: &BatchIdentity, loss: Loss, at: u64) -> bool {
    let disk = FrailDisk::new();
    if let Some(before) = before {
        run(&mut sink(&disk), before, &["old\n"]).unwrap();
    }
    disk.die_at(at);
    let died = run(&mut sink(&disk), batch, &["a\n", "b\n"]).is_err();
    disk.lose(loss);
    let expected = straight(batch);
    let visible: BTreeMap<_, _> =
        disk.files().into_iter().filter(|(path, _)| path.starts_with("/out/pre-1000.suf")).collect();
    let old = before.is_some() && visible.values().any(|text| text == "old\n");
    assert!(visible.is_empty() || old || visible == expected, "{loss:?} at {at}: a reader sees {visible:?}");
    run(&mut sink(&disk), batch, &["a\n", "b\n"]).unwrap();
    assert_eq!(disk.files(), expected, "{loss:?} at operation {at}");
    died
}

/// Every operation fails once, each way: a batch that is told to be published is durable and whole.
#[test]
fn a_disk_operation_that_fails_once_costs_a_try_or_a_process() {
    for (before, batch) in [(None, identity(0)), (Some(identity(0)), later(0))] {
        for failure in FAILURES {
            let mut at = 0;
            while failed_and_finished(before.as_ref(), &batch, failure, at) {
                at += 1;
            }
            assert!(at > 10, "only {at} operations were reached");
        }
    }
}

fn failed_and_finished(before: Option<&BatchIdentity>, batch: &BatchIdentity, failure: Failure, at: u64) -> bool {
    let disk = FrailDisk::new();
    if let Some(before) = before {
        run(&mut sink(&disk), before, &["old\n"]).unwrap();
    }
    disk.fail_at(at, failure);
    let mut process = sink(&disk);
    let mut tries = 0;
    while let Err(error) = run(&mut process, batch, &["a\n", "b\n"]) {
        tries += 1;
        assert!(disk.failed() && tries < 4, "{failure:?} at {at}: {error}");
        let visible: BTreeMap<_, _> =
            disk.files().into_iter().filter(|(path, _)| path.starts_with("/out/pre-1000.suf")).collect();
        let old = before.is_some() && visible.values().any(|text| text == "old\n");
        assert!(visible.is_empty() || old || visible == straight(batch), "{failure:?} at {at}: {visible:?}");
        match error.kind {
            SinkErrorKind::Transient => process.discard(),
            SinkErrorKind::Failed => process = sink(&disk),
            kind => panic!("{failure:?} at {at}: {kind:?} {error}"),
        }
    }
    disk.lose(Loss::Everything);
    let found: BTreeMap<_, _> =
        disk.files().into_iter().filter(|(path, _)| !path.to_string_lossy().contains("/.")).collect();
    assert_eq!(found, straight(batch), "{failure:?} at operation {at}");
    disk.reached()
}

//! What is written is found again, damaged bytes are refused, a rewind goes back to what was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    checkpoint::{Class, Holder, StateImage, inspect},
    job::Retention,
    model::TopicPartition,
    protocol::{Decision, Expected, SinkFacts, StateDelta, StateSnapshot, decide, tests_support as line},
};

/// Small pages, so that a small checkpoint is a few kilobytes.
const SMALL_PAGE_BYTES: u32 = 512;

const NEW: NewCheckpoint<'static> =
    NewCheckpoint { job: "job", batch_interval_ms: 1000, zero: BatchTime(0), created_at_ms: 1 };

fn lock(dir: &Path) -> Lock {
    Lock::take(dir, &Holder::this_process(0)).unwrap()
}

fn create(dir: &Path) -> Checkpoint {
    let mut checkpoint = Checkpoint::create_with_pages(lock(dir), &NEW, SMALL_PAGE_BYTES).unwrap();
    checkpoint.remember_job_text("job text");
    checkpoint
}

fn reopen(dir: &Path) -> Checkpoint {
    let facts = inspect(dir).unwrap();
    Checkpoint::resume(lock(dir), &facts).unwrap()
}

fn plan(batch: u64, ranges: &[(i32, i64, i64)]) -> PlanRecord {
    PlanRecord { job_text: JobTextHash::of(b"job text"), ..line::plan(batch, ranges) }
}

/// The changes of batch `batch` to state `totals`, and with every third batch a snapshot of one of its two slots.
fn state(batch: u64) -> StateWrites {
    let state = "totals".to_owned();
    let slot = (batch / 3 % 2) as u32;
    let snapshot =
        StateSnapshot { state: state.clone(), slot, slots: 2, blob: format!("slot {slot} {batch}").into_bytes() };
    StateWrites {
        deltas: vec![StateDelta { state, blob: format!("delta {batch}").into_bytes() }],
        snapshots: if batch % 3 == 2 { vec![snapshot] } else { Vec::new() },
    }
}

/// Batches `from..until`, each reading ten offsets of partition 0, committed with their state.
fn run(checkpoint: &mut Checkpoint, from: u64, until: u64) {
    for batch in from..until {
        let start = batch as i64 * 10;
        let timeline = checkpoint.timeline();
        checkpoint.log_planned(&PlanRecord { timeline, ..plan(batch, &[(0, start, start + 10)]) }).unwrap();
        let commit = CommitRecord { timeline, ..line::commit(batch) };
        checkpoint.log_committed(&commit, &state(batch), None).unwrap();
    }
}

fn decided(dir: &Path) -> Decision {
    decide(inspect(dir).unwrap(), Expected { job: "job" })
}

#[test]
fn what_was_written_is_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    assert_eq!(checkpoint.run_epoch(), RunEpoch(1));
    run(&mut checkpoint, 0, 3);
    let end = BoundedEnd {
        sources: BTreeMap::from([("source".into(), vec![(TopicPartition::new("words", 0), 50)])]),
        ..BoundedEnd::default()
    };
    checkpoint.set_bounded_end(Some(end.clone()));
    checkpoint.log_planned(&plan(3, &[(0, 30, 40)])).unwrap();
    drop(checkpoint);

    let facts = inspect(dir.path()).unwrap();
    assert_eq!((facts.head_planned, facts.head_committed), (Some(BatchId(3)), Some(BatchId(2))));
    assert_eq!(facts.positions[0].offset, 30);
    assert_eq!(facts.sinks["pprint#1"], (SinkFacts(serde_json::json!({ "len": 200 })), Some(BatchId(2))));
    assert_eq!(facts.bounded_end, Some(end));
    assert!(matches!(decided(dir.path()), Decision::ReExecute(batch) if batch.plan() == &plan(3, &[(0, 30, 40)])));

    let checkpoint = reopen(dir.path());
    assert_eq!(checkpoint.run_epoch(), RunEpoch(2));
    assert_eq!(checkpoint.archive().job_text(BatchId(1)).unwrap(), "job text");
    let point = checkpoint.archive().restore_point(BatchId(2)).unwrap();
    assert_eq!((point.before, point.states), (Some(BatchId(1)), vec!["totals".to_owned()]));
    let missing = checkpoint.archive().restore_point(BatchId(3)).unwrap_err();
    assert_eq!((missing.class(), missing.detail().unwrap().as_str()), (Class::Unusable, "Batches 0 to 2 are kept."));
}

#[test]
fn a_commit_and_the_next_plan_are_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    checkpoint.log_planned(&plan(0, &[(0, 0, 10)])).unwrap();
    checkpoint.log_committed(&line::commit(0), &StateWrites::default(), Some(&plan(1, &[(0, 10, 20)]))).unwrap();
    assert!(matches!(decided(dir.path()), Decision::ReExecute(batch) if batch.plan().batch == BatchId(1)));
}

#[test]
fn a_reader_sees_the_ledger_while_the_job_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    let archive = Archive::open(dir.path()).unwrap();
    run(&mut checkpoint, 0, 2);
    checkpoint.log_planned(&plan(2, &[(0, 20, 30)])).unwrap();
    let ledger = archive.ledger(BatchId(1)..=BatchId(9)).unwrap();
    let seen: Vec<_> = ledger.iter().map(|row| (row.plan.batch.0, row.status())).collect();
    use crate::checkpoint::Status::{Committed, Planned};
    assert_eq!(seen, [(1, Committed), (2, Planned)]);
    let sql = "SELECT group_concat(batch || status || ifnull(records_read, '-')) FROM ledger";
    let shown: String = archive.conn.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(shown, "0committed10,1committed10,2planned-");
}

#[test]
fn calls_out_of_order_are_refused_and_poison_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    let refused = checkpoint.log_planned(&plan(1, &[])).unwrap_err();
    assert_eq!(refused.class(), Class::Refused);
    let says = "batch 1 cannot be planned: the checkpoint stands at run 1, timeline 0, no batch planned";
    assert!(refused.detail().unwrap().contains(says), "{:?}", refused.detail());
    let after = checkpoint.log_planned(&plan(0, &[])).unwrap_err();
    assert!(matches!(after, CheckpointError::Poisoned { .. }));
    assert!(matches!(decided(dir.path()), Decision::PlanFresh { next: BatchId(0) }));
}

#[test]
fn a_foreign_write_under_the_lock_fences() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    let other = schema::open_read_write(dir.path()).unwrap();
    let head = Head { run_epoch: RunEpoch(9), ..checkpoint.head };
    facts::put_meta(&other, "head", &head).unwrap();
    let fenced = checkpoint.log_planned(&plan(0, &[])).unwrap_err();
    assert!(matches!(fenced, CheckpointError::Fenced { .. }), "{fenced:?}");
    assert_eq!(fenced.class(), Class::InUse);
    let stands =
        "It stands at run 9, timeline 0, no batch planned and no batch committed; this process left it at run 1";
    assert!(fenced.detail().unwrap().starts_with(stands), "{:?}", fenced.detail());
}

#[test]
fn a_checkpoint_deleted_or_replaced_under_the_job_is_not_written_to() {
    let check = |class: Class, says: &str, change: &dyn Fn(&Path)| {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("checkpoint");
        let mut checkpoint = create(&dir);
        run(&mut checkpoint, 0, 2);
        change(&dir);
        let error = checkpoint.log_planned(&plan(2, &[(0, 20, 30)])).unwrap_err();
        assert_eq!(error.class(), class, "{error:?}");
        assert!(error.detail().unwrap().contains(says), "{error:?}");
        assert!(matches!(checkpoint.flush(), Ok(()) | Err(CheckpointError::Poisoned { .. })));
        assert!(matches!(checkpoint.rewind_finished(), Err(CheckpointError::Poisoned { .. })));
    };
    let aside = |dir: &Path| dir.with_file_name("aside");
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    check(Class::Io, "checkpoint.db was deleted or moved", &|dir| std::fs::remove_dir_all(dir).unwrap());
    check(Class::Io, "checkpoint.db was deleted or moved", &|dir| std::fs::rename(dir, aside(dir)).unwrap());
    check(Class::Io, "lock was deleted or moved", &|dir| std::fs::remove_file(dir.join("lock")).unwrap());
    check(Class::InUse, "checkpoint.db was replaced", &|dir| {
        std::fs::rename(dir, aside(dir)).unwrap();
        copy(&aside(dir), dir);
    });
    check(Class::InUse, "lock was replaced", &|dir| {
        std::fs::rename(dir.join("lock"), dir.join("old")).unwrap();
        std::fs::write(dir.join("lock"), "").unwrap();
    });
}

/// The state after `at`, as text.
fn shown(image: StateImage) -> String {
    let snapshots = image.snapshots.into_iter().map(|snapshot| snapshot.blob);
    let blobs = snapshots.chain(image.deltas.into_iter().map(|(_, blob)| blob));
    blobs.map(|blob| String::from_utf8(blob).unwrap()).collect::<Vec<_>>().join(",")
}

#[test]
fn state_is_restored_as_of_any_kept_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 9);
    let check = |at: u64, expected: &str| {
        assert_eq!(shown(checkpoint.archive().state("totals", BatchId(at)).unwrap()), expected);
    };
    check(1, "delta 0,delta 1");
    check(2, "slot 0 2,delta 0,delta 1,delta 2");
    check(6, "slot 0 2,slot 1 5,delta 3,delta 4,delta 5,delta 6");
    check(8, "slot 0 8,slot 1 5,delta 6,delta 7,delta 8");
}

#[test]
fn a_vanished_state_blob_is_missed() {
    for (sql, missing) in [
        ("DELETE FROM state_deltas WHERE batch = 8", true),
        ("DELETE FROM state_deltas WHERE batch = 7", true),
        ("DELETE FROM state_snapshots WHERE slot = 1", true),
        ("DELETE FROM state_snapshots WHERE slot = 0 AND batch = 8", true),
        ("DELETE FROM state_deltas", true),
        ("DELETE FROM state_deltas WHERE batch = 3", false), // no recovery needs it
    ] {
        let dir = tempfile::tempdir().unwrap();
        run(&mut create(dir.path()), 0, 9);
        schema::open_read_write(dir.path()).unwrap().execute(sql, []).unwrap();
        let refused = matches!(decided(dir.path()), Decision::Refuse(Reason::StateMissing(_)));
        assert_eq!(refused, missing, "{sql}");
    }
}

#[test]
fn a_dropped_state_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 4);
    let dropping = PlanRecord { dropped_states: vec!["totals".to_owned()], ..plan(4, &[(0, 40, 50)]) };
    checkpoint.log_planned(&dropping).unwrap();
    checkpoint.log_committed(&line::commit(4), &state(4), None).unwrap();
    let state = |at: u64| shown(checkpoint.archive().state("totals", BatchId(at)).unwrap());
    assert_eq!(state(4), "delta 4");
    assert_eq!(state(3), "slot 0 2,delta 0,delta 1,delta 2,delta 3");
    assert!(matches!(decided(dir.path()), Decision::PlanFresh { .. }));
}

#[test]
fn a_purge_keeps_what_replay_of_the_kept_batches_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 100);
    let kept_before: Vec<_> = (59..100).map(|at| checkpoint.archive().state("totals", BatchId(at)).unwrap()).collect();
    let retention = |batches| Retention { batches, age_ms: None, bytes: None };
    assert_eq!(checkpoint.purge(&retention(80), None, BatchTime(0)).unwrap().batches, 0);
    assert_eq!(checkpoint.purge(&retention(40), None, BatchTime(0)).unwrap().batches, 60);
    assert_eq!(checkpoint.archive().kept().unwrap(), Some((BatchId(60), BatchId(99))));
    let kept_after: Vec<_> = (59..100).map(|at| checkpoint.archive().state("totals", BatchId(at)).unwrap()).collect();
    assert_eq!(kept_before, kept_after);
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        checkpoint.archive().conn.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("plans"), rows("commits"), rows("job_texts")), (40, 40, 1));
    assert!(rows("state_deltas") < 50, "{}", rows("state_deltas"));
    assert!(matches!(decided(dir.path()), Decision::PlanFresh { next: BatchId(100) }));
    run(&mut checkpoint, 100, 101);
}

#[test]
fn retention_by_age_bytes_and_need() {
    let purged = |age_ms, bytes, needed: Option<u64>| {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoint = create(dir.path());
        run(&mut checkpoint, 0, 100);
        let retention = Retention { batches: 1000, age_ms, bytes };
        checkpoint.purge(&retention, needed.map(BatchId), BatchTime(101_000)).unwrap();
        checkpoint.first().0
    };
    assert_eq!(purged(Some(51_000), None, None), 49);
    assert_eq!(purged(Some(51_000), None, Some(40)), 40);
    assert_eq!(purged(Some(1), None, None), 99);
    assert_eq!(purged(None, Some(1 << 20), None), 0);
    assert_eq!(purged(None, Some(1), None), 99);
}

#[test]
fn a_rewind_goes_back_to_what_was() {
    let (dir, straight) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&mut create(straight.path()), 0, 5);
    let expected = inspect(straight.path()).unwrap();

    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 8);
    checkpoint.log_planned(&plan(8, &[(0, 80, 90), (1, 7, 9)])).unwrap();
    let record = checkpoint.rewind(Some(BatchId(4)), |_| ()).unwrap();
    assert_eq!(record.sinks["pprint#1"], Some(SinkFacts(serde_json::json!({ "len": 400 }))));
    drop(checkpoint);

    assert!(matches!(decided(dir.path()), Decision::FinishRewind(found) if found == record));
    let mut checkpoint = reopen(dir.path());
    checkpoint.rewind_finished().unwrap();
    let facts = inspect(dir.path()).unwrap();
    assert_eq!(facts.timeline, Timeline(1));
    assert_eq!((facts.batches, facts.sinks), (expected.batches, expected.sinks));
    let standing: Vec<_> = facts.positions.iter().map(|position| (position.tp.partition, position.offset)).collect();
    assert_eq!(standing, [(0, 50), (1, 7)]);
    run(&mut checkpoint, 5, 6);
    assert_eq!(
        shown(checkpoint.archive().state("totals", BatchId(5)).unwrap()),
        "slot 0 2,slot 1 5,delta 3,delta 4,delta 5"
    );
    assert!(matches!(decided(dir.path()), Decision::PlanFresh { next: BatchId(6) }));
}

#[test]
fn a_rewind_beyond_what_is_kept_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 2);
    let before = inspect(dir.path()).unwrap();
    assert_eq!(checkpoint.rewind(Some(BatchId(2)), |_| ()).unwrap_err().class(), Class::Unusable);
    assert_eq!(inspect(dir.path()).unwrap(), before);
    let record = checkpoint.rewind(None, |_| ()).unwrap();
    assert_eq!(record.sinks, BTreeMap::from([("pprint#1".to_owned(), None)]));
    let facts = inspect(dir.path()).unwrap();
    assert!(facts.batches.is_empty() && facts.positions.is_empty() && facts.sinks.is_empty());
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let body = r#"{"format":7,"more":true}"#;
    let crc = row::seal("meta", &[Key::Text("format")], body.as_bytes());
    let conn = schema::open_read_write(dir.path()).unwrap();
    conn.execute("UPDATE meta SET body = ?, crc = ? WHERE key = 'format'", rusqlite::params![body, crc]).unwrap();
    conn.execute_batch("DROP TABLE sinks").unwrap();
    let refused = inspect(dir.path()).unwrap_err();
    assert_eq!(
        refused.detail().unwrap(),
        "Nothing was changed: its format is version 7; this program knows versions up to 1."
    );
}

#[test]
fn an_absent_checkpoint_and_a_lost_database_differ() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(inspect(dir.path()), Err(CheckpointError::Absent { .. })));
    let checkpoint = create(dir.path());
    fs::remove_file(schema::database(dir.path())).unwrap();
    assert_eq!(inspect(dir.path()).unwrap_err().class(), Class::Refused);
    drop(checkpoint);
}

#[test]
fn an_unfinished_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(schema::ASIDE), "half").unwrap();
    assert!(matches!(inspect(dir.path()), Err(CheckpointError::Absent { .. })));
    drop(create(dir.path()));
    assert!(!dir.path().join(schema::ASIDE).exists());
}

/// The files that are the checkpoint, and their bytes.
fn image(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = ["checkpoint.db", "checkpoint.db-wal", "checkpoint.mark"].map(|name| dir.join(name));
    files.into_iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect()
}

/// A checkpoint of three batches as a kill leaves it, some of it in the database, some in its log; with its facts.
fn killed(dir: &Path) -> (Facts, BTreeMap<PathBuf, Vec<u8>>) {
    let mut checkpoint = create(dir);
    checkpoint.log_planned(&plan(0, &[(0, 0, 10)])).unwrap();
    checkpoint.log_committed(&line::commit(0), &state(0), None).unwrap();
    checkpoint.checkpoint_log().unwrap();
    checkpoint.log_planned(&plan(1, &[(0, 10, 20)])).unwrap();
    checkpoint.log_committed(&line::commit(1), &state(2), Some(&plan(2, &[(0, 20, 30)]))).unwrap();
    // Before it is closed: SQLite tidies its log away then.
    (inspect(dir).unwrap(), image(dir))
}

/// Where an fsync failed the last process, only what is written anew is known to come to the disk.
#[test]
fn a_start_writes_the_log_of_the_last_process_into_the_database_first() {
    let [dir, alone] = [scratch(), scratch()];
    let source = scratch();
    let (facts, files) = killed(source.path());
    files.iter().for_each(|(path, bytes)| fs::write(dir.path().join(path.file_name().unwrap()), bytes).unwrap());
    let _open = Checkpoint::resume(lock(dir.path()), &facts).unwrap();
    fs::copy(dir.path().join("checkpoint.db"), alone.path().join("checkpoint.db")).unwrap();
    let found = inspect(alone.path()).unwrap();
    assert_eq!((found.head_planned, found.head_committed), (Some(BatchId(2)), Some(BatchId(1))));
}

/// Damages a copy of the checkpoint with `damage`: it is refused, or the damage is nowhere that counts; the bytes stay.
fn check_damaged(
    files: &BTreeMap<PathBuf, Vec<u8>>,
    sound: &Facts,
    at: &str,
    damage: impl Fn(&mut BTreeMap<PathBuf, Vec<u8>>),
) -> bool {
    let dir = scratch();
    let names = files.iter().map(|(path, bytes)| (dir.path().join(path.file_name().unwrap()), bytes.clone()));
    let mut damaged: BTreeMap<_, _> = names.collect();
    damage(&mut damaged);
    for (path, bytes) in &damaged {
        fs::write(path, bytes).unwrap();
    }
    let refused = match inspect(dir.path()) {
        Ok(facts) => {
            assert_eq!(facts, *sound, "{at}");
            false
        }
        Err(error) => {
            assert_eq!(error.class(), Class::Refused, "{at}: {error:?}");
            true
        }
    };
    assert!(image(dir.path()) == damaged, "{at}: reading changed the checkpoint");
    refused
}

/// Thousands of images are written: in memory where there is such a file system.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn a_flipped_byte_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, files) = killed(dir.path());
    assert_eq!(files.len(), 3);
    let mut refused = 0;
    for (nth, bytes) in files.values().enumerate() {
        for at in 0..bytes.len() {
            let flip = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
                files.values_mut().nth(nth).unwrap()[at] ^= 1 << (at % 8);
            };
            refused += u32::from(check_damaged(&files, &sound, &format!("file {nth}, byte {at}"), flip));
        }
    }
    assert!(refused > 100, "only {refused} flips were noticed");
}

#[test]
fn a_truncated_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, files) = killed(dir.path());
    let mut refused = 0;
    for (nth, bytes) in files.values().enumerate() {
        for at in 0..bytes.len() {
            let cut = |files: &mut BTreeMap<PathBuf, Vec<u8>>| files.values_mut().nth(nth).unwrap().truncate(at);
            refused += u32::from(check_damaged(&files, &sound, &format!("file {nth}, cut at {at}"), cut));
        }
    }
    assert!(refused > 10, "only {refused} cuts were noticed");
}

#[test]
fn a_file_that_is_gone_or_of_another_time_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, files) = killed(dir.path());
    let other = tempfile::tempdir().unwrap();
    let (_, others) = killed(other.path());
    for (nth, (_, foreign)) in others.iter().enumerate() {
        let remove = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
            let path = files.keys().nth(nth).unwrap().clone();
            fs::remove_file(&path).ok();
            files.remove(&path);
        };
        // Without its mark a checkpoint is as those of the first program: it is believed.
        assert_eq!(check_damaged(&files, &sound, &format!("file {nth} removed"), remove), nth < 2);
        let swap = |files: &mut BTreeMap<PathBuf, Vec<u8>>| files.values_mut().nth(nth).unwrap().clone_from(foreign);
        // The log may hold every page of the database that counts.
        let refused = check_damaged(&files, &sound, &format!("file {nth} of another checkpoint"), swap);
        assert!(refused || nth == 0, "file {nth} of another checkpoint is taken");
    }
    let mut later = reopen(dir.path());
    let timeline = later.timeline();
    later.log_committed(&CommitRecord { timeline, ..line::commit(2) }, &state(4), None).unwrap();
    drop(later);
    files.iter().take(2).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let refused = inspect(dir.path()).unwrap_err();
    assert!(refused.detail().unwrap().contains("batch 2 was committed, and the database knows batch 1"), "{refused:?}");
    assert!(refused.hint().unwrap().contains("checkpoint.mark"));
}

#[test]
fn a_checkpoint_without_mark_gets_one_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = create(dir.path());
    run(&mut checkpoint, 0, 2);
    drop(checkpoint);
    // As the first program left it: it neither counted nor marked.
    fs::remove_file(dir.path().join("checkpoint.mark")).unwrap();
    let conn = schema::open_read_write(dir.path()).unwrap();
    facts::delete_meta(&conn, "counted").unwrap();
    drop(conn);
    let mut checkpoint = reopen(dir.path());
    run(&mut checkpoint, 2, 3);
    assert!(dir.path().join("checkpoint.mark").exists());
    assert_eq!(inspect(dir.path()).unwrap().head_committed, Some(BatchId(2)));
}

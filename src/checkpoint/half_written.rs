//! A write that a kill left half done in the database itself, and the journal that takes it back.
//!
//! Transactions go to the log, where a half one counts for nothing. Programs before this one switched a new database to its
//! log under its own name, and a kill there left the journal of that; where the disk failed them then, they even went on
//! without the log. SQLite takes such a write back at the first look of a connection that may write. Whether the journal
//! and the database belong together only shows by what comes of it, so it is tried out on copies first.

use std::{fs, io, path::Path};

use super::{
    CheckpointError, Lock, archive,
    schema::{self, DATABASE, JOURNAL, LOG, MARK},
    sync_dir,
};
use crate::crash;

/// A directory for the copies.
const TRIAL: &str = "checkpoint.trial";

/// Takes back a half write in the locked directory; refuses, and changes nothing, where no sound checkpoint would come of it.
pub fn take_back(lock: &Lock) -> Result<(), CheckpointError> {
    let dir = lock.dir();
    match archive::inspect(dir) {
        Err(CheckpointError::HalfWritten { .. }) => {}
        // Whatever else there is to say of it, who reads the facts next says it.
        _ => return Ok(()),
    }
    let trial = dir.join(TRIAL);
    let failed = |error: io::Error| CheckpointError::io(dir.to_owned(), "take back a half write of", error);
    remove(&trial).map_err(failed)?;
    copy(dir, &trial).map_err(failed)?;
    let tried = try_out(&trial);
    remove(&trial).map_err(failed)?;
    tried.map_err(|error| match error {
        CheckpointError::Refused { reason, .. } => CheckpointError::Refused { dir: dir.to_owned(), reason },
        other => other,
    })?;
    crash::point("journal: tried");
    schema::roll_back(dir).map_err(|error| error.at(dir))?;
    // A journal that a power loss brings back would take back what comes after, too.
    sync_dir(dir).map_err(failed)?;
    crash::point("journal: rolled back");
    tracing::warn!("took back what a killed process had half written to the checkpoint");
    Ok(())
}

fn try_out(trial: &Path) -> Result<(), CheckpointError> {
    schema::roll_back(trial).map_err(|error| error.at(trial))?;
    archive::inspect(trial).map(drop)
}

fn copy(dir: &Path, trial: &Path) -> io::Result<()> {
    fs::create_dir(trial)?;
    for name in [DATABASE, JOURNAL, LOG, MARK] {
        match fs::copy(dir.join(name), trial.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn remove(trial: &Path) -> io::Result<()> {
    match fs::remove_dir_all(trial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{
        checkpoint::{
            Checkpoint, Class, Holder, NewCheckpoint,
            mark::{Mark, Marker},
        },
        model::BatchTime,
    };

    fn lock(dir: &Path) -> Lock {
        Lock::take(dir, &Holder::this_process(0)).unwrap()
    }

    /// A new checkpoint whose process was killed as it wrote to the database itself.
    fn half_written(dir: &Path) {
        let whole = tempfile::tempdir().unwrap();
        let new = NewCheckpoint { job: "job", batch_interval_ms: 1000, zero: BatchTime(0), created_at_ms: 1 };
        drop(Checkpoint::create(lock(whole.path()), &new).unwrap());
        let conn = Connection::open(schema::database(whole.path())).unwrap();
        // A journal that nobody waits for counts from its first byte.
        let begun = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; BEGIN; DELETE FROM meta";
        conn.execute_batch(begun).unwrap();
        for name in [DATABASE, JOURNAL, MARK] {
            fs::copy(whole.path().join(name), dir.join(name)).unwrap();
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_half_write_is_told_to_readers_and_taken_back_by_the_holder_of_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        half_written(dir.path());
        fs::create_dir(dir.path().join(TRIAL)).unwrap();
        fs::write(dir.path().join(TRIAL).join(DATABASE), "of an earlier trial").unwrap();
        let told = archive::inspect(dir.path()).unwrap_err();
        assert!(matches!(told, CheckpointError::HalfWritten { .. }), "{told:?}");
        let lock = lock(dir.path());
        take_back(&lock).unwrap();
        assert_eq!(names(dir.path()), ["checkpoint.db", "checkpoint.mark", "holder.json", "lock"]);
        let facts = archive::inspect(dir.path()).unwrap();
        assert_eq!(facts.run_epoch.0, 1);
        assert_eq!(Checkpoint::resume(lock, &facts).unwrap().run_epoch().0, 2);
    }

    #[test]
    fn a_half_write_of_another_checkpoint_is_refused_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        half_written(dir.path());
        let mark = Mark::read(dir.path()).unwrap().unwrap();
        Marker::open(dir.path(), &Mark { writes: mark.writes + 9, ..mark }).unwrap();
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
        let before = [DATABASE, JOURNAL, MARK].map(read);
        let refused = take_back(&lock(dir.path())).unwrap_err();
        assert_eq!(refused.class(), Class::Refused, "{refused:?}");
        assert!(
            refused.to_string().contains(&dir.path().display().to_string()) && !refused.to_string().contains(TRIAL)
        );
        assert!([DATABASE, JOURNAL, MARK].map(read) == before, "the refusal changed files");
        assert_eq!(names(dir.path()), ["checkpoint.db", "checkpoint.db-journal", "checkpoint.mark", "lock"]);
    }
}

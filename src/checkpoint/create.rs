//! A new checkpoint: written aside, in the mode it is used in, and renamed once all of it is durable.
//!
//! A database that is switched to its log only under its own name could be left half switched by a kill. So it has that name
//! when nothing of it is left to be written but by transactions in the log.

use std::{fs, io, path::Path};

use rusqlite::Connection;

use super::{
    CheckpointError,
    facts::{self, Format, Grid, Head, Identity},
    schema::{self, ASIDE, JOURNAL, LOG, ReadError},
    sync_dir, write_ahead,
};
use crate::{
    crash,
    model::{BatchId, BatchTime, RunEpoch, Timeline},
    protocol::FORMAT,
};

/// SQLite's page size of a new database.
pub const PAGE_BYTES: u32 = 4096;

/// Whatever an earlier creation left. The last three would be taken for parts of the new database; ones that hold
/// something, but for the index, have been refused by now.
const STRAYS: [&str; 7] = [
    ASIDE,
    "checkpoint.db.new-journal",
    "checkpoint.db.new-wal",
    "checkpoint.db.new-shm",
    LOG,
    "checkpoint.db-shm",
    JOURNAL,
];

/// What a checkpoint is born with.
#[derive(Debug, Clone)]
pub struct NewCheckpoint<'a> {
    pub job: &'a str,
    pub batch_interval_ms: i64,
    pub zero: BatchTime,
    /// Wall clock, milliseconds since the epoch; for people.
    pub created_at_ms: i64,
}

/// Makes the database in `dir`, which has none: it is there whole or not at all. `is_ours` fails where the directory has
/// become another process's.
pub fn create(
    dir: &Path,
    new: &NewCheckpoint<'_>,
    page_bytes: u32,
    is_ours: impl Fn() -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let failed = |error| CheckpointError::io(dir.to_owned(), "create", error);
    is_ours()?;
    remove_strays(dir).map_err(failed)?;
    crash::point("create: begun");
    let aside = dir.join(ASIDE);
    fill(&aside, new, page_bytes).map_err(|error| error.creating(dir))?;
    make_durable(dir, &aside).map_err(failed)?;
    crash::point("create: written aside");
    is_ours()?;
    publish(dir, &aside).map_err(failed)
}

fn remove_strays(dir: &Path) -> io::Result<()> {
    let mut removed = false;
    for stray in STRAYS {
        match fs::remove_file(dir.join(stray)) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // A power loss must not bring them back beside a database that is not theirs.
    if removed { sync_dir(dir) } else { Ok(()) }
}

fn fill(aside: &Path, new: &NewCheckpoint<'_>, page_bytes: u32) -> Result<(), ReadError> {
    let conn = Connection::open(aside)?;
    conn.pragma_update(None, "page_size", page_bytes)?;
    write_ahead::set(&conn)?;
    let checkpoint = uuid::Uuid::new_v4().to_string();
    let identity = Identity { checkpoint, job: new.job.to_owned(), created_at_ms: new.created_at_ms };
    let head =
        Head { timeline: Timeline(0), run_epoch: RunEpoch(0), first: BatchId::FIRST, planned: None, committed: None };
    let transaction = conn.unchecked_transaction()?;
    schema::create(&transaction)?;
    facts::put_meta(&transaction, "format", &Format { format: FORMAT })?;
    facts::put_meta(&transaction, "identity", &identity)?;
    facts::put_meta(
        &transaction,
        "grid",
        &Grid { batch_interval_ms: new.batch_interval_ms, zero: new.zero, earlier: Vec::new() },
    )?;
    facts::put_meta(&transaction, "head", &head)?;
    transaction.commit()?;
    crash::point("create: filled");
    // The log has the name of the file aside, and stays behind: everything goes into the database.
    let left: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if left != 0 {
        return Err(ReadError::NotAhead("a log that another process reads".to_owned()));
    }
    Ok(conn.close().map_err(|(_, error)| error)?)
}

/// The database, and the directory's own name.
fn make_durable(dir: &Path, aside: &Path) -> io::Result<()> {
    fs::File::open(aside)?.sync_all()?;
    dir.canonicalize()?.parent().map_or(Ok(()), sync_dir)
}

/// Gives the database its name.
fn publish(dir: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(aside, schema::database(dir))?;
    crash::point("create: renamed");
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Class, inspect};

    const NEW: NewCheckpoint<'static> =
        NewCheckpoint { job: "job", batch_interval_ms: 1000, zero: BatchTime(0), created_at_ms: 1 };

    #[test]
    fn a_database_is_in_wal_mode_and_alone_when_it_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        // As kills leave them; the journal holds nothing.
        STRAYS.iter().for_each(|stray| fs::write(dir.path().join(stray), "").unwrap());
        fs::write(dir.path().join(ASIDE), "half").unwrap();
        create(dir.path(), &NEW, PAGE_BYTES, || Ok(())).unwrap();
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["checkpoint.db"]);
        let bytes = fs::read(schema::database(dir.path())).unwrap();
        assert_eq!(bytes.get(18..20), Some(&[2, 2][..]), "the mode is in the header");
        assert_eq!(inspect(dir.path()).unwrap().job, "job");
    }

    #[test]
    fn a_journal_without_its_database_is_a_damaged_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(JOURNAL), "pages").unwrap();
        let refused = inspect(dir.path()).unwrap_err();
        assert_eq!(refused.class(), Class::Refused);
        assert!(
            refused.detail().unwrap().contains("checkpoint.db is missing and checkpoint.db-journal"),
            "{refused:?}"
        );
    }
}

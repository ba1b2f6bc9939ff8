//! How transactions are written: ahead, to a log, each made durable by an fsync of its own.
//!
//! SQLite answers a wish for another journal mode before it writes that to the database, and with the mode it keeps where it
//! cannot. So the answer is read, the statement is run to its end, and the database is asked again.

use rusqlite::{Connection, types::FromSql};

use super::schema::ReadError;

const WAL: &str = "wal";

/// What SQLite calls `synchronous = FULL`.
const FULL: i64 = 2;

/// Whether the database is written ahead already.
pub fn is_set(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(answer::<String>(conn, "PRAGMA journal_mode")? == WAL)
}

/// Fails where SQLite does not do it from here on, for whatever reason.
pub fn set(conn: &Connection) -> Result<(), ReadError> {
    let answered: String = answer(conn, "PRAGMA journal_mode = WAL")?;
    // The first look at a database of this mode opens its log and the index of that, in memory that processes share.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let kept: String = answer(conn, "PRAGMA journal_mode")?;
    if let Some(other) = [answered, kept].into_iter().find(|mode| mode != WAL) {
        return Err(ReadError::NotAhead(format!("journal mode {other:?}")));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    match answer::<i64>(conn, "PRAGMA synchronous")? {
        FULL => Ok(()),
        other => Err(ReadError::NotAhead(format!("synchronous = {other}"))),
    }
}

/// The one value that a statement answers with, once it has run to its end: its changes are committed only there.
fn answer<T: FromSql>(conn: &Connection, sql: &str) -> rusqlite::Result<T> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let value = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?.get(0)?;
    while rows.next()?.is_some() {}
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::OpenFlags;

    use super::*;
    use crate::checkpoint::{CheckpointError, Class};

    fn failed(conn: &Connection) -> CheckpointError {
        set(conn).unwrap_err().at(Path::new("dir"))
    }

    #[test]
    fn a_file_system_without_shared_memory_is_told_and_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.db");
        // Locks by files, as where a file system has no others: SQLite maps nothing there.
        let vfs = c"unix-dotfile";
        let conn = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), vfs).unwrap();
        conn.execute_batch("CREATE TABLE one (a)").unwrap();
        let failed = failed(&conn);
        assert_eq!(failed.class(), Class::Unusable);
        let detail = failed.detail().unwrap();
        assert!(
            detail.contains("write-ahead log on its file system: it stays with journal mode \"delete\""),
            "{detail}"
        );
        assert!(failed.hint().unwrap().contains("local directory"));
    }

    #[test]
    fn a_switch_that_another_connection_holds_up_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE one (a); PRAGMA busy_timeout = 1").unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN; SELECT * FROM one").unwrap();
        assert_eq!(failed(&conn).class(), Class::Io);
        drop(other);
        set(&conn).unwrap();
        assert!(is_set(&conn).unwrap() && is_set(&Connection::open(&path).unwrap()).unwrap());
    }

    /// As where the fsync of it fails: SQLite has answered "wal" by then.
    #[test]
    fn a_switch_that_cannot_be_committed_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = Connection::open(dir.path().join("checkpoint.db")).unwrap();
        conn.execute_batch("CREATE TABLE one (a)").unwrap();
        conn.commit_hook(Some(|| true)).unwrap();
        set(&conn).unwrap_err();
    }
}

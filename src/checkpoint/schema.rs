//! The database: its tables, and how connections to it are opened.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{CheckpointError, write_ahead};
use crate::{crash, open_files, protocol::Reason};

pub const DATABASE: &str = "checkpoint.db";
pub const LOG: &str = "checkpoint.db-wal";
/// What takes back a half write of the database itself; written beside it by the programs that switched to the log there.
pub const JOURNAL: &str = "checkpoint.db-journal";
pub const MARK: &str = "checkpoint.mark";
pub const ASIDE: &str = "checkpoint.db.new";

/// "kstr": tells file(1) and people what the database is.
const APPLICATION_ID: i64 = 0x6b73_7472;

/// Pages of the log after which SQLite itself copies it into the database, within a commit. The driver's calls of
/// `purge` do so before, off the commit path; this is the bound for a caller that never does.
const AUTOCHECKPOINT_PAGES: i64 = 16_384;

/// How long a statement waits for a foreign SQL tool that holds the write lock.
const BUSY_TIMEOUT_MS: i64 = 5_000;

/// Every object of the schema, by name, as SQLite stores it.
const OBJECTS: [(&str, &str); 9] = [
    ("meta", "CREATE TABLE meta (key TEXT PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID"),
    ("plans", "CREATE TABLE plans (batch INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL)"),
    ("commits", "CREATE TABLE commits (batch INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL)"),
    (
        "positions",
        "CREATE TABLE positions (source TEXT, topic TEXT, partition INTEGER, body TEXT NOT NULL, \
         crc INTEGER NOT NULL, PRIMARY KEY (source, topic, partition)) WITHOUT ROWID",
    ),
    ("sinks", "CREATE TABLE sinks (name TEXT PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID"),
    (
        "job_texts",
        "CREATE TABLE job_texts (hash TEXT PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        "state_deltas",
        "CREATE TABLE state_deltas (state TEXT, batch INTEGER, previous INTEGER, crc INTEGER NOT NULL, \
         body BLOB NOT NULL, PRIMARY KEY (state, batch)) WITHOUT ROWID",
    ),
    (
        "state_snapshots",
        "CREATE TABLE state_snapshots (state TEXT, slot INTEGER, batch INTEGER, slots INTEGER, crc INTEGER NOT NULL, \
         body BLOB NOT NULL, PRIMARY KEY (state, slot, batch)) WITHOUT ROWID",
    ),
    (
        "ledger",
        "CREATE VIEW ledger AS SELECT plans.batch AS batch, plans.body ->> '$.time' AS time_ms, \
         CASE WHEN commits.batch IS NULL THEN 'planned' ELSE 'committed' END AS status, \
         commits.body ->> '$.records_read' AS records_read, plans.body -> '$.ranges' AS ranges, \
         commits.body -> '$.outputs' AS outputs, commits.body -> '$.durations_us' AS durations_us \
         FROM plans LEFT JOIN commits USING (batch)",
    ),
];

pub fn database(dir: &Path) -> PathBuf {
    dir.join(DATABASE)
}

/// Creates the schema, within a transaction.
pub fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    OBJECTS.iter().try_for_each(|(_, sql)| conn.execute_batch(sql))
}

/// Whether the write-ahead log is not there; a graceful end leaves an empty one.
pub fn log_is_missing(dir: &Path) -> bool {
    matches!(dir.join(LOG).try_exists(), Ok(false))
}

/// Whether a journal lies beside the database that may have to take back a half write of it: then the file alone tells
/// nothing. SQLite leaves one that begins with zero alone, too.
pub fn journal_is_pending(dir: &Path) -> bool {
    let mut first = [0];
    let read = std::fs::File::open(dir.join(JOURNAL)).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first != [0]
}

/// A connection to the database file alone, which makes no file; for a look while there is no log.
pub fn open_without_log(dir: &Path) -> Result<Connection, CheckpointError> {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for byte in database(dir).as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    open_to_read(dir, |flags| Connection::open_with_flags(&uri, flags | OpenFlags::SQLITE_OPEN_URI))
}

/// A connection that writes nothing but SQLite's index of the log.
pub fn open_read_only(dir: &Path) -> Result<Connection, CheckpointError> {
    open_to_read(dir, |flags| Connection::open_with_flags(database(dir), flags))
}

fn open_to_read(
    dir: &Path,
    connect: impl FnOnce(OpenFlags) -> rusqlite::Result<Connection>,
) -> Result<Connection, CheckpointError> {
    let path = database(dir);
    let unusable =
        |what: &str| CheckpointError::Unusable { dir: dir.to_owned(), what: format!("{DATABASE} in it {what}") };
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        // A pipe would be waited for.
        Ok(_) => return Err(unusable("is no regular file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_link = path.symlink_metadata().is_ok();
            return Err(if is_link { unusable("is a link to a file that is not there") } else { absent(dir) });
        }
        Err(error) => return Err(CheckpointError::unusable(dir, "read it", error)),
    }
    check_magic(dir, &path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = move || -> rusqlite::Result<Connection> {
        let conn = connect(flags)?;
        tune(&conn)?;
        Ok(conn)
    };
    open().map_err(|error| read_error(dir, error))
}

/// What every SQLite database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// SQLite takes an empty file for a new database and deletes the log beside it, even on a read-only connection. So
/// what is no database never gets there.
fn check_magic(dir: &Path, path: &Path) -> Result<(), CheckpointError> {
    let mut head = Vec::with_capacity(MAGIC.len());
    let read = std::fs::File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
    read.map_err(|error| CheckpointError::unusable(dir, "read its database", error))?;
    if head == MAGIC {
        return Ok(());
    }
    let what = "it does not begin as a database does".to_owned();
    Err(CheckpointError::Refused { dir: dir.to_owned(), reason: Reason::Corrupt { place: DATABASE.to_owned(), what } })
}

/// No database: an empty directory is no checkpoint yet, what belongs to a database is a damaged one.
fn absent(dir: &Path) -> CheckpointError {
    let beside = |name: &str| std::fs::metadata(dir.join(name)).is_ok_and(|file| file.len() > 0);
    match [LOG, JOURNAL, MARK].into_iter().find(|name| beside(name)) {
        Some(left) => CheckpointError::Refused {
            dir: dir.to_owned(),
            reason: Reason::Contradiction(format!("{DATABASE} is missing and {left}, which belongs to it, is there")),
        },
        None => CheckpointError::Absent { dir: dir.to_owned() },
    }
}

pub fn open_read_write(dir: &Path) -> Result<Connection, CheckpointError> {
    let conn = connect_to_write(dir).map_err(|error| error.at(dir))?;
    let is_ahead = write_ahead::is_set(&conn).map_err(|error| ReadError::from(error).at(dir))?;
    write_ahead::set(&conn).map_err(|error| error.at(dir))?;
    if !is_ahead {
        // A database of an earlier program that was killed before it switched. Its journal must not come back after a power
        // loss, when the log holds batches.
        crash::point("journal: switched");
        super::sync_dir(dir).map_err(|error| CheckpointError::io(dir.to_owned(), "open", error))?;
    }
    Ok(conn)
}

fn connect_to_write(dir: &Path) -> Result<Connection, ReadError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(database(dir), flags)?;
    tune(&conn)?;
    conn.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    // The log stays when the last connection closes, so that a later reader finds all files in place and makes none.
    conn.file_control(rusqlite::MAIN_DB.into(), rusqlite::FileControl::PersistWal(&mut 1))?;
    Ok(conn)
}

/// Has SQLite take back what a journal says was half written, and begins no write of its own.
pub fn roll_back(dir: &Path) -> Result<(), ReadError> {
    let conn = connect_to_write(dir)?;
    // The first look at a database is what does it.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    conn.close().map_err(|(_, error)| error.into())
}

fn tune(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "busy_timeout", BUSY_TIMEOUT_MS)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// Refuses a database whose schema is not word for word ours.
pub fn check(conn: &Connection) -> Result<(), ReadError> {
    let mut found = conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let mut rows = found.query([])?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let (name, sql): (String, String) = (row.get(0)?, row.get(1)?);
        match OBJECTS.iter().find(|(ours, _)| *ours == name) {
            Some((_, ours)) if *ours == sql => seen += 1,
            _ => return Err(ReadError::Refused(schema_damaged(format!("{name:?} is not as it was created")))),
        }
    }
    if seen == OBJECTS.len() {
        return Ok(());
    }
    let what = format!("it has {seen} of {} tables", OBJECTS.len());
    Err(ReadError::Refused(schema_damaged(what)))
}

fn schema_damaged(what: String) -> Reason {
    Reason::Corrupt { place: "the schema".to_owned(), what }
}

/// Why reading failed: SQLite, or what it read.
#[derive(Debug)]
pub enum ReadError {
    Sqlite(rusqlite::Error),
    Refused(Reason),
    /// SQLite writes in another way than it was told to, here as it says it.
    NotAhead(String),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        ReadError::Sqlite(error)
    }
}

impl From<Reason> for ReadError {
    fn from(reason: Reason) -> Self {
        ReadError::Refused(reason)
    }
}

impl ReadError {
    /// Why a creation failed: of what SQLite writes itself, nothing is there to be damaged.
    pub fn creating(self, dir: &Path) -> CheckpointError {
        match self {
            ReadError::Sqlite(error) if extended_code(&error) != Some(ffi::SQLITE_IOERR_SHMMAP) => {
                CheckpointError::io(dir.to_owned(), "create", error)
            }
            ReadError::Refused(reason) => CheckpointError::io(dir.to_owned(), "create", reason.to_string()),
            other => other.at(dir),
        }
    }

    pub fn at(self, dir: &Path) -> CheckpointError {
        match self {
            ReadError::Sqlite(error) => read_error(dir, error),
            ReadError::Refused(reason) => CheckpointError::Refused { dir: dir.to_owned(), reason },
            ReadError::NotAhead(found) => CheckpointError::Unusable {
                dir: dir.to_owned(),
                what: format!("SQLite cannot keep a write-ahead log on its file system: it stays with {found}"),
            },
        }
    }
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|inner| inner.extended_code)
}

/// Bytes that SQLite cannot make sense of are damage; files that it cannot open are a directory that cannot be used.
fn read_error(dir: &Path, error: rusqlite::Error) -> CheckpointError {
    let dir = dir.to_owned();
    match error.sqlite_error().map(|inner| (inner.code, inner.extended_code)) {
        Some((_, ffi::SQLITE_READONLY_ROLLBACK)) => CheckpointError::HalfWritten { dir },
        Some((_, ffi::SQLITE_IOERR_SHMMAP)) => CheckpointError::Unusable {
            dir,
            what: "SQLite cannot keep a write-ahead log on its file system, which maps no memory that processes share"
                .to_owned(),
        },
        Some((ErrorCode::CannotOpen, _)) if open_files::shortage().is_some() => CheckpointError::io(dir, "read", error),
        Some((ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly, _)) => {
            CheckpointError::Unusable { dir, what: format!("SQLite cannot open {DATABASE}: {error}") }
        }
        Some((ErrorCode::SystemIoFailure, code)) if code != ffi::SQLITE_IOERR_SHORT_READ => {
            CheckpointError::io(dir, "read", error)
        }
        Some((
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted,
            _,
        )) => CheckpointError::io(dir, "read", error),
        found => match unreadable(&dir) {
            Some(error) => CheckpointError::io(dir, "read", error),
            None if matches!(found, Some((ErrorCode::DatabaseCorrupt, _))) && is_sound(&dir) => {
                let what = "a part of it could not be read, and now it can: its disk may be failing";
                CheckpointError::io(dir, "read", what.to_owned())
            }
            None => CheckpointError::Refused {
                reason: Reason::Corrupt { place: DATABASE.to_owned(), what: damage(&database(&dir), &error) },
                dir,
            },
        },
    }
}

/// What is the matter with a database that SQLite reads and cannot make sense of.
fn damage(path: &Path, error: &rusqlite::Error) -> String {
    if let Some((whole, found)) = cut_short(path) {
        return format!("it is {found} bytes long, and {whole} by its own account: the end is missing");
    }
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => "a value in it is not of the type that was written".to_owned(),
        other => other.to_string(),
    }
}

/// Bytes that the header promises and bytes that there are, where these are fewer.
fn cut_short(path: &Path) -> Option<(u64, u64)> {
    let mut head = [0; 32];
    let mut file = std::fs::File::open(path).ok()?;
    let found = file.metadata().ok()?.len();
    file.read_exact(&mut head).ok()?;
    let [.., a, b, c, d] = head;
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let whole = page * u64::from(u32::from_be_bytes([a, b, c, d]));
    (found < whole).then_some((whole, found))
}

/// SQLite calls a page that the disk does not give back malformed, as if it had read it. Whether that is so.
fn unreadable(dir: &Path) -> Option<std::io::Error> {
    [database(dir), dir.join(LOG)].iter().find_map(|path| {
        let read = std::fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
        read.err().filter(|error| error.kind() != std::io::ErrorKind::NotFound)
    })
}

/// Whether SQLite finds nothing wrong with the database when it looks at all of it once more.
fn is_sound(dir: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = || -> rusqlite::Result<String> {
        let conn = Connection::open_with_flags(database(dir), flags)?;
        tune(&conn)?;
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    look().is_ok_and(|found| found == "ok")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn damage_and_a_disk_that_does_not_give_its_bytes_back_are_told_apart() {
        let malformed = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(database(dir.path()), "no database").unwrap();
        let damaged = read_error(dir.path(), malformed());
        assert!(matches!(damaged, CheckpointError::Refused { .. }), "{damaged:?}");
        let sound = tempfile::tempdir().unwrap();
        create(&Connection::open(database(sound.path())).unwrap()).unwrap();
        let failed = read_error(sound.path(), malformed());
        assert!(failed.detail().unwrap().contains("could not be read, and now it can"), "{failed:?}");
        // Its first page is not there: a read fails as one of a broken disk does.
        std::os::unix::fs::symlink("/proc/self/mem", dir.path().join(LOG)).unwrap();
        let failed = read_error(dir.path(), malformed());
        assert_eq!(failed.to_string(), format!("cannot read checkpoint {}", dir.path().display()));
        assert_eq!(failed.detail().unwrap(), "Input/output error (os error 5).");
    }
}

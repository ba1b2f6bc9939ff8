//! The checkpoint: the durable log behind the commit protocol, one SQLite database in `checkpoint_dir`.
//!
//! The driver takes the [`Lock`], reads the [`Facts`](crate::protocol::Facts) through a read-only connection, lets
//! `protocol::decide` decide, and only then [creates](Checkpoint::create) or [resumes](Checkpoint::resume) the
//! checkpoint; `kstream batches` and `replay` read through an [`Archive`], also while the job runs. The room promises
//! that a call that returned is durable, that damaged bytes are refused and never guessed at, and that a refusal changes
//! neither the database nor its log. It decides nothing about batches and knows nothing of sources and sinks.
//!
//! # Files
//!
//! | file | |
//! |---|---|
//! | `checkpoint.db`, `checkpoint.db-wal` | the database and its write-ahead log; together they are the checkpoint |
//! | `checkpoint.db-shm` | SQLite's index of the log; rebuilt when missing |
//! | `checkpoint.mark` | uuid and the number of durable transactions, which the database must at least hold |
//! | `lock` | held by an OS file lock while a process works on the checkpoint; its existence means nothing, and it goes with a holder that made nothing beside it |
//! | `holder.json` | who holds the lock (pid, host, since); written after it is taken, for people |
//! | `checkpoint.db.new` | an unfinished creation, with its own log; deleted |
//! | `checkpoint.db-journal` | of an earlier program that was killed as it wrote to the database itself; taken back |
//! | `checkpoint.trial` | copies on which that was tried out; deleted |
//!
//! # Schema, format 1
//!
//! Bodies are canonical JSON (state: bytes of the state's own). `crc` is the CRC-32C of table name, key columns and
//! body, so neither a body nor a key can change unseen. A body that decodes but does not encode to the same bytes again
//! is damaged: there are no unknown fields.
//!
//! | table | key | body |
//! |---|---|---|
//! | `meta` | `format` | `{"format":1}`; this row keeps its shape in all formats |
//! | | `identity` | uuid, job name, when created |
//! | | `grid` | batch interval and zero time |
//! | | `counted` | transactions so far |
//! | | `head` | timeline, run epoch, oldest kept, last planned and last committed batch: what the rows must add up to |
//! | | `bounded_end`, `rewind` | end offsets of an unfinished bounded run; a rewind the sinks may not have followed |
//! | `plans`, `commits` | batch | [`PlanRecord`](crate::protocol::PlanRecord), [`CommitRecord`](crate::protocol::CommitRecord): together the ledger |
//! | `positions` | source, topic, partition | [`Position`](crate::protocol::Position) |
//! | `sinks` | output name | what the sink remembered last, and the batch that said so |
//! | `job_texts` | hash | the resolved job |
//! | `state_deltas` | state, batch | changes of one batch; `previous` is the batch of the delta before |
//! | `state_snapshots` | state, slot, batch | one of `slots` parts of the state as it was after the batch |
//!
//! The view `ledger` shows batches to any SQL tool.
//!
//! # What a crash can leave
//!
//! WAL mode with `synchronous = FULL`: a transaction is one append to the log and one fsync, and is there or not. A
//! damaged end of the log, or a lost one, would read as transactions that never were; the mark tells, and the checkpoint
//! is refused. A creation is written aside, in WAL mode, and renamed, so that a database is never found half made, and nothing
//! is ever written to it but by transactions in the log. An earlier program switched to WAL under the database's own name,
//! and a kill left its rollback journal: the holder of the lock has SQLite take that write back, after a trial on copies.
//! SQLite's word for its mode is read, and a start without WAL ends. After a failed write or fsync nothing is known: the store
//! refuses every later call, and the process ends. Assumed of the file system: working locks, atomic rename, and data that is
//! durable after a successful fsync.

mod archive;
mod create;
mod error;
mod facts;
mod half_written;
mod lock;
mod mark;
mod purge;
mod restore;
mod rewind;
mod row;
mod schema;
mod write;
mod write_ahead;

pub use archive::{Archive, LedgerRow, RestorePoint, Status, inspect};
pub use create::NewCheckpoint;
pub use error::{CheckpointError, Class};
pub use half_written::take_back;
pub use lock::{Holder, Lock};
pub use purge::Purged;
pub use restore::{Snapshot, StateImage};
pub use write::Checkpoint;

/// Makes names in a directory durable, and names that are gone stay gone.
fn sync_dir(dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

//! One process a checkpoint: an OS file lock, which dies with its process, and a note for people about who holds it.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    /// Wall clock when the lock was taken, milliseconds since the epoch.
    pub since_ms: i64,
}

impl Holder {
    /// This process. `since_ms` is the wall clock, which is read elsewhere.
    pub fn this_process(since_ms: i64) -> Holder {
        let host = ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| fs::read_to_string(path).ok());
        let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "unknown".to_owned());
        Holder { pid: std::process::id(), host: host.trim().to_owned(), since_ms }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)?;
        match jiff::Timestamp::from_millisecond(self.since_ms) {
            Ok(since) => write!(f, " since {since:.0}"),
            Err(_) => Ok(()),
        }
    }
}

const LOCK: &str = "lock";
const HOLDER: &str = "holder.json";

/// How long the loser of a race waits before it reads the winner's note, which is written after the lock is taken.
const NOTE_WAIT: Duration = Duration::from_millis(100);

/// How often a taken lock is tried again: within a second, the second process must have given up.
const LOCK_TRIES: u32 = 3;

/// The checkpoint directory, held by this process until dropped.
#[derive(Debug)]
pub struct Lock {
    dir: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of `dir`, which is created if it is absent. Does not wait for another holder.
    pub fn take(dir: &Path, holder: &Holder) -> Result<Lock, CheckpointError> {
        fs::create_dir_all(dir).map_err(|error| CheckpointError::unusable(dir, "create it", error))?;
        let path = dir.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| CheckpointError::unusable(dir, "open its lock file", error))?;
        let mut tries = 0;
        let locked = loop {
            match file.try_lock() {
                // A process that was just started by a holder that has gone has its files for a moment longer.
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => std::thread::sleep(NOTE_WAIT),
                other => break other,
            }
            tries += 1;
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CheckpointError::InUse { dir: dir.to_owned(), holder: read_note(dir) });
            }
            Err(TryLockError::Error(error)) => return Err(CheckpointError::unusable(dir, "lock it", error)),
        }
        write_note(dir, holder).map_err(|error| CheckpointError::unusable(dir, "write to it", error))?;
        Ok(Lock { dir: dir.to_owned(), file })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The open lock file, whose name another process could lock if it were not that of this file any more.
    pub(super) fn anchor(&self) -> std::io::Result<Anchor> {
        let metadata = self.file.metadata()?;
        Ok(Anchor { path: self.dir.join(LOCK), device: metadata.dev(), inode: metadata.ino() })
    }
}

/// An open file and the name it should have.
#[derive(Debug)]
pub(super) struct Anchor {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Anchor {
    /// The file that has this name now.
    pub fn at(path: PathBuf) -> std::io::Result<Anchor> {
        let metadata = fs::metadata(&path)?;
        Ok(Anchor { path, device: metadata.dev(), inode: metadata.ino() })
    }

    /// Fails where the name leads to nothing, or to another file.
    pub fn check(&self, dir: &Path) -> Result<(), CheckpointError> {
        let name = self.path.file_name().unwrap_or_default().display();
        let dir = dir.to_owned();
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => {
                let what = format!("Its file {name} was replaced by another while the job ran");
                Err(CheckpointError::Fenced { dir, what })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(CheckpointError::Gone {
                dir,
                what: format!("Its file {name} was deleted or moved while the job ran"),
            }),
            Err(error) => Err(CheckpointError::io(dir, "look at", error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the file is closed, so that the note of the next holder is never the one removed.
        let _ = fs::remove_file(self.dir.join(HOLDER));
    }
}

fn write_note(dir: &Path, holder: &Holder) -> std::io::Result<()> {
    let aside = dir.join("holder.json.new");
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec(holder)?)?;
    fs::rename(aside, dir.join(HOLDER))
}

fn read_note(dir: &Path) -> Option<Holder> {
    serde_json::from_slice(&fs::read(dir.join(HOLDER)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_checkpoint_names_its_holder_and_is_free_after() {
        let dir = tempfile::tempdir().unwrap();
        let holder = Holder { pid: 77, host: "box".to_owned(), since_ms: 1_795_215_759_000 };
        let first = Lock::take(dir.path(), &holder).unwrap();
        let refused = Lock::take(dir.path(), &Holder::this_process(0)).unwrap_err();
        assert_eq!(refused.detail().unwrap(), "It is held by process 77 on box since 2026-11-20T23:02:39Z.");
        assert_eq!(refused.class(), super::super::Class::InUse);
        drop(first);
        assert!(Lock::take(dir.path(), &Holder::this_process(0)).is_ok());
    }

    #[test]
    fn files_left_by_a_dead_holder_do_not_lock() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK), "").unwrap();
        write_note(dir.path(), &Holder::this_process(0)).unwrap();
        assert!(Lock::take(dir.path(), &Holder::this_process(1)).is_ok());
    }

    #[test]
    fn a_directory_that_is_a_file_cannot_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let refused = Lock::take(&path, &Holder::this_process(0)).unwrap_err();
        assert_eq!(refused.class(), super::super::Class::Unusable);
    }
}

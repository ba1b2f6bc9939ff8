//! One process a checkpoint: an OS file lock, which dies with its process, and a note for people about who holds it.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
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

/// How long until a directory that its holder takes along just now has gone.
const REMOVAL_WAIT: Duration = Duration::from_millis(10);

/// How often a taken lock is tried again, or one that goes with its directory: within a second, the second process must
/// have given up.
const TRIES: u32 = 3;

/// The checkpoint directory, held by this process until dropped. Where the lock file is new and nothing else came of it, it
/// goes again with the directories that were made for it: a job that is refused leaves nothing behind.
#[derive(Debug)]
pub struct Lock {
    dir: PathBuf,
    file: LockFile,
}

impl Lock {
    /// Takes the lock of `dir`, which is created if it is absent. Does not wait for another holder.
    pub fn take(dir: &Path, holder: &Holder) -> Result<Lock, CheckpointError> {
        let mut tries = 0;
        let file = loop {
            let found = LockFile::open(dir)?;
            match found.open.try_lock() {
                Ok(()) if found.check(dir).is_ok() => break found,
                // Its holder took the file along.
                Ok(()) if tries < TRIES => {}
                // A process that was just started by a holder that has gone has its files for a moment longer.
                Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(NOTE_WAIT),
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    return Err(CheckpointError::InUse { dir: dir.to_owned(), holder: read_note(dir) });
                }
                Err(TryLockError::Error(error)) => return Err(CheckpointError::unusable(dir, "lock it", error)),
            }
            tries += 1;
        };
        let lock = Lock { dir: dir.to_owned(), file };
        write_note(dir, holder).map_err(|error| CheckpointError::unusable(dir, "write to it", error))?;
        Ok(lock)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Fails where the directory was deleted, or another one is in its place.
    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        self.file.check(&self.dir)
    }

    /// The open lock file, whose name another process could lock if it were not that of this file any more.
    pub(super) fn anchor(&self) -> std::io::Result<Anchor> {
        self.file.anchor(&self.dir)
    }
}

/// The open lock file, and what was made for it.
#[derive(Debug)]
struct LockFile {
    open: File,
    is_new: bool,
    /// The innermost first.
    made_dirs: Vec<PathBuf>,
}

impl LockFile {
    fn open(dir: &Path) -> Result<LockFile, CheckpointError> {
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let made_dirs = dir.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        let path = dir.join(LOCK);
        let open = || match OpenOptions::new().create_new(true).write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().create(true).truncate(false).write(true).open(&path).map(|file| (file, false))
            }
            created => created.map(|file| (file, true)),
        };
        let mut tries = 0;
        let opened = loop {
            let made = fs::create_dir_all(dir).map_err(|error| ("create it", error));
            match made.and_then(|()| open().map_err(|error| ("open its lock file", error))) {
                // The holder before takes the directory along just now.
                Err((_, error))
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) && tries < TRIES =>
                {
                    tries += 1;
                    std::thread::sleep(REMOVAL_WAIT);
                }
                opened => break opened,
            }
        };
        let (open, is_new) = opened.map_err(|(doing, error)| CheckpointError::unusable(dir, doing, error))?;
        Ok(LockFile { open, is_new, made_dirs })
    }

    fn anchor(&self, dir: &Path) -> std::io::Result<Anchor> {
        let metadata = self.open.metadata()?;
        Ok(Anchor { path: dir.join(LOCK), device: metadata.dev(), inode: metadata.ino() })
    }

    fn check(&self, dir: &Path) -> Result<(), CheckpointError> {
        self.anchor(dir).map_err(|error| CheckpointError::io(dir.to_owned(), "look at", error))?.check(dir)
    }

    /// While it is locked: who waits for it finds it gone and makes another one.
    fn remove_if_alone(&self, dir: &Path) -> std::io::Result<()> {
        let is_alone = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == *LOCK);
        if self.is_new && fs::read_dir(dir)?.all(is_alone) {
            fs::remove_file(dir.join(LOCK))?;
            self.made_dirs.iter().try_for_each(fs::remove_dir)?;
        }
        Ok(())
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
            Err(error) if error.kind() == ErrorKind::NotFound => Err(CheckpointError::Gone {
                dir,
                what: format!("Its file {name} was deleted or moved while the job ran"),
            }),
            Err(error) => Err(CheckpointError::io(dir, "look at", error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where the checkpoint was deleted, another process may stand there.
        if self.check().is_err() {
            return;
        }
        // Before the file is closed, so that the note of the next holder is never the one removed.
        let _ = fs::remove_file(self.dir.join(HOLDER));
        let _ = self.file.remove_if_alone(&self.dir);
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
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

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
    fn a_lock_that_nothing_came_of_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        let take = |dir: &Path| Lock::take(dir, &Holder::this_process(0));
        drop(take(&inner).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::create_dir(dir.path().join("a")).unwrap();
        let earlier = LockFile::open(&inner);
        let lock = take(&inner).unwrap();
        assert!(matches!(take(&inner), Err(CheckpointError::InUse { .. })));
        drop(lock);
        assert!(inner.join(LOCK).exists(), "it was there before");
        drop(earlier);
        fs::remove_file(inner.join(LOCK)).unwrap();
        let lock = take(&inner).unwrap();
        fs::write(inner.join("checkpoint.db"), "").unwrap();
        drop(lock);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 2);
    }

    #[test]
    fn a_holder_whose_directory_was_deleted_leaves_the_next_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = dir.path().join("checkpoint");
        let take = || Lock::take(&checkpoint, &Holder::this_process(0));
        let first = take().unwrap();
        fs::remove_dir_all(&checkpoint).unwrap();
        let second = take().unwrap();
        drop(first);
        assert!(read_note(&checkpoint).is_some());
        assert!(matches!(take(), Err(CheckpointError::InUse { .. })));
        drop(second);
        assert!(!checkpoint.exists());
    }

    #[test]
    fn a_lock_file_that_its_holder_took_along_does_not_lock() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let checkpoint = dir.path().join("checkpoint");
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..10 {
                            let lock = match Lock::take(&checkpoint, &Holder::this_process(0)) {
                                Err(CheckpointError::InUse { .. }) => continue,
                                lock => lock.unwrap(),
                            };
                            most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::yield_now();
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    });
                }
            });
            assert_eq!(most.into_inner(), 1);
        }
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

//! The disk of the simulation: in memory, outliving processes; its operations fail, end in a crash, or are forgotten when
//! the power goes.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kstream::sink::disk::{Disk, parent};

use super::{
    faults::{Fault, crash},
    history::{Planted, World},
};

#[path = "../../src/sink/disk/frail.rs"]
#[expect(dead_code, reason = "the sinks' own tests use the rest")]
mod frail;

use frail::{FrailDisk, LOSSES};

/// What is on the disk, whatever becomes of processes.
#[derive(Debug, Clone)]
pub struct Platter {
    disk: FrailDisk,
    /// A sync has failed in this process: it may write nothing more.
    sync_failed: Arc<AtomicBool>,
}

impl Platter {
    /// `dir` exists.
    pub fn new(dir: &Path) -> Platter {
        let disk = FrailDisk::new();
        disk.create_dirs(dir).expect("directory");
        Platter { disk, sync_failed: Arc::default() }
    }

    pub fn next_process(&self) {
        self.sync_failed.store(false, Ordering::Relaxed);
    }

    /// The power goes: each file and each directory keeps, tears or forgets what was not synced.
    pub fn lose_power(&self, mut below: impl FnMut(u64) -> u64) {
        self.disk.lose_each(|| LOSSES[below(LOSSES.len() as u64) as usize]);
    }

    /// All files, by path.
    pub fn files(&self) -> BTreeMap<PathBuf, String> {
        self.disk.files()
    }

    pub fn file(&self, path: &Path) -> String {
        self.files().remove(path).unwrap_or_default()
    }

    pub fn has_dir(&self, path: &Path) -> bool {
        self.disk.list(path).expect("disk").is_some()
    }
}

/// What a sink of one process sees of it.
pub struct SimDisk {
    platter: Platter,
    world: Arc<World>,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    pub fn new(world: Arc<World>) -> SimDisk {
        SimDisk { platter: world.platter.clone(), world }
    }

    fn injected(kind: ErrorKind) -> io::Error {
        io::Error::new(kind, "injected: the disk fails")
    }

    /// Before an operation after which there is more on the disk, or it is called durable.
    fn add(&self) -> io::Result<&FrailDisk> {
        if self.platter.sync_failed.load(Ordering::Relaxed) {
            self.world.violates("something was written after a sync had failed".to_owned());
        }
        self.change()
    }

    fn change(&self) -> io::Result<&FrailDisk> {
        let (crashes, full) = {
            let mut faults = self.world.faults();
            (faults.strikes(Fault::CrashOnDisk, 400), faults.strikes(Fault::DiskFull, 900))
        };
        if crashes {
            crash();
        }
        if full {
            return Err(Self::injected(ErrorKind::StorageFull));
        }
        Ok(&self.platter.disk)
    }

    fn look(&self) -> io::Result<&FrailDisk> {
        match self.world.faults().strikes(Fault::DiskReadFails, 1500) {
            true => Err(Self::injected(ErrorKind::Other)),
            false => Ok(&self.platter.disk),
        }
    }

    fn syncs(&self, planted: Planted, sync: impl FnOnce(&FrailDisk) -> io::Result<()>) -> io::Result<()> {
        let disk = self.add()?;
        if self.world.faults().strikes(Fault::SyncFails, 600) {
            self.platter.sync_failed.store(true, Ordering::Relaxed);
            return Err(Self::injected(ErrorKind::Other));
        }
        if self.world.planted == planted {
            return Ok(());
        }
        sync(disk)
    }
}

impl Disk for SimDisk {
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.look()?.len(path)
    }

    fn read(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.look()?.read(path, offset, len)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = self.add()?;
        let (short, crashes) = {
            let mut faults = self.world.faults();
            (faults.strikes(Fault::ShortWrite, 900), faults.strikes(Fault::CrashWithinWrite, 500))
        };
        if short || crashes {
            disk.write_at(path, offset, &bytes[..bytes.len() / 2])?;
        }
        if crashes {
            crash();
        }
        if short {
            return Err(Self::injected(ErrorKind::WriteZero));
        }
        disk.write_at(path, offset, bytes)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.change()?.truncate(path, len)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.syncs(Planted::FilesAreNotSynced, |disk| disk.sync(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.add()?.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.syncs(Planted::DirectoriesAreNotSynced, |disk| disk.sync_dir(dir))
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.add()?.create_dirs(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.change()?.remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Option<Vec<String>>> {
        self.look()?.list(dir)
    }
}

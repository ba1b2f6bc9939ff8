//! A file system in memory for tests: it dies at a chosen operation and forgets, keeps or tears what was not synced; or one
//! operation fails and the next ones do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use super::*;

/// What a power loss leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A mere kill: the system keeps everything.
    Nothing,
    /// Neither bytes nor names.
    Everything,
    /// Names are kept; bytes that were written and not synced end halfway.
    Cut,
    /// Names are kept; half of the bytes that were written and not synced are zero.
    Zeroed,
    /// Bytes are kept; renames and new names are not.
    Names,
}

pub const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Cut, Loss::Zeroed, Loss::Names];

/// How one operation fails; the disk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no room, for this operation and the next.
    Full,
    /// The device fails. Of a sync: what was written since the last one is dropped, and no later sync tells of it.
    Device,
    /// Half of what should be written is written.
    Short,
}

pub const FAILURES: [Failure; 3] = [Failure::Full, Failure::Device, Failure::Short];

/// Shared: a clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct FrailDisk(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    files: Vec<(Vec<u8>, Vec<u8>)>,
    dirs: Vec<(Names, Names)>,
    operations: u64,
    dies_at: Option<u64>,
    fails_at: Option<(u64, Failure)>,
    failed: bool,
    /// Files whose bytes look written and will not be durable until they are written again.
    dropped: BTreeSet<usize>,
}

/// Names now and names synced; of files and of directories by index.
type Names = BTreeMap<String, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir(usize),
}

fn gone() -> io::Error {
    io::Error::from(ErrorKind::NotFound)
}

impl Tree {
    fn at(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Dir(0);
        for part in path.components().skip(1) {
            let Node::Dir(dir) = node else { return None };
            node = *self.dirs.get(dir)?.0.get(part.as_os_str().to_str()?)?;
        }
        Some(node)
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut (Names, Names)> {
        match self.at(path) {
            Some(Node::Dir(dir)) => Ok(&mut self.dirs[dir]),
            _ => Err(gone()),
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut (Vec<u8>, Vec<u8>)> {
        match self.at(path) {
            Some(Node::File(file)) => Ok(&mut self.files[file]),
            _ => Err(gone()),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl FrailDisk {
    pub fn new() -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().dirs.push(Default::default());
        disk
    }

    /// The n-th operation from now, from 0, and all after it fail.
    pub fn die_at(&self, operation: u64) {
        let mut tree = self.0.lock().unwrap();
        tree.dies_at = Some(tree.operations + operation);
    }

    pub fn died(&self) -> bool {
        let tree = self.0.lock().unwrap();
        tree.dies_at.is_some_and(|at| tree.operations > at)
    }

    /// The n-th operation from now, from 0, fails.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        let mut tree = self.0.lock().unwrap();
        (tree.fails_at, tree.failed) = (Some((tree.operations + operation, failure)), false);
    }

    /// Whether so many operations were made.
    pub fn reached(&self) -> bool {
        let tree = self.0.lock().unwrap();
        tree.fails_at.is_some_and(|(at, _)| tree.operations > at)
    }

    pub fn failed(&self) -> bool {
        self.0.lock().unwrap().failed
    }

    /// The machine comes back after a power loss.
    pub fn lose(&self, loss: Loss) {
        self.lose_each(|| loss);
    }

    /// As `lose`, with a loss of its own for each file and each directory.
    pub fn lose_each(&self, mut loss: impl FnMut() -> Loss) {
        let mut tree = self.0.lock().unwrap();
        tree.dies_at = None;
        for (now, synced) in &mut tree.files {
            let same = now.iter().zip(synced.iter()).take_while(|(a, b)| a == b).count();
            let middle = same + (now.len() - same) / 2;
            match loss() {
                Loss::Nothing | Loss::Names => {}
                Loss::Everything => *now = synced.clone(),
                Loss::Cut => now.truncate(middle),
                Loss::Zeroed => now[same..middle].fill(0),
            }
            *synced = now.clone();
        }
        for (now, synced) in &mut tree.dirs {
            match loss() {
                Loss::Everything | Loss::Names => *now = synced.clone(),
                _ => *synced = now.clone(),
            }
        }
    }

    /// All files, by path.
    pub fn files(&self) -> BTreeMap<PathBuf, String> {
        let tree = self.0.lock().unwrap();
        let mut files = BTreeMap::new();
        let mut open = vec![(PathBuf::from("/"), 0)];
        while let Some((path, dir)) = open.pop() {
            for (name, node) in &tree.dirs[dir].0 {
                match node {
                    Node::Dir(dir) => open.push((path.join(name), *dir)),
                    Node::File(file) => {
                        let text = String::from_utf8_lossy(&tree.files[*file].0).into_owned();
                        files.insert(path.join(name), text);
                    }
                }
            }
        }
        files
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = Path::new(path);
        self.create_dirs(parent(path)).unwrap();
        self.remove(path).unwrap();
        self.write_at(path, 0, bytes).unwrap();
        self.sync(path).unwrap();
        self.sync_dir(parent(path)).unwrap();
    }

    fn begin(&self) -> io::Result<MutexGuard<'_, Tree>> {
        let mut tree = self.0.lock().unwrap();
        tree.operations += 1;
        let number = tree.operations - 1;
        if tree.dies_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the disk died"));
        }
        let failure = match tree.fails_at {
            Some((at, Failure::Full)) if number == at || number == at + 1 => ErrorKind::StorageFull,
            Some((at, Failure::Device)) if number == at => ErrorKind::Other,
            _ => return Ok(tree),
        };
        tree.failed = true;
        Err(failure.into())
    }

    /// Whether the operation that has begun is the one that does half.
    fn is_short(tree: &mut Tree) -> bool {
        let short = tree.fails_at == Some((tree.operations - 1, Failure::Short));
        tree.failed |= short;
        short
    }
}

impl Disk for FrailDisk {
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut tree = self.begin()?;
        Ok(tree.file(path).ok().map(|(now, _)| now.len() as u64))
    }

    fn read(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut tree = self.begin()?;
        let now = &tree.file(path)?.0;
        let start = now.len().min(offset as usize);
        Ok(now[start..now.len().min(start + len)].to_vec())
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut tree = self.begin()?;
        if tree.at(path).is_none() {
            tree.files.push(Default::default());
            let node = Node::File(tree.files.len() - 1);
            tree.dir(parent(path))?.0.insert(name(path), node);
        }
        let short = Self::is_short(&mut tree);
        let written = if short { &bytes[..bytes.len() / 2] } else { bytes };
        if let Some(Node::File(file)) = tree.at(path) {
            tree.dropped.remove(&file);
        }
        let now = &mut tree.file(path)?.0;
        now.resize(now.len().max(offset as usize + written.len()), 0);
        now[offset as usize..][..written.len()].copy_from_slice(written);
        if short { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.begin()?.file(path)?.0.truncate(len as usize);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let begun = self.begin().map(drop);
        let mut tree = self.0.lock().unwrap();
        let Some(Node::File(file)) = tree.at(path) else { return begun.and(Err(gone())) };
        if begun.is_err() {
            tree.dropped.insert(file);
        } else if !tree.dropped.contains(&file) {
            let (now, synced) = &mut tree.files[file];
            synced.clone_from(now);
        }
        begun
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.begin()?;
        let dir = tree.dir(parent(from))?;
        let node = dir.0.remove(&name(from)).ok_or_else(gone)?;
        dir.0.insert(name(to), node);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.begin()?;
        let dir = tree.dir(dir)?;
        dir.1 = dir.0.clone();
        Ok(())
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.begin()?;
        for path in dir.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
            if tree.at(path).is_none() {
                tree.dirs.push(Default::default());
                let node = Node::Dir(tree.dirs.len() - 1);
                let above = tree.dir(parent(path))?;
                above.0.insert(name(path), node);
                above.1.insert(name(path), node);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.begin()?;
        if let Ok(dir) = tree.dir(parent(path)) {
            dir.0.remove(&name(path));
        }
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.remove(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Option<Vec<String>>> {
        let mut tree = self.begin()?;
        Ok(tree.dir(dir).ok().map(|(now, _)| now.keys().cloned().collect()))
    }
}

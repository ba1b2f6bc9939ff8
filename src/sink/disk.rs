//! The file layer under sinks: the few operations they are made of, so that tests can break each of them.
//!
//! Assumed of the file system: rename within a directory is atomic; data is durable after a successful fsync of the
//! file, names after one of the directory; after a failed fsync nothing is known and the batch is not published.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, FileTypeExt},
    path::Path,
};

/// What sinks do with files. Paths are absolute.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Length of a file; none where nothing has that name. What is no regular file is an error: see [`NotAFile`].
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// The bytes of `offset..offset + len`, fewer at the end of the file.
    fn read(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Writes all of `bytes` at `offset`; creates the file.
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Makes the bytes of a file durable.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Within one directory; replaces a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents, durably in the existing one.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file; fine if it is absent.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it; fine if it is absent.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; none where there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Option<Vec<String>>>;
}

/// A pipe, a device, a directory where a file should be. Opening one might wait for ever, or write to nowhere.
#[derive(Debug, thiserror::Error)]
#[error("it is {0}, not a regular file")]
pub struct NotAFile(&'static str);

impl NotAFile {
    fn of(kind: fs::FileType) -> NotAFile {
        NotAFile(match kind {
            kind if kind.is_dir() => "a directory",
            kind if kind.is_fifo() => "a named pipe",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        })
    }

    /// Whether that is what an error says.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NotAFile>())
    }
}

/// The directory whose names must be synced when `path` appears or vanishes.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let Some(metadata) = found(fs::metadata(path))? else { return Ok(None) };
        if metadata.is_file() {
            Ok(Some(metadata.len()))
        } else {
            Err(io::Error::new(ErrorKind::InvalidInput, NotAFile::of(metadata.file_type())))
        }
    }

    fn read(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().create(true).truncate(false).write(true).open(path)?.write_all_at(bytes, offset)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let above = parent(dir);
        if above != dir {
            self.create_dirs(above)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_dir(above),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        found(fs::remove_file(path)).map(drop)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        found(fs::remove_dir_all(dir)).map(drop)
    }

    fn list(&self, dir: &Path) -> io::Result<Option<Vec<String>>> {
        let Some(entries) = found(fs::read_dir(dir))? else { return Ok(None) };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Some(names))
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub mod frail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_has_no_length_and_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path, says: &str| {
            let error = LocalDisk.len(path).unwrap_err();
            assert!(NotAFile::is(&error) && error.to_string().contains(says), "{}: {error}", path.display());
        };
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check(&pipe, "a named pipe");
        check(Path::new("/dev/null"), "a device");
        check(dir.path(), "a directory");
        assert_eq!(LocalDisk.len(&dir.path().join("nothing")).unwrap(), None);
        std::fs::write(dir.path().join("file"), "four").unwrap();
        assert_eq!(LocalDisk.len(&dir.path().join("file")).unwrap(), Some(4));
    }
}

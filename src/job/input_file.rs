//! Files whose contents are part of a job (initial state, queues): that they can be read, and what each held.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf, absolute},
};

use super::{
    content::{Content, ContentHasher},
    mistake::{Mistake, Span},
    path::{lexical, resolved},
    reader::Reader,
};

/// A file as the system knows it, under whatever name, or a place where nothing is yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Spot {
    There { device: u64, inode: u64 },
    Nothing(PathBuf),
}

impl Reader<'_> {
    pub fn absolute(&self, path: &Path) -> PathBuf {
        let joined = self.directory.join(path);
        absolute(&joined).unwrap_or(joined)
    }

    /// What a path leads to, so that two spellings of one file are equal; also where nothing is there yet.
    pub fn place(&self, path: &Path) -> PathBuf {
        let path = self.absolute(path);
        if self.files.recorded { lexical(&path) } else { resolved(&path) }
    }

    /// What two paths share if they lead to one file, be it by a hard link.
    pub fn spot(&self, place: &Path) -> Spot {
        match place.metadata() {
            Ok(metadata) if !self.files.recorded => Spot::There { device: metadata.dev(), inode: metadata.ino() },
            _ => Spot::Nothing(place.to_owned()),
        }
    }

    /// A file whose content decides what the job gives.
    pub fn input_file(&mut self, span: &Span, path: &Path) {
        self.inputs.push((path.to_owned(), "the job reads this file".to_owned()));
        let path = self.absolute(path);
        if self.files.recorded || self.files.contents.contains_key(&path) {
            return;
        }
        match content_of(&path) {
            Ok(content) => {
                self.files.contents.insert(path, content);
            }
            Err(error) => self.report(unreadable(span, &error)),
        }
    }

    /// The file of a queue.
    pub fn queue_file(&mut self, span: &Span, path: &Path) {
        match self.files.played {
            true => self.inputs.push((path.to_owned(), "the job reads this file".to_owned())),
            false => self.input_file(span, path),
        }
    }

    /// What a source reads, which must be there, whatever it holds.
    pub fn readable_file(&mut self, span: &Span, path: &Path) {
        self.inputs.push((path.to_owned(), "the job reads this file".to_owned()));
        if self.files.recorded || self.files.played {
            return;
        }
        let path = self.absolute(path);
        if let Err(error) = open(&path) {
            self.report(unreadable(span, &error));
        }
    }
}

fn unreadable(span: &Span, error: &io::Error) -> Mistake {
    Mistake::at(span, "cannot read this file").label(reason(error))
}

/// Without the number the system gives it.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens a regular file for reading. A pipe or device is refused before it is opened: it could block, or never end.
pub fn open(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}

fn content_of(path: &Path) -> io::Result<Content> {
    let mut file = open(path)?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

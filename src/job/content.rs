//! What a file held: enough to tell later whether it still does.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Length and hash of a file's content. As text: `HASH/BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    xxh3_128: u128,
    pub bytes: u64,
}

/// What is known of the files a job names.
#[derive(Debug, Default)]
pub struct InputFiles {
    /// By absolute path.
    pub contents: BTreeMap<PathBuf, Content>,
    /// The contents are those of a job text: the files are not looked at.
    pub recorded: bool,
    /// Another plays the sources: the files they would read are not looked at.
    pub played: bool,
}

/// Takes a content piece by piece.
#[derive(Default)]
pub struct ContentHasher {
    hasher: Xxh3,
    bytes: u64,
}

impl ContentHasher {
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
    }

    pub fn finish(&self) -> Content {
        Content { xxh3_128: self.hasher.digest128(), bytes: self.bytes }
    }
}

impl Content {
    pub fn of(content: &[u8]) -> Content {
        Content { xxh3_128: xxh3_128(content), bytes: content.len() as u64 }
    }

    /// Whether `now` is this content, or begins with it and goes on with further lines.
    pub fn is_kept_in(&self, now: &[u8]) -> bool {
        let Ok(length) = usize::try_from(self.bytes) else { return false };
        let Some((before, added)) = now.split_at_checked(length) else { return false };
        let whole_lines = added.is_empty() || added.starts_with(b"\n") || before.is_empty() || before.ends_with(b"\n");
        whole_lines && Content::of(before) == *self
    }

    /// What [`fmt::Display`] gave.
    pub fn parse(text: &str) -> Option<Content> {
        let (hash, bytes) = text.split_once('/')?;
        Some(Content { xxh3_128: u128::from_str_radix(hash, 16).ok()?, bytes: bytes.parse().ok()? })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}/{}", self.xxh3_128, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_grows_by_lines_keeps_its_content() {
        for (before, now, kept) in [
            ("[1]\n", "[1]\n", true),
            ("[1]\n", "[1]\n[2]\n", true),
            ("[1]", "[1]\n[2]", true),
            ("", "[1]", true),
            ("[1]", "[1] ", false),
            ("[1]\n", "[2]\n", false),
            ("[1]\n", "[2]\n[1]\n", false),
            ("[1]\n[2]\n", "[1]\n", false),
        ] {
            let content = Content::of(before.as_bytes());
            assert_eq!(content.is_kept_in(now.as_bytes()), kept, "{before:?} {now:?}");
            assert_eq!(Content::parse(&content.to_string()), Some(content));
        }
    }

    #[test]
    fn pieces_are_as_good_as_the_whole() {
        let mut hasher = ContentHasher::default();
        hasher.update(b"[1]");
        hasher.update(b"\n");
        assert_eq!(hasher.finish(), Content::of(b"[1]\n"));
    }

    #[test]
    fn other_texts_are_no_content() {
        for text in ["", "/", "00", "xx/1", "00/", "00/-1"] {
            assert_eq!(Content::parse(text), None, "{text}");
        }
    }
}

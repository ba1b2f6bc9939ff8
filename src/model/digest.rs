//! Digests of outputs: what an output delivers in a batch, as canonical value encoding, without header or time zone.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Value, encode::put_value};

/// 128 bits and a count. Equal outputs have equal digests; compared only between equal output settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub hash: u128,
    /// Elements delivered.
    pub count: u64,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}:{}", self.hash, self.count)
    }
}

impl std::str::FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (hash, count) = text.split_once(':')?;
            Some(Digest { hash: u128::from_str_radix(hash, 16).ok()?, count: count.parse().ok()? })
        };
        parse().ok_or_else(|| format!("not a digest: {text}"))
    }
}

/// Digest of elements whose order is part of the output.
#[derive(Default)]
pub struct OrderedDigest {
    state: Xxh3,
    count: u64,
    scratch: Vec<u8>,
}

impl OrderedDigest {
    pub fn add(&mut self, value: &Value) {
        self.scratch.clear();
        put_value(&mut self.scratch, value);
        self.state.update(&self.scratch);
        self.count += 1;
    }

    /// Adds the digest of a part that was taken elsewhere, with its elements.
    pub fn add_part(&mut self, part: &Digest) {
        self.state.update(&part.hash.to_le_bytes());
        self.count += part.count;
    }

    /// Separates parts, and tells whether there was more than is shown.
    pub fn mark(&mut self, tag: u8) {
        self.state.update(&[0xff, tag]);
    }

    pub fn finish(self) -> Digest {
        Digest { hash: self.state.digest128(), count: self.count }
    }
}

/// Digest of elements in any order: the sum of their 128-bit hashes.
#[derive(Debug, Default, Clone)]
pub struct UnorderedDigest {
    sum: u128,
    count: u64,
}

impl UnorderedDigest {
    /// `encoded` is one element in canonical encoding.
    pub fn add(&mut self, encoded: &[u8]) {
        self.sum = self.sum.wrapping_add(xxh3_128(encoded));
        self.count += 1;
    }

    pub fn finish(self) -> Digest {
        Digest { hash: self.sum, count: self.count }
    }
}

//! Buffers for received and decompressed bytes, which come back once the last view into them is dropped.
//!
//! They are megabytes: taking fresh memory for each would have the system zero its pages again and again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept for the next use, and their capacity together.
const KEPT_MAX: usize = 16;
const KEPT_TOTAL_MAX_BYTES: usize = 24 << 20;
/// A larger one is given back to the system.
const KEPT_MAX_BYTES: usize = 8 << 20;

#[derive(Debug, Clone, Default)]
pub struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

impl BufferPool {
    /// An empty buffer with room for `len` bytes.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that fits, so that a small response does not hold a large buffer.
        let fitting =
            kept.iter().enumerate().filter(|(_, buffer)| len <= buffer.capacity() && buffer.capacity() <= 4 * len);
        match fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(idx, _)| idx) {
            Some(idx) => kept.swap_remove(idx),
            None => Vec::with_capacity(len),
        }
    }

    /// Bytes whose memory returns to the pool.
    pub fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        match buffer.capacity() <= KEPT_MAX_BYTES {
            true => Bytes::from_owner(Lent { buffer, pool: self.clone() }),
            false => Bytes::from(buffer),
        }
    }
}

struct Lent {
    buffer: Vec<u8>,
    pool: BufferPool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept_bytes: usize = kept.iter().map(Vec::capacity).sum();
        if kept.len() < KEPT_MAX && kept_bytes + self.buffer.capacity() <= KEPT_TOTAL_MAX_BYTES {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_after_its_last_view_and_only_then() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(1_000);
        buffer.extend_from_slice(&[7; 1_000]);
        let address = buffer.as_ptr();
        let view = pool.freeze(buffer).slice(10..20);
        let other = pool.take(1_000);
        assert_ne!(other.as_ptr(), address, "still viewed");
        assert_eq!(view[..], [7; 10]);
        drop(view);
        let again = pool.take(900);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_fits() {
        let pool = BufferPool::default();
        let lent: Vec<Bytes> = (0..KEPT_MAX + 4).map(|_| pool.freeze(Vec::with_capacity(1_000))).collect();
        drop(lent);
        assert_eq!(pool.0.lock().unwrap().len(), KEPT_MAX);
        assert!(pool.take(10).capacity() < 1_000, "a small response takes no large buffer");
        drop(pool.freeze(Vec::with_capacity(KEPT_MAX_BYTES + 1)));
        assert_eq!(pool.0.lock().unwrap().len(), KEPT_MAX);
    }

    #[test]
    fn what_is_kept_has_a_bound_in_bytes_too() {
        let pool = BufferPool::default();
        let lent: Vec<Bytes> = (0..5).map(|_| pool.freeze(Vec::with_capacity(KEPT_MAX_BYTES))).collect();
        drop(lent);
        assert_eq!(pool.0.lock().unwrap().len(), KEPT_TOTAL_MAX_BYTES / KEPT_MAX_BYTES);
    }
}

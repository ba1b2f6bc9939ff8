//! The bound on what a plane holds in memory: record sets that wait for their reader or are being read.
//!
//! Each lane's quota splits the bound evenly, but a record batch may be larger than a quota, and a lane cannot fetch less
//! than one. So the plane counts as well: once the bound is reached, nothing is fetched but for readers that wait. What is
//! held beyond it is at most a response of each leader and a batch, or 64 KiB, of each reader.
//!
//! What counts is memory and not what is wanted of it: a set that is a view into its response keeps all of that alive,
//! however little of it the set is, so the response counts, once, until the last of its sets has been read. A set that is
//! less than an eighth of a larger response is copied and counts for itself. Buffers come from a pool, which may lend one
//! of up to four times the length; that is not counted.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crossbeam_channel::Sender;

#[derive(Debug)]
pub struct Memory {
    bound: usize,
    held: AtomicUsize,
    was_full: AtomicBool,
    /// Wake the threads that fetch.
    bells: Mutex<Vec<Sender<()>>>,
}

impl Memory {
    pub fn new(bound: usize) -> Arc<Memory> {
        Arc::new(Memory {
            bound,
            held: AtomicUsize::new(0),
            was_full: AtomicBool::new(false),
            bells: Mutex::new(Vec::new()),
        })
    }

    /// From now on `bell` rings when room comes back.
    pub fn listen(&self, bell: Sender<()>) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(bell);
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Bytes that may be fetched ahead now.
    pub fn room(&self) -> usize {
        let room = self.bound.saturating_sub(self.held());
        if room > 0 {
            return room;
        }
        // The flag goes up before the second look, so that whoever makes room in between rings.
        self.was_full.store(true, Ordering::SeqCst);
        self.bound.saturating_sub(self.held())
    }

    /// Counts `len` bytes until the hold is dropped.
    pub fn hold(self: &Arc<Self>, len: usize) -> Hold {
        self.held.fetch_add(len, Ordering::SeqCst);
        Hold(Arc::new(Counted { memory: Arc::clone(self), len }))
    }
}

/// Bytes that count against the bound, once, until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Hold(#[expect(dead_code, reason = "counted until it is dropped")] Arc<Counted>);

#[derive(Debug)]
struct Counted {
    memory: Arc<Memory>,
    len: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.memory.held.fetch_sub(self.len, Ordering::SeqCst);
        if before - self.len < self.memory.bound && self.memory.was_full.swap(false, Ordering::SeqCst) {
            for bell in &*self.memory.bells.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = bell.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_with_a_ring_once_it_was_missed() {
        let memory = Memory::new(100);
        let (ringer, bell) = crossbeam_channel::bounded(1);
        memory.listen(ringer);
        let small = memory.hold(60);
        assert_eq!(memory.room(), 40);
        drop(small);
        assert!(bell.try_recv().is_err(), "nobody missed any");
        let (first, second) = (memory.hold(60), memory.hold(70));
        assert_eq!((memory.room(), memory.held()), (0, 130));
        drop(first);
        assert!(bell.try_recv().is_ok());
        drop(second);
        assert_eq!((memory.room(), bell.try_recv().is_ok()), (100, false));
    }

    #[test]
    fn what_several_views_share_counts_once_and_until_the_last_is_gone() {
        let memory = Memory::new(100);
        let whole = memory.hold(80);
        let (first, second) = (whole.clone(), whole.clone());
        drop(whole);
        drop(first);
        assert_eq!((memory.held(), memory.room()), (80, 20));
        drop(second);
        assert_eq!(memory.held(), 0);
    }
}

//! The bound on what a plane holds in memory: record sets that wait for their reader or are being read.
//!
//! Each lane's quota splits the bound evenly, but a record batch may be larger than a quota, and a lane cannot fetch less
//! than one. So the plane counts as well: once the bound is reached, nothing is fetched but for readers that wait. What is
//! held beyond it is at most a response of each leader and a batch of each reader.

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
        Hold { memory: Arc::clone(self), len }
    }
}

/// Bytes that count against the bound.
#[derive(Debug)]
pub struct Hold {
    memory: Arc<Memory>,
    len: usize,
}

impl Drop for Hold {
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
}

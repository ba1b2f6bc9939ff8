//! Rolling snapshots: when a state is written whole, and how much of it with one commit.
//!
//! Every commit writes a delta. Once the deltas since the last snapshot outweigh a part of the state, or there are many
//! of them, the state is written slot by slot over the next commits, so that no single commit is slow and a restart
//! never reads much more than the state itself.

use crate::{checkpoint::StateImage, protocol::StateSnapshot, state::StepState};

/// Deltas worth this part of the state's size begin a snapshot.
const DELTA_SHARE: u64 = 4;
const MIN_DELTA_BYTES: u64 = 1 << 20;
/// So many deltas begin one, however small they are.
const MAX_DELTAS: u32 = 200;
/// Commits over which a snapshot is spread, where the state has slots enough.
const SPREAD: u32 = 16;

/// Where the snapshots of one state stand.
#[derive(Debug, Default)]
pub struct Rolling {
    /// Whether the checkpoint knows the state: the first delta is written even where it is empty.
    pub begun: bool,
    delta_bytes: u64,
    deltas: u32,
    /// The next slot of a snapshot under way.
    next: Option<u32>,
    /// The next commit writes the whole state: nothing of it is stored under this name.
    pub whole: bool,
}

impl Rolling {
    /// Goes on after the deltas of an image, the number and bytes of which decide when a snapshot is due.
    pub fn after(image: Option<&StateImage>) -> Self {
        let Some(image) = image else { return Self::default() };
        let deltas = u32::try_from(image.deltas.len()).unwrap_or(u32::MAX);
        let delta_bytes = image.deltas.iter().map(|(_, delta)| delta.len() as u64).sum();
        Self { begun: true, delta_bytes, deltas, ..Self::default() }
    }

    /// A state that was found under another name.
    pub fn under_another_name() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// The slots to write with this commit; `state` has taken the batch's delta already.
    pub fn due(&mut self, delta_len: usize, state: &dyn StepState) -> std::ops::Range<u32> {
        if std::mem::take(&mut self.whole) {
            return 0..state.slots();
        }
        self.delta_bytes += delta_len as u64;
        self.deltas += u32::from(delta_len > 0);
        let worth = (state.memory_bytes() / DELTA_SHARE).max(MIN_DELTA_BYTES);
        if self.next.is_none() && (self.delta_bytes >= worth || self.deltas >= MAX_DELTAS) {
            self.next = Some(0);
            (self.delta_bytes, self.deltas) = (0, 0);
        }
        let Some(start) = self.next else { return 0..0 };
        let end = state.slots().min(start + state.slots().div_ceil(SPREAD));
        self.next = (end < state.slots()).then_some(end);
        start..end
    }
}

/// Some slots of a state, as blobs for the commit.
pub fn slots(name: &str, state: &dyn StepState, slots: std::ops::Range<u32>) -> Vec<StateSnapshot> {
    slots
        .map(|slot| StateSnapshot { state: name.to_owned(), slot, slots: state.slots(), blob: state.snapshot(slot) })
        .collect()
}

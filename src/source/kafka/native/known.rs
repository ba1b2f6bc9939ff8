//! What a reader knows of a log, and the log must still hold.
//!
//! ```text
//!   ........ start ........|...... read ......|                       |
//!   read before the order  | fetched since    | position ... end .....| until of the range
//! ```
//! The reader tells `start` and `end` with its orders, and again with each range. `start` counts until something has been
//! fetched behind it, `end` until that is reached: a leader may change at any time before.

/// All offsets below `until` were written in leader epochs up to `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochCheck {
    pub epoch: i32,
    pub until: i64,
}

/// What the reader knows that the log must still confirm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Of what was read before.
    pub start: Option<EpochCheck>,
    /// Of what is planned.
    pub end: Option<EpochCheck>,
}

impl Known {
    /// The newest epoch that the partition has reached; -1 where none is known. Where topics have ids, one that is made
    /// again has another; else that its epochs begin anew is the only sign, and what was read before shows it too.
    pub fn newest_epoch(&self, has_id: bool) -> i32 {
        let start = self.start.filter(|_| !has_id);
        start.into_iter().chain(self.end).map(|check| check.epoch).max().unwrap_or(-1)
    }
}

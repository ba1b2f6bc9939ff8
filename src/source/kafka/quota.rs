//! Brokers that hold a consumer back by quota: how long that may be, and when the log says so.

use std::time::{Duration, Instant};

/// More than a broker asks for.
pub const THROTTLE_MAX: Duration = Duration::from_secs(300);
/// Below, a broker only smooths the traffic.
const WORTH_SAYING: Duration = Duration::from_secs(1);
/// How often it is said.
const SAID_FOR: Duration = Duration::from_secs(300);

/// When the log last said so.
#[derive(Debug, Default)]
pub struct QuotaNews {
    said_at: Option<Instant>,
}

impl QuotaNews {
    /// Whether a throttle is to be told now; then it counts as told.
    pub fn is_due(&mut self, throttle: Duration) -> bool {
        let is_due = throttle >= WORTH_SAYING && self.said_at.is_none_or(|said| said.elapsed() >= SAID_FOR);
        if is_due {
            self.said_at = Some(Instant::now());
        }
        is_due
    }
}

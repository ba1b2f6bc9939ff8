//! What the next batch reads, and when it starts: offset ranges, limits, back-pressure, data loss, batch times.
//!
//! Called by the driver once a batch (`available` -> [`plan_ranges`] -> `log planned`) and by the trigger between
//! batches ([`ticks`], [`catch_up`]). Everything here is a pure function of its arguments: the same facts give the same
//! plan. The room promises that ranges of consecutive batches meet exactly, that no range exceeds its limits, and that
//! offsets that can no longer be read are named exactly, either as an error or as [`LostRange`]s.
//!
//! It deliberately has no I/O and no clock, asks no broker and stores nothing: offsets come from `source`, committed
//! positions from `checkpoint`, the time from `driver::clock`.
//!
//! Where the record limit of a batch is decided: [`limit`].

pub mod bounded;
pub mod catch_up;
pub mod halve;
pub mod limit;
pub mod loss;
pub mod position;
pub mod ranges;
pub mod rate;
pub mod ticks;

pub use bounded::{batches_needed, end_offsets};
pub use catch_up::{WindowInput, next_catch_up};
pub use halve::halve;
pub use limit::{Limits, Rate};
pub use loss::{DataLoss, LossReason, LostRange, readable_rest, rest_after_cut};
pub use position::Position;
pub use ranges::{Ranges, SourceState, plan_ranges};
pub use rate::PidEstimator;
pub use ticks::{Due, Interval};

//! What is seen of a running job: logs, one record a batch, a progress bar.
//!
//! Called by `cli` once at start ([`log::init`]) and by the driver once a batch ([`BatchProgress`]). Logs and bars go
//! to stderr, data never does; nothing here can fail a batch, and nothing here is read back: what recovery needs is in
//! the checkpoint. Settings are printed through [`redact`], which shows what it knows to be harmless and nothing else.

pub mod bar;
pub mod log;
pub mod progress;
pub mod redact;

pub use bar::{Bar, Bars};
pub use progress::{BatchProgress, ProgressFile};

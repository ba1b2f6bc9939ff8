//!
//! Every other room speaks in these words; this one uses no other room. It has no I/O, no threads and no clock.
//! It deliberately knows nothing of jobs, operators or Kafka.

pub mod batch;
pub mod column;
pub mod digest;
pub mod encode;
pub mod json_column;
pub mod key;
pub mod offset;
pub mod refusal;
pub mod text;
pub mod value;

pub use batch::{BatchId, BatchIdentity, BatchTime, RunEpoch, Timeline};
pub use column::{Column, RawColumn, RecordColumn, StrColumn, ValueFormat, View};
pub use json_column::JsonColumn;
pub use offset::{AvailablePartition, OffsetRange, TopicPartition};
pub use value::{Dict, Opaque, Record, Struct, Value};

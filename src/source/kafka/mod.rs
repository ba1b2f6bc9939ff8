//! The Kafka source.
pub mod native;

use crate::{
    model::{OffsetRange, TopicPartition},
    source::{RangeReader, ReadOptions, SourceError},
};

/// The records of one offset range, in order, as chunks.
pub trait DataPlane: Send + Sync {
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError>;

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError>;
}

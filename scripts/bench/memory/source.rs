//! A source whose partitions lie in memory, as the chunks that a fetch would have left there.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use kstream::{
    model::{Column, OffsetRange, RawColumn, RecordColumn, TopicPartition, ValueFormat, View},
    source::{Available, RangeReader, ReadOptions, Source, SourceError, Start},
};

use crate::workload::{Messages, Workload};

/// What a job's chunks hold, as the driver sets it.
pub const CHUNK_RECORDS: usize = 2048;
const PARTITIONS: usize = 4;
/// Name that a `[source]` table goes by.
const NAME: &str = "source";

/// The chunks of each partition.
#[derive(Debug, Clone)]
pub struct Memory {
    pub partitions: Vec<Vec<Column>>,
}

impl Memory {
    /// The messages of a workload as undecoded records.
    pub fn records(workload: Workload, count: u64, format: ValueFormat) -> Memory {
        let mut messages = Messages::new(workload);
        let mut text = String::new();
        Memory::fill(count, |partition, offset, size| {
            let (mut buffer, mut values) = (Vec::new(), Vec::with_capacity(size));
            for _ in 0..size {
                messages.next(&mut text);
                values.push(View { offset: buffer.len() as u32, len: text.len() as u32 });
                buffer.extend_from_slice(text.as_bytes());
            }
            let buffer = Bytes::from(buffer);
            let keys = RawColumn { buffer: buffer.clone(), views: vec![View::NULL; size] };
            Column::Record(Arc::new(RecordColumn {
                tp: topic_partition(partition),
                key_format: ValueFormat::Utf8,
                value_format: format,
                offsets: (offset..offset + size as i64).collect(),
                timestamps: vec![0; size],
                keys,
                values: RawColumn { buffer, views: values },
                headers: Vec::new(),
            }))
        })
    }

    /// `count` elements in chunks; `chunk` makes one from its partition, first offset and size.
    pub fn fill(count: u64, mut chunk: impl FnMut(usize, i64, usize) -> Column) -> Memory {
        let each = (count as usize).div_ceil(PARTITIONS);
        let partitions = (0..PARTITIONS).map(|partition| {
            let own = each.min((count as usize).saturating_sub(partition * each));
            let starts = (0..own).step_by(CHUNK_RECORDS);
            starts.map(|start| chunk(partition, start as i64, CHUNK_RECORDS.min(own - start))).collect()
        });
        Memory { partitions: partitions.collect() }
    }

    pub fn len(&self) -> usize {
        self.partitions.iter().flatten().map(Column::len).sum()
    }

    /// What a batch over everything reads.
    pub fn ranges(&self) -> Vec<OffsetRange> {
        let range = |(partition, chunks): (usize, &Vec<Column>)| OffsetRange {
            source: NAME.into(),
            tp: topic_partition(partition),
            start: 0,
            until: chunks.iter().map(Column::len).sum::<usize>() as i64,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        };
        self.partitions.iter().enumerate().map(range).collect()
    }
}

/// The undecoded values of all records of some partitions.
pub fn values(partitions: &[Vec<Column>]) -> impl Iterator<Item = &[u8]> {
    partitions.iter().flatten().flat_map(|chunk| {
        let Column::Record(records) = chunk else { panic!("not records") };
        (0..records.len()).filter_map(|idx| records.values.get(idx))
    })
}

fn topic_partition(partition: usize) -> TopicPartition {
    TopicPartition::new("memory", partition as i32)
}

impl Source for Memory {
    fn name(&self) -> &str {
        NAME
    }

    fn available(&mut self, _: Instant) -> Result<Available, SourceError> {
        Ok(Available::default())
    }

    fn start_offsets(
        &mut self,
        partitions: &[kstream::source::AvailablePartition],
        _: &Start,
        _: Instant,
    ) -> Result<Vec<i64>, SourceError> {
        Ok(vec![0; partitions.len()])
    }

    fn assign(&mut self, _: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    fn read(&self, range: &OffsetRange, _: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        let chunks = self.partitions.get(range.tp.partition as usize).map(Vec::as_slice).unwrap_or_default();
        Ok(Box::new(Reader(chunks.iter())))
    }
}

struct Reader<'a>(std::slice::Iter<'a, Column>);

impl RangeReader for Reader<'_> {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        Ok(self.0.next().cloned())
    }
}

//! The simulated topic as a source of the driver: away at times, torn in the middle of a range, and losing what is old.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use kstream::{
    model::{AvailablePartition, Column, OffsetRange, RawColumn, RecordColumn, TopicPartition, ValueFormat, View},
    source::{Available, RangeReader, ReadOptions, Source, SourceError, SourceErrorKind, Start},
};

use super::{
    faults::{Fault, crash},
    history::{Planted, World},
    topic::Topic,
};

pub struct SimSource {
    world: Arc<World>,
}

impl SimSource {
    pub fn new(world: Arc<World>) -> SimSource {
        SimSource { world }
    }
}

fn error(kind: SourceErrorKind, message: &str) -> SourceError {
    SourceError { kind, message: format!("injected: {message}"), hint: None }
}

impl Source for SimSource {
    fn name(&self) -> &str {
        "source"
    }

    fn available(&mut self, _deadline: Instant) -> Result<Available, SourceError> {
        self.world.retention(Fault::RetentionBeforePlan);
        self.world.recreate();
        self.world.store_fails("plans", Fault::PlanNotStored, 60);
        let mut faults = self.world.faults();
        if faults.strikes(Fault::CrashBeforePlan, 60) {
            crash();
        }
        if faults.strikes(Fault::AvailableUnreachable, 120) {
            return Err(error(SourceErrorKind::Unreachable, "brokers are away"));
        }
        let topic = self.world.topic();
        let partition = |(at, log): (usize, &super::topic::Log)| AvailablePartition {
            tp: Topic::tp(at),
            earliest: log.earliest,
            latest: log.end(),
            topic_id: Some(topic.id.to_string()),
            leader_epoch: Some(0),
        };
        Ok(Available { partitions: topic.partitions.iter().enumerate().map(partition).collect() })
    }

    fn start_offsets(
        &mut self,
        partitions: &[AvailablePartition],
        _start: &Start,
        _deadline: Instant,
    ) -> Result<Vec<i64>, SourceError> {
        let mut topic = self.world.topic();
        let mut resolve = |partition: &AvailablePartition| {
            let log = &mut topic.partitions[partition.tp.partition as usize];
            log.starts.push(log.earliest);
            log.earliest
        };
        Ok(partitions.iter().map(&mut resolve).collect())
    }

    fn assign(&mut self, _positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        if self.world.faults().strikes(Fault::CrashAfterPlan, 25) {
            crash();
        }
        Ok(())
    }

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        self.world.retention(Fault::RetentionBeforeRead);
        let mut faults = self.world.faults();
        if faults.strikes(Fault::ReadRefused, 250) {
            return Err(error(SourceErrorKind::Refused, "not yours to read"));
        }
        if faults.strikes(Fault::ReadUnreachable, 60) {
            return Err(error(SourceErrorKind::Unreachable, "brokers are away"));
        }
        let torn = faults.strikes(Fault::ReadTorn, 60);
        let chunk = (1 + faults.random().below(6) as usize).min(options.chunk_records.max(1));
        drop(faults);
        let topic = self.world.topic();
        let log = topic.log(&range.tp).ok_or_else(|| error(SourceErrorKind::Refused, "no such partition"))?;
        let same = range.topic_id.as_deref() == Some(topic.id.to_string().as_str());
        if !range.is_empty() && (range.start < log.earliest || log.end() < range.until || !same) {
            let planned = (range.start, range.until);
            let kind =
                SourceErrorKind::DataLoss { tp: range.tp.clone(), planned, earliest: log.earliest, latest: log.end() };
            return Err(error(kind, &format!("{range} is gone")));
        }
        let (mut start, mut until) = (range.start, range.until);
        match self.world.planted {
            Planted::RangeEndsOneEarly => until -= 1,
            Planted::RangeBeginsOneLate => start += 1,
            _ => {}
        }
        let records: Vec<(i64, Arc<str>)> =
            log.visible(start, until).map(|(offset, value)| (offset, value.clone())).collect();
        let mut chunks: Vec<Column> = records.chunks(chunk).map(|records| column(&range.tp, records)).collect();
        if torn {
            let kept = chunks.len() / 2;
            chunks.truncate(kept);
        }
        Ok(Box::new(Chunks { chunks: chunks.into_iter(), torn }))
    }
}

struct Chunks {
    chunks: std::vec::IntoIter<Column>,
    torn: bool,
}

impl RangeReader for Chunks {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        match self.chunks.next() {
            None if self.torn => Err(error(SourceErrorKind::Unreachable, "the connection broke")),
            chunk => Ok(chunk),
        }
    }
}

fn column(tp: &TopicPartition, records: &[(i64, Arc<str>)]) -> Column {
    let mut buffer = Vec::new();
    let mut views = Vec::new();
    for (_, value) in records {
        views.push(View { offset: buffer.len() as u32, len: value.len() as u32 });
        buffer.extend_from_slice(value.as_bytes());
    }
    let buffer = Bytes::from(buffer);
    Column::Record(Arc::new(RecordColumn {
        tp: tp.clone(),
        key_format: ValueFormat::Utf8,
        value_format: ValueFormat::Utf8,
        offsets: records.iter().map(|(offset, _)| *offset).collect(),
        timestamps: vec![0; records.len()],
        keys: RawColumn { buffer: buffer.clone(), views: vec![View::NULL; records.len()] },
        values: RawColumn { buffer, views },
        headers: Vec::new(),
    }))
}

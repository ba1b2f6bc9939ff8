//! `kstream consume`: the records of a topic, printed; read as a job reads them, through the same source.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    thread,
    time::{Duration, Instant},
};

use openssl::base64;
use serde_json::{Value as Json, json};

use super::{ChoreError, Cluster, check_topic_names};
use crate::{
    job::{Begin, DEFAULT_UNREACHABLE_LIMIT_MS, Fetch, Isolation, KafkaSpec, OnDataLoss, TopicSelection},
    model::{Column, OffsetRange, RecordColumn, TopicPartition, ValueFormat},
    source::{
        ReadOptions, Source, Start,
        kafka::{Opening, open_once},
    },
};

/// Offsets of one partition that are read before the next one has its turn.
const TURN: i64 = 10_000;
/// How long to wait for news at the end of the topic.
const PAUSE: Duration = Duration::from_millis(100);
const PREFETCH_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The value as text.
    Value,
    /// Key and value with a tab between them.
    KeyValue,
    /// One JSON object with everything a record has.
    Json,
}

#[derive(Debug, Clone)]
pub struct ConsumeOptions {
    pub topic: String,
    pub from: Start,
    pub format: Format,
    /// Stop after so many records.
    pub max: Option<u64>,
    /// Stop at what was the end when it began.
    pub until_end: bool,
}

/// Prints the committed records of a topic, in order within each partition; returns their number. Without `max` and
/// `until_end` it goes on until the output's reader leaves or the process ends.
pub fn consume(cluster: &Cluster, options: &ConsumeOptions, out: &mut dyn Write) -> Result<u64, ChoreError> {
    cluster.check_properties()?;
    check_topic_names(std::slice::from_ref(&options.topic))?;
    let mut source = source(cluster, options)?;
    let deadline = || Instant::now() + cluster.timeout;
    let mut available = source.available(deadline())?.partitions;
    let ends: HashMap<TopicPartition, i64> =
        available.iter().map(|partition| (partition.tp.clone(), partition.latest)).collect();
    let starts = source.start_offsets(&available, &options.from, deadline())?;
    let mut positions: BTreeMap<TopicPartition, i64> =
        available.iter().map(|partition| partition.tp.clone()).zip(starts).collect();
    let mut assigned = 0;
    let mut left = options.max.unwrap_or(u64::MAX);
    let asked = left;
    loop {
        for partition in &available {
            positions.entry(partition.tp.clone()).or_insert(partition.earliest);
        }
        if positions.len() != assigned {
            source.assign(&positions.iter().map(|(tp, offset)| (tp.clone(), *offset)).collect::<Vec<_>>())?;
            assigned = positions.len();
        }
        let mut behind = false;
        for partition in &available {
            let Some(position) = positions.get_mut(&partition.tp) else { continue };
            let end = match options.until_end {
                true => ends.get(&partition.tp).copied().unwrap_or(*position),
                false => partition.latest,
            };
            let until = end.min(*position + TURN);
            let range = range(partition.tp.clone(), *position, until);
            left -= print_range(&*source, &range, options, cluster, left, out)?;
            *position = until.max(*position);
            behind |= *position < end;
            if left == 0 {
                out.flush()?;
                return Ok(asked);
            }
        }
        out.flush()?;
        if !behind {
            if options.until_end {
                return Ok(asked - left);
            }
            thread::sleep(PAUSE);
            available = source.available(deadline())?.partitions;
        }
    }
}

fn source(cluster: &Cluster, options: &ConsumeOptions) -> Result<Box<dyn Source>, ChoreError> {
    let spec = KafkaSpec {
        brokers: cluster.brokers.clone(),
        topics: TopicSelection::Topics(vec![options.topic.as_str().into()]),
        start: Begin::At(options.from.clone()),
        max_records_per_partition: TURN as u64,
        back_pressure: None,
        on_data_loss: OnDataLoss::Fail,
        isolation: Isolation::ReadCommitted,
        key_format: ValueFormat::Bytes,
        value_format: ValueFormat::Bytes,
        fetch: Fetch::Librdkafka,
        prefetch_memory_bytes: PREFETCH_BYTES,
        properties: cluster.properties.clone(),
        unreachable_limit_ms: DEFAULT_UNREACHABLE_LIMIT_MS,
        embedded: None,
    };
    let opening = Opening {
        job_name: "consume",
        source_name: &options.topic,
        brokers: &cluster.brokers,
        mirror_offsets_to: None,
        stored: &[],
    };
    Ok(open_once(&spec, opening)?)
}

fn range(tp: TopicPartition, start: i64, until: i64) -> OffsetRange {
    OffsetRange { source: tp.topic.clone(), tp, start, until, topic_id: None, leader_epoch: None, start_epoch: None }
}

/// Prints up to `most` records of a range; how many it were.
fn print_range(
    source: &dyn Source,
    range: &OffsetRange,
    options: &ConsumeOptions,
    cluster: &Cluster,
    most: u64,
    out: &mut dyn Write,
) -> Result<u64, ChoreError> {
    if range.is_empty() {
        return Ok(0);
    }
    let stall_timeout_ms = u64::try_from(cluster.timeout.as_millis()).unwrap_or(u64::MAX);
    let mut reader = source.read(range, ReadOptions { chunk_records: 1_000, stall_timeout_ms })?;
    let mut printed = 0;
    while let Some(chunk) = reader.next_chunk()? {
        let Column::Record(records) = chunk else { continue };
        for idx in 0..records.len() {
            if printed == most {
                return Ok(printed);
            }
            print(&records, idx, options.format, out)?;
            printed += 1;
        }
    }
    Ok(printed)
}

fn print(records: &RecordColumn, idx: usize, format: Format, out: &mut dyn Write) -> Result<(), ChoreError> {
    let (key, value) = (records.keys.get(idx), records.values.get(idx));
    match format {
        Format::Value => out.write_all(value.unwrap_or_default())?,
        Format::KeyValue => {
            out.write_all(key.unwrap_or_default())?;
            out.write_all(b"\t")?;
            out.write_all(value.unwrap_or_default())?;
        }
        Format::Json => {
            let headers: Vec<Json> = records
                .headers(idx)
                .iter()
                .map(|(name, value)| json!([name.as_str(), text(value.as_deref())]))
                .collect();
            let record = json!({
                "topic": &*records.tp.topic,
                "partition": records.tp.partition,
                "offset": records.offsets.get(idx),
                "timestamp": records.timestamps.get(idx),
                "key": text(key),
                "value": text(value),
                "headers": headers,
            });
            write!(out, "{record}")?;
        }
    }
    out.write_all(b"\n")?;
    Ok(())
}

/// Text as it is, null as null, other bytes as `{"base64": ...}`.
fn text(bytes: Option<&[u8]>) -> Json {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Json::Null,
        Some((_, Ok(text))) => Json::from(text),
        Some((bytes, Err(_))) => json!({ "base64": base64::encode_block(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{RawColumn, View};

    #[test]
    fn each_format_shows_nulls_and_odd_bytes() {
        let buffer = Bytes::from_static(b"kv\xff");
        let view = |offset, len| View { offset, len };
        let records = RecordColumn {
            tp: TopicPartition::new("t", 2),
            key_format: ValueFormat::Bytes,
            value_format: ValueFormat::Bytes,
            offsets: vec![7, 9],
            timestamps: vec![1_500, -1],
            keys: RawColumn { buffer: buffer.clone(), views: vec![view(0, 1), View::NULL] },
            values: RawColumn { buffer, views: vec![view(1, 1), view(2, 1)] },
            headers: vec![vec![("h".into(), None)], vec![]],
        };
        let check = |idx, format, expected: &[u8]| {
            let mut out = Vec::new();
            print(&records, idx, format, &mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
        };
        check(0, Format::Value, b"v\n");
        check(1, Format::Value, b"\xff\n");
        check(0, Format::KeyValue, b"k\tv\n");
        check(1, Format::KeyValue, b"\t\xff\n");
        check(
            0,
            Format::Json,
            br#"{"headers":[["h",null]],"key":"k","offset":7,"partition":2,"timestamp":1500,"topic":"t","value":"v"}
"#,
        );
        check(
            1,
            Format::Json,
            br#"{"headers":[],"key":null,"offset":9,"partition":2,"timestamp":-1,"topic":"t","value":{"base64":"/w=="}}
"#,
        );
    }
}

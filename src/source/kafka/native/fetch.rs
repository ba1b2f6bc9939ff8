//! One Fetch request for several lanes, and what each part of its response means.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{
    connection::{Connection, error_name},
    failure::{corrupt, refused, unreachable},
    known::EpochCheck,
    lane::Lane,
    settings::Settings,
};
use crate::{job::Isolation, model::TopicPartition, source::SourceError};

/// Versions of Fetch: the first with topic ids.
const FETCH_BY_ID: i16 = 13;
/// The first in which brokers compare the epoch of the last fetched record themselves.
pub const FETCH_SEES_DIVERGENCE: i16 = 12;
/// Neither a session nor the wish to begin one.
const NO_SESSION_EPOCH: i32 = -1;
const CONSUMER: i32 = -1;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

pub mod code {
    //! Error codes that Fetch answers, as far as they are told apart.
    pub const NONE: i16 = 0;
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
    pub const UNSUPPORTED_VERSION: i16 = 35;
    pub const INVALID_REQUEST: i16 = 42;
    pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
    pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
}

/// What the broker said of one lane.
#[derive(Debug)]
pub enum Answer {
    /// Records, possibly none, and the offsets that exist.
    Records {
        bytes: Bytes,
        aborted: Vec<(i64, i64)>,
        earliest: i64,
        latest: i64,
    },
    OutOfRange,
    /// The log was cut: the epoch we read last ends here.
    Diverged {
        end_offset: i64,
    },
    /// Metadata must be asked again before this lane is.
    Moved(String),
    Failed(SourceError),
}

impl Answer {
    /// Bytes of records in it.
    pub fn len(&self) -> usize {
        if let Answer::Records { bytes, .. } = self { bytes.len() } else { 0 }
    }
}

/// Fetches for `lanes` (index into them, bytes wanted): an answer for each lane that the response names.
pub fn fetch(
    connection: &mut Connection,
    settings: &Settings,
    lanes: &[Lane],
    wanted: &[(usize, usize)],
    max_wait: Duration,
    max_bytes: usize,
) -> Result<(Vec<(usize, Answer)>, Duration), SourceError> {
    let version = connection.version(ApiKey::Fetch)?;
    let by_id = version >= FETCH_BY_ID
        && wanted.iter().all(|(idx, _)| lanes.get(*idx).is_some_and(|lane| !lane.topic_id.is_nil()));
    let version = if by_id { version } else { version.min(FETCH_BY_ID - 1) };
    let max_bytes = settings.fetch_max_bytes.min(i32::try_from(max_bytes).unwrap_or(i32::MAX)).max(1);
    let request = request(settings, lanes, wanted, max_wait, version).with_max_bytes(max_bytes);
    let deadline = Instant::now() + settings.request_timeout + max_wait;
    let asked = || wanted.iter().filter_map(|(idx, _)| lanes.get(*idx));
    let heard_before: Vec<Option<Instant>> = asked().map(|lane| lane.shared.heard_at()).collect();
    let mut heard_last = None;
    let mut heard = || {
        let now = Instant::now();
        heard_last = Some(now);
        asked().filter(|lane| lane.shared.is_waiting()).for_each(|lane| lane.shared.note_progress(now));
    };
    let response = connection.call_heard(&request, version, deadline, &mut heard);
    if let (Err(_), Some(last)) = (&response, heard_last) {
        // Parts of a response that never ends are no progress, however often they come.
        asked().zip(heard_before).for_each(|(lane, before)| lane.shared.take_progress_back(last, before));
    }
    let response = response?;
    let throttle = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
    if response.error_code != code::NONE {
        let reason = error_name(response.error_code);
        let message = format!("broker {}: Fetch: {reason}", connection.endpoint());
        let moved = wanted.iter().map(|(idx, _)| (*idx, Answer::Moved(message.clone())));
        return Ok((moved.collect(), throttle));
    }
    Ok((answers(response, connection, settings, lanes, wanted, by_id), throttle))
}

fn request(
    settings: &Settings,
    lanes: &[Lane],
    wanted: &[(usize, usize)],
    max_wait: Duration,
    version: i16,
) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (idx, bytes) in wanted {
        let Some(lane) = lanes.get(*idx) else { continue };
        let partition_max = (settings.partition_max_bytes.max(1) as usize).min(*bytes).max(lane.wanted_bytes);
        let last_epoch = if version >= FETCH_SEES_DIVERGENCE { lane.last_epoch() } else { -1 };
        let partition = FetchPartition::default()
            .with_partition(lane.tp().partition)
            .with_current_leader_epoch(lane.leader_epoch)
            .with_fetch_offset(lane.position)
            .with_last_fetched_epoch(last_epoch)
            .with_partition_max_bytes(i32::try_from(partition_max).unwrap_or(i32::MAX));
        let name = topic_name(lane.tp());
        let id = lane.topic_id;
        let same = |topic: &FetchTopic| if version >= FETCH_BY_ID { topic.topic_id == id } else { topic.topic == name };
        match topics.last_mut().filter(|topic| same(topic)) {
            Some(topic) => topic.partitions.push(partition),
            None if version >= FETCH_BY_ID => {
                topics.push(FetchTopic::default().with_topic_id(id).with_partitions(vec![partition]));
            }
            None => topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![partition])),
        }
    }
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(settings.fetch_min_bytes)
        .with_isolation_level(isolation_level(settings))
        .with_session_epoch(NO_SESSION_EPOCH)
        .with_topics(topics)
}

fn answers(
    response: FetchResponse,
    connection: &Connection,
    settings: &Settings,
    lanes: &[Lane],
    wanted: &[(usize, usize)],
    by_id: bool,
) -> Vec<(usize, Answer)> {
    let places: HashMap<(Uuid, &str, i32), usize> = wanted
        .iter()
        .filter_map(|(idx, _)| lanes.get(*idx).map(|lane| (*idx, lane)))
        .map(|(idx, lane)| match by_id {
            true => ((lane.topic_id, "", lane.tp().partition), idx),
            false => ((Uuid::nil(), &*lane.tp().topic, lane.tp().partition), idx),
        })
        .collect();
    let mut answers = Vec::with_capacity(wanted.len());
    for topic in response.responses {
        let name = if by_id { "" } else { topic.topic.as_str() };
        let id = if by_id { topic.topic_id } else { Uuid::nil() };
        for partition in topic.partitions {
            if let Some(&idx) = places.get(&(id, name, partition.partition_index))
                && let Some(lane) = lanes.get(idx)
            {
                answers.push((idx, answer(partition, lane.tp(), connection, settings)));
            }
        }
    }
    answers
}

fn answer(partition: PartitionData, tp: &TopicPartition, connection: &Connection, settings: &Settings) -> Answer {
    let broker = connection.endpoint();
    let text = || format!("broker {broker}: {tp}: {}", error_name(partition.error_code));
    match partition.error_code {
        code::NONE => {}
        code::OFFSET_OUT_OF_RANGE => return Answer::OutOfRange,
        code::CORRUPT_MESSAGE => return Answer::Failed(corrupt(text())),
        code::TOPIC_AUTHORIZATION_FAILED | code::CLUSTER_AUTHORIZATION_FAILED => {
            return Answer::Failed(refused(text(), Some("Grant the user READ and DESCRIBE on the topic.")));
        }
        code::UNSUPPORTED_VERSION
        | code::INVALID_REQUEST
        | code::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | code::UNSUPPORTED_COMPRESSION_TYPE => return Answer::Failed(refused(text(), None)),
        // Leaders and epochs that moved, topics that are being made or deleted, brokers in trouble: ask who leads now.
        _ => return Answer::Moved(text()),
    }
    if partition.diverging_epoch.epoch >= 0 || partition.diverging_epoch.end_offset >= 0 {
        return Answer::Diverged { end_offset: partition.diverging_epoch.end_offset };
    }
    let aborted = partition.aborted_transactions.unwrap_or_default();
    Answer::Records {
        bytes: partition.records.unwrap_or_default(),
        aborted: aborted.iter().map(|aborted| (*aborted.producer_id, aborted.first_offset)).collect(),
        earliest: partition.log_start_offset,
        latest: match settings.isolation {
            Isolation::ReadCommitted if partition.last_stable_offset >= 0 => partition.last_stable_offset,
            _ => partition.high_watermark,
        },
    }
}

/// The offsets that exist: log start, and one past the last readable one.
pub fn list_offsets(connection: &mut Connection, settings: &Settings, lane: &Lane) -> Result<(i64, i64), SourceError> {
    let mut ask = |timestamp| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(lane.tp().partition)
            .with_current_leader_epoch(lane.leader_epoch)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(topic_name(lane.tp())).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(CONSUMER.into())
            .with_isolation_level(isolation_level(settings))
            .with_topics(vec![topic]);
        let version = connection.version(ApiKey::ListOffsets)?;
        let response = connection.call(&request, version, Instant::now() + settings.request_timeout)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        match found {
            Some(found) if found.error_code == code::NONE => Ok(found.offset),
            Some(found) => Err(lookup_error(connection, lane, "ListOffsets", found.error_code)),
            None => Err(lookup_error(connection, lane, "ListOffsets", -1)),
        }
    };
    Ok((ask(EARLIEST)?, ask(LATEST)?))
}

/// Where the log's records of a leader epoch end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The newest epoch up to the one asked about that the log has.
    pub epoch: i32,
    pub end: i64,
}

/// Where the log's records of epochs up to `check.epoch` end; `None` where the broker cannot say.
pub fn epoch_end(
    connection: &mut Connection,
    settings: &Settings,
    lane: &Lane,
    check: EpochCheck,
) -> Result<Option<EpochEnd>, SourceError> {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(lane.tp().partition)
        .with_current_leader_epoch(lane.leader_epoch)
        .with_leader_epoch(check.epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(topic_name(lane.tp())).with_partitions(vec![partition]);
    let version = connection.version(ApiKey::OffsetForLeaderEpoch)?;
    let mut request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    if version >= 3 {
        request = request.with_replica_id(CONSUMER.into());
    }
    let response = connection.call(&request, version, Instant::now() + settings.request_timeout)?;
    match response.topics.first().and_then(|topic| topic.partitions.first()) {
        Some(found) if found.error_code == code::NONE => {
            Ok((found.end_offset >= 0).then_some(EpochEnd { epoch: found.leader_epoch, end: found.end_offset }))
        }
        Some(found) => Err(lookup_error(connection, lane, "OffsetForLeaderEpoch", found.error_code)),
        None => Err(lookup_error(connection, lane, "OffsetForLeaderEpoch", -1)),
    }
}

fn lookup_error(connection: &Connection, lane: &Lane, request: &str, error_code: i16) -> SourceError {
    let message = format!("broker {}: {}: {request}: {}", connection.endpoint(), lane.tp(), error_name(error_code));
    match error_code {
        code::TOPIC_AUTHORIZATION_FAILED => refused(message, Some("Grant the user READ and DESCRIBE on the topic.")),
        _ => unreachable(message),
    }
}

fn topic_name(tp: &TopicPartition) -> TopicName {
    TopicName(StrBytes::from_string(tp.topic.to_string()))
}

fn isolation_level(settings: &Settings) -> i8 {
    match settings.isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

/// The broker's address as items name it.
pub fn broker_name(connection: &Connection) -> Arc<str> {
    connection.endpoint().to_string().into()
}

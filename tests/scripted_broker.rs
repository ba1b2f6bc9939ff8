//! A broker that plays what a real one will not: one topic `t` with one partition, held in memory, and faults on demand.
//!
//! It speaks ApiVersions, Metadata, Fetch, ListOffsets and OffsetForLeaderEpoch through the protocol crate. A fault is
//! played once for each time it was pushed, on the next Fetch that has records to give, so that a long poll in between
//! does not use it up; [`ScriptedBroker::assert_played`] proves that it happened.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
        MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ResponseHeader,
        TopicName, api_versions_response::ApiVersion, fetch_response as f, list_offsets_response as lo,
        metadata_response as m, offset_for_leader_epoch_response as le,
    },
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer},
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use uuid::Uuid;

pub const TOPIC: &str = "t";

/// What goes wrong with one response.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// So many bytes of it are sent, then the connection is closed.
    CutAt(usize),
    WrongCorrelationId,
    /// The length before it says this.
    Length(i32),
    /// It never comes.
    Silence,
    /// Error of the partition, and of the whole response.
    Error(i16),
    TopError(i16),
    /// This byte of the record set is another.
    FlipByte(usize),
    /// The body is these bytes behind the header.
    Body(Vec<u8>),
    Throttle(i32),
    /// As a broker answers beyond a quota: nothing, and how long to stay away.
    Quota(i32),
    /// It comes so many bytes at a time, with a pause before each.
    Trickle {
        bytes: usize,
        pause_ms: u64,
    },
    /// The broker says that our epoch ended here.
    Diverging {
        epoch: i32,
        end_offset: i64,
    },
    NoRecords,
    /// The response does not name the partition.
    NoPartition,
}

/// The log, and what the broker says of itself.
#[derive(Debug)]
pub struct State {
    pub topic_id: Uuid,
    pub leader_epoch: i32,
    /// Where Metadata sends clients: this broker, unless said otherwise.
    pub leader: Option<String>,
    pub earliest: i64,
    /// Base offset, last offset and bytes of each batch.
    pub batches: Vec<(i64, i64, Bytes)>,
    /// Highest version answered of each request.
    pub versions: HashMap<i16, (i16, i16)>,
    /// What Metadata says of the topic instead of where it is.
    pub metadata_error: Option<i16>,
    /// What ListOffsets says of the partition instead of an offset, an answer each.
    pub lookup_errors: Vec<i16>,
    /// What OffsetForLeaderEpoch says of the partition instead of an end, once.
    pub epoch_error: Option<i16>,
    /// Connections are closed at the next request.
    pub hangs_up: bool,
    /// The connection is closed at the next request of each of these kinds, once.
    pub hangs_up_at: Vec<ApiKey>,
    /// What clients called themselves.
    pub client_ids: BTreeSet<String>,
    /// Where the epoch that was asked about ends.
    pub epoch_end: i64,
    /// The newest epoch of the log up to the one that was asked about; that one, unless said otherwise.
    pub epoch_found: Option<i32>,
    pub faults: VecDeque<Fault>,
    /// Played on every Fetch.
    pub lasting_fault: Option<Fault>,
    /// When each Fetch with records was answered, and from which offset.
    pub answered: Vec<(Instant, i64)>,
    pub requests: HashMap<i16, usize>,
    /// Version, topic id and last fetched epoch of the last Fetch.
    pub last_fetch: Option<(i16, Uuid, i32)>,
}

pub struct ScriptedBroker {
    pub address: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

/// `count` records from `base` on, written in leader epoch 3, values `v<offset>`.
pub fn batch(base: i64, count: i64) -> (i64, i64, Bytes) {
    batch_in(3, "v", base, count)
}

/// As [`batch`] in another epoch, values `<prefix><offset>`.
pub fn batch_in(epoch: i32, prefix: &str, base: i64, count: i64) -> (i64, i64, Bytes) {
    let records: Vec<Record> = (base..base + count)
        .map(|offset| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: epoch,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset,
            // The encoder begins another batch where sequences do not follow each other.
            sequence: (offset - base) as i32,
            timestamp: 1_000 + offset,
            key: None,
            value: Some(Bytes::from(format!("{prefix}{offset}"))),
            headers: IndexMap::new(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    (base, base + count - 1, bytes.freeze())
}

impl ScriptedBroker {
    /// Records 0..20 in batches of 5.
    pub fn start() -> ScriptedBroker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let newest = |key: ApiKey| (key as i16, (key.valid_versions().min, key.valid_versions().max));
        let state = Arc::new(Mutex::new(State {
            topic_id: Uuid::from_u128(7),
            leader_epoch: 3,
            leader: None,
            earliest: 0,
            batches: (0..4).map(|i| batch(i * 5, 5)).collect(),
            versions: [
                ApiKey::ApiVersions,
                ApiKey::Metadata,
                ApiKey::Fetch,
                ApiKey::ListOffsets,
                ApiKey::OffsetForLeaderEpoch,
            ]
            .map(newest)
            .into(),
            metadata_error: None,
            lookup_errors: Vec::new(),
            epoch_error: None,
            hangs_up: false,
            hangs_up_at: Vec::new(),
            client_ids: BTreeSet::new(),
            epoch_end: i64::MAX,
            epoch_found: None,
            faults: VecDeque::new(),
            lasting_fault: None,
            answered: Vec::new(),
            requests: HashMap::new(),
            last_fetch: None,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let broker = ScriptedBroker { address: address.clone(), state: state.clone(), stop: stop.clone() };
        thread::spawn(move || {
            for socket in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (state, stop, address) = (state.clone(), stop.clone(), address.clone());
                let Ok(socket) = socket else { continue };
                thread::spawn(move || serve(socket, &address, &state, &stop));
            }
        });
        broker
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn push(&self, fault: Fault) {
        self.change(|state| state.faults.push_back(fault));
    }

    pub fn assert_played(&self) {
        let left = self.change(|state| state.faults.clone());
        assert!(left.is_empty(), "faults that did not happen: {left:?}");
    }

    pub fn requests(&self, key: ApiKey) -> usize {
        self.change(|state| state.requests.get(&(key as i16)).copied().unwrap_or(0))
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(mut socket: TcpStream, address: &str, state: &Mutex<State>, stop: &AtomicBool) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    loop {
        let mut size = [0; 4];
        socket.read_exact(&mut size).ok()?;
        let mut request = vec![0; i32::from_be_bytes(size) as usize];
        socket.read_exact(&mut request).ok()?;
        let mut request = Bytes::from(request);
        let header = decode_request_header_from_buffer(&mut request).ok()?;
        let (key, version) = (header.request_api_key, header.request_api_version);
        {
            let mut state = state.lock().unwrap();
            if state.hangs_up {
                return None;
            }
            if let Some(at) = state.hangs_up_at.iter().position(|asked| *asked as i16 == key) {
                state.hangs_up_at.remove(at);
                return None;
            }
            *state.requests.entry(key).or_default() += 1;
            state.client_ids.extend(header.client_id.map(|id| id.to_string()));
        }
        let (body, fault) = match ApiKey::try_from(key).ok()? {
            ApiKey::ApiVersions => (api_versions(state, header.correlation_id, version), None),
            ApiKey::Metadata => (metadata(state, header.correlation_id, version, address, request), None),
            ApiKey::ListOffsets => (list_offsets(state, header.correlation_id, version, request), None),
            ApiKey::OffsetForLeaderEpoch => (epoch_end(state, header.correlation_id, version, request), None),
            ApiKey::Fetch => fetch(state, stop, header.correlation_id, version, request),
            _ => return None,
        };
        answer(&mut socket, &body, fault)?;
    }
}

/// Sends the response as the fault has it; `None` where the connection is at its end.
fn answer(socket: &mut TcpStream, body: &[u8], fault: Option<Fault>) -> Option<()> {
    let mut bytes = [&(body.len() as i32).to_be_bytes()[..], body].concat();
    match fault {
        Some(Fault::CutAt(len)) => {
            socket.write_all(&bytes[..len.min(bytes.len())]).ok()?;
            return None;
        }
        Some(Fault::WrongCorrelationId) => bytes[7] ^= 1,
        Some(Fault::Length(len)) => bytes[..4].copy_from_slice(&len.to_be_bytes()),
        Some(Fault::Silence) => return Some(()),
        Some(Fault::Trickle { bytes: len, pause_ms }) => {
            return bytes.chunks(len).try_for_each(|part| {
                thread::sleep(Duration::from_millis(pause_ms));
                socket.write_all(part).ok()
            });
        }
        Some(Fault::Body(body)) => {
            bytes.truncate(9);
            bytes.extend(body);
            let len = bytes.len() as i32 - 4;
            bytes[..4].copy_from_slice(&len.to_be_bytes());
        }
        _ => {}
    }
    socket.write_all(&bytes).ok()
}

fn response<M: Encodable + HeaderVersion>(correlation_id: i32, version: i16, message: &M) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut bytes, M::header_version(version)).unwrap();
    message.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

fn api_versions(state: &Mutex<State>, correlation_id: i32, version: i16) -> Vec<u8> {
    let versions = state.lock().unwrap().versions.clone();
    let apis = versions
        .iter()
        .map(|(key, (min, max))| ApiVersion::default().with_api_key(*key).with_min_version(*min).with_max_version(*max))
        .collect();
    let message = ApiVersionsResponse::default().with_api_keys(apis);
    match version <= versions[&(ApiKey::ApiVersions as i16)].1 {
        true => response(correlation_id, version, &message),
        false => response(correlation_id, 0, &message.with_error_code(35)),
    }
}

fn metadata(state: &Mutex<State>, correlation_id: i32, version: i16, address: &str, mut request: Bytes) -> Vec<u8> {
    let request = MetadataRequest::decode(&mut request, version).unwrap();
    let state = state.lock().unwrap();
    let leader = state.leader.as_deref().unwrap_or(address);
    let (host, port) = leader.rsplit_once(':').unwrap();
    let broker = m::MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_string(host.to_owned()))
        .with_port(port.parse().unwrap());
    let topics = request.topics.unwrap_or_default().into_iter().map(|asked| {
        let name = asked.name.unwrap();
        let id = if version >= 10 { state.topic_id } else { Uuid::nil() };
        let error = state.metadata_error.unwrap_or(if name.as_str() == TOPIC { 0 } else { 3 });
        let known = error == 0;
        let partition =
            m::MetadataResponsePartition::default().with_leader_id(BrokerId(1)).with_leader_epoch(state.leader_epoch);
        m::MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_error_code(error)
            .with_topic_id(id)
            .with_partitions(if known { vec![partition] } else { Vec::new() })
    });
    let message = MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect());
    response(correlation_id, version, &message)
}

fn list_offsets(state: &Mutex<State>, correlation_id: i32, version: i16, mut request: Bytes) -> Vec<u8> {
    let request = ListOffsetsRequest::decode(&mut request, version).unwrap();
    let mut state = state.lock().unwrap();
    let asked = request.topics[0].partitions[0].timestamp;
    let offset = if asked == -2 { state.earliest } else { state.end() };
    let partition = match state.lookup_errors.pop() {
        Some(error) => lo::ListOffsetsPartitionResponse::default().with_error_code(error),
        None => lo::ListOffsetsPartitionResponse::default().with_offset(offset),
    };
    let topic = lo::ListOffsetsTopicResponse::default()
        .with_name(request.topics[0].name.clone())
        .with_partitions(vec![partition]);
    response(correlation_id, version, &ListOffsetsResponse::default().with_topics(vec![topic]))
}

fn epoch_end(state: &Mutex<State>, correlation_id: i32, version: i16, mut request: Bytes) -> Vec<u8> {
    let request = OffsetForLeaderEpochRequest::decode(&mut request, version).unwrap();
    let (end, found, error) = {
        let mut state = state.lock().unwrap();
        (state.epoch_end, state.epoch_found, state.epoch_error.take())
    };
    let partition = le::EpochEndOffset::default()
        .with_leader_epoch(found.unwrap_or(request.topics[0].partitions[0].leader_epoch))
        .with_end_offset(end)
        .with_error_code(error.unwrap_or_default());
    let topic = le::OffsetForLeaderTopicResult::default()
        .with_topic(request.topics[0].topic.clone())
        .with_partitions(vec![partition]);
    response(correlation_id, version, &OffsetForLeaderEpochResponse::default().with_topics(vec![topic]))
}

impl State {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(self.earliest, |(_, last, _)| last + 1)
    }

    /// At most two batches from the one that holds `offset` on.
    fn records_from(&self, offset: i64) -> Vec<u8> {
        self.batches
            .iter()
            .filter(|(_, last, _)| offset <= *last)
            .take(2)
            .flat_map(|(.., bytes)| bytes.to_vec())
            .collect()
    }
}

fn fetch(
    state: &Mutex<State>,
    stop: &AtomicBool,
    correlation_id: i32,
    version: i16,
    mut request: Bytes,
) -> (Vec<u8>, Option<Fault>) {
    let request = FetchRequest::decode(&mut request, version).unwrap();
    let asked = &request.topics[0];
    let asked_partition = &asked.partitions[0];
    let offset = asked_partition.fetch_offset;
    let until = Instant::now() + Duration::from_millis(request.max_wait_ms as u64);
    while state.lock().unwrap().records_from(offset).is_empty()
        && Instant::now() < until
        && !stop.load(Ordering::Relaxed)
    {
        thread::sleep(Duration::from_millis(2));
    }
    let mut state = state.lock().unwrap();
    state.last_fetch = Some((version, asked.topic_id, asked_partition.last_fetched_epoch));
    let mut records = state.records_from(offset);
    let fault = match records.is_empty() {
        true => state.lasting_fault.clone(),
        false => {
            state.answered.push((Instant::now(), offset));
            state.faults.pop_front().or(state.lasting_fault.clone())
        }
    };
    let mut message = FetchResponse::default();
    let mut partition = f::PartitionData::default()
        .with_high_watermark(state.end())
        .with_last_stable_offset(state.end())
        .with_log_start_offset(state.earliest)
        .with_aborted_transactions(Some(Vec::new()));
    if !(state.earliest..=state.end()).contains(&offset) {
        partition = partition.with_error_code(1);
        records.clear();
    }
    if version >= 13 && asked.topic_id != state.topic_id {
        partition = partition.with_error_code(100);
        records.clear();
    }
    match &fault {
        Some(Fault::Error(code)) => {
            partition = partition.with_error_code(*code);
            records.clear();
        }
        Some(Fault::TopError(code)) => message = message.with_error_code(*code),
        Some(Fault::FlipByte(at)) => records.iter_mut().skip(*at).take(1).for_each(|byte| *byte ^= 0x20),
        Some(Fault::Throttle(ms)) => message = message.with_throttle_time_ms(*ms),
        Some(Fault::Quota(ms)) => {
            message = message.with_throttle_time_ms(*ms);
            records.clear();
        }
        Some(Fault::Diverging { epoch, end_offset }) => {
            let diverging = f::EpochEndOffset::default().with_epoch(*epoch).with_end_offset(*end_offset);
            partition = partition.with_diverging_epoch(diverging);
            records.clear();
        }
        Some(Fault::NoRecords) => records.clear(),
        _ => {}
    }
    let partition = partition.with_records(Some(records.into()));
    let partitions = if fault == Some(Fault::NoPartition) { Vec::new() } else { vec![partition] };
    let mut topic = f::FetchableTopicResponse::default().with_partitions(partitions);
    topic = match version {
        ..=12 => topic.with_topic(TopicName(StrBytes::from_static_str(TOPIC))),
        _ => topic.with_topic_id(asked.topic_id),
    };
    (response(correlation_id, version, &message.with_responses(vec![topic])), fault)
}

/// Length of the response to a Fetch from offset 0, its size included.
pub fn fetch_response_len(broker: &ScriptedBroker, version: i16) -> usize {
    let (partition, topic) = (f::PartitionData::default(), f::FetchableTopicResponse::default());
    let records = broker.change(|state| state.records_from(0));
    let partition = partition.with_records(Some(records.into())).with_aborted_transactions(Some(Vec::new()));
    let message = FetchResponse::default().with_responses(vec![topic.with_partitions(vec![partition])]);
    let bytes = response(0, version, &message);
    bytes.len() + 4
}

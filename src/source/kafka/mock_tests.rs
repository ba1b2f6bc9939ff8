//! The librdkafka plane and the control plane against librdkafka's mock cluster: transport faults, exact ranges,
//! carry-over, retention. What only a real broker can show is in the integration tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{Opening, open};
use crate::{
    job::{Begin, Fetch, Isolation, KafkaSpec, OnDataLoss, TopicSelection},
    model::{Column, OffsetRange, RawColumn, RecordColumn, TopicPartition, ValueFormat},
    source::{ReadOptions, Source, SourceError, SourceErrorKind, Start},
};

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("words", partitions, 1).unwrap();
    cluster
}

fn producer(brokers: &str, codec: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.codec", codec)
        .set("linger.ms", "1")
        .create()
        .unwrap()
}

fn fill(brokers: &str, partition: i32, values: std::ops::Range<usize>) {
    let producer = producer(brokers, "none");
    for value in values {
        let value = value.to_string();
        producer.send(BaseRecord::<(), str>::to("words").partition(partition).payload(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

/// `embedded` as brokers: the short fetch wait that the mock needs.
fn spec(topics: TopicSelection) -> KafkaSpec {
    KafkaSpec {
        brokers: "embedded".into(),
        topics,
        start: Begin::At(Start::Earliest),
        max_records_per_partition: 1_000,
        back_pressure: None,
        on_data_loss: OnDataLoss::Fail,
        isolation: Isolation::ReadCommitted,
        key_format: ValueFormat::Utf8,
        value_format: ValueFormat::Utf8,
        fetch: Fetch::Librdkafka,
        prefetch_memory_bytes: 16 << 20,
        properties: BTreeMap::new(),
        unreachable_limit_ms: 1_000,
        embedded: None,
    }
}

fn source(brokers: &str) -> Box<dyn Source> {
    let spec = spec(TopicSelection::Topics(vec!["words".into()]));
    let opening = Opening { job_name: "job", source_name: "source", brokers, mirror_offsets_to: None, stored: &[] };
    open(&spec, opening).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn words(partition: i32) -> TopicPartition {
    TopicPartition::new("words", partition)
}

fn range(partition: i32, start: i64, until: i64) -> OffsetRange {
    OffsetRange {
        source: "source".into(),
        tp: words(partition),
        start,
        until,
        topic_id: None,
        leader_epoch: None,
        start_epoch: None,
    }
}

const OPTIONS: ReadOptions = ReadOptions { chunk_records: 64, stall_timeout_ms: 20_000 };

fn chunks(
    source: &dyn Source,
    range: &OffsetRange,
    options: ReadOptions,
) -> Result<Vec<Arc<RecordColumn>>, SourceError> {
    let mut reader = source.read(range, options)?;
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        let Column::Record(records) = chunk else { panic!("not a record column") };
        assert!(!records.is_empty() && records.len() <= options.chunk_records);
        chunks.push(records);
    }
    Ok(chunks)
}

fn offsets(source: &dyn Source, range: &OffsetRange) -> Vec<i64> {
    chunks(source, range, OPTIONS).unwrap().iter().flat_map(|chunk| chunk.offsets.clone()).collect()
}

#[test]
fn ranges_that_follow_each_other_are_exact_and_carry_over_what_was_fetched() {
    let cluster = cluster(1);
    fill(&cluster.bootstrap_servers(), 0, 0..1_000);
    let mut source = source(&cluster.bootstrap_servers());
    let available = source.available(soon()).unwrap();
    assert_eq!((available.partitions[0].earliest, available.partitions[0].latest), (0, 1_000));
    source.assign(&[(words(0), 0)]).unwrap();
    for (start, until) in [(0, 1), (1, 7), (7, 7), (7, 700), (700, 1_000)] {
        assert_eq!(offsets(&*source, &range(0, start, until)), (start..until).collect::<Vec<_>>());
    }
}

#[test]
fn a_range_read_again_or_elsewhere_gives_just_its_records() {
    let cluster = cluster(2);
    fill(&cluster.bootstrap_servers(), 0, 0..500);
    let mut source = source(&cluster.bootstrap_servers());
    source.assign(&[(words(0), 0), (words(1), 0)]).unwrap();
    for (start, until) in [(0, 300), (0, 50), (0, 50), (250, 260), (490, 500), (10, 20), (100, 500), (0, 500)] {
        assert_eq!(offsets(&*source, &range(0, start, until)), (start..until).collect::<Vec<_>>(), "{start}..{until}");
    }
    // Between batches, as a retry does it, also before anything was read of the new position.
    for start in [400, 0, 0, 200, 499, 5] {
        source.assign(&[(words(0), start), (words(1), 0)]).unwrap();
        source.assign(&[(words(0), 3), (words(1), 0)]).unwrap();
        assert_eq!(offsets(&*source, &range(0, 3, 9)), (3..9).collect::<Vec<_>>(), "after {start}");
    }
}

#[test]
fn an_abandoned_range_is_read_from_its_start_again() {
    let cluster = cluster(1);
    fill(&cluster.bootstrap_servers(), 0, 0..500);
    let mut source = source(&cluster.bootstrap_servers());
    source.assign(&[(words(0), 0)]).unwrap();
    let first = source.read(&range(0, 0, 400), OPTIONS).unwrap().next_chunk().unwrap().unwrap();
    assert!(first.len() <= 64);
    assert_eq!(offsets(&*source, &range(0, 0, 400)), (0..400).collect::<Vec<_>>());
}

#[test]
fn partitions_are_read_exactly_side_by_side() {
    let cluster = cluster(4);
    for partition in 0..4 {
        fill(&cluster.bootstrap_servers(), partition, 0..2_000);
    }
    let mut source = source(&cluster.bootstrap_servers());
    source.assign(&(0..4).map(|partition| (words(partition), 0)).collect::<Vec<_>>()).unwrap();
    let source = &*source;
    std::thread::scope(|scope| {
        for partition in 0..4 {
            scope.spawn(move || {
                for start in (0..2_000).step_by(125) {
                    let read = offsets(source, &range(partition, start, start + 125));
                    assert_eq!(read, (start..start + 125).collect::<Vec<_>>(), "partition {partition}");
                }
            });
        }
    });
}

#[test]
fn keys_values_nulls_headers_and_timestamps_come_through_every_codec() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let cluster = cluster(1);
        let brokers = cluster.bootstrap_servers();
        let producer = producer(&brokers, codec);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "h", value: Some("x") })
            .insert(Header { key: "none", value: None::<&str> });
        producer.send(BaseRecord::<str, str>::to("words").key("k").payload("v").timestamp(1_500)).unwrap();
        producer.send(BaseRecord::<str, str>::to("words").timestamp(2_500).headers(headers)).unwrap();
        producer.send(BaseRecord::<str, str>::to("words").key("").payload("")).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
        let mut source = source(&brokers);
        source.assign(&[(words(0), 0)]).unwrap();
        let read = chunks(&*source, &range(0, 0, 3), ReadOptions { chunk_records: 3, ..OPTIONS }).unwrap();
        // A broker that is slow may hand them over in several chunks.
        let each = || read.iter().flat_map(|records| (0..records.len()).map(move |idx| (records, idx)));
        let raw = |column: fn(&RecordColumn) -> &RawColumn| {
            each().map(|(records, idx)| column(records).get(idx).map(<[u8]>::to_vec)).collect::<Vec<_>>()
        };
        assert_eq!(raw(|records| &records.keys), [Some(b"k".to_vec()), None, Some(vec![])], "{codec}");
        assert_eq!(raw(|records| &records.values), [Some(b"v".to_vec()), None, Some(vec![])], "{codec}");
        let timestamps: Vec<_> = each().map(|(records, idx)| records.timestamps[idx]).collect();
        assert_eq!(timestamps[..2], [1_500, 2_500]);
        let seen: Vec<_> = each().map(|(records, idx)| records.headers(idx).to_vec()).collect();
        let headers = [("h".into(), Some(Bytes::from_static(b"x"))), ("none".into(), None)];
        assert_eq!(seen, [vec![], headers.to_vec(), vec![]], "{codec}");
    }
}

#[test]
fn brokers_that_are_down_at_start_are_named_by_the_deadline() {
    let cluster = cluster(1);
    cluster.broker_down(-1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let mut source = source(&brokers);
    let asked_at = Instant::now();
    let error = source.available(asked_at + Duration::from_millis(1_500)).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable);
    assert!(error.message.contains(&brokers) && error.message.contains("words"), "{error}");
    assert!(asked_at.elapsed() < Duration::from_secs(4), "{:?}", asked_at.elapsed());
    cluster.broker_up(-1).unwrap();
    assert_eq!(source.available(soon()).unwrap().partitions.len(), 1);
}

#[test]
fn brokers_that_vanish_in_the_middle_of_a_range_come_back_without_loss() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    fill(&brokers, 0, 0..100);
    let mut source = source(&brokers);
    source.assign(&[(words(0), 0)]).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let read = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let range = range(0, 0, 200);
            let mut reader = source.read(&range, OPTIONS).unwrap();
            let mut read = Vec::new();
            loop {
                match reader.next_chunk().unwrap() {
                    Some(Column::Record(records)) => read.extend(records.offsets.iter().copied()),
                    Some(_) => panic!("not a record column"),
                    None => return read,
                }
                let _ = begun.send(());
            }
        });
        has_begun.recv().unwrap();
        cluster.broker_down(-1).unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        cluster.broker_up(-1).unwrap();
        fill(&brokers, 0, 100..200);
        reading.join().unwrap()
    });
    assert_eq!(read, (0..200).collect::<Vec<_>>());
}

#[test]
fn silence_ends_at_the_stall_limit_and_says_how_far_it_came() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    fill(&brokers, 0, 0..10);
    let mut source = source(&brokers);
    source.assign(&[(words(0), 0)]).unwrap();
    assert_eq!(offsets(&*source, &range(0, 0, 5)), [0, 1, 2, 3, 4]);
    cluster.broker_down(-1).unwrap();
    let options = ReadOptions { stall_timeout_ms: 700, ..OPTIONS };
    let error = chunks(&*source, &range(0, 5, 20), options).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable);
    assert!(error.message.contains(&brokers) && error.message.contains("words/0"), "{error}");
    assert!(error.message.contains("700 ms") && error.message.contains("of 20"), "{error}");
}

#[test]
fn a_plan_behind_the_end_of_the_log_is_data_loss() {
    let cluster = cluster(1);
    fill(&cluster.bootstrap_servers(), 0, 0..10);
    let mut source = source(&cluster.bootstrap_servers());
    source.assign(&[(words(0), 5)]).unwrap();
    let error = chunks(&*source, &range(0, 5, 20), OPTIONS).unwrap_err();
    let lost = SourceErrorKind::DataLoss { tp: words(0), planned: (5, 20), earliest: 0, latest: 10 };
    assert_eq!(error.kind, lost, "{error}");
    assert!(error.message.contains("words/0 ends at offset 10; the plan needs 5..20"), "{error}");
    assert_eq!(offsets(&*source, &range(0, 5, 10)), (5..10).collect::<Vec<_>>(), "the rest can still be read");
}

#[test]
fn a_plan_before_the_start_of_the_log_is_data_loss() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    let producer = producer(&brokers, "none");
    let value = "x".repeat(100_000);
    for _ in 0..80 {
        producer.send(BaseRecord::<(), str>::to("words").payload(&value)).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
    }
    let mut source = source(&brokers);
    let available = source.available(soon()).unwrap();
    let earliest = available.partitions[0].earliest;
    assert!(earliest > 0, "the mock's retention has trimmed nothing");
    source.assign(&[(words(0), 0)]).unwrap();
    let error = chunks(&*source, &range(0, 0, 80), OPTIONS).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::DataLoss { tp: words(0), planned: (0, 80), earliest, latest: 80 });
    assert!(error.message.contains(&format!("starts at offset {earliest}; the plan needs 0..80")), "{error}");
    assert_eq!(offsets(&*source, &range(0, earliest, 80)), (earliest..80).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_never_existed_is_refused_with_its_name() {
    let cluster = MockCluster::new(1).unwrap();
    let mut source = source(&cluster.bootstrap_servers());
    let error = source.available(soon()).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Refused, "{error}");
    assert!(error.message.contains("topic 'words' does not exist"), "{error}");
}

#[test]
fn topics_of_a_pattern_join_when_they_appear() {
    let cluster = cluster(1);
    let brokers = cluster.bootstrap_servers();
    let spec = spec(TopicSelection::Pattern(regex::Regex::new("words.*").unwrap()));
    let opening =
        Opening { job_name: "job", source_name: "source", brokers: &brokers, mirror_offsets_to: None, stored: &[] };
    let mut source = open(&spec, opening).unwrap();
    let names = |source: &mut dyn Source| {
        let available = source.available(soon()).unwrap();
        available.partitions.iter().map(|partition| partition.tp.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut *source), ["words/0"]);
    cluster.create_topic("words-2", 2, 1).unwrap();
    assert_eq!(names(&mut *source), ["words/0", "words-2/0", "words-2/1"]);
    fill(&brokers, 0, 0..3);
    source.assign(&[(words(0), 0)]).unwrap();
    assert_eq!(offsets(&*source, &range(0, 0, 2)), [0, 1]);
    source.assign(&[(words(0), 2), (TopicPartition::new("words-2", 0), 0)]).unwrap();
    assert_eq!(offsets(&*source, &range(0, 2, 3)), [2]);
}

#[test]
fn a_partition_assigned_by_hand_must_exist() {
    let cluster = cluster(2);
    let spec = spec(TopicSelection::Assign(vec![words(1), words(7)]));
    let brokers = cluster.bootstrap_servers();
    let opening =
        Opening { job_name: "job", source_name: "source", brokers: &brokers, mirror_offsets_to: None, stored: &[] };
    let error = open(&spec, opening).unwrap().available(soon()).unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Usage);
    assert!(error.message.contains("has 2 partitions; there is no words/7"), "{error}");
}

//! The Kafka source against a real broker: what a mock cannot show.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kstream::{
    job::{Begin, Fetch, Isolation, KafkaSpec, OnDataLoss, Setting, TopicSelection},
    kafka_admin::{
        Cluster,
        topics::{CreateOptions, create, delete, describe},
    },
    model::{Column, OffsetRange, TopicPartition, ValueFormat},
    source::{
        AvailablePartition, ReadOptions, Source, SourceError, SourceErrorKind, Start,
        kafka::{Opening, open},
    },
};
use rdkafka::producer::Producer;
use uuid::Uuid;

use crate::{
    broker::{Broker, End, NewRecord, broker, send, unique_name},
    proxy::Proxy,
};

const OPTIONS: ReadOptions = ReadOptions { chunk_records: 100, stall_timeout_ms: 20_000 };
const PLANES: [Fetch; 2] = [Fetch::Librdkafka, Fetch::Native];

fn spec(topic: &str, fetch: Fetch) -> KafkaSpec {
    KafkaSpec {
        brokers: "given".into(),
        topics: TopicSelection::Topics(vec![topic.into()]),
        start: Begin::At(Start::Earliest),
        max_records_per_partition: 10_000,
        back_pressure: None,
        on_data_loss: OnDataLoss::Fail,
        isolation: Isolation::ReadCommitted,
        key_format: ValueFormat::Utf8,
        value_format: ValueFormat::Utf8,
        fetch,
        prefetch_memory_bytes: 16 << 20,
        properties: BTreeMap::new(),
        unreachable_limit_ms: 1_000,
        embedded: None,
    }
}

fn opened(spec: &KafkaSpec, brokers: &str) -> Box<dyn Source> {
    let opening = Opening { job_name: "job", source_name: "source", brokers, mirror_offsets_to: None, stored: &[] };
    open(spec, opening).unwrap()
}

fn source(broker: &Broker, topic: &str, fetch: Fetch) -> Box<dyn Source> {
    opened(&spec(topic, fetch), &broker.brokers)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// What exists now, nothing of it remembered.
fn available(source: &mut dyn Source) -> Vec<AvailablePartition> {
    source.distrust();
    source.available(soon()).unwrap().partitions
}

fn range(partition: &AvailablePartition, start: i64, until: i64) -> OffsetRange {
    let AvailablePartition { tp, topic_id, leader_epoch, .. } = partition.clone();
    OffsetRange { source: "source".into(), tp, start, until, topic_id, leader_epoch, start_epoch: None }
}

fn read(source: &dyn Source, range: &OffsetRange) -> Result<Vec<(i64, String)>, SourceError> {
    let mut reader = source.read(range, OPTIONS)?;
    let mut read = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        let Column::Record(records) = chunk else { panic!("not a record column") };
        read.extend((0..records.len()).map(|idx| {
            let value = records.values.get(idx).map(String::from_utf8_lossy).unwrap_or_default();
            (records.offsets[idx], value.into_owned())
        }));
    }
    Ok(read)
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

#[test]
fn markers_aborted_and_open_transactions_end_ranges_exactly() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-transactions", 1);
    let name = topic.name();
    broker.produce(name, 0, ["0", "1"]);
    broker.transaction(name, [(0, "2"), (0, "3")], End::Commit); // marker at 4
    broker.transaction(name, [(0, "5"), (0, "6")], End::Abort); // marker at 7
    broker.produce(name, 0, ["8"]);
    let open = broker.transactional_producer();
    open.begin_transaction().unwrap();
    send(&open, name, 0, &NewRecord::value("9"));
    open.flush(Duration::from_secs(10)).unwrap();
    broker.produce(name, 0, ["10"]);
    for fetch in PLANES {
        let mut source = source(broker, name, fetch);
        let found = available(&mut *source);
        assert_eq!((found[0].earliest, found[0].latest), (0, 9), "the last stable offset ends the log: {fetch:?}");
        assert!(found[0].topic_id.is_some(), "topic ids are known: {fetch:?}");
        source.assign(&[(tp(name, 0), 0)]).unwrap();
        let committed = [(0, "0"), (1, "1"), (2, "2"), (3, "3"), (8, "8")];
        for cut in 1..9 {
            for (start, until) in [(0, cut), (cut, 9)] {
                let begun = Instant::now();
                let read = read(&*source, &range(&found[0], start, until)).unwrap();
                let expected: Vec<_> = committed
                    .iter()
                    .filter(|(offset, _)| (start..until).contains(offset))
                    .map(|(offset, value)| (*offset, (*value).to_owned()))
                    .collect();
                assert_eq!(read, expected, "{start}..{until} by {fetch:?}");
                assert!(begun.elapsed() < Duration::from_secs(5), "{start}..{until} took {:?}", begun.elapsed());
            }
        }
    }
    open.abort_transaction(Duration::from_secs(10)).unwrap();
}

/// Before metadata has come, clients know a partition only by its name, and may forget what was set up for it.
#[test]
fn a_range_elsewhere_right_after_the_assignment_is_read_whole() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-elsewhere", 1);
    let name = topic.name();
    let values: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    broker.produce(name, 0, values.iter().map(String::as_str));
    let planned = available(&mut *source(broker, name, Fetch::Librdkafka));
    for (fetch, round) in PLANES.into_iter().flat_map(|fetch| (0..5).map(move |round| (fetch, round))) {
        let mut source = source(broker, name, fetch);
        source.assign(&[(tp(name, 0), 0)]).unwrap();
        for (start, until) in [(5, 9), (2, 4), (4, 20)] {
            let read = read(&*source, &range(&planned[0], start, until)).unwrap();
            let expected: Vec<_> = (start..until).map(|offset| (offset, offset.to_string())).collect();
            assert_eq!(read, expected, "{start}..{until} by {fetch:?}, round {round}");
        }
    }
}

#[test]
fn a_quota_costs_time_and_no_record_in_either_plane() {
    const RECORDS: usize = 220;
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-quota", 1);
    broker.produce(topic.name(), 0, (0..RECORDS).map(|nth| format!("{nth:0>10000}")));
    for fetch in PLANES {
        let job_name = unique_name("quota");
        // Two megabytes in the ten seconds that Kafka counts are beyond it: it stays away for longer than a silence may be.
        broker.limit_consumer(&format!("kstream-{job_name}"), 140_000.0);
        let opening = Opening {
            job_name: &job_name,
            source_name: "source",
            brokers: &broker.brokers,
            mirror_offsets_to: None,
            stored: &[],
        };
        let mut source = open(&spec(topic.name(), fetch), opening).unwrap();
        let found = available(&mut *source);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        let options = ReadOptions { chunk_records: 100, stall_timeout_ms: 2_000 };
        let mut reader = source.read(&range(&found[0], 0, RECORDS as i64), options).unwrap();
        let (mut offsets, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
        while let Some(chunk) = reader.next_chunk().unwrap_or_else(|error| panic!("{fetch:?}: {error}")) {
            let Column::Record(records) = chunk else { panic!("not a record column") };
            offsets.extend(records.offsets.iter().copied());
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>(), "{fetch:?}");
        assert!(longest > Duration::from_secs(3), "{fetch:?} was not held back: {longest:?}");
    }
}

#[test]
fn read_uncommitted_sees_what_was_aborted() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-uncommitted", 1);
    broker.transaction(topic.name(), [(0, "a"), (0, "b")], End::Abort);
    for fetch in PLANES {
        let spec = KafkaSpec { isolation: Isolation::ReadUncommitted, ..spec(topic.name(), fetch) };
        let mut source = opened(&spec, &broker.brokers);
        let found = available(&mut *source);
        assert_eq!(found[0].latest, 3);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        assert_eq!(read(&*source, &range(&found[0], 0, 3)).unwrap().len(), 2, "{fetch:?}");
    }
}

#[test]
fn deleted_records_are_data_loss_with_the_exact_numbers() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let topic = broker.topic("source-trimmed", 1);
        broker.produce(topic.name(), 0, (0..100).map(|value| value.to_string()));
        broker.delete_records(topic.name(), 0, 40);
        let mut source = source(broker, topic.name(), fetch);
        let found = available(&mut *source);
        assert_eq!((found[0].earliest, found[0].latest), (40, 100));
        source.assign(&[(tp(topic.name(), 0), 10)]).unwrap();
        let error = read(&*source, &range(&found[0], 10, 60)).unwrap_err();
        let lost = SourceErrorKind::DataLoss { tp: tp(topic.name(), 0), planned: (10, 60), earliest: 40, latest: 100 };
        assert_eq!(error.kind, lost, "{fetch:?}: {error}");
        let rest = read(&*source, &range(&found[0], 40, 60)).unwrap();
        assert_eq!(rest.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (40..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_topic_made_again_is_data_loss_even_past_the_committed_offset() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let topic = broker.topic("source-again", 1);
        broker.produce(topic.name(), 0, ["a", "b"]);
        let mut source = source(broker, topic.name(), fetch);
        let before = available(&mut *source);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        assert_eq!(read(&*source, &range(&before[0], 0, 1)).unwrap().len(), 1);
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        broker.produce(topic.name(), 0, ["x", "y", "z"]);
        let after = available(&mut *source);
        assert_ne!(before[0].topic_id, after[0].topic_id);
        let error = read(&*source, &range(&before[0], 1, 2)).unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Recreated, "{fetch:?}: {error}");
        assert!(error.message.contains("the plan needs 1..2"), "{error}");
    }
}

/// A broker that was cut off knows fewer partitions than there are, or the topic of before, until it has caught up.
#[test]
fn metadata_that_is_behind_makes_neither_a_loss_nor_another_topic() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-behind", 2);
    let at_once = || Instant::now() + Duration::from_secs(1);
    for fetch in PLANES {
        let proxy = Proxy::before(&broker.brokers);
        let spec = KafkaSpec { unreachable_limit_ms: 60_000, ..spec(topic.name(), fetch) };
        let mut source = opened(&spec, &proxy.address);
        let found = available(&mut *source);
        assert_eq!(found.len(), 2);
        for (id, partitions) in [(None, 1), (Some(Uuid::new_v4()), 2)] {
            proxy.stay_behind(topic.name(), id, partitions);
            source.distrust();
            let error = source.available(at_once()).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Unreachable, "{fetch:?}: {error}");
            assert!(error.message.contains("or a broker is behind"), "{error}");
            proxy.pass_on();
            assert_eq!(available(&mut *source), found, "{fetch:?}");
        }
    }
}

/// A position that stands still shows nothing of a topic that was made again under it.
#[test]
fn what_was_fetched_of_a_topic_is_none_of_the_one_made_again_at_the_same_offset() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let topic = broker.topic("source-anew", 1);
        let mut source = source(broker, topic.name(), fetch);
        let before = available(&mut *source);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        assert_eq!(read(&*source, &range(&before[0], 0, 0)).unwrap(), []);
        broker.produce(topic.name(), 0, ["old"; 20]);
        // Long enough to be fetched ahead.
        std::thread::sleep(Duration::from_secs(1));
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        broker.produce(topic.name(), 0, ["x", "y", "z"]);
        let after = available(&mut *source);
        assert_eq!((after[0].earliest, after[0].latest), (0, 3), "{fetch:?}");
        let mut tried = read(&*source, &range(&after[0], 0, 3));
        // librdkafka may have met the end of the new topic behind what it had fetched of the old one, and says so once.
        if let Err(error) = &tried
            && fetch == Fetch::Librdkafka
        {
            assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
            tried = read(&*source, &range(&after[0], 0, 3));
        }
        let values: Vec<String> = tried.unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["x", "y", "z"], "{fetch:?}");
    }
}

#[test]
fn a_deleted_topic_leaves_what_is_available() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-deleted", 1);
    broker.produce(topic.name(), 0, ["a"]);
    let mut source = source(broker, topic.name(), Fetch::Librdkafka);
    assert_eq!(available(&mut *source).len(), 1);
    broker.delete_topic(topic.name());
    assert_eq!(available(&mut *source), [], "it existed, so the planner hears of its absence");
    broker.create_topic(topic.name(), 1, &[]);
    assert_eq!(available(&mut *source).len(), 1);
}

#[test]
fn partitions_found_later_are_read_beside_the_others() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let topic = broker.topic("source-grown", 1);
        broker.produce(topic.name(), 0, ["a", "b"]);
        let mut source = source(broker, topic.name(), fetch);
        let found = available(&mut *source);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        assert_eq!(read(&*source, &range(&found[0], 0, 1)).unwrap(), [(0, "a".to_owned())]);
        broker.add_partitions(topic.name(), 3);
        broker.produce(topic.name(), 2, ["c"]);
        let found = available(&mut *source);
        assert_eq!(found.len(), 3);
        let positions: Vec<_> =
            [1, 0, 0].iter().enumerate().map(|(idx, at)| (tp(topic.name(), idx as i32), *at)).collect();
        source.assign(&positions).unwrap();
        assert_eq!(read(&*source, &range(&found[0], 1, 2)).unwrap(), [(1, "b".to_owned())]);
        assert_eq!(read(&*source, &range(&found[2], 0, 1)).unwrap(), [(0, "c".to_owned())]);
    }
}

/// A plan made in the moment after a look may believe in a topic that is gone; reading it does not.
#[test]
fn what_is_remembered_for_a_moment_hides_neither_records_nor_losses() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let topic = broker.topic("source-remembered", 1);
        broker.produce(topic.name(), 0, ["a", "b"]);
        let mut source = source(broker, topic.name(), fetch);
        let look = |source: &mut dyn Source| source.available(soon()).unwrap().partitions;
        assert_eq!(look(&mut *source)[0].latest, 2);
        source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
        broker.produce(topic.name(), 0, ["c"]);
        let before = look(&mut *source);
        assert_eq!(before[0].latest, 3, "{fetch:?}: the end is never a remembered one");
        assert_eq!(read(&*source, &range(&before[0], 0, 1)).unwrap().len(), 1);
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        broker.produce(topic.name(), 0, ["x", "y", "z"]);
        let after = look(&mut *source);
        if after[0].topic_id == before[0].topic_id {
            match read(&*source, &range(&after[0], 1, 2)) {
                // Fetched before the topic went.
                Ok(records) => assert_eq!(records, [(1, "b".to_owned())], "{fetch:?}"),
                Err(error) => {
                    assert!(
                        matches!(error.kind, SourceErrorKind::DataLoss { planned: (1, 2), .. }),
                        "{fetch:?}: {error}"
                    );
                }
            }
        }
        assert_ne!(available(&mut *source)[0].topic_id, before[0].topic_id, "{fetch:?}");
    }
}

#[test]
fn a_start_time_is_the_first_record_at_or_after_it() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic_with("source-times", 2, &[("retention.ms", "-1")]);
    broker.produce_records(topic.name(), 0, [1_000, 2_000, 3_000].map(|at| NewRecord::value("v").timestamp(at)));
    let mut source = source(broker, topic.name(), Fetch::Librdkafka);
    let found = available(&mut *source);
    let mut start = |start| source.start_offsets(&found, &start, soon()).unwrap();
    assert_eq!(start(Start::Earliest), [0, 0]);
    assert_eq!(start(Start::Latest), [3, 0]);
    assert_eq!(start(Start::Time(1_500)), [1, 0]);
    assert_eq!(start(Start::Time(2_000)), [1, 0]);
    assert_eq!(start(Start::Time(9_000)), [3, 0], "none so late: the end");
    assert_eq!(start(Start::Offsets(vec![(tp(topic.name(), 0), 2)])), [2, 0]);
    let mut refused = |name| {
        let offsets = Start::Offsets(vec![(tp(topic.name(), 0), 2), (name, 0)]);
        source.start_offsets(&found, &offsets, soon()).unwrap_err().message
    };
    assert!(refused(tp(topic.name(), 7)).contains("no such partition"));
    assert!(refused(tp("another", 0)).contains("does not read topic 'another'"));
}

#[test]
fn sasl_over_tls_reads_and_a_wrong_password_is_refused_at_once() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("source-sasl", 1);
    broker.produce(topic.name(), 0, ["a", "b"]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let with = |password: &str, fetch| {
            let properties = broker.sasl_ssl_properties(mechanism, &broker.user, password);
            let mut properties: BTreeMap<String, Setting> =
                properties.into_iter().map(|(name, value)| (name, Setting::Literal(value))).collect();
            properties.remove("bootstrap.servers");
            opened(&KafkaSpec { properties, ..spec(topic.name(), fetch) }, &broker.sasl_ssl_brokers)
        };
        for fetch in PLANES {
            let mut source = with(&broker.password, fetch);
            let found = available(&mut *source);
            source.assign(&[(tp(topic.name(), 0), 0)]).unwrap();
            assert_eq!(read(&*source, &range(&found[0], 0, 2)).unwrap().len(), 2, "{mechanism} by {fetch:?}");
        }
        let asked_at = Instant::now();
        let error = with("canary-not-the-password", Fetch::Librdkafka).available(soon()).unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Refused, "{mechanism}: {error}");
        assert!(asked_at.elapsed() < Duration::from_secs(10), "{mechanism}: {:?}", asked_at.elapsed());
        assert!(error.message.contains(&broker.sasl_ssl_brokers) && !error.message.contains("canary"), "{error}");
    }
}

#[test]
fn topics_are_created_described_and_deleted() {
    let Some(broker) = broker() else { return };
    let name = unique_name("chores");
    let cluster =
        Cluster { brokers: broker.brokers.clone(), properties: BTreeMap::new(), timeout: Duration::from_secs(20) };
    let options = CreateOptions {
        topics: vec![name.clone()],
        partitions: 3,
        replication_factor: 1,
        config: vec![("retention.ms".into(), "60000".into())],
    };
    let mut out = Vec::new();
    create(&cluster, &options, &mut out).unwrap();
    let again = create(&cluster, &options, &mut Vec::new()).unwrap_err();
    assert!(again.message.contains(&name) && again.message.contains("exists"), "{again}");
    describe(&cluster, std::slice::from_ref(&name), &mut out).unwrap();
    delete(&cluster, std::slice::from_ref(&name), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(&format!("created {name} with 3 partitions\n{name}  3 partitions  id ")), "{text}");
    assert!(text.ends_with(&format!("deleted {name}\n")), "{text}");
    let gone = delete(&cluster, std::slice::from_ref(&name), &mut Vec::new()).unwrap_err();
    assert!(gone.message.contains("does not exist"), "{gone}");
}

//! The two data planes against each other on a real broker: every record of every range, byte for byte.

use std::{sync::Arc, time::Duration};

use kstream::{
    job::{Begin, Fetch, Isolation, KafkaSpec, OnDataLoss, TopicSelection},
    model::{Column, OffsetRange, TopicPartition, ValueFormat},
    source::{
        ReadOptions, Source, SourceErrorKind, Start,
        kafka::{self, Opening},
    },
};
use rdkafka::producer::Producer;

use crate::{
    broker::{Broker, End, NewRecord, ReadRecord, broker, flush, own_broker, send, unique_name},
    native::plane::records_of,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

struct Planes(Vec<Box<dyn Source>>);

impl Planes {
    fn open(brokers: &str, topic: &str, isolation: Isolation, positions: &[i64]) -> Planes {
        let spec = |fetch| KafkaSpec {
            brokers: brokers.to_owned(),
            topics: TopicSelection::Topics(vec![topic.into()]),
            start: Begin::At(Start::Earliest),
            max_records_per_partition: 100_000,
            back_pressure: None,
            on_data_loss: OnDataLoss::Fail,
            isolation,
            key_format: ValueFormat::Utf8,
            value_format: ValueFormat::Utf8,
            fetch,
            prefetch_memory_bytes: 8 << 20,
            properties: Default::default(),
            unreachable_limit_ms: 30_000,
            embedded: None,
        };
        let opening =
            Opening { job_name: "differential", source_name: "source", brokers, mirror_offsets_to: None, stored: &[] };
        let positions: Vec<_> =
            positions.iter().enumerate().map(|(p, at)| (TopicPartition::new(topic, p as i32), *at)).collect();
        let sources = [Fetch::Native, Fetch::Librdkafka].map(|fetch| {
            let mut source = kafka::open(&spec(fetch), opening).unwrap();
            source.assign(&positions).unwrap();
            source
        });
        Planes(sources.into())
    }

    /// Reads a range through both and compares; how many records it held.
    fn check(&self, topic: &str, partition: i32, start: i64, until: i64, chunk_records: usize) -> usize {
        let both: Vec<_> =
            self.0.iter().map(|source| read(&**source, topic, partition, start, until, chunk_records)).collect();
        match (&both[0], &both[1]) {
            (Ok(native), Ok(other)) => {
                assert_eq!(native.len(), other.len(), "{topic}/{partition} {start}..{until}");
                for (native, other) in native.iter().zip(other) {
                    assert_eq!(native, other, "{topic}/{partition} {start}..{until}");
                }
                native.len()
            }
            (Err(native), Err(other)) => {
                assert_eq!(native, other);
                0
            }
            (native, other) => panic!("native {native:?}, librdkafka {other:?}"),
        }
    }
}

fn read(
    source: &dyn Source,
    topic: &str,
    partition: i32,
    start: i64,
    until: i64,
    chunk_records: usize,
) -> Result<Vec<ReadRecord>, SourceErrorKind> {
    let range = OffsetRange {
        source: "source".into(),
        tp: TopicPartition::new(topic, partition),
        start,
        until,
        topic_id: None,
        leader_epoch: None,
        start_epoch: None,
    };
    let options = ReadOptions { chunk_records, stall_timeout_ms: 30_000 };
    let mut reader = source.read(&range, options).map_err(|error| error.kind)?;
    let mut records = Vec::new();
    while let Some(chunk) = reader.next_chunk().map_err(|error| error.kind)? {
        let Column::Record(chunk) = chunk else { panic!("{chunk:?}") };
        records.extend(records_of(&Arc::unwrap_or_clone(chunk)));
    }
    Ok(records)
}

/// Whole partitions in ranges that follow each other, of lengths that repeat from run to run, then some ranges again.
fn check_topic(broker: &Broker, topic: &str, partitions: i32, isolation: Isolation) -> usize {
    let bounds: Vec<(i64, i64)> = (0..partitions).map(|p| broker.offsets(topic, p)).collect();
    let planes =
        Planes::open(&broker.brokers, topic, isolation, &bounds.iter().map(|(low, _)| *low).collect::<Vec<_>>());
    let (mut records, mut seed) = (0, 0x2545_f491_4f6c_dd1d_u64);
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    for (partition, (low, high)) in bounds.iter().enumerate() {
        let mut start = *low;
        while start < *high {
            let until = (start + 1 + next(400) as i64).min(*high);
            records += planes.check(topic, partition as i32, start, until, 1 + next(200) as usize);
            start = until;
        }
        for _ in 0..5 {
            let start = low + next((high - low) as u64) as i64;
            planes.check(topic, partition as i32, start, (start + 50).min(*high), 1_000);
        }
    }
    records
}

#[test]
fn mixed_codecs_batch_sizes_and_idempotent_producers() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("differential-mixed", 2);
    for (round, codec) in CODECS.iter().cycle().take(10).enumerate() {
        let batch = if round % 2 == 0 { "200" } else { "1000000" };
        let properties = [("compression.codec", *codec), ("batch.size", batch), ("enable.idempotence", "true")];
        for partition in 0..2 {
            let records = (0..100).map(|i| match i % 4 {
                0 => NewRecord { key: Some(vec![0xff, i as u8]), ..NewRecord::default() },
                1 => NewRecord::value([0u8, 159, 146, 150].repeat(i)).header("grüße", [0xff]).header("grüße", ""),
                2 => NewRecord::value("").key(""),
                _ => NewRecord::value(format!("{codec} {round} {i}")),
            });
            broker.produce_with(&properties, topic.name(), partition, records);
        }
    }
    assert_eq!(check_topic(broker, topic.name(), 2, Isolation::ReadCommitted), 2_000);
}

#[test]
fn transactions_interleaved_over_partitions() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("differential-transactions", 2);
    let producers = [broker.transactional_producer(), broker.transactional_producer(), broker.transactional_producer()];
    for round in 0..8 {
        producers.iter().for_each(|producer| producer.begin_transaction().unwrap());
        for i in 0..90 {
            send(&producers[i % 3], topic.name(), (i / 3 % 2) as i32, &NewRecord::value(format!("{round} {i}")));
        }
        producers.iter().for_each(flush);
        for (idx, producer) in producers.iter().enumerate() {
            let limit = Duration::from_secs(30);
            match (round >> idx) & 1 {
                0 => producer.abort_transaction(limit).unwrap(),
                _ => producer.commit_transaction(limit).unwrap(),
            }
        }
    }
    assert_eq!(check_topic(broker, topic.name(), 2, Isolation::ReadCommitted), 8 * 90 / 2);
    assert_eq!(check_topic(broker, topic.name(), 2, Isolation::ReadUncommitted), 8 * 90);
}

#[test]
fn deleted_records_and_ranges_that_are_gone() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("differential-deleted", 1);
    broker.produce(topic.name(), 0, (0..300).map(|i| i.to_string()));
    broker.transaction(topic.name(), [(0, "aborted")], End::Abort);
    broker.delete_records(topic.name(), 0, 100);
    assert_eq!(check_topic(broker, topic.name(), 1, Isolation::ReadCommitted), 200);
    // Both say what is gone, and both go on.
    let planes = Planes::open(&broker.brokers, topic.name(), Isolation::ReadCommitted, &[50]);
    assert_eq!(planes.check(topic.name(), 0, 50, 150, 100), 0);
    assert_eq!(planes.check(topic.name(), 0, 100, 150, 100), 50);
}

#[test]
fn a_broker_that_is_killed_in_the_middle() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("differential-restart");
    own.create_topic(&topic, 1, &[]);
    own.produce(&topic, 0, (0..5_000).map(|i| format!("{i} {}", "x".repeat(i % 300))));
    let planes = Planes::open(&own.brokers, &topic, Isolation::ReadCommitted, &[0]);
    assert_eq!(planes.check(&topic, 0, 0, 100, 100), 100);
    own.kill();
    own.start_again();
    own.produce(&topic, 0, (0..500).map(|i| i.to_string()));
    assert_eq!(planes.check(&topic, 0, 100, 5_500, 700), 5_400);
}

#[test]
fn compacted_logs() {
    let Some(broker) = broker() else { return };
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    let topic = broker.topic_with("differential-compacted", 1, &settings);
    for round in 0..6 {
        let records = (0..60).map(|i| NewRecord::value(format!("{round} {i}")).key(format!("k{}", i % (5 + round))));
        broker.produce_with(&[("compression.codec", CODECS[round % 5])], topic.name(), 0, records);
        std::thread::sleep(Duration::from_millis(150));
    }
    let left = || broker.read_committed(topic.name()).len();
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    while left() == 360 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(left() < 360, "the cleaner has not been here");
    // It may come by again in between, at both planes or at one; not once only the active segment is left to it.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(check_topic(broker, topic.name(), 1, Isolation::ReadCommitted), left());
}

#[test]
fn records_of_twelve_megabytes() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic_with("differential-large", 1, &[("max.message.bytes", "16777216")]);
    let large: String = (0..12 << 20).map(|i: u32| char::from(b'a' + (i.wrapping_mul(i) >> 7) as u8 % 26)).collect();
    for codec in ["none", "lz4"] {
        let properties = [("message.max.bytes", "16000000"), ("compression.codec", codec)];
        broker.produce_with(&properties, topic.name(), 0, ["small", &large, "small"].map(NewRecord::value));
    }
    let planes = Planes::open(&broker.brokers, topic.name(), Isolation::ReadCommitted, &[0]);
    for (start, until) in [(0, 6), (0, 1), (1, 2), (2, 5), (4, 5)] {
        assert_eq!(planes.check(topic.name(), 0, start, until, 100) as i64, until - start);
    }
}

#[test]
fn leaders_that_move_between_two_brokers() {
    let Some(first) = own_broker() else { return };
    let mut second = first.second();
    let topic = unique_name("differential-moved");
    first.create_replicated_topic(&topic, 4, 2, &[]);
    let until = |done: &dyn Fn(&[i32]) -> bool| {
        crate::support::wait_until("leaders that moved", || done(&first.leaders(&topic)));
    };
    let both = |leaders: &[i32]| leaders.contains(&1) && leaders.contains(&2);
    until(&both);
    let mut written = 0;
    let mut write = || {
        for partition in 0..4 {
            first.produce(&topic, partition, (written..written + 300).map(|i| format!("{i} {}", "x".repeat(i % 90))));
        }
        written += 300;
        written as i64
    };
    let planes = Planes::open(&first.brokers, &topic, Isolation::ReadCommitted, &[0; 4]);
    let check = |start: i64, until: i64| {
        for partition in 0..4 {
            assert_eq!(planes.check(&topic, partition, start, until, 70) as i64, until - start, "{partition}");
        }
    };
    let first_end = write();
    check(0, first_end - 100);
    second.kill();
    until(&|leaders| leaders.iter().all(|&leader| leader == 1));
    let second_end = write();
    check(first_end - 100, second_end - 50);
    second.start_again();
    until(&both);
    let third_end = write();
    check(second_end - 50, third_end);
    second.stop();
    check(0, third_end);
}

/// The broker goes while a range is half read, with more of it to come than is fetched ahead.
#[test]
fn a_broker_that_is_killed_amid_a_range() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("differential-amid");
    own.create_topic(&topic, 1, &[]);
    const RECORDS: i64 = 120_000;
    own.produce(&topic, 0, (0..RECORDS).map(|i| format!("{i} {}", "y".repeat(400))));
    let planes = Planes::open(&own.brokers, &topic, Isolation::ReadCommitted, &[0]);
    let range = OffsetRange {
        source: "source".into(),
        tp: TopicPartition::new(&*topic, 0),
        start: 0,
        until: RECORDS,
        topic_id: None,
        leader_epoch: None,
        start_epoch: None,
    };
    let options = ReadOptions { chunk_records: 2_000, stall_timeout_ms: 60_000 };
    let mut readers: Vec<_> = planes.0.iter().map(|source| source.read(&range, options).unwrap()).collect();
    let next = |reader: &mut Box<dyn kstream::source::RangeReader + '_>| {
        let chunk = reader.next_chunk().unwrap()?;
        let Column::Record(chunk) = chunk else { panic!("{chunk:?}") };
        Some(records_of(&Arc::unwrap_or_clone(chunk)))
    };
    let begun: Vec<Vec<ReadRecord>> = readers.iter_mut().map(|reader| next(reader).unwrap()).collect();
    own.kill();
    let mut read = begun.into_iter();
    std::thread::scope(|scope| {
        scope.spawn(|| own.start_again());
        for mut reader in readers {
            let mut offset = 0;
            let mut records = read.next();
            while let Some(chunk) = records {
                for record in &chunk {
                    assert_eq!(record.offset, offset);
                    assert!(record.value_text().starts_with(&format!("{offset} y")), "{offset}");
                    offset += 1;
                }
                records = next(&mut reader);
            }
            assert_eq!(offset, RECORDS);
        }
    });
}

//! The embedded broker: librdkafka's mock cluster in this process, with a finite feed that is the same at every start.
//!
//! Line `i` of the feed (the file, `repeat` times) is record `i / partitions` of partition `i % partitions` of each
//! topic, with no key and a timestamp of `i` milliseconds after a fixed day. So an offset always holds the same record,
//! and a job on the embedded broker can be killed, continued and replayed. At start the partitions are refilled up to
//! the stored offsets at once; the rest appears at `rate` records a second; after that the topics are quiet.
//!
//! The mock keeps 5 MiB and 100,000 record batches a partition and drops the oldest silently: a feed that could reach
//! that is refused. It knows no transactions. Everything is gone when the process ends.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::KafkaError,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
    types::RDKafkaErrorCode,
};

use super::{ChoreError, ChoreErrorKind};
use crate::{job::EmbeddedSpec, model::TopicPartition, open_files};

const PARTITION_LIMIT_BYTES: u64 = 4 << 20;
const PARTITION_LIMIT_BATCHES: u64 = 90_000;
/// Record batch header, and what a record adds to its value.
const BATCH_BYTES: u64 = 61;
const RECORD_BYTES: u64 = 12;
/// What is due is appended this often.
const TICK: Duration = Duration::from_millis(50);
/// 2026-01-01T00:00:00Z.
const FIRST_TIMESTAMP_MS: i64 = 1_767_225_600_000;
const START_LIMIT: Duration = Duration::from_secs(30);

type Mock = MockCluster<'static, DefaultProducerContext>;

/// Runs until dropped.
pub struct EmbeddedBroker {
    brokers: String,
    fed: Arc<AtomicU64>,
    total: u64,
    stop: Option<Sender<()>>,
    feeder: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts the broker and refills its topics up to the `stored` offsets; returns when those can be read.
    pub fn start(
        spec: &EmbeddedSpec,
        topics: &[Arc<str>],
        stored: &[(TopicPartition, i64)],
    ) -> Result<EmbeddedBroker, ChoreError> {
        let feed = Feed::read(spec, topics, stored)?;
        let total = feed.total();
        let fed = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = mpsc::channel();
        let (ready, started) = mpsc::sync_channel(1);
        let counter = Arc::clone(&fed);
        let feeder = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || run(&feed, &counter, &ready, &stopped))
            .map_err(|error| ChoreError::kafka(format!("cannot start a thread for the embedded broker: {error}")))?;
        let brokers = started.recv_timeout(START_LIMIT).unwrap_or_else(|_| {
            let late = "the embedded broker did not start within 30 s".to_owned();
            Err(ChoreError::kafka(open_files::explain(late)))
        })?;
        Ok(EmbeddedBroker { brokers, fed, total, stop: Some(stop), feeder: Some(feeder) })
    }

    /// Bootstrap servers, for any client on this machine.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Records the feed holds, over all topics.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Records that can be read by now.
    pub fn fed(&self) -> u64 {
        self.fed.load(Ordering::Acquire)
    }

    /// Whether the whole feed can be read.
    pub fn caught_up(&self) -> bool {
        self.fed() >= self.total
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(feeder) = self.feeder.take() {
            drop(feeder.join()); // a panic over there has printed itself
        }
    }
}

/// Index of a topic, and of a line of the feed.
type Place = (usize, u64);

/// What goes into the topics, and in which order.
struct Feed {
    lines: Vec<String>,
    topics: Vec<Arc<str>>,
    stored: Vec<(TopicPartition, i64)>,
    partitions: u64,
    /// Lines of one topic, repeats included.
    length: u64,
    rate: f64,
}

impl Feed {
    fn read(spec: &EmbeddedSpec, topics: &[Arc<str>], stored: &[(TopicPartition, i64)]) -> Result<Feed, ChoreError> {
        let path = spec.lines.display();
        let usage = |message: String, hint: &str| {
            Err(ChoreError { kind: ChoreErrorKind::Usage, message, hint: Some(hint.to_owned()) })
        };
        let text = match fs::read_to_string(&spec.lines) {
            Ok(text) => text,
            Err(error) => {
                return usage(format!("cannot read the embedded broker's lines {path}: {error}"), "Correct `lines`.");
            }
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let partitions = u64::from(spec.partitions.max(1));
        let length = lines.len() as u64 * u64::from(spec.repeat);
        let feed =
            Feed { lines, topics: topics.to_vec(), stored: stored.to_vec(), partitions, length, rate: spec.rate };
        let (bytes, batches) = feed.largest_partition();
        if bytes > PARTITION_LIMIT_BYTES || batches > PARTITION_LIMIT_BATCHES {
            let message = format!(
                "the embedded broker holds 4 MiB and {PARTITION_LIMIT_BATCHES} batches a partition; {path} needs {bytes} bytes in {batches} batches"
            );
            return usage(message, "Lower `repeat`, raise `partitions`, or use a real broker (scripts/kafka/up).");
        }
        let holds = |tp: &TopicPartition| match u64::try_from(tp.partition) {
            Ok(partition) if partition < partitions => feed.records_of(partition),
            _ => 0,
        };
        let beyond = stored.iter().find(|(tp, offset)| *offset > holds(tp) as i64);
        if let Some((tp, offset)) = beyond {
            let message = format!("the job has read {tp} up to offset {offset}, but {path} gives only {}", holds(tp));
            return usage(message, "Put the lines back as they were, or start with another checkpoint directory.");
        }
        Ok(feed)
    }

    fn total(&self) -> u64 {
        self.length * self.topics.len() as u64
    }

    /// Whether all of it is due within the first tick: then it is there from the start.
    fn is_due_at_once(&self) -> bool {
        self.rate * TICK.as_secs_f64() >= self.length as f64
    }

    /// Records of one partition number, in every topic.
    fn records_of(&self, partition: u64) -> u64 {
        (self.length + self.partitions - 1 - partition) / self.partitions
    }

    fn line(&self, idx: u64) -> &str {
        let lines = self.lines.len().max(1) as u64;
        usize::try_from(idx % lines).ok().and_then(|idx| self.lines.get(idx)).map_or("", String::as_str)
    }

    /// Bytes and batches of the largest partition, if every tick makes a batch of its own.
    fn largest_partition(&self) -> (u64, u64) {
        let per_batch = (self.rate / self.partitions as f64 * TICK.as_secs_f64()).floor().clamp(1.0, 1_000.0) as u64;
        let mut bytes = vec![0_u64; usize::try_from(self.partitions).unwrap_or(1)];
        for idx in 0..self.length {
            let slot = usize::try_from(idx % self.partitions).ok().and_then(|slot| bytes.get_mut(slot));
            if let Some(slot) = slot {
                *slot += self.line(idx).len() as u64 + RECORD_BYTES;
            }
        }
        let batches = self.records_of(0).div_ceil(per_batch);
        (bytes.into_iter().max().unwrap_or(0) + batches * BATCH_BYTES, batches)
    }

    /// How far each topic's partition was read before.
    fn stored_offset(&self, topic: &str, partition: u64) -> u64 {
        let found =
            self.stored.iter().find(|(tp, _)| *tp.topic == *topic && i64::from(tp.partition) == partition as i64);
        found.map_or(0, |(_, offset)| u64::try_from(*offset).unwrap_or(0))
    }

    /// The feed of all topics, line by line, those records first that have been read before.
    fn order(&self) -> (Vec<Place>, Vec<Place>) {
        let records = (0..self.length).flat_map(|idx| (0..self.topics.len()).map(move |topic| (topic, idx)));
        records.partition(|&(topic, idx)| {
            let name = self.topics.get(topic).map_or("", |name| name);
            idx / self.partitions < self.stored_offset(name, idx % self.partitions)
        })
    }
}

/// The feeding thread: owns the cluster, whose handle may not change threads.
fn run(feed: &Feed, fed: &AtomicU64, ready: &SyncSender<Result<String, ChoreError>>, stopped: &Receiver<()>) {
    let started = cluster(feed).and_then(|(cluster, producer)| {
        let (read_before, rest) = feed.order();
        append(feed, &producer, &read_before, fed)?;
        if feed.is_due_at_once() {
            append(feed, &producer, &rest, fed)?;
            return Ok((cluster, producer, Vec::new()));
        }
        Ok((cluster, producer, rest))
    });
    let (cluster, producer, rest) = match started {
        Ok(started) => started,
        Err(error) => return drop(ready.send(Err(ChoreError::kafka(format!("embedded broker: {error}"))))),
    };
    drop(ready.send(Ok(cluster.bootstrap_servers())));
    if let Err(error) = trickle(feed, &producer, &rest, fed, stopped) {
        tracing::error!(%error, "the embedded broker's feed has stopped");
    }
    let _ = stopped.recv(); // quiet until the broker is dropped
}

fn cluster(feed: &Feed) -> Result<(Mock, BaseProducer), KafkaError> {
    let cluster = MockCluster::new(1)?;
    let partitions = i32::try_from(feed.partitions).unwrap_or(i32::MAX);
    for topic in &feed.topics {
        cluster.create_topic(topic, partitions, 1)?;
    }
    let producer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    Ok((cluster, producer))
}

/// Appends what is due, tick by tick, until all is there or the broker is dropped.
fn trickle(
    feed: &Feed,
    producer: &BaseProducer,
    rest: &[Place],
    fed: &AtomicU64,
    stopped: &Receiver<()>,
) -> Result<(), KafkaError> {
    let started_at = Instant::now();
    let per_second = feed.rate.max(0.001) * feed.topics.len() as f64;
    let mut appended = 0;
    while appended < rest.len() {
        let due = ((started_at.elapsed().as_secs_f64() * per_second) as usize).min(rest.len());
        append(feed, producer, rest.get(appended..due).unwrap_or_default(), fed)?;
        appended = due.max(appended);
        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    Ok(())
}

/// Appends records and waits until the broker has them.
fn append(feed: &Feed, producer: &BaseProducer, records: &[Place], fed: &AtomicU64) -> Result<(), KafkaError> {
    for &(topic, idx) in records {
        let topic = feed.topics.get(topic).map_or("", |name| name);
        let record = BaseRecord::<(), str>::to(topic)
            .partition(i32::try_from(idx % feed.partitions).unwrap_or(0))
            .timestamp(FIRST_TIMESTAMP_MS + idx as i64)
            .payload(feed.line(idx));
        let mut waiting = Some(record);
        while let Some(record) = waiting.take() {
            match producer.send(record) {
                Ok(()) => {}
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    producer.poll(Duration::from_millis(5));
                    waiting = Some(record);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
    let limit = Instant::now() + START_LIMIT;
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        if Instant::now() > limit {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
    }
    fed.fetch_add(records.len() as u64, Ordering::Release);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{
        kafka_admin::{
            Cluster,
            consume::{ConsumeOptions, Format, consume},
            produce::{ProduceOptions, produce},
            topics::{describe, list},
        },
        source::Start,
    };

    fn spec(lines: &tempfile::NamedTempFile, repeat: u32, rate: f64, partitions: u32) -> EmbeddedSpec {
        EmbeddedSpec { lines: lines.path().to_owned(), repeat, rate, partitions }
    }

    fn lines(count: usize, width: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        (0..count).for_each(|line| writeln!(file, "line {line:0width$}").unwrap());
        file
    }

    #[test]
    fn a_feed_that_the_broker_would_drop_is_refused() {
        let file = lines(1_000, 100);
        let topics = ["t".into()];
        let message = |spec: &EmbeddedSpec| match EmbeddedBroker::start(spec, &topics, &[]) {
            Ok(_) => String::new(),
            Err(error) => error.message,
        };
        assert!(message(&spec(&file, 1_000, 1e6, 4)).contains("4 MiB"), "too many bytes");
        let slow = message(&spec(&lines(40_000, 1), 10, 1.0, 4));
        assert!(slow.contains("in 100000 batches"), "a batch for each record: {slow}");
        let missing = EmbeddedSpec { lines: "no/such/file".into(), repeat: 1, rate: 1.0, partitions: 1 };
        assert!(message(&missing).contains("cannot read"));
    }

    #[test]
    fn stored_offsets_behind_the_feed_are_refused() {
        let file = lines(10, 1);
        let stored = [(TopicPartition::new("t", 0), 6)];
        let Err(error) = EmbeddedBroker::start(&spec(&file, 1, 1.0, 2), &["t".into()], &stored) else {
            panic!("started");
        };
        assert!(error.message.contains("t/0 up to offset 6"), "{error}");
    }

    #[test]
    fn the_same_offset_holds_the_same_line_at_every_start() {
        let file = lines(10, 1);
        let stored = [(TopicPartition::new("t", 0), 3), (TopicPartition::new("t", 1), 1)];
        let feed =
            Feed::read(&spec(&file, 2, 1.0, 3), &["t".into()], &stored).unwrap_or_else(|error| panic!("{error}"));
        let place = |records: &[Place]| records.iter().map(|(_, idx)| (idx % 3, idx / 3)).collect::<Vec<_>>();
        let (read_before, rest) = feed.order();
        assert_eq!(place(&read_before), [(0, 0), (1, 0), (0, 1), (0, 2)]);
        assert_eq!(place(&rest)[..3], [(2, 0), (1, 1), (2, 1)], "order within a partition is by offset");
        assert_eq!(read_before.len() + rest.len(), 20);
        assert_eq!((0..3).map(|partition| feed.records_of(partition)).collect::<Vec<_>>(), [7, 7, 6]);
    }

    fn read(broker: &EmbeddedBroker, topic: &str) -> Vec<(i64, i64, String)> {
        let cluster =
            Cluster { brokers: broker.brokers().into(), properties: Default::default(), timeout: START_LIMIT };
        let options = ConsumeOptions {
            topic: topic.into(),
            from: Start::Earliest,
            format: Format::Json,
            max: None,
            until_end: true,
        };
        let mut out = Vec::new();
        consume(&cluster, &options, &mut out).unwrap();
        let records = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let records = records.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
        records
            .map(|json| {
                let number = |name: &str| json[name].as_i64().unwrap();
                (number("partition"), number("offset"), format!("{}@{}", json["value"], number("timestamp")))
            })
            .collect()
    }

    #[test]
    fn a_broker_started_again_holds_what_was_read_before_at_once() {
        let file = lines(20, 1);
        let all = EmbeddedBroker::start(&spec(&file, 2, f64::INFINITY, 2), &["t".into()], &[]).unwrap();
        assert!(all.caught_up() && all.total() == 40);
        let whole = read(&all, "t");
        assert_eq!(whole.len(), 40);
        assert_eq!(whole[1], (0, 1, format!("\"line 2\"@{}", FIRST_TIMESTAMP_MS + 2)));

        let stored = [(TopicPartition::new("t", 0), 15), (TopicPartition::new("t", 1), 3)];
        let again = EmbeddedBroker::start(&spec(&file, 2, 0.001, 2), &["t".into()], &stored).unwrap();
        assert_eq!((again.fed(), again.caught_up()), (18, false));
        let expected: Vec<_> =
            whole.into_iter().filter(|(partition, offset, _)| *offset < [15, 3][*partition as usize]).collect();
        assert_eq!(read(&again, "t"), expected);
    }

    #[test]
    fn the_rest_of_the_feed_appears_at_its_rate() {
        let file = lines(60, 1);
        let broker = EmbeddedBroker::start(&spec(&file, 1, 200.0, 3), &["t".into(), "u".into()], &[]).unwrap();
        assert!(broker.fed() < broker.total());
        let limit = Instant::now() + START_LIMIT;
        while !broker.caught_up() {
            assert!(Instant::now() < limit, "{} of {}", broker.fed(), broker.total());
            std::thread::sleep(TICK);
        }
        assert_eq!((read(&broker, "t").len(), read(&broker, "u").len()), (60, 60));
    }

    #[test]
    fn lines_are_produced_and_consumed_with_keys() {
        let broker = EmbeddedBroker::start(&spec(&lines(0, 1), 1, 1.0, 3), &["t".into()], &[]).unwrap();
        let cluster =
            Cluster { brokers: broker.brokers().into(), properties: Default::default(), timeout: START_LIMIT };
        let options = ProduceOptions {
            topic: "t".into(),
            files: vec![],
            rate: None,
            key_separator: Some(":".into()),
            dead_letters: false,
            partition: Some(1),
        };
        let mut out = Vec::new();
        let written = produce(&cluster, &options, &mut &b"a:1\nb:2\r\nthree"[..], &mut out).unwrap();
        assert_eq!((written, String::from_utf8(out).unwrap()), (3, "3 records written to t\n".to_owned()));
        let read_back = |max| {
            let mut out = Vec::new();
            let (from, format) = (Start::Earliest, Format::KeyValue);
            let options = ConsumeOptions { topic: "t".into(), from, format, max, until_end: max.is_none() };
            let printed = consume(&cluster, &options, &mut out).unwrap();
            (printed, String::from_utf8(out).unwrap())
        };
        assert_eq!(read_back(None), (3, "a\t1\nb\t2\n\tthree\n".to_owned()));
        assert_eq!(read_back(Some(2)), (2, "a\t1\nb\t2\n".to_owned()));

        let unknown = ProduceOptions { topic: "no-such-topic".into(), ..options.clone() };
        let error = produce(&cluster, &unknown, &mut &b"a"[..], &mut Vec::new()).unwrap_err();
        assert!(error.message.contains("topic 'no-such-topic' does not exist"), "{error}");
        let beyond = ProduceOptions { partition: Some(3), ..options };
        let error = produce(&cluster, &beyond, &mut &b"a"[..], &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind, ChoreErrorKind::Usage);
        assert!(error.message.contains("has 3 partitions; there is no partition 3"), "{error}");
    }

    #[test]
    fn topics_are_listed_with_their_offsets() {
        let broker = EmbeddedBroker::start(&spec(&lines(7, 1), 1, f64::INFINITY, 2), &["t".into()], &[]).unwrap();
        let cluster =
            Cluster { brokers: broker.brokers().into(), properties: Default::default(), timeout: START_LIMIT };
        let mut out = Vec::new();
        list(&cluster, false, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "TOPIC  PARTITIONS  OFFSETS\nt               2        7\n");
        let mut out = Vec::new();
        describe(&cluster, &["t".into()], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("          0         0         4       1"), "{text}");
        let error = describe(&cluster, &["u".into()], &mut Vec::new()).unwrap_err();
        assert!(error.message.contains("topic 'u' does not exist"), "{error}");
    }
}

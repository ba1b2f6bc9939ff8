//! Topics of shapes that break what is usual, through both data planes, with hardly any memory, kills and a broker that
//! goes away: the counts are those that their producer has made.
//!
//! `KSTREAM_SHAPES_RUNS` says how often each plane reads the topic, and how often the broker goes away.

use std::{collections::BTreeMap, env, thread, time::Duration};

use kstream::job::Fetch;

use super::{
    broker::{Broker, NewRecord, OwnBroker, Topic, broker, own_broker, unique_name},
    run::sums,
    support::{Place, Random, START_MS, wait_until},
};

const PARTITIONS: i32 = 4;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Records of a batch at most, and of all of each codec.
const BATCHES: [(&str, usize); 3] = [("1", 40), ("37", 400), ("1000", 2_000)];
const LONG_WORD_BYTES: usize = 10_000;
const UNICODE: [&str; 6] = ["straße", "東京", "😀", "Ωμέγα", "naïve", "ⅷ"];

#[derive(Debug, Default)]
struct Truth {
    words: BTreeMap<String, u64>,
    keys: BTreeMap<String, u64>,
}

impl Truth {
    fn add(&mut self, record: &NewRecord) {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap());
        let words = text(&record.value)
            .map_or(vec!["(nothing)".to_owned()], |value| value.split(' ').map(str::to_owned).collect());
        words.into_iter().for_each(|word| *self.words.entry(word).or_default() += 1);
        *self.keys.entry(text(&record.key).unwrap_or("(nobody)".into())).or_default() += 1;
    }
}

/// Short lines for the most part; among them long words, Unicode, empty values and tombstones. One key of many has most.
fn record(random: &mut Random) -> NewRecord {
    let value = match random.below(40) {
        0..4 => {
            let word = format!("long{}", random.below(300));
            Some(format!("{word:-<LONG_WORD_BYTES$}"))
        }
        4..14 => Some((0..random.below(5)).map(|_| UNICODE[random.below(6) as usize]).collect::<Vec<_>>().join(" ")),
        14..18 => Some(String::new()),
        18..22 => None,
        _ => Some((0..1 + random.below(12)).map(|_| format!("w{}", random.below(500))).collect::<Vec<_>>().join(" ")),
    };
    let key = match random.below(10) {
        0 => None,
        1 => Some(format!("key{}", random.below(2_000))),
        2 => Some(String::new()),
        _ => Some("often".to_owned()),
    };
    NewRecord { key: key.map(String::into_bytes), value: value.map(String::into_bytes), ..NewRecord::default() }
}

fn fill(broker: &Broker, topic: &str, random: &mut Random) -> Truth {
    let mut truth = Truth::default();
    for (nth, codec) in CODECS.into_iter().enumerate() {
        for (batch, count) in BATCHES {
            let records: Vec<NewRecord> = (0..count).map(|_| record(random)).collect();
            records.iter().for_each(|record| truth.add(record));
            let linger = if batch == "1" { "0" } else { "50" };
            let properties = [("compression.codec", codec), ("batch.num.messages", batch), ("linger.ms", linger)];
            for partition in 0..PARTITIONS {
                let own = records.iter().skip(partition as usize).step_by(PARTITIONS as usize).cloned();
                // Each partition holds batches of every codec, in an order of its own.
                broker.produce_with(&properties, topic, (partition + nth as i32) % PARTITIONS, own);
            }
        }
    }
    truth
}

fn job(broker: &Broker, topic: &str, fetch: Fetch, max_records: u64) -> String {
    let fetch = if fetch == Fetch::Native { "native" } else { "librdkafka" };
    format!(
        r#"
name = "{}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
memory_limit = "4MiB"
[source]
kind = "kafka"
brokers = "{}"
topics = ["{topic}"]
fetch = "{fetch}"
max_records_per_partition = {max_records}
prefetch_memory = "16KiB"
[[steps]]
name = "records"
filter = "lambda record: True"
[[steps]]
flat_map = 'lambda record: ["(nothing)"] if record.value == None else record.value.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 100_000, to = "words.log" }}
[[steps]]
from = "records"
map = 'lambda record: ("(nobody)" if record.key == None else record.key, 1)'
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 100_000, to = "keys.log" }}
"#,
        unique_name("shapes"),
        broker.brokers
    )
}

fn runs() -> usize {
    env::var("KSTREAM_SHAPES_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// One job from the beginning to the end, killed a few times on its way; what it said on the way.
fn run(broker: &Broker, topic: &str, truth: &Truth, fetch: Fetch, kills: usize, random: &mut Random) -> String {
    let max_records = [100, 1_500, 1_000_000][random.below(3) as usize];
    let place = Place::with_job(&job(broker, topic, fetch, max_records));
    let args = format!("run job.toml --until-caught-up --manual-clock {START_MS} --threads 2");
    let mut said = String::new();
    for _ in 0..kills {
        let enough = place.read("words.log").len() + random.below(200_000) as usize;
        let mut running = place.start(&args);
        wait_until("more log", || place.read("words.log").len() > enough || !running.is_running());
        thread::sleep(Duration::from_micros(random.below(20_000)));
        said += &running.err();
        running.kill();
    }
    said += &place.kstream(&args).expect(0).err;
    let what = format!("{fetch:?}, {max_records} records a partition, {kills} kills\n{said}");
    for (log, truth) in [("words.log", &truth.words), ("keys.log", &truth.keys)] {
        let found = sums(&place.read(log));
        let wrong = truth.iter().find(|(word, count)| found.get(*word) != Some(count));
        assert_eq!(wrong.map(|(word, count)| (&word[..word.len().min(20)], count)), None, "{log}: {what}");
        assert_eq!(found.len(), truth.len(), "{log}: {what}");
    }
    said
}

#[test]
fn odd_records_in_odd_batches_are_counted_with_hardly_any_memory() {
    let Some(broker) = broker() else { return };
    let mut random = Random::seeded();
    let topic: Topic = broker.topic("shapes", PARTITIONS);
    let truth = fill(broker, topic.name(), &mut random);
    let mut halved = 0;
    for nth in 0..runs() {
        for fetch in [Fetch::Native, Fetch::Librdkafka] {
            let said = run(broker, topic.name(), &truth, fetch, random.below(3) as usize, &mut random);
            for trouble in ["no records of", "sent nothing of", "fetching again", "than is held", "Kafka is away"] {
                assert!(!said.contains(trouble), "run {nth}, {fetch:?}: {trouble}\n{said}");
            }
            halved += said.matches("reading half of the batch").count();
        }
    }
    if runs() > 4 {
        assert!(halved > runs(), "batches were halved {halved} times only");
    }
}

#[test]
fn odd_records_are_counted_while_their_broker_goes_away() {
    let Some(mut own) = own_broker() else { return };
    let mut random = Random::seeded();
    let name = unique_name("shapes-away");
    let topic = own.topic(&name, PARTITIONS);
    let name = topic.name().to_owned();
    let truth = fill(&own, &name, &mut random);
    for nth in 0..runs() {
        let fetch = [Fetch::Native, Fetch::Librdkafka][nth % 2];
        let seed = random.below(u64::MAX);
        let broker: Broker = (*own).clone();
        thread::scope(|scope| {
            let (name, truth) = (&name, &truth);
            let running = scope.spawn(move || run(&broker, name, truth, fetch, 1, &mut Random::of(seed)));
            thread::sleep(Duration::from_millis(200 + random.below(1_500)));
            restart(&mut own, random.below(2) == 0);
            running.join().unwrap();
        });
    }
}

fn restart(own: &mut OwnBroker, in_good_order: bool) {
    if in_good_order {
        own.stop()
    } else {
        own.kill()
    }
    own.start_again();
}

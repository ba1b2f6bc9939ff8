//! The Kafka output alone, asked as the driver asks it, where a whole job hardly comes.

use std::{thread, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::Producer,
};
use serde_json::json;

use kstream::{
    job::{Overrides, load_inline},
    model::{BatchId, BatchIdentity, BatchTime, Timeline},
    sink::{Assume, Content, Holds, Output, Published, Sink, SinkErrorKind, Standing, kafka::KafkaOutputs, open},
};

use super::{
    broker::{Broker, broker, unique_name},
    kafka_output::job,
};

fn batch(batch: u64) -> BatchIdentity {
    BatchIdentity {
        checkpoint: "ours".to_owned(),
        timeline: Timeline(0),
        batch: BatchId(batch),
        time: BatchTime(1_000),
    }
}

fn nothing(digest: &str) -> Output {
    Output { name: "out".to_owned(), content: Content::Rows(Vec::new()), digest: digest.parse().expect("a digest") }
}

/// The output `out` of the job in a process of its own, as it were.
fn sink(text: &str) -> Box<dyn Sink> {
    let (job, _) = load_inline("job.toml", text.to_owned(), &Overrides::default(), &|_| None).expect("a job");
    let step = job.steps.iter().find(|step| step.id.to_string() == "out").expect("the output");
    open(&job, step, &mut KafkaOutputs::default(), None).expect("a sink")
}

fn standing(next: BatchIdentity, assume: Option<Assume>) -> Standing {
    Standing { next, in_flight: true, assume }
}

fn forget(broker: &Broker, name: &str) {
    broker.delete_groups(&format!("kstream-{name}-"));
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn a_batch_that_the_user_says_is_published_is_so_whoever_asks_first() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("out", 1);
    for asks_first in [false, true] {
        let name = unique_name("assumed");
        let text = job(&name, &broker.brokers, "in", &format!("topic = \"{}\"", topic.name()));
        let mut first = sink(&text);
        first.inspect(&standing(batch(0), None)).unwrap();
        let facts = first.base_facts().unwrap().expect("facts");
        drop(first);
        forget(broker, &name);

        let mut refused = sink(&text);
        refused.restore(Some(&facts)).unwrap();
        assert_eq!(refused.inspect(&standing(batch(0), None)).unwrap_err().kind, SinkErrorKind::Refused);
        drop(refused);
        let mut told = sink(&text);
        told.restore(Some(&facts)).unwrap();
        told.inspect(&standing(batch(0), Some(Assume::Published))).unwrap();
        if asks_first {
            assert_eq!(told.holds(&batch(0)).unwrap(), Holds::Something);
        }
        told.stage(&batch(0), nothing("000000000000000000000000000000ff:3")).unwrap();
        assert_eq!(told.published(&batch(0)).unwrap(), Published::Whole, "asked before it is staged: {asks_first}");
        drop(told);
        // From then on the cluster says so.
        let mut next = sink(&text);
        next.restore(Some(&facts)).unwrap();
        next.inspect(&standing(batch(0), None)).unwrap();
        assert_eq!(next.holds(&batch(0)).unwrap(), Holds::Something);
        next.stage(&batch(0), nothing("000000000000000000000000000000ff:4")).unwrap();
        assert_eq!(next.published(&batch(0)).unwrap_err().kind, SinkErrorKind::Refused, "another content");
    }
}

/// As it is for a moment after every commit: the transaction is confirmed, and the group still shows what was before it.
#[test]
fn an_entry_that_is_about_to_show_is_waited_for_before_the_checkpoint_is_contradicted() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("out", 1);
    let name = unique_name("shows");
    let text = job(&name, &broker.brokers, "in", &format!("topic = \"{}\"", topic.name()));
    let mut first = sink(&text);
    first.inspect(&standing(batch(0), None)).unwrap();
    let mut facts = first.base_facts().unwrap().expect("facts");
    drop(first);
    let delivered = json!({
        "checkpoint": "ours", "timeline": 0, "batch": 0, "run_epoch": 1, "digest": "000000000000000000000000000000ff:3",
    });
    facts.0["delivered"] = delivered.clone();
    let inspected = || {
        let mut next = sink(&text);
        next.restore(Some(&facts)).unwrap();
        next.inspect(&standing(batch(1), None))
    };
    assert_eq!(inspected().unwrap_err().kind, SinkErrorKind::Refused, "nobody is about to deliver it");

    let group = format!("kstream-{name}-{}", facts.0["cluster"].as_str().expect("a cluster"));
    let reader: BaseConsumer = broker.client().set("group.id", &group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    let mut carrier = offsets.add_partition(topic.name(), 0);
    carrier.set_offset(Offset::Offset(1)).unwrap();
    carrier.set_metadata(json!({ "kstream": 1, "batch": delivered }).to_string());
    let producer = broker.transactional_producer();
    producer.begin_transaction().unwrap();
    let limit = Duration::from_secs(20);
    producer.send_offsets_to_transaction(&offsets, &reader.group_metadata().unwrap(), limit).unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(inspected);
        thread::sleep(Duration::from_secs(1));
        assert!(!asked.is_finished(), "{:?}", asked.join());
        producer.commit_transaction(limit).unwrap();
        asked.join().unwrap().unwrap();
    });
}

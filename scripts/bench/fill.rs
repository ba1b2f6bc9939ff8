//! Topics made and filled once; a topic that is full already is left as it is.

use std::{error::Error, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{
    counts::Counts,
    workload::{Messages, Workload},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Makes sure that `topic` holds `count` messages of the workload, and gives the right answer for them.
pub fn fill(brokers: &str, topic: &str, workload: Workload, count: u64) -> Result<Counts, Box<dyn Error>> {
    let partitions = workload.partitions();
    create(brokers, topic, partitions)?;
    let present = messages_in(brokers, topic, partitions)?;
    if present != 0 && present != count {
        return Err(format!("{topic} holds {present} messages, not {count}").into());
    }
    let producer: Option<BaseProducer> = match present {
        0 => Some(producer(brokers, workload, 20)?),
        _ => None,
    };
    let mut messages = Messages::new(workload);
    let mut text = String::new();
    for nth in 0..count {
        messages.next(&mut text);
        if let Some(producer) = &producer {
            send(producer, topic, (nth % partitions as u64) as i32, &text)?;
        }
    }
    if let Some(producer) = &producer {
        producer.flush(TIMEOUT)?;
        let arrived = messages_in(brokers, topic, partitions)?;
        if arrived != count {
            return Err(format!("{topic} holds {arrived} messages after {count} were sent").into());
        }
    }
    Ok(messages.truth())
}

pub fn producer(brokers: &str, workload: Workload, linger_ms: u64) -> Result<BaseProducer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.codec", workload.codec())
        .set("linger.ms", linger_ms.to_string())
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "500000")
        .create()
}

pub fn send(producer: &BaseProducer, topic: &str, partition: i32, text: &str) -> Result<(), Box<dyn Error>> {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(text);
    while let Err((error, back)) = producer.send(record) {
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(error.into());
        }
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    Ok(())
}

pub fn create(brokers: &str, topic: &str, partitions: i32) -> Result<(), Box<dyn Error>> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let results = block_on(admin.create_topics([&new], &options))?;
    match results.into_iter().next() {
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
        Some(Err((_, code))) => Err(format!("cannot create {topic}: {code}").into()),
    }
}

/// How many messages all partitions hold.
fn messages_in(brokers: &str, topic: &str, partitions: i32) -> Result<u64, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let mut sum = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        sum += u64::try_from(high - low)?;
    }
    Ok(sum)
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
        thread::sleep,
    };
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleep(Duration::from_millis(5)),
        }
    }
}

//! `kstream topics`: list, create, describe, delete.

use std::{
    future::Future,
    io::Write,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult},
    client::DefaultClientContext,
    config::FromClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    metadata::MetadataPartition,
    types::RDKafkaErrorCode as Code,
};

use super::{ChoreError, Cluster, check_named_once, check_topic_names};
use crate::{job::Isolation, model::TopicPartition, source::kafka::control::Control};

/// Another look whether a change has reached the brokers.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a description waits for the topic's id.
const ID_LIMIT: Duration = Duration::from_millis(1_000);

/// What no cluster works without: transactional ids, and the entries that exactly-once outputs are known by, lie there.
const OWN_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

#[derive(Debug, Clone)]
pub struct CreateOptions {
    pub topics: Vec<String>,
    pub partitions: i32,
    pub replication_factor: i32,
    /// Settings of the topics, such as `retention.ms`.
    pub config: Vec<(String, String)>,
}

/// Prints each topic with its partitions and the number of offsets they hold; Kafka's own ones where `internal`.
pub fn list(cluster: &Cluster, internal: bool, out: &mut dyn Write) -> Result<(), ChoreError> {
    let control = control(cluster)?;
    let topics = control.topics(internal, deadline(cluster))?;
    let partitions: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|(name, count)| (0..*count).map(|number| TopicPartition::new(name.as_str(), number)))
        .collect();
    let bounds = bounds(&control, &partitions, deadline(cluster))?;
    let width = topics.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("TOPIC".len());
    writeln!(out, "{:<width$}  PARTITIONS  OFFSETS", "TOPIC")?;
    for (name, count) in &topics {
        let held = partitions.iter().zip(&bounds).filter(|(tp, _)| *tp.topic == **name);
        let held: i64 = held.map(|(_, (earliest, latest))| latest - earliest).sum();
        writeln!(out, "{name:<width$}  {count:>10}  {held:>7}")?;
    }
    Ok(())
}

/// Creates topics; returns when the brokers show them.
pub fn create(cluster: &Cluster, options: &CreateOptions, out: &mut dyn Write) -> Result<(), ChoreError> {
    check_topic_names(&options.topics)?;
    check_named_once(&options.topics)?;
    let (admin, control) = reach(cluster)?;
    let topics: Vec<NewTopic<'_>> = options
        .topics
        .iter()
        .map(|name| {
            let replication = TopicReplication::Fixed(options.replication_factor);
            let topic = NewTopic::new(name, options.partitions, replication);
            options.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let created = block_on(admin.create_topics(&topics, &admin_options(cluster)))
        .map_err(|error| ChoreError::failed("create topics", &cluster.brokers, &error))?;
    let partitions = match options.partitions {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    };
    settled(cluster, "create", created, |name| {
        let limit = deadline(cluster);
        while control.partitions(name, limit)?.is_none() && Instant::now() < limit {
            thread::sleep(LOOK_AGAIN);
        }
        writeln!(out, "created {name} with {partitions}")?;
        Ok(())
    })
}

/// Prints each partition: leader, replicas, offsets.
pub fn describe(cluster: &Cluster, topics: &[String], out: &mut dyn Write) -> Result<(), ChoreError> {
    check_topic_names(topics)?;
    let control = control(cluster)?;
    let consumer: BaseConsumer = create_client(&cluster.settings()?.administering(), cluster)?;
    for name in topics {
        let Some(_) = control.partitions(name, deadline(cluster))? else {
            return Err(unknown_topic(cluster, name));
        };
        let metadata = consumer
            .fetch_metadata(Some(name), cluster.timeout)
            .map_err(|error| ChoreError::failed(&format!("describe topic '{name}'"), &cluster.brokers, &error))?;
        let found = metadata.topics().iter().filter(|topic| topic.name() == name).flat_map(|topic| topic.partitions());
        let mut partitions: Vec<&MetadataPartition> = found.collect();
        partitions.sort_by_key(|partition| partition.id());
        let tps: Vec<TopicPartition> =
            partitions.iter().map(|partition| TopicPartition::new(name.as_str(), partition.id())).collect();
        let bounds = bounds(&control, &tps, deadline(cluster))?;
        // Old brokers, and the embedded one, have no answer to this.
        let ids = control.describe(&[Arc::from(name.as_str())], Instant::now() + ID_LIMIT);
        let id = ids.unwrap_or_default().into_iter().flatten().next();
        writeln!(
            out,
            "{name}  {} partitions{}",
            tps.len(),
            id.map(|topic| format!("  id {}", topic.id)).unwrap_or_default()
        )?;
        writeln!(out, "  PARTITION  EARLIEST    LATEST  LEADER  REPLICAS  IN SYNC")?;
        for (partition, (earliest, latest)) in partitions.iter().zip(bounds) {
            writeln!(
                out,
                "  {:>9}  {earliest:>8}  {latest:>8}  {:>6}  {:>8}  {:>7}",
                partition.id(),
                partition.leader(),
                numbers(partition.replicas()),
                numbers(partition.isr())
            )?;
        }
    }
    Ok(())
}

/// Deletes topics with all their records; returns when the brokers have forgotten them.
pub fn delete(cluster: &Cluster, topics: &[String], out: &mut dyn Write) -> Result<(), ChoreError> {
    check_topic_names(topics)?;
    check_named_once(topics)?;
    if let Some(own) = topics.iter().find(|name| OWN_TOPICS.contains(&name.as_str())) {
        let hint = "It holds the offsets or the transactions of the whole cluster.";
        return Err(ChoreError::usage(format!("{own} is Kafka's own topic"), hint));
    }
    let (admin, control) = reach(cluster)?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let deleted = block_on(admin.delete_topics(&names, &admin_options(cluster)))
        .map_err(|error| ChoreError::failed("delete topics", &cluster.brokers, &error))?;
    settled(cluster, "delete", deleted, |name| {
        let limit = deadline(cluster);
        while control.partitions(name, limit)?.is_some() && Instant::now() < limit {
            thread::sleep(LOOK_AGAIN);
        }
        writeln!(out, "deleted {name}")?;
        Ok(())
    })
}

/// Goes through the answers, the good ones first; the first bad one is the error.
fn settled(
    cluster: &Cluster,
    verb: &str,
    results: Vec<TopicResult>,
    mut good: impl FnMut(&str) -> Result<(), ChoreError>,
) -> Result<(), ChoreError> {
    let mut failure = None;
    for result in results {
        match result {
            Ok(name) => good(&name)?,
            Err((name, Code::UnknownTopicOrPartition)) => {
                let hint = "See `kstream topics list`.".to_owned();
                let unknown = ChoreError { hint: Some(hint), ..unknown_topic(cluster, &name) };
                failure = failure.or(Some(unknown));
            }
            Err((name, code)) => {
                let error = KafkaError::AdminOp(code);
                let failed = ChoreError::failed(&format!("{verb} topic '{name}'"), &cluster.brokers, &error);
                failure = failure.or(Some(failed));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

pub(super) fn control(cluster: &Cluster) -> Result<Control, ChoreError> {
    Ok(Control::connect(&cluster.settings()?, Isolation::ReadUncommitted, "kstream", true)?)
}

pub(super) fn deadline(cluster: &Cluster) -> Instant {
    Instant::now() + cluster.timeout
}

pub(super) fn unknown_topic(cluster: &Cluster, name: &str) -> ChoreError {
    let hint = format!("Create it: kstream topics create {name} --brokers {}", cluster.brokers);
    ChoreError {
        hint: Some(hint),
        ..ChoreError::kafka(format!("topic '{name}' does not exist on brokers {}", cluster.brokers))
    }
}

fn bounds(control: &Control, tps: &[TopicPartition], deadline: Instant) -> Result<Vec<(i64, i64)>, ChoreError> {
    let earliest = control.locate(tps, Offset::Beginning, deadline)?;
    let latest = control.locate(tps, Offset::End, deadline)?;
    let pairs = earliest.into_iter().zip(latest);
    Ok(pairs.map(|(low, high)| (low.map_or(0, |low| low.offset), high.map_or(0, |high| high.offset))).collect())
}

/// The clients of a change. The one that makes it does not say why a broker is silent; the other one does.
fn reach(cluster: &Cluster) -> Result<(AdminClient<DefaultClientContext>, Control), ChoreError> {
    let control = control(cluster)?;
    control.cluster_id(deadline(cluster))?;
    Ok((create_client(&cluster.settings()?.administering(), cluster)?, control))
}

fn create_client<T: FromClientConfig>(config: &ClientConfig, cluster: &Cluster) -> Result<T, ChoreError> {
    config.create().map_err(|error| ChoreError::failed("use these properties", &cluster.brokers, &error))
}

fn admin_options(cluster: &Cluster) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(cluster.timeout)).operation_timeout(Some(cluster.timeout))
}

fn numbers(brokers: &[i32]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Waits for an answer that the admin client's own thread delivers.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

//! What an engine committed to a topic of running counts, and the removal of the topics it made.

use std::{collections::BTreeMap, error::Error, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    metadata::MetadataPartition,
};

use crate::{counts::Counts, fill::block_on};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The last committed count of each word.
pub fn read(brokers: &str, topic: &str) -> Result<Counts, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut assignment = TopicPartitionList::new();
    for id in metadata.topics().iter().flat_map(|topic| topic.partitions()).map(MetadataPartition::id) {
        assignment.add_partition_offset(topic, id, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open = assignment.count();
    let mut found = BTreeMap::new();
    while 0 < open {
        match consumer.poll(TIMEOUT) {
            None => return Err(format!("{topic} did not come to its end").into()),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let (Some(word), Some(count)) = (message.key(), message.payload()) else {
                    return Err(format!("no word and count in {topic}").into());
                };
                found.insert(String::from_utf8(word.to_vec())?, u64::from_be_bytes(count.try_into()?));
            }
        }
    }
    Ok(found)
}

/// Deletes the topics whose names begin like this.
pub fn delete(brokers: &str, prefix: &str) -> Result<(), Box<dyn Error>> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
    let names = metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix));
    let names: Vec<&str> = names.collect();
    for result in block_on(admin.delete_topics(&names, &AdminOptions::new().operation_timeout(Some(TIMEOUT))))? {
        result.map_err(|(name, code)| format!("cannot delete {name}: {code}"))?;
    }
    Ok(())
}

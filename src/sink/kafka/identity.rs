//! The batch's identity on its way into a transaction. librdkafka's call can neither be resumed nor ended: it returns when
//! brokers answer or their connections time out. So it has a thread of its own, and whoever waits for it may leave.
//!
//! A call that was left adds to a transaction at most; it never commits one. Its producer lives as long as it does, and is
//! shut out as soon as another begins with the same id.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::KafkaError,
    producer::{BaseProducer, Producer},
};

use super::{deliveries::Deliveries, explain::Lack};

/// The offset that says which batch a transaction is, and the group it is recorded for.
pub struct Identity {
    pub offset: TopicPartitionList,
    pub group: ConsumerGroupMetadata,
    /// What it takes to record it.
    pub right: Lack,
}

/// Adds it to the transaction under way. The answer comes by the channel.
pub fn add(
    producer: &Arc<BaseProducer<Deliveries>>,
    identity: &Arc<Identity>,
    limit: Duration,
) -> io::Result<Receiver<Result<(), KafkaError>>> {
    let (producer, identity) = (producer.clone(), identity.clone());
    let (tell, answer) = mpsc::sync_channel(1);
    thread::Builder::new().name("kafka identity".to_owned()).spawn(move || {
        let done = producer.send_offsets_to_transaction(&identity.offset, &identity.group, limit);
        // Given back before the answer: whoever gets that closes the producer where it says to.
        drop(producer);
        let _ = tell.send(done);
    })?;
    Ok(answer)
}

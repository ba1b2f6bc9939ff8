//! A topic read from its beginning to the end it had at the start, by librdkafka's raw batch call, as cheaply as its users
//! can: CRC check off, one queue per partition, one pass over each message, no copy.

use std::{error::Error, ffi::CString, ptr, slice, thread, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    bindings::{
        rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy,
        rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_t,
    },
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaRespErr,
};

const TIMEOUT: Duration = Duration::from_secs(30);
const MESSAGES_A_CALL: usize = 4_000;
const WAIT_MS: i32 = 5;
/// Calls in a row that bring nothing: the broker is gone.
const MOST_EMPTY_CALLS: usize = 20_000;

/// What a thread does with each message's value.
pub trait Computation: Send {
    fn message(&mut self, value: &[u8]);
}

/// Reads all partitions with `threads` threads; gives each thread's result.
pub fn consume<C: Computation>(
    brokers: &str,
    topic: &str,
    threads: usize,
    new: impl Fn() -> C + Sync,
) -> Result<Vec<C>, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "false")
        .set("fetch.queue.backoff.ms", "1")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|t| t.partitions()).map(rdkafka::metadata::MetadataPartition::id).collect();
    let mut assignment = TopicPartitionList::new();
    let mut queues = Vec::new();
    for &partition in &partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        assignment.add_partition_offset(topic, partition, Offset::Offset(low))?;
        if low < high {
            queues.push(PartitionQueue::split(&consumer, topic, partition, high)?);
        }
    }
    consumer.assign(&assignment)?;

    let threads = threads.clamp(1, queues.len().max(1));
    let mut shares: Vec<Vec<PartitionQueue>> = (0..threads).map(|_| Vec::new()).collect();
    for (nth, queue) in queues.into_iter().enumerate() {
        shares[nth % threads].push(queue);
    }
    let new = &new;
    let results: Result<Vec<C>, String> = thread::scope(|scope| {
        let running: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || drain(share, new()))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?).collect()
    });
    Ok(results?)
}

/// Reads some partitions in turn until each is at its end.
fn drain<C: Computation>(mut queues: Vec<PartitionQueue>, mut computation: C) -> Result<C, String> {
    let mut messages: Vec<*mut rd_kafka_message_t> = vec![ptr::null_mut(); MESSAGES_A_CALL];
    let mut empty_calls = 0;
    while !queues.is_empty() {
        let mut taken = 0;
        let mut failed = None;
        queues.retain_mut(|queue| match queue.take(&mut messages, &mut computation) {
            Ok(count) => {
                taken += count;
                !queue.done
            }
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        empty_calls = if taken == 0 { empty_calls + 1 } else { 0 };
        if MOST_EMPTY_CALLS < empty_calls {
            return Err("nothing came any more".to_owned());
        }
    }
    Ok(computation)
}

/// One partition's own queue, taken from librdkafka before the partition is assigned.
struct PartitionQueue {
    queue: *mut rd_kafka_queue_t,
    until: i64,
    done: bool,
}

// SAFETY: librdkafka's queues may be used from any thread; this one is used by one thread at a time.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    fn split(
        consumer: &BaseConsumer,
        topic: &str,
        partition: i32,
        until: i64,
    ) -> Result<PartitionQueue, Box<dyn Error>> {
        let name = CString::new(topic)?;
        // SAFETY: the handle lives as long as the consumer, which outlives the threads; the name is a C string.
        let queue = unsafe { rd_kafka_queue_get_partition(consumer.client().native_ptr(), name.as_ptr(), partition) };
        if queue.is_null() {
            return Err(format!("no queue for {topic}/{partition}").into());
        }
        // SAFETY: the queue was just got; no destination means that it is read on its own.
        unsafe { rd_kafka_queue_forward(queue, ptr::null_mut()) };
        Ok(PartitionQueue { queue, until, done: false })
    }

    /// Takes what is there, waiting a moment if nothing is; the number of messages.
    fn take(
        &mut self,
        messages: &mut [*mut rd_kafka_message_t],
        computation: &mut impl Computation,
    ) -> Result<usize, String> {
        // SAFETY: the array is as long as said; librdkafka fills the first `count` places with messages we own.
        let mut count = unsafe { rd_kafka_consume_batch_queue(self.queue, 0, messages.as_mut_ptr(), messages.len()) };
        if count == 0 {
            // SAFETY: as above. One message only: the call would wait for a full array.
            count = unsafe { rd_kafka_consume_batch_queue(self.queue, WAIT_MS, messages.as_mut_ptr(), 1) };
        }
        let count = usize::try_from(count).map_err(|_| "librdkafka refused to read")?;
        let mut failure = None;
        for &mut message in &mut messages[..count] {
            // SAFETY: a message librdkafka gave us, destroyed once, below.
            let seen = unsafe { &*message };
            if seen.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                failure = Some(format!("partition {}: {:?}", seen.partition, seen.err));
            } else if seen.offset < self.until {
                if !seen.payload.is_null() {
                    // SAFETY: payload and length belong together and live as long as the message.
                    computation.message(unsafe { slice::from_raw_parts(seen.payload.cast(), seen.len) });
                }
                self.done |= seen.offset + 1 == self.until;
            }
            // SAFETY: not used after this.
            unsafe { rd_kafka_message_destroy(message) };
        }
        failure.map_or(Ok(count), Err)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: got once, destroyed once.
        unsafe { rd_kafka_queue_destroy(self.queue) };
    }
}

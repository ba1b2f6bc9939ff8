//! The few librdkafka calls that rust-rdkafka has no safe form of: the raw batch call on a partition's queue (its safe
//! counterpart loses the offset of an end-of-partition event and costs more than twice the CPU a message), a
//! partition's position, leader epochs, and topic ids.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    TopicPartitionList, bindings as rd,
    consumer::{BaseConsumer, Consumer},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use smol_str::SmolStr;

use super::events::Events;
use crate::model::{TopicPartition, column::Headers};

/// Messages taken from a queue in one call; between 1,000 and 4,000 is cheapest a message.
const BATCH: usize = 2048;

/// The queue of one topic partition, split off the consumer's. Lives no longer than the consumer, which it holds.
pub struct PartitionQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    batch: Vec<*mut rd::rd_kafka_message_t>,
    topic: CString,
    partition: i32,
    consumer: Arc<BaseConsumer<Events>>,
}

// SAFETY: librdkafka's queues and messages may be used from any thread; a `PartitionQueue` is used by one at a time
// (`take` needs `&mut self`), and `batch` holds only dangling leftovers between calls, which are never read.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits the queue off. Must come before the partition is assigned: what has been forwarded to the consumer's queue
    /// by then would be missing here, and the hole would look like compaction. `None` where `tp` cannot exist.
    pub fn split(consumer: &Arc<BaseConsumer<Events>>, tp: &TopicPartition) -> Option<PartitionQueue> {
        let topic = CString::new(tp.topic.as_bytes()).ok()?;
        // SAFETY: the handle is alive (`consumer` is held), `topic` is a C string that outlives the call; a null queue is
        // handled. Forwarding to null is librdkafka's documented way to make a queue stand alone.
        let queue = unsafe {
            let queue = rd::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), tp.partition);
            let queue = NonNull::new(queue)?;
            rd::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            queue
        };
        let batch = vec![ptr::null_mut(); BATCH];
        Some(PartitionQueue { queue, batch, topic, partition: tp.partition, consumer: Arc::clone(consumer) })
    }

    /// Takes up to `want` messages, waiting for the first one no longer than `wait`; with a wait it takes one, because
    /// the call would otherwise block until the array is full.
    pub fn take(&mut self, want: usize, wait: Duration, mut each: impl FnMut(RawMessage)) -> usize {
        let want = if wait.is_zero() { want.min(BATCH) } else { 1 };
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: `queue` is alive, `batch` has room for `want` <= BATCH pointers.
        let taken =
            unsafe { rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, self.batch.as_mut_ptr(), want) };
        let taken = usize::try_from(taken).unwrap_or(0);
        self.batch.iter().take(taken).filter_map(|&message| NonNull::new(message)).map(RawMessage).for_each(&mut each);
        taken
    }

    /// Where the application stands by librdkafka's account, moved also by transaction markers; `None` after a
    /// (re)assignment until the first message. Bundled versions before 2.13.2 count an end-of-partition or error event
    /// as a message: callers ignore the offset behind the last such event.
    pub fn position(&self) -> Option<i64> {
        // SAFETY: the list is made, used and destroyed here; `topic` is a C string; the handle is alive; the added
        // element is read before the list goes.
        let (code, offset) = unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(1);
            let element = rd::rd_kafka_topic_partition_list_add(list, self.topic.as_ptr(), self.partition);
            let code = rd::rd_kafka_position(self.consumer.client().native_ptr(), list);
            let offset = (*element).offset;
            rd::rd_kafka_topic_partition_list_destroy(list);
            (code, offset)
        };
        (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && offset >= 0).then_some(offset)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the reference taken in `split` is given back once; the consumer is still alive, being a field.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// One message or event of a partition queue, destroyed on drop.
pub struct RawMessage(NonNull<rd::rd_kafka_message_t>);

// SAFETY: a message is owned by whoever took it from the queue, and librdkafka lets any thread read and destroy it.
unsafe impl Send for RawMessage {}

impl RawMessage {
    fn get(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: the pointer came from librdkafka, is not null, and is destroyed only in `drop`.
        unsafe { self.0.as_ref() }
    }

    /// `None` for a record, else what happened.
    pub fn event(&self) -> Option<RDKafkaErrorCode> {
        match self.get().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            code => Some(code.into()),
        }
    }

    /// Of the record, or of the event.
    pub fn offset(&self) -> i64 {
        self.get().offset
    }

    pub fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka gives a null pointer for a null key, else `key_len` bytes that live as long as the message.
        unsafe { view(self.get().key, self.get().key_len) }
    }

    /// The record's value; librdkafka's text about an event.
    pub fn value(&self) -> Option<&[u8]> {
        // SAFETY: as for the key.
        unsafe { view(self.get().payload, self.get().len) }
    }

    /// Milliseconds since the epoch, -1 where there is none.
    pub fn timestamp(&self) -> i64 {
        // SAFETY: the message is alive; librdkafka accepts a null pointer for the type of the timestamp.
        unsafe { rd::rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut()) }
    }

    /// `None` where the record has no headers.
    pub fn headers(&self) -> Option<Headers> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive; librdkafka fills `list` (owned by the message) where it answers "no error".
        let code = unsafe { rd::rd_kafka_message_headers(self.0.as_ptr(), &mut list) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return None;
        }
        let mut headers = Headers::new();
        loop {
            let mut name: *const c_char = ptr::null();
            let mut value: *const c_void = ptr::null();
            let mut len = 0;
            // SAFETY: `list` belongs to the living message; past the last header librdkafka answers with an error.
            let code = unsafe { rd::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut len) };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Some(headers);
            }
            // SAFETY: the name is a C string, the value null or `len` bytes, both alive with the message.
            headers.push(unsafe { (SmolStr::from(text(name)), view(value, len).map(Bytes::copy_from_slice)) });
        }
    }
}

impl Drop for RawMessage {
    fn drop(&mut self) {
        // SAFETY: taken from the queue once, destroyed once.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Leader epoch of each element as the broker answered, in the list's order; `None` where it is not known.
pub fn leader_epochs(list: &TopicPartitionList) -> Vec<Option<i32>> {
    let elements = list.count();
    // SAFETY: `list` is a live librdkafka list of `elements` elements, which are only read.
    unsafe {
        (0..elements)
            .map(|idx| rd::rd_kafka_topic_partition_get_leader_epoch((*list.ptr()).elems.add(idx)))
            .map(|epoch| (epoch >= 0).then_some(epoch))
            .collect()
    }
}

/// Has librdkafka compare each element's offset with the log when it is sought: all before it was written in epochs up to
/// `epoch`.
pub fn set_leader_epoch(list: &mut TopicPartitionList, epoch: i32) {
    let elements = list.count();
    // SAFETY: `list` is a live librdkafka list of `elements` elements, borrowed for this call alone.
    unsafe {
        (0..elements)
            .for_each(|idx| rd::rd_kafka_topic_partition_set_leader_epoch((*list.ptr()).elems.add(idx), epoch));
    }
}

/// A topic as one broker describes it, in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub id: String,
    pub partitions: i32,
}

/// Topics with their ids, in the order of `topics`; `None` where the broker knows no such topic, or no ids.
pub fn describe(
    consumer: &BaseConsumer<Events>,
    topics: &[Arc<str>],
    timeout: Duration,
) -> Result<Vec<Option<Described>>, RDKafkaErrorCode> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_bytes()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let handle = consumer.client().native_ptr();
    // SAFETY: every object is made here, checked for null by librdkafka's contract (it aborts on a failed allocation),
    // used while the handle lives, and destroyed at the end. The names outlive the collection, which copies them. The
    // result and all that hangs on it belong to `event`, which is destroyed after the last read.
    unsafe {
        let queue = rd::rd_kafka_queue_new(handle);
        let options = rd::rd_kafka_AdminOptions_new(handle, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr().cast(), pointers.len());
        rd::rd_kafka_DescribeTopics(handle, collection, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(500));
        let answer = described_in(event, topics);
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_TopicCollection_destroy(collection);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// # Safety
/// `event` is null or a live event.
unsafe fn described_in(
    event: *mut rd::rd_kafka_event_t,
    topics: &[Arc<str>],
) -> Result<Vec<Option<Described>>, RDKafkaErrorCode> {
    if event.is_null() {
        return Err(RDKafkaErrorCode::OperationTimedOut);
    }
    // SAFETY: `event` is alive; a result of another type is given as null and refused; `count` descriptions hang on it,
    // each with a name and perhaps an id, all alive with the event.
    unsafe {
        let code = rd::rd_kafka_event_error(event);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut found = vec![None; topics.len()];
        for idx in 0..count {
            let topic = *described.add(idx);
            let name = text(rd::rd_kafka_TopicDescription_name(topic));
            let id = rd::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null() || rd::rd_kafka_Uuid_most_significant_bits(id) == 0 {
                continue;
            }
            let mut partitions = 0;
            rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            let id = text(rd::rd_kafka_Uuid_base64str(id));
            let described = Described { id, partitions: i32::try_from(partitions).unwrap_or(i32::MAX) };
            for (slot, _) in found.iter_mut().zip(topics).filter(|(_, asked)| ***asked == name) {
                *slot = Some(described.clone());
            }
        }
        Ok(found)
    }
}

/// # Safety
/// `text` is null or a C string that outlives the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `start` is null or points to `len` bytes that live as long as the returned slice.
unsafe fn view<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by this function's contract.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}

//! Topics made, grown, cut and deleted; who may come in.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};

use super::Broker;

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

impl Broker {
    /// Client properties of the plaintext door.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// librdkafka properties for the SASL door, `bootstrap.servers` among them.
    pub fn sasl_ssl_properties(&self, mechanism: &str, user: &str, password: &str) -> Vec<(String, String)> {
        own([
            ("bootstrap.servers", &self.sasl_ssl_brokers),
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &self.ca.display().to_string()),
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
        ])
    }

    /// librdkafka properties for the TLS door with a client certificate, `bootstrap.servers` among them.
    pub fn client_certificate_properties(&self) -> Vec<(String, String)> {
        own([
            ("bootstrap.servers", &self.mutual_brokers),
            ("security.protocol", "SSL"),
            ("ssl.ca.location", &self.ca.display().to_string()),
            ("ssl.keystore.location", &self.client_keystore.display().to_string()),
            ("ssl.keystore.password", &self.client_keystore_password),
        ])
    }

    /// Whether a client with these properties sees the partitions of a topic.
    pub fn can_see(&self, topic: &str, properties: &[(String, String)]) -> bool {
        let consumer: BaseConsumer = properties.iter().cloned().collect::<ClientConfig>().create().expect("consumer");
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10));
        metadata.is_ok_and(|m| m.topics().iter().any(|t| t.name() == topic && !t.partitions().is_empty()))
    }

    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.create_replicated_topic(name, partitions, 1, settings);
    }

    pub fn create_replicated_topic(&self, name: &str, partitions: i32, replicas: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let done = block_on(self.admin().create_topics([&topic], &options())).expect("create topic");
        assert!(done.iter().all(Result::is_ok), "create topic {name}: {done:?}");
        self.wait_for_partitions(name, partitions);
    }

    /// Deletes a topic and waits until the broker no longer knows it.
    pub fn delete_topic(&self, name: &str) {
        self.try_delete_topic(name).unwrap_or_else(|code| panic!("delete topic {name}: {code}"));
        self.wait_for_partitions(name, 0);
    }

    pub(super) fn try_delete_topic(&self, name: &str) -> Result<(), RDKafkaErrorCode> {
        let done = block_on(self.admin().delete_topics(&[name], &options()));
        let results = done.map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))?;
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code))
    }

    /// Raises the number of partitions of a topic to `total`.
    pub fn add_partitions(&self, name: &str, total: i32) {
        let more = NewPartitions::new(name, usize::try_from(total).expect("positive"));
        let done = block_on(self.admin().create_partitions([&more], &options())).expect("add partitions");
        assert!(done.iter().all(Result::is_ok), "add partitions to {name}: {done:?}");
        self.wait_for_partitions(name, total);
    }

    /// Deletes the records before `before`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("offset");
        let done = block_on(self.admin().delete_records(&list, &options())).expect("delete records");
        for element in done.elements() {
            element.error().expect("delete records");
        }
    }

    /// The nodes that lead the partitions of a topic, by partition; -1 where there is none.
    pub fn leaders(&self, topic: &str) -> Vec<i32> {
        let consumer: BaseConsumer = self.client().create().expect("consumer");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.leader()).collect()
    }

    /// Deletes the consumer group that is named `prefix` and the cluster's own id.
    pub fn delete_groups(&self, prefix: &str) {
        let consumer: BaseConsumer = self.client().create().expect("consumer");
        let id = consumer.client().fetch_cluster_id(TIMEOUT).expect("the id of the cluster");
        let done = block_on(self.admin().delete_groups(&[&format!("{prefix}{id}")], &options())).expect("delete group");
        assert!(done.iter().all(Result::is_ok), "delete group {prefix}{id}: {done:?}");
    }

    /// The first offset that exists and one past the last.
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer = self.client().create().expect("consumer");
        consumer.fetch_watermarks(topic, partition, TIMEOUT).expect("watermarks")
    }

    pub(super) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("admin client")
    }

    /// Metadata follows a change a moment later; a record sent before would fail.
    fn wait_for_partitions(&self, topic: &str, partitions: i32) {
        let expected = usize::try_from(partitions).expect("not negative");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            // A client of its own each time: a cached answer is no answer.
            let consumer: BaseConsumer = self.client().create().expect("consumer");
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
            let found = metadata
                .topics()
                .iter()
                .find(|t| t.name() == topic)
                .map_or(0, |t| t.partitions().iter().filter(|p| p.leader() >= 0 && p.error().is_none()).count());
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{topic} has {found} partitions, not {expected}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

fn own<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The admin client answers by futures; one thread that waits is all they need.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
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

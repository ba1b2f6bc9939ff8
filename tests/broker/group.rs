//! Consumer groups, as lag tools and other consumers see them.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::{
    Broker,
    admin::{TIMEOUT, block_on, options},
};

impl Broker {
    /// What the group has committed of each partition.
    pub fn group_offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic, 0, partitions - 1);
        let committed = self.of_group(group).committed_offsets(wanted, TIMEOUT).expect("committed offsets");
        committed
            .elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
            .collect()
    }

    /// Commits one offset a partition to a group without members.
    pub fn set_group_offsets(&self, group: &str, topic: &str, offsets: &[i64]) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(offsets) {
            list.add_partition_offset(topic, partition, Offset::Offset(*offset)).expect("offset");
        }
        self.of_group(group).commit(&list, CommitMode::Sync).expect("commit");
    }

    pub fn delete_group(&self, group: &str) {
        let deleted = block_on(self.admin().delete_groups(&[group], &options())).expect("delete groups");
        deleted.into_iter().for_each(|result| drop(result.expect("delete group")));
    }

    /// A consumer that is a member of the group as long as it lives and is polled within the session timeout.
    pub fn member(&self, group: &str, topic: &str) -> BaseConsumer {
        let consumer = self.of_group(group);
        consumer.subscribe(&[topic]).expect("subscribe");
        let deadline = Instant::now() + TIMEOUT;
        while consumer.assignment().expect("assignment").count() == 0 {
            assert!(Instant::now() < deadline, "no member of {group}");
            let _ = consumer.poll(Duration::from_millis(50));
        }
        consumer
    }

    fn of_group(&self, group: &str) -> BaseConsumer {
        let mut config = self.client();
        config.set("group.id", group).set("enable.auto.commit", "false").create().expect("consumer")
    }
}

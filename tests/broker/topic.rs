//! A topic that is deleted when its test is over.

use super::{Broker, unique_name};

/// A topic of one test; deleted on drop.
#[derive(Debug)]
pub struct Topic {
    broker: Broker,
    name: String,
}

impl Topic {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It may be gone already: some tests delete their topic.
        let _ = self.broker.try_delete_topic(&self.name);
    }
}

impl Broker {
    /// Creates a topic under a name of its own, beginning with `base`.
    pub fn topic(&self, base: &str, partitions: i32) -> Topic {
        self.topic_with(base, partitions, &[])
    }

    /// As [`Broker::topic`], with topic settings such as `("cleanup.policy", "compact")`.
    pub fn topic_with(&self, base: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let name = unique_name(base);
        self.create_topic(&name, partitions, settings);
        Topic { broker: self.clone(), name }
    }
}

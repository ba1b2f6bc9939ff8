//! Who leads which partition: endpoints, leader epochs and topic ids, asked of any broker that answers.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use kafka_protocol::{
    messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{
    connection::{Connection, Dialer, error_name},
    failure::{is_refused, refused, unreachable},
    settings::Endpoint,
};
use crate::{model::TopicPartition, source::SourceError};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// Where a partition is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub node: i32,
    pub endpoint: Endpoint,
    pub epoch: i32,
    /// Nil where brokers have none.
    pub topic_id: Uuid,
}

/// What metadata says of a partition.
#[derive(Debug, Clone)]
pub enum Place {
    At(Leader),
    /// No leader now; why.
    Nowhere(String),
    /// No broker knows it (any more, or yet).
    Unknown(String),
    Refused(SourceError),
}

/// Answers of one Metadata response.
#[derive(Debug, Default)]
pub struct Directory {
    endpoints: HashMap<i32, Endpoint>,
    topics: HashMap<String, Topic>,
    asked: String,
}

#[derive(Debug)]
struct Topic {
    error: i16,
    id: Uuid,
    /// Partition number to leader and its epoch.
    leaders: HashMap<i32, (i32, i32)>,
}

/// The brokers known so far, and a connection to one of them.
pub struct Cluster {
    dialer: Arc<Dialer>,
    known: Vec<Endpoint>,
    turn: usize,
    connection: Option<Connection>,
}

impl Cluster {
    pub fn new(dialer: Arc<Dialer>) -> Self {
        let known = dialer.settings.bootstrap.clone();
        Self { dialer, known, turn: 0, connection: None }
    }

    /// Asks for `topics`, broker after broker until one answers. The error is that of the last one, or the first refusal.
    pub fn look_up(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<Directory, SourceError> {
        let mut last = unreachable("no broker is known");
        for _ in 0..=self.known.len() {
            match self.ask(topics) {
                Ok(directory) => return Ok(directory),
                Err(error) if is_refused(&error) => return Err(error),
                Err(error) => last = error,
            }
            self.connection = None;
            self.turn += 1;
            if self.dialer.stop.is_set() {
                break;
            }
        }
        Err(last)
    }

    /// The next question goes to another broker, where there is one: what this one says may be out of date.
    pub fn ask_another(&mut self) {
        if self.known.len() > 1 {
            self.connection = None;
            self.turn += 1;
        }
    }

    fn ask(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<Directory, SourceError> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_stale() => connection,
            _ => {
                let Some(endpoint) = self.known.get(self.turn % self.known.len().max(1)) else {
                    return Err(unreachable("no broker is known"));
                };
                self.dialer.open(endpoint)?
            }
        };
        let topics = topics.iter().map(|topic| {
            let name = TopicName(StrBytes::from_string(topic.to_string()));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        let request =
            MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
        let version = connection.version(ApiKey::Metadata)?;
        let response = connection.call(&request, version, Instant::now() + self.dialer.settings.request_timeout)?;
        let directory = Directory::new(&response, connection.endpoint());
        self.connection = Some(connection);
        // Brokers that are gone are forgotten; those the job names stay.
        self.known.truncate(self.dialer.settings.bootstrap.len());
        for endpoint in directory.endpoints.values() {
            if !self.known.contains(endpoint) {
                self.known.push(endpoint.clone());
            }
        }
        Ok(directory)
    }
}

impl Directory {
    fn new(response: &MetadataResponse, asked: &Endpoint) -> Self {
        let mut directory = Directory { asked: asked.to_string(), ..Directory::default() };
        for broker in &response.brokers {
            if let Ok(port) = u16::try_from(broker.port) {
                let endpoint = Endpoint { host: broker.host.as_str().into(), port };
                directory.endpoints.insert(*broker.node_id, endpoint);
            }
        }
        for topic in &response.topics {
            let leaders = topic.partitions.iter().map(|p| (p.partition_index, (*p.leader_id, p.leader_epoch)));
            let entry = Topic { error: topic.error_code, id: topic.topic_id, leaders: leaders.collect() };
            if let Some(name) = &topic.name {
                directory.topics.insert(name.to_string(), entry);
            }
        }
        directory
    }

    /// Who said so.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    pub fn place(&self, tp: &TopicPartition) -> Place {
        let (name, asked) = (&tp.topic, &self.asked);
        let Some(topic) = self.topics.get(&**name) else {
            return Place::Unknown(format!("broker {asked} says nothing of topic {name}"));
        };
        match topic.error {
            0 => {}
            UNKNOWN_TOPIC_OR_PARTITION => {
                return Place::Unknown(format!("broker {asked} knows no topic {name}"));
            }
            TOPIC_AUTHORIZATION_FAILED => {
                let hint = "Grant the user READ and DESCRIBE on the topic.";
                return Place::Refused(refused(
                    format!("broker {asked} refuses topic {name} to this user"),
                    Some(hint),
                ));
            }
            INVALID_TOPIC => {
                return Place::Refused(refused(format!("broker {asked}: {name:?} is no valid topic name"), None));
            }
            code => return Place::Nowhere(format!("broker {asked}: topic {name}: {}", error_name(code))),
        }
        let Some((node, epoch)) = topic.leaders.get(&tp.partition) else {
            return Place::Unknown(format!("broker {asked} knows no partition {tp}"));
        };
        match self.endpoints.get(node) {
            Some(endpoint) => {
                Place::At(Leader { node: *node, endpoint: endpoint.clone(), epoch: *epoch, topic_id: topic.id })
            }
            None => Place::Nowhere(format!("partition {tp} has no leader, says broker {asked}")),
        }
    }
}

//! From `to_kafka` steps to sinks: outputs with one connection share one cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use super::{
    cluster::{Cluster, ClusterIds},
    output::KafkaOutput,
    plain::PlainOutput,
};
use crate::{
    job::{Delivery, Job, LONGEST_TRANSACTION_MS, Operator, Setting, SourceKind, ToKafkaSpec, ToTopic},
    sink::{Sink, SinkError, SinkErrorKind, watch::Silence},
    source::kafka::settings::ClientSettings,
};

/// Least transaction timeout where the user names none.
const SHORTEST_TIMEOUT_MS: u64 = 60_000;

/// How long brokers that do not answer are waited for at most, and at least: to begin with transactions takes a moment.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
const SHORTEST_SILENCE: Duration = Duration::from_secs(2);

/// The word of the job file for the built-in broker.
const EMBEDDED: &str = "embedded";

type Connection = (String, BTreeMap<String, Setting>);

/// The clusters that live outputs write to.
#[derive(Default)]
pub struct KafkaOutputs {
    clusters: Vec<(Connection, Weak<Mutex<Cluster>>)>,
    in_use: ClusterIds,
}

impl KafkaOutputs {
    /// The sink of one step. `embedded` are the brokers that the job's embedded broker listens on. Nothing is connected.
    pub fn open(
        &mut self,
        job: &Job,
        name: String,
        spec: &ToKafkaSpec,
        embedded: Option<&str>,
    ) -> Result<Box<dyn Sink>, SinkError> {
        self.open_as(job, name, spec, Some(spec.append), embedded)
    }

    /// `append` is what the output says of another checkpoint's deliveries, if it can say so.
    fn open_as(
        &mut self,
        job: &Job,
        name: String,
        spec: &ToKafkaSpec,
        append: Option<bool>,
        embedded: Option<&str>,
    ) -> Result<Box<dyn Sink>, SinkError> {
        let (brokers, properties) = connection(job, spec)?;
        let is_embedded = brokers == EMBEDDED;
        let brokers = match embedded.filter(|_| is_embedded) {
            Some(address) => address.to_owned(),
            None => brokers,
        };
        let client_id = format!("kstream-{}", job.name);
        let settings = ClientSettings::resolve(&brokers, &client_id, &properties).map_err(|error| SinkError {
            kind: SinkErrorKind::Denied,
            message: error.message,
            detail: None,
            hint: Some(error.hint),
        })?;
        let settings = settings.within(job.unreachable_limit());
        let topic = match &spec.topic {
            ToTopic::Name(topic) => Some(topic.clone()),
            ToTopic::By(_) => None,
        };
        if spec.delivery == Delivery::AtLeastOnce {
            return Ok(Box::new(PlainOutput::new(name, topic, settings, is_embedded, silence(job))));
        }
        let Some(home_topic) = spec.commit_topic.clone().or_else(|| topic.clone()) else {
            return Err(SinkError::new(SinkErrorKind::Failed, "computed topics need a commit_topic"));
        };
        let timeout = transaction_timeout(job, &properties)?;
        let cluster = self.cluster(job, (brokers, properties), settings, timeout);
        if let Some(append) = append {
            cluster.lock().unwrap_or_else(PoisonError::into_inner).one_appends(append);
        }
        Ok(Box::new(KafkaOutput { name, topic, home_topic, cluster }))
    }

    /// The sink of a job's dead letters for one topic. The embedded broker has no transactions.
    pub fn open_dead_letters(
        &mut self,
        job: &Job,
        name: &str,
        topic: &str,
        brokers: Option<&str>,
        embedded: Option<&str>,
    ) -> Result<Box<dyn Sink>, SinkError> {
        let mut spec = ToKafkaSpec {
            topic: ToTopic::Name(topic.to_owned()),
            brokers: brokers.map(str::to_owned),
            key: None,
            value: None,
            headers: None,
            partition: None,
            delivery: Delivery::ExactlyOnce,
            commit_topic: None,
            append: false,
            properties: BTreeMap::new(),
        };
        let (brokers, _) = connection(job, &spec)?;
        let mut beside = exact_outputs(job).filter_map(|spec| connection(job, spec).ok());
        // Where no output says so for them, all outputs of the job do.
        let mut append = exact_outputs(job).map(|spec| spec.append).reduce(|all, one| all && one);
        if brokers == EMBEDDED {
            spec.delivery = Delivery::AtLeastOnce;
        } else if let Some((brokers, properties)) = beside.find(|(other, _)| *other == brokers) {
            // A batch is one transaction on a cluster: beside such an output they go through its producer.
            (spec.brokers, spec.properties) = (Some(brokers), properties);
            append = None;
        }
        self.open_as(job, name.to_owned(), &spec, append, embedded)
    }

    fn cluster(
        &mut self,
        job: &Job,
        connection: Connection,
        settings: ClientSettings,
        timeout: Duration,
    ) -> Arc<Mutex<Cluster>> {
        self.clusters.retain(|(_, cluster)| cluster.strong_count() > 0);
        let known = self.clusters.iter().find(|(known, _)| *known == connection);
        if let Some(cluster) = known.and_then(|(_, cluster)| cluster.upgrade()) {
            return cluster;
        }
        let cluster =
            Arc::new(Mutex::new(Cluster::new(&job.name, settings, timeout, silence(job), self.in_use.clone())));
        self.clusters.push((connection, Arc::downgrade(&cluster)));
        cluster
    }
}

/// The steps whose output is part of a batch's transaction.
fn exact_outputs(job: &Job) -> impl Iterator<Item = &ToKafkaSpec> {
    job.steps.iter().filter_map(|step| match &step.operator {
        Operator::ToKafka(spec) if spec.delivery == Delivery::ExactlyOnce => Some(&**spec),
        _ => None,
    })
}

/// Several tries fit into `unreachable_limit`, so that the job ends soon after it.
fn silence(job: &Job) -> Silence {
    Silence::new((job.unreachable_limit() / 4).clamp(SHORTEST_SILENCE, LONGEST_SILENCE))
}

/// Brokers and properties of an output. One that names no brokers connects as the first kafka source does.
fn connection(job: &Job, spec: &ToKafkaSpec) -> Result<Connection, SinkError> {
    if let Some(brokers) = &spec.brokers {
        return Ok((brokers.clone(), spec.properties.clone()));
    }
    let source = job.sources.iter().find_map(|source| match &source.kind {
        SourceKind::Kafka(kafka) => Some(kafka),
        SourceKind::Queue { .. } => None,
    });
    let Some(source) = source else {
        return Err(SinkError::new(SinkErrorKind::Failed, "the output names no brokers, and no source does"));
    };
    let mut properties = source.properties.clone();
    properties.extend(spec.properties.clone());
    Ok((source.brokers.clone(), properties))
}

/// A batch's transaction is open while its rows are written; one that the brokers end earlier would fail every batch.
fn transaction_timeout(job: &Job, properties: &BTreeMap<String, Setting>) -> Result<Duration, SinkError> {
    let interval_ms = u64::try_from(job.batch_interval_ms).unwrap_or_default();
    let Some(Setting::Literal(given)) = properties.get("transaction.timeout.ms") else {
        return Ok(Duration::from_millis(
            interval_ms.saturating_mul(2).clamp(SHORTEST_TIMEOUT_MS, LONGEST_TRANSACTION_MS),
        ));
    };
    let refused = |detail: String| {
        Err(SinkError::new(SinkErrorKind::Failed, format!("transaction.timeout.ms = {given} cannot work"))
            .with(detail, "Leave it out: it is then twice the batch interval, at least 60 s and at most 15 min."))
    };
    match given.parse::<u64>() {
        Ok(ms) if ms >= interval_ms => Ok(Duration::from_millis(ms)),
        Ok(_) => refused(format!("It is shorter than the batch interval of {interval_ms} ms.")),
        Err(_) => refused("It is no number of milliseconds.".to_owned()),
    }
}

//! The Kafka source: direct reads of exact offset ranges, by assignment, never by subscription.
//!
//! The driver opens it and talks to it through [`Source`]. Inside, two planes are kept apart: the **control plane**
//! ([`control`]) asks which topics, partitions and offsets exist, on a handle that never fetches (a question on a
//! fetching handle waits behind its long poll); the **data plane** ([`DataPlane`]) reads the records of one range.
//!
//! Promises: a range read twice gives the same records, or a data-loss error with the exact numbers; every call ends by
//! its deadline and names brokers, topic and limit; credentials are read at open and never printed.
//!
//! Deliberately absent: consumer groups (a group is at most a mirror of what the checkpoint holds), a choice of what a
//! batch reads, retries beyond a call's deadline (the driver's business), HTTP (OIDC tokens come from a file).

mod certificate;
mod chunk;
pub mod control;
mod direct;
pub mod error;
pub mod events;
mod librdkafka;
mod mirror;
#[cfg(test)]
mod mock_tests;
pub mod native;
mod oauth;
pub mod properties;
mod quota;
mod range;
mod raw;
pub mod secret;
pub mod settings;
mod topic_ids;
mod topics;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    job::{Fetch, KafkaSpec, Setting},
    model::{OffsetRange, TopicPartition},
    source::{RangeReader, ReadOptions, Source, SourceError, watch::Watch},
};

use chunk::Formats;
use control::Control;
use direct::KafkaSource;
use librdkafka::{LibrdkafkaPlane, PlaneOptions};
use native::{NativePlane, PlaneConfig};
use settings::ClientSettings;

/// Who opens a source, and what the checkpoint knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    pub job_name: &'a str,
    pub source_name: &'a str,
    /// Bootstrap servers; for `embedded`, those of the embedded broker that was started for the job.
    pub brokers: &'a str,
    /// Consumer group that committed offsets are mirrored to.
    pub mirror_offsets_to: Option<&'a str>,
    /// Topic partitions with a stored offset, and the topic's id: their topics existed, so a missing one was deleted and is
    /// data loss.
    pub stored: &'a [(TopicPartition, Option<String>)],
}

/// Reads the records of offset ranges.
pub trait DataPlane: Send + Sync {
    /// Which partitions will be read and where each continues; between batches only.
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError>;

    /// The records of `range`, in offset order; concurrently for different topic partitions.
    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError>;

    /// Told once: who is asked while a read waits.
    fn watched_by(&mut self, _watch: &Arc<dyn Watch>) {}

    /// Topics that were made again since: what was fetched ahead is of the ones before. Between batches only.
    fn forget(&mut self, _topics: &[Arc<str>]) {}

    /// Whether it sees by itself that a topic was made again, whatever the plan believes.
    fn compares_topic_ids(&self) -> bool {
        false
    }

    /// Between batches: serves what the connections have to say, without waiting.
    fn poll(&self) {}
}

/// Opens a source. Properties are checked and secrets read; no answer of a broker is waited for.
pub fn open(spec: &KafkaSpec, opening: Opening<'_>) -> Result<Box<dyn Source>, SourceError> {
    // The embedded broker makes new topic ids at each start, over the same records.
    let ids = spec.brokers != "embedded";
    open_with(spec, opening, ids)
}

/// As [`open`], for one look at a topic: nobody compares topic ids, so none are asked for.
pub fn open_once(spec: &KafkaSpec, opening: Opening<'_>) -> Result<Box<dyn Source>, SourceError> {
    open_with(spec, opening, false)
}

fn open_with(spec: &KafkaSpec, opening: Opening<'_>, ids: bool) -> Result<Box<dyn Source>, SourceError> {
    let client_id = format!("kstream-{}", opening.job_name);
    let settings = ClientSettings::resolve(opening.brokers, &client_id, &spec.properties)?
        .within(Duration::from_millis(spec.unreachable_limit_ms));
    let control = Arc::new(Control::connect(&settings, spec.isolation, opening.source_name, ids)?);
    let plane = data_plane(spec, &opening, &settings, &control, spec.brokers == "embedded")?;
    Ok(Box::new(KafkaSource::new(spec, opening, settings, control, plane)))
}

/// Whether the brokers that a source reads and `others` are of one cluster, in whatever words each is named.
pub fn is_one_cluster(
    spec: &KafkaSpec,
    others: (&str, &BTreeMap<String, Setting>),
    job_name: &str,
    deadline: Instant,
) -> Result<bool, SourceError> {
    let id = |(brokers, properties)| {
        let settings = ClientSettings::resolve(brokers, &format!("kstream-{job_name}"), properties)?;
        Control::connect(&settings, spec.isolation, "clusters", false)?.cluster_id(deadline)
    };
    Ok(id((&spec.brokers, &spec.properties))? == id(others)?)
}

/// Chooses how records are fetched: by own connections where they can do what the properties ask.
fn data_plane(
    spec: &KafkaSpec,
    opening: &Opening<'_>,
    settings: &ClientSettings,
    control: &Arc<Control>,
    embedded: bool,
) -> Result<Box<dyn DataPlane>, SourceError> {
    let own = || {
        native::Settings::from_config(&PlaneConfig {
            source: Arc::from(opening.source_name),
            brokers: opening.brokers.to_owned(),
            client_id: settings.client_id().to_owned(),
            properties: settings.properties().clone(),
            isolation: spec.isolation,
            key_format: spec.key_format,
            value_format: spec.value_format,
            prefetch_memory_bytes: spec.prefetch_memory_bytes,
        })
    };
    match spec.fetch {
        Fetch::Native => own().map_err(|reason| {
            SourceError::refused(format!("fetch = \"native\" cannot be used: {reason}"), "Set fetch = \"auto\".")
        }),
        // The mock cluster does not wake a waiting fetch; librdkafka is told not to wait there.
        Fetch::Auto if !embedded => match own() {
            Ok(own) => Ok(own),
            Err(reason) => {
                tracing::info!(source = opening.source_name, %reason, "fetching through librdkafka");
                return Ok(through_librdkafka(spec, opening, settings, control, embedded));
            }
        },
        Fetch::Auto | Fetch::Librdkafka => return Ok(through_librdkafka(spec, opening, settings, control, embedded)),
    }
    .and_then(|own| Ok(Box::new(NativePlane::open(own)?) as Box<dyn DataPlane>))
}

fn through_librdkafka(
    spec: &KafkaSpec,
    opening: &Opening<'_>,
    settings: &ClientSettings,
    control: &Arc<Control>,
    embedded: bool,
) -> Box<dyn DataPlane> {
    let options = PlaneOptions {
        source: opening.source_name.to_owned(),
        isolation: spec.isolation,
        formats: Formats { key: spec.key_format, value: spec.value_format },
        prefetch_memory_bytes: spec.prefetch_memory_bytes,
        max_records_per_partition: spec.max_records_per_partition,
        embedded,
    };
    Box::new(LibrdkafkaPlane::new(settings.clone(), options, Arc::clone(control)))
}

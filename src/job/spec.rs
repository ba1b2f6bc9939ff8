//! What a validated job consists of: the job itself, its sources and their settings.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    expr::Library,
    model::{TopicPartition, ValueFormat},
};

use super::{
    content::Content,
    operator::Step,
    places::Places,
    setting::{OnError, Setting},
    whereabouts::Ran,
};

/// How long brokers may be away where no source of the job says it.
pub const DEFAULT_UNREACHABLE_LIMIT_MS: u64 = 120_000;

/// A job whose every part has been checked.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
    pub batch_interval_ms: i64,
    pub checkpoint_dir: PathBuf,
    pub on_error: OnError,
    pub memory_limit_bytes: u64,
    pub shuffle_partitions: u32,
    /// IANA name (or fixed offset) that goes into the job text, and the zone itself.
    pub time_zone: jiff::tz::TimeZone,
    /// In the order of the file; `[source]` is named `source`.
    pub sources: Vec<SourceSpec>,
    pub library: Library,
    /// The text of `[functions]`, also where it came from a file.
    pub functions: Option<String>,
    /// In the order of the file; inputs always refer to sources or to other steps, never in a circle.
    pub steps: Vec<Step>,
    pub retention: Retention,
    /// Consumer group to which committed offsets are mirrored for lag tools.
    pub mirror_offsets_to: Option<String>,
    /// What relative paths of this job start from: the working directory when it was loaded.
    pub directory: PathBuf,
    /// Where it ran, if it is the job of a checkpoint.
    pub ran: Ran,
    /// Where topics of dead letters are today, by topic and brokers as this job of a checkpoint has them.
    pub letters_at: BTreeMap<(String, Option<String>), Option<String>>,
    /// What every `initial` and queue file held when the job was loaded, by its absolute path.
    pub file_contents: BTreeMap<PathBuf, Content>,
    /// Where its functions are written, for messages.
    pub places: Places,
}

impl Job {
    /// How long the brokers of outputs may be away: as long as those of the most patient source.
    pub fn unreachable_limit(&self) -> Duration {
        let limits = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Kafka(kafka) => Some(kafka.unreachable_limit_ms),
            SourceKind::Queue { .. } => None,
        });
        Duration::from_millis(limits.max().unwrap_or(DEFAULT_UNREACHABLE_LIMIT_MS))
    }
}

/// What is kept for `replay` and `rewind`; whichever is reached first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub batches: u64,
    pub age_ms: Option<i64>,
    pub bytes: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct SourceSpec {
    pub name: Arc<str>,
    pub kind: SourceKind,
    pub on_error: Option<OnError>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a job has a handful of sources")]
pub enum SourceKind {
    Kafka(KafkaSpec),
    Queue { path: PathBuf, partitions: u32 },
}

#[derive(Debug, Clone)]
pub struct KafkaSpec {
    /// `host:port,...`, or `embedded`.
    pub brokers: String,
    pub topics: TopicSelection,
    pub start: Begin,
    pub max_records_per_partition: u64,
    pub back_pressure: Option<BackPressure>,
    pub on_data_loss: OnDataLoss,
    pub isolation: Isolation,
    pub key_format: ValueFormat,
    pub value_format: ValueFormat,
    pub fetch: Fetch,
    pub prefetch_memory_bytes: u64,
    /// librdkafka properties that kstream does not own, secrets resolved late.
    pub properties: BTreeMap<String, Setting>,
    /// How long brokers may be away before the job gives up (exit 6).
    pub unreachable_limit_ms: u64,
    pub embedded: Option<EmbeddedSpec>,
}

/// Where partitions without a stored offset begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// First record at or after this time, milliseconds since the epoch; latest where there is none.
    Time(i64),
    /// Per partition; partitions not named begin at earliest.
    Offsets(Vec<(TopicPartition, i64)>),
}

/// [`Start`] as a job says it, possibly relative to the time of the first run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    At(Start),
    Ago { ms: i64 },
}

impl Begin {
    pub fn resolve(&self, now_ms: i64) -> Start {
        match self {
            Begin::At(start) => start.clone(),
            Begin::Ago { ms } => Start::Time(now_ms.saturating_sub(*ms)),
        }
    }
}

#[derive(Debug, Clone)]
pub enum TopicSelection {
    Topics(Vec<Arc<str>>),
    Pattern(regex::Regex),
    Assign(Vec<TopicPartition>),
}

impl TopicSelection {
    /// Whether `topic` is among them, or some of its partitions.
    pub fn reads(&self, topic: &str) -> bool {
        match self {
            TopicSelection::Topics(topics) => topics.iter().any(|read| **read == *topic),
            TopicSelection::Pattern(pattern) => pattern.is_match(topic),
            TopicSelection::Assign(partitions) => partitions.iter().any(|tp| *tp.topic == *topic),
        }
    }

    /// Whether `tp` is read.
    pub fn reads_partition(&self, tp: &TopicPartition) -> bool {
        match self {
            TopicSelection::Assign(partitions) => partitions.contains(tp),
            TopicSelection::Topics(_) | TopicSelection::Pattern(_) => self.reads(&tp.topic),
        }
    }
}

/// Spark's PID estimator (spark.streaming.backpressure.*), rates in records a second for the whole source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackPressure {
    pub initial_rate: Option<f64>,
    pub proportional: f64,
    pub integral: f64,
    pub derived: f64,
    pub min_rate: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDataLoss {
    Fail,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    Auto,
    Native,
    Librdkafka,
}

/// The embedded broker's deterministic feed.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedSpec {
    pub lines: PathBuf,
    pub repeat: u32,
    /// Records a second over all partitions.
    pub rate: f64,
    pub partitions: u32,
}

//! Job files: text to a validated [`Job`], every mistake with line and column, all at once.
//!
//! No connection is made and nothing is written. What a job *means* (stages, shuffles) is `lineage`'s business.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    expr::{Function, Library},
    model::{TopicPartition, ValueFormat},
    source::Start,
};

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
    /// In the order of the file; inputs always refer to sources or to other steps, never in a circle.
    pub steps: Vec<Step>,
    pub retention: Retention,
    /// Consumer group to which committed offsets are mirrored for lag tools.
    pub mirror_offsets_to: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    Fail,
    Skip,
    DeadLetterFile(PathBuf),
    DeadLetterTopic { topic: String, brokers: Option<String> },
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
pub enum SourceKind {
    Kafka(KafkaSpec),
    Queue { path: PathBuf, partitions: u32 },
}

#[derive(Debug, Clone)]
pub struct KafkaSpec {
    /// `host:port,...`, or `embedded`.
    pub brokers: String,
    pub topics: TopicSelection,
    pub start: Start,
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

/// A literal, or where the secret is to be read from at start. Printing one never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Literal(String),
    SecretEnv(String),
    SecretFile(PathBuf),
}

#[derive(Debug, Clone)]
pub enum TopicSelection {
    Topics(Vec<Arc<str>>),
    Pattern(regex::Regex),
    Assign(Vec<TopicPartition>),
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

/// One operator of the job.
#[derive(Debug, Clone)]
pub struct Step {
    /// The step's `name`, else `operator#ordinal` (ordinal among the unnamed steps of that operator, from 1).
    pub id: Arc<str>,
    pub named: bool,
    pub operator: Operator,
    /// First the step's own input, then the others (union, joins), in order.
    pub inputs: Vec<Input>,
    pub on_error: Option<OnError>,
    /// Line of the step in the job file, 1-based, for messages.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Index into [`Job::sources`].
    Source(usize),
    /// Index into [`Job::steps`].
    Step(usize),
}

/// A window in milliseconds, multiples of the input's slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    pub length_ms: i64,
    pub slide_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    LeftOuter,
    RightOuter,
    FullOuter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    Mapped,
    Snapshots,
}

/// The operators of design.md section 3. `partitions` is resolved (the step's own, else the job's `shuffle_partitions`).
#[derive(Debug, Clone)]
pub enum Operator {
    Map(Function),
    Filter(Function),
    FlatMap(Function),
    MapValues(Function),
    FlatMapValues(Function),
    MapPartitions(Function),
    Glom,
    Union,
    Repartition {
        partitions: u32,
    },
    PartitionBy {
        partitions: u32,
    },
    Count,
    CountByValue {
        partitions: u32,
    },
    Distinct {
        partitions: u32,
    },
    Reduce(Function),
    ReduceByKey {
        func: Function,
        partitions: u32,
    },
    GroupByKey {
        partitions: u32,
    },
    CombineByKey {
        create: Function,
        merge_value: Function,
        merge_combiners: Function,
        partitions: u32,
    },
    Join {
        kind: JoinKind,
        partitions: u32,
    },
    Cogroup {
        partitions: u32,
    },
    SortBy {
        key: Function,
        descending: bool,
    },
    Take(u64),
    Transform(Function),
    UpdateStateByKey {
        func: Function,
        initial: Option<PathBuf>,
        partitions: u32,
    },
    MapWithState {
        func: Function,
        timeout_ms: Option<i64>,
        initial: Option<PathBuf>,
        emit: Emit,
        partitions: u32,
    },
    Window(WindowSpec),
    CountByWindow(WindowSpec),
    CountByValueAndWindow {
        window: WindowSpec,
        partitions: u32,
    },
    GroupByKeyAndWindow {
        window: WindowSpec,
        partitions: u32,
    },
    ReduceByWindow {
        func: Function,
        inverse: Option<Function>,
        window: WindowSpec,
    },
    ReduceByKeyAndWindow {
        func: Function,
        inverse: Option<Function>,
        filter: Option<Function>,
        window: WindowSpec,
        partitions: u32,
    },
    Pprint {
        num: u64,
        to: Option<LogSpec>,
    },
    SaveAsTextFiles {
        prefix: String,
        suffix: Option<String>,
    },
    ToFile {
        path: PathBuf,
        format: FileFormat,
        layout: FileLayout,
    },
    ToKafka(Box<ToKafkaSpec>),
    Command {
        run: Vec<String>,
        timeout_ms: u64,
    },
}

/// An exactly-once log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    pub path: PathBuf,
    pub rotate_bytes: Option<u64>,
    /// Whether the first batch may write behind what the file already holds.
    pub append: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    Text,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLayout {
    Batches,
    Append,
}

#[derive(Debug, Clone)]
pub struct ToKafkaSpec {
    pub topic: ToTopic,
    /// Defaults to the brokers of the job's first kafka source.
    pub brokers: Option<String>,
    pub key: Option<Function>,
    pub value: Option<Function>,
    pub headers: Option<Function>,
    pub partition: Option<Function>,
    pub delivery: Delivery,
    pub commit_topic: Option<String>,
    pub append: bool,
    pub properties: BTreeMap<String, Setting>,
}

#[derive(Debug, Clone)]
pub enum ToTopic {
    Name(String),
    By(Function),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
}

impl Operator {
    /// Whether the step is an output.
    pub fn is_output(&self) -> bool {
        matches!(
            self,
            Operator::Pprint { .. }
                | Operator::SaveAsTextFiles { .. }
                | Operator::ToFile { .. }
                | Operator::ToKafka(_)
                | Operator::Command { .. }
        )
    }
}

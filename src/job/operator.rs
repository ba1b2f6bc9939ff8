//! The steps of a job and their operators, with every parameter resolved.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::expr::Function;

use super::setting::{OnError, Setting};

/// One operator of the job.
#[derive(Debug, Clone)]
pub struct Step {
    /// The step's `name`, else `operator#ordinal` (ordinal among the unnamed steps of that operator, from 1).
    pub id: Arc<str>,
    pub named: bool,
    /// `operator#ordinal` of the unnamed step whose state this one takes over.
    pub was: Option<Arc<str>>,
    pub operator: Operator,
    /// First the step's own input, then the others (union, joins), in order.
    pub inputs: Vec<Input>,
    pub on_error: Option<OnError>,
    /// Line of the step in the job file, 1-based, for messages.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Index into [`Job::sources`](super::Job::sources).
    Source(usize),
    /// Index into [`Job::steps`](super::Job::steps).
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

/// The operators of a job. `partitions` is resolved (the step's own, else the job's `shuffle_partitions`).
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
        /// Of one growing file: whether the first batch may write behind what it already holds.
        append: bool,
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

/// How long an output's transaction may last where the user says nothing, milliseconds: what brokers allow by default
/// (`transaction.max.timeout.ms`).
pub const LONGEST_TRANSACTION_MS: u64 = 900_000;

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
    /// The function that is its main argument.
    pub fn function(&self) -> Option<&Function> {
        match self {
            Operator::Map(function)
            | Operator::Filter(function)
            | Operator::FlatMap(function)
            | Operator::MapValues(function)
            | Operator::FlatMapValues(function)
            | Operator::MapPartitions(function)
            | Operator::Reduce(function)
            | Operator::Transform(function)
            | Operator::SortBy { key: function, .. }
            | Operator::ReduceByKey { func: function, .. }
            | Operator::CombineByKey { merge_value: function, .. }
            | Operator::UpdateStateByKey { func: function, .. }
            | Operator::MapWithState { func: function, .. }
            | Operator::ReduceByWindow { func: function, .. }
            | Operator::ReduceByKeyAndWindow { func: function, .. } => Some(function),
            _ => None,
        }
    }

    /// The file its state begins with.
    pub fn initial(&self) -> Option<&Path> {
        match self {
            Operator::UpdateStateByKey { initial, .. } | Operator::MapWithState { initial, .. } => initial.as_deref(),
            _ => None,
        }
    }

    /// Its key in the job file.
    pub fn name(&self) -> &'static str {
        match self {
            Operator::Map(_) => "map",
            Operator::Filter(_) => "filter",
            Operator::FlatMap(_) => "flat_map",
            Operator::MapValues(_) => "map_values",
            Operator::FlatMapValues(_) => "flat_map_values",
            Operator::MapPartitions(_) => "map_partitions",
            Operator::Glom => "glom",
            Operator::Union => "union",
            Operator::Repartition { .. } => "repartition",
            Operator::PartitionBy { .. } => "partition_by",
            Operator::Count => "count",
            Operator::CountByValue { .. } => "count_by_value",
            Operator::Distinct { .. } => "distinct",
            Operator::Reduce(_) => "reduce",
            Operator::ReduceByKey { .. } => "reduce_by_key",
            Operator::GroupByKey { .. } => "group_by_key",
            Operator::CombineByKey { .. } => "combine_by_key",
            Operator::Join { kind: JoinKind::Inner, .. } => "join",
            Operator::Join { kind: JoinKind::LeftOuter, .. } => "left_outer_join",
            Operator::Join { kind: JoinKind::RightOuter, .. } => "right_outer_join",
            Operator::Join { kind: JoinKind::FullOuter, .. } => "full_outer_join",
            Operator::Cogroup { .. } => "cogroup",
            Operator::SortBy { .. } => "sort_by",
            Operator::Take(_) => "take",
            Operator::Transform(_) => "transform",
            Operator::UpdateStateByKey { .. } => "update_state_by_key",
            Operator::MapWithState { .. } => "map_with_state",
            Operator::Window(_) => "window",
            Operator::CountByWindow(_) => "count_by_window",
            Operator::CountByValueAndWindow { .. } => "count_by_value_and_window",
            Operator::GroupByKeyAndWindow { .. } => "group_by_key_and_window",
            Operator::ReduceByWindow { .. } => "reduce_by_window",
            Operator::ReduceByKeyAndWindow { .. } => "reduce_by_key_and_window",
            Operator::Pprint { .. } => "pprint",
            Operator::SaveAsTextFiles { .. } => "save_as_text_files",
            Operator::ToFile { .. } => "to_file",
            Operator::ToKafka(_) => "to_kafka",
            Operator::Command { .. } => "command",
        }
    }

    /// Length and slide, of the operators that have them.
    pub fn window(&self) -> Option<WindowSpec> {
        match self {
            Operator::Window(window) | Operator::CountByWindow(window) => Some(*window),
            Operator::CountByValueAndWindow { window, .. }
            | Operator::GroupByKeyAndWindow { window, .. }
            | Operator::ReduceByWindow { window, .. }
            | Operator::ReduceByKeyAndWindow { window, .. } => Some(*window),
            _ => None,
        }
    }

    /// Settles a slide that was left to the input.
    pub(super) fn set_slide(&mut self, slide_ms: i64) {
        match self {
            Operator::Window(window) | Operator::CountByWindow(window) => window.slide_ms = slide_ms,
            Operator::CountByValueAndWindow { window, .. }
            | Operator::GroupByKeyAndWindow { window, .. }
            | Operator::ReduceByWindow { window, .. }
            | Operator::ReduceByKeyAndWindow { window, .. } => window.slide_ms = slide_ms,
            _ => {}
        }
    }

    /// Whether the step keeps something from one batch to the next.
    pub fn is_stateful(&self) -> bool {
        self.window().is_some() || matches!(self, Operator::UpdateStateByKey { .. } | Operator::MapWithState { .. })
    }

    /// Shuffle partitions, of the operators that shuffle by key or value.
    pub fn partitions(&self) -> Option<u32> {
        match self {
            Operator::Repartition { partitions }
            | Operator::PartitionBy { partitions }
            | Operator::CountByValue { partitions }
            | Operator::Distinct { partitions }
            | Operator::ReduceByKey { partitions, .. }
            | Operator::GroupByKey { partitions }
            | Operator::CombineByKey { partitions, .. }
            | Operator::Join { partitions, .. }
            | Operator::Cogroup { partitions }
            | Operator::UpdateStateByKey { partitions, .. }
            | Operator::MapWithState { partitions, .. }
            | Operator::CountByValueAndWindow { partitions, .. }
            | Operator::GroupByKeyAndWindow { partitions, .. }
            | Operator::ReduceByKeyAndWindow { partitions, .. } => Some(*partitions),
            _ => None,
        }
    }

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

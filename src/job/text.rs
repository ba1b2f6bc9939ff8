//! The job text: a job as canonical TOML, stored with every plan, from which the same job is built again.
//!
//! It is a job file with everything resolved: overrides, environment and defaults filled in, inputs explicit, paths
//! absolute, function files inlined, and a table `[kstream]` with the versions and file hashes that results depend on, and
//! where relative paths started from and the checkpoint was.
//! Secrets are references. What belongs to a start and not to a job (brokers, connection properties, memory, where the
//! checkpoint lies) is taken from the current start when the text is read, so that it may change between the two; brokers
//! and properties are in the text only for sources and outputs that the current job no longer has.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use toml::{Table, Value};

use crate::model::{ValueFormat, encode::VALUE_ENCODING, key::PARTITIONING_HASH};

use super::{
    load::{JobError, load_text},
    operator::{
        Delivery, Emit, FileFormat, FileLayout, Input, LogSpec, Operator, Step, ToKafkaSpec, ToTopic, WindowSpec,
    },
    overrides::Overrides,
    path::resolved,
    places::STORED,
    quantity::{duration_text, time_zone_text},
    recorded::Recorded,
    setting::{OnError, Setting},
    spec::{
        BackPressure, Begin, Fetch, Isolation, Job, KafkaSpec, OnDataLoss, SourceKind, SourceSpec, Start,
        TopicSelection,
    },
    topics::pattern_text,
};

impl Job {
    /// Canonical: equal jobs have equal texts where they lie in the same place.
    pub fn text(&self) -> String {
        let mut root = Table::new();
        put(&mut root, "name", literal(&self.name));
        put(&mut root, "batch_interval", duration(self.batch_interval_ms));
        put_on_error(self, &mut root, Some(&self.on_error));
        put(&mut root, "shuffle_partitions", integer(self.shuffle_partitions));
        put(&mut root, "time_zone", literal(&time_zone_text(&self.time_zone).unwrap_or_else(|| "UTC".to_owned())));
        if let Some(group) = &self.mirror_offsets_to {
            put(&mut root, "mirror_offsets_to", literal(group));
        }
        put(&mut root, "retention", self.retention_table());
        if let Some(code) = &self.functions {
            let mut functions = Table::new();
            put(&mut functions, "code", code.as_str());
            put(&mut root, "functions", functions);
        }
        let mut sources = Table::new();
        for source in &self.sources {
            put(&mut sources, &source.name, source_table(self, source));
        }
        put(&mut root, "sources", sources);
        let steps = self.steps.iter().enumerate().map(|(idx, step)| Value::Table(self.step_table(idx, step)));
        put(&mut root, "steps", Value::Array(steps.collect()));
        put(&mut root, "kstream", self.recorded_table());
        root.to_string()
    }

    /// Builds the job of a text again. `connection` is the job of the current start, which says how to reach Kafka.
    pub fn from_text(text: &str, connection: &Job) -> Result<Job, JobError> {
        let recorded = Recorded { connection };
        let nothing = |_: &str| None;
        let directory = connection.directory.clone();
        let overrides = Overrides::default();
        let (mut job, _) = load_text(STORED, text.to_owned(), &overrides, &nothing, directory, Some(&recorded))?;
        job.connect_like(connection);
        Ok(job)
    }

    /// Takes over what belongs to the start of a process.
    fn connect_like(&mut self, connection: &Job) {
        self.memory_limit_bytes = connection.memory_limit_bytes;
        self.checkpoint_dir.clone_from(&connection.checkpoint_dir);
        self.letters_at = self.letters_like(connection);
        for source in &mut self.sources {
            let current = connection.sources.iter().find(|current| current.name == source.name);
            if let (SourceKind::Kafka(kafka), Some(SourceKind::Kafka(current))) =
                (&mut source.kind, current.map(|current| &current.kind))
            {
                kafka.brokers.clone_from(&current.brokers);
                kafka.properties.clone_from(&current.properties);
                kafka.fetch = current.fetch;
                kafka.prefetch_memory_bytes = current.prefetch_memory_bytes;
                kafka.unreachable_limit_ms = current.unreachable_limit_ms;
            }
        }
        for step in &mut self.steps {
            let current = connection.steps.iter().find(|current| current.id == step.id);
            if let (Operator::ToKafka(output), Some(Operator::ToKafka(current))) =
                (&mut step.operator, current.map(|current| &current.operator))
            {
                output.brokers.clone_from(&current.brokers);
                output.properties.clone_from(&current.properties);
            }
        }
    }

    fn retention_table(&self) -> Table {
        let mut table = Table::new();
        put(&mut table, "batches", integer(self.retention.batches));
        if let Some(age) = self.retention.age_ms {
            put(&mut table, "age", duration(age));
        }
        if let Some(bytes) = self.retention.bytes {
            put(&mut table, "bytes", integer(bytes));
        }
        table
    }

    fn recorded_table(&self) -> Table {
        let mut table = Table::new();
        put(&mut table, "value_encoding", VALUE_ENCODING);
        put(&mut table, "partitioning_hash", PARTITIONING_HASH);
        if self.writes_files() {
            let checkpoint = resolved(&self.absolute(&self.checkpoint_dir));
            put(&mut table, "checkpoint", literal(&checkpoint.to_string_lossy()));
        }
        let relative = self.relative_paths();
        if !relative.is_empty() {
            put(&mut table, "directory", literal(&self.directory.to_string_lossy()));
            let relative: Vec<String> = relative.iter().map(|path| literal(path)).collect();
            put(&mut table, "relative", relative);
        }
        let mut files = Table::new();
        for (path, content) in &self.file_contents {
            put(&mut files, &path.to_string_lossy(), content.to_string());
        }
        put(&mut table, "files", files);
        table
    }

    /// One element of `[[steps]]`.
    pub(super) fn step_table(&self, idx: usize, step: &Step) -> Table {
        let mut table = Table::new();
        if step.named {
            put(&mut table, "name", &*step.id);
        }
        if let Some(was) = &step.was {
            put(&mut table, "was", literal(was));
        }
        let follows = |input: &Input| matches!(input, Input::Step(before) if before + 1 == idx);
        let mut inputs = step.inputs.iter();
        if let Some(own) = inputs.next().filter(|own| !follows(own)) {
            put(&mut table, "from", self.input_name(*own));
        }
        let others: Vec<String> = inputs.map(|other| self.input_name(*other)).collect();
        put_on_error(self, &mut table, step.on_error.as_ref());
        put(&mut table, step.operator.name(), self.operator_value(&step.operator, others));
        table
    }

    /// What a step does, whatever its name and its inputs.
    pub(super) fn operator_text(&self, operator: &Operator) -> String {
        format!("{} = {}", operator.name(), self.operator_value(operator, Vec::new()))
    }

    fn input_name(&self, input: Input) -> String {
        let name = match input {
            Input::Source(idx) => self.sources.get(idx).map(|source| &source.name),
            Input::Step(idx) => self.steps.get(idx).map(|step| &step.id),
        };
        name.map_or_else(String::new, |name| name.to_string())
    }

    fn operator_value(&self, operator: &Operator, others: Vec<String>) -> Value {
        let mut table = Table::new();
        if let Some(window) = operator.window() {
            put_window(&mut table, window);
        }
        match operator {
            Operator::Map(func)
            | Operator::Filter(func)
            | Operator::FlatMap(func)
            | Operator::MapValues(func)
            | Operator::FlatMapValues(func)
            | Operator::MapPartitions(func)
            | Operator::Reduce(func)
            | Operator::Transform(func) => return Value::from(func.source()),
            Operator::Glom | Operator::Count => return Value::Boolean(true),
            Operator::Union => return Value::from(others),
            Operator::Repartition { partitions } | Operator::PartitionBy { partitions } => return integer(*partitions),
            Operator::Take(num) => return integer(*num),
            Operator::CountByValue { .. } | Operator::Distinct { .. } | Operator::GroupByKey { .. } => {}
            Operator::Window(_) | Operator::CountByWindow(_) => {}
            Operator::CountByValueAndWindow { .. } | Operator::GroupByKeyAndWindow { .. } => {}
            Operator::ReduceByKey { func, .. } => put(&mut table, "func", func.source()),
            Operator::CombineByKey { create, merge_value, merge_combiners, .. } => {
                put(&mut table, "create", create.source());
                put(&mut table, "merge_value", merge_value.source());
                put(&mut table, "merge_combiners", merge_combiners.source());
            }
            Operator::Join { .. } | Operator::Cogroup { .. } => {
                put(&mut table, "with", others.into_iter().next().unwrap_or_default());
            }
            Operator::SortBy { key, descending } => {
                put(&mut table, "key", key.source());
                put(&mut table, "descending", *descending);
            }
            Operator::UpdateStateByKey { func, initial, .. } => {
                put(&mut table, "func", func.source());
                self.put_path(&mut table, "initial", initial.as_deref());
            }
            Operator::MapWithState { func, timeout_ms, initial, emit, .. } => {
                put(&mut table, "func", func.source());
                if let Some(timeout) = timeout_ms {
                    put(&mut table, "timeout", duration(*timeout));
                }
                self.put_path(&mut table, "initial", initial.as_deref());
                put(&mut table, "emit", if *emit == Emit::Mapped { "mapped" } else { "snapshots" });
            }
            Operator::ReduceByWindow { func, inverse, .. } => {
                put(&mut table, "func", func.source());
                if let Some(inverse) = inverse {
                    put(&mut table, "inverse", inverse.source());
                }
            }
            Operator::ReduceByKeyAndWindow { func, inverse, filter, .. } => {
                put(&mut table, "func", func.source());
                for (key, func) in [("inverse", inverse), ("filter", filter)] {
                    if let Some(func) = func {
                        put(&mut table, key, func.source());
                    }
                }
            }
            Operator::Pprint { num, to } => {
                put(&mut table, "num", integer(*num));
                if let Some(LogSpec { path, rotate_bytes, append }) = to {
                    self.put_path(&mut table, "to", Some(path));
                    if let Some(bytes) = rotate_bytes {
                        put(&mut table, "rotate", integer(*bytes));
                    }
                    put(&mut table, "append", *append);
                }
            }
            Operator::SaveAsTextFiles { prefix, suffix } => {
                self.put_path(&mut table, "prefix", Some(Path::new(prefix)));
                if let Some(suffix) = suffix {
                    put(&mut table, "suffix", literal(suffix));
                }
            }
            Operator::ToFile { path, format, layout, append } => {
                self.put_path(&mut table, "path", Some(path));
                put(&mut table, "format", file_format(*format));
                put(&mut table, "layout", if *layout == FileLayout::Batches { "batches" } else { "append" });
                if *append {
                    put(&mut table, "append", true);
                }
            }
            Operator::ToKafka(spec) => put_to_kafka(self, &mut table, spec),
            Operator::Command { run, timeout_ms } => {
                let run: Vec<String> = run.iter().map(|word| literal(word)).collect();
                put(&mut table, "run", run);
                put(&mut table, "timeout", duration(i64::try_from(*timeout_ms).unwrap_or(i64::MAX)));
            }
        }
        if let Some(partitions) = operator.partitions() {
            put(&mut table, "partitions", integer(partitions));
        }
        Value::Table(table)
    }

    fn put_path(&self, table: &mut Table, key: &str, path: Option<&Path>) {
        if let Some(path) = path {
            put(table, key, literal(&self.absolute(path).to_string_lossy()));
        }
    }

    /// Where a path of this job leads.
    pub fn absolute(&self, path: &Path) -> std::path::PathBuf {
        let joined = self.directory.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

/// A string in which nothing may be replaced when it is read again.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn integer(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

fn duration(ms: i64) -> String {
    duration_text(ms)
}

fn put_window(table: &mut Table, window: WindowSpec) {
    put(table, "length", duration(window.length_ms));
    put(table, "slide", duration(window.slide_ms));
}

fn put_on_error(job: &Job, table: &mut Table, on_error: Option<&OnError>) {
    let word = match on_error {
        None => return,
        Some(OnError::Fail) => "fail",
        Some(OnError::Skip) => "skip",
        Some(OnError::DeadLetterFile(_) | OnError::DeadLetterTopic { .. }) => "dead_letter",
    };
    put(table, "on_error", word);
    let mut letter = Table::new();
    match on_error {
        Some(OnError::DeadLetterFile(path)) => job.put_path(&mut letter, "file", Some(path)),
        Some(OnError::DeadLetterTopic { topic, brokers }) => {
            put(&mut letter, "topic", literal(topic));
            if let Some(brokers) = brokers {
                put(&mut letter, "brokers", literal(brokers));
            }
        }
        _ => return,
    }
    put(table, "dead_letter", letter);
}

/// The keys `on_error` and `dead_letter` of the job.
pub(super) fn on_error_table(job: &Job) -> Table {
    let mut table = Table::new();
    put_on_error(job, &mut table, Some(&job.on_error));
    table
}

fn file_format(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Text => "text",
        FileFormat::Json => "json",
        FileFormat::Csv => "csv",
    }
}

fn put_to_kafka(job: &Job, table: &mut Table, spec: &ToKafkaSpec) {
    match &spec.topic {
        ToTopic::Name(name) => put(table, "topic", literal(name)),
        ToTopic::By(func) => put(table, "topic_by", func.source()),
    }
    if let Some(brokers) = &spec.brokers {
        put(table, "brokers", literal(brokers));
    }
    let functions =
        [("key", &spec.key), ("value", &spec.value), ("headers", &spec.headers), ("partition", &spec.partition)];
    for (key, func) in functions {
        if let Some(func) = func {
            put(table, key, func.source());
        }
    }
    let exactly_once = spec.delivery == Delivery::ExactlyOnce;
    put(table, "delivery", if exactly_once { "exactly_once" } else { "at_least_once" });
    if let Some(topic) = &spec.commit_topic {
        put(table, "commit_topic", literal(topic));
    }
    put(table, "append", spec.append);
    put(table, "properties", properties_table(job, &spec.properties));
}

fn properties_table(job: &Job, properties: &BTreeMap<String, Setting>) -> Table {
    let mut table = Table::new();
    for (name, setting) in properties {
        let mut reference = Table::new();
        match setting {
            Setting::Literal(text) => {
                put(&mut table, name, literal(text));
                continue;
            }
            Setting::SecretEnv(variable) => put(&mut reference, "env", literal(variable)),
            Setting::SecretFile(path) => job.put_path(&mut reference, "file", Some(path)),
        }
        put(&mut table, name, reference);
    }
    table
}

/// One element of `[sources]`.
pub(super) fn source_table(job: &Job, source: &SourceSpec) -> Table {
    let mut table = Table::new();
    match &source.kind {
        SourceKind::Kafka(kafka) => put_kafka(job, &mut table, kafka),
        SourceKind::Queue { path, partitions } => {
            put(&mut table, "kind", "queue");
            job.put_path(&mut table, "path", Some(path));
            put(&mut table, "partitions", integer(*partitions));
        }
    }
    put_on_error(job, &mut table, source.on_error.as_ref());
    table
}

fn put_kafka(job: &Job, table: &mut Table, kafka: &KafkaSpec) {
    put(table, "kind", "kafka");
    put(table, "brokers", literal(&kafka.brokers));
    put_topics(table, &kafka.topics);
    put(table, "start", start_value(&kafka.start));
    put(table, "max_records_per_partition", integer(kafka.max_records_per_partition));
    put(table, "back_pressure", back_pressure_value(kafka.back_pressure));
    put(table, "on_data_loss", if kafka.on_data_loss == OnDataLoss::Fail { "fail" } else { "skip" });
    let committed = kafka.isolation == Isolation::ReadCommitted;
    put(table, "isolation", if committed { "read_committed" } else { "read_uncommitted" });
    put(table, "key_format", value_format(kafka.key_format));
    put(table, "value_format", value_format(kafka.value_format));
    let fetch = match kafka.fetch {
        Fetch::Auto => "auto",
        Fetch::Native => "native",
        Fetch::Librdkafka => "librdkafka",
    };
    put(table, "fetch", fetch);
    put(table, "prefetch_memory", integer(kafka.prefetch_memory_bytes));
    put(table, "unreachable_limit", duration(i64::try_from(kafka.unreachable_limit_ms).unwrap_or(i64::MAX)));
    put(table, "properties", properties_table(job, &kafka.properties));
    if let Some(embedded) = &kafka.embedded {
        let mut feed = Table::new();
        job.put_path(&mut feed, "lines", Some(&embedded.lines));
        put(&mut feed, "repeat", integer(embedded.repeat));
        put(&mut feed, "rate", embedded.rate);
        put(&mut feed, "partitions", integer(embedded.partitions));
        put(table, "embedded", feed);
    }
}

fn put_topics(table: &mut Table, topics: &TopicSelection) {
    match topics {
        TopicSelection::Topics(topics) => {
            let names: Vec<String> = topics.iter().map(|topic| topic.to_string()).collect();
            put(table, "topics", names);
        }
        TopicSelection::Pattern(pattern) => put(table, "topic_pattern", literal(pattern_text(pattern))),
        TopicSelection::Assign(assigned) => {
            let mut topics = Table::new();
            for tp in assigned {
                let partitions = topics.entry(tp.topic.to_string()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(partitions) = partitions {
                    partitions.push(integer(tp.partition));
                }
            }
            put(table, "assign", topics);
        }
    }
}

fn start_value(start: &Begin) -> Value {
    match start {
        Begin::Ago { ms } => Value::from(format!("-{}", duration_text(*ms))),
        Begin::At(Start::Earliest) => Value::from("earliest"),
        Begin::At(Start::Latest) => Value::from("latest"),
        Begin::At(Start::Time(ms)) => {
            let timestamp = Timestamp::from_millisecond(*ms).unwrap_or(Timestamp::UNIX_EPOCH);
            Value::from(timestamp.to_string())
        }
        Begin::At(Start::Offsets(offsets)) => {
            let mut topics = Table::new();
            for (tp, offset) in offsets {
                let partitions = topics.entry(tp.topic.to_string()).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(partitions) = partitions {
                    put(partitions, &tp.partition.to_string(), integer(*offset));
                }
            }
            Value::Table(topics)
        }
    }
}

fn back_pressure_value(back_pressure: Option<BackPressure>) -> Value {
    let Some(settings) = back_pressure else { return Value::Boolean(false) };
    let mut table = Table::new();
    if let Some(rate) = settings.initial_rate {
        put(&mut table, "initial_rate", rate);
    }
    put(&mut table, "proportional", settings.proportional);
    put(&mut table, "integral", settings.integral);
    put(&mut table, "derived", settings.derived);
    put(&mut table, "min_rate", settings.min_rate);
    Value::Table(table)
}

fn value_format(format: ValueFormat) -> &'static str {
    match format {
        ValueFormat::Utf8 => "utf8",
        ValueFormat::Bytes => "bytes",
        ValueFormat::Json => "json",
    }
}

//! Reads `[source]` and `[sources.NAME]`.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::ValueFormat;

use super::{
    client::Side,
    fields::Fields,
    mistake::{JOB_FILE, Mistake, Span},
    name::plain_name,
    on_error::on_error,
    overlap::report_overlaps,
    property::{literals, properties},
    reader::{Reader, start_of_file},
    setting::OnError,
    spec::{
        BackPressure, Begin, DEFAULT_UNREACHABLE_LIMIT_MS, EmbeddedSpec, Fetch, Isolation, KafkaSpec, OnDataLoss,
        SourceKind, SourceSpec, Start, TopicSelection,
    },
    start::start,
    suggest::closest,
    topics::{EMBEDDED, brokers, report_other_protocol, report_unread_topics, topic_selection},
    tree::{Entry, Node, Table, Tree},
    written::ReadSource,
};

const DEFAULT_MAX_RECORDS_PER_PARTITION: u64 = 250_000;
/// Enough for a few full responses; more only means memory that is never warm.
/// Measured: 8 MiB cost 4 % less CPU than 16.
const DEFAULT_PREFETCH_MEMORY_BYTES: u64 = 8 << 20;
const DEFAULT_EMBEDDED_RATE: f64 = 100.0;
const DEFAULT_EMBEDDED_PARTITIONS: u32 = 2;

/// A source that is not read yet.
struct Found {
    name: String,
    span: Span,
    node: Node,
}

/// All sources of the job, in the order of the file.
pub fn sources(reader: &mut Reader<'_>, root: &mut Fields<'_>, inherited: Option<&OnError>) -> Vec<ReadSource> {
    let (one, several) = (root.entry("source"), root.entry("sources"));
    let mut several = several;
    if let (Some(_), Some(both)) = (one, several) {
        let mistake = Mistake::at(&both.key_span, "a job has `[source]` or `[sources.NAME]`, not both");
        let hint = match both.key_span.origin {
            JOB_FILE => "rename `[source]` to `[sources.NAME]`",
            _ => {
                several = None;
                "the job has one source: write `--set source.KEY=VALUE`"
            }
        };
        reader.report(mistake.hint(hint.to_owned()));
    }
    let mut found = Vec::new();
    if let Some(entry) = one {
        found.extend(listed(reader, entry).unwrap_or_else(|| vec![named(entry)]));
    }
    if let Some(entry) = several {
        found.extend(listed(reader, entry).unwrap_or_else(|| members(reader, entry)));
    }
    if one.is_none() && several.is_none() {
        let mistake = Mistake::at(&start_of_file(), "the job has no source");
        root.lacks(["source", "sources"], mistake.hint("add `[source]` with `kind = \"kafka\"`".to_owned()));
    }
    let mut sources = Vec::new();
    for Found { name, span, node } in found {
        let spec = reader.table(&node).and_then(|table| source(reader, &name, &table, inherited));
        sources.push(ReadSource { name: Arc::from(name), name_span: span, spec });
    }
    report_mixed_clocks(reader, &sources);
    report_overlaps(reader, &sources);
    sources
}

fn named(entry: &Entry) -> Found {
    Found { name: entry.key.clone(), span: entry.key_span.clone(), node: entry.node.clone() }
}

/// `[[source]]`, which is a list: read all the same, with the names that its members give themselves.
fn listed(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Found>> {
    let Tree::List(items) = &entry.node.tree else { return None };
    let mistake = Mistake::at(&entry.key_span, format!("`{}` is a table, found a list", entry.key));
    reader.report(mistake.hint("write `[source]`, or `[sources.NAME]` for each of several".to_owned()));
    let found = items.iter().map(|item| {
        let mut node = item.clone();
        let mut found = Found { name: "source".to_owned(), span: entry.key_span.clone(), node: item.clone() };
        if let Tree::Table(table) = &mut node.tree
            && let Some(at) = table.entries.iter().position(|entry| entry.key == "name")
            && let Entry { node: Node { tree: Tree::Text(name), span }, .. } = table.entries.remove(at)
        {
            found = Found { name, span, node };
        }
        found
    });
    Some(found.collect())
}

/// The members of `[sources]`, by their names.
fn members(reader: &mut Reader<'_>, several: &Entry) -> Vec<Found> {
    let Some(table) = reader.table(&several.node) else { return Vec::new() };
    if table.entries.is_empty() {
        reader.report_absence(Mistake::at(&several.node.span, "no source is named here"));
    }
    if let Some(kind) = table.get("kind").filter(|kind| !matches!(kind.node.tree, Tree::Table(_))) {
        let mistake = Mistake::at(&kind.key_span, "each of several sources has a name");
        reader.report(mistake.hint("write `[sources.NAME]`, or `[source]` if there is one".to_owned()));
        return vec![named(several)];
    }
    for source in &table.entries {
        plain_name(reader, "source", &source.key, &source.key_span);
    }
    table.entries.iter().map(named).collect()
}

fn report_mixed_clocks(reader: &mut Reader<'_>, sources: &[ReadSource]) {
    let is_queue = |source: &&ReadSource| matches!(source.kind(), Some(SourceKind::Queue { .. }));
    let is_kafka = |source: &ReadSource| matches!(source.kind(), Some(SourceKind::Kafka(_)));
    let queue = sources.iter().find(is_queue);
    if let Some(queue) = queue
        && sources.iter().any(is_kafka)
    {
        let mistake = Mistake::at(&queue.name_span, "a queue source cannot stand beside kafka sources");
        reader.report(mistake.label("runs on a logical clock, without waiting"));
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Kafka,
    Queue,
}

fn source(reader: &mut Reader<'_>, name: &str, table: &Table, inherited: Option<&OnError>) -> Option<SourceSpec> {
    let mut fields = Fields::new(table);
    let node = fields.require("kind", "\"kafka\"");
    let kinds = [("kafka", Kind::Kafka), ("queue", Kind::Queue)];
    let kind = node.and_then(|node| reader.choice(node, &kinds)).unwrap_or_else(|| guessed(node, table));
    let on_error = on_error(reader, &mut fields, inherited);
    let kind = match kind {
        Kind::Kafka => kafka(reader, &mut fields).map(SourceKind::Kafka),
        Kind::Queue => queue(reader, &mut fields),
    };
    fields.finish(reader);
    Some(SourceSpec { name: Arc::from(name), kind: kind?, on_error })
}

/// What a source without a right `kind` was most likely meant to be: its other mistakes are those of that kind.
fn guessed(node: Option<&Node>, table: &Table) -> Kind {
    let word = match node.map(|node| &node.tree) {
        Some(Tree::Text(word) | Tree::Untyped(word)) => closest(word, ["kafka", "queue"].into_iter()),
        _ => None,
    };
    match word {
        Some("queue") => Kind::Queue,
        None if table.get("path").is_some() && table.get("brokers").is_none() => Kind::Queue,
        _ => Kind::Kafka,
    }
}

fn queue(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<SourceKind> {
    let path = fields.require("path", "\"batches.jsonl\"");
    let partitions = fields.get("partitions").map_or(Some(1), |node| reader.partitions(node));
    let node = path?;
    let path = reader.path(node)?;
    reader.queue_file(&node.span, &path);
    Some(SourceKind::Queue { path, partitions: partitions? })
}

fn kafka(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<KafkaSpec> {
    let formats = [("utf8", ValueFormat::Utf8), ("bytes", ValueFormat::Bytes), ("json", ValueFormat::Json)];
    let brokers_node = fields.require("brokers", "\"localhost:9092\"");
    let brokers = brokers_node.and_then(|node| brokers(reader, node));
    let topics = topic_selection(reader, fields);
    let start = match fields.get("start") {
        Some(node) => start(reader, node).inspect(|start| report_unread_topics(reader, node, start, topics.as_ref())),
        None => Some(Begin::At(Start::Earliest)),
    };
    let max_records_per_partition = match fields.get("max_records_per_partition") {
        Some(node) => reader.positive(node),
        None => Some(DEFAULT_MAX_RECORDS_PER_PARTITION),
    };
    let back_pressure = fields.get("back_pressure").map_or(Some(None), |node| back_pressure(reader, node));
    let on_data_loss = match fields.get("on_data_loss") {
        Some(node) => reader.choice(node, &[("fail", OnDataLoss::Fail), ("skip", OnDataLoss::Skip)]),
        None => Some(OnDataLoss::Fail),
    };
    let isolations = [("read_committed", Isolation::ReadCommitted), ("read_uncommitted", Isolation::ReadUncommitted)];
    let isolation = match fields.get("isolation") {
        Some(node) => reader.choice(node, &isolations),
        None => Some(Isolation::ReadCommitted),
    };
    let mut format = |key| fields.get(key).map_or(Some(ValueFormat::Utf8), |node| reader.choice(node, &formats));
    let (key_format, value_format) = (format("key_format"), format("value_format"));
    let fetches = [("auto", Fetch::Auto), ("native", Fetch::Native), ("librdkafka", Fetch::Librdkafka)];
    let fetch_node = fields.get("fetch");
    let fetch = fetch_node.map_or(Some(Fetch::Auto), |node| reader.choice(node, &fetches));
    let prefetch = fields.get("prefetch_memory").map_or(Some(DEFAULT_PREFETCH_MEMORY_BYTES), |node| reader.size(node));
    let limit = fields.get("unreachable_limit");
    let limit = limit.map_or(Some(DEFAULT_UNREACHABLE_LIMIT_MS), |node| u64::try_from(reader.duration_ms(node)?).ok());
    let properties = match fields.get("properties") {
        Some(node) => properties(reader, node, Side::Source, &BTreeMap::new()),
        None => Some(BTreeMap::new()),
    };
    if let Some(node) = brokers_node {
        report_other_protocol(reader, node, brokers.as_deref(), properties.as_ref());
    }
    if let (Some(Fetch::Native), Some(client), Some(properties), Some(node)) =
        (fetch, reader.client, &properties, fetch_node)
        && let Err(reason) = client.check_native_fetch(&literals(properties))
    {
        let mistake = Mistake::at(&node.span, "kstream's own connections cannot do what the properties ask");
        reader.report(mistake.label(reason).hint("write `fetch = \"auto\"`".to_owned()));
    }
    let is_embedded = brokers.as_deref() == Some(EMBEDDED);
    let embedded = match fields.get("embedded") {
        Some(node) => reader.table(node).and_then(|table| embedded(reader, &table, is_embedded)).map(Some),
        None => Some(None),
    };
    if is_embedded {
        report_unfit_for_embedding(reader, fields, embedded.as_ref(), topics.as_ref());
    }
    Some(KafkaSpec {
        brokers: brokers?,
        topics: topics?,
        start: start?,
        max_records_per_partition: max_records_per_partition?,
        back_pressure: back_pressure?,
        on_data_loss: on_data_loss?,
        isolation: isolation?,
        key_format: key_format?,
        value_format: value_format?,
        fetch: fetch?,
        prefetch_memory_bytes: prefetch?,
        properties: properties?,
        unreachable_limit_ms: limit?,
        embedded: embedded?,
    })
}

fn back_pressure(reader: &mut Reader<'_>, node: &Node) -> Option<Option<BackPressure>> {
    let mut settings =
        BackPressure { initial_rate: None, proportional: 1.0, integral: 0.2, derived: 0.0, min_rate: 100.0 };
    let node = reader.any(node)?;
    let table = match &node.tree {
        Tree::Bool(false) => return Some(None),
        Tree::Bool(true) => return Some(Some(settings)),
        Tree::Table(table) => table,
        other => {
            let message = format!("expected a boolean or a table, found {}", other.describe());
            reader.report(Mistake::at(&node.span, message));
            return None;
        }
    };
    let mut fields = Fields::new(table);
    let mut rate = |reader: &mut Reader<'_>, key: &'static str, least: f64| {
        let node = fields.get(key)?;
        let value = reader.number(node)?;
        if value < least || (least == 0.0 && value == 0.0 && key.ends_with("rate")) {
            reader.report(Mistake::at(&node.span, format!("`{key}` must be positive")));
            return None;
        }
        Some(value)
    };
    settings.initial_rate = rate(reader, "initial_rate", 0.0);
    settings.proportional = rate(reader, "proportional", 0.0).unwrap_or(settings.proportional);
    settings.integral = rate(reader, "integral", 0.0).unwrap_or(settings.integral);
    settings.derived = rate(reader, "derived", 0.0).unwrap_or(settings.derived);
    settings.min_rate = rate(reader, "min_rate", 0.0).unwrap_or(settings.min_rate);
    fields.finish(reader);
    Some(Some(settings))
}

fn embedded(reader: &mut Reader<'_>, table: &Table, used: bool) -> Option<EmbeddedSpec> {
    let mut fields = Fields::new(table);
    let lines_node = fields.require("lines", "\"lines.txt\"");
    let repeat = fields.get("repeat").map_or(Some(1), |node| reader.partitions(node));
    let rate = match fields.get("rate") {
        Some(node) => reader.number(node).filter(|rate| {
            let positive = 0.0 < *rate;
            if !positive {
                reader.report(Mistake::at(&node.span, "`rate` must be positive"));
            }
            positive
        }),
        None => Some(DEFAULT_EMBEDDED_RATE),
    };
    let partitions = fields.get("partitions").map_or(Some(DEFAULT_EMBEDDED_PARTITIONS), |node| reader.partitions(node));
    fields.finish(reader);
    let lines = reader.path(lines_node?)?;
    if used && let Some(node) = lines_node {
        reader.readable_file(&node.span, &lines);
    }
    Some(EmbeddedSpec { lines, repeat: repeat?, rate: rate?, partitions: partitions? })
}

fn report_unfit_for_embedding(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    embedded: Option<&Option<EmbeddedSpec>>,
    topics: Option<&TopicSelection>,
) {
    if let Some(None) = embedded {
        let mistake = Mistake::at(&fields.table.span, "the embedded broker has nothing to serve");
        let hint = "add `embedded = { lines = \"PATH\" }`, or name real `brokers`";
        reader.report_absence(mistake.hint(hint.to_owned()));
    }
    if let Some(TopicSelection::Pattern(_)) = topics
        && let Some(entry) = fields.table.get("topic_pattern")
    {
        let mistake = Mistake::at(&entry.key_span, "the embedded broker cannot serve a pattern");
        reader.report(mistake.hint("name the `topics`".to_owned()));
    }
    if let (Some(Some(embedded)), Some(TopicSelection::Assign(assigned))) = (embedded, topics)
        && let Some(entry) = fields.table.get("assign")
        && let Some(tp) = assigned.iter().find(|tp| i64::from(tp.partition) >= i64::from(embedded.partitions))
    {
        let message = format!("{tp} does not exist: the embedded broker has {} partitions", embedded.partitions);
        reader.report(Mistake::at(&entry.node.span, message));
    }
}

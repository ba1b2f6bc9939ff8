//! The table of operators: which arguments each takes, and of how many parameters its functions are.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    arguments::Arguments,
    client::Side,
    mistake::Mistake,
    operator::{
        Delivery, Emit, FileFormat, FileLayout, JoinKind, LONGEST_TRANSACTION_MS, LogSpec, Operator, ToKafkaSpec,
        ToTopic,
    },
    property::properties,
    reader::Reader,
    setting::Setting,
    topics::{EMBEDDED, brokers, report_other_protocol, topic_name},
    tree::{Node, Tree},
    written::{Defaults, ReadOperator},
};

/// Every operator's key.
#[rustfmt::skip]
pub const OPERATORS: &[&str] = &[
    "map", "filter", "flat_map", "map_values", "flat_map_values", "map_partitions", "glom", "union", "repartition",
    "partition_by", "count", "count_by_value", "distinct", "reduce", "reduce_by_key", "group_by_key", "combine_by_key",
    "join", "left_outer_join", "right_outer_join", "full_outer_join", "cogroup", "sort_by", "take", "transform",
    "update_state_by_key", "map_with_state", "window", "count_by_window", "count_by_value_and_window",
    "group_by_key_and_window", "reduce_by_window", "reduce_by_key_and_window", "pprint", "save_as_text_files",
    "to_file", "to_kafka", "command",
];

const DEFAULT_PPRINT_NUM: u64 = 10;
const DEFAULT_COMMAND_TIMEOUT_MS: i64 = 60_000;

pub fn read_operator(
    reader: &mut Reader<'_>,
    arguments: &mut Arguments,
    key: &str,
    defaults: &Defaults,
) -> Option<ReadOperator> {
    let plain = |operator: Operator| Some(ReadOperator::new(operator));
    let func = "func";
    match key {
        "map" => plain(Operator::Map(arguments.func(reader, func, 1..=1)?)),
        "filter" => plain(Operator::Filter(arguments.func(reader, func, 1..=1)?)),
        "flat_map" => plain(Operator::FlatMap(arguments.func(reader, func, 1..=1)?)),
        "map_values" => plain(Operator::MapValues(arguments.func(reader, func, 1..=1)?)),
        "flat_map_values" => plain(Operator::FlatMapValues(arguments.func(reader, func, 1..=1)?)),
        "map_partitions" => plain(Operator::MapPartitions(arguments.func(reader, func, 1..=1)?)),
        "reduce" => plain(Operator::Reduce(arguments.func(reader, func, 2..=2)?)),
        "transform" => plain(Operator::Transform(arguments.func(reader, func, 1..=2)?)),
        "glom" => arguments.flag(reader).and_then(|()| plain(Operator::Glom)),
        "count" => arguments.flag(reader).and_then(|()| plain(Operator::Count)),
        "union" => {
            let others = arguments.names(reader, "with")?;
            Some(ReadOperator { others, ..ReadOperator::new(Operator::Union) })
        }
        "repartition" | "partition_by" => {
            let node = arguments.require_main("partitions")?;
            let partitions = reader.partitions(&node)?;
            plain(match key {
                "repartition" => Operator::Repartition { partitions },
                _ => Operator::PartitionBy { partitions },
            })
        }
        "count_by_value" | "distinct" | "group_by_key" => {
            let (flag, partitions) = (arguments.flag(reader), arguments.partitions(reader, defaults));
            let partitions = flag.and(partitions)?;
            plain(match key {
                "count_by_value" => Operator::CountByValue { partitions },
                "distinct" => Operator::Distinct { partitions },
                _ => Operator::GroupByKey { partitions },
            })
        }
        "reduce_by_key" => {
            let (func, partitions) = (arguments.func(reader, func, 2..=2), arguments.partitions(reader, defaults));
            plain(Operator::ReduceByKey { func: func?, partitions: partitions? })
        }
        "combine_by_key" => {
            let create = arguments.named_func(reader, "create", 1);
            let merge_value = arguments.named_func(reader, "merge_value", 2);
            let merge_combiners = arguments.named_func(reader, "merge_combiners", 2);
            let partitions = arguments.partitions(reader, defaults)?;
            let (create, merge_value, merge_combiners) = (create?, merge_value?, merge_combiners?);
            plain(Operator::CombineByKey { create, merge_value, merge_combiners, partitions })
        }
        "join" => join(reader, arguments, defaults, |partitions| join_of(JoinKind::Inner, partitions)),
        "left_outer_join" => join(reader, arguments, defaults, |partitions| join_of(JoinKind::LeftOuter, partitions)),
        "right_outer_join" => join(reader, arguments, defaults, |partitions| join_of(JoinKind::RightOuter, partitions)),
        "full_outer_join" => join(reader, arguments, defaults, |partitions| join_of(JoinKind::FullOuter, partitions)),
        "cogroup" => join(reader, arguments, defaults, |partitions| Operator::Cogroup { partitions }),
        "sort_by" => {
            let key = arguments.func(reader, "key", 1..=1);
            let descending = arguments.get("descending").map_or(Some(false), |node| reader.boolean(&node));
            plain(Operator::SortBy { key: key?, descending: descending? })
        }
        "take" => {
            let node = arguments.require_main("num")?;
            plain(Operator::Take(reader.count(&node)?))
        }
        "update_state_by_key" | "map_with_state" => state(reader, arguments, key, defaults),
        "window" => Some(ReadOperator::windowed(arguments.main_window(reader)?, Operator::Window)),
        "count_by_window" => Some(ReadOperator::windowed(arguments.main_window(reader)?, Operator::CountByWindow)),
        "count_by_value_and_window" | "group_by_key_and_window" => {
            let (window, partitions) = (arguments.main_window(reader), arguments.partitions(reader, defaults));
            let partitions = partitions?;
            Some(ReadOperator::windowed(window?, |window| match key {
                "count_by_value_and_window" => Operator::CountByValueAndWindow { window, partitions },
                _ => Operator::GroupByKeyAndWindow { window, partitions },
            }))
        }
        "reduce_by_window" | "reduce_by_key_and_window" => reduce_window(reader, arguments, key, defaults),
        "pprint" => pprint(reader, arguments),
        "save_as_text_files" => save_as_text_files(reader, arguments),
        "to_file" => to_file(reader, arguments),
        "to_kafka" => to_kafka(reader, arguments, defaults),
        "command" => command(reader, arguments),
        _ => None,
    }
}

fn join_of(kind: JoinKind, partitions: u32) -> Operator {
    Operator::Join { kind, partitions }
}

fn join(
    reader: &mut Reader<'_>,
    arguments: &mut Arguments,
    defaults: &Defaults,
    make: impl FnOnce(u32) -> Operator,
) -> Option<ReadOperator> {
    let (with, partitions) = (arguments.name(reader, "with"), arguments.partitions(reader, defaults));
    Some(ReadOperator { others: vec![with?], ..ReadOperator::new(make(partitions?)) })
}

fn state(reader: &mut Reader<'_>, arguments: &mut Arguments, key: &str, defaults: &Defaults) -> Option<ReadOperator> {
    let is_update = key == "update_state_by_key";
    let func = arguments.func(reader, "func", if is_update { 2..=2 } else { 3..=4 });
    let initial = arguments.initial(reader);
    let partitions = arguments.partitions(reader, defaults);
    if is_update {
        let operator = Operator::UpdateStateByKey { func: func?, initial: initial?, partitions: partitions? };
        return Some(ReadOperator::new(operator));
    }
    let timeout = match arguments.get("timeout") {
        Some(node) => reader.duration_ms(&node).map(Some),
        None => Some(None),
    };
    let emits = [("mapped", Emit::Mapped), ("snapshots", Emit::Snapshots)];
    let emit = arguments.get("emit").map_or(Some(Emit::Mapped), |node| reader.choice(&node, &emits));
    Some(ReadOperator::new(Operator::MapWithState {
        func: func?,
        timeout_ms: timeout?,
        initial: initial?,
        emit: emit?,
        partitions: partitions?,
    }))
}

fn reduce_window(
    reader: &mut Reader<'_>,
    arguments: &mut Arguments,
    key: &str,
    defaults: &Defaults,
) -> Option<ReadOperator> {
    let func = arguments.func(reader, "func", 2..=2);
    let inverse = arguments.optional_func(reader, "inverse", 2);
    let window = arguments.window(reader);
    if key == "reduce_by_window" {
        let (func, inverse) = (func?, inverse?);
        return Some(ReadOperator::windowed(window?, |window| Operator::ReduceByWindow { func, inverse, window }));
    }
    let filter = arguments.optional_func(reader, "filter", 1);
    let partitions = arguments.partitions(reader, defaults)?;
    let (func, inverse, filter) = (func?, inverse?, filter?);
    Some(ReadOperator::windowed(window?, |window| Operator::ReduceByKeyAndWindow {
        func,
        inverse,
        filter,
        window,
        partitions,
    }))
}

fn pprint(reader: &mut Reader<'_>, arguments: &mut Arguments) -> Option<ReadOperator> {
    arguments.is_flag();
    let num = arguments.main("num").map_or(Some(DEFAULT_PPRINT_NUM), |node| reader.count(&node));
    let to = arguments.get("to");
    let rotate = arguments.get("rotate");
    let append = arguments.get("append");
    for (key, node) in [("rotate", &rotate), ("append", &append)] {
        if let (None, Some(node)) = (&to, node) {
            let mistake = Mistake::at(&node.span, format!("`{key}` needs a log"));
            reader.report_absence(mistake.hint("add `to = \"PATH\"`".to_owned()));
        }
    }
    let rotate_bytes = match rotate {
        Some(node) => reader.size(&node).map(Some),
        None => Some(None),
    };
    let append = append.map_or(Some(false), |node| reader.boolean(&node));
    let path = match to {
        Some(node) => reader.path(&node).map(|path| Some((path, node.span))),
        None => Some(None),
    };
    let (num, rotate_bytes, append, output) = (num?, rotate_bytes?, append?, path?);
    let to = output.as_ref().map(|(path, _)| LogSpec { path: path.clone(), rotate_bytes, append });
    Some(ReadOperator { output, ..ReadOperator::new(Operator::Pprint { num, to }) })
}

fn save_as_text_files(reader: &mut Reader<'_>, arguments: &mut Arguments) -> Option<ReadOperator> {
    let prefix = arguments.require_main("prefix").and_then(|node| {
        let prefix = reader.nonempty(&node)?;
        Some((reader.ran.read(prefix.into()).to_string_lossy().into_owned(), node.span))
    });
    let suffix = match arguments.get("suffix") {
        Some(node) => reader.nonempty(&node).map(Some),
        None => Some(None),
    };
    let ((prefix, span), suffix) = (prefix?, suffix?);
    if suffix.as_deref().is_some_and(|suffix| suffix.contains(['/', '\0'])) {
        reader.report(Mistake::at(&span, "a suffix cannot hold `/`"));
        return None;
    }
    // Two outputs with one prefix and different suffixes do not meet.
    let path = PathBuf::from(match &suffix {
        Some(suffix) => format!("{prefix}-*.{suffix}"),
        None => format!("{prefix}-*"),
    });
    let operator = Operator::SaveAsTextFiles { prefix, suffix };
    Some(ReadOperator { output: Some((path, span)), ..ReadOperator::new(operator) })
}

fn to_file(reader: &mut Reader<'_>, arguments: &mut Arguments) -> Option<ReadOperator> {
    let path = arguments.require_main("path").and_then(|node| Some((reader.path(&node)?, node.span)));
    let formats = [("text", FileFormat::Text), ("json", FileFormat::Json), ("csv", FileFormat::Csv)];
    let format = arguments.get("format").map_or(Some(FileFormat::Text), |node| reader.choice(&node, &formats));
    let layouts = [("batches", FileLayout::Batches), ("append", FileLayout::Append)];
    let layout = arguments.get("layout").map_or(Some(FileLayout::Batches), |node| reader.choice(&node, &layouts));
    let append = arguments.get("append");
    if let (Some(FileLayout::Batches), Some(node)) = (layout, &append) {
        let mistake = Mistake::at(&node.span, "`append` is for one growing file");
        reader.report(mistake.hint("add `layout = \"append\"`, or leave it out".to_owned()));
    }
    let append = append.map_or(Some(false), |node| reader.boolean(&node));
    let (path, span) = path?;
    let operator = Operator::ToFile { path: path.clone(), format: format?, layout: layout?, append: append? };
    Some(ReadOperator { output: Some((path, span)), ..ReadOperator::new(operator) })
}

fn to_kafka(reader: &mut Reader<'_>, arguments: &mut Arguments, defaults: &Defaults) -> Option<ReadOperator> {
    let topic = to_topic(reader, arguments);
    let brokers_node = arguments.get("brokers");
    let own_brokers = match &brokers_node {
        Some(node) => brokers(reader, node).map(Some),
        None => Some(None),
    };
    let [key, value, headers, partition] =
        ["key", "value", "headers", "partition"].map(|key| arguments.optional_func(reader, key, 1));
    let deliveries = [("exactly_once", Delivery::ExactlyOnce), ("at_least_once", Delivery::AtLeastOnce)];
    let delivery = match arguments.get("delivery") {
        Some(node) => reader.choice(&node, &deliveries),
        None => Some(Delivery::ExactlyOnce),
    };
    let commit_topic = match arguments.get("commit_topic") {
        Some(node) => topic_name(reader, &node).map(Some),
        None => Some(None),
    };
    let append = arguments.get("append").map_or(Some(false), |node| reader.boolean(&node));
    let properties = match arguments.get("properties") {
        Some(node) => {
            let inherited = if own_brokers == Some(None) { &defaults.properties } else { &BTreeMap::new() };
            properties(reader, &node, Side::Output, inherited)
        }
        None => Some(BTreeMap::new()),
    };
    if let Some(node) = &brokers_node {
        let own_brokers = own_brokers.as_ref().and_then(|brokers| brokers.as_deref());
        report_other_protocol(reader, node, own_brokers, properties.as_ref());
    }
    let spec = ToKafkaSpec {
        topic: topic?,
        brokers: own_brokers?,
        key: key?,
        value: value?,
        headers: headers?,
        partition: partition?,
        delivery: delivery?,
        commit_topic: commit_topic?,
        append: append?,
        properties: properties?,
    };
    check_delivery(reader, arguments, &spec, defaults);
    Some(ReadOperator::new(Operator::ToKafka(Box::new(spec))))
}

fn to_topic(reader: &mut Reader<'_>, arguments: &mut Arguments) -> Option<ToTopic> {
    let (name, by) = (arguments.main("topic"), arguments.get("topic_by"));
    match (name, by) {
        (Some(name), None) => topic_name(reader, &name).map(ToTopic::Name),
        (None, Some(by)) => reader.function(&by, 1..=1).map(ToTopic::By),
        (Some(_), Some(by)) => {
            reader.report(Mistake::at(&by.span, "`topic` and `topic_by` exclude each other"));
            None
        }
        (None, None) => {
            let mistake = Mistake::at(&arguments.span, "`to_kafka` lacks `topic` or `topic_by`");
            arguments.lacks(["topic", "topic_by"], mistake);
            None
        }
    }
}

fn check_delivery(reader: &mut Reader<'_>, arguments: &mut Arguments, spec: &ToKafkaSpec, defaults: &Defaults) {
    let brokers = spec.brokers.as_deref().or(defaults.brokers.as_deref());
    if brokers.is_none() && !defaults.sources_are_torn {
        let mistake = Mistake::at(&arguments.span, "`to_kafka` lacks `brokers`: the job has no kafka source");
        arguments.lacks(["brokers"], mistake.hint("add `brokers = \"localhost:9092\"`".to_owned()));
    }
    if spec.delivery != Delivery::ExactlyOnce {
        return;
    }
    if matches!(spec.topic, ToTopic::By(_)) && spec.commit_topic.is_none() {
        let mistake = Mistake::at(&arguments.span, "computed topics need a `commit_topic` for exactly-once delivery");
        let hint = "add `commit_topic = \"TOPIC\"`, the home of each batch's commit";
        arguments.lacks(["commit_topic"], mistake.hint(hint.to_owned()));
    }
    report_short_transaction(reader, arguments, spec, defaults);
    if brokers == Some(EMBEDDED) {
        let mistake = Mistake::at(&arguments.span, "the embedded broker has no transactions");
        reader.report(mistake.hint("add `delivery = \"at_least_once\"`, or name real `brokers`".to_owned()));
    }
}

/// A batch is a transaction: one that brokers end before the interval has passed fails every batch.
fn report_short_transaction(
    reader: &mut Reader<'_>,
    arguments: &mut Arguments,
    spec: &ToKafkaSpec,
    defaults: &Defaults,
) {
    let name = "transaction.timeout.ms";
    let Some(interval) = defaults.batch_interval_ms else { return };
    let inherited = defaults.properties.get(name).filter(|_| spec.brokers.is_none());
    let timeout = match spec.properties.get(name).or(inherited) {
        Some(Setting::Literal(timeout)) => timeout,
        None if u64::try_from(interval).is_ok_and(|interval| interval > LONGEST_TRANSACTION_MS) => {
            let message = format!("a transaction of 15 min is shorter than the batch interval, {interval} ms");
            let hint = format!(
                "set \"{name}\" in `properties` to more than that, and the brokers' transaction.max.timeout.ms"
            );
            return reader.report(Mistake::at(&arguments.span, message).hint(hint));
        }
        _ => return,
    };
    let Some(properties) = arguments.get("properties").filter(|_| timeout.parse::<i64>().is_ok_and(|ms| ms < interval))
    else {
        return;
    };
    let own = match &properties.tree {
        Tree::Table(table) => table.get(name).map(|entry| entry.node.span.clone()),
        _ => None,
    };
    let message = format!("a transaction of {timeout} ms is shorter than the batch interval, {interval} ms");
    let hint = "leave it out: it is then twice the batch interval, at least 60 s and at most 15 min";
    reader.report(Mistake::at(&own.unwrap_or(properties.span), message).hint(hint.to_owned()));
}

fn command(reader: &mut Reader<'_>, arguments: &mut Arguments) -> Option<ReadOperator> {
    let run = arguments.require_main("run").and_then(|node| command_line(reader, &node));
    let timeout = arguments.get("timeout");
    let timeout_ms = timeout.map_or(Some(DEFAULT_COMMAND_TIMEOUT_MS), |node| reader.duration_ms(&node));
    Some(ReadOperator::new(Operator::Command { run: run?, timeout_ms: u64::try_from(timeout_ms?).ok()? }))
}

/// A string runs by `sh -c`, a list is a program and its arguments.
fn command_line(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<String>> {
    let node = reader.any(node)?;
    let Tree::List(items) = &node.tree else {
        let line = reader.nonempty(&node)?;
        return Some(vec!["sh".to_owned(), "-c".to_owned(), line]);
    };
    let words: Vec<String> = items.iter().filter_map(|item| reader.text(item)).collect();
    if words.first().is_none_or(|program| program.is_empty()) {
        reader.report(Mistake::at(&node.span, "no program is named here"));
        return None;
    }
    (words.len() == items.len()).then_some(words)
}

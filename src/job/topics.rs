//! What a source reads and an output writes to: brokers, topics, partitions.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use regex::Regex;

use crate::model::TopicPartition;

use super::{
    fields::Fields,
    mistake::{Mistake, Span},
    reader::{Reader, Texts, report_unknown_name},
    setting::Setting,
    spec::{Begin, Start, TopicSelection},
    tree::{Node, Tree},
};

/// The broker that is started inside the process.
pub const EMBEDDED: &str = "embedded";

/// `host:port,...` or `embedded`.
pub fn brokers(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    if let Tree::List(items) = &node.tree {
        let texts = items.iter().filter_map(|item| match &item.tree {
            Tree::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let joined = texts.collect::<Vec<_>>().join(",");
        let mistake = Mistake::at(&node.span, "expected a string, found a list");
        if joined.contains('@') {
            reader.hide(&node.span);
            reader.report(mistake.hint("write `brokers = \"host:port,...\"`".to_owned()));
        } else {
            reader.report(mistake.hint(format!("write `brokers = \"{joined}\"`")));
        }
        return None;
    }
    let text = reader.nonempty(node)?;
    if text == EMBEDDED {
        return Some(text);
    }
    let unfit = unfit_brokers(&text);
    for (range, what) in &unfit {
        let span = reader.part_of(node, &text, range.clone());
        let hint = match text.contains('@') {
            true => "a login is of `properties`: \"sasl.username\", and \"sasl.password\" = { env = \"NAME\" }",
            false => "write `host:port,...`, or `embedded`",
        };
        reader.report(Mistake::at(&span, what).hint(hint.to_owned()));
    }
    if text.contains('@') {
        reader.hide(&node.span);
    }
    unfit.is_empty().then_some(text)
}

/// What of a list is no `host:port`: where it stands, and what it is instead. A login is not shown: anything may be of its
/// password.
fn unfit_brokers(list: &str) -> Vec<(Range<usize>, String)> {
    if list.contains('@') {
        return vec![(0..list.len(), "a login is no part of a broker".to_owned())];
    }
    let what = |broker: &str| match broker {
        "" => "a broker is missing beside a comma".to_owned(),
        EMBEDDED => "the embedded broker stands alone".to_owned(),
        _ => match broker.split_once("://") {
            Some((protocol, _)) if !PROTOCOLS.iter().any(|known| protocol.eq_ignore_ascii_case(known)) => {
                format!("`{protocol}` is no protocol of Kafka")
            }
            _ => format!("`{broker}` is no broker"),
        },
    };
    each_broker(list).filter(|(_, broker)| !is_broker(broker)).map(|(range, broker)| (range, what(broker))).collect()
}

/// The brokers of a cluster that exists outside a running job, or what is wrong with them.
pub fn parse_brokers(list: &str) -> Result<String, String> {
    let list = list.trim();
    match (list, unfit_brokers(list).into_iter().next()) {
        ("", _) => Err("there is no broker".to_owned()),
        (EMBEDDED, _) => Err("the embedded broker exists only inside a running job".to_owned()),
        (_, Some((_, what))) => Err(what),
        (brokers, None) => Ok(brokers.to_owned()),
    }
}

/// The brokers of a list, and where each stands in it.
fn each_broker(list: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut next = 0;
    list.split(',').map(move |part| {
        let start = next + part.len() - part.trim_start().len();
        next += part.len() + 1;
        let broker = part.trim();
        (start..start + broker.len(), broker)
    })
}

/// The protocol that `protocol://host` names for one of `brokers` though the clients speak another one, and where that
/// broker stands: librdkafka takes no notice of it, and finds nobody.
pub fn other_protocol<'b>(brokers: &'b str, security_protocol: Option<&str>) -> Option<(Range<usize>, &'b str)> {
    let spoken = security_protocol.unwrap_or(PROTOCOLS[0]);
    each_broker(brokers).find_map(|(range, broker)| {
        let (protocol, _) = broker.split_once("://")?;
        (!protocol.eq_ignore_ascii_case(spoken)).then_some((range, protocol))
    })
}

/// [`other_protocol`] of the brokers written at `node` is a mistake there.
pub fn report_other_protocol(
    reader: &mut Reader<'_>,
    node: &Node,
    brokers: Option<&str>,
    properties: Option<&BTreeMap<String, Setting>>,
) {
    let (Some(brokers), Some(properties)) = (brokers, properties) else { return };
    let spoken = match properties.get("security.protocol") {
        Some(Setting::Literal(spoken)) => Some(spoken.as_str()),
        Some(_) => return,
        None => None,
    };
    let Some((range, protocol)) = other_protocol(brokers, spoken) else { return };
    let span = reader.part_of(node, brokers, range);
    let spoken = spoken.unwrap_or(PROTOCOLS[0]);
    let mistake = Mistake::at(&span, format!("`{protocol}://` is not what the clients speak: {spoken}"));
    let hint = format!("add `properties = {{ \"security.protocol\" = \"{}\" }}`", protocol.to_uppercase());
    reader.report(mistake.hint(hint));
}

/// What may stand before `://`; Kafka's clients write listeners so.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

fn is_broker(broker: &str) -> bool {
    let address = match broker.split_once("://") {
        Some((protocol, address)) if PROTOCOLS.iter().any(|known| protocol.eq_ignore_ascii_case(known)) => address,
        Some(_) => return false,
        None => broker,
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let legal = |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| 0 < port));
    !host.is_empty() && host.chars().all(legal) && port_fits && broker != EMBEDDED
}

pub fn topic_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.nonempty(node)?;
    check_topic(reader, &name, &node.span).then_some(name)
}

/// As Kafka's brokers judge.
pub fn is_topic_name(name: &str) -> bool {
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    name.chars().all(legal) && !name.is_empty() && name.len() <= 249 && name != "." && name != ".."
}

fn check_topic(reader: &mut Reader<'_>, name: &str, span: &Span) -> bool {
    if is_topic_name(name) {
        return true;
    }
    let mistake = Mistake::at(span, format!("`{name}` cannot be the name of a topic"));
    let hint = match name.contains(['*', '|', '+', '[', '^']) {
        true => "a pattern of names is `topic_pattern`, a regular expression",
        false => "a topic's name has letters, digits, `.`, `_` and `-`, at most 249",
    };
    reader.report(mistake.hint(hint.to_owned()));
    false
}

pub fn topic_selection(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<TopicSelection> {
    let keys = ["topics", "topic_pattern", "assign"];
    let entries: Vec<_> = keys.iter().filter_map(|key| fields.entry(key)).collect();
    let [first, others @ ..] = entries.as_slice() else {
        let mistake = Mistake::at(&fields.table.span, "missing key `topics`");
        fields.lacks(keys, mistake.hint("add `topics = [\"...\"]`, `topic_pattern` or `assign`".to_owned()));
        return None;
    };
    for other in others {
        let message = format!("`{}` and `{}` exclude each other", first.key, other.key);
        reader.report(Mistake::at(&other.key_span, message));
    }
    match first.key.as_str() {
        "topics" => topics(reader, &first.node),
        "topic_pattern" => pattern(reader, &first.node),
        _ => assign(reader, &first.node),
    }
}

fn topics(reader: &mut Reader<'_>, node: &Node) -> Option<TopicSelection> {
    let mut topics: Vec<Arc<str>> = Vec::new();
    let Texts { texts, whole } = reader.texts("topics", node)?;
    if texts.is_empty() && whole {
        reader.report(Mistake::at(&node.span, "no topic is named here"));
    }
    for (name, span) in texts {
        if topics.iter().any(|topic| **topic == *name) {
            reader.report(Mistake::at(&span, format!("the topic `{name}` is named twice")));
        } else if check_topic(reader, &name, &span) {
            topics.push(Arc::from(name));
        }
    }
    (whole && !topics.is_empty()).then_some(TopicSelection::Topics(topics))
}

fn pattern(reader: &mut Reader<'_>, node: &Node) -> Option<TopicSelection> {
    let text = reader.nonempty(node)?;
    match anchored(&text) {
        Ok(regex) => Some(TopicSelection::Pattern(regex)),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            reader.report(Mistake::at(&node.span, "this pattern is no regular expression").label(reason));
            None
        }
    }
}

/// A pattern is for the whole name of a topic.
fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

/// The pattern as it was written.
pub fn pattern_text(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(text)
}

fn assign(reader: &mut Reader<'_>, node: &Node) -> Option<TopicSelection> {
    if let Tree::List(_) | Tree::Text(_) = node.tree {
        let hint = "write `assign = { TOPIC = [0, 1] }`; whole topics are `topics = [\"...\"]`";
        return reader.wrong_type_with(node, "a table of topics", Some(hint.to_owned()));
    }
    let table = reader.table(node)?;
    let mut assigned = Vec::new();
    let mut whole = true;
    for entry in &table.entries {
        whole &= check_topic(reader, &entry.key, &entry.key_span);
        let partitions = match &entry.node.tree {
            Tree::Integer(partition) => {
                let hint = format!("write `{} = [{partition}]`", entry.key);
                reader.wrong_type_with(&entry.node, "a list of partitions", Some(hint))
            }
            _ => reader.list(&entry.node),
        };
        whole &= partitions.is_some();
        for item in partitions.unwrap_or_default() {
            let Some(partition) = reader.integer(&item, 0..=MOST_PARTITION) else {
                whole = false;
                continue;
            };
            let tp = TopicPartition::new(entry.key.as_str(), i32::try_from(partition).unwrap_or_default());
            if assigned.contains(&tp) {
                reader.report(Mistake::at(&item.span, format!("{tp} is assigned twice")));
            }
            assigned.push(tp);
        }
    }
    if assigned.is_empty() && whole {
        reader.report(Mistake::at(&node.span, "no partition is assigned here"));
    }
    (whole && !assigned.is_empty()).then_some(TopicSelection::Assign(assigned))
}

const MOST_PARTITION: i128 = super::quantity::MOST_PARTITIONS - 1;

/// Offsets for a topic or partition that the source does not read are a slip.
pub fn report_unread_topics(reader: &mut Reader<'_>, node: &Node, start: &Begin, topics: Option<&TopicSelection>) {
    let (Begin::At(Start::Offsets(offsets)), Some(topics)) = (start, topics) else { return };
    let mut reported: Vec<&str> = Vec::new();
    for (tp, _) in offsets {
        let (read, names): (bool, Vec<&str>) = match topics {
            TopicSelection::Topics(topics) => (topics.contains(&tp.topic), topics.iter().map(|t| &**t).collect()),
            TopicSelection::Pattern(pattern) => (pattern.is_match(&tp.topic), Vec::new()),
            TopicSelection::Assign(assigned) => {
                let names = assigned.iter().map(|assigned| &*assigned.topic).collect();
                (assigned.iter().any(|assigned| assigned.topic == tp.topic), names)
            }
        };
        let entry_span = match &node.tree {
            Tree::Table(table) => table.get(&tp.topic).map(|entry| entry.key_span.clone()),
            _ => None,
        };
        if !read && !reported.contains(&&*tp.topic) {
            reported.push(&tp.topic);
            let span = entry_span.unwrap_or_else(|| node.span.clone());
            report_unknown_name(reader, &span, "topic", &tp.topic, names.into_iter());
        } else if let TopicSelection::Assign(assigned) = topics
            && read
            && !assigned.contains(tp)
        {
            let span = entry_span.unwrap_or_else(|| node.span.clone());
            reader.report(Mistake::at(&span, format!("{tp} is not assigned to this source")));
        }
    }
}

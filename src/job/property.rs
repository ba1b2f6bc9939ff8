//! Kafka client properties: which ones kstream owns, and how the others are read.

use std::collections::BTreeMap;

use super::{
    mistake::{JOB_FILE, Mistake},
    reader::{Fields, Reader},
    secret,
    spec::Setting,
    tree::{Node, Table, Tree},
};

/// Properties a job may not set, and what to do instead.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use the key `brokers`"),
    ("metadata.broker.list", "use the key `brokers`"),
    ("group.id", "kstream joins no group; `mirror_offsets_to` copies committed offsets to one"),
    ("group.instance.id", "kstream joins no group"),
    ("group.protocol", "kstream joins no group"),
    ("partition.assignment.strategy", "kstream joins no group"),
    ("enable.auto.commit", "offsets are committed with the batch, in the checkpoint"),
    ("auto.commit.enable", "offsets are committed with the batch, in the checkpoint"),
    ("auto.commit.interval.ms", "offsets are committed with the batch, in the checkpoint"),
    ("enable.auto.offset.store", "offsets are committed with the batch, in the checkpoint"),
    ("offset.store.method", "offsets are committed with the batch, in the checkpoint"),
    ("auto.offset.reset", "use the keys `start` and `on_data_loss`"),
    ("isolation.level", "use the key `isolation`"),
    ("check.crcs", "kstream checks every record set itself"),
    ("enable.partition.eof", "kstream ends a range by its position"),
    ("allow.auto.create.topics", "create topics with `kstream topics create`"),
    ("topic.blacklist", "use the key `topics` or `topic_pattern`"),
];

/// More of them where a job writes to Kafka.
const OWNED_BY_OUTPUT: &[(&str, &str)] = &[
    ("transactional.id", "it is made of the job's name, so that a restart finds it"),
    ("enable.idempotence", "use the key `delivery`"),
    ("acks", "use the key `delivery`"),
    ("request.required.acks", "use the key `delivery`"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Output,
}

/// Reads `properties = { ... }`. Dotted keys may be quoted or not.
pub fn properties(reader: &mut Reader<'_>, node: &Node, side: Side) -> Option<BTreeMap<String, Setting>> {
    let table = reader.table(node)?;
    let mut settings = BTreeMap::new();
    flatten(reader, &table, "", side, &mut settings);
    Some(settings)
}

fn flatten(reader: &mut Reader<'_>, table: &Table, prefix: &str, side: Side, settings: &mut BTreeMap<String, Setting>) {
    for entry in &table.entries {
        let name = format!("{prefix}{}", entry.key);
        if let Some(instead) = owner(&name, side) {
            let mistake = Mistake::at(&entry.key_span, format!("kstream owns the Kafka property `{name}`"));
            reader.report(mistake.hint(instead.to_owned()));
            continue;
        }
        if let Tree::Table(inner) = &entry.node.tree
            && !is_reference(inner)
            && !secret::is_secret(&name)
        {
            flatten(reader, inner, &format!("{name}."), side, settings);
        } else if let Some(setting) = setting(reader, &name, &entry.node)
            && settings.insert(name.clone(), setting).is_some()
            && entry.key_span.origin == JOB_FILE
        {
            reader.report(Mistake::at(&entry.key_span, format!("the property `{name}` is set twice")));
        }
    }
}

fn owner(name: &str, side: Side) -> Option<&'static str> {
    let more = if side == Side::Output { OWNED_BY_OUTPUT } else { &[] };
    OWNED.iter().chain(more).find(|(owned, _)| *owned == name).map(|(_, instead)| *instead)
}

fn is_reference(table: &Table) -> bool {
    !table.entries.is_empty()
        && table.entries.iter().all(|entry| {
            (entry.key == "env" || entry.key == "file") && matches!(entry.node.tree, Tree::Text(_) | Tree::Untyped(_))
        })
}

fn setting(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Setting> {
    // A `--set` value may be a reference; a string of the file may not stand for one.
    let typed = match node.tree {
        Tree::Untyped(_) => reader.any(node)?,
        _ => node.clone(),
    };
    match &typed.tree {
        Tree::Table(table) => reference(reader, table),
        _ if secret::is_secret(name) => {
            report_literal_secret(reader, name, node);
            None
        }
        Tree::Text(_) => Some(Setting::Literal(reader.text(&typed)?)),
        Tree::Integer(value) => Some(Setting::Literal(value.to_string())),
        Tree::Float(value) => Some(Setting::Literal(value.to_string())),
        Tree::Bool(value) => Some(Setting::Literal(value.to_string())),
        other => {
            let found = other.describe();
            let mistake = Mistake::at(&node.span, format!("`{name}` cannot be {found}"));
            reader.report(mistake.label("expected a string, a number or a boolean"));
            None
        }
    }
}

fn report_literal_secret(reader: &mut Reader<'_>, name: &str, node: &Node) {
    let variable = match &node.tree {
        Tree::Text(text) => text.strip_prefix("${").and_then(|rest| rest.split([':', '}']).next()),
        _ => None,
    };
    let variable = variable.filter(|name| !name.is_empty()).unwrap_or("NAME");
    let hint = format!("write `{{ env = \"{variable}\" }}` or `{{ file = \"PATH\" }}`");
    let mistake = Mistake::at(&node.span, format!("`{name}` is a secret and may not stand in a job"));
    reader.report(mistake.label("a literal secret").hint(hint));
}

fn reference(reader: &mut Reader<'_>, table: &Table) -> Option<Setting> {
    let mut fields = Fields::new(table);
    let (env, file) = (fields.get("env"), fields.get("file"));
    let setting = match (env, file) {
        (Some(env), None) => reader.nonempty(env).map(Setting::SecretEnv),
        (None, Some(file)) => reader.path(file).map(Setting::SecretFile),
        (Some(_), Some(_)) => {
            reader.report(Mistake::at(&table.span, "a secret comes from `env` or from `file`, not from both"));
            None
        }
        (None, None) => {
            reader.report_absence(Mistake::at(&table.span, "missing key `env` or `file`"));
            None
        }
    };
    fields.finish(reader);
    setting
}

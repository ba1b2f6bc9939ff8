//! Kafka client properties: which ones kstream owns, and how the others are read.

use std::collections::BTreeMap;

use super::{
    client::{KafkaClient, Refusal, Side},
    fields::Fields,
    input_file::{self, reason},
    mistake::{JOB_FILE, Mistake, Span},
    reader::Reader,
    secret,
    setting::Setting,
    suggest::closest,
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

/// A property, its value with secrets read, and where that stands.
struct Written {
    setting: Setting,
    /// Only where somebody is going to look at it.
    value: Option<String>,
    span: Span,
}

/// Reads `properties = { ... }`. Dotted keys may be quoted or not. `inherited` stand below those of an output.
pub fn properties(
    reader: &mut Reader<'_>,
    node: &Node,
    side: Side,
    inherited: &BTreeMap<String, Setting>,
) -> Option<BTreeMap<String, Setting>> {
    let table = reader.table(node)?;
    let mut written = BTreeMap::new();
    let mistakes = reader.mistakes.len();
    flatten(reader, &table, "", side, &mut written);
    if let Some(client) = reader.client {
        report_missing_files(reader, &written, inherited);
        if mistakes < reader.mistakes.len() {
            // What needs no other property is told all the same.
            report_unfit_alone(reader, client, side, &written);
        } else if !written.is_empty() && written.values().all(|written| written.value.is_some()) {
            report_unfit_together(reader, client, side, (&table.span, &written), inherited);
        }
    }
    Some(written.into_iter().map(|(name, written)| (name, written.setting)).collect())
}

fn flatten(reader: &mut Reader<'_>, table: &Table, prefix: &str, side: Side, settings: &mut BTreeMap<String, Written>) {
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
        } else if let Some(setting) = setting(reader, &name, &entry.node) {
            let span = entry.node.span.clone();
            let value = reader.client.and_then(|client| {
                let value = read_value(reader, &setting, &entry.node);
                report_unfit(reader, client, &name, value.as_deref(), side, (&entry.key_span, &span));
                value
            });
            if settings.insert(name.clone(), Written { setting, value, span }).is_some()
                && entry.key_span.origin == JOB_FILE
            {
                reader.report(Mistake::at(&entry.key_span, format!("the property `{name}` is set twice")));
            }
        }
    }
}

/// What a property is going to be set to. A secret that cannot be read is reported.
fn read_value(reader: &mut Reader<'_>, setting: &Setting, node: &Node) -> Option<String> {
    // A pipe gives its secret once, and then to the client.
    if let Setting::SecretFile(path) = setting
        && reader.absolute(path).metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
    {
        return None;
    }
    let key = |key: &str| match &node.tree {
        Tree::Table(table) => table.get(key).map_or(&node.span, |entry| &entry.node.span),
        _ => &node.span,
    };
    match secret_value(reader, setting) {
        Ok(value) => Some(value),
        Err(reason) => {
            let mistake = match setting {
                Setting::SecretEnv(name) => {
                    Mistake::at(key("env"), format!("environment variable `{name}` is not set"))
                        .hint(format!("set {name}; the secret is read from it at start"))
                }
                _ => Mistake::at(key("file"), "cannot read the secret from this file").label(reason),
            };
            reader.report(mistake);
            None
        }
    }
}

fn secret_value(reader: &Reader<'_>, setting: &Setting) -> Result<String, String> {
    match setting {
        Setting::Literal(value) => Ok(value.clone()),
        Setting::SecretEnv(name) => reader.environment(name).ok_or_else(String::new),
        Setting::SecretFile(path) => {
            let secret = input_file::open(&reader.absolute(path)).and_then(std::io::read_to_string);
            secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned()).map_err(|error| reason(&error))
        }
    }
}

fn report_unfit(
    reader: &mut Reader<'_>,
    client: &dyn KafkaClient,
    name: &str,
    value: Option<&str>,
    side: Side,
    (key, node): (&Span, &Span),
) {
    // Of a secret that could not be read, the name can still be wrong.
    let refusal = match client.check(name, value.unwrap_or_default()) {
        Ok(()) => return,
        Err(refusal) => refusal,
    };
    let mistake = match refusal {
        Refusal::Unknown => {
            let mistake = Mistake::at(key, format!("unknown Kafka property `{name}`"));
            mistake.hint(instead_of(name, side, client.names()))
        }
        Refusal::Unfit(unfit) if value.is_some() => {
            let about_name = unfit.message.starts_with("Java");
            Mistake::at(if about_name { key } else { node }, format!("the Kafka property `{name}` is refused"))
                .label(unfit.message)
                .hint(java_name(name).map(str::to_owned).or(unfit.hint))
        }
        Refusal::Unfit(_) => return,
    };
    reader.report(mistake);
}

/// What may have been meant by a name that no property has.
pub fn instead_of(name: &str, side: Side, names: &[&'static str]) -> Option<String> {
    if let Some(instead) = java_name(name) {
        return Some(instead.to_owned());
    }
    let owned = OWNED.iter().map(|(owned, _)| *owned);
    let close = closest(name, names.iter().copied().chain(owned))?;
    Some(match owner(close, side) {
        Some(instead) => format!("`{close}` is owned by kstream: {instead}"),
        None => format!("did you mean `{close}`?"),
    })
}

/// Properties of the Java client that librdkafka does not have, and what does the same here.
fn java_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "sasl.jaas.config" => "set `sasl.username`, and `sasl.password` to `{ env = \"NAME\" }`",
        "ssl.truststore.location" => "set `ssl.ca.location` to a PEM file of the certificates",
        "ssl.truststore.password" | "ssl.truststore.type" | "ssl.keystore.type" => {
            "remove it: a PEM file in `ssl.ca.location` and a PKCS#12 file in `ssl.keystore.location` need none"
        }
        "max.poll.records" => "use the key `max_records_per_partition`",
        "key.deserializer" | "key.serializer" => "use the key `key_format` of a source; an output has `key`",
        "value.deserializer" | "value.serializer" => "use the key `value_format` of a source; an output has `value`",
        "fetch.max.wait.ms" => "librdkafka calls it `fetch.wait.max.ms`",
        "buffer.memory" => "librdkafka calls it `queue.buffering.max.kbytes`",
        "max.block.ms" => "librdkafka has `message.timeout.ms`",
        "default.api.timeout.ms" => "librdkafka has `socket.timeout.ms`",
        "startingOffsets" | "starting.offsets" => "use the key `start`",
        "failOnDataLoss" => "use the key `on_data_loss`",
        _ => return None,
    })
}

/// Properties that name files, which a client opens where it speaks TLS or SASL.
const FILES: [&str; 6] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "sasl.kerberos.keytab",
];

fn report_missing_files(
    reader: &mut Reader<'_>,
    written: &BTreeMap<String, Written>,
    inherited: &BTreeMap<String, Setting>,
) {
    let name = "security.protocol";
    let protocol = match (written.get(name), inherited.get(name)) {
        (Some(written), _) => written.value.clone(),
        (None, Some(Setting::Literal(inherited))) => Some(inherited.clone()),
        (None, _) => None,
    };
    let protocol = protocol.unwrap_or_default().to_ascii_lowercase();
    for (name, Written { value, span, .. }) in written.iter().filter(|(name, _)| FILES.contains(&name.as_str())) {
        let is_opened = protocol.contains(&name[..name.find('.').unwrap_or(0)]);
        // "probe" lets librdkafka look for the certificates of the system.
        let path = value.as_ref().filter(|path| is_opened && !path.is_empty() && path.as_str() != "probe");
        if let Some(Err(error)) = path.map(std::fs::File::open) {
            reader.report(Mistake::at(span, "cannot read this file").label(reason(&error)));
        }
    }
}

/// Properties that a client judges without the others: they are told also where others are wrong.
const ALONE: [&str; 1] = ["fetch.wait.max.ms"];

fn report_unfit_alone(
    reader: &mut Reader<'_>,
    client: &dyn KafkaClient,
    side: Side,
    written: &BTreeMap<String, Written>,
) {
    for name in ALONE {
        let Some(Written { value: Some(value), span, .. }) = written.get(name) else { continue };
        // One that is no number is told already.
        if client.check(name, value).is_ok()
            && let Err(unfit) = client.check_together(side, &BTreeMap::from([(name.to_owned(), value.clone())]))
        {
            reader.report(Mistake::at(span, unfit.message).hint(unfit.hint));
        }
    }
}

fn report_unfit_together(
    reader: &mut Reader<'_>,
    client: &dyn KafkaClient,
    side: Side,
    (table, written): (&Span, &BTreeMap<String, Written>),
    inherited: &BTreeMap<String, Setting>,
) {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (name, setting) in inherited {
        match secret_value(reader, setting) {
            Ok(value) => values.extend([(name.clone(), value)]),
            // Reported where the source says so.
            Err(_) => return,
        }
    }
    values.extend(written.iter().filter_map(|(name, written)| Some((name.clone(), written.value.clone()?))));
    if let Err(unfit) = client.check_together(side, &values) {
        let named = written.iter().filter(|(name, _)| unfit.message.contains(name.as_str()));
        let about = named.max_by_key(|(name, _)| name.len());
        if let Some((name, Written { value: Some(path), span, .. })) = about
            && [".location", ".file", ".keytab"].iter().any(|end| name.ends_with(end))
            && let Err(error) = std::fs::File::open(path)
        {
            reader.report(Mistake::at(span, "cannot read this file").label(reason(&error)));
            return;
        }
        let about = about.map(|(_, written)| &written.span);
        // What is missing hangs on what chose it.
        let chosen =
            ["sasl.mechanism", "sasl.mechanisms", "security.protocol"].iter().find_map(|name| written.get(*name));
        let span = about.or(chosen.map(|written| &written.span)).unwrap_or(table);
        reader.report(Mistake::at(span, unfit.message).hint(unfit.hint));
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
            fields.lacks(["env", "file"], Mistake::at(&table.span, "missing key `env` or `file`"));
            None
        }
    };
    fields.finish(reader);
    setting
}

/// The properties with their values; a secret is shown as there, whatever it is.
pub fn literals(properties: &BTreeMap<String, Setting>) -> BTreeMap<String, String> {
    let value = |setting: &Setting| match setting {
        Setting::Literal(value) => value.clone(),
        Setting::SecretEnv(_) | Setting::SecretFile(_) => "secret".to_owned(),
    };
    properties.iter().map(|(name, setting)| (name.clone(), value(setting))).collect()
}

//! Flags that several subcommands share, and the readers of their values.

use std::{
    collections::BTreeMap,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;
use jiff::{Span, SpanRelativeTo, Timestamp, civil::DateTime};

use super::{Exit, Failure};
use crate::{
    driver::options::{JobRef, Moment, Where},
    job::{Setting, is_secret, parse_brokers},
    kafka_admin::{Cluster, DEFAULT_TIMEOUT},
    model::TopicPartition,
};

/// A job file and what overrides it.
#[derive(Debug, Clone, Args)]
pub struct JobArgs {
    /// The job file.
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,
    /// Brokers in place of the job's; "embedded" is the built-in demo broker.
    #[arg(long, value_name = "HOST:PORT,...")]
    pub brokers: Option<String>,
    /// Override a key of the job: dotted, quotes allowed; steps.NAME.KEY and sources.NAME.KEY by name.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, String)>,
}

impl From<JobArgs> for JobRef {
    fn from(args: JobArgs) -> JobRef {
        JobRef { path: args.job, brokers: args.brokers, set: args.set }
    }
}

/// How to reach a cluster, for the chores that need no job.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// The cluster's brokers.
    #[arg(long, env = "KSTREAM_BROKERS", hide_env_values = true, value_name = "HOST:PORT,...")]
    brokers: String,
    /// Any librdkafka property, as security.protocol=SASL_SSL. A secret is named, not written:
    /// 'sasl.password={ env = "NAME" }' or { file = "PATH" }.
    #[arg(long = "property", short = 'X', value_name = "KEY=VALUE")]
    properties: Vec<String>,
}

impl ConnectArgs {
    /// The cluster that a chore works on. Not read by clap, whose messages would show a secret that should not have been
    /// written.
    pub fn cluster(&self) -> Result<Cluster, Failure> {
        let brokers = parse_brokers(&self.brokers).map_err(|what| {
            let failure = Failure::new(Exit::Usage, "cannot read --brokers").detail(format!("{what}."));
            failure.hint(match self.brokers.contains('@') {
                true => "A login is of --property: sasl.username=NAME, and 'sasl.password={ env = \"NAME\" }'.",
                false => "Write host:port,...",
            })
        })?;
        Ok(Cluster { brokers, properties: self.properties()?, timeout: DEFAULT_TIMEOUT })
    }

    fn properties(&self) -> Result<BTreeMap<String, Setting>, Failure> {
        let read = |text: &String| {
            parse_property(text).map_err(|what| Failure::new(Exit::Usage, "cannot read --property").detail(what))
        };
        self.properties.iter().map(read).collect()
    }
}

const ABOVE_ZERO: &str = "expected a whole number above 0";

pub fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| ABOVE_ZERO)
}

/// More than a batch has partitions to work on, and few enough to be started at once.
const MOST_THREADS: usize = 1024;

pub fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= MOST_THREADS);
    threads.ok_or_else(|| format!("expected a whole number from 1 to {MOST_THREADS}"))
}

/// Splits at the first `=` outside quotes.
pub fn parse_set(text: &str) -> Result<(String, String), String> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '=') if text[..at].trim().is_empty() => return Err("the key is missing before `=`".to_owned()),
            (None, '=') => return Ok((text[..at].trim().to_owned(), text[at + 1..].to_owned())),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    Err("expected KEY=VALUE".to_owned())
}

/// The error is a sentence, and never holds the value.
fn parse_property(text: &str) -> Result<(String, Setting), String> {
    let (name, value) = text.split_once('=').ok_or("It has the form KEY=VALUE.")?;
    let name = name.trim();
    if name.is_empty() {
        return Err("The name is missing before `=`.".to_owned());
    }
    let setting = match value.trim_start().starts_with('{') {
        true => secret(value)?,
        false if is_secret(name) => {
            return Err(format!("{name} is a secret: write '{name}={{ env = \"NAME\" }}' or {{ file = \"PATH\" }}."));
        }
        false => Setting::Literal(value.to_owned()),
    };
    Ok((name.to_owned(), setting))
}

fn secret(text: &str) -> Result<Setting, String> {
    let form = || "A secret is written { env = \"NAME\" } or { file = \"PATH\" }.".to_owned();
    let table: toml::Table = format!("secret = {text}").parse().map_err(|_| form())?;
    let fields = table.get("secret").and_then(toml::Value::as_table).filter(|fields| fields.len() == 1);
    let field = |name: &str| fields.and_then(|fields| fields.get(name)).and_then(toml::Value::as_str);
    match (field("env"), field("file")) {
        (Some(variable), _) => Ok(Setting::SecretEnv(variable.to_owned())),
        (_, Some(path)) => Ok(Setting::SecretFile(path.into())),
        _ => Err(form()),
    }
}

/// `-10m`, `2026-11-20T10:00:00Z`, or without a zone: in the job's.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Some(ago) = text.strip_prefix('-') {
        let span: Result<Span, _> = ago.parse();
        let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        let ms = duration.ok().and_then(|ago| i64::try_from(ago.as_millis()).ok()).filter(|ms| *ms >= 0);
        return ms.map(Moment::Ago).ok_or_else(|| format!("cannot read `{ago}` as a duration, such as 10m or 1h30m"));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Moment::At(timestamp.as_millisecond()));
    }
    let local = text.parse::<DateTime>().map(Moment::Local);
    local.map_err(|_| "expected a time such as 2026-11-20T10:00:00Z, or -10m".to_owned())
}

/// `earliest`, `latest`, a moment, or `topic:partition:offset,...`.
pub fn parse_where(text: &str) -> Result<Where, String> {
    match text {
        "earliest" => return Ok(Where::Earliest),
        "latest" => return Ok(Where::Latest),
        _ => {}
    }
    // Before offsets: what looks like both is a time, as 2026-11-20T10:00:00 does.
    if let Ok(moment) = parse_moment(text) {
        return Ok(Where::Moment(moment));
    }
    if is_dated(text) {
        return Err(
            "there is no such time; expected one such as 2026-11-20T10:00:00Z, or 2026-11-20T10:00:00 in the job's \
                    time zone"
                .to_owned(),
        );
    }
    if let Some(offsets) = text.split(',').map(parse_offset).collect::<Option<Vec<_>>>() {
        return match offsets.iter().enumerate().find(|(idx, (tp, _))| offsets[..*idx].iter().any(|(t, _)| t == tp)) {
            Some((_, (tp, _))) => Err(format!("two offsets for {tp}")),
            None => Ok(Where::Offsets(offsets)),
        };
    }
    Err("expected earliest, latest, -10m, 2026-11-20T10:00:00Z, or topic:partition:offset,...".to_owned())
}

/// Whether it begins with a date and a time of day.
fn is_dated(text: &str) -> bool {
    let form = "0000-00-00T00:";
    let fits = |(form, byte): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        other => byte == other,
    };
    form.len() <= text.len() && form.bytes().zip(text.bytes()).all(fits)
}

fn parse_offset(text: &str) -> Option<(TopicPartition, i64)> {
    let (partition, offset) = text.trim().rsplit_once(':')?;
    let (topic, partition) = partition.rsplit_once(':')?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let offset: i64 = offset.parse().ok().filter(|offset| *offset >= 0)?;
    let partition: i32 = partition.parse().ok().filter(|partition| *partition >= 0)?;
    (!topic.is_empty() && topic.chars().all(legal)).then(|| (TopicPartition::new(topic, partition), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_splits_at_the_first_equals_sign_outside_quotes() {
        for (text, expected) in [
            ("batch_interval=1s", Ok(("batch_interval", "1s"))),
            (" a . b = c = d", Ok(("a . b", " c = d"))),
            ("source.properties.\"a=b\"=c", Ok(("source.properties.\"a=b\"", "c"))),
            ("steps.'it''s=x'.map=lambda x: x == 1", Ok(("steps.'it''s=x'.map", "lambda x: x == 1"))),
            ("key=", Ok(("key", ""))),
            ("=x", Err("the key is missing before `=`")),
            ("key", Err("expected KEY=VALUE")),
            ("\"a=b", Err("expected KEY=VALUE")),
        ] {
            let set = parse_set(text);
            let shown = set.as_ref().map(|(key, value)| (key.as_str(), value.as_str())).map_err(String::as_str);
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn a_place_to_begin_is_a_word_a_time_or_offsets() {
        let offset = |topic: &str, partition, offset| (TopicPartition::new(topic, partition), offset);
        for (text, expected) in [
            ("earliest", Some(Where::Earliest)),
            ("latest", Some(Where::Latest)),
            ("-10m", Some(Where::Moment(Moment::Ago(600_000)))),
            ("-1h30m", Some(Where::Moment(Moment::Ago(5_400_000)))),
            ("-2d", Some(Where::Moment(Moment::Ago(172_800_000)))),
            ("2018-11-21T01:30:45Z", Some(Where::Moment(Moment::At(1_542_763_845_000)))),
            ("2018-11-21T09:30:45+08:00", Some(Where::Moment(Moment::At(1_542_763_845_000)))),
            ("2018-11-21 09:30", Some(Where::Moment(Moment::Local(jiff::civil::date(2018, 11, 21).at(9, 30, 0, 0))))),
            (
                "2018-11-21T09:30:00",
                Some(Where::Moment(Moment::Local(jiff::civil::date(2018, 11, 21).at(9, 30, 0, 0)))),
            ),
            ("2018-13-21T09:30:00", None),
            ("words:0:15", Some(Where::Offsets(vec![offset("words", 0, 15)]))),
            ("a.b-c:0:15, d:12:0", Some(Where::Offsets(vec![offset("a.b-c", 0, 15), offset("d", 12, 0)]))),
            ("words:0:1,words:0:2", None),
            ("words:0:-1", None),
            ("words:x:1", None),
            ("words:0", None),
            ("--10m", None),
            ("-", None),
            ("-ten minutes", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_where(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_is_named_and_not_written() {
        for (text, expected) in [
            ("security.protocol=SASL_SSL", Some(Setting::Literal("SASL_SSL".to_owned()))),
            ("sasl.password={ env = \"PASSWORD\" }", Some(Setting::SecretEnv("PASSWORD".to_owned()))),
            ("sasl.password={file=\"run/secret\"}", Some(Setting::SecretFile("run/secret".into()))),
            ("sasl.password=hunter2", None),
            ("sasl.password={ env = 1 }", None),
            ("sasl.password={ env = \"A\", file = \"b\" }", None),
            ("sasl.password={", None),
            ("=x", None),
        ] {
            assert_eq!(parse_property(text).ok().map(|(_, setting)| setting), expected, "{text}");
        }
        assert!(!parse_property("sasl.password=hunter2").unwrap_err().contains("hunter2"));
    }
}

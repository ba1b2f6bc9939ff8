//! librdkafka's property names, as far as this plane honours them.
//!
//! The same properties configure both planes. One that this plane cannot honour is a reason to use the other, never
//! ignored; properties that only concern librdkafka's own queues, producing or group membership change nothing here.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use crate::{job::Isolation, model::ValueFormat};

/// What the plane is opened with: the source's part of the job, secrets resolved.
#[derive(Clone)]
pub struct PlaneConfig {
    pub source: Arc<str>,
    /// `host:port,...`
    pub brokers: String,
    /// What the source calls itself to brokers, unless the properties say otherwise.
    pub client_id: String,
    pub properties: BTreeMap<String, String>,
    pub isolation: Isolation,
    pub key_format: ValueFormat,
    pub value_format: ValueFormat,
    pub prefetch_memory_bytes: u64,
}

/// Why the connection needs the other plane; a sentence part such as `sasl.mechanisms is GSSAPI`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub host: Arc<str>,
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    Any,
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[derive(Clone)]
pub struct SaslSettings {
    pub mechanism: Mechanism,
    pub username: String,
    pub password: String,
}

/// PEM text, or a file that holds it.
#[derive(Clone)]
pub enum Pem {
    Text(String),
    File(PathBuf),
}

#[derive(Clone, Default)]
pub struct TlsSettings {
    /// The system's roots where there is none.
    pub authorities: Option<Pem>,
    pub certificate: Option<Pem>,
    pub key: Option<Pem>,
    pub key_password: Option<String>,
    pub keystore: Option<Keystore>,
    pub skip_host_name_check: bool,
    pub skip_verification: bool,
    pub cipher_suites: Option<String>,
    pub groups: Option<String>,
    pub signature_algorithms: Option<String>,
}

/// A PKCS#12 file with a client's certificate, its key and who signed it.
#[derive(Clone)]
pub struct Keystore {
    pub path: PathBuf,
    pub password: String,
}

/// Bounds between which a wait grows, doubling with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffRange {
    pub first: Duration,
    pub most: Duration,
}

#[derive(Clone)]
pub struct Settings {
    pub source: Arc<str>,
    pub bootstrap: Vec<Endpoint>,
    pub client_id: String,
    pub tls: Option<TlsSettings>,
    pub sasl: Option<SaslSettings>,
    pub isolation: Isolation,
    pub key_format: ValueFormat,
    pub value_format: ValueFormat,
    pub prefetch_memory_bytes: usize,
    pub address_family: AddressFamily,
    pub nagle: bool,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub fetch_wait_max: Duration,
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub partition_max_bytes: i32,
    /// A response that claims to be larger is refused before memory is taken for it.
    pub response_limit_bytes: usize,
    pub retry: BackoffRange,
    pub reconnect: BackoffRange,
}

const DEFAULT_PORT: u16 = 9092;
/// Short, so that an idle connection notices soon that partitions were assigned or sought.
const DEFAULT_FETCH_WAIT_MS: u64 = 100;
/// Without any wait an idle source would ask again and again without pause.
const FETCH_WAIT_FLOOR: Duration = Duration::from_millis(5);
/// Keeps responses, whose parts may be read at different speeds, small beside the prefetch memory.
const DEFAULT_FETCH_MAX_BYTES: i32 = 4 << 20;
const DEFAULT_PARTITION_MAX_BYTES: i32 = 1 << 20;

/// Properties of librdkafka's own queues and threads, of producing, admin and groups: nothing here for them to change.
const NOT_OURS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "background_event_cb",
    "builtin.features",
    "check.crcs",
    "compression.codec",
    "compression.level",
    "compression.type",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "dr_msg_cb",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.metrics.push",
    "enable.partition.eof",
    "fetch.queue.backoff.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "session.timeout.ms",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
    "bootstrap.servers",
    "metadata.broker.list",
];

impl Settings {
    /// What the properties ask of this plane, or why it cannot do it.
    pub fn from_config(config: &PlaneConfig) -> Result<Settings, Unsupported> {
        let mut properties = Properties(config.properties.clone());
        let protocol = properties.text("security.protocol").unwrap_or_else(|| "plaintext".into()).to_lowercase();
        let (tls, sasl) = match protocol.as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return Err(Unsupported(format!("security.protocol is {protocol}"))),
        };
        let sasl_settings = sasl_settings(&mut properties, sasl)?;
        let tls_settings = tls_settings(&mut properties)?;
        let fetch_max_bytes = properties.number("fetch.max.bytes")?.unwrap_or(DEFAULT_FETCH_MAX_BYTES);
        let partition_max_bytes = properties.number("max.partition.fetch.bytes")?;
        let message_max_bytes = properties.number("fetch.message.max.bytes")?;
        let settings = Settings {
            source: config.source.clone(),
            bootstrap: parse_brokers(&config.brokers)?,
            client_id: properties.text("client.id").unwrap_or_else(|| config.client_id.clone()),
            tls: tls.then_some(tls_settings),
            sasl: sasl_settings,
            isolation: config.isolation,
            key_format: config.key_format,
            value_format: config.value_format,
            prefetch_memory_bytes: usize::try_from(config.prefetch_memory_bytes).unwrap_or(usize::MAX),
            address_family: match properties.text("broker.address.family").as_deref() {
                None | Some("any") => AddressFamily::Any,
                Some("v4") => AddressFamily::V4,
                Some("v6") => AddressFamily::V6,
                Some(other) => return Err(Unsupported(format!("broker.address.family is {other}"))),
            },
            nagle: !properties.flag("socket.nagle.disable")?.unwrap_or(true),
            connect_timeout: properties.millis("socket.connection.setup.timeout.ms", 10_000)?,
            request_timeout: properties.millis("socket.timeout.ms", 30_000)?,
            fetch_wait_max: properties.millis("fetch.wait.max.ms", DEFAULT_FETCH_WAIT_MS)?.max(FETCH_WAIT_FLOOR),
            fetch_min_bytes: properties.number("fetch.min.bytes")?.unwrap_or(1),
            fetch_max_bytes,
            partition_max_bytes: partition_max_bytes.or(message_max_bytes).unwrap_or(DEFAULT_PARTITION_MAX_BYTES),
            response_limit_bytes: properties.number("receive.message.max.bytes")?.unwrap_or(100_000_000),
            retry: BackoffRange {
                first: match properties.text("fetch.error.backoff.ms") {
                    Some(text) => Duration::from_millis(parse("fetch.error.backoff.ms", &text)?),
                    None => properties.millis("retry.backoff.ms", 100)?,
                },
                most: properties.millis("retry.backoff.max.ms", 1_000)?,
            },
            reconnect: BackoffRange {
                first: properties.millis("reconnect.backoff.ms", 100)?,
                most: properties.millis("reconnect.backoff.max.ms", 2_000)?,
            },
        };
        properties.expect("client.rack", "")?;
        properties.expect("socket.keepalive.enable", "false")?;
        properties.expect("socket.receive.buffer.bytes", "0")?;
        properties.expect("socket.send.buffer.bytes", "0")?;
        properties.expect("client.dns.lookup", "use_all_dns_ips")?;
        properties.expect("api.version.request", "true")?;
        properties.take(NOT_OURS);
        match properties.0.first_key_value() {
            None => Ok(settings),
            Some((name, _)) => Err(Unsupported(format!("{name} is set"))),
        }
    }
}

fn sasl_settings(properties: &mut Properties, wanted: bool) -> Result<Option<SaslSettings>, Unsupported> {
    let mechanism = properties.text("sasl.mechanisms").or(properties.text("sasl.mechanism"));
    let (username, password) = (properties.text("sasl.username"), properties.text("sasl.password"));
    if !wanted {
        return Ok(None);
    }
    let mechanism = mechanism.unwrap_or_else(|| "GSSAPI".into());
    Ok(Some(SaslSettings {
        mechanism: match mechanism.to_uppercase().as_str() {
            "PLAIN" => Mechanism::Plain,
            "SCRAM-SHA-256" => Mechanism::ScramSha256,
            "SCRAM-SHA-512" => Mechanism::ScramSha512,
            _ => return Err(Unsupported(format!("sasl.mechanisms is {mechanism}"))),
        },
        username: username.ok_or_else(|| Unsupported("sasl.username is missing".into()))?,
        password: password.ok_or_else(|| Unsupported("sasl.password is missing".into()))?,
    }))
}

fn tls_settings(properties: &mut Properties) -> Result<TlsSettings, Unsupported> {
    let mut pem = |text: &str, file: &str| {
        let file = properties.text(file).map(|path| Pem::File(path.into()));
        properties.text(text).map(Pem::Text).or(file)
    };
    let authorities = pem("ssl.ca.pem", "ssl.ca.location");
    let certificate = pem("ssl.certificate.pem", "ssl.certificate.location");
    let key = pem("ssl.key.pem", "ssl.key.location");
    let password = properties.text("ssl.keystore.password").unwrap_or_default();
    let keystore = properties.text("ssl.keystore.location").map(|path| Keystore { path: path.into(), password });
    Ok(TlsSettings {
        authorities: authorities.filter(|pem| !matches!(pem, Pem::File(path) if path.as_os_str() == "probe")),
        certificate,
        key,
        key_password: properties.text("ssl.key.password"),
        keystore,
        skip_host_name_check: match properties.text("ssl.endpoint.identification.algorithm").as_deref() {
            None | Some("https") => false,
            Some("none") => true,
            Some(other) => return Err(Unsupported(format!("ssl.endpoint.identification.algorithm is {other}"))),
        },
        skip_verification: !properties.flag("enable.ssl.certificate.verification")?.unwrap_or(true),
        cipher_suites: properties.text("ssl.cipher.suites"),
        groups: properties.text("ssl.curves.list"),
        signature_algorithms: properties.text("ssl.sigalgs.list"),
    })
}

/// `host:port,...`; the scheme that librdkafka allows before a host may only repeat the security protocol, so it is refused.
fn parse_brokers(brokers: &str) -> Result<Vec<Endpoint>, Unsupported> {
    let endpoints: Option<Vec<Endpoint>> =
        brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()).map(parse_endpoint).collect();
    match endpoints {
        Some(endpoints) if !endpoints.is_empty() => Ok(endpoints),
        _ => Err(Unsupported(format!("brokers is {brokers:?}, not host:port,..."))),
    }
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    if text.contains("://") {
        return None;
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            (host, port.parse().ok()?)
        }
        _ => (text, DEFAULT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Endpoint { host: host.into(), port })
}

/// Properties not looked at yet.
struct Properties(BTreeMap<String, String>);

impl Properties {
    fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|text| !text.is_empty())
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Unsupported> {
        self.text(name).map(|text| parse(name, &text)).transpose()
    }

    fn millis(&mut self, name: &str, default_ms: u64) -> Result<Duration, Unsupported> {
        Ok(Duration::from_millis(self.number(name)?.unwrap_or(default_ms)))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Unsupported> {
        self.number(name)
    }

    /// A property whose only value this plane can honour is `value`.
    fn expect(&mut self, name: &str, value: &str) -> Result<(), Unsupported> {
        match self.text(name) {
            Some(other) if other != value => Err(Unsupported(format!("{name} is {other}"))),
            _ => Ok(()),
        }
    }

    fn take(&mut self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.0.remove(*name);
        });
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, Unsupported> {
    text.trim().parse().map_err(|_| Unsupported(format!("{name} is {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn config(properties: &[(&str, &str)]) -> PlaneConfig {
        PlaneConfig {
            source: "source".into(),
            brokers: "one:9093, two,[::1]:7".into(),
            client_id: "kstream-job".to_owned(),
            properties: properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            isolation: Isolation::ReadCommitted,
            key_format: ValueFormat::Utf8,
            value_format: ValueFormat::Utf8,
            prefetch_memory_bytes: 1 << 20,
        }
    }

    #[test]
    fn brokers_are_hosts_and_ports() {
        let settings = Settings::from_config(&config(&[])).ok().unwrap();
        let texts: Vec<String> = settings.bootstrap.iter().map(Endpoint::to_string).collect();
        assert_eq!(texts, ["one:9093", "two:9092", "[::1]:7"]);
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        fn check(properties: &[(&str, &str)], expected: Option<&str>) {
            let reason = Settings::from_config(&config(properties)).err().map(|Unsupported(reason)| reason);
            assert_eq!(reason.as_deref(), expected);
        }
        let login = |mechanism| {
            [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanisms", mechanism),
                ("sasl.username", "u"),
                ("sasl.password", "p"),
            ]
        };
        check(&login("PLAIN"), None);
        check(&login("SCRAM-SHA-256"), None);
        check(&login("SCRAM-SHA-512"), None);
        check(&login("OAUTHBEARER"), Some("sasl.mechanisms is OAUTHBEARER"));
        check(&[("security.protocol", "sasl_plaintext")], Some("sasl.mechanisms is GSSAPI"));
        check(
            &[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")],
            Some("sasl.username is missing"),
        );
        check(&[("security.protocol", "SSL"), ("ssl.ca.location", "probe"), ("ssl.key.password", "x")], None);
        check(
            &[("security.protocol", "ssl"), ("ssl.keystore.location", "x.p12"), ("ssl.keystore.password", "x")],
            None,
        );
        check(&[("ssl.engine.location", "x.so")], Some("ssl.engine.location is set"));
        check(
            &[("ssl.endpoint.identification.algorithm", "ldap")],
            Some("ssl.endpoint.identification.algorithm is ldap"),
        );
        check(&[("client.rack", "a")], Some("client.rack is a"));
        check(&[("socket.keepalive.enable", "true")], Some("socket.keepalive.enable is true"));
        check(&[("fetch.max.bytes", "lots")], Some("fetch.max.bytes is \"lots\""));
        check(&[("statistics.interval.ms", "1000"), ("queued.min.messages", "1"), ("client.id", "me")], None);
        check(&[("no.such.property", "1")], Some("no.such.property is set"));
    }

    #[test]
    fn numbers_are_taken_over() {
        let settings = Settings::from_config(&config(&[
            ("max.partition.fetch.bytes", "10"),
            ("fetch.wait.max.ms", "20"),
            ("socket.timeout.ms", "30"),
            ("receive.message.max.bytes", "40"),
            ("fetch.error.backoff.ms", "50"),
        ]))
        .ok()
        .unwrap();
        assert_eq!((settings.partition_max_bytes, settings.response_limit_bytes), (10, 40));
        assert_eq!((settings.fetch_wait_max.as_millis(), settings.request_timeout.as_millis()), (20, 30));
        assert_eq!(settings.retry.first.as_millis(), 50);
    }
}

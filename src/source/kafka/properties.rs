//! What librdkafka says of the properties of a job, asked before anything is connected.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
    producer::{BaseProducer, DeliveryResult, ProducerContext},
    types::RDKafkaConfRes,
};

use super::{
    error::without_secrets,
    native::{self, PlaneConfig},
    settings::ClientSettings,
};
use crate::{
    job::{Isolation, KafkaClient, Refusal, Side, Unfit},
    model::ValueFormat,
};

/// The client library of this build.
pub struct Librdkafka;

impl KafkaClient for Librdkafka {
    fn names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn check(&self, name: &str, value: &str) -> Result<(), Refusal> {
        let mut config = ClientConfig::new();
        config.set(name, value);
        match config.create_native_config() {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(Refusal::Unknown),
            Err(KafkaError::ClientConfig(_, description, ..)) => {
                let hint = choices(name).map(|choices| format!("it is one of {choices}"));
                Err(Refusal::Unfit(Unfit { message: words(&description, name, value), hint }))
            }
            Err(error) => Err(Refusal::Unfit(Unfit { message: without_secrets(&error), hint: None })),
        }
    }

    fn check_together(&self, side: Side, properties: &BTreeMap<String, String>) -> Result<(), Unfit> {
        let settings = ClientSettings::new("", "kstream", properties.clone())
            .map_err(|error| Unfit { message: error.message, hint: Some(lower(&error.hint)) })?;
        let made = match side {
            Side::Source => {
                check_fetch_wait(properties)?;
                let mut config = settings.planning(Isolation::ReadCommitted);
                unconnected(&mut config);
                config.create_with_context::<_, BaseConsumer<Silent>>(Silent).map(drop)
            }
            Side::Output => {
                let mut config = settings.producing();
                unconnected(&mut config);
                config.create_with_context::<_, BaseProducer<Silent>>(Silent).map(drop)
            }
        };
        made.map_err(|error| Unfit { message: reason(&error), hint: None })
    }

    fn check_native_fetch(&self, properties: &BTreeMap<String, String>) -> Result<(), String> {
        let config = PlaneConfig {
            source: Arc::from("check"),
            brokers: "localhost:9092".to_owned(),
            client_id: "kstream".to_owned(),
            properties: properties.clone(),
            isolation: Isolation::ReadCommitted,
            key_format: ValueFormat::Utf8,
            value_format: ValueFormat::Utf8,
            prefetch_memory_bytes: 1 << 20,
        };
        native::Settings::from_config(&config).map(drop).map_err(|reason| reason.to_string())
    }
}

/// A broker that waits for more bytes to come makes a batch wait for records that exist. Past this time that would look
/// as if it had fallen silent.
const LONGEST_FETCH_WAIT_MS: u64 = 2_000;

fn check_fetch_wait(properties: &BTreeMap<String, String>) -> Result<(), Unfit> {
    let Some(set) = properties.get("fetch.wait.max.ms") else { return Ok(()) };
    // librdkafka takes other spellings of a number, too.
    match set.parse::<u64>() {
        Ok(ms) if ms <= LONGEST_FETCH_WAIT_MS => Ok(()),
        _ => Err(Unfit {
            message: format!(
                "fetch.wait.max.ms = {set} would let brokers hold back the records of a batch for so long"
            ),
            hint: Some(format!("leave it out, or set it to {LONGEST_FETCH_WAIT_MS} at most")),
        }),
    }
}

/// Without brokers a handle has nothing it could connect to; a token is handed over later.
fn unconnected(config: &mut ClientConfig) {
    config.remove("bootstrap.servers");
    config.remove("sasl.oauthbearer.config");
}

/// What librdkafka says of a value: without what the caller knows, and without a value that may be a secret.
fn words(description: &str, name: &str, value: &str) -> String {
    let description = description.split(" See http").next().unwrap_or(description);
    let description = description.split(", see http").next().unwrap_or(description).trim().trim_end_matches('.');
    if description.starts_with("Invalid value") {
        return "it takes no such value".to_owned();
    }
    // It may speak of another name of the property.
    let about_value = description.starts_with("Configuration property").then(|| description.split_once(" value "));
    if let Some((_, rest)) = about_value.flatten() {
        return rest.strip_prefix(value).unwrap_or(rest).trim().to_owned();
    }
    match (name.starts_with("sasl.") || name.starts_with("ssl.")) && !value.is_empty() {
        true => description.replace(value, "(hidden)"),
        false => description.to_owned(),
    }
}

/// As a hint of a job file.
fn lower(hint: &str) -> String {
    let mut letters = hint.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Of a handle that never gets to say anything.
struct Silent;

impl ClientContext for Silent {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, _reason: &str) {}

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        Err("nobody connects".into())
    }
}

impl ConsumerContext for Silent {}

impl ProducerContext for Silent {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// Without the name of the call that failed.
fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => without_secrets(other),
    }
}

/// The values of properties that people choose by hand.
fn choices(name: &str) -> Option<&'static str> {
    Some(match name {
        "security.protocol" => "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` and `SASL_SSL`",
        "compression.type" | "compression.codec" => "`none`, `gzip`, `snappy`, `lz4` and `zstd`",
        "ssl.endpoint.identification.algorithm" => "`https` and `none`",
        "broker.address.family" => "`any`, `v4` and `v6`",
        "sasl.oauthbearer.method" => "`default` and `oidc`",
        _ => return None,
    })
}

/// What can be set by name and value; librdkafka cannot be asked for it. Only suggestions are made of it.
#[rustfmt::skip]
const NAMES: [&str; 161] = [
    "acks", "allow.auto.create.topics", "api.version.fallback.ms", "api.version.request",
    "api.version.request.timeout.ms", "auto.commit.enable", "auto.commit.interval.ms", "auto.offset.reset",
    "batch.num.messages", "batch.size", "bootstrap.servers", "broker.address.family", "broker.address.ttl",
    "broker.version.fallback", "check.crcs", "client.dns.lookup", "client.id", "client.rack", "compression.codec",
    "compression.level", "compression.type", "connections.max.idle.ms", "consume.callback.max.messages",
    "coordinator.query.interval.ms", "debug", "delivery.report.only.error", "delivery.timeout.ms",
    "enable.auto.commit", "enable.auto.offset.store", "enable.gapless.guarantee", "enable.idempotence",
    "enable.metrics.push", "enable.partition.eof", "enable.random.seed", "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification", "fetch.error.backoff.ms", "fetch.max.bytes", "fetch.message.max.bytes",
    "fetch.min.bytes", "fetch.queue.backoff.ms", "fetch.wait.max.ms", "group.id", "group.instance.id",
    "group.protocol", "group.protocol.type", "group.remote.assignor", "heartbeat.interval.ms", "https.ca.location",
    "https.ca.pem", "internal.termination.signal", "isolation.level", "linger.ms", "log.connection.close",
    "log.thread.name", "log_level", "max.in.flight", "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes", "max.poll.interval.ms", "message.copy.max.bytes", "message.max.bytes",
    "message.send.max.retries", "message.timeout.ms", "metadata.broker.list", "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms", "metadata.recovery.strategy", "offset.store.method",
    "offset.store.path", "offset.store.sync.interval.ms", "partition.assignment.strategy", "partitioner",
    "plugin.library.paths", "produce.offset.report", "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes", "queue.buffering.max.messages", "queue.buffering.max.ms",
    "queued.max.messages.kbytes", "queued.min.messages", "queuing.strategy", "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms", "reconnect.backoff.max.ms", "reconnect.backoff.ms", "request.required.acks",
    "request.timeout.ms", "retries", "retry.backoff.max.ms", "retry.backoff.ms", "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd", "sasl.kerberos.min.time.before.relogin", "sasl.kerberos.principal",
    "sasl.kerberos.service.name", "sasl.mechanism", "sasl.mechanisms", "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud", "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss", "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds", "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file", "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem", "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type", "sasl.oauthbearer.metadata.authentication.type", "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username",
    "security.protocol", "session.timeout.ms", "socket.blocking.max.ms", "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable", "socket.max.fails", "socket.nagle.disable", "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes", "socket.timeout.ms", "ssl.ca.certificate.stores", "ssl.ca.location", "ssl.ca.pem",
    "ssl.certificate.location", "ssl.certificate.pem", "ssl.cipher.suites", "ssl.crl.location", "ssl.curves.list",
    "ssl.endpoint.identification.algorithm", "ssl.engine.id", "ssl.engine.location", "ssl.key.location",
    "ssl.key.password", "ssl.key.pem", "ssl.keystore.location", "ssl.keystore.password", "ssl.providers",
    "ssl.sigalgs.list", "statistics.interval.ms", "sticky.partitioning.linger.ms", "topic.blacklist",
    "topic.metadata.propagation.max.ms", "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms", "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse", "transaction.timeout.ms", "transactional.id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, value: &str) -> String {
        match Librdkafka.check(name, value) {
            Ok(()) => "taken".to_owned(),
            Err(Refusal::Unknown) => "unknown".to_owned(),
            Err(Refusal::Unfit(unfit)) => unfit.message,
        }
    }

    #[test]
    fn every_name_that_is_suggested_exists() {
        for name in NAMES {
            assert_ne!(told(name, "?"), "unknown", "{name}");
        }
    }

    #[test]
    fn a_property_is_taken_unknown_or_has_a_wrong_value() {
        let check = |name: &str, value: &str, expected: &str| {
            let told = told(name, value);
            assert!(told.contains(expected), "{name} = {value}: {told}");
        };
        check("linger.ms", "5", "taken");
        check("security.protocol", "sasl_ssl", "taken");
        check("no.such", "5", "unknown");
        check("linger.ms", "soon", "no such value");
        check("socket.timeout.ms", "1", "is outside allowed range");
        check("security.protocol", "SSL_SASL", "no such value");
        check("ssl.truststore.location", "canary", "Java TrustStores are not supported");
        for name in ["sasl.oauthbearer.method", "ssl.truststore.location", "sasl.jaas.config"] {
            assert!(!told(name, "canary").contains("canary"), "{name}");
        }
    }

    #[test]
    fn properties_that_do_not_go_together_make_no_client() {
        let check = |side, pairs: &[(&str, &str)], expected: Option<&str>| {
            let properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let refused = Librdkafka.check_together(side, &properties).err().map(|unfit| unfit.message);
            match (&refused, expected) {
                (None, None) => {}
                (Some(message), Some(part)) => assert!(message.contains(part), "{message}"),
                other => panic!("{pairs:?}: {other:?}"),
            }
        };
        check(Side::Source, &[], None);
        check(Side::Source, &[("security.protocol", "ssl")], None);
        check(Side::Output, &[("compression.type", "zstd"), ("security.protocol", "plaintext")], None);
        let nowhere = ("ssl.ca.location", "no/such/ca.pem");
        check(Side::Source, &[("security.protocol", "ssl"), nowhere], Some("ssl.ca.location"));
        check(Side::Source, &[("security.protocol", "sasl_plaintext")], Some("Kerberos"));
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        let sasl = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")];
        check(Side::Source, &[user, sasl].concat(), None);
        check(
            Side::Source,
            &[("session.timeout.ms", "50000"), ("max.poll.interval.ms", "20000")],
            Some("session.timeout.ms"),
        );
        check(Side::Output, &[("max.in.flight", "9")], Some("max.in.flight"));
        check(Side::Source, &[("fetch.wait.max.ms", "2000"), ("fetch.min.bytes", "1000000")], None);
        check(Side::Source, &[("fetch.wait.max.ms", "2001")], Some("fetch.wait.max.ms = 2001"));
        check(Side::Source, &[("fetch.wait.max.ms", "0xbb8")], Some("fetch.wait.max.ms = 0xbb8"));
    }

    #[test]
    fn native_fetch_says_what_it_cannot_do() {
        let properties = BTreeMap::from([("client.rack".to_owned(), "a".to_owned())]);
        assert!(Librdkafka.check_native_fetch(&properties).unwrap_err().contains("client.rack"));
        assert_eq!(Librdkafka.check_native_fetch(&BTreeMap::new()), Ok(()));
    }
}

//! Client properties: the user's, secrets resolved at the last moment, under those that kstream owns.

use std::{collections::BTreeMap, fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::{
    certificate,
    oauth::TokenSource,
    secret::{SettingsError, read_setting},
};
use crate::job::{Isolation, Setting};

/// Properties whose value decides whether the stream is right; they are set by kstream and refused from users.
pub const OWNED: [&str; 7] = [
    "allow.auto.create.topics",
    "auto.offset.reset",
    "check.crcs",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "isolation.level",
];

/// How often a handle that fetches tells what it has met, quotas among it: within the shortest silence that is an error.
const STATISTICS_MS: &str = "1000";
/// How long one broker may take to answer a question of the plan, at most; librdkafka's own default is a minute.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// A second more than a fetch may wait, which librdkafka insists on also where nothing is fetched.
const SHORTEST_ANSWER: Duration = Duration::from_millis(1_000 + PLANNED_FETCH_WAIT_MS);
const PLANNED_FETCH_WAIT_MS: u64 = 10;

/// Properties that only a producer knows; a handle that reads would warn of them, and the other way round.
const PRODUCER_ONLY: [&str; 8] = [
    "acks",
    "batch.size",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.idempotence",
    "linger.ms",
    "transactional.id",
];

/// Where to connect and how. Printing one shows names of properties, never a value.
#[derive(Clone)]
pub struct ClientSettings {
    /// Bootstrap servers.
    pub brokers: String,
    client_id: String,
    properties: BTreeMap<String, String>,
    pub token: Option<TokenSource>,
    answered_within: Duration,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("ClientSettings").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

/// How much the fetching handle may hold before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    pub memory_bytes: u64,
    pub partitions: usize,
    pub max_records_per_partition: u64,
}

impl ClientSettings {
    /// Reads the secrets and checks what can be checked without a connection.
    pub fn resolve(
        brokers: &str,
        client_id: &str,
        properties: &BTreeMap<String, Setting>,
    ) -> Result<ClientSettings, SettingsError> {
        if brokers.trim().is_empty() {
            return Err(SettingsError::new("no broker is named", "Give host:port, or several joined by commas."));
        }
        let mut resolved = BTreeMap::new();
        let mut token = None;
        for (name, setting) in properties {
            if OWNED.contains(&name.as_str()) {
                let message = format!("property '{name}' is set by kstream itself");
                return Err(SettingsError::new(message, "Remove it; `isolation` is a key of the source."));
            }
            let value = read_setting(name, setting)?;
            if name == "sasl.oauthbearer.config" {
                token = Some(TokenSource { setting: setting.clone() });
            }
            resolved.insert(name.clone(), value);
        }
        let settings = ClientSettings { token, ..ClientSettings::new(brokers, client_id, resolved)? };
        warn_of_weak_security(brokers, &settings.properties);
        Ok(settings)
    }

    /// With secrets that are read already; says nothing, and checks what this build can do.
    pub fn new(
        brokers: &str,
        client_id: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<ClientSettings, SettingsError> {
        check_built_in(&properties)?;
        check_files(&properties)?;
        Ok(ClientSettings {
            brokers: brokers.to_owned(),
            client_id: client_id.to_owned(),
            properties,
            token: None,
            answered_within: ANSWERED_WITHIN,
        })
    }

    /// Brokers are waited for up to `unreachable_limit`: when one hangs, there must be time to ask another.
    pub fn within(self, unreachable_limit: Duration) -> ClientSettings {
        let answered_within = ANSWERED_WITHIN.min(unreachable_limit / 3).max(SHORTEST_ANSWER);
        ClientSettings { answered_within, ..self }
    }

    /// Whether the user has set a property.
    pub fn sets(&self, name: &str) -> bool {
        self.properties.contains_key(name)
    }

    /// What clients call themselves to brokers, unless the properties say otherwise.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The user's properties, secrets included.
    pub(super) fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // It goes to DEBUG, and tells what a broker that hangs up may mean by it.
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("socket.keepalive.enable", "true");
        config.set("client.id", &self.client_id);
        for (name, value) in &self.properties {
            // A token is handed over by the handle's context, fresh each time.
            if !(name == "sasl.oauthbearer.config" && self.token.is_some()) {
                config.set(name, value);
            }
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn consumer(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.base();
        for name in PRODUCER_ONLY {
            config.remove(name);
        }
        config.set("allow.auto.create.topics", "false");
        config.set("auto.offset.reset", "error");
        config.set("check.crcs", "true");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set(
            "isolation.level",
            match isolation {
                Isolation::ReadCommitted => "read_committed",
                Isolation::ReadUncommitted => "read_uncommitted",
            },
        );
        config
    }

    /// A handle that never fetches: its requests do not queue behind a long poll.
    pub fn planning(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.consumer(isolation);
        config.remove("group.id");
        // A broker that hangs is left after that, and another one asked.
        if !self.sets("socket.timeout.ms") {
            config.set("socket.timeout.ms", self.answered_within.as_millis().to_string());
            config.set("fetch.wait.max.ms", PLANNED_FETCH_WAIT_MS.to_string());
        }
        config
    }

    /// A handle that reads and commits offsets of `group` and joins it never. Under read_committed an offset is shown once
    /// no transaction is open on it.
    pub fn in_group(&self, group: &str, isolation: Isolation) -> ClientConfig {
        let mut config = self.consumer(isolation);
        config.set("group.id", group);
        config
    }

    /// A handle that runs ahead of the batches. `embedded`: against the mock cluster, which does not wake a waiting
    /// fetch when records arrive.
    pub fn fetching(&self, isolation: Isolation, prefetch: Prefetch, embedded: bool) -> ClientConfig {
        let mut config = self.consumer(isolation);
        let mut default = |name: &str, value: String| {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        };
        // librdkafka insists on a group id before it lets anything be assigned; no group is joined.
        default("group.id", self.client_id.clone());
        default("fetch.wait.max.ms", if embedded { "10" } else { "100" }.into());
        default("fetch.min.bytes", "1".into());
        default("fetch.queue.backoff.ms", "5".into());
        default("fetch.error.backoff.ms", "100".into());
        // The only place where librdkafka tells of quotas without a callback of its own.
        default("statistics.interval.ms", STATISTICS_MS.into());
        default("queued.min.messages", prefetch.messages().to_string());
        default("queued.max.messages.kbytes", prefetch.kbytes().to_string());
        config
    }

    /// A handle that produces, each record once and in order.
    pub fn producing(&self) -> ClientConfig {
        let mut config = self.base();
        for name in self.properties.keys().filter(|name| name.starts_with("fetch.") || name.starts_with("queued.")) {
            config.remove(name);
        }
        config.remove("group.id");
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config
    }

    /// A handle for administration.
    pub fn administering(&self) -> ClientConfig {
        self.planning(Isolation::ReadUncommitted)
    }
}

impl Prefetch {
    /// librdkafka holds some 600 bytes around each message it has queued.
    const OVERHEAD_BYTES: u64 = 600;

    fn share(self) -> u64 {
        self.memory_bytes / self.partitions.max(1) as u64
    }

    fn messages(self) -> u64 {
        (self.share() / Self::OVERHEAD_BYTES).min(self.max_records_per_partition.saturating_mul(3)).clamp(1_000, 20_000)
    }

    fn kbytes(self) -> u64 {
        (self.share() / 1024).clamp(512, 65_536)
    }
}

/// Properties that name a file to be read.
const FILES: &[&str] = &[
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "https.ca.location",
];

/// librdkafka says of a file that is not there that some BIO library failed.
fn check_files(properties: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    if !properties.get("security.protocol").is_some_and(|protocol| protocol.to_lowercase().contains("ssl")) {
        return Ok(());
    }
    let named = FILES.iter().filter_map(|name| properties.get_key_value(*name));
    for (name, path) in named.filter(|(_, path)| !path.is_empty() && *path != "probe") {
        std::fs::File::open(path).map_err(|error| certificate::unreadable(name, path, &error))?;
    }
    certificate::check(properties)
}

/// What this build of librdkafka cannot do, said before a connection is tried.
fn check_built_in(properties: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    let features = ClientConfig::new()
        .create_native_config()
        .and_then(|config| config.get("builtin.features"))
        .map_err(|error| SettingsError::new(format!("librdkafka does not start: {error}"), "Reinstall kstream."))?;
    let has = |feature: &str| features.split(',').any(|built_in| built_in.trim() == feature);
    let value = |name: &str| properties.get(name).map(|value| value.to_lowercase()).unwrap_or_default();
    let missing = |what: &str, hint: &str| Err(SettingsError::new(format!("this build has no {what}"), hint));
    let protocol = value("security.protocol");
    let mechanism = [value("sasl.mechanism"), value("sasl.mechanisms")].concat();
    if protocol.ends_with("ssl") && !has("ssl") {
        return missing("TLS", "Build kstream with its default features.");
    }
    if protocol.starts_with("sasl") && (mechanism.is_empty() || mechanism == "gssapi") && !has("sasl_gssapi") {
        return missing("Kerberos (GSSAPI, which is what sasl.mechanism is by default)", "Set sasl.mechanism.");
    }
    if mechanism.starts_with("scram") && !has("sasl_scram") {
        return missing("SCRAM", "Build kstream with its default features.");
    }
    if value("sasl.oauthbearer.method") == "oidc" {
        let hint = "Let something else fetch the token, and set sasl.oauthbearer.config = { file = \"...\" }.";
        return missing("HTTP client for OIDC tokens", hint);
    }
    if mechanism == "oauthbearer" && !properties.contains_key("sasl.oauthbearer.config") {
        let hint =
            "Set it to { file = \"...\" } or { env = \"...\" }, or to \"principal=NAME\" for an unsecured token.";
        return Err(SettingsError::new("OAUTHBEARER needs a token: sasl.oauthbearer.config is not set", hint));
    }
    Ok(())
}

fn warn_of_weak_security(brokers: &str, properties: &BTreeMap<String, String>) {
    let value = |name: &str| properties.get(name).map(|value| value.to_lowercase()).unwrap_or_default();
    let local = |broker: &str| ["localhost", "127.", "[::1]"].iter().any(|host| broker.trim().starts_with(host));
    if value("security.protocol") == "sasl_plaintext" && !brokers.split(',').all(local) {
        tracing::warn!(brokers, "sasl_plaintext sends credentials over the network without TLS");
    }
    if value("enable.ssl.certificate.verification") == "false" {
        tracing::warn!(brokers, "insecure: the broker's certificate is not verified");
    } else if value("ssl.endpoint.identification.algorithm") == "none" {
        tracing::warn!(brokers, "insecure: the host name in the broker's certificate is not verified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(pairs: &[(&str, &str)]) -> BTreeMap<String, Setting> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Setting::Literal((*value).to_owned()))).collect()
    }

    fn resolve(pairs: &[(&str, &str)]) -> Result<ClientSettings, SettingsError> {
        ClientSettings::resolve("localhost:9092", "kstream-job", &literal(pairs))
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_a_connection() {
        let check = |pairs: &[(&str, &str)], text: &str| {
            let message = resolve(pairs).unwrap_err().message;
            assert!(message.contains(text), "{message}");
        };
        for name in OWNED {
            check(&[(name, "true")], "is set by kstream itself");
        }
        check(&[("security.protocol", "SASL_SSL")], "no Kerberos");
        check(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")], "no Kerberos");
        check(&[("sasl.mechanism", "OAUTHBEARER")], "needs a token");
        check(&[("sasl.mechanism", "OAUTHBEARER"), ("sasl.oauthbearer.method", "oidc")], "no HTTP client");
        assert!(ClientSettings::resolve(" ", "id", &BTreeMap::new()).unwrap_err().message.contains("no broker"));
    }

    #[test]
    fn the_default_build_has_tls_scram_oauth_and_every_codec() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            resolve(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", mechanism)]).unwrap();
        }
        let config = ClientConfig::new().create_native_config().unwrap();
        let features = config.get("builtin.features").unwrap();
        for feature in ["gzip", "snappy", "lz4", "zstd", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer"] {
            assert!(features.split(',').any(|built_in| built_in == feature), "{feature} is missing in {features}");
        }
    }

    #[test]
    fn secrets_are_read_late_and_never_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "canary-secret\n").unwrap();
        let properties = BTreeMap::from([("sasl.password".to_owned(), Setting::SecretFile(file.path().to_owned()))]);
        let settings = ClientSettings::resolve("b:9092", "id", &properties).unwrap();
        assert_eq!(settings.base().get("sasl.password"), Some("canary-secret"));
        assert!(!format!("{settings:?}").contains("canary"));

        let gone = BTreeMap::from([("sasl.password".to_owned(), Setting::SecretEnv("KSTREAM_NO_SUCH_NAME".into()))]);
        let message = ClientSettings::resolve("b:9092", "id", &gone).unwrap_err().message;
        assert!(message.contains("KSTREAM_NO_SUCH_NAME"), "{message}");
    }

    #[test]
    fn kstreams_own_options_are_always_set() {
        let settings = resolve(&[("fetch.wait.max.ms", "250"), ("linger.ms", "5")]).unwrap();
        let prefetch = Prefetch { memory_bytes: 64 << 20, partitions: 4, max_records_per_partition: 250_000 };
        let config = settings.fetching(Isolation::ReadCommitted, prefetch, false);
        assert!(OWNED.iter().all(|name| config.get(name).is_some()));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("fetch.wait.max.ms"), Some("250"), "the user's value wins where kstream does not own it");
        assert_eq!(config.get("linger.ms"), None);
        assert_eq!(settings.producing().get("linger.ms"), Some("5"));
        let planning = settings.planning(Isolation::ReadUncommitted);
        assert_eq!((planning.get("group.id"), planning.get("socket.timeout.ms")), (None, Some("10000")));
        let answered = |limit_s, pairs: &[(&str, &str)]| {
            let settings = resolve(pairs).unwrap().within(Duration::from_secs(limit_s));
            let config = settings.planning(Isolation::ReadUncommitted);
            config.create_native_config().and_then(|config| config.get("socket.timeout.ms")).unwrap()
        };
        assert_eq!(answered(120, &[]), "10000");
        assert_eq!(answered(9, &[]), "3000");
        assert_eq!(answered(1, &[("fetch.wait.max.ms", "1500")]), "1010");
        assert_eq!(answered(9, &[("socket.timeout.ms", "90000")]), "90000");
    }

    #[test]
    fn prefetch_is_split_over_the_partitions_within_bounds() {
        let check = |memory_bytes, partitions, max, messages, kbytes| {
            let prefetch = Prefetch { memory_bytes, partitions, max_records_per_partition: max };
            assert_eq!((prefetch.messages(), prefetch.kbytes()), (messages, kbytes), "{prefetch:?}");
        };
        check(64 << 20, 4, 250_000, 20_000, 16_384);
        check(64 << 20, 64, 250_000, 1_747, 1_024);
        check(64 << 20, 4, 500, 1_500, 16_384);
        check(1 << 20, 100, 250_000, 1_000, 512);
        check(1 << 40, 0, u64::MAX, 20_000, 65_536);
    }
}

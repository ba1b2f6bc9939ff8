//! Settings as they may be shown.
//!
//! An allow list: the value of a client property is shown only where it is known to be harmless. A property nobody
//! thought of here is hidden, so a new kind of secret is hidden too.

use std::collections::BTreeMap;

use crate::job::Setting;

/// What stands in place of a hidden value.
pub const HIDDEN: &str = "(hidden)";

/// Client properties whose values may be shown; a name that ends in `.` allows all that begin with it.
const SHOWN: [&str; 24] = [
    "acks",
    "api.version.",
    "batch.",
    "broker.address.",
    "broker.version.",
    "client.dns.lookup",
    "client.rack",
    "compression.",
    "connections.",
    "delivery.timeout.ms",
    "fetch.",
    "linger.ms",
    "max.",
    "message.",
    "metadata.",
    "queue.",
    "queued.",
    "receive.",
    "reconnect.",
    "request.",
    "retry.",
    "security.protocol",
    "socket.",
    "statistics.interval.ms",
];

/// As above, of names that begin like some that are secret.
const SHOWN_EXACTLY: [&str; 8] = [
    "enable.ssl.certificate.verification",
    "retries",
    "sasl.mechanism",
    "sasl.mechanisms",
    "ssl.ca.location",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
];

/// The value of a property as it may be printed. Where a secret comes from may always be.
pub fn shown(name: &str, setting: &Setting) -> String {
    match setting {
        Setting::Literal(value) if allowed(name) => value.clone(),
        Setting::Literal(_) => HIDDEN.to_owned(),
        Setting::SecretEnv(variable) => format!("(secret from ${variable})"),
        Setting::SecretFile(path) => format!("(secret from {})", path.display()),
    }
}

/// All properties on one line, for a DEBUG message.
pub fn line(properties: &BTreeMap<String, Setting>) -> String {
    let shown: Vec<String> =
        properties.iter().map(|(name, setting)| format!("{name}={}", shown(name, setting))).collect();
    shown.join(", ")
}

fn allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let listed = |entry: &&str| if entry.ends_with('.') { name.starts_with(*entry) } else { name == *entry };
    SHOWN_EXACTLY.contains(&name.as_str()) || SHOWN.iter().any(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let literal = |value: &str| Setting::Literal(value.to_owned());
        for (name, setting, expected) in [
            ("security.protocol", literal("SASL_SSL"), "SASL_SSL"),
            ("fetch.wait.max.ms", literal("10"), "10"),
            ("Compression.Type", literal("zstd"), "zstd"),
            ("ssl.ca.location", literal("ca.pem"), "ca.pem"),
            ("sasl.password", literal("hunter2"), HIDDEN),
            ("sasl.username", literal("me"), HIDDEN),
            ("sasl.jaas.config", literal("hunter2"), HIDDEN),
            ("ssl.key.pem", literal("hunter2"), HIDDEN),
            ("something.new", literal("hunter2"), HIDDEN),
            ("security.protocol.secret", literal("hunter2"), HIDDEN),
            ("sasl.password", Setting::SecretEnv("KAFKA_PASSWORD".to_owned()), "(secret from $KAFKA_PASSWORD)"),
            ("sasl.password", Setting::SecretFile("run/secret".into()), "(secret from run/secret)"),
        ] {
            assert_eq!(shown(name, &setting), expected, "{name}");
        }
    }

    #[test]
    fn a_line_holds_no_secret() {
        let properties = BTreeMap::from([
            ("sasl.password".to_owned(), Setting::Literal("hunter2".to_owned())),
            ("linger.ms".to_owned(), Setting::Literal("5".to_owned())),
        ]);
        assert_eq!(line(&properties), "linger.ms=5, sasl.password=(hidden)");
    }
}

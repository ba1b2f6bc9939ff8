//! The real Kafka of the integration tests: one broker for the whole run, and what tests do to it.
//!
//! ```ignore
//! let Some(broker) = broker() else { return };
//! let topic = broker.topic("words", 4);
//! broker.produce(topic.name(), 0, ["hello world"]);
//! ```
//!
//! `scripts/test` starts the broker, hands its address over in `KSTREAM_TEST_*` and stops it. A bare `cargo test` starts one
//! itself, which ends with the test process. Where Java or Maven is missing a test that asks for the broker says so on
//! stderr, is counted by `scripts/test`, and passes; with `KSTREAM_REQUIRE_KAFKA=1` it fails.

// Areas come to use different parts of it.
#![allow(dead_code, unused_imports)]

mod admin;
mod grant;
mod group;
mod process;
mod produce;
mod quota;
mod read;
mod topic;

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    process::id,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

pub use self::{
    grant::{Operation, Resource},
    process::OwnBroker,
    produce::{End, NewRecord, flush, send},
    read::ReadRecord,
    topic::Topic,
};

/// How to reach a broker. Every address is `host:port`.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Plaintext, no authentication; may do everything.
    pub brokers: String,
    /// SASL over TLS: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.
    pub sasl_ssl_brokers: String,
    /// TLS without SASL; a client certificate is optional.
    pub ssl_brokers: String,
    /// TLS without SASL; a client certificate is required.
    pub mutual_brokers: String,
    /// PEM of the authority that signed the broker's certificate.
    pub ca: PathBuf,
    /// PKCS#12 store of a client certificate signed by it.
    pub client_keystore: PathBuf,
    pub client_keystore_password: String,
    /// May do everything.
    pub user: String,
    pub password: String,
    /// Is known, and may do nothing.
    pub stranger: String,
    pub stranger_password: String,
}

/// The broker of this test run; `None` (said aloud and counted) where there is none.
pub fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let found = BROKER.get_or_init(|| Broker::from_environment().or_else(process::start_for_this_process)).as_ref();
    if found.is_none() {
        skip();
    }
    found
}

/// A broker that this test alone may stop, kill and start again; slower than [`broker`], for tests that need it.
pub fn own_broker() -> Option<OwnBroker> {
    let own = OwnBroker::start();
    if own.is_none() {
        skip();
    }
    own
}

/// A name no other test of this or any other run uses.
pub fn unique_name(base: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{base}-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Broker {
    fn from_environment() -> Option<Broker> {
        env::var_os("KSTREAM_TEST_BROKERS")?;
        Some(Broker::from_settings(|name| env::var(name).unwrap_or_default()))
    }

    fn from_settings(setting: impl Fn(&str) -> String) -> Broker {
        Broker {
            brokers: setting("KSTREAM_TEST_BROKERS"),
            sasl_ssl_brokers: setting("KSTREAM_TEST_SASL_SSL_BROKERS"),
            ssl_brokers: setting("KSTREAM_TEST_SSL_BROKERS"),
            mutual_brokers: setting("KSTREAM_TEST_MUTUAL_BROKERS"),
            ca: setting("KSTREAM_TEST_CA").into(),
            client_keystore: setting("KSTREAM_TEST_CLIENT_KEYSTORE").into(),
            client_keystore_password: setting("KSTREAM_TEST_CLIENT_KEYSTORE_PASSWORD"),
            user: setting("KSTREAM_TEST_USER"),
            password: setting("KSTREAM_TEST_PASSWORD"),
            stranger: setting("KSTREAM_TEST_STRANGER"),
            stranger_password: setting("KSTREAM_TEST_STRANGER_PASSWORD"),
        }
    }
}

fn skip() {
    let test = thread::current().name().unwrap_or("?").to_owned();
    assert!(env::var_os("KSTREAM_REQUIRE_KAFKA").is_none_or(|v| v != "1"), "{test} needs Kafka: Java 17 and Maven");
    // Past the capture of the test harness: a skip is to be seen.
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs Kafka (Java 17 and Maven)");
    if let Some(path) = env::var_os("KSTREAM_TEST_SKIPPED")
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{test}");
    }
}

mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn produced_records_are_read_back_in_order() {
        let Some(broker) = broker() else { return };
        // Its record of 1970 would be deleted by age.
        let topic = broker.topic_with("order", 2, &[("retention.ms", "-1")]);
        broker.produce(topic.name(), 0, ["a", "b"]);
        broker.produce_records(topic.name(), 1, [NewRecord::value("v").key("k").header("h", "x").timestamp(1_500)]);
        let read = broker.read_committed(topic.name());
        let seen: Vec<_> = read.iter().map(|r| (r.partition, r.offset, r.value_text())).collect();
        assert_eq!(seen, [(0, 0, "a".to_owned()), (0, 1, "b".to_owned()), (1, 0, "v".to_owned())]);
        assert_eq!(read[2].timestamp_ms, 1_500);
        assert_eq!(read[2].headers, [("h".to_owned(), Some(b"x".to_vec()))]);
    }

    #[test]
    fn aborted_records_are_not_seen_and_markers_take_offsets() {
        let Some(broker) = broker() else { return };
        let topic = broker.topic("transactions", 1);
        let begun = Instant::now();
        broker.transaction(topic.name(), [(0, "aborted")], End::Abort);
        broker.transaction(topic.name(), [(0, "committed")], End::Commit);
        eprintln!("two transactions took {:?}", begun.elapsed());
        assert_eq!(broker.offsets(topic.name(), 0), (0, 4));
        let values: Vec<_> = broker.read_committed(topic.name()).iter().map(ReadRecord::value_text).collect();
        assert_eq!(values, ["committed"]);
    }

    #[test]
    fn deleted_records_move_the_start_of_the_log() {
        let Some(broker) = broker() else { return };
        let topic = broker.topic("deleted", 1);
        broker.produce(topic.name(), 0, ["a", "b", "c"]);
        broker.delete_records(topic.name(), 0, 2);
        assert_eq!(broker.offsets(topic.name(), 0), (2, 3));
    }

    #[test]
    fn a_topic_can_grow_and_be_made_again() {
        let Some(broker) = broker() else { return };
        let topic = broker.topic("grown", 1);
        broker.add_partitions(topic.name(), 3);
        broker.produce(topic.name(), 2, ["late"]);
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        assert_eq!(broker.offsets(topic.name(), 0), (0, 0));
    }

    #[test]
    fn a_user_may_come_in_by_every_door_and_a_stranger_by_none() {
        let Some(broker) = broker() else { return };
        let topic = broker.topic("doors", 1);
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let user = broker.sasl_ssl_properties(mechanism, &broker.user, &broker.password);
            assert!(broker.can_see(topic.name(), &user), "{mechanism}");
            let stranger = broker.sasl_ssl_properties(mechanism, &broker.stranger, &broker.stranger_password);
            assert!(!broker.can_see(topic.name(), &stranger), "{mechanism}");
        }
        assert!(broker.can_see(topic.name(), &broker.client_certificate_properties()));
    }

    #[test]
    fn an_own_broker_keeps_its_records_over_a_kill() {
        let Some(mut own) = own_broker() else { return };
        let topic = unique_name("kept");
        own.create_topic(&topic, 1, &[]);
        own.produce(&topic, 0, ["kept"]);
        own.kill();
        own.start_again();
        assert_eq!(own.offsets(&topic, 0), (0, 1));
    }
}

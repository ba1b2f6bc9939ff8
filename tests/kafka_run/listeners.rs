//! What a listener asks of its clients: TLS, SASL, certificates.

use std::time::{Duration, Instant};

use openssl::{pkcs12::Pkcs12, symm::Cipher};

use super::{
    super::{
        broker::{Broker, NewRecord, broker, unique_name},
        run::{sums, truth},
        support::Place,
    },
    PARTITIONS, bounded, fill, word_count,
};

/// The password of a client's key.
const SEAL: &str = "s3al";

fn sasl(broker: &Broker, topic: &str, mechanism: &str) -> String {
    let ca = broker.ca.display();
    let user = &broker.user;
    word_count(
        &broker.sasl_ssl_brokers,
        topic,
        &format!(
            r#"unreachable_limit = "5s"
properties = {{ "security.protocol" = "SASL_SSL", "ssl.ca.location" = "{ca}", "sasl.mechanism" = "{mechanism}", "sasl.username" = "{user}", "sasl.password" = {{ env = "TEST_SECRET" }} }}"#
        ),
    )
}

#[test]
fn a_listener_that_does_not_fit_is_explained() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("unfit", 1);
    let ca = broker.ca.display().to_string();
    let tls = |ca: &str| format!(r#""security.protocol" = "ssl", "ssl.ca.location" = "{ca}""#);
    let (plain, ssl, sasl_ssl) = (&broker.brokers, &broker.ssl_brokers, &broker.sasl_ssl_brokers);
    let no_ca = r#""security.protocol" = "ssl""#.to_owned();
    let cases: Vec<(&String, String, &[&str])> = vec![
        (ssl, no_ca, &["certificate verify failed", "ssl.ca.location"]),
        (plain, tls(&ca), &["SSL connection closed", "security.protocol"]),
        (ssl, String::new(), &["security.protocol"]),
        (sasl_ssl, String::new(), &["security.protocol"]),
        (ssl, tls("no/such/ca.pem"), &["ssl.ca.location", "no/such/ca.pem", "no such file"]),
    ];
    let running: Vec<_> = cases
        .into_iter()
        .map(|(brokers, properties, says)| {
            let source = format!("unreachable_limit = \"4s\"\nproperties = {{ {properties} }}");
            let place = Place::with_job(&word_count(brokers, topic.name(), &source));
            let running = place.start(&bounded());
            (place, running, properties, says)
        })
        .collect();
    for (_place, running, properties, says) in running {
        let ended = running.wait();
        let error = ended.err.lines().skip_while(|line| !line.starts_with("error")).collect::<Vec<_>>().join("\n");
        for fact in says {
            assert!(error.contains(fact), "{properties}: no {fact:?} in {}", ended.err);
        }
    }
}

#[test]
fn scram_over_tls_reads_and_a_wrong_password_is_refused_and_never_shown() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("secured", 1);
    broker.produce_records(topic.name(), 0, [NewRecord::value("a b").key("k"), NewRecord::value("b")]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] {
        let place = Place::with_job(&sasl(broker, topic.name(), mechanism));
        let run = |secret: &str, verbose: &str| {
            let mut command = place.command(&format!("{} --progress progress.jsonl {verbose}", bounded()));
            command.env("TEST_SECRET", secret);
            place.spawn(command).wait()
        };
        let refused = run("wr0ng-passw0rd", "-vv").expect(6);
        assert!(!(refused.err.clone() + &refused.out).contains("wr0ng-passw0rd"), "{}", refused.err);
        assert_eq!(place.read("out.log"), "");
        run(&broker.password, "-vv").expect(0);
        assert_eq!(sums(&place.read("out.log")), truth(["a b b"]), "{mechanism}");
        for (name, bytes) in place.files("checkpoint") {
            let secret = broker.password.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name} holds the secret");
        }
    }
}

#[test]
fn a_chore_says_at_once_why_a_listener_refuses_it() {
    let Some(broker) = broker() else { return };
    let place = Place::with_job("");
    let (ca, name) = (broker.ca.display(), unique_name("never"));
    let tls = format!("-X ssl.ca.location={ca}");
    let sasl = format!(
        "-X security.protocol=sasl_ssl {tls} -X sasl.mechanism=PLAIN -X sasl.username={} -X sasl.password={{env=\"WRONG\"}}",
        broker.user
    );
    let bare = format!("-X security.protocol=ssl {tls}");
    let create = format!("topics create {name}");
    let delete = format!("topics delete {name}");
    for chore in ["topics list", &create, &delete] {
        for (brokers, properties, says) in [
            (&broker.sasl_ssl_brokers, &sasl, "uthentication"),
            (&broker.mutual_brokers, &bare, "ssl.certificate.location"),
        ] {
            let mut command = place.command(&format!("{chore} --brokers {brokers} {properties}"));
            command.env("WRONG", "wr0ng");
            let began = Instant::now();
            place.spawn(command).wait().expect(6).says(&[says]);
            assert!(began.elapsed() < Duration::from_secs(10), "{chore} on {brokers} waits for its deadline");
        }
    }
}

/// The client's certificate and its key as PEM files in `place`: `client.pem`, `key.pem`, and `sealed.pem` with a
/// password.
fn write_client_files(broker: &Broker, place: &Place) {
    let store = std::fs::read(&broker.client_keystore).unwrap();
    let store = Pkcs12::from_der(&store).unwrap().parse2(&broker.client_keystore_password).unwrap();
    let key = store.pkey.unwrap();
    let sealed = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), SEAL.as_bytes()).unwrap();
    place.write("client.pem", store.cert.unwrap().to_pem().unwrap());
    place.write("key.pem", key.private_key_to_pem_pkcs8().unwrap());
    place.write("sealed.pem", sealed);
}

#[test]
fn a_listener_that_wants_a_certificate_gets_it_or_is_told_to_want_it() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("mutual", PARTITIONS);
    fill(broker, topic.name(), 5);
    let (own, ca) = (r#""ssl.certificate.location" = "client.pem""#, broker.ca.display());
    let plain = format!(r#"{own}, "ssl.key.location" = "key.pem""#);
    let sealed = format!(r#"{own}, "ssl.key.location" = "sealed.pem""#);
    let opened = format!(r#"{sealed}, "ssl.key.password" = {{ env = "TEST_SECRET" }}"#);
    let keystore = format!(
        r#""ssl.keystore.location" = "{}", "ssl.keystore.password" = {{ env = "TEST_STORE" }}"#,
        broker.client_keystore.display()
    );
    let run = |fetch: &str, properties: &str, secret: &str| {
        let properties = format!(r#""security.protocol" = "ssl", "ssl.ca.location" = "{ca}", {properties}"#);
        let source = format!("fetch = \"{fetch}\"\nunreachable_limit = \"20s\"\nproperties = {{ {properties} }}");
        let place = Place::with_job(&word_count(&broker.mutual_brokers, topic.name(), &source));
        write_client_files(broker, &place);
        let mut command = place.command(&bounded());
        command.env("TEST_SECRET", secret).env("TEST_STORE", &broker.client_keystore_password);
        let began = Instant::now();
        let ended = place.spawn(command).wait();
        assert!(began.elapsed() < Duration::from_secs(15), "told at once, not after the limit: {}", ended.err);
        (place, ended)
    };
    let reads = |fetch: &str, properties: &str| {
        let (place, ended) = run(fetch, properties, SEAL);
        ended.expect(0);
        assert!(place.read("out.log").contains("('p0', 5)"), "{fetch}, {properties}");
    };
    for fetch in ["native", "librdkafka"] {
        reads(fetch, &plain);
        reads(fetch, &opened);
        reads(fetch, &keystore);
        let (_place, ended) = run(fetch, "", "");
        ended.expect(6).says(&["certificate", "ssl.certificate.location", "ssl.key.location"]);
        let refused = |properties: &str, secret: &str, says: &[&str]| {
            let (_place, ended) = run(fetch, properties, secret);
            ended.expect(2).says(says);
        };
        refused(own, "", &["ssl.key.location"]);
        refused(&sealed, "", &["encrypted", "ssl.key.password"]);
        refused(&opened, "wrong", &["ssl.key.password does not open"]);
    }
}

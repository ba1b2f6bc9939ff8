//! TLS that does not fit: what is wrong is said at once, and what may be done about it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use kstream::{
    job::Isolation,
    source::{
        SourceError, SourceErrorKind,
        kafka::native::{NativePlane, Settings},
    },
};
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

use super::plane::{Plane, config};
use crate::{broker::unique_name, scripted_broker::TOPIC};

/// Unix times of a certificate that holds now, and of one that no longer does.
const VALID: (i64, i64) = (1_500_000_000, 4_000_000_000);
const EXPIRED: (i64, i64) = (1_500_000_000, 1_600_000_000);

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

impl Authority {
    fn new() -> Authority {
        let key = key();
        Authority { certificate: certificate(&key, "authority", VALID, None, None), key }
    }

    /// As a file for `ssl.ca.location`.
    fn file(&self) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.pem", unique_name("authority")));
        fs::write(&path, self.certificate.to_pem().unwrap()).unwrap();
        path
    }

    /// A listener with a certificate of this authority, which hangs up after the handshake; its address.
    fn listener(&self, host: SubjectAlternativeName, valid: (i64, i64)) -> String {
        let key = key();
        let own = certificate(&key, "broker", valid, Some(self), Some(host));
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&own).unwrap();
        let acceptor = acceptor.build();
        serve(move |socket| drop(acceptor.accept(socket)))
    }
}

fn certificate(
    key: &PKey<Private>,
    name: &str,
    valid: (i64, i64),
    issuer: Option<&Authority>,
    host: Option<SubjectAlternativeName>,
) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.certificate.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(valid.0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(valid.1).unwrap()).unwrap();
    match host {
        Some(host) => {
            let issuer = issuer.map(|issuer| &*issuer.certificate);
            let names = host.build(&builder.x509v3_context(issuer, None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
    builder.build()
}

/// Serves connections until the test process ends.
fn serve(each: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(each));
    address
}

fn here() -> SubjectAlternativeName {
    let mut host = SubjectAlternativeName::new();
    host.ip("127.0.0.1");
    host
}

fn elsewhere() -> SubjectAlternativeName {
    let mut host = SubjectAlternativeName::new();
    host.dns("elsewhere.example");
    host
}

/// What a plane says that is to read from such a listener.
fn error_of(address: &str, properties: &[(&str, &str)]) -> SourceError {
    let mut config = config(address, Isolation::ReadCommitted);
    config.properties.extend(properties.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let mut plane = Plane::open(&config, TOPIC, &[0]);
    plane.stall_timeout_ms = 3_000;
    plane.read(0, 0, 1).unwrap_err()
}

#[test]
fn a_certificate_that_does_not_hold_is_refused_at_once_and_says_why() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ca = ours.file();
    let check = |address: &str, expected: Option<&str>| {
        let begun = Instant::now();
        let error = error_of(address, &[("security.protocol", "ssl"), ("ssl.ca.location", ca.to_str().unwrap())]);
        let Some(expected) = expected else {
            assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
            assert!(!error.message.contains("certificate"), "{error}");
            return;
        };
        assert_eq!(error.kind, SourceErrorKind::Refused, "{error}");
        assert!(error.message.contains(expected) && error.message.contains(address), "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("ssl.ca.location")), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    };
    check(&ours.listener(here(), VALID), None);
    check(&ours.listener(here(), EXPIRED), Some("expired"));
    check(&ours.listener(elsewhere(), VALID), Some("mismatch"));
    check(&theirs.listener(here(), VALID), Some("not trusted"));
}

#[test]
fn a_listener_that_speaks_something_else_is_named() {
    // An alert: what TLS servers answer to what is not TLS.
    let tls = serve(|mut socket| {
        let _ = socket.read(&mut [0; 100]);
        let _ = socket.write_all(&[0x15, 3, 1, 0, 2, 2, 70]);
    });
    let error = error_of(&tls, &[]);
    assert_eq!(error.kind, SourceErrorKind::Refused, "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("security.protocol")));

    let plain = serve(drop);
    let error = error_of(&plain, &[("security.protocol", "ssl")]);
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "it may only be going down: {error}");
    assert!(error.message.contains("TLS handshake"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_path() {
    for name in ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"] {
        let mut config = config("127.0.0.1:1", Isolation::ReadCommitted);
        config.properties.insert("security.protocol".into(), "ssl".into());
        config.properties.insert(name.into(), "no/such/file.pem".into());
        let error = NativePlane::open(Settings::from_config(&config).unwrap()).err().unwrap();
        for fact in [name, "no/such/file.pem", "No such file"] {
            assert!(error.message.contains(fact), "{error} without {fact}");
        }
    }
}

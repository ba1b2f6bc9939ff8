//! A client's own certificate and key: what can be told of them before a connection, and what brokers say to them.

use std::collections::BTreeMap;

use openssl::{
    pkcs12::Pkcs12,
    pkey::{PKey, Private},
    x509::X509,
};

use super::secret::SettingsError;

/// What to do about a broker that does not take the client's certificate, or misses one.
pub const HINT: &str = "Set ssl.certificate.location and ssl.key.location to a certificate, and its key, that the broker's listener trusts.";

/// Whether these words say that a broker wants a certificate from its clients, or another one. It tells so after the
/// handshake, by a TLS alert, and the connection is then simply closed.
pub fn is_refused(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    reason.contains("alert") && (reason.contains("certificate") || reason.contains("unknown ca"))
}

/// Whether certificate and key are there, can be opened, and belong together.
pub fn check(properties: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    check_keystore(properties)?;
    let certificate = given(properties, "ssl.certificate.pem", "ssl.certificate.location")?;
    let key = given(properties, "ssl.key.pem", "ssl.key.location")?;
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(()),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(certificate), None) => return Err(lacks(certificate.name, "ssl.key.location")),
        (None, Some(key)) => return Err(lacks(key.name, "ssl.certificate.location")),
    };
    let own = X509::from_pem(&certificate.pem).map_err(|_| {
        let message = format!("{} holds no certificate in PEM", certificate.name);
        SettingsError::new(message, "It begins with -----BEGIN CERTIFICATE-----.")
    })?;
    let opened = open(&key, properties.get("ssl.key.password"))?;
    let public = own
        .public_key()
        .map_err(|error| SettingsError::new(format!("{}: {error}", certificate.name), "Give another certificate."))?;
    if !opened.public_eq(&public) {
        let message = format!("the key of {} does not belong to the certificate of {}", key.name, certificate.name);
        return Err(SettingsError::new(message, "Give the certificate and the key that were made together."));
    }
    Ok(())
}

struct Given {
    name: &'static str,
    pem: Vec<u8>,
}

/// The text of a property, or of the file that another one names.
fn given(
    properties: &BTreeMap<String, String>,
    text: &'static str,
    file: &'static str,
) -> Result<Option<Given>, SettingsError> {
    if let Some(pem) = properties.get(text) {
        return Ok(Some(Given { name: text, pem: pem.clone().into_bytes() }));
    }
    let Some(path) = properties.get(file).filter(|path| !path.is_empty()) else { return Ok(None) };
    Ok(Some(Given { name: file, pem: read(file, path)? }))
}

fn read(name: &str, path: &str) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| unreadable(name, path, &error))
}

/// A file that a property names and that cannot be read.
pub fn unreadable(name: &str, path: &str, error: &std::io::Error) -> SettingsError {
    // A key that was given where its file is to be named is not repeated.
    let shown = if path.contains('\n') { "a path of several lines" } else { path };
    let message = format!("{name}: cannot read {shown}: {error}");
    SettingsError::new(message, format!("Correct `{name}`, or put the file there."))
}

fn lacks(set: &str, missing: &str) -> SettingsError {
    SettingsError::new(
        format!("{set} is set, and {missing} is not"),
        format!(
            "A client's certificate needs its key, and the key its certificate: set `{missing}`, or remove `{set}`."
        ),
    )
}

fn open(key: &Given, password: Option<&String>) -> Result<PKey<Private>, SettingsError> {
    // With no password at all, OpenSSL would ask for one on the terminal.
    let password = password.filter(|password| !password.is_empty());
    let opened = PKey::private_key_from_pem_passphrase(&key.pem, password.map_or("", String::as_str).as_bytes());
    opened.map_err(|_| {
        let name = key.name;
        let is_encrypted = String::from_utf8_lossy(&key.pem).contains("ENCRYPTED");
        match password {
            None if is_encrypted => SettingsError::new(
                format!("the key of {name} is encrypted, and ssl.key.password is not set"),
                "Set `\"ssl.key.password\" = { env = \"NAME\" }` or `{ file = \"PATH\" }`.",
            ),
            Some(_) if is_encrypted => SettingsError::new(
                format!("ssl.key.password does not open the key of {name}"),
                "Check where ssl.key.password is read from.",
            ),
            _ => SettingsError::new(
                format!("{name} holds no private key in PEM"),
                "It begins with -----BEGIN PRIVATE KEY----- or -----BEGIN ENCRYPTED PRIVATE KEY-----.",
            ),
        }
    })
}

fn check_keystore(properties: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    let name = "ssl.keystore.location";
    let Some(path) = properties.get(name).filter(|path| !path.is_empty()) else { return Ok(()) };
    let store = Pkcs12::from_der(&read(name, path)?).map_err(|_| {
        let hint = "A Java KeyStore becomes one by `keytool -importkeystore -deststoretype PKCS12`.";
        SettingsError::new(format!("{name}: {path} is no PKCS#12 file"), hint)
    })?;
    let Some(password) = properties.get("ssl.keystore.password") else {
        return Err(SettingsError::new(
            format!("{name} is set, and ssl.keystore.password is not"),
            "Set `\"ssl.keystore.password\" = { env = \"NAME\" }` or `{ file = \"PATH\" }`.",
        ));
    };
    // OpenSSL cannot open stores that are encrypted by what it calls legacy, and says so.
    let opened = store.parse2(password).map_err(|error| {
        let reason = error.errors().first().and_then(|error| error.reason()).unwrap_or("it cannot be read");
        let message = format!("ssl.keystore.password does not open {path}: {reason}");
        SettingsError::new(message, "Check where ssl.keystore.password is read from.")
    })?;
    match (opened.cert, opened.pkey) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(SettingsError::new(
            format!("{name}: {path} holds no private key with its certificate"),
            "Certificates of authorities belong in a PEM file, and that in ssl.ca.location.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use openssl::{
        asn1::Asn1Time,
        ec::{EcGroup, EcKey},
        hash::MessageDigest,
        nid::Nid,
        symm::Cipher,
    };

    use super::*;

    fn key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn certificate(key: &PKey<Private>) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn text(pem: Vec<u8>) -> String {
        String::from_utf8(pem).unwrap()
    }

    #[test]
    fn certificate_and_key_are_opened_and_compared() {
        let (own, other) = (key(), key());
        let plain = text(own.private_key_to_pem_pkcs8().unwrap());
        let sealed = text(own.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"canary").unwrap());
        let pem = text(certificate(&own).to_pem().unwrap());
        let foreign = text(certificate(&other).to_pem().unwrap());
        let check = |pairs: &[(&str, &str)], expected: Option<&str>| {
            let properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let told = check(&properties).err().map(|error| error.to_string());
            match (&told, expected) {
                (None, None) => {}
                (Some(told), Some(part)) => {
                    assert!(told.contains(part) && !told.contains("canary") && !told.contains("BEGIN P"), "{told}");
                }
                other => panic!("{other:?}"),
            }
        };
        let certified = ("ssl.certificate.pem", &*pem);
        let password = ("ssl.key.password", "canary");
        check(&[], None);
        check(&[certified, ("ssl.key.pem", &plain)], None);
        check(&[certified, ("ssl.key.pem", &plain), password], None);
        check(&[certified, ("ssl.key.pem", &sealed), password], None);
        check(&[certified], Some("ssl.certificate.pem is set, and ssl.key.location is not"));
        check(&[("ssl.key.pem", &plain)], Some("ssl.key.pem is set, and ssl.certificate.location is not"));
        check(&[certified, ("ssl.key.pem", &sealed)], Some("is encrypted, and ssl.key.password is not set"));
        let wrong = ("ssl.key.password", "another");
        check(&[certified, ("ssl.key.pem", &sealed), wrong], Some("ssl.key.password does not open the key"));
        check(&[certified, ("ssl.key.pem", "canary")], Some("ssl.key.pem holds no private key"));
        check(&[("ssl.certificate.pem", "x"), ("ssl.key.pem", &plain)], Some("holds no certificate"));
        let swapped = ("ssl.certificate.pem", &*foreign);
        check(&[swapped, ("ssl.key.pem", &plain)], Some("does not belong to"));
        check(&[certified, ("ssl.key.location", "no/such.pem")], Some("cannot read no/such.pem"));
    }

    #[test]
    fn a_keystore_is_opened() {
        let own = key();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.p12");
        let mut builder = Pkcs12::builder();
        let store = builder.name("client").pkey(&own).cert(&certificate(&own)).build2("canary").unwrap();
        std::fs::write(&path, store.to_der().unwrap()).unwrap();
        let told = |path: &std::path::Path, password: &str| {
            let pairs = [("ssl.keystore.location", path.to_str().unwrap()), ("ssl.keystore.password", password)];
            let properties = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            check(&properties).err().map(|error| error.to_string())
        };
        assert_eq!(told(&path, "canary"), None);
        assert!(told(&path, "wrong").unwrap().contains("ssl.keystore.password does not open"));
        let unlocked = [("ssl.keystore.location".to_owned(), path.to_str().unwrap().to_owned())].into();
        assert!(check(&unlocked).unwrap_err().to_string().contains("ssl.keystore.password is not"));
        let trusted = Pkcs12::builder().name("ca").cert(&certificate(&own)).build2("canary").unwrap();
        std::fs::write(&path, trusted.to_der().unwrap()).unwrap();
        assert!(told(&path, "canary").unwrap().contains("holds no private key"));
        std::fs::write(&path, "no store").unwrap();
        assert!(told(&path, "canary").unwrap().contains("is no PKCS#12 file"));
    }

    #[test]
    fn alerts_about_a_certificate_are_told_from_other_trouble() {
        let check = |reason: &str, expected: bool| assert_eq!(is_refused(reason), expected, "{reason}");
        check(
            "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:SSL alert number 116",
            true,
        );
        check("error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:SSL alert number 42", true);
        check("error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:SSL alert number 48", true);
        check("error:0A000086:SSL routines::certificate verify failed", false);
        check("error:0A000410:SSL routines::ssl/tls alert handshake failure:SSL alert number 40", false);
        check("Connection refused", false);
    }
}

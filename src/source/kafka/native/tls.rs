//! TLS through the OpenSSL that librdkafka links, with the same meaning of the same properties.

use std::path::Path;

use openssl::{
    pkcs12::Pkcs12,
    pkey::PKey,
    ssl::{SslConnector, SslMethod, SslVerifyMode},
    x509::X509,
};

use super::{
    failure::refused,
    settings::{Keystore, Pem, TlsSettings},
};
use crate::source::SourceError;

/// Where systems keep their roots; a vendored OpenSSL knows no better.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Builds the connector once; each connection then uses it for its host.
pub fn connector(settings: &TlsSettings) -> Result<SslConnector, SourceError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: openssl::error::ErrorStack| refused(format!("cannot use {what}: {error}"), None)
    };
    let files = [
        ("ssl.ca.location", &settings.authorities),
        ("ssl.certificate.location", &settings.certificate),
        ("ssl.key.location", &settings.key),
    ];
    for (name, pem) in files {
        // OpenSSL would say of a file that is not there that some BIO routine failed.
        if let Some(Pem::File(path)) = pem {
            std::fs::File::open(path).map_err(|error| unreadable(name, path, &error))?;
        }
    }
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed("OpenSSL"))?;
    match &settings.authorities {
        Some(Pem::Text(text)) => {
            let authorities = X509::stack_from_pem(text.as_bytes()).map_err(failed("ssl.ca.pem"))?;
            for authority in authorities {
                builder.cert_store_mut().add_cert(authority).map_err(failed("ssl.ca.pem"))?;
            }
        }
        Some(Pem::File(path)) if path.is_dir() => {
            for file in std::fs::read_dir(path).map_err(|error| unreadable("ssl.ca.location", path, &error))?.flatten()
            {
                // Files in such a directory that hold no certificate are left out, as OpenSSL does.
                let _ = builder.set_ca_file(file.path());
            }
        }
        Some(Pem::File(path)) => builder.set_ca_file(path).map_err(failed("ssl.ca.location"))?,
        None => {
            builder.set_default_verify_paths().map_err(failed("the system's certificates"))?;
            if let Some(roots) = SYSTEM_ROOTS.iter().find(|path| Path::new(path).is_file()) {
                builder.set_ca_file(roots).map_err(failed("the system's certificates"))?;
            }
        }
    }
    match &settings.certificate {
        Some(Pem::Text(text)) => {
            let mut chain = X509::stack_from_pem(text.as_bytes()).map_err(failed("ssl.certificate.pem"))?.into_iter();
            let own = chain.next().ok_or_else(|| refused("ssl.certificate.pem holds no certificate", None))?;
            builder.set_certificate(&own).map_err(failed("ssl.certificate.pem"))?;
            for certificate in chain {
                builder.add_extra_chain_cert(certificate).map_err(failed("ssl.certificate.pem"))?;
            }
        }
        Some(Pem::File(path)) => {
            builder.set_certificate_chain_file(path).map_err(failed("ssl.certificate.location"))?;
        }
        None => {}
    }
    if let Some(key) = &settings.key {
        let text = match key {
            Pem::Text(text) => text.clone().into_bytes(),
            Pem::File(path) => std::fs::read(path).map_err(|error| unreadable("ssl.key.location", path, &error))?,
        };
        // With no password at all, OpenSSL would ask for one on the terminal.
        let password = settings.key_password.as_deref().unwrap_or_default();
        let key = PKey::private_key_from_pem_passphrase(&text, password.as_bytes()).map_err(failed("ssl.key"))?;
        builder.set_private_key(&key).map_err(failed("ssl.key"))?;
        builder.check_private_key().map_err(failed("ssl.key with ssl.certificate"))?;
    }
    if let Some(Keystore { path, password }) = &settings.keystore {
        let name = "ssl.keystore.location";
        let bytes = std::fs::read(path).map_err(|error| unreadable(name, path, &error))?;
        let store = Pkcs12::from_der(&bytes).and_then(|store| store.parse2(password)).map_err(failed(name))?;
        if let (Some(certificate), Some(key)) = (store.cert, store.pkey) {
            builder.set_certificate(&certificate).map_err(failed(name))?;
            builder.set_private_key(&key).map_err(failed(name))?;
        }
        for certificate in store.ca.into_iter().flatten() {
            builder.add_extra_chain_cert(certificate).map_err(failed(name))?;
        }
    }
    if let Some(list) = &settings.cipher_suites {
        builder.set_cipher_list(list).map_err(failed("ssl.cipher.suites"))?;
    }
    if let Some(list) = &settings.groups {
        builder.set_groups_list(list).map_err(failed("ssl.curves.list"))?;
    }
    if let Some(list) = &settings.signature_algorithms {
        builder.set_sigalgs_list(list).map_err(failed("ssl.sigalgs.list"))?;
    }
    if settings.skip_verification {
        builder.set_verify(SslVerifyMode::NONE);
    }
    Ok(builder.build())
}

fn unreadable(property: &str, path: &Path, error: &std::io::Error) -> SourceError {
    refused(format!("cannot read {} of {property}: {error}", path.display()), None)
}

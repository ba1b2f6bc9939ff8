//! OAUTHBEARER tokens without an HTTP client of ours: one that something else writes to a file or the environment and
//! rotates there, or the unsecured token of test set-ups.
//!
//! `sasl.oauthbearer.config` says which: a secret (`{ file = "..." }`, `{ env = "..." }`) is the token itself and is read
//! again whenever librdkafka asks for a fresh one; the text `principal=NAME` makes an unsecured token. What is
//! deliberately absent: fetching tokens over HTTP (`sasl.oauthbearer.method = "oidc"`).

use openssl::base64;
use rdkafka::client::OAuthToken;

use super::secret::{SettingsError, read_setting};
use crate::job::Setting;

/// Stands for "does not say when it expires": the year 2100, in seconds.
const FAR_FUTURE_S: i64 = 4_102_444_800;

#[derive(Debug, Clone)]
pub struct TokenSource {
    pub setting: Setting,
}

impl TokenSource {
    /// A token for librdkafka; `config` is what it was given as `sasl.oauthbearer.config`, if a literal.
    pub fn token(&self, config: Option<&str>) -> Result<OAuthToken, SettingsError> {
        match (&self.setting, config) {
            (Setting::Literal(text), _) => unsecured(text),
            (secret, _) => bearer(read_setting("sasl.oauthbearer.config", secret)?.trim()),
        }
    }
}

/// A token made by somebody else; subject and expiry are read from it where it is a JWT.
fn bearer(token: &str) -> Result<OAuthToken, SettingsError> {
    if token.is_empty() {
        return Err(SettingsError::new(
            "the OAuth token is empty",
            "Write the token where sasl.oauthbearer.config says.",
        ));
    }
    let claims = token.split('.').nth(1).and_then(decode).and_then(|json| {
        serde_json::from_slice::<serde_json::Value>(&json).ok() // an opaque token has no claims to read
    });
    let claim = |name: &str| claims.as_ref().and_then(|claims| claims.get(name));
    let expires_s = claim("exp").and_then(serde_json::Value::as_i64).unwrap_or(FAR_FUTURE_S);
    let principal = claim("sub").and_then(serde_json::Value::as_str).unwrap_or("kstream");
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: principal.to_owned(),
        lifetime_ms: expires_s.saturating_mul(1000),
    })
}

fn unsecured(config: &str) -> Result<OAuthToken, SettingsError> {
    let principal = config.split_whitespace().find_map(|pair| pair.strip_prefix("principal=")).ok_or_else(|| {
        SettingsError::new(
            "sasl.oauthbearer.config is neither a secret nor 'principal=NAME'",
            "Write { file = \"...\" } or { env = \"...\" } for a real token, 'principal=NAME' for an unsecured one.",
        )
    })?;
    let claims = serde_json::json!({ "sub": principal, "iat": 0, "exp": FAR_FUTURE_S });
    let token = format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(claims.to_string().as_bytes()));
    bearer(&token)
}

/// Base64 as in RFC 7515: the URL-safe alphabet, no padding.
fn encode(bytes: &[u8]) -> String {
    base64::encode_block(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut text = text.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    base64::decode_block(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsecured_token_names_its_principal() {
        let token = unsecured("principal=alice").unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("alice", FAR_FUTURE_S * 1000));
        assert!(unsecured("user=alice").is_err());
    }

    #[test]
    fn expiry_and_subject_come_from_the_claims() {
        let claims = encode(br#"{"sub":"svc~>?","exp":1800000000}"#);
        let token = bearer(&format!("e30.{claims}.sig")).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("svc~>?", 1_800_000_000_000));
    }

    #[test]
    fn an_opaque_token_is_passed_on_as_it_is() {
        let token = bearer("opaque").unwrap();
        assert_eq!((token.token.as_str(), token.principal_name.as_str()), ("opaque", "kstream"));
        assert!(bearer("").is_err());
    }

    #[test]
    fn a_token_file_is_read_again_for_every_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenSource { setting: Setting::SecretFile(file.path().to_owned()) };
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(source.token(None).unwrap().token, "first");
        std::fs::write(file.path(), "second\n").unwrap();
        assert_eq!(source.token(None).unwrap().token, "second");
    }
}

//! SCRAM (RFC 5802) with SHA-256 or SHA-512, the client's half: two messages, and the proof that the server knows the
//! password too.

use openssl::{base64, error::ErrorStack, hash::MessageDigest, memcmp, pkcs5::pbkdf2_hmac, pkey::PKey, sign::Signer};

/// No channel binding: Kafka offers none.
const GS2_HEADER: &str = "n,,";
/// What Kafka itself demands at least; less would let a server fish for weakly hashed passwords.
const ITERATIONS_MIN: usize = 4_096;
/// More is a broker keeping us busy, not security.
const ITERATIONS_MAX: usize = 10_000_000;
const NONCE_LEN: usize = 24;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the broker's SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    #[error("the broker refused: {0}")]
    Refused(String),
    #[error("the broker could not prove that it knows the password")]
    WrongServer,
    #[error("OpenSSL: {0}")]
    Crypto(String),
}

impl From<ErrorStack> for ScramError {
    fn from(error: ErrorStack) -> Self {
        ScramError::Crypto(error.to_string())
    }
}

pub struct Scram {
    digest: MessageDigest,
    password: String,
    nonce: String,
    first_bare: String,
    server_signature: Vec<u8>,
}

impl Scram {
    pub fn new(digest: MessageDigest, username: &str, password: &str) -> Result<Scram, ScramError> {
        let mut nonce = [0; NONCE_LEN];
        openssl::rand::rand_bytes(&mut nonce)?;
        Ok(Self::with_nonce(digest, username, password, base64::encode_block(&nonce)))
    }

    fn with_nonce(digest: MessageDigest, username: &str, password: &str, nonce: String) -> Scram {
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={username},r={nonce}");
        Scram { digest, password: password.to_owned(), nonce, first_bare, server_signature: Vec::new() }
    }

    pub fn first_message(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// The answer to the server's first message.
    pub fn final_message(&mut self, server_first: &[u8]) -> Result<String, ScramError> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| ScramError::Malformed("no text"))?;
        if let Some(reason) = attribute(server_first, "e=") {
            return Err(ScramError::Refused(reason.to_owned()));
        }
        let nonce = attribute(server_first, "r=").ok_or(ScramError::Malformed("no nonce"))?;
        let salt = attribute(server_first, "s=").ok_or(ScramError::Malformed("no salt"))?;
        let salt = base64::decode_block(salt).map_err(|_| ScramError::Malformed("its salt is no base64"))?;
        let iterations: usize = attribute(server_first, "i=")
            .and_then(|text| text.parse().ok())
            .ok_or(ScramError::Malformed("no iteration count"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Malformed("its nonce does not continue ours"));
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Malformed("its iteration count is out of bounds"));
        }
        let mut salted = vec![0; self.digest.size()];
        pbkdf2_hmac(self.password.as_bytes(), &salt, iterations, self.digest, &mut salted)?;
        let without_proof = format!("c={},r={nonce}", base64::encode_block(GS2_HEADER.as_bytes()));
        let auth_message = format!("{},{server_first},{without_proof}", self.first_bare);
        let client_key = self.hmac(&salted, b"Client Key")?;
        let stored_key = openssl::hash::hash(self.digest, &client_key)?;
        let signature = self.hmac(&stored_key, auth_message.as_bytes())?;
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
        let server_key = self.hmac(&salted, b"Server Key")?;
        self.server_signature = self.hmac(&server_key, auth_message.as_bytes())?;
        Ok(format!("{without_proof},p={}", base64::encode_block(&proof)))
    }

    /// Checks the server's last message.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(server_final).map_err(|_| ScramError::Malformed("no text"))?;
        if let Some(reason) = attribute(text, "e=") {
            return Err(ScramError::Refused(reason.to_owned()));
        }
        let signature = attribute(text, "v=").ok_or(ScramError::Malformed("no signature"))?;
        let signature =
            base64::decode_block(signature).map_err(|_| ScramError::Malformed("its signature is no base64"))?;
        let same = signature.len() == self.server_signature.len() && !signature.is_empty();
        if same && memcmp::eq(&signature, &self.server_signature) { Ok(()) } else { Err(ScramError::WrongServer) }
    }

    fn hmac(&self, key: &[u8], message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Signer::new(self.digest, &*PKey::hmac(key)?)?.sign_oneshot_to_vec(message)
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// The exchange printed in RFC 7677.
    fn rfc() -> Scram {
        Scram::with_nonce(MessageDigest::sha256(), "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into())
    }

    #[test]
    fn the_exchange_of_the_rfc_is_reproduced() {
        let mut scram = rfc();
        assert_eq!(scram.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            scram.final_message(SERVER_FIRST.as_bytes()).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert_eq!(scram.verify(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(ScramError::WrongServer));
        assert_eq!(scram.verify(b"v="), Err(ScramError::WrongServer));
        assert_eq!(scram.verify(b"e=invalid-proof"), Err(ScramError::Refused("invalid-proof".into())));
    }

    #[test]
    fn wrong_server_messages_are_refused() {
        for message in [
            &b"\xff"[..],
            b"",
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999",
        ] {
            assert!(matches!(rfc().final_message(message), Err(ScramError::Malformed(_))), "{message:?}");
        }
    }

    #[test]
    fn user_names_are_escaped_and_nonces_differ() {
        let scram = Scram::new(MessageDigest::sha512(), "a=b,c", "p").unwrap();
        assert!(scram.first_message().starts_with("n,,n=a=3Db=2Cc,r="));
        assert_ne!(scram.first_message(), Scram::new(MessageDigest::sha512(), "a=b,c", "p").unwrap().first_message());
    }
}

//! Which settings are secrets, and keeping them out of every message.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// Whether a Kafka property holds a secret: it may then only be a reference (`{ env = ... }` or `{ file = ... }`).
pub fn is_secret(property: &str) -> bool {
    let property = property.to_ascii_lowercase();
    let last = property.rsplit('.').next().unwrap_or_default();
    ["password", "passwd", "secret", "passphrase"].iter().any(|word| last.ends_with(word))
        || property.ends_with("key.pem")
        || property == "sasl.jaas.config"
}

/// A text with the values of secret keys replaced by stars, byte for byte, so that positions stay what they are.
///
/// Works on the bare text, because a job file that does not parse must not show its secrets either.
pub fn mask(text: &str) -> String {
    static LITERAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
        // Only the names ignore case: folding the case of the values' classes would take longer than a whole small job.
        let key = r#"(?i:password|passwd|secret|passphrase|key\.pem|pem|jaas\.config)["']?\s*=[ \t]*"#;
        let value = r#""""[\s\S]*?(?:"""|\z)|'''[\s\S]*?(?:'''|\z)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|[^\s{=,}][^\s,}]*"#;
        Regex::new(&format!("({key})({value})")).ok()
    });
    let Some(literal) = LITERAL.as_ref() else { return String::new() };
    let masked: Cow<'_, str> = literal.replace_all(text, |found: &Captures<'_>| {
        let group = |idx| found.get(idx).map_or("", |group| group.as_str());
        let stars: String = group(2).bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
        format!("{}{stars}", group(1))
    });
    masked.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let masked = mask(text);
        assert_eq!(masked, expected);
        assert_eq!(masked.len(), text.len());
    }

    #[test]
    fn literal_secrets_are_masked_wherever_they_stand() {
        check(r#""sasl.password" = "hun\"ter" # x"#, r#""sasl.password" = ********** # x"#);
        check(r#"p = { "sasl.password" = 'a b', x = 1 }"#, r#"p = { "sasl.password" = *****, x = 1 }"#);
        check("sasl.password = \"torn\nx = 1", "sasl.password = *****\nx = 1");
        check("client.secret = bare, x", "client.secret = ****, x");
        check("\"SASL.Password\" = 'Bare'", "\"SASL.Password\" = ******");
        check("\"ssl.key.pem\" = \"\"\"a\nb\"\"\"\nx=1", "\"ssl.key.pem\" = ****\n****\nx=1");
        check("sasl.password = \"é\"", "sasl.password = ****");
    }

    #[test]
    fn references_to_secrets_stay_readable() {
        check(r#""sasl.password" = { env = "PW" }"#, r#""sasl.password" = { env = "PW" }"#);
        check("name = 'x'", "name = 'x'");
    }

    #[test]
    fn secret_properties_are_known_by_their_names() {
        for name in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["sasl.username", "ssl.key.location", "ssl.ca.pem", "security.protocol"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

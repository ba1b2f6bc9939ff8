//! Which settings are secrets, and keeping them out of every message.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// Whether a Kafka property holds a secret: it may then only be a reference (`{ env = ... }` or `{ file = ... }`).
pub fn is_secret(property: &str) -> bool {
    let property = property.to_ascii_lowercase();
    let last = property.rsplit('.').next().unwrap_or_default();
    ["password", "passwd", "secret", "passphrase"].iter().any(|word| last.ends_with(word))
        || property.ends_with("key.pem")
        || ["sasl.jaas.config", "ssl_key"].contains(&&*property)
}

/// A text with the values of secret keys and the passwords of logins replaced by stars, byte for byte, so that positions
/// stay what they are. Of a reference only the name of the variable or of the file stays.
///
/// Works on the bare text, because a job file that does not parse must not show its secrets either; so it takes names that
/// are nearly those of secrets for them, and what follows a value for a part of it.
pub fn mask(text: &str) -> String {
    static LITERAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
        // Only the names ignore case: folding the case of the values' classes would take longer than a whole small job.
        let name = r"(?i:pas+[a-z]*w[a-z]*|secre?t?[a-z]*|passphrase|key\.pem|pem|jaas\.config|ssl_key)";
        // In quotes a key is a property's, and no variable of a function.
        let quoted = r"(?i:pass|pwd|token|bearer|credentials?|api[._-]?key|auth(?:\.user\.info)?)";
        let key =
            format!(r#"{name}[ \t]*["']?(?:\.[A-Za-z_]+["']?)*\s*=[ \t]*|{name}["'][ \t]+|{quoted}["']\s*=[ \t]*"#);
        let value = format!(r#"\{{[^}}]*|(?:{STRING}|[^\s{{=,}}][^\s,}}]*)(?:[ \t]*[^\s,}}#]+)*"#);
        Regex::new(&format!("({key})({value})")).ok()
    });
    let Some(literal) = LITERAL.as_ref() else { return String::new() };
    let text = mask_logins(text);
    let text = mask_brokers(&text);
    let masked: Cow<'_, str> = literal.replace_all(&text, |found: &Captures<'_>| {
        let group = |idx| found.get(idx).map_or("", |group| group.as_str());
        let (key, value) = (group(1), group(2));
        let is_reference = [".env", ".file"].iter().any(|part| key.trim_end_matches([' ', '\t', '=']).ends_with(part));
        match (is_reference, value.starts_with('{')) {
            (true, _) => format!("{key}{value}"),
            (false, true) => format!("{key}{}", mask_table(value)),
            (false, false) => format!("{key}{}", stars(value)),
        }
    });
    masked.into_owned()
}

/// The password of `user:password@host`; no brokers are written so, but some try.
fn mask_logins(text: &str) -> Cow<'_, str> {
    static LOGIN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"((?:[A-Za-z_]+://)?[^\s"',:/@]*:)([^\s"']+)@"#).ok());
    match LOGIN.as_ref() {
        Some(login) if text.contains('@') => {
            login.replace_all(text, |found: &Captures<'_>| format!("{}{}@", &found[1], stars(&found[2])))
        }
        _ => Cow::Borrowed(text),
    }
}

/// All that follows something like the key `brokers` on its line, where a login may stand in it: anything may be of its
/// password.
fn mask_brokers(text: &str) -> Cow<'_, str> {
    static BROKERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let slips = r"(?:bro?e?k[a-z_-]*|bo?rkers?[a-z_-]*|r?bo?kers?[a-z_-]*)";
        let name = format!(r"(?i:(?:[a-z]+_)?{slips}|bootstrap[a-z._-]*|metadata\.broker\.list)");
        let key = format!(r#"["']?{name}[ \t]*["']?(?:\.["']?\w+["']?)*"#);
        let place = format!(r"(?m:(?:^|[{{,.`])[ \t]*{key}\s*=\s*|(?:^|`)[ \t]*{key}[ \t]*[: \t][ \t]*)");
        // Anywhere else it must look like a login: code may hold such a word.
        let apart = format!(r#"\b{key}\s*[=:]\s*["'][^\n"']*:[^\n]*@[^\n]*"#);
        let place = format!(r#"({place})((?:{STRING}|\[[^\]]*\]?)?[^\n]*)"#);
        Regex::new(&format!("{place}|({apart})")).ok()
    });
    match BROKERS.as_ref() {
        Some(brokers) => brokers.replace_all(text, |found: &Captures<'_>| {
            let group = |idx| found.get(idx).map_or("", |group| group.as_str());
            let (key, list) = match group(3).split_once(['=', ':']) {
                Some((key, _)) => group(3).split_at(key.len() + 1),
                None => (group(1), group(2)),
            };
            let is_open = |quote: char| list.starts_with(quote) && list.matches(quote).count() % 2 == 1;
            let shown = if is_open('"') || is_open('\'') { stars(list) } else { mask_login(list) };
            format!("{key}{shown}")
        }),
        None => Cow::Borrowed(text),
    }
}

/// A list of brokers; of one with a login, stars.
pub fn mask_login(list: &str) -> String {
    if list.contains('@') { stars(list) } else { list.to_owned() }
}

const STRING: &str = r#""""[\s\S]*?(?:"""|\z)|'''[\s\S]*?(?:'''|\z)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?"#;

/// An inline table that may be a reference: its keys, and the values of `env` and `file`.
fn mask_table(table: &str) -> String {
    static PART: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let reference = format!(r#"(?:env|file)["']?\s*=\s*(?:{STRING})"#);
        let key = r#"["']?[A-Za-z_.-]+["']?\s*=\s*"#;
        Regex::new(&format!(r"(\b{reference}|{key}|[\s{{,=]+)|({STRING}|[^\s,]+)")).ok()
    });
    let Some(part) = PART.as_ref() else { return stars(table) };
    let masked = part.replace_all(table, |found: &Captures<'_>| {
        found.get(2).map_or_else(|| found[0].to_owned(), |value| stars(value.as_str()))
    });
    masked.into_owned()
}

pub fn stars(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect()
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
        check(r#""sasl.password" = "one" "two # x"#, r#""sasl.password" = ********** # x"#);
        check("sasl.password = one two", "sasl.password = *******");
        check(r#"{"sasl.password" "one"}"#, r#"{"sasl.password" *****}"#);
        check(r#""sasl.pasword" = "one", x = 1"#, r#""sasl.pasword" = *****, x = 1"#);
        check("sasl.password.literal = 'one'", "sasl.password.literal = *****");
    }

    #[test]
    fn the_password_of_a_login_is_masked() {
        check("x = \"me:hun:te/r@a:9092,b:9092\"", "x = \"me:********@a:9092,b:9092\"");
        check("brokers = 'me:can ary@a:1' # b", "brokers = ********************");
        check("brokers = \"me:x\"y z@a:1\"\nx = 1", "brokers = **************\nx = 1");
        check("bootstrap_servers: 'me:x y", "bootstrap_servers: *******");
        check("x = { brokers = \"me:c'y@a:1\" }", "x = { brokers = **************");
        check("source.brokers=me:c \"y@a:1", "source.brokers=***********");
        check("brokers = 'a:1' # b", "brokers = 'a:1' # b");
        check("brokers \"me:x y@a:1\"", "brokers ************");
        check("brokers = \"\"\"a:1,me:x y", "brokers = *************");
        check("\"brokers \".x_1 = \"me:x y@a:1\"", "\"brokers \".x_1 = ************");
        for (key, value) in [
            ("source = { brokers: ", "\"me:x y@a\" }"),
            ("{\"x\": 1, \"bootstrap.servers\": ", "\"me:x y@a\"}"),
            ("[source] brokers = ", "\"me:x y@a\""),
            ("kind = \"kafka\"; brokers = ", "\"me:x y@a\""),
            ("- brokers: ", "'me:x y@a'"),
            ("kafka_brokers = ", "\"me:x y@a\""),
            ("brokerList = ", "\"me:x y@a\""),
            ("brokes = ", "\"me:x y@a\""),
            ("broekrs = ", "\"me:x y@a\""),
        ] {
            let shown = key.trim_end();
            let masked = mask(&format!("{key}{value}"));
            assert!(masked.starts_with(shown) && !masked.contains("x y"), "{masked}");
        }
        check("borkers = \"me:x y@a:1\"", "borkers = ************");
        check("unknown key `brokers me:x y@a`", "unknown key `brokers *********");
        check("SASL_SSL://me:p,w@a:9092,b:9092", "SASL_SSL://me:***@a:9092,b:9092");
        check("me:pw@a:9092,you:pw@b", "me:****************@b");
        for code in [
            "'lambda line: line + \"@\"'",
            "'lambda x: \"host:\" + 1'",
            "\"lambda r: 'localhost:' + r[0].foo()\"",
            "\"lambda host: 'a' + host.nam('@')\"",
            "host = x.split(\"@\")[0] + zz",
            "return {\"host\": host.split(\"@\")[0] + 1}",
            "'lambda r: {\"servers\": r, \"mail\": \"me@x\", \"q\": zz}'",
            "'''lambda x: 'brokers='''\nname = \"a @ b\"",
        ] {
            check(code, code);
        }
    }

    #[test]
    fn of_a_table_only_a_reference_is_shown() {
        let masked = |text: &str| {
            let masked = mask(text);
            assert_eq!(masked.len(), text.len());
            assert!(!masked.contains("hunter2"), "{masked}");
        };
        masked(r#""sasl.password" = { literal = "hunter2" }"#);
        masked(r#""sasl.password" = { literal = hunter2 }"#);
        masked(r#""sasl.password" = { "hunter2" }"#);
        masked(r#""sasl.password" = { env = "PW", "default" = 'hunter2' }, x = 1"#);
        masked("\"sasl.password\" = {\n literal = \"hunter2\"\n}");
        check(r#"p = { env = "PW", default = "a" }"#, r#"p = { env = "PW", default = "a" }"#);
        check(
            r#"password = { env = "PW", default = "a" }, x = "b""#,
            r#"password = { env = "PW", default = *** }, x = "b""#,
        );
    }

    #[test]
    fn references_to_secrets_stay_readable() {
        check(r#""sasl.password" = { env = "PW" }"#, r#""sasl.password" = { env = "PW" }"#);
        check("sasl.password = { file = 'a b', x", "sasl.password = { file = 'a b', *");
        check("sasl.password.env = \"PW\"", "sasl.password.env = \"PW\"");
        check("name = 'x'", "name = 'x'");
    }

    #[test]
    fn secret_properties_are_known_by_their_names() {
        for name in ["ssl_key", "sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["sasl.username", "ssl.key.location", "ssl.ca.pem", "security.protocol"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

//! The words in which an element is refused, wherever that is found out.

use super::Value;

/// Why a value of this type is no key.
pub fn no_key(type_name: &str) -> String {
    match type_name {
        "record" => "a record is no key: map it to (r.key, r.value) first".to_owned(),
        "list" => "a list is no key: make a tuple of it, tuple(x), first".to_owned(),
        other => format!("{} is no key", a(other)),
    }
}

pub fn no_pair(value: &Value) -> String {
    format!("{} is no (key, value) pair", a(value.type_name()))
}

/// The name of a type with its article.
pub fn a(type_name: &str) -> String {
    match type_name {
        "None" | "NoneType" => "None".to_owned(),
        vowel if vowel.starts_with(['a', 'e', 'i', 'o']) => format!("an {vowel}"),
        other => format!("a {other}"),
    }
}

//! Initial state from a file: JSON lines, each a pair `[key, value]`.

use std::collections::HashMap;

use super::keyed::{Held, UNTOUCHED_MS, put_entry};
use crate::{
    expr::{Limits, primitive},
    model::{Value, key::Key, refusal::no_key, text::repr},
};

/// The content of a file as a delta, of keys that no batch has touched; errors name the line.
pub fn read(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut delta = Vec::new();
    let mut lines: HashMap<Key, usize> = HashMap::new();
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let fail = |what: String| format!("Line {number}: {what}.");
        let mut budget = primitive::Budget::new(Limits::default());
        let value = primitive::parse_json(line, &mut budget).map_err(|fault| fail(fault.message))?;
        let Some((key, value)) = value.as_pair() else { return Err(fail("expected a pair [key, value]".to_owned())) };
        let key = Key::new(tuples(key)).map_err(|name| fail(no_key(name)))?;
        if let Some(before) = lines.insert(key.clone(), number) {
            return Err(format!("Lines {before} and {number} have the same key {}.", repr(key.value())));
        }
        put_entry(&mut delta, key.value(), Some(&Held { value: value.clone(), touched_ms: UNTOUCHED_MS }));
    }
    Ok(delta)
}

/// JSON has no tuples: an array in a key stands for one.
fn tuples(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::tuple(items.iter().map(tuples)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, refusal: Option<&str>) {
        let read = read(text.as_bytes());
        assert_eq!(read.err().as_deref(), refusal, "{text}");
    }

    #[test]
    fn a_key_stands_on_one_line_only() {
        check("[\"a\", 1]\n\n[\"b\", 1]\n", None);
        check("[\"a\", 1]\n\n[\"b\", 1]\n[\"a\", 1]\n", Some("Lines 1 and 4 have the same key 'a'."));
        check("[1, 1]\n[1.0, 2]\n", Some("Lines 1 and 2 have the same key 1.0."));
        check("[[\"a\", 1], 1]\n[[\"a\", 1], 2]\n", Some("Lines 1 and 2 have the same key ('a', 1)."));
    }
}

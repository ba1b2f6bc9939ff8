//! Initial state from a file: JSON lines, each a pair `[key, value]`.

use super::keyed::{Held, put_entry};
use crate::{
    expr::{Limits, primitive},
    model::{Value, key::Key, refusal::no_key},
};

/// The content of a file as a delta; errors name the line.
pub fn read(text: &[u8], touched_ms: i64) -> Result<Vec<u8>, String> {
    let mut delta = Vec::new();
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let fail = |what: String| format!("Line {number}: {what}.");
        let mut budget = primitive::Budget::new(Limits::default());
        let value = primitive::parse_json(line, &mut budget).map_err(|fault| fail(fault.message))?;
        let Some((key, value)) = value.as_pair() else { return Err(fail("expected a pair [key, value]".to_owned())) };
        let key = Key::new(tuples(key)).map_err(|name| fail(no_key(name)))?;
        put_entry(&mut delta, key.value(), Some(&Held { value: value.clone(), touched_ms }));
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

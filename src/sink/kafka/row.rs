//! One element's message (topic, key, value, headers, partition): checked once, where its element is at hand.

use std::sync::Arc;

use crate::{
    model::{Value, text::repr},
    sink::{SinkError, SinkErrorKind, line::to_json},
};

/// Longest name Kafka allows for a topic.
const LONGEST_TOPIC: usize = 249;

/// A message that Kafka can take. What is computed of the element stays one value, which digests cover.
#[derive(Debug, Clone)]
pub struct Row {
    pub topic: Arc<str>,
    /// By key, else spread, where `None`.
    pub partition: Option<i32>,
    parts: Value,
}

impl Row {
    /// What the functions of an output gave for one element; a topic that is None is `topic`, the output's own. Where
    /// Kafka takes bytes, anything that is no str and no bytes becomes its JSON text. An error is about this element only.
    pub fn of(parts: &[Value; 5], topic: Option<&Arc<str>>) -> Result<Row, SinkError> {
        let [own_topic, key, value, headers, partition] = parts;
        let topic = topic_name(own_topic, topic)?;
        check_headers(headers)?;
        let number = number(partition)?;
        let parts = [own_topic.clone(), text(key)?, text(value)?, headers.clone(), partition.clone()];
        Ok(Row { topic, partition: number, parts: Value::Tuple(parts.as_slice().into()) })
    }

    /// The tuple (topic, key, value, headers, partition).
    pub fn parts(&self) -> &Value {
        &self.parts
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.part(1).and_then(bytes)
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.part(2).and_then(bytes)
    }

    /// Name and value; a name may come more than once.
    pub fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        fn header<'a>((name, value): (&'a Value, &'a Value)) -> Option<(&'a str, Option<&'a [u8]>)> {
            let Value::Str(name) = name else { return None };
            Some((name.as_str(), bytes(value)))
        }
        match self.part(3) {
            Some(Value::List(items)) => items.iter().filter_map(Value::as_pair).filter_map(header).collect(),
            Some(Value::Dict(entries)) => {
                entries.iter().map(|(name, value)| (name.value(), value)).filter_map(header).collect()
            }
            _ => Vec::new(),
        }
    }

    fn part(&self, place: usize) -> Option<&Value> {
        match &self.parts {
            Value::Tuple(parts) => parts.get(place),
            _ => None,
        }
    }
}

/// None is null; str and bytes are as they are. Nothing else is left in a row.
fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Str(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// None, str and bytes as they are, anything else as its JSON text.
fn text(value: &Value) -> Result<Value, SinkError> {
    if let Value::None | Value::Str(_) | Value::Bytes(_) = value {
        return Ok(value.clone());
    }
    let json = to_json(value)
        .map_err(|error| wrong("value", value, &format!("str, bytes, None or what JSON has a form for: {error}")))?;
    Ok(Value::Bytes(json.into_bytes().into()))
}

fn topic_name(own: &Value, topic: Option<&Arc<str>>) -> Result<Arc<str>, SinkError> {
    match (own, topic) {
        (Value::None, Some(topic)) => Ok(topic.clone()),
        (Value::Str(name), _) if is_topic_name(name) => Ok(name.as_str().into()),
        (other, _) => Err(wrong("topic", other, "the name of a topic")),
    }
}

fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= LONGEST_TOPIC && name != "." && name != ".." && name.chars().all(legal)
}

/// A list of (name, value) pairs, or a dict.
fn check_headers(headers: &Value) -> Result<(), SinkError> {
    let is_header = |name: &Value, value: &Value| {
        matches!((name, value), (Value::Str(_), Value::None | Value::Str(_) | Value::Bytes(_)))
    };
    let are_headers = match headers {
        Value::None => true,
        Value::List(items) => {
            items.iter().all(|item| item.as_pair().is_some_and(|(name, value)| is_header(name, value)))
        }
        Value::Dict(entries) => entries.iter().all(|(name, value)| is_header(name.value(), value)),
        _ => false,
    };
    match are_headers {
        true => Ok(()),
        false => Err(wrong("headers", headers, "a list of (str, str or bytes or None), or a dict of these")),
    }
}

fn number(partition: &Value) -> Result<Option<i32>, SinkError> {
    match partition {
        Value::None => Ok(None),
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) if number >= 0 => Ok(Some(number)),
            _ => Err(wrong("partition", partition, "a number from 0")),
        },
        other => Err(wrong("partition", other, "an int or None")),
    }
}

fn wrong(what: &str, found: &Value, expected: &str) -> SinkError {
    let shown: String = repr(found).chars().take(200).collect();
    SinkError::new(SinkErrorKind::Failed, format!("the {what} of a message cannot be {shown}"))
        .with(format!("Expected {expected}."), "Correct the function that computes it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(parts: [Value; 5]) -> Result<Row, SinkError> {
        Row::of(&parts, Some(&"out".into()))
    }

    #[test]
    fn values_become_bytes_as_they_are_or_json() {
        let check = |value: Value, expected: Option<&str>| {
            let row = row([Value::None, value.clone(), value, Value::None, Value::None]).unwrap();
            assert_eq!(row.key(), expected.map(str::as_bytes));
            assert_eq!(row.value(), expected.map(str::as_bytes));
            assert_eq!((&*row.topic, row.partition), ("out", None));
        };
        check(Value::None, None);
        check(Value::str("é"), Some("é"));
        check(Value::Bytes(b"ab".as_slice().into()), Some("ab"));
        check(Value::Int(-3), Some("-3"));
        check(Value::list(vec![Value::Int(1), Value::str("a"), Value::None]), Some(r#"[1, "a", null]"#));
    }

    #[test]
    fn headers_are_pairs_or_a_dict() {
        let pair = |name: &str, value: Value| Value::pair(Value::str(name), value);
        let headers = |headers: Value| row([Value::None, Value::None, Value::None, headers, Value::None]);
        let found = headers(Value::list(vec![pair("a", Value::str("1")), pair("a", Value::None)])).unwrap();
        assert_eq!(found.headers(), vec![("a", Some(b"1".as_slice())), ("a", None)]);
        for wrong in [Value::str("a"), Value::list(vec![Value::Int(1)]), Value::list(vec![pair("a", Value::Int(1))])] {
            let error = headers(wrong).unwrap_err();
            assert_eq!(error.kind, SinkErrorKind::Failed);
            assert!(error.message.contains("headers"), "{error}");
        }
    }

    #[test]
    fn topics_and_partitions_are_checked() {
        let check = |topic: Value, partition: Value, expected: &str| {
            let found = row([topic, Value::None, Value::None, Value::None, partition]);
            let text = match found {
                Ok(row) => format!("{} {:?}", row.topic, row.partition),
                Err(error) => error.message,
            };
            assert!(text.contains(expected), "{text} is not {expected}");
        };
        check(Value::str("other"), Value::Int(3), "other Some(3)");
        check(Value::str("a b"), Value::None, "the topic of a message cannot be 'a b'");
        check(Value::str(".."), Value::None, "the topic");
        check(Value::Int(1), Value::None, "the topic of a message cannot be 1");
        check(Value::None, Value::Int(-1), "the partition of a message cannot be -1");
        check(Value::None, Value::str("1"), "the partition");
        let nowhere = Row::of(&[const { Value::None }; 5], None).unwrap_err();
        assert!(nowhere.message.contains("the topic of a message cannot be None"), "{nowhere}");
    }

    #[test]
    fn a_row_is_one_value_with_json_where_kafka_takes_bytes() {
        let parts = [Value::None, Value::Int(1), Value::list(vec![Value::None]), Value::None, Value::Int(0)];
        assert_eq!(repr(row(parts).unwrap().parts()), "(None, b'1', b'[null]', None, 0)");
        let no_json = Value::list(vec![Value::Bytes(b"b".as_slice().into())]);
        let error = row([Value::None, no_json, Value::None, Value::None, Value::None]).unwrap_err();
        assert!(error.message.contains("cannot be [b'b']"), "{error}");
    }
}

//! From an element's row (topic, key, value, headers, partition) to a message, checked before anything is sent.

use crate::{
    model::{Value, text::repr},
    sink::{SinkError, SinkErrorKind, line::to_json},
};

/// Name and value; a name may come more than once.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// One message to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    /// By key, else spread, where `None`.
    pub partition: Option<i32>,
}

/// Longest name Kafka allows for a topic.
const LONGEST_TOPIC: usize = 249;

/// What the functions of an output gave for one element, as a row that `Row::read` takes: checked, and with JSON texts
/// where Kafka takes bytes. An error is about this element only.
pub fn checked(parts: &[Value; 5], topic: Option<&str>) -> Result<Value, SinkError> {
    let [own_topic, key, value, headers, partition] = parts;
    topic_name(own_topic, topic)?;
    pairs(headers)?;
    number(partition)?;
    let row = [own_topic.clone(), text(key)?, text(value)?, headers.clone(), partition.clone()];
    Ok(Value::Tuple(row.as_slice().into()))
}

/// None, str and bytes as they are, anything else as its JSON text.
fn text(value: &Value) -> Result<Value, SinkError> {
    Ok(match value {
        Value::None | Value::Str(_) | Value::Bytes(_) => value.clone(),
        other => bytes(other)?.map_or(Value::None, |json| Value::Bytes(json.into())),
    })
}

impl Row {
    /// `value` is the tuple that the output operator makes; a topic that is None is `topic`, the output's own.
    pub fn read(value: &Value, topic: Option<&str>) -> Result<Row, SinkError> {
        let Value::Tuple(parts) = value else { return Err(wrong("row", value, "a tuple of five")) };
        let [own_topic, key, value, headers, partition] = &**parts else {
            return Err(wrong("row", value, "a tuple of five"));
        };
        Ok(Row {
            topic: topic_name(own_topic, topic)?,
            key: bytes(key)?,
            value: bytes(value)?,
            headers: pairs(headers)?,
            partition: number(partition)?,
        })
    }
}

fn topic_name(own: &Value, topic: Option<&str>) -> Result<String, SinkError> {
    match (own, topic) {
        (Value::None, Some(topic)) => Ok(topic.to_owned()),
        (Value::Str(name), _) if is_topic_name(name) => Ok(name.to_string()),
        (other, _) => Err(wrong("topic", other, "the name of a topic")),
    }
}

fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= LONGEST_TOPIC && name != "." && name != ".." && name.chars().all(legal)
}

/// None is null; str and bytes are as they are; anything else is its JSON text.
fn bytes(value: &Value) -> Result<Option<Vec<u8>>, SinkError> {
    Ok(match value {
        Value::None => None,
        Value::Str(text) => Some(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        other => Some(
            to_json(other)
                .map_err(|error| {
                    wrong("value", other, &format!("str, bytes, None or what JSON has a form for: {error}"))
                })?
                .into_bytes(),
        ),
    })
}

/// A list of (name, value) pairs, or a dict.
fn pairs(headers: &Value) -> Result<Headers, SinkError> {
    let expected = "a list of (str, str or bytes or None), or a dict of these";
    let header = |name: &Value, value: &Value| match (name, value) {
        (Value::Str(name), Value::None | Value::Str(_) | Value::Bytes(_)) => Ok((name.to_string(), bytes(value)?)),
        _ => Err(wrong("headers", headers, expected)),
    };
    match headers {
        Value::None => Ok(Vec::new()),
        Value::List(items) => items
            .iter()
            .map(|item| match item.as_pair() {
                Some((name, value)) => header(name, value),
                None => Err(wrong("headers", headers, expected)),
            })
            .collect(),
        Value::Dict(entries) => entries.iter().map(|(name, value)| header(name.value(), value)).collect(),
        _ => Err(wrong("headers", headers, expected)),
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
        Row::read(&Value::tuple(parts), Some("out"))
    }

    #[test]
    fn values_become_bytes_as_they_are_or_json() {
        let check = |value: Value, expected: Option<&str>| {
            let row = row([Value::None, value.clone(), value, Value::None, Value::None]).unwrap();
            assert_eq!(row.key.as_deref(), expected.map(str::as_bytes));
            assert_eq!(row.value.as_deref(), expected.map(str::as_bytes));
            assert_eq!((row.topic.as_str(), row.partition), ("out", None));
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
        let found = headers(Value::list(vec![pair("a", Value::str("1")), pair("a", Value::None)])).unwrap().headers;
        assert_eq!(found, vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)]);
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
        assert!(Row::read(&Value::Int(1), None).is_err());
    }

    #[test]
    fn a_checked_row_is_the_same_message() {
        let parts = [Value::None, Value::Int(1), Value::list(vec![Value::None]), Value::None, Value::Int(0)];
        let checked = checked(&parts, Some("out")).unwrap();
        let Value::Tuple(found) = &checked else { panic!("{checked:?}") };
        assert_eq!(repr(&found[2]), "b'[null]'");
        assert_eq!(Row::read(&checked, Some("out")).unwrap(), row(parts.clone()).unwrap());
        let [topic, _, value, headers, partition] = parts;
        let nan = Value::list(vec![Value::Bytes(b"b".as_slice().into())]);
        let error = super::checked(&[topic, nan, value, headers, partition], Some("out")).unwrap_err();
        assert!(error.message.contains("cannot be [b'b']"), "{error}");
    }
}

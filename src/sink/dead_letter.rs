//! A dead letter: a poison element with the record it came of, as one JSON line.
//!
//! `produce --dead-letters` reads such lines back into records, so keys, values and headers are kept byte for byte: bytes
//! that are text stand as text, others as `{"base64": "..."}`, as `consume` shows them. Letters of before have
//! `{"hex": "..."}`, which is still read.

use std::sync::Arc;

use openssl::base64;
use serde::{Deserialize, Serialize};

/// One line. Fields in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub batch: u64,
    /// Batch time, milliseconds since the epoch.
    pub time: i64,
    /// The step that left the element out.
    pub step: String,
    /// What was wrong.
    pub reason: String,
    /// The part of the function that failed, with its place; none where no function failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The element's text, shortened; empty where it could not be decoded.
    pub element: String,
    /// None for an element that is no longer of one record: behind a shuffle, or of a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<LetterRecord>,
}

/// The record as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where the broker has none.
    pub timestamp: i64,
    pub key: Option<Blob>,
    pub value: Option<Blob>,
    pub headers: Vec<(String, Option<Blob>)>,
}

/// Bytes that are written as text where they are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BlobText {
    Text(String),
    Base64 { base64: String },
    Hex { hex: String },
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => BlobText::Base64 { base64: base64::encode_block(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        match BlobText::deserialize(deserializer)? {
            BlobText::Text(text) => Ok(Blob(text.into_bytes())),
            BlobText::Base64 { base64 } => {
                base64::decode_block(&base64).map(Blob).map_err(|_| serde::de::Error::custom("not base64"))
            }
            BlobText::Hex { hex } => unhex(&hex).map(Blob).ok_or_else(|| serde::de::Error::custom("not hexadecimal")),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

impl Letter {
    /// Appends the letter and its line's end.
    pub fn put_line(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }

    pub fn parse_line(line: &[u8]) -> Result<Letter, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(record: Option<LetterRecord>) -> Letter {
        Letter {
            batch: 7,
            time: 8000,
            step: "map#1".into(),
            reason: "division by zero".into(),
            at: Some("line 1, column 11: 1 / n".into()),
            element: "0".into(),
            record,
        }
    }

    #[test]
    fn letters_are_read_as_they_were_written() {
        let blob = |bytes: &[u8]| Some(Blob(bytes.to_vec()));
        let record = LetterRecord {
            topic: "t".into(),
            partition: 1,
            offset: 5,
            timestamp: -1,
            key: None,
            value: blob(b"\xff\x00"),
            headers: vec![("a".into(), blob(b"")), ("a".into(), None), ("b".into(), blob("é\n".as_bytes()))],
        };
        for letter in [letter(Some(record)), Letter { at: None, ..letter(None) }] {
            let mut line = Vec::new();
            letter.put_line(&mut line).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(Letter::parse_line(&line).unwrap(), letter);
        }
    }

    #[test]
    fn a_line_says_what_a_person_looks_for() {
        let mut line = Vec::new();
        letter(None).put_line(&mut line).unwrap();
        let expected = r#"{"batch":7,"time":8000,"step":"map#1","reason":"division by zero","at":"line 1, column 11: 1 / n","element":"0"}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_and_were_hexadecimal() {
        let blob = Blob(vec![0xff, 0x0a]);
        assert_eq!(serde_json::to_string(&blob).unwrap(), r#"{"base64":"/wo="}"#);
        for text in [r#"{"base64":"/wo="}"#, r#"{"hex":"ff0a"}"#] {
            assert_eq!(serde_json::from_str::<Blob>(text).unwrap(), blob, "{text}");
        }
        for wrong in [r#"{"base64":"/w"}"#, r#"{"base64":"%%%="}"#, r#"{"hex":"f"}"#, r#"{"hex":"fg"}"#, "7"] {
            assert!(serde_json::from_str::<Blob>(wrong).is_err(), "{wrong}");
        }
    }
}

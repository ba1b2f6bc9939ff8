//! Rows as they are stored: canonical JSON or bytes, sealed with a CRC-32C over table, key and body.

use serde::{Serialize, de::DeserializeOwned};

use crate::protocol::Reason;

/// One key column.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    Text(&'a str),
    Number(i64),
}

impl Key<'_> {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Key::Text(text) => {
                out.extend_from_slice(&(text.len() as u64).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Key::Number(number) => out.extend_from_slice(&number.to_le_bytes()),
        }
    }
}

/// The checksum of a row, as it stands in its `crc` column.
pub fn seal(table: &str, key: &[Key<'_>], body: &[u8]) -> u32 {
    let mut head = Vec::with_capacity(64);
    Key::Text(table).put(&mut head);
    key.iter().for_each(|column| column.put(&mut head));
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    crc.update(&head);
    crc.update(body);
    crc.finalize() as u32
}

/// The canonical body of a fact. Facts are plain structs with text keys, which JSON can always hold.
pub fn encode<T: Serialize>(fact: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(fact)
}

/// Checks the seal and decodes strictly: a body that does not encode to the same bytes is not ours.
pub fn decode<T: Serialize + DeserializeOwned>(
    table: &str,
    key: &[Key<'_>],
    body: &[u8],
    crc: i64,
) -> Result<T, Reason> {
    check(table, key, body, crc)?;
    let damaged = |what: String| Reason::Corrupt { place: place(table, key), what };
    let fact: T = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    match encode(&fact) {
        Ok(again) if again == body => Ok(fact),
        _ => Err(damaged("it holds more than this program knows".to_owned())),
    }
}

/// Checks the seal only.
pub fn check(table: &str, key: &[Key<'_>], body: &[u8], crc: i64) -> Result<(), Reason> {
    let computed = seal(table, key, body);
    if i64::from(computed) == crc {
        return Ok(());
    }
    let what = format!("its checksum is {crc:#010x}, its bytes give {computed:#010x}");
    Err(Reason::Corrupt { place: place(table, key), what })
}

fn place(table: &str, key: &[Key<'_>]) -> String {
    let key: Vec<String> = key
        .iter()
        .map(|column| match column {
            Key::Text(text) => (*text).to_owned(),
            Key::Number(number) => number.to_string(),
        })
        .collect();
    format!("row {} of table {table}", key.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::BoundedEnd;

    #[test]
    fn a_row_decodes_only_as_it_was_written() {
        let end = BoundedEnd { offsets: Some(Vec::new()), ..BoundedEnd::default() };
        let body = encode(&end).unwrap();
        let key = [Key::Text("bounded_end")];
        let crc = i64::from(seal("meta", &key, &body));
        assert_eq!(decode::<BoundedEnd>("meta", &key, &body, crc), Ok(end));
        for (table, key, body) in [
            ("mets", key, body.clone()),
            ("meta", [Key::Text("bounded_enc")], body.clone()),
            ("meta", key, br#"{"offsets":[] }"#.to_vec()),
        ] {
            assert!(matches!(decode::<BoundedEnd>(table, &key, &body, crc), Err(Reason::Corrupt { .. })));
        }
        for loose in [r#"{"offsets":[] }"#, r#"{"offsets":[],"more":1}"#] {
            let crc = i64::from(seal("meta", &key, loose.as_bytes()));
            let refused = decode::<BoundedEnd>("meta", &key, loose.as_bytes(), crc);
            assert!(matches!(refused, Err(Reason::Corrupt { .. })), "{loose}");
        }
    }
}

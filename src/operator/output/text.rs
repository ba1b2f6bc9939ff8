//! `save_as_text_files`, `to_file`: a line an element, a part a partition.

use super::{Delivered, OutputOperator};
use crate::{
    expr::{Evaluator, element, primitive::write_json},
    job::FileFormat,
    model::{
        Column, Value,
        digest::{Digest, OrderedDigest},
        text::put_str,
    },
    operator::{Cause, Collector, Partial, PoisonElement, StepFailure, take_all},
    sink::Content,
};

pub struct Lines {
    format: FileFormat,
}

impl Lines {
    pub fn text() -> Self {
        Self { format: FileFormat::Text }
    }

    pub fn of(format: FileFormat) -> Self {
        Self { format }
    }
}

struct Part {
    format: FileFormat,
    lines: Vec<u8>,
    digest: OrderedDigest,
}

impl Collector for Part {
    fn push(&mut self, chunk: Column, _: &mut Evaluator) -> Result<Vec<PoisonElement>, StepFailure> {
        let mut poison = Vec::new();
        for idx in 0..chunk.len() {
            let value = match element(&chunk, idx) {
                Ok(value) => value,
                Err(error) => {
                    poison.push(PoisonElement { idx: idx as u32, cause: Cause::Lambda(error) });
                    continue;
                }
            };
            match put_line(&mut self.lines, &value, self.format) {
                Ok(()) => self.digest.add(&value),
                Err(message) => poison.push(PoisonElement { idx: idx as u32, cause: Cause::Element(message) }),
            }
        }
        Ok(poison)
    }

    fn finish(self: Box<Self>) -> Partial {
        Box::new((self.lines, self.digest.finish()))
    }

    fn memory_bytes(&self) -> usize {
        self.lines.capacity()
    }
}

impl OutputOperator for Lines {
    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Part { format: self.format, lines: Vec::new(), digest: OrderedDigest::default() })
    }

    fn deliver(&self, partials: Vec<Partial>) -> Result<Delivered, StepFailure> {
        let mut digest = OrderedDigest::default();
        let mut parts = Vec::new();
        for (lines, part) in take_all::<(Vec<u8>, Digest)>(partials)? {
            digest.add_part(&part);
            parts.push(lines);
        }
        Ok(Delivered { content: Content::Parts(parts), digest: digest.finish() })
    }
}

/// One element as one line. Nothing is written where it cannot be.
fn put_line(out: &mut Vec<u8>, value: &Value, format: FileFormat) -> Result<(), String> {
    let before = out.len();
    let written = match (format, value) {
        (FileFormat::Text, Value::Bytes(bytes)) => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        (FileFormat::Text, value) => {
            let mut text = String::new();
            put_str(&mut text, value);
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        (FileFormat::Json, value) => write_json(out, value).map_err(|fault| fault.message),
        (FileFormat::Csv, value) => {
            put_csv(out, value);
            Ok(())
        }
    };
    match written {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    written
}

/// A row: the parts of a tuple or list (of a record: key and value), else one field. None is an empty field.
fn put_csv(out: &mut Vec<u8>, value: &Value) {
    let pair;
    let fields: &[Value] = match value {
        Value::Tuple(parts) => parts,
        Value::List(parts) => parts,
        Value::Record(record) => {
            pair = [record.key.clone(), record.value.clone()];
            &pair
        }
        other => std::slice::from_ref(other),
    };
    for (idx, field) in fields.iter().enumerate() {
        if idx > 0 {
            out.push(b',');
        }
        put_csv_field(out, field);
    }
}

/// RFC 4180: a field with a comma, a quote or a line break is quoted, quotes inside are doubled.
fn put_csv_field(out: &mut Vec<u8>, field: &Value) {
    let mut text = String::new();
    if !matches!(field, Value::None) {
        put_str(&mut text, field);
    }
    if text.contains([',', '"', '\n', '\r']) {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

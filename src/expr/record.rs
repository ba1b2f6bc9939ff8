//! Kafka records as values: decoded as late and as little as the function allows.
//!
//! A key or value is decoded, and able to be poison, only where the function mentions it: `record.value` leaves the key
//! alone, `record.offset` leaves both.

use super::{
    EvalError, EvalErrorKind, Limits,
    node::{Code, Kind, Node, Span},
    primitive::{self, Budget, Fault},
};
use crate::model::{RawColumn, RecordColumn, Value, ValueFormat, column};

/// Where a function first uses the key and the value of its first parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    pub key: Option<Span>,
    pub value: Option<Span>,
}

impl Use {
    pub fn of(code: &Code) -> Use {
        let mut found = Use::default();
        // A variable that closures share has lost track of; `*args` holds records whole.
        if code.boxes.contains(&0) || code.parameters.positional.is_empty() {
            found.both(code.span);
        }
        code.expressions(&mut |node| found.visit(node));
        found
    }

    fn both(&mut self, span: Span) {
        self.key.get_or_insert(span);
        self.value.get_or_insert(span);
    }

    fn visit(&mut self, node: &Node) {
        match &node.kind {
            Kind::Attribute(of, name) if matches!(of.kind, Kind::Local(0)) => match name.as_str() {
                "key" => drop(self.key.get_or_insert(node.span)),
                "value" => drop(self.value.get_or_insert(node.span)),
                "topic" | "partition" | "offset" | "timestamp" | "headers" => {}
                _ => self.both(node.span),
            },
            Kind::Index(pair) if matches!(pair.0.kind, Kind::Local(0)) => match &pair.1.kind {
                Kind::Constant(Value::Int(0 | -2)) => drop(self.key.get_or_insert(node.span)),
                Kind::Constant(Value::Int(1 | -1)) => drop(self.value.get_or_insert(node.span)),
                _ => {
                    self.both(node.span);
                    self.visit(&pair.1);
                }
            },
            Kind::Local(0) => self.both(node.span),
            Kind::Closure(closure) => {
                if closure.captured.contains(&0) {
                    self.both(node.span);
                }
                node.children(&mut |child| self.visit(child));
            }
            _ => node.children(&mut |child| self.visit(child)),
        }
    }
}

/// Record `idx` with what the function uses; the rest is None.
pub fn decode(column: &RecordColumn, idx: usize, used: Use, limits: Limits) -> Result<Value, EvalError> {
    let part = |raw: &RawColumn, format, name, span: Option<Span>| match span {
        Some(span) => decode_part(raw.get(idx), format, name, limits).map_err(|fault| EvalError {
            kind: fault.kind,
            message: fault.message,
            span: span.range(),
            in_library: false,
            function: None,
        }),
        None => Ok(Value::None),
    };
    let key = || part(&column.keys, column.key_format, "key", used.key);
    let value = || part(&column.values, column.value_format, "value", used.value);
    // What stands first in the text fails first.
    let (key, value) = match used.value.map(|span| span.start) < used.key.map(|span| span.start) {
        true => {
            let value = value()?;
            (key()?, value)
        }
        false => (key()?, value()?),
    };
    Ok(Value::Record(column::record(column, idx, key, value).into()))
}

/// A key or value by its format; null is None.
pub fn decode_part(bytes: Option<&[u8]>, format: ValueFormat, name: &str, limits: Limits) -> Result<Value, Fault> {
    let Some(bytes) = bytes else { return Ok(Value::None) };
    match format {
        ValueFormat::Bytes => Ok(Value::Bytes(bytes.into())),
        ValueFormat::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::str(text)),
            Err(error) => {
                let message = format!("{name} is not valid UTF-8 at byte {}", error.valid_up_to());
                Err(Fault { kind: EvalErrorKind::Decode, message })
            }
        },
        ValueFormat::Json => primitive::parse_json(bytes, &mut Budget::new(limits)).map_err(|fault| match fault.kind {
            EvalErrorKind::Limit | EvalErrorKind::Host => fault,
            _ => Fault { kind: EvalErrorKind::Decode, message: format!("{name} is not JSON: {}", fault.message) },
        }),
    }
}

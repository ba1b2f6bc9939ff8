//! Columns: some thousand consecutive elements of one partition of a DStream, by type (a *chunk* is such a column).
//!
//! Strings are views into one shared, reference-counted buffer: a fetched record set, or the text a kernel wrote.
//! Cloning a column, or taking the parts of a tuple column, copies no data. A column whose elements do not share one of
//! the types below is [`Column::Any`].

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use smol_str::SmolStr;

use super::{JsonColumn, Record, TopicPartition, Value};

/// The elements of a chunk. Shapes: every part of a column has the length of the column.
#[derive(Debug, Clone)]
pub enum Column {
    /// `len` times the same value; literals, and `None` keys.
    Const(Value, usize),
    Bool(Arc<Vec<bool>>),
    Int(Arc<Vec<i64>>),
    Float(Arc<Vec<f64>>),
    Str(StrColumn),
    /// Tuples of one arity, as a column a part; never empty.
    Tuple(Arc<[Column]>),
    List(ListColumn),
    /// JSON objects that are still to be decoded.
    Json(JsonColumn),
    Record(Arc<RecordColumn>),
    Any(Arc<Vec<Value>>),
}

/// A piece of a buffer: byte offset and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub offset: u32,
    pub len: u32,
}

impl View {
    /// Marks a null in a [`RawColumn`]; no [`StrColumn`] holds it.
    pub const NULL: View = View { offset: 0, len: u32::MAX };

    pub fn is_null(self) -> bool {
        self.len == u32::MAX
    }

    pub fn range(self) -> Range<usize> {
        self.offset as usize..self.offset as usize + self.len as usize
    }
}

/// Valid UTF-8 strings: every view lies in `buffer`, on character boundaries. No nulls.
#[derive(Debug, Clone)]
pub struct StrColumn {
    pub buffer: Bytes,
    pub views: Arc<Vec<View>>,
}

impl StrColumn {
    pub fn len(&self) -> usize {
        self.views.len()
    }

    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The bytes of element `idx`, valid UTF-8.
    #[inline]
    pub fn bytes(&self, idx: usize) -> &[u8] {
        &self.buffer[self.views[idx].range()]
    }

    /// Element `idx`. Empty where the column breaks its promise of UTF-8, which no constructor lets happen.
    #[inline]
    pub fn str(&self, idx: usize) -> &str {
        std::str::from_utf8(self.bytes(idx)).unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|idx| self.str(idx))
    }
}

impl<S: AsRef<str>> FromIterator<S> for StrColumn {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut builder = StrBuilder::default();
        texts.into_iter().for_each(|text| builder.push(text.as_ref()));
        builder.finish()
    }
}

/// Writes a string column into a buffer of its own.
#[derive(Debug, Default)]
pub struct StrBuilder {
    buffer: Vec<u8>,
    views: Vec<View>,
}

impl StrBuilder {
    pub fn push(&mut self, text: &str) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(text.as_bytes());
        self.close(start);
    }

    /// The element is what `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.buffer.len();
        let mut text = String::new();
        write(&mut text);
        self.buffer.extend_from_slice(text.as_bytes());
        self.close(start);
    }

    /// Bytes written so far; a column's buffer stays below 4 GiB, so callers bound their chunks.
    pub fn buffer_len(&self) -> usize {
        self.buffer.len()
    }

    fn close(&mut self, start: usize) {
        self.views.push(View { offset: start as u32, len: (self.buffer.len() - start) as u32 });
    }

    pub fn finish(self) -> StrColumn {
        StrColumn { buffer: Bytes::from(self.buffer), views: Arc::new(self.views) }
    }
}

/// Lists of any length: element `i` is `values[offsets[i]..offsets[i + 1]]`. `offsets` is one longer than the column.
#[derive(Debug, Clone)]
pub struct ListColumn {
    pub offsets: Arc<Vec<u32>>,
    pub values: Box<Column>,
}

impl ListColumn {
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn range(&self, idx: usize) -> Range<usize> {
        self.offsets[idx] as usize..self.offsets[idx + 1] as usize
    }
}

/// How the bytes of a record's key or value become a value; null is always None.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueFormat {
    #[default]
    Utf8,
    Bytes,
    Json,
}

/// Undecoded keys or values: views into `buffer`, [`View::NULL`] for null.
#[derive(Debug, Clone)]
pub struct RawColumn {
    pub buffer: Bytes,
    pub views: Vec<View>,
}

impl RawColumn {
    #[inline]
    pub fn get(&self, idx: usize) -> Option<&[u8]> {
        let view = self.views[idx];
        if view.is_null() { None } else { Some(&self.buffer[view.range()]) }
    }
}

/// Kafka records of one topic partition, in offset order, undecoded.
#[derive(Debug, Clone)]
pub struct RecordColumn {
    pub tp: TopicPartition,
    pub key_format: ValueFormat,
    pub value_format: ValueFormat,
    /// Strictly increasing, not dense.
    pub offsets: Vec<i64>,
    /// Milliseconds since the epoch; -1 where the broker has none.
    pub timestamps: Vec<i64>,
    pub keys: RawColumn,
    pub values: RawColumn,
    /// One entry a record; empty where no record of the chunk has headers.
    pub headers: Vec<Headers>,
}

/// The headers of one record: names, and values or null.
pub type Headers = Vec<(SmolStr, Option<Bytes>)>;

impl RecordColumn {
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn headers(&self, idx: usize) -> &[(SmolStr, Option<Bytes>)] {
        self.headers.get(idx).map(Vec::as_slice).unwrap_or_default()
    }

    /// Some of the records, in order.
    pub fn gather(&self, indices: &[u32]) -> RecordColumn {
        let pick = |raw: &RawColumn| RawColumn {
            buffer: raw.buffer.clone(),
            views: indices.iter().map(|&i| raw.views[i as usize]).collect(),
        };
        RecordColumn {
            tp: self.tp.clone(),
            key_format: self.key_format,
            value_format: self.value_format,
            offsets: indices.iter().map(|&i| self.offsets[i as usize]).collect(),
            timestamps: indices.iter().map(|&i| self.timestamps[i as usize]).collect(),
            keys: pick(&self.keys),
            values: pick(&self.values),
            headers: match self.headers.is_empty() {
                true => Vec::new(),
                false => indices.iter().map(|&i| self.headers[i as usize].clone()).collect(),
            },
        }
    }
}

impl Column {
    pub fn len(&self) -> usize {
        match self {
            Column::Const(_, len) => *len,
            Column::Bool(values) => values.len(),
            Column::Int(values) => values.len(),
            Column::Float(values) => values.len(),
            Column::Str(column) => column.len(),
            Column::Tuple(parts) => parts.first().map_or(0, Column::len),
            Column::List(column) => column.len(),
            Column::Json(column) => column.len(),
            Column::Record(column) => column.len(),
            Column::Any(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn empty() -> Column {
        Column::Any(Arc::default())
    }

    /// Bytes of memory that the elements take, roughly; what shares a buffer counts as if it did not.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Column::Const(value, _) => value.heap_bytes(),
            Column::Bool(values) => values.len(),
            Column::Int(values) => values.len() * 8,
            Column::Float(values) => values.len() * 8,
            Column::Str(column) => column.views.iter().map(|view| 8 + view.len as usize).sum(),
            Column::Tuple(parts) => parts.iter().map(Column::memory_bytes).sum(),
            Column::List(column) => column.offsets.len() * 4 + column.values.memory_bytes(),
            Column::Json(column) => column.memory_bytes(),
            Column::Record(column) => {
                let views = column.keys.views.iter().chain(&column.values.views).filter(|view| !view.is_null());
                column.len() * 32 + views.map(|view| view.len as usize).sum::<usize>()
            }
            Column::Any(values) => values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum(),
        }
    }

    /// Element `idx` as a value. `None` for a [`Column::Record`] (or a tuple or list that holds one), whose decoding can
    /// fail: `expr::decode` reads those.
    pub fn get(&self, idx: usize) -> Option<Value> {
        Some(match self {
            Column::Const(value, _) => value.clone(),
            Column::Bool(values) => Value::Bool(values[idx]),
            Column::Int(values) => Value::Int(values[idx]),
            Column::Float(values) => Value::Float(values[idx]),
            Column::Str(column) => Value::str(column.str(idx)),
            Column::Tuple(parts) => Value::Tuple(parts.iter().map(|part| part.get(idx)).collect::<Option<_>>()?),
            Column::List(column) => {
                let items: Option<Vec<Value>> = column.range(idx).map(|i| column.values.get(i)).collect();
                Value::list(items?)
            }
            Column::Json(column) => column.get(idx),
            Column::Record(_) => return None,
            Column::Any(values) => values[idx].clone(),
        })
    }

    /// The elements at `indices`, in that order.
    pub fn gather(&self, indices: &[u32]) -> Column {
        fn pick<T: Clone>(values: &[T], indices: &[u32]) -> Arc<Vec<T>> {
            Arc::new(indices.iter().map(|&i| values[i as usize].clone()).collect())
        }
        match self {
            Column::Const(value, _) => Column::Const(value.clone(), indices.len()),
            Column::Bool(values) => Column::Bool(pick(values, indices)),
            Column::Int(values) => Column::Int(pick(values, indices)),
            Column::Float(values) => Column::Float(pick(values, indices)),
            Column::Str(column) => {
                Column::Str(StrColumn { buffer: column.buffer.clone(), views: pick(&column.views, indices) })
            }
            Column::Tuple(parts) => Column::Tuple(parts.iter().map(|part| part.gather(indices)).collect()),
            Column::List(column) => {
                let mut offsets = vec![0];
                let mut inner = Vec::new();
                for &i in indices {
                    inner.extend(column.range(i as usize).map(|i| i as u32));
                    offsets.push(inner.len() as u32);
                }
                Column::List(ListColumn { offsets: Arc::new(offsets), values: Box::new(column.values.gather(&inner)) })
            }
            Column::Json(column) => Column::Json(column.gather(indices)),
            Column::Record(column) => Column::Record(Arc::new(column.gather(indices))),
            Column::Any(values) => Column::Any(pick(values, indices)),
        }
    }

    /// Elements `range`, in order.
    pub fn slice(&self, range: Range<usize>) -> Column {
        let indices: Vec<u32> = range.map(|i| i as u32).collect();
        self.gather(&indices)
    }

    /// The narrowest column that holds these values.
    pub fn from_values(values: Vec<Value>) -> Column {
        match values.first() {
            Some(Value::Int(_)) => {
                typed(&values, |v| if let Value::Int(i) = v { Some(*i) } else { None }).map(Column::Int)
            }
            Some(Value::Float(_)) => {
                typed(&values, |v| if let Value::Float(f) = v { Some(*f) } else { None }).map(Column::Float)
            }
            Some(Value::Bool(_)) => {
                typed(&values, |v| if let Value::Bool(b) = v { Some(*b) } else { None }).map(Column::Bool)
            }
            Some(Value::Str(_)) => strs(&values).map(Column::Str),
            Some(Value::Tuple(parts)) if !parts.is_empty() => tuples(&values, parts.len()),
            Some(Value::None) if values.iter().all(|v| matches!(v, Value::None)) => {
                Some(Column::Const(Value::None, values.len()))
            }
            _ => None,
        }
        .unwrap_or_else(|| Column::Any(Arc::new(values)))
    }
}

fn typed<T>(values: &[Value], get: impl Fn(&Value) -> Option<T>) -> Option<Arc<Vec<T>>> {
    values.iter().map(get).collect::<Option<Vec<T>>>().map(Arc::new)
}

fn strs(values: &[Value]) -> Option<StrColumn> {
    let mut builder = StrBuilder::default();
    for value in values {
        let Value::Str(text) = value else { return None };
        builder.push(text);
    }
    (builder.buffer_len() < u32::MAX as usize).then(|| builder.finish())
}

fn tuples(values: &[Value], arity: usize) -> Option<Column> {
    let mut parts: Vec<Vec<Value>> = (0..arity).map(|_| Vec::with_capacity(values.len())).collect();
    for value in values {
        let Value::Tuple(items) = value else { return None };
        if items.len() != arity {
            return None;
        }
        parts.iter_mut().zip(items.iter()).for_each(|(part, item)| part.push(item.clone()));
    }
    Some(Column::Tuple(parts.into_iter().map(Column::from_values).collect()))
}

/// A record of a [`RecordColumn`] whose key and value have been decoded.
pub fn record(column: &RecordColumn, idx: usize, key: Value, value: Value) -> Record {
    Record {
        tp: column.tp.clone(),
        offset: column.offsets[idx],
        timestamp: column.timestamps[idx],
        key,
        value,
        headers: column
            .headers(idx)
            .iter()
            .map(|(name, value)| {
                (name.clone(), value.as_ref().map_or(Value::None, |v| Value::Bytes(Arc::from(&v[..]))))
            })
            .collect(),
    }
}

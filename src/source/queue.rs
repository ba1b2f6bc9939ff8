//! The queue source: batches from a JSON-lines file, as Spark's `queueStream`.
//!
//! A line is a batch:
//!
//! ```text
//! ["a b", "c"]                            an array: the elements, sliced contiguously over the partitions
//! {"partitions": [["a b"], ["c"]]}        an object: the elements of each partition
//! []   or   null                          an empty batch
//! ```
//!
//! Blank lines are skipped. JSON has no tuples, so an array is a list, also as an element; a list of two acts as a pair.
//!
//! To the rest of kstream a queue is a topic named like the source, whose offsets are batches: offset `i` of partition
//! `p` is what line `i` holds for partition `p`. Planned one offset a batch, it needs no treatment of its own. The whole
//! file is read and checked when the source is opened; a file that has grown by the next start goes on where it was.

use std::{fs, path::Path, sync::Arc, time::Instant};

use super::{Available, AvailablePartition, RangeReader, ReadOptions, Source, SourceError, SourceErrorKind, Start};
use crate::{
    job::Content,
    model::{Column, OffsetRange, TopicPartition, Value, key::Key},
};

/// Offsets a batch reads of each partition: one line.
pub const LINES_PER_BATCH: u64 = 1;

/// Reads one JSON text as `json.loads` does; the error says what is wrong with it.
pub type JsonReader = fn(&[u8]) -> Result<Value, String>;

/// A source whose batches are the lines of a file.
#[derive(Debug)]
pub struct QueueSource {
    name: Arc<str>,
    partitions: usize,
    /// Of each line, the elements of each partition.
    batches: Vec<Vec<Column>>,
    content: Content,
}

impl QueueSource {
    /// Fails with the line of the first mistake.
    pub fn open(name: &Arc<str>, path: &Path, partitions: u32, json: JsonReader) -> Result<QueueSource, SourceError> {
        let refused = |message: String| SourceError {
            kind: SourceErrorKind::Usage,
            message,
            hint: Some("A line is a batch: [element, ...], or {\"partitions\": [[element, ...], ...]}.".to_owned()),
        };
        let text = fs::read(path).map_err(|error| SourceError {
            hint: None,
            ..refused(format!("cannot read queue file {}: {error}", path.display()))
        })?;
        let partitions = (partitions as usize).max(1);
        let mut batches = Vec::new();
        for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let batch = json(line).and_then(|value| batch(value, partitions));
            batches
                .push(batch.map_err(|what| refused(format!("queue file {}, line {number}: {what}", path.display())))?);
        }
        Ok(QueueSource { name: name.clone(), partitions, batches, content: Content::of(&text) })
    }

    /// What the file held when it was opened.
    pub fn content(&self) -> Content {
        self.content
    }

    /// How many batches the file holds.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    fn end(&self) -> i64 {
        i64::try_from(self.batches.len()).unwrap_or(i64::MAX)
    }
}

/// The columns of one line, one a partition.
fn batch(line: Value, partitions: usize) -> Result<Vec<Column>, String> {
    let elements = match &line {
        Value::None => Arc::default(),
        Value::List(elements) => elements.clone(),
        Value::Dict(_) => return placed(&line, partitions),
        other => return Err(format!("expected an array, got {}", other.type_name())),
    };
    let n = elements.len();
    let slice = |i: usize| elements.get(i * n / partitions..(i + 1) * n / partitions).unwrap_or_default();
    Ok((0..partitions).map(|i| Column::from_values(slice(i).to_vec())).collect())
}

/// `{"partitions": [[...], ...]}`
fn placed(line: &Value, partitions: usize) -> Result<Vec<Column>, String> {
    let only_key = match line {
        Value::Dict(dict) if dict.len() == 1 => dict.get(&Key::from("partitions")),
        _ => None,
    };
    let Some(Value::List(lists)) = only_key else {
        return Err("an object must have the one key \"partitions\", an array of arrays".to_owned());
    };
    if lists.len() != partitions {
        return Err(format!("{} partitions, but the source has {partitions}", lists.len()));
    }
    let column = |list: &Value| match list {
        Value::List(elements) => Ok(Column::from_values(elements.to_vec())),
        other => Err(format!("expected an array of elements for each partition, got {}", other.type_name())),
    };
    lists.iter().map(column).collect()
}

impl Source for QueueSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_logical_clock(&self) -> bool {
        true
    }

    fn available(&mut self, _deadline: Instant) -> Result<Available, SourceError> {
        let partition = |(_, partition)| AvailablePartition {
            tp: TopicPartition::new(self.name.clone(), partition),
            earliest: 0,
            latest: self.end(),
            topic_id: None,
            leader_epoch: None,
        };
        Ok(Available { partitions: (0..self.partitions).zip(0..).map(partition).collect() })
    }

    fn start_offsets(
        &mut self,
        partitions: &[AvailablePartition],
        start: &Start,
        _deadline: Instant,
    ) -> Result<Vec<i64>, SourceError> {
        let offset = |partition: &AvailablePartition| match start {
            Start::Earliest => Ok(partition.earliest),
            Start::Latest => Ok(partition.latest),
            Start::Offsets(offsets) => {
                let given = offsets.iter().find(|(tp, _)| *tp == partition.tp);
                Ok(given.map_or(partition.earliest, |(_, offset)| *offset))
            }
            _ => Err(SourceError {
                kind: SourceErrorKind::Usage,
                message: format!("source {} cannot begin at a time: its batches have none", self.name),
                hint: Some("Begin at earliest, latest, or a line number as the offset.".to_owned()),
            }),
        };
        partitions.iter().map(offset).collect()
    }

    fn assign(&mut self, _positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        let partition = usize::try_from(range.tp.partition).unwrap_or(usize::MAX);
        let lines = usize::try_from(range.start).ok().zip(usize::try_from(range.until).ok());
        let batches = lines.and_then(|(start, until)| self.batches.get(start..until));
        match batches {
            Some(batches) if partition < self.partitions => Ok(Box::new(LineReader {
                columns: batches.iter().filter_map(|batch| batch.get(partition)).collect(),
                line: 0,
                element: 0,
                chunk_records: options.chunk_records.max(1),
            })),
            _ => Err(SourceError {
                kind: SourceErrorKind::DataLoss {
                    tp: range.tp.clone(),
                    planned: (range.start, range.until),
                    earliest: 0,
                    latest: self.end(),
                },
                message: format!("queue {} holds lines 0..{}; the plan needs {range}", self.name, self.end()),
                hint: None,
            }),
        }
    }
}

/// The elements of one partition, line by line.
struct LineReader<'a> {
    columns: Vec<&'a Column>,
    line: usize,
    element: usize,
    chunk_records: usize,
}

impl RangeReader for LineReader<'_> {
    fn next_chunk(&mut self) -> Result<Option<Column>, SourceError> {
        while let Some(column) = self.columns.get(self.line) {
            let until = column.len().min(self.element + self.chunk_records);
            if self.element < until {
                let chunk = column.slice(self.element..until);
                self.element = until;
                return Ok(Some(chunk));
            }
            self.line += 1;
            self.element = 0;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn json(text: &[u8]) -> Result<Value, String> {
        fn value(json: serde_json::Value) -> Value {
            match json {
                serde_json::Value::Null => Value::None,
                serde_json::Value::Bool(b) => Value::Bool(b),
                serde_json::Value::Number(n) => n.as_i64().map_or(Value::Float(n.as_f64().unwrap()), Value::Int),
                serde_json::Value::String(s) => Value::str(s),
                serde_json::Value::Array(items) => Value::list(items.into_iter().map(value).collect()),
                serde_json::Value::Object(map) => Value::Dict(Arc::new(
                    map.into_iter().map(|(name, item)| (Key::from(name.as_str()), value(item))).collect(),
                )),
            }
        }
        serde_json::from_slice(text).map(value).map_err(|error| error.to_string())
    }

    fn open(text: &str, partitions: u32) -> Result<QueueSource, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        QueueSource::open(&Arc::from("words"), file.path(), partitions, json)
            .map_err(|error| error.message.split_once(", ").unwrap().1.to_owned())
    }

    fn range(partition: i32, start: i64, until: i64) -> OffsetRange {
        OffsetRange {
            source: Arc::from("words"),
            tp: TopicPartition::new("words", partition),
            start,
            until,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        }
    }

    /// The chunks of one range, elements as debug texts.
    fn read(source: &QueueSource, range: &OffsetRange, chunk_records: usize) -> Vec<Vec<String>> {
        let options = ReadOptions { chunk_records, stall_timeout_ms: 1_000 };
        let mut reader = source.read(range, options).unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            chunks.push((0..chunk.len()).map(|i| format!("{:?}", chunk.get(i).unwrap())).collect());
        }
        chunks
    }

    #[test]
    fn a_line_is_sliced_contiguously_over_the_partitions() {
        let source = open("[1, 2, 3, 4, 5]\n[6]\n", 2).unwrap();
        assert_eq!(source.batches(), 2);
        assert_eq!(read(&source, &range(0, 0, 1), 10), [["Int(1)", "Int(2)"]]);
        assert_eq!(read(&source, &range(1, 0, 1), 10), [["Int(3)", "Int(4)", "Int(5)"]]);
        assert_eq!(read(&source, &range(0, 1, 2), 10), Vec::<Vec<String>>::new());
        assert_eq!(read(&source, &range(1, 1, 2), 10), [["Int(6)"]]);
    }

    #[test]
    fn an_object_places_the_elements() {
        let source = open("{\"partitions\": [[1, 2], [], [3]]}", 3).unwrap();
        let partitions: Vec<_> = (0..3).map(|i| read(&source, &range(i, 0, 1), 10).concat()).collect();
        assert_eq!(partitions, [vec!["Int(1)", "Int(2)"], vec![], vec!["Int(3)"]]);
    }

    #[test]
    fn arrays_are_lists_and_lists_of_two_act_as_pairs() {
        let source = open("[[\"a\", 1], [\"b\", 2]]", 1).unwrap();
        let mut reader = source.read(&range(0, 0, 1), ReadOptions { chunk_records: 10, stall_timeout_ms: 1 }).unwrap();
        let element = reader.next_chunk().unwrap().unwrap().get(1).unwrap();
        assert_eq!(format!("{:?}", element.as_pair().unwrap()), format!("{:?}", (&Value::str("b"), &Value::Int(2))));
    }

    #[test]
    fn empty_batches_count_and_blank_lines_do_not() {
        let source = open("[]\n\nnull\n  \r\n[1]\n", 1).unwrap();
        assert_eq!(source.batches(), 3);
        assert_eq!(read(&source, &range(0, 0, 3), 10).concat(), ["Int(1)"]);
    }

    #[test]
    fn chunks_have_at_most_the_asked_number_of_elements() {
        let source = open("[1, 2, 3]\n[4]", 1).unwrap();
        let chunks = read(&source, &range(0, 0, 2), 2);
        assert_eq!(chunks, [vec!["Int(1)", "Int(2)"], vec!["Int(3)"], vec!["Int(4)"]]);
    }

    #[test]
    fn offsets_are_lines() {
        let mut source = open("[1]\n[2]\n[3]", 2).unwrap();
        let available = source.available(Instant::now()).unwrap().partitions;
        let bounds: Vec<_> = available.iter().map(|p| (p.tp.to_string(), p.earliest, p.latest)).collect();
        assert_eq!(bounds, [("words/0".to_owned(), 0, 3), ("words/1".to_owned(), 0, 3)]);
        let mut starts = |start| source.start_offsets(&available, &start, Instant::now());
        assert_eq!(starts(Start::Earliest).unwrap(), [0, 0]);
        assert_eq!(starts(Start::Latest).unwrap(), [3, 3]);
        assert_eq!(starts(Start::Offsets(vec![(TopicPartition::new("words", 1), 2)])).unwrap(), [0, 2]);
        assert_eq!(starts(Start::Time(0)).unwrap_err().kind, SourceErrorKind::Usage);
    }

    #[test]
    fn a_range_behind_the_end_is_data_loss() {
        let source = open("[1]\n[2]", 1).unwrap();
        for range in [range(0, 1, 3), range(1, 0, 1), range(0, -1, 1)] {
            let read = source.read(&range, ReadOptions { chunk_records: 1, stall_timeout_ms: 1 });
            let kind = read.map(|_| ()).unwrap_err().kind;
            assert!(matches!(kind, SourceErrorKind::DataLoss { latest: 2, .. }), "{range}: {kind:?}");
        }
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, expected) in [
            ("[1]\n7\n", "line 2: expected an array, got int"),
            ("[1]\n\n\"a\"\n", "line 3: expected an array, got str"),
            ("{\"partition\": []}", "line 1: an object must have the one key \"partitions\", an array of arrays"),
            ("{\"partitions\": [[1]]}", "line 1: 1 partitions, but the source has 2"),
            ("{\"partitions\": [[1], 2]}", "line 1: expected an array of elements for each partition, got int"),
            ("[1", "line 1: EOF while parsing a list at line 1 column 2"),
        ] {
            assert_eq!(open(text, 2).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = QueueSource::open(&Arc::from("words"), Path::new("no/such/file.jsonl"), 1, json).unwrap_err();
        assert!(error.message.starts_with("cannot read queue file no/such/file.jsonl: "), "{error}");
    }
}

//! JSON objects as they came, each decoded when it is first asked for as a value.

use std::sync::{Arc, OnceLock};

use super::{StrColumn, Value, column::View};

/// Objects, all known to be well-formed. Cloning copies no data.
#[derive(Debug, Clone)]
pub struct JsonColumn {
    documents: Arc<Documents>,
    /// Which documents the elements are.
    rows: Arc<Vec<u32>>,
    /// They are all of them.
    is_whole: bool,
}

/// A member of an object: its name without the quotes, free of escapes, and the text of its value.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub name: View,
    pub value: View,
}

/// What was found in texts that are all objects.
#[derive(Debug)]
pub struct Found {
    /// The outermost members of document `i` are `members[starts[i]..starts[i + 1]]`.
    pub starts: Vec<u32>,
    /// Views into the texts' buffer.
    pub members: Vec<Member>,
    /// A number for each document: where it is the same, the names of the members are, and their order.
    pub shapes: Vec<u32>,
    /// Nothing in them is escaped.
    pub is_plain: bool,
}

#[derive(Debug)]
struct Documents {
    texts: StrColumn,
    found: Found,
    /// Bytes of memory that the texts and what was found in them take.
    bytes: usize,
    decode: fn(&[u8]) -> Value,
    decoded: OnceLock<Vec<OnceLock<Value>>>,
}

impl JsonColumn {
    /// `decode` must make a value of every one of the texts.
    pub fn new(texts: StrColumn, found: Found, decode: fn(&[u8]) -> Value) -> JsonColumn {
        let rows = (0..texts.len() as u32).collect();
        let text_bytes: usize = texts.views.iter().map(|view| view.len as usize).sum();
        let bytes = text_bytes + found.members.len() * size_of::<Member>();
        let documents = Documents { texts, found, bytes, decode, decoded: OnceLock::new() };
        JsonColumn { documents: Arc::new(documents), rows: Arc::new(rows), is_whole: true }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Element `idx` as a dict. Each document is decoded once, whatever columns it is in.
    pub fn get(&self, idx: usize) -> Value {
        let documents = &self.documents;
        let row = self.rows[idx] as usize;
        let decoded = documents.decoded.get_or_init(|| vec![OnceLock::new(); documents.texts.len()]);
        decoded[row].get_or_init(|| (documents.decode)(documents.texts.bytes(row))).clone()
    }

    /// Bytes of memory that the elements take, roughly: their texts, what was found in them, and what was decoded.
    pub fn memory_bytes(&self) -> usize {
        let documents = &self.documents;
        let read = match self.is_whole {
            true => documents.bytes,
            false => {
                let starts = &documents.found.starts;
                let members = |row: usize| (starts[row + 1] - starts[row]) as usize;
                let one = |row: usize| documents.texts.views[row].len as usize + members(row) * size_of::<Member>();
                self.rows.iter().map(|&row| one(row as usize)).sum()
            }
        };
        let decoded = documents.decoded.get().map_or(0, |values| {
            self.rows.iter().filter_map(|&row| values[row as usize].get()).map(Value::heap_bytes).sum()
        });
        self.rows.len() * 4 + read + decoded
    }

    /// The elements at `indices`, in that order.
    pub fn gather(&self, indices: &[u32]) -> JsonColumn {
        let rows = indices.iter().map(|&idx| self.rows[idx as usize]).collect();
        JsonColumn { documents: Arc::clone(&self.documents), rows: Arc::new(rows), is_whole: false }
    }

    /// The outermost members of element `idx`, as they were written.
    pub fn members(&self, idx: usize) -> &[Member] {
        let row = self.rows[idx] as usize;
        let Found { starts, members, .. } = &self.documents.found;
        &members[starts[row] as usize..starts[row + 1] as usize]
    }

    /// Whether nothing in the documents is escaped.
    pub fn is_plain(&self) -> bool {
        self.documents.found.is_plain
    }

    /// The text of the value of one member of each element; of members of one name the last counts.
    pub fn each(&self, name: &[u8]) -> impl Iterator<Item = Option<View>> {
        let buffer = &self.documents.texts.buffer;
        let shapes = &self.documents.found.shapes;
        let (mut shape, mut position) = (None, None);
        self.rows.iter().enumerate().map(move |(idx, &row)| {
            let members = self.members(idx);
            if shape != Some(shapes[row as usize]) {
                shape = Some(shapes[row as usize]);
                position = members.iter().rposition(|member| &buffer[member.name.range()] == name);
            }
            position.map(|at| members[at].value)
        })
    }

    /// These pieces of the documents, as text.
    pub fn pieces(&self, views: Vec<View>) -> StrColumn {
        StrColumn { buffer: self.documents.texts.buffer.clone(), views: Arc::new(views) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u32, len: u32) -> View {
        View { offset, len }
    }

    #[test]
    fn elements_keep_their_members_when_gathered_and_the_last_of_a_name_counts() {
        let texts: StrColumn = [r#"{"a":1,"a":2}"#, "{}", r#"{"b":3}"#].into_iter().collect();
        let member = |name, value| Member { name: view(name, 1), value: view(value, 1) };
        let members = vec![member(2, 5), member(8, 11), member(17, 20)];
        let found = Found { starts: vec![0, 2, 2, 3], members, shapes: vec![0, 1, 2], is_plain: true };
        let decode = |text: &[u8]| Value::str(String::from_utf8_lossy(text));
        let column = JsonColumn::new(texts, found, decode).gather(&[2, 0, 1, 0]);
        let texts = |views: Vec<View>| column.pieces(views).iter().map(str::to_owned).collect::<Vec<_>>();
        let found = |name: &[u8]| -> Vec<bool> { column.each(name).map(|view| view.is_some()).collect() };
        assert_eq!(texts(column.each(b"a").flatten().collect()), ["2", "2"]);
        assert_eq!(texts(column.each(b"b").flatten().collect()), ["3"]);
        assert_eq!((found(b"a"), found(b"b")), (vec![false, true, false, true], vec![true, false, false, false]));
        assert!(column.members(2).is_empty());
        assert_eq!(format!("{:?}", column.get(3)), format!("{:?}", Value::str(r#"{"a":1,"a":2}"#)));
    }
}

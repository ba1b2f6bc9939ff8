//! The tables of a job file with the position of every key and value, whichever text they came from.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{
    mistake::Span,
    syntax::{self, Fault, Syntax},
};

#[derive(Debug, Clone)]
pub struct Node {
    pub span: Span,
    pub tree: Tree,
}

#[derive(Debug, Clone)]
pub enum Tree {
    Text(String),
    /// Text whose type is that of the key it is read for: a value of `--set`, or what a `${NAME}` stood for.
    Untyped(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Time(String),
    List(Vec<Node>),
    Table(Table),
}

impl Tree {
    /// With its article, for "expected a list, found a string".
    pub fn describe(&self) -> &'static str {
        match self {
            Tree::Text(_) | Tree::Untyped(_) => "a string",
            Tree::Integer(_) => "an integer",
            Tree::Float(_) => "a float",
            Tree::Bool(_) => "a boolean",
            Tree::Time(_) => "a date and time",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
        }
    }
}

/// Entries in the order of the file.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its header, or the whole of an inline table; 1:1 for the root.
    pub span: Span,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// Replaces an entry or appends it.
    pub fn set(&mut self, entry: Entry) {
        match self.get_mut(&entry.key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Parses a whole job file; what can be read of a torn one comes with the syntax errors.
pub fn parse(text: &str, origin: usize) -> (Table, Syntax) {
    let end = text.trim_end().len();
    let (mut readable, mut faults) = (text.to_owned(), Vec::new());
    for _ in 0..MOST_BLANKED {
        let (_, errors) = DeTable::parse_recoverable(&readable);
        // The parser does not find its way back after a key without `=`: it reads on as if the line were not there.
        let lost = errors.iter().find(|error| error.message().starts_with("key with no value"));
        let Some(at) = lost.and_then(toml::de::Error::span).map(|span| span.start) else { break };
        let line = syntax::line_of(text, at);
        if readable.get(line.clone()).is_none_or(|line| line.trim().is_empty()) {
            break;
        }
        let in_line = |fault: &Fault| line.contains(&fault.span.start) || fault.span.start == line.end;
        faults.extend(errors.iter().map(|error| fault(error, end)).filter(in_line));
        let blank: String = text.get(line.clone()).unwrap_or_default().bytes().map(|_| ' ').collect();
        readable.replace_range(line, &blank);
    }
    let (document, errors) = DeTable::parse_recoverable(&readable);
    faults.extend(errors.iter().map(|error| fault(error, end)));
    let mut converter = Converter { text: &readable, origin };
    (converter.table(document.get_ref(), 0..0), Syntax::new(text, faults, origin))
}

/// Lines that are read as if they were not there.
const MOST_BLANKED: usize = 50;

fn fault(error: &toml::de::Error, end: usize) -> Fault {
    Fault { span: error.span().unwrap_or(end..end), message: error.message().to_owned() }
}

/// Parses one TOML value, as in `--set topics=["a"]`. Every part of it has the position of the whole.
pub fn parse_value(text: &str, span: &Span) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut node = Converter { text, origin: span.origin }.node(value.get_ref(), value.span());
    move_to(&mut node, span);
    Some(node)
}

fn move_to(node: &mut Node, span: &Span) {
    node.span = span.clone();
    match &mut node.tree {
        Tree::List(items) => items.iter_mut().for_each(|item| move_to(item, span)),
        Tree::Table(table) => {
            table.span = span.clone();
            for entry in &mut table.entries {
                entry.key_span = span.clone();
                move_to(&mut entry.node, span);
            }
        }
        _ => {}
    }
}

struct Converter<'t> {
    text: &'t str,
    origin: usize,
}

impl Converter<'_> {
    fn table(&mut self, table: &DeTable<'_>, range: Range<usize>) -> Table {
        let mut entries = Vec::new();
        for (key, value) in table.iter() {
            entries.push(Entry {
                key: key.get_ref().to_string(),
                key_span: Span::new(self.origin, key.span()),
                node: self.node(value.get_ref(), value.span()),
            });
        }
        Table { span: Span::new(self.origin, range), entries }
    }

    fn node(&mut self, value: &DeValue<'_>, range: Range<usize>) -> Node {
        let tree = match value {
            DeValue::String(text) => Tree::Text(text.to_string()),
            DeValue::Integer(int) => {
                i128::from_str_radix(int.as_str(), int.radix()).map_or_else(|_| Tree::Float(f64::NAN), Tree::Integer)
            }
            DeValue::Float(float) => Tree::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(bool) => Tree::Bool(*bool),
            DeValue::Datetime(time) => Tree::Time(time.to_string()),
            DeValue::Array(items) => {
                Tree::List(items.iter().map(|item| self.node(item.get_ref(), item.span())).collect())
            }
            DeValue::Table(table) => Tree::Table(self.table(table, range.clone())),
        };
        debug_assert!(range.end <= self.text.len());
        Node { span: Span::new(self.origin, range), tree }
    }
}

/// Where byte `at` of a string's content stands in the text of the file. `raw` is the literal with its quotes.
pub fn position_in_literal(raw: &str, at: usize) -> usize {
    let (quotes, literal) = match raw {
        _ if raw.starts_with("\"\"\"") => (3, false),
        _ if raw.starts_with("'''") => (3, true),
        _ if raw.starts_with('\'') => (1, true),
        _ if raw.starts_with('"') => (1, false),
        _ => return at,
    };
    let mut position = quotes;
    if quotes == 3 {
        let body = raw.get(position..).unwrap_or_default();
        position += if body.starts_with("\r\n") { 2 } else { usize::from(body.starts_with('\n')) };
    }
    if literal {
        return position + at;
    }
    let mut content = 0;
    while content < at {
        let rest = raw.get(position..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { break };
        let (raw_len, content_len) = match first {
            '\\' => escape_lengths(rest),
            other => (other.len_utf8(), other.len_utf8()),
        };
        if content + content_len > at {
            break;
        }
        position += raw_len;
        content += content_len;
    }
    // A line that continues after `\` gives no content: the next character stands behind it.
    let rest = raw.get(position..).unwrap_or_default();
    match escape_lengths(rest) {
        (skipped, 0) if rest.starts_with('\\') => position + skipped,
        _ => position,
    }
}

/// Bytes an escape takes in the file, and bytes it gives.
fn escape_lengths(rest: &str) -> (usize, usize) {
    let digits = |count: usize| {
        let hex = rest.get(2..2 + count).unwrap_or_default();
        let char = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        (2 + count, char.map_or(1, char::len_utf8))
    };
    match rest.as_bytes().get(1) {
        Some(b'x') => digits(2),
        Some(b'u') => digits(4),
        Some(b'U') => digits(8),
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            let body = rest.get(1..).unwrap_or_default();
            (1 + body.len() - body.trim_start().len(), 0)
        }
        _ => (2, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` in the literal marks where the content's `|` must be found.
    fn check(raw: &str) {
        let file = format!("x = {raw}\n");
        let (table, syntax) = parse(&file, 0);
        assert!(syntax.mistakes.is_empty(), "{:?}", syntax.mistakes);
        let entry = table.get("x").unwrap();
        let Tree::Text(content) = &entry.node.tree else { panic!("{entry:?}") };
        let at = position_in_literal(&file[entry.node.span.range.clone()], content.find('|').unwrap());
        assert_eq!(at, raw.find('|').unwrap(), "{raw} as {content:?}");
    }

    #[test]
    fn content_is_found_in_every_kind_of_string() {
        check("'ab|c'");
        check("\"ab|c\"");
        check("\"a\\n\\\"b\\\\|c\"");
        check("\"\\u00e9é|\"");
        check("\"\\U0001F600\\x41|\"");
        check("'''\nlambda x:\n  |x'''");
        check("'''lambda x: |x'''");
        check("'''\r\nlambda x:\r\n  |x'''");
        check("\"\"\"\nlambda x: \\\n    x + \\\n   |x\"\"\"");
        check("\"\"\"\n\\t|x\"\"\"");
    }

    #[test]
    fn a_torn_file_gives_all_its_syntax_errors() {
        let (table, syntax) = parse("a = \nb = 1\nc = \"x\nd = [1\n", 0);
        assert!(syntax.mistakes.len() >= 2, "{:?}", syntax.mistakes);
        assert!(table.get("b").is_some());
    }
}

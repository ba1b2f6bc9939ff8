//! What is no TOML: the parser's errors, with what was most likely meant, and without those that only follow.

use std::ops::Range;

use super::{
    mistake::{Mistake, Span},
    secret,
};

/// Where the parser stopped, and its words.
pub struct Fault {
    pub span: Range<usize>,
    pub message: String,
}

/// What the parser could not read.
#[derive(Debug, Default)]
pub struct Syntax {
    pub mistakes: Vec<Mistake>,
    /// Lines that it could not read, and what stands below a header among them: that may not be what was meant.
    pub torn: Vec<Range<usize>>,
}

impl Syntax {
    pub fn new(text: &str, faults: Vec<Fault>, origin: usize) -> Syntax {
        let torn = faults.iter().map(|fault| torn_part(text, fault.span.start)).collect();
        Syntax { torn, mistakes: mistakes(text, faults, origin) }
    }
}

/// The line that cannot be read; where it is a header that is never closed, also the lines that would be below it.
fn torn_part(text: &str, at: usize) -> Range<usize> {
    let line = line_of(text, at);
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let is_open = |line: &str| {
        let header = line.split('#').next().unwrap_or_default().trim();
        let closed = if header.starts_with("[[") { "]]" } else { "]" };
        header.starts_with('[') && !header.ends_with(closed)
    };
    if !text.get(line.clone()).is_some_and(is_open) {
        return line.start..line.end + 1;
    }
    let mut end = line.end + 1;
    let below = text.get(end..).unwrap_or_default().split_inclusive('\n').take_while(|line| !is_header(line));
    end += below.map(str::len).sum::<usize>();
    line.start..end
}

/// One mistake a line; what follows from an open string or a repeated table is left out.
fn mistakes(text: &str, mut faults: Vec<Fault>, origin: usize) -> Vec<Mistake> {
    faults.sort_by_key(|fault| fault.span.start);
    if let Some(mistake) = other_language(text, faults.len(), origin).filter(|_| !faults.is_empty()) {
        return vec![mistake];
    }
    let mut mistakes = Vec::new();
    // From here to the next line that begins something, faults are those of this line.
    let mut shadow: Option<Shadow> = None;
    let mut last_line = None;
    for fault in faults {
        let line = Line::at(text, fault.span.start);
        let shaded = shadow.as_ref().is_some_and(|shadow| shadow.reaches(text, line.start));
        if last_line.replace(line.start) == Some(line.start) || shaded && line.start != 0 {
            continue;
        }
        shadow = Shadow::of(&fault, &line);
        let (message, mut hint) = line.explained(&fault);
        // It holds words of the line.
        if hint.as_deref().is_some_and(|hint| hint.starts_with("write `")) && secret::mask(line.text) != line.text {
            hint = Some("a secret comes from `{ env = \"NAME\" }` or from `{ file = \"PATH\" }`".to_owned());
        }
        let (message, label) = match message {
            Some(message) => (message, ""),
            None => fault.message.split_once(", ").map_or((fault.message.clone(), ""), |(m, l)| (m.to_owned(), l)),
        };
        mistakes.push(Mistake::at(&Span::new(origin, fault.span), message).label(label).hint(hint));
    }
    mistakes
}

/// A text that begins with one more than these is no job file that somebody mistyped.
const MOST_ODD_LINES: usize = 8;

/// A text that is no TOML from its first line to its last.
fn other_language(text: &str, odd_lines: usize, origin: usize) -> Option<Mistake> {
    let start = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next()?;
    let is_toml = |line: &str| line.starts_with('[') || begins_with_key(line);
    let no_toml = !is_toml(first) && !lines.any(is_toml);
    let is_yaml = || first.split_once(':').is_some_and(|(key, _)| begins_with_key(&format!("{key}=")));
    let message = match first {
        _ if first.starts_with('{') => "a job file is TOML, this looks like JSON",
        _ if first.starts_with('<') => "a job file is TOML, this looks like XML",
        _ if first == "---" || (is_yaml() && no_toml) => "a job file is TOML, this looks like YAML",
        _ if ["from ", "import ", "def "].iter().any(|word| first.starts_with(word)) => {
            "a job file is TOML, this looks like Python"
        }
        _ if no_toml || (!is_toml(first) && MOST_ODD_LINES < odd_lines) => "a job file is TOML, this is none",
        _ => return None,
    };
    let span = Span::new(origin, start..start + first.len());
    let mistake = Mistake::at(&span, message);
    let hint = "it begins like `name = \"wordcount\"`, then has `batch_interval = \"3s\"`, `[source]` and `[[steps]]`";
    Some(mistake.hint(hint.to_owned()))
}

/// A fault that makes more of them in the lines behind it.
struct Shadow {
    from: usize,
    /// Only a header ends it; else any line with a key does.
    to_header: bool,
}

impl Shadow {
    fn of(fault: &Fault, line: &Line<'_>) -> Option<Shadow> {
        let from = line.start + line.text.len();
        if fault.message.starts_with("duplicate key") {
            return line.is_header().then_some(Shadow { from, to_header: true });
        }
        let open_string = fault.message.contains("string") && !fault.message.contains("quoted");
        open_string.then_some(Shadow { from, to_header: false })
    }

    /// Whether no line between begins something new; the line at `start` counts.
    fn reaches(&self, text: &str, start: usize) -> bool {
        let end = start + text.get(start..).unwrap_or_default().find('\n').unwrap_or(text.len() - start);
        let lines = text.get(self.from..end).unwrap_or_default().lines().skip(1);
        !lines.map(str::trim_start).any(|line| line.starts_with('[') || (!self.to_header && begins_with_key(line)))
    }
}

/// The line that a position stands in, without its end.
pub fn line_of(text: &str, at: usize) -> Range<usize> {
    let line = Line::at(text, at);
    line.start..line.start + line.text.len()
}

fn begins_with_key(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim_end();
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | '"' | '\'');
    line.contains('=') && !key.is_empty() && key.chars().all(legal)
}

/// The line of a fault.
struct Line<'t> {
    start: usize,
    text: &'t str,
}

impl<'t> Line<'t> {
    fn at(text: &'t str, at: usize) -> Line<'t> {
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let start = text.get(..at).unwrap_or_default().rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(start..).unwrap_or_default();
        Line { start, text: rest.lines().next().unwrap_or_default() }
    }

    fn is_header(&self) -> bool {
        self.text.trim_start().starts_with('[')
    }

    /// Key and value, as far as they can be told.
    fn parts(&self) -> Option<(&'t str, &'t str)> {
        let (key, value) = self.text.split_once('=')?;
        Some((key.trim(), value.trim()))
    }

    /// The value that begins with `word`, where nothing else stands in the line but a comment.
    fn whole<'w>(&self, word: &'w str) -> &'w str
    where
        't: 'w,
    {
        let value = self.parts().map(|(_, value)| value.split(" #").next().unwrap_or(value).trim_end());
        value.filter(|value| value.starts_with(word)).unwrap_or(word)
    }

    /// A message in place of the parser's, and what to write.
    fn explained(&self, fault: &Fault) -> (Option<String>, Option<String>) {
        let message = fault.message.as_str();
        let found = self.text.get(fault.span.start.saturating_sub(self.start)..).unwrap_or_default();
        let word = found.get(..fault.span.len()).unwrap_or(found).trim();
        const UNQUOTED: [&str; 3] = ["string values must be quoted", "invalid boolean", "invalid float"];
        if UNQUOTED.iter().any(|unquoted| message.starts_with(unquoted)) && !word.is_empty() {
            let (message, hint) = match word.to_lowercase().as_str() {
                "true" | "yes" | "on" => (format!("`{word}` is no boolean"), "write `true`".to_owned()),
                "false" | "no" | "off" => (format!("`{word}` is no boolean"), "write `false`".to_owned()),
                "none" | "null" | "nil" => (format!("`{word}` is no value"), "leave the key out".to_owned()),
                _ => ("strings stand in quotes".to_owned(), format!("write `{}`", quoted(self.whole(word)))),
            };
            return (Some(message), Some(hint));
        }
        if message.starts_with("unexpected key or value") && ["//", "--", ";"].iter().any(|c| found.starts_with(c)) {
            return (Some("nothing can follow the value".to_owned()), Some("a comment begins with `#`".to_owned()));
        }
        if message.starts_with("unexpected key or value")
            && let Some((key, value)) = self.parts()
            && let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\''))
            && value.matches(quote).count() > 2
        {
            let inside = value.trim_start_matches(quote).trim_end_matches(quote);
            let hint = format!("write `{key} = {}`", quoted(inside));
            return (Some(format!("the string ends at the `{quote}` before this")), Some(hint));
        }
        if message.starts_with("unexpected key or value")
            && let Some((key, value)) = self.parts()
            && value.starts_with(|first: char| first.is_alphabetic())
        {
            let hint = format!("write `{key} = {}`", quoted(self.whole(value)));
            return (Some("strings stand in quotes".to_owned()), Some(hint));
        }
        if ["//", "--", ";", "/*", "%"].iter().any(|comment| self.text.trim_start().starts_with(comment)) {
            return (Some("this begins no key".to_owned()), Some("a comment begins with `#`".to_owned()));
        }
        if message.starts_with("missing escaped value") {
            let hint = "write `\\\\` for a backslash, or put the string in single quotes, where it is itself";
            return (Some("`\\` begins an escape, and this is none".to_owned()), Some(hint.to_owned()));
        }
        if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") {
            let hint = "close it in its line; a text of several lines stands in three quotes, `'''...'''`";
            return (Some("the string is never closed".to_owned()), Some(hint.to_owned()));
        }
        if message.starts_with("unclosed table") || message.starts_with("unclosed array table") {
            let header = self.text.split('#').next().unwrap_or_default().trim();
            let name = header.trim_matches(['[', ']', ' ']);
            let whole = if header.starts_with("[[") { format!("[[{name}]]") } else { format!("[{name}]") };
            return (Some("this header is never closed".to_owned()), Some(format!("write `{whole}`")));
        }
        if message.starts_with("duplicate key") {
            let hint = match (self.is_header(), word.trim_matches(['[', ']'])) {
                (true, "steps") => "begin each step with `[[steps]]`",
                (true, "source") => "several sources are `[sources.NAME]`",
                (true, _) => "put the keys below one header",
                (false, _) if self.text.contains("steps") => "begin each step with `[[steps]]`",
                _ => return (Some(format!("`{word}` stands here twice")), None),
            };
            return (Some(format!("`{word}` stands here twice")), Some(hint.to_owned()));
        }
        if let Some((key, value)) = self.text.split_once(':').filter(|(key, _)| begins_with_key(&format!("{key}=")))
            && (message.starts_with("invalid unquoted key") || message.starts_with("key with no value"))
        {
            let value = value.trim();
            let plain = value.starts_with(['"', '\'', '[', '{']) || value.parse::<f64>().is_ok();
            let value = if plain || value == "true" || value == "false" { value.to_owned() } else { quoted(value) };
            let hint = format!("write `{} = {value}`", key.trim());
            return (Some("a key and its value are joined by `=`".to_owned()), Some(hint));
        }
        if message.starts_with("key with no value") {
            return (Some("a key and its value are joined by `=`".to_owned()), None);
        }
        (None, None)
    }
}

/// The text as a TOML string in which nothing needs an escape.
fn quoted(text: &str) -> String {
    match (text.contains('"') || text.contains('\\'), text.contains('\'')) {
        (false, _) => format!("\"{text}\""),
        (true, false) => format!("'{text}'"),
        (true, true) => format!("'''{text}'''"),
    }
}

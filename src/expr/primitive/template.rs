//! The replacement of `re.sub`: `\1`, `\g<1>`, `\g<name>` and escapes, read once before anything is replaced, as Python does
//! (`re._parser.parse_template`).

use ::regex::{Captures, Regex};

use super::Fault;
use crate::expr::EvalErrorKind;

/// A replacement that was read: text, and groups between.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    pub fn parse(template: &str, pattern: &Regex) -> Result<Template, Fault> {
        let mut reader = Reader { rest: template, parts: Vec::new(), text: String::new() };
        while let Some((text, behind)) = reader.rest.split_once('\\') {
            reader.text.push_str(text);
            reader.rest = behind;
            reader.escape(pattern)?;
        }
        reader.text.push_str(reader.rest);
        reader.end_text();
        Ok(Template(reader.parts))
    }

    /// The replacement of one match; a group that took no part is empty.
    pub fn expand(&self, captures: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Group(group) => captures.get(*group).map_or("", |found| found.as_str()),
            });
        }
        out
    }
}

struct Reader<'t> {
    rest: &'t str,
    parts: Vec<Part>,
    text: String,
}

impl Reader<'_> {
    /// What stands behind a backslash.
    fn escape(&mut self, pattern: &Regex) -> Result<(), Fault> {
        let Some(next) = self.rest.chars().next() else {
            return Err(Fault::value_error("bad escape (end of pattern)"));
        };
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            'g' => {
                let group = self.named(pattern)?;
                self.group(group, pattern)
            }
            // A zero and up to two more octal digits.
            '0' => self.octal(0, 2),
            '1'..='9' => {
                let first = next as u32 - u32::from('0');
                let digits: Vec<u32> = self.rest.chars().map_while(|c| c.to_digit(10)).take(2).collect();
                match digits[..] {
                    [second, third] if first < 8 && second < 8 && third < 8 => self.octal(first, 2),
                    [second, ..] => {
                        self.rest = &self.rest[1..];
                        self.group((first * 10 + second) as usize, pattern)
                    }
                    [] => self.group(first as usize, pattern),
                }
            }
            c => {
                match c {
                    'a' => self.text.push('\x07'),
                    'b' => self.text.push('\x08'),
                    'f' => self.text.push('\x0c'),
                    'n' => self.text.push('\n'),
                    'r' => self.text.push('\r'),
                    't' => self.text.push('\t'),
                    'v' => self.text.push('\x0b'),
                    '\\' => self.text.push('\\'),
                    c if c.is_ascii_alphabetic() => return Err(Fault::value_error(format!("bad escape \\{c}"))),
                    c => self.text.extend(['\\', c]),
                }
                Ok(())
            }
        }
    }

    /// The group of `<1>` or `<name>`.
    fn named(&mut self, pattern: &Regex) -> Result<usize, Fault> {
        let Some(name) = self.rest.strip_prefix('<') else { return Err(Fault::value_error("missing <")) };
        let Some((name, behind)) = name.split_once('>') else {
            return Err(Fault::value_error("missing >, unterminated name"));
        };
        self.rest = behind;
        if name.is_empty() {
            return Err(Fault::value_error("missing group name"));
        }
        if let Ok(group) = name.parse() {
            return Ok(group);
        }
        let known = pattern.capture_names().position(|known| known == Some(name));
        known.ok_or_else(|| Fault::new(EvalErrorKind::Index, format!("unknown group name '{name}'")))
    }

    fn group(&mut self, group: usize, pattern: &Regex) -> Result<(), Fault> {
        if group >= pattern.captures_len() {
            return Err(Fault::value_error(format!("invalid group reference {group}")));
        }
        self.end_text();
        self.parts.push(Part::Group(group));
        Ok(())
    }

    /// A character by its number, of which `first` was read, and up to `more` octal digits.
    fn octal(&mut self, first: u32, more: usize) -> Result<(), Fault> {
        let digits = self.rest.chars().map_while(|c| c.to_digit(8)).take(more);
        let (number, taken) = digits.fold((first, 0), |(number, taken), digit| (number * 8 + digit, taken + 1));
        self.rest = &self.rest[taken..];
        match u8::try_from(number) {
            Ok(number) => self.text.push(char::from(number)),
            Err(_) => {
                let message = format!("octal escape value \\{number:o} outside of range 0-0o377");
                return Err(Fault::value_error(message));
            }
        }
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text)));
        }
    }
}

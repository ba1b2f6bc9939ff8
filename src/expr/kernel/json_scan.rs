//! A strict reader of JSON documents that finds their outermost members and makes no value.
//!
//! Documents of a topic are much alike, so each is read as the one before as far as it goes on like it.

use std::ops::Range;

use crate::model::{View, json_column::Member};

/// Deepest nesting that is read here.
const MAX_DEPTH: usize = 100;
/// Longest number that is read here; Python has a limit of its own.
const MAX_NUMBER_BYTES: usize = 300;

/// What a first pass over a document tells, by vector instructions.
pub(super) struct Look {
    pub is_ascii: bool,
    /// No control characters and nothing escaped: a quote ends a string, whatever comes before it.
    pub is_plain: bool,
}

impl Look {
    #[inline]
    pub fn at(bytes: &[u8]) -> Look {
        // Not 0 for a control character, and for a backslash.
        let odd_one = |byte: u8| 0x20u8.saturating_sub(byte) | 1u8.saturating_sub(byte ^ b'\\');
        let (mut all, mut odd) = ([0; BLOCK], [0; BLOCK]);
        let mut add = |block: &[u8; BLOCK]| {
            for ((all, odd), &byte) in all.iter_mut().zip(&mut odd).zip(block) {
                *all |= byte;
                *odd |= odd_one(byte);
            }
        };
        let (blocks, rest) = bytes.as_chunks();
        blocks.iter().for_each(&mut add);
        let rest = match bytes.last_chunk() {
            // Some bytes are looked at twice.
            Some(last) if !rest.is_empty() => {
                add(last);
                &[]
            }
            _ => rest,
        };
        let whole = all.into_iter().zip(odd).chain(rest.iter().map(|&byte| (byte, odd_one(byte))));
        let (all, odd) = whole.fold((0, 0), |(all, odd), (byte, odd_one)| (all | byte, odd | odd_one));
        Look { is_ascii: all < 0x80, is_plain: odd == 0 }
    }
}

/// The document before, in the same buffer: where it starts, and which of the members are its own.
#[derive(Default)]
pub(super) struct Shape {
    pub start: usize,
    pub members: Range<usize>,
}

/// Reads a document; none where it is not strictly JSON.
pub(super) struct Scanner<'a> {
    buffer: &'a [u8],
    text: View,
    bytes: &'a [u8],
    is_plain: bool,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(buffer: &'a [u8], text: View, is_plain: bool) -> Self {
        Scanner { buffer, text, bytes: buffer.get(text.range()).unwrap_or_default(), is_plain, at: 0, depth: 0 }
    }

    /// The whole document; appends its members. True where their names are those of the document before.
    ///
    /// What stands before each value, up to the end of the value before, is compared with the document before, which has
    /// been read: as long as it is the same, it need not be read again.
    pub fn document(mut self, members: &mut Vec<Member>, like: &Shape) -> Option<bool> {
        let mut before = like.start;
        let mut same = 0;
        let first = members.len();
        for idx in like.members.clone() {
            let other = *members.get(idx)?;
            let lead = before..other.value.offset as usize;
            let len = lead.len();
            if self.bytes.len() - self.at < len || !alike(self.buffer, self.text.offset as usize + self.at, lead) {
                break;
            }
            let name = self.at + (other.name.offset as usize - before);
            self.at += len;
            self.depth = 1;
            self.space();
            let start = self.at;
            self.value()?;
            let name = view_of(self.text, name..name + other.name.len as usize);
            members.push(Member { name, value: view_of(self.text, start..self.at) });
            before = other.value.range().end;
            same += 1;
        }
        let text = self.text;
        let mut add = |name, value| members.push(Member { name: view_of(text, name), value: view_of(text, value) });
        match same {
            0 => {
                self.space();
                self.object(&mut add)?;
            }
            _ => {
                self.space();
                if self.take(b',').is_some() {
                    self.space();
                    self.members(&mut add)?;
                }
                self.take(b'}')?;
            }
        }
        self.space();
        (self.at == self.bytes.len()).then_some(same > 0 && same == like.members.len() && same == members.len() - first)
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn space(&mut self) {
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Gives `member` the name and the value of every member.
    fn object(&mut self, member: &mut dyn FnMut(Range<usize>, Range<usize>)) -> Option<()> {
        self.take(b'{')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take(b'}').is_none() {
            self.members(member)?;
            self.take(b'}')?;
        }
        self.depth -= 1;
        Some(())
    }

    /// At least one member, up to the brace that ends the object.
    fn members(&mut self, member: &mut dyn FnMut(Range<usize>, Range<usize>)) -> Option<()> {
        loop {
            let name = self.text()?;
            self.space();
            self.take(b':')?;
            self.space();
            let start = self.at;
            self.value()?;
            member(name, start..self.at);
            self.space();
            if self.take(b',').is_none() {
                return Some(());
            }
            self.space();
        }
    }

    #[inline]
    fn value(&mut self) -> Option<()> {
        match self.peek() {
            b'"' => self.text().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.other(),
        }
    }

    fn other(&mut self) -> Option<()> {
        match self.peek() {
            b'{' => self.object(&mut |_, _| {}),
            b'[' => self.array(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    fn array(&mut self) -> Option<()> {
        self.take(b'[')?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take(b']').is_none() {
            loop {
                self.value()?;
                self.space();
                if self.take(b',').is_none() {
                    break;
                }
                self.space();
            }
            self.take(b']')?;
        }
        self.depth -= 1;
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(())
    }

    #[inline]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        // One by one: how many they are is guessed well, and what follows need not wait for it.
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        (self.at - start <= MAX_NUMBER_BYTES).then_some(())
    }

    /// A string; gives the range between the quotes.
    #[inline]
    fn text(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        if self.is_plain {
            let end = start + quote(self.bytes.get(start..)?)?;
            self.at = end + 1;
            return Some(start..end);
        }
        loop {
            self.run();
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// Passes plain text, up to what may end it: most names and words by the first step, long texts by blocks.
    #[inline]
    fn run(&mut self) {
        if self.step() {
            return;
        }
        while let Some(block) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let words = block.as_chunks().0.iter().map(|eight| ends_of_run(u64::from_le_bytes(*eight)));
            if words.fold(0, |ends, word| ends | word) != 0 {
                break;
            }
            self.at += BLOCK;
        }
        while !self.step() {}
    }

    /// Passes at most eight bytes; true at the end of a run, or where no eight bytes are left.
    #[inline]
    fn step(&mut self) -> bool {
        let Some(eight) = eight(self.bytes, self.at) else { return true };
        let ends = ends_of_run(eight);
        self.at += ends.trailing_zeros() as usize / 8;
        ends != 0
    }

    /// A surrogate without its other half is no character.
    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let first = self.unit(self.at)?;
                self.at += 6;
                match first {
                    0xd800..0xdc00 => {
                        let second = self.unit(self.at)?;
                        self.at += 6;
                        (0xdc00..0xe000).contains(&second).then_some(())?;
                    }
                    0xdc00..0xe000 => return None,
                    _ => {}
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The code of a `\\uXXXX`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)? as u16))
    }
}

/// Whether `lead` stands at `at` as well. It is short as a rule: a call would take longer than the comparison.
#[inline]
fn alike(buffer: &[u8], at: usize, lead: Range<usize>) -> bool {
    let (mut at, mut like) = (at, lead.start);
    while like < lead.end {
        let (Some(here), Some(there)) = (eight(buffer, at), eight(buffer, like)) else {
            return buffer.get(at..at + (lead.end - like)) == buffer.get(like..lead.end);
        };
        let beyond = 8usize.saturating_sub(lead.end - like) as u32 * 8;
        if (here ^ there) << beyond != 0 {
            return false;
        }
        (at, like) = (at + 8, like + 8);
    }
    true
}

#[inline]
fn eight(buffer: &[u8], at: usize) -> Option<u64> {
    buffer.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A piece of a text.
fn view_of(text: View, range: Range<usize>) -> View {
    View { offset: text.offset + range.start as u32, len: range.len() as u32 }
}

/// The first quote: most strings are short.
#[inline]
fn quote(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < SHORT {
        let Some(eight) = eight(rest, at) else { break };
        let differing = eight ^ (ONES * u64::from(b'"'));
        let found = differing.wrapping_sub(ONES) & !differing & HIGHS;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Some(at + memchr::memchr(b'"', rest.get(at..)?)?)
}

/// Bytes of a string that are looked at in eights before a search begins that is made for long ones.
const SHORT: usize = 16;
/// Bytes of a long text that are looked at together, by vector instructions.
const BLOCK: usize = 32;
const ONES: u64 = u64::MAX / 0xff;
const HIGHS: u64 = ONES << 7;

/// Of eight bytes, a high bit at the first that ends a run of plain text: a quote, a backslash or a control character.
/// Bits above the first mean nothing; none at all is 0.
#[inline]
fn ends_of_run(eight: u64) -> u64 {
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (zero(eight ^ (ONES * u64::from(b'"'))) | zero(eight ^ (ONES * u64::from(b'\\'))) | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members of the last of some documents in one buffer, as text; none where one of them is refused.
    fn last(documents: &[&[u8]]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let buffer = documents.concat();
        let (mut members, mut like, mut offset) = (Vec::new(), Shape::default(), 0);
        for document in documents {
            let first = members.len();
            let text = View { offset, len: document.len() as u32 };
            Scanner::new(&buffer, text, Look::at(document).is_plain).document(&mut members, &like)?;
            like = Shape { start: offset as usize, members: first..members.len() };
            offset += text.len;
        }
        let piece = |view: View| buffer[view.range()].to_vec();
        Some(members[like.members].iter().map(|member| (piece(member.name), piece(member.value))).collect())
    }

    const DOCUMENT: &[u8] =
        br#"{"id":"0123456789abcdef","n" : -1.5e3,"deep":{"a":[1,"]",null]},"ok":true,"text":"some words, no end"}"#;

    /// Each byte of a document changed into each of some, or left out: read behind the document it was, it is what it is
    /// alone.
    #[test]
    fn a_document_is_read_alike_behind_any_other() {
        let (mut taken, mut refused) = (0, 0);
        let mut check = |changed: &[u8]| {
            let alone = last(&[changed]);
            assert_eq!(last(&[DOCUMENT, changed]), alone, "{}", String::from_utf8_lossy(changed));
            if alone.is_some() {
                assert_eq!(last(&[changed, DOCUMENT]), last(&[DOCUMENT]), "{}", String::from_utf8_lossy(changed));
            }
            *if alone.is_some() { &mut taken } else { &mut refused } += 1;
        };
        for at in 0..DOCUMENT.len() {
            let (before, after) = (&DOCUMENT[..at], &DOCUMENT[at + 1..]);
            for byte in *b"\"\\{}[],:0-.e tnux \n\x01\x7f" {
                check(&[before, &[byte], after].concat());
                check(&[before, &[byte], &DOCUMENT[at..]].concat());
            }
            check(&[before, after].concat());
            check(before);
        }
        assert!(taken > 500 && refused > 500, "{taken} were taken, {refused} refused");
    }

    #[test]
    fn members_may_be_more_fewer_or_others() {
        let check = |document: &str, members: &[(&str, &str)]| {
            let expected = members.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            let expected: Vec<_> = expected.collect();
            for before in [document, r#"{"a":1,"b":2}"#, r#"{"a":1}"#, "{}", r#"{"a":"x","b":[],"c":0}"#, r#" {"a":1}"#]
            {
                let found = last(&[before.as_bytes(), document.as_bytes()]);
                assert_eq!(found.as_ref(), Some(&expected), "{document} behind {before}");
            }
        };
        check("{}", &[]);
        check(r#"{"a":1,"b":2}"#, &[("a", "1"), ("b", "2")]);
        check(r#" {"a":12,"c":2} "#, &[("a", "12"), ("c", "2")]);
        check(r#"{"a":1,"b":2,"a":3}"#, &[("a", "1"), ("b", "2"), ("a", "3")]);
        check(r#"{"a":"\u00e9","b":2}"#, &[("a", r#""\u00e9""#), ("b", "2")]);
    }

    #[test]
    fn a_quote_is_found_wherever_it_is() {
        for at in 0..80 {
            let mut text = vec![b'x'; at];
            assert_eq!(quote(&text), None, "{at}");
            text.extend(*b"\"y\"");
            assert_eq!(quote(&text), Some(at));
        }
    }

    #[test]
    fn nesting_has_the_same_bound_behind_any_document() {
        let deep = |depth: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
        for (depth, taken) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false)] {
            let deep = deep(depth);
            assert_eq!(last(&[deep.as_bytes()]).is_some(), taken, "{depth}");
            assert_eq!(last(&[br#"{"a":1}"#, deep.as_bytes()]).is_some(), taken, "{depth}");
        }
    }
}

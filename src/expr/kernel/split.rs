//! `split`: lists of views into the same buffer. Separators of one byte are found 64 bytes at a time.

use std::sync::Arc;

use memchr::memmem;
use wide::u8x16;

use super::text::{is_space, part};
use crate::model::{Column, StrColumn, View, column::ListColumn};

/// `x.split(separator)`; an empty separator raises.
pub fn at(column: &StrColumn, separator: &str) -> Option<Column> {
    match separator.as_bytes() {
        [] => None,
        [byte] => {
            let separators = u8x16::splat(*byte);
            lists(column, |text, words| at_bytes(&column.buffer, text, |bytes| bytes.simd_eq(separators), words))
        }
        longer => {
            let finder = memmem::Finder::new(longer);
            lists(column, |text, words| {
                let mut start = 0;
                for at in finder.find_iter(&column.buffer[text.range()]) {
                    words.push(View { offset: text.offset + start, len: at as u32 - start });
                    start = (at + longer.len()) as u32;
                }
                words.push(View { offset: text.offset + start, len: text.len - start });
                Some(())
            })
        }
    }
}

/// `x.split()`: at any white space, without empty words.
pub fn at_spaces(column: &StrColumn) -> Option<Column> {
    lists(column, |text, words| {
        let bytes = &column.buffer[text.range()];
        if bytes.is_ascii() {
            between_spaces(&column.buffer, text, words);
            return Some(());
        }
        let whole = std::str::from_utf8(bytes).ok()?;
        words.extend(whole.split(is_space).filter(|word| !word.is_empty()).map(|word| part(&text, whole, word)));
        Some(())
    })
}

/// Texts whose words are counted before room is made for those of all.
const FIRST: usize = 16;

/// A list of words of each text, which `split` appends.
fn lists(column: &StrColumn, mut split: impl FnMut(View, &mut Vec<View>) -> Option<()>) -> Option<Column> {
    let mut words = Vec::new();
    let mut offsets = Vec::with_capacity(column.len() + 1);
    offsets.push(0);
    for (idx, text) in column.views.iter().enumerate() {
        if idx == FIRST {
            // A fifth more than the first texts have: growing later would copy everything.
            words.reserve(words.len() * (column.len() - FIRST) / FIRST * 6 / 5);
        }
        split(*text, &mut words)?;
        offsets.push(u32::try_from(words.len()).ok()?);
    }
    let words = StrColumn { buffer: column.buffer.clone(), views: Arc::new(words) };
    Some(Column::List(ListColumn { offsets: Arc::new(offsets), values: Box::new(Column::Str(words)) }))
}

/// `marks` gives a byte with all bits for each separator.
fn at_bytes(buffer: &[u8], text: View, marks: impl Fn(u8x16) -> u8x16, words: &mut Vec<View>) -> Option<()> {
    let (mut start, mut at, end) = (text.offset, text.offset, text.offset + text.len);
    while at < end {
        let len = (end - at).min(64);
        let mut found = bits(buffer, at, len, &marks) & first_bits(len);
        // Of a known number, so that room is looked for once.
        words.extend((0..found.count_ones()).map(|_| {
            let separator = at + found.trailing_zeros();
            let word = View { offset: start, len: separator - start };
            start = separator + 1;
            found &= found.wrapping_sub(1);
            word
        }));
        at += len;
    }
    words.push(View { offset: start, len: end - start });
    Some(())
}

/// The words of an ASCII text: each begins and ends where space and word change.
fn between_spaces(buffer: &[u8], text: View, words: &mut Vec<View>) {
    let (mut at, end) = (text.offset, text.offset + text.len);
    let mut before = 1;
    let mut begun = None;
    while at < end {
        let len = (end - at).min(64);
        let spaces = bits(buffer, at, len, &spaces) | !first_bits(len);
        let mut changes = spaces ^ (spaces << 1 | before);
        before = spaces >> 63;
        while changes != 0 {
            let change = at + changes.trailing_zeros();
            begun = match begun {
                None => Some(change),
                Some(start) => {
                    words.push(View { offset: start, len: change - start });
                    None
                }
            };
            changes &= changes - 1;
        }
        at += len;
    }
    if let Some(start) = begun {
        words.push(View { offset: start, len: end - start });
    }
}

/// The lowest `len` bits.
fn first_bits(len: u32) -> u64 {
    u64::MAX >> (64 - len.clamp(1, 64))
}

/// One bit for each of the bytes from `at` on that `marks` marks, at least `len` and at most 64 of them.
#[inline]
fn bits(buffer: &[u8], at: u32, len: u32, marks: &impl Fn(u8x16) -> u8x16) -> u64 {
    let mut bits = 0;
    for from in (0..len).step_by(16) {
        bits |= u64::from(marks(sixteen(buffer, (at + from) as usize)).to_bitmask()) << from;
    }
    bits
}

/// Sixteen bytes; zeros behind the end of the buffer.
#[inline]
fn sixteen(buffer: &[u8], at: usize) -> u8x16 {
    let rest = buffer.get(at..).unwrap_or_default();
    u8x16::new(rest.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; 16];
        padded.iter_mut().zip(rest).for_each(|(padded, byte)| *padded = *byte);
        padded
    }))
}

/// All bits for each space as Python sees it, among ASCII letters.
#[inline]
fn spaces(bytes: u8x16) -> u8x16 {
    let within = |first: u8, last: u8| {
        let (first, last) = (u8x16::splat(first), u8x16::splat(last));
        bytes.max(first).simd_eq(bytes) & bytes.min(last).simd_eq(bytes)
    };
    within(9, 13) | within(28, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of every length up to some blocks, at every place in a buffer, some at its very end.
    fn check(letters: &[u8], expected: impl Fn(&str) -> Vec<String>, split: impl Fn(&StrColumn) -> Option<Column>) {
        let mut state = 7u32;
        let mut buffer: Vec<u8> = (0..700)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                letters[(state >> 16) as usize % letters.len()]
            })
            .collect();
        // Long stretches of one letter, too.
        buffer[300..400].fill(letters[0]);
        buffer[400..500].fill(letters[1]);
        let views: Vec<View> = (0..700u32)
            .flat_map(|offset| {
                [0, 1, 7, 8, 9, 63, 64, 65, 130, 700].map(|len| View { offset, len: len.min(700 - offset) })
            })
            .collect();
        let column = StrColumn { buffer: buffer.into(), views: Arc::new(views) };
        let Some(Column::List(lists)) = split(&column) else { panic!("no lists") };
        let Column::Str(words) = &*lists.values else { panic!("no words") };
        for (idx, text) in column.iter().enumerate() {
            let found: Vec<&str> =
                (lists.offsets[idx]..lists.offsets[idx + 1]).map(|word| words.str(word as usize)).collect();
            assert_eq!(found, expected(text), "{text:?}");
        }
    }

    #[test]
    fn texts_are_split_as_the_library_splits_them() {
        let by =
            |separator: &'static str| move |text: &str| text.split(separator).map(str::to_owned).collect::<Vec<_>>();
        check(b"a bc", by(" "), |column| at(column, " "));
        check(b"!a ", by("!"), |column| at(column, "!"));
        check(b"aba", by("ab"), |column| at(column, "ab"));
        check(b"\0\x01\x7f ", by("\0"), |column| at(column, "\0"));
        let spaces = |text: &str| text.split(is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        check(b" ab\t\n\x0b\x0c\r\x1c\x1f\x1b\x08\x0e!\x7f", spaces, at_spaces);
        check(b"ab ", spaces, at_spaces);
    }

    #[test]
    fn bytes_of_letters_beyond_ascii_are_no_separators() {
        let texts: StrColumn = ["a é b", "ü ö", "\u{2003}a\u{2003} b", "a\u{20}\u{a0}b"].into_iter().collect();
        let words = |column: Option<Column>| match column {
            Some(Column::List(lists)) => match &*lists.values {
                Column::Str(words) => words.iter().map(str::to_owned).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(words(at(&texts, " ")), ["a", "é", "b", "ü", "ö", "\u{2003}a\u{2003}", "b", "a", "\u{a0}b"]);
        assert_eq!(words(at_spaces(&texts)), ["a", "é", "b", "ü", "ö", "a", "b", "a", "b"]);
    }
}

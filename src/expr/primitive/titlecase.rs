//! The title case of a character, as Python has it: what a word begins with, which is not always its upper case.

/// `str.title()`
pub fn title(text: &str) -> String {
    // A final sigma is small in another form; only the whole text tells which it is.
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut at) = (false, 0);
    for c in text.chars() {
        let length: usize = c.to_lowercase().map(char::len_utf8).sum();
        match inside {
            true => out.push_str(lower.get(at..at + length).unwrap_or_default()),
            false => push_title(&mut out, c),
        }
        at += length;
        inside = is_cased(c);
    }
    out
}

/// `str.capitalize()`
pub fn capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if let Some(first) = text.chars().next() {
        push_title(&mut out, first);
        let length: usize = first.to_lowercase().map(char::len_utf8).sum();
        out.push_str(text.to_lowercase().get(length..).unwrap_or_default());
    }
    out
}

/// Appends `c` as the first letter of a word.
fn push_title(out: &mut String, c: char) {
    match c {
        'ß' => out.push_str("Ss"),
        // One character for two letters, of which only the first is large.
        '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
        '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
        '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
        '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
        '\u{587}' => out.push_str("\u{535}\u{582}"),
        // Georgian words begin with letters like all others.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => out.push(c),
        // Greek with a small iota below, which stays small.
        '\u{1f80}'..='\u{1faf}' => out.push(char::from_u32(u32::from(c) | 8).unwrap_or(c)),
        '\u{1fb3}' | '\u{1fbc}' => out.push('\u{1fbc}'),
        '\u{1fc3}' | '\u{1fcc}' => out.push('\u{1fcc}'),
        '\u{1ff3}' | '\u{1ffc}' => out.push('\u{1ffc}'),
        '\u{1fb2}' => out.push_str("\u{1fba}\u{345}"),
        '\u{1fb4}' => out.push_str("\u{386}\u{345}"),
        '\u{1fb7}' => out.push_str("\u{391}\u{342}\u{345}"),
        '\u{1fc2}' => out.push_str("\u{1fca}\u{345}"),
        '\u{1fc4}' => out.push_str("\u{389}\u{345}"),
        '\u{1fc7}' => out.push_str("\u{397}\u{342}\u{345}"),
        '\u{1ff2}' => out.push_str("\u{1ffa}\u{345}"),
        '\u{1ff4}' => out.push_str("\u{38f}\u{345}"),
        '\u{1ff7}' => out.push_str("\u{3a9}\u{342}\u{345}"),
        '\u{fb00}' => out.push_str("Ff"),
        '\u{fb01}' => out.push_str("Fi"),
        '\u{fb02}' => out.push_str("Fl"),
        '\u{fb03}' => out.push_str("Ffi"),
        '\u{fb04}' => out.push_str("Ffl"),
        '\u{fb05}' | '\u{fb06}' => out.push_str("St"),
        '\u{fb13}' => out.push_str("\u{544}\u{576}"),
        '\u{fb14}' => out.push_str("\u{544}\u{565}"),
        '\u{fb15}' => out.push_str("\u{544}\u{56b}"),
        '\u{fb16}' => out.push_str("\u{54e}\u{576}"),
        '\u{fb17}' => out.push_str("\u{544}\u{56d}"),
        other => out.extend(other.to_uppercase()),
    }
}

/// Whether a letter has a case: a word goes on behind it.
fn is_cased(c: char) -> bool {
    let is_title = matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}')
        || matches!(c, '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}')
        || matches!(c, '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}');
    c.is_lowercase() || c.is_uppercase() || is_title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_as_in_python() {
        for (c, expected) in [
            ('a', "A"),
            ('ß', "Ss"),
            ('ǆ', "ǅ"),
            ('Ǆ', "ǅ"),
            ('ǳ', "ǲ"),
            ('ა', "ა"),
            ('ᾀ', "ᾈ"),
            ('ᾈ', "ᾈ"),
            ('ᾳ', "ᾼ"),
            ('ﬁ', "Fi"),
            ('և', "Եւ"),
            ('ŉ', "ʼN"),
            ('中', "中"),
        ] {
            let mut out = String::new();
            push_title(&mut out, c);
            assert_eq!(out, expected, "{c}");
        }
    }

    #[test]
    fn texts_are_cased_as_in_python() {
        for (text, titled, capitalized) in [
            ("", "", ""),
            ("they're a1b", "They'Re A1B", "They're a1b"),
            ("ǆ ǅ", "ǅ ǅ", "ǅ ǆ"),
            ("ΟΔΟΣ ΣΑΣ", "Οδος Σας", "Οδος σας"),
            ("ΑΣ.Β", "Ασ.Β", "Ασ.β"),
            ("ΟΣ", "Ος", "Ος"),
            ("中a", "中A", "中a"),
            ("ﬁN", "Fin", "Fin"),
            ("ⓐB", "Ⓐb", "Ⓐb"),
            ("İİ", "İi̇", "İi̇"),
        ] {
            assert_eq!((title(text), capitalize(text)), (titled.to_owned(), capitalized.to_owned()), "{text}");
        }
    }
}

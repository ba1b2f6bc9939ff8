//! Cases of letters as Python has them, beyond what the standard library maps.

/// `str.casefold()`: what is the same but for case becomes equal.
pub fn casefold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Without a dot it is a letter of its own; Cherokee folds to its older, large letters.
            'ı' | '\u{13a0}'..='\u{13f5}' => out.push(c),
            '\u{13f8}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => out.extend(c.to_uppercase()),
            // Letters whose small forms differ have one large form: that of "ﬁ" is "FI", that of a final sigma a sigma's.
            _ => out.extend(c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)),
        }
    }
    out
}

/// `str.swapcase()`: a letter in title case stays.
pub fn swapcase(text: &str) -> String {
    // A final sigma is small in another form; only the whole text tells which it is.
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for c in text.chars() {
        let length: usize = c.to_lowercase().map(char::len_utf8).sum();
        if c.is_uppercase() {
            out.push_str(lower.get(at..at + length).unwrap_or_default());
        } else if c.is_lowercase() {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: fn(&str) -> String, text: &str, expected: &str) {
        assert_eq!(change(text), expected, "{text}");
    }

    #[test]
    fn casefold_is_that_of_python() {
        for (text, expected) in [
            ("", ""),
            ("Straße", "strasse"),
            ("STRASSE\u{1e9e}", "strassess"),
            ("ﬁn", "fin"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("ς", "σ"),
            ("ı", "ı"),
            ("İ", "i\u{307}"),
            ("ǅ", "ǆ"),
            ("\u{1f80}", "\u{1f00}\u{3b9}"),
            ("\u{13a0}\u{ab70}", "\u{13a0}\u{13a0}"),
            ("ŉ", "ʼn"),
            ("\u{345}", "\u{3b9}"),
            ("µ", "μ"),
        ] {
            check(casefold, text, expected);
        }
    }

    #[test]
    fn swapcase_is_that_of_python() {
        for (text, expected) in [
            ("", ""),
            ("aB1", "Ab1"),
            ("ǅ", "ǅ"),
            ("Ǆǆ", "ǆǄ"),
            ("ß", "SS"),
            ("ΑΣ ΑΣΑ", "ας ασα"),
            ("İ", "i\u{307}"),
            ("ﬁ", "FI"),
            ("\u{1f88}", "\u{1f88}"),
        ] {
            check(swapcase, text, expected);
        }
    }
}

//! Slips of the hand and words of other languages: what was written, and the form to write instead.
//!
//! Called, like [`python`](super::python), when the parser refuses a text; looks at the tokens.

use std::ops::Range;

use super::{
    LambdaError,
    scan::{Scan, Token, TokenKind},
};

/// All slips in `source`. In a lambda there are no statements.
pub fn slips(source: &str, scan: &Scan, is_lambda: bool) -> Vec<LambdaError> {
    let finder = Finder { source, tokens: &scan.tokens, is_lambda };
    let mut found = Vec::new();
    let mut idx = 0;
    while idx < scan.tokens.len() {
        match finder.at(idx) {
            Some((tokens, error)) => {
                found.push(error);
                idx += tokens;
            }
            None => idx += 1,
        }
    }
    found
}

/// Words of the language, which are written small.
const WORDS: [&str; 8] = ["lambda", "and", "or", "not", "if", "else", "in", "for"];

/// Pairs of operators that stand together, and what to write.
const PAIRS: &[(&str, &str, &str)] = &[
    ("&", "&", "write `and`"),
    ("|", "|", "write `or`"),
    ("==", "=", "write `==`"),
    ("!=", "=", "write `!=`"),
    ("=", ">", "write `lambda x: ...`, or `>=` to compare"),
    ("=", "<", "write `<=`"),
];

struct Finder<'a> {
    source: &'a str,
    tokens: &'a [Token],
    is_lambda: bool,
}

impl Finder<'_> {
    fn text(&self, idx: usize) -> &str {
        self.tokens.get(idx).and_then(|token| self.source.get(token.span.clone())).unwrap_or_default()
    }

    fn kind(&self, idx: usize) -> Option<TokenKind> {
        self.tokens.get(idx).map(|token| token.kind)
    }

    fn span(&self, first: usize, last: usize) -> Range<usize> {
        let start = self.tokens.get(first).map_or(0, |token| token.span.start);
        start..self.tokens.get(last).map_or(start, |token| token.span.end)
    }

    /// Whether the two tokens stand side by side.
    fn touch(&self, idx: usize) -> bool {
        match (self.tokens.get(idx), self.tokens.get(idx + 1)) {
            (Some(one), Some(other)) => one.span.end == other.span.start,
            _ => false,
        }
    }

    /// The mistake that begins at a token, and of how many tokens it is.
    fn at(&self, idx: usize) -> Option<(usize, LambdaError)> {
        let text = self.text(idx);
        let found = |tokens: usize, message: String, hint: &str| {
            let span = self.span(idx, idx + tokens - 1);
            Some((tokens, LambdaError { span, message, hint: Some(hint.to_owned()) }))
        };
        match self.kind(idx)? {
            TokenKind::Operator => {
                let next = self.text(idx + 1);
                let pair = PAIRS.iter().find(|(one, other, _)| *one == text && *other == next && self.touch(idx));
                if let Some((_, _, hint)) = pair {
                    return found(2, format!("`{text}{next}` is not known"), hint);
                }
                match text {
                    "+" | "-" if next == text && self.touch(idx) && !self.begins_operand(idx + 2) => {
                        let hint = format!("write `x {text} 1`");
                        found(2, format!("`{text}{text}` is not known"), &hint)
                    }
                    "!" => found(1, "`!` is not known".to_owned(), "write `not`"),
                    "?" => found(1, "`?` is not known".to_owned(), "write `a if condition else b`"),
                    "$" => found(1, "`$` is not known".to_owned(), "in a lambda nothing is replaced"),
                    ";" if self.is_lambda => {
                        let hint = "a lambda is one expression: put statements into a def of [functions]";
                        found(1, "`;` is not known here".to_owned(), hint)
                    }
                    "->" if self.is_lambda => found(1, "`->` is not known".to_owned(), "write `lambda x: ...`"),
                    _ => None,
                }
            }
            TokenKind::Name => self.name(idx, text).and_then(|(tokens, message, hint)| found(tokens, message, &hint)),
            TokenKind::Number => {
                let digits = text.strip_suffix(['l', 'L', 'f', 'F', 'd', 'D', 'u', 'U'])?;
                let decimal = !digits.is_empty() && digits.chars().all(|char| char.is_ascii_digit() || char == '.');
                decimal.then_some(())?;
                found(1, "numbers have no suffix".to_owned(), &format!("write {digits}"))
            }
            _ => None,
        }
    }

    fn name(&self, idx: usize, text: &str) -> Option<(usize, String, String)> {
        if idx > 0 && self.text(idx - 1) == "." {
            return None;
        }
        if let Some(quote) = text.chars().find(|char| matches!(char, '‘' | '’' | '“' | '”' | '«' | '»')) {
            return Some((1, format!("`{quote}` is no quotation mark here"), "write `'` or `\"`".to_owned()));
        }
        if text.contains('\u{a0}') {
            return Some((1, "this space is a no-break space".to_owned(), "type a space".to_owned()));
        }
        let small = text.to_lowercase();
        if text != small && WORDS.contains(&small.as_str()) && !self.text(idx + 1).starts_with(['.', '(']) {
            return Some((1, format!("`{text}` is not known"), format!("write `{small}`")));
        }
        if text == "return" && self.is_lambda {
            let hint = "a lambda gives its expression: leave `return` out";
            return Some((1, "`return` is not known here".to_owned(), hint.to_owned()));
        }
        if matches!(text, "function" | "fn" | "func") && self.kind(idx + 1) == Some(TokenKind::Open) && idx == 0 {
            return Some((1, format!("`{text}` is not known"), "write `lambda x: ...`".to_owned()));
        }
        (text == "lambda").then(|| self.parameters(idx)).flatten()
    }

    /// `lambda x y:` has no comma.
    fn parameters(&self, lambda: usize) -> Option<(usize, String, String)> {
        let names: Vec<usize> = (lambda + 1..).take_while(|idx| self.kind(*idx) == Some(TokenKind::Name)).collect();
        let (true, last) = (names.len() > 1, *names.last()?) else { return None };
        if self.text(last + 1) != ":" {
            return None;
        }
        let listed: Vec<&str> = names.iter().map(|idx| self.text(*idx)).collect();
        let hint = format!("write `lambda {}: ...`", listed.join(", "));
        Some((last - lambda + 1, "commas stand between parameters".to_owned(), hint))
    }

    fn begins_operand(&self, idx: usize) -> bool {
        matches!(self.kind(idx), Some(TokenKind::Name | TokenKind::Number | TokenKind::Text | TokenKind::Open))
            && !WORDS.contains(&self.text(idx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Function, Library, scan::MAX_LAMBDA_BYTES};

    fn found(source: &str) -> Vec<LambdaError> {
        slips(source, &Scan::new(source, MAX_LAMBDA_BYTES), true)
    }

    #[test]
    fn the_form_to_write_instead_is_named() {
        for (source, spanned, hint) in [
            ("lambda x y: x", "lambda x y", "write `lambda x, y: ...`"),
            ("lambda x: x && 1", "&&", "write `and`"),
            ("lambda x: x || 1", "||", "write `or`"),
            ("lambda x: !x", "!", "write `not`"),
            ("lambda x: x === 1", "===", "write `==`"),
            ("lambda x: x !== 1", "!==", "write `!=`"),
            ("lambda x: x =< 1", "=<", "write `<=`"),
            ("x => x + 1", "=>", "write `lambda x: ...`, or `>=` to compare"),
            ("lambda x -> x", "->", "write `lambda x: ...`"),
            ("lambda x: x++", "++", "write `x + 1`"),
            ("lambda x: [x--, 1]", "--", "write `x - 1`"),
            ("lambda x: 1L", "1L", "write 1"),
            ("lambda x: 1.5f", "1.5f", "write 1.5"),
            ("Lambda x: x", "Lambda", "write `lambda`"),
            ("lambda x: x AND x", "AND", "write `and`"),
            ("lambda x: x ? 1 : 2", "?", "write `a if condition else b`"),
            ("lambda x: return x", "return", "a lambda gives its expression: leave `return` out"),
            ("lambda x: ‘a’", "‘a’", "write `'` or `\"`"),
            ("lambda x:\u{a0}x", "\u{a0}x", "type a space"),
            ("function(x) { x }", "function", "write `lambda x: ...`"),
            ("lambda x: x; x", ";", "a lambda is one expression: put statements into a def of [functions]"),
        ] {
            let slips = found(source);
            assert_eq!(slips.len(), 1, "{source}: {slips:?}");
            assert_eq!(slips[0].hint.as_deref(), Some(hint), "{source}");
            assert_eq!(&source[slips[0].span.clone()], spanned, "{source}");
            let refused = Function::compile(source, &Library::default(), 1..=1).err().unwrap_or_default();
            assert!(refused.iter().any(|error| error.hint.as_deref() == Some(hint)), "{source}: {refused:?}");
        }
    }

    #[test]
    fn what_is_right_is_no_slip() {
        for source in [
            "lambda x: x - -1 + +x",
            "lambda x, y: x & y | x",
            "lambda x: x != 1 and x >= 2",
            "lambda x: {'a': 1}[x]",
            "lambda x: x.Not and x.If(1)",
            "lambda x: 0xFF + 1e5 + 0b1",
            "lambda x: x[1:2]",
            "lambda: 1",
        ] {
            assert_eq!(found(source), [], "{source}");
        }
    }
}

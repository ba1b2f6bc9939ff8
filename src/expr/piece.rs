//! `[functions]` with syntax errors: its definitions one by one, so that one that is torn hides no other.

use std::ops::Range;

use starlark_syntax::syntax::ast::AstStmt;

use super::{
    LambdaError,
    parse::{self, Parsed},
    scan::{MAX_LIBRARY_BYTES, Scan, TokenKind},
};

/// More definitions than this are not looked at one by one.
const MOST_PIECES: usize = 1_000;

/// What can be read of a text that the parser refuses.
pub struct Rest {
    /// The definitions that can be read, at their places.
    pub parsed: Option<Parsed<AstStmt>>,
    pub errors: Vec<LambdaError>,
    /// Names whose definitions cannot be read.
    pub torn: Vec<String>,
}

/// `refused` is what the parser says of the whole.
pub fn rest(code: &str, refused: Vec<LambdaError>) -> Rest {
    let pieces = pieces(code);
    let (mut errors, mut torn, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    if pieces.len() <= MOST_PIECES {
        for piece in pieces {
            if let Err(found) = parse::module(&only(code, std::slice::from_ref(&piece.range), true)) {
                errors.extend(found);
                torn.extend(piece.names);
                bad.push(piece.range);
            }
        }
    }
    // Only the whole is wrong, or what is left is wrong again: there is nothing to go by.
    let parsed = (!bad.is_empty()).then(|| parse::module(&only(code, &bad, false)).ok()).flatten();
    if errors.is_empty() || parsed.is_none() {
        errors = refused;
    }
    Rest { parsed, errors, torn }
}

struct Piece {
    range: Range<usize>,
    names: Vec<String>,
}

/// The statements that begin in the first column, brackets allowing; a `def` there begins one in any case.
fn pieces(code: &str) -> Vec<Piece> {
    let scan = Scan::new(code, MAX_LIBRARY_BYTES);
    let text = |idx: usize| scan.tokens.get(idx).and_then(|token| code.get(token.span.clone())).unwrap_or_default();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut depth = 0_usize;
    for (idx, token) in scan.tokens.iter().enumerate() {
        let start = token.span.start;
        let in_first_column = start == 0 || code.as_bytes().get(start - 1) == Some(&b'\n');
        if in_first_column && token.kind != TokenKind::Newline && (depth == 0 || text(idx) == "def") {
            depth = 0;
            if let Some(last) = pieces.last_mut() {
                last.range.end = start;
            }
            let names = [text(idx), text(idx + 1)].into_iter();
            let is_name = |word: &&str| word.starts_with(|char: char| char.is_alphabetic() || char == '_');
            let names = names.filter(is_name).filter(|word| *word != "def").map(str::to_owned).collect();
            pieces.push(Piece { range: start..code.len(), names });
        }
        match token.kind {
            TokenKind::Open | TokenKind::FieldOpen => depth += 1,
            TokenKind::Close | TokenKind::FieldClose => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    pieces
}

/// The text with all but these ranges blank (or with these blank), line by line and byte by byte as long.
fn only(code: &str, ranges: &[Range<usize>], keep: bool) -> String {
    let mut out = String::with_capacity(code.len());
    for (at, char) in code.char_indices() {
        let inside = ranges.iter().any(|range| range.contains(&at));
        match inside == keep || char == '\n' {
            true => out.push(char),
            false => out.extend(std::iter::repeat_n(' ', char.len_utf8())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::expr::Library;

    #[test]
    fn a_torn_definition_hides_no_other() {
        let code = "\
def one(x):
    return x.split(\" \"

def two(a, b):
    return wrod

three = lambda x y: x

four = lambda x: two(x) + one(x)
";
        let reading = Library::read(code);
        let found: Vec<(&str, &str)> =
            reading.errors.iter().map(|error| (&code[error.span.clone()], error.message.as_str())).collect();
        let expected = [
            ("(", "`(` is never closed"),
            ("wrod", "unknown name `wrod`"),
            ("lambda x y", "commas stand between parameters"),
            ("two(x)", "`two` takes 2 arguments, not 1"),
        ];
        assert_eq!(found, expected);
        assert_eq!(reading.torn, ["one", "three"]);
        let two = crate::expr::Function::compile("two", &reading.library, 1..=1).unwrap_err();
        assert!(two[0].message.contains("takes 2 arguments"), "{two:?}");
    }

    #[test]
    fn a_text_that_cannot_be_taken_apart_keeps_its_error() {
        for code in ["def f(x):\n    return '''a", "(", "def f(x)\n    return x"] {
            let reading = Library::read(code);
            assert!(!reading.errors.is_empty(), "{code}");
        }
    }
}

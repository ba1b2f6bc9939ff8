//! A first look at the text of a lambda: tokens, brackets, bounds.
//!
//! The parser recurses and knows less of Python than our users do, so this runs before it: it refuses what is too long
//! or too deep, finds brackets and strings that never close, and writes the text again, byte for byte as long, in the
//! form the parser takes (`rf"` as `fr"`, format specifications of f-strings blanked and kept aside, tabs as spaces).

use std::{collections::HashMap, ops::Range};

use super::LambdaError;

/// Longest text of a lambda.
pub const MAX_LAMBDA_BYTES: usize = 64 << 10;
/// Longest text of `[functions]`.
pub const MAX_LIBRARY_BYTES: usize = 1 << 20;
/// Deepest nesting of brackets.
const MAX_BRACKETS: usize = 100;
/// Most operators, calls and accesses that may wait for each other in one expression, over all open brackets.
const MAX_EXPRESSION_WEIGHT: usize = 250;
/// Longest chain of `elif`.
const MAX_ELIFS: usize = 200;
/// Deepest column a line may start at.
const MAX_INDENT: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Name,
    Number,
    Text,
    Operator,
    Open,
    Close,
    /// `{` and `}` around an expression of an f-string.
    FieldOpen,
    FieldClose,
    Newline,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Range<usize>,
}

/// One `{expression!r:spec}` of an f-string.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// `.2f` of `{x:.2f}`
    pub spec: String,
}

#[derive(Debug, Default)]
pub struct Scan {
    pub tokens: Vec<Token>,
    /// As long as the source, in the parser's form.
    pub text: Vec<u8>,
    /// The fields of each f-string, by the byte it starts at.
    pub fields: HashMap<usize, Vec<Field>>,
    pub errors: Vec<LambdaError>,
}

impl Scan {
    pub fn new(source: &str, max_bytes: usize) -> Scan {
        let mut scanner = Scanner {
            source: source.as_bytes(),
            pos: 0,
            open: Vec::new(),
            weights: vec![0],
            elifs: 0,
            too_deep: false,
            scan: Scan { text: source.as_bytes().to_vec(), ..Scan::default() },
        };
        if source.len() > max_bytes {
            let message = format!("the text is {} bytes long, the limit is {max_bytes}", source.len());
            scanner.error(0..source.len().min(1), message, None);
            return scanner.scan;
        }
        scanner.indentation();
        while scanner.pos < scanner.source.len() && !scanner.too_deep {
            scanner.token();
        }
        if !scanner.too_deep {
            for (bracket, at) in std::mem::take(&mut scanner.open) {
                scanner.error(at..at + 1, format!("`{}` is never closed", bracket as char), None);
            }
        }
        scanner.scan
    }
}

struct Scanner<'a> {
    source: &'a [u8],
    pos: usize,
    /// Open brackets and where they are.
    open: Vec<(u8, usize)>,
    /// Weight of the expression so far, one for each open bracket and one for the outermost level.
    weights: Vec<usize>,
    elifs: usize,
    too_deep: bool,
    scan: Scan,
}

impl Scanner<'_> {
    fn error(&mut self, span: Range<usize>, message: String, hint: Option<&str>) {
        self.scan.errors.push(LambdaError { span, message, hint: hint.map(str::to_owned) });
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.source.get(self.pos + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: TokenKind, len: usize) {
        let start = self.pos;
        self.pos = (self.pos + len).min(self.source.len());
        self.scan.tokens.push(Token { kind, span: start..self.pos });
    }

    fn token(&mut self) {
        let byte = self.peek(0);
        match byte {
            b' ' | b'\r' | 0x0c => self.pos += 1,
            b'\t' => self.blank(self.pos..self.pos + 1),
            b'\n' => self.newline(),
            b'\\' if matches!(self.peek(1), b'\n' | b'\r') => self.pos += 2,
            b'#' => {
                while self.pos < self.source.len() && self.peek(0) != b'\n' {
                    self.pos += 1;
                }
            }
            b'(' | b'[' | b'{' => self.open_bracket(byte, TokenKind::Open),
            b')' | b']' | b'}' => self.close_bracket(byte),
            b'"' | b'\'' => self.string(0),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.name(),
            _ => self.operator(),
        }
    }

    /// Blanks bytes that the parser must not see.
    fn blank(&mut self, span: Range<usize>) {
        self.pos = span.end;
        if let Some(bytes) = self.scan.text.get_mut(span) {
            bytes.fill(b' ');
        }
    }

    fn newline(&mut self) {
        self.push(TokenKind::Newline, 1);
        if self.open.is_empty() {
            self.weights = vec![0];
        }
        self.indentation();
    }

    /// Lines indented with tabs alone are shown to the parser with as many spaces.
    fn indentation(&mut self) {
        let start = self.pos;
        let mut end = start;
        while matches!(self.source.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        let Some(lead) = self.source.get(start..end) else { return };
        if !self.open.is_empty() || lead.iter().all(|byte| *byte == b'\t') {
            self.blank(start..end);
        } else {
            self.pos = end;
        }
        if self.open.is_empty() && end - start > MAX_INDENT {
            self.error(start..end, format!("a line starts beyond column {MAX_INDENT}"), None);
            self.too_deep = true;
        }
    }

    fn weigh(&mut self, span: Range<usize>) {
        if let Some(weight) = self.weights.last_mut() {
            *weight += 1;
        }
        if self.weights.iter().sum::<usize>() > MAX_EXPRESSION_WEIGHT && !self.too_deep {
            let message = format!("the expression is too long: more than {MAX_EXPRESSION_WEIGHT} operations in one");
            self.error(span, message, Some("give parts of it a name in a function of [functions]"));
            self.too_deep = true;
        }
    }

    fn open_bracket(&mut self, bracket: u8, kind: TokenKind) {
        let at = self.pos;
        self.weigh(at..at + 1);
        self.push(kind, 1);
        self.open.push((bracket, at));
        self.weights.push(0);
        if self.open.len() > MAX_BRACKETS && !self.too_deep {
            self.error(at..at + 1, format!("brackets are nested more than {MAX_BRACKETS} deep"), None);
            self.too_deep = true;
        }
    }

    fn close_bracket(&mut self, bracket: u8) {
        let at = self.pos;
        self.push(TokenKind::Close, 1);
        let expected = match bracket {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        match self.open.last() {
            Some((open, _)) if *open == expected => {
                self.open.pop();
                self.weights.pop();
            }
            Some((open, _)) => {
                let message = format!("`{}` closes `{}`", bracket as char, *open as char);
                self.error(at..at + 1, message, None);
                self.open.pop();
                self.weights.pop();
            }
            None => self.error(at..at + 1, format!("`{}` closes nothing", bracket as char), None),
        }
    }

    fn number(&mut self) {
        let mut len = 0;
        while matches!(self.peek(len), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.')
            || (matches!(self.peek(len), b'+' | b'-')
                && len > 0
                && matches!(self.peek(len - 1), b'e' | b'E')
                && self.peek(1) != b'x')
        {
            len += 1;
        }
        // `1if` and `1or` are a number and a word.
        self.push(TokenKind::Number, len);
    }

    fn name(&mut self) {
        let mut len = 0;
        while matches!(self.peek(len), b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80..) {
            len += 1;
        }
        let word = self.source.get(self.pos..self.pos + len).unwrap_or_default();
        if matches!(self.peek(len), b'"' | b'\'') && len <= 2 && word.iter().all(|b| b"rRbBfFuU".contains(b)) {
            self.prefix(len);
            return self.string(len);
        }
        let span = self.pos..self.pos + len;
        match word {
            b"not" | b"and" | b"or" | b"in" | b"if" | b"else" | b"lambda" | b"is" => self.weigh(span),
            b"elif" => {
                self.elifs += 1;
                if self.elifs > MAX_ELIFS {
                    self.error(span, format!("more than {MAX_ELIFS} `elif` in one function"), None);
                    self.too_deep = true;
                }
            }
            b"def" => self.elifs = 0,
            _ => {}
        }
        self.push(TokenKind::Name, len);
    }

    /// The parser takes the prefixes `r b f br fr`, in lower case.
    fn prefix(&mut self, len: usize) {
        let Some(prefix) = self.scan.text.get_mut(self.pos..self.pos + len) else { return };
        prefix.make_ascii_lowercase();
        match prefix {
            [b'u'] => prefix[0] = b' ',
            [b'r', b'f'] => prefix.copy_from_slice(b"fr"),
            _ => {}
        }
    }

    fn operator(&mut self) {
        const LONG: [&[u8]; 24] = [
            b"**=", b"//=", b">>=", b"<<=", b"...", b"**", b"//", b">>", b"<<", b"==", b"!=", b"<=", b">=", b"->",
            b":=", b"+=", b"-=", b"*=", b"/=", b"%=", b"&=", b"|=", b"^=", b"<>",
        ];
        let rest = self.source.get(self.pos..).unwrap_or_default();
        let len = LONG.iter().find(|long| rest.starts_with(long)).map_or(1, |long| long.len());
        let span = self.pos..self.pos + len;
        match rest.first() {
            Some(b',' | b';') => {
                if let Some(weight) = self.weights.last_mut() {
                    *weight = 0;
                }
            }
            Some(b':') if len == 1 => {}
            _ => self.weigh(span),
        }
        self.push(TokenKind::Operator, len);
    }

    /// A string whose prefix of `prefix` letters stands at the position.
    fn string(&mut self, prefix: usize) {
        let start = self.pos;
        let letters = self.source.get(start..start + prefix).unwrap_or_default();
        let formatted = letters.iter().any(|b| matches!(b, b'f' | b'F'));
        let quote = self.peek(prefix);
        let quotes = if self.peek(prefix + 1) == quote && self.peek(prefix + 2) == quote { 3 } else { 1 };
        self.pos += prefix + quotes;
        if formatted {
            self.scan.tokens.push(Token { kind: TokenKind::Text, span: start..self.pos });
        }
        while self.pos < self.source.len() && !self.too_deep {
            let byte = self.peek(0);
            if byte == quote && (quotes == 1 || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.pos += quotes;
                if !formatted {
                    self.scan.tokens.push(Token { kind: TokenKind::Text, span: start..self.pos });
                }
                return;
            }
            match byte {
                b'\\' => self.pos += 2,
                b'\n' if quotes == 1 => break,
                b'{' if formatted && self.peek(1) == b'{' => self.pos += 2,
                b'{' if formatted => self.field(start),
                _ => self.pos += 1,
            }
        }
        if !self.too_deep {
            self.pos = self.pos.min(self.source.len());
            self.error(start..start + prefix + quotes, "the string is never closed".to_owned(), None);
        }
    }

    /// `{expression!r:spec}` of the f-string that starts at `string`.
    fn field(&mut self, string: usize) {
        let outer = self.open.len();
        let start = self.pos;
        let idx = {
            let fields = self.scan.fields.entry(string).or_default();
            fields.push(Field::default());
            fields.len() - 1
        };
        self.open_bracket(b'{', TokenKind::FieldOpen);
        while self.pos < self.source.len() && !self.too_deep {
            let top = self.open.len() == outer + 1;
            match self.peek(0) {
                b'}' if top => {
                    self.push(TokenKind::FieldClose, 1);
                    self.open.pop();
                    self.weights.pop();
                    return;
                }
                b'=' if top && matches!(self.peek(1), b'}' | b'!' | b':') => {
                    let hint = "write the name as text: f\"x={x!r}\"";
                    self.error(self.pos..self.pos + 1, "`=` in an f-string is not known".to_owned(), Some(hint));
                    self.blank(self.pos..self.pos + 1);
                }
                b'!' if top && self.peek(1) != b'=' => self.pos += 1,
                b':' if top => return self.spec(string, idx, outer),
                b'\n' => self.pos += 1,
                _ => self.token(),
            }
        }
        if !self.too_deep {
            self.error(start..start + 1, "`{` of the f-string is never closed".to_owned(), None);
            self.open.truncate(outer);
            self.weights.truncate(outer + 1);
        }
    }

    /// The part after `:`, which the parser does not know.
    fn spec(&mut self, string: usize, idx: usize, outer: usize) {
        let start = self.pos;
        let mut end = start + 1;
        while self.source.get(end).is_some_and(|b| !matches!(b, b'}' | b'{' | b'\n')) {
            end += 1;
        }
        if self.source.get(end) == Some(&b'{') {
            let hint = "write \"{:>{}}\".format(x, width), or pad with x.rjust(width)";
            self.error(end..end + 1, "a field inside the format of an f-string is not known".to_owned(), Some(hint));
            while self.source.get(end).is_some_and(|b| !matches!(b, b'\n' | b'"' | b'\'')) {
                end += 1;
            }
        }
        let spec = String::from_utf8_lossy(self.source.get(start + 1..end).unwrap_or_default()).into_owned();
        if let Some(field) = self.scan.fields.get_mut(&string).and_then(|fields| fields.get_mut(idx)) {
            field.spec = spec;
        }
        self.blank(start..end);
        self.open.truncate(outer);
        self.weights.truncate(outer + 1);
        if self.source.get(end) == Some(&b'}') {
            self.push(TokenKind::FieldClose, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(source: &str) -> Vec<String> {
        Scan::new(source, MAX_LAMBDA_BYTES).errors.into_iter().map(|e| e.message).collect()
    }

    #[test]
    fn what_never_closes_and_what_is_too_deep_is_refused() {
        for (source, expected) in [
            ("(1, 2".to_owned(), "`(` is never closed"),
            ("1)".to_owned(), "`)` closes nothing"),
            ("(1]".to_owned(), "`]` closes `(`"),
            ("'abc".to_owned(), "the string is never closed"),
            ("f'{a'".to_owned(), "the string is never closed"),
            ("(".repeat(10_000), "brackets are nested more than 100 deep"),
            ("-".repeat(10_000), "the expression is too long: more than 250 operations in one"),
            ("not ".repeat(10_000), "the expression is too long: more than 250 operations in one"),
            ("lambda: ".repeat(5_000), "the expression is too long: more than 250 operations in one"),
            ("x".repeat(70_000), "the text is 70000 bytes long, the limit is 65536"),
        ] {
            assert_eq!(errors(&source).first().map(String::as_str), Some(expected), "{source:.20}");
        }
    }

    #[test]
    fn formats_of_f_strings_are_kept_aside() {
        let source = r#"F"{x:.2f} {y!r:>10} {d['a:b']} {{z:1}}" + rf'{a}'"#;
        let scan = Scan::new(source, MAX_LAMBDA_BYTES);
        assert_eq!(scan.errors, []);
        let text = String::from_utf8(scan.text).unwrap();
        assert_eq!(text, r#"f"{x    } {y!r    } {d['a:b']} {{z:1}}" + fr'{a}'"#);
        let specs: Vec<&str> = scan.fields[&0].iter().map(|field| field.spec.as_str()).collect();
        assert_eq!(specs, [".2f", ">10", ""]);
    }

    #[test]
    fn strings_and_comments_hide_brackets() {
        assert_eq!(errors("('(', \"[\", '''{''' # (\n)"), [""; 0]);
        assert_eq!(errors(r"'\'(' + r'\'"), ["the string is never closed"]);
    }
}

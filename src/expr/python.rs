//! Python that the language does not have: what was written, and the form to write instead.
//!
//! Called when the parser refuses a text; looks at the tokens, so one run finds all such forms.

use std::{collections::HashMap, ops::Range};

use super::{
    LambdaError,
    scan::{Scan, Token, TokenKind},
};

/// All forms of Python in `source` that the parser does not know.
pub fn forms(source: &str, scan: &Scan) -> Vec<LambdaError> {
    let finder = Finder::new(source, &scan.tokens);
    (0..scan.tokens.len()).filter_map(|idx| finder.at(idx)).collect()
}

/// Words that are statements or operators of Python but not of the language.
const WORDS: &[(&str, &str)] = &[
    ("import", "json, re, math and time are there without import"),
    ("from", "json, re, math and time are there without import"),
    ("while", "write a for loop over a range that is long enough, and leave it with break"),
    ("class", "write struct(name = value, ...)"),
    ("try", "test before: there are no exceptions; elements that fail go where on_error says"),
    ("except", "test before: there are no exceptions; elements that fail go where on_error says"),
    ("finally", "test before: there are no exceptions"),
    ("raise", "write fail(\"message\")"),
    ("assert", "write if not condition: fail(\"message\")"),
    ("with", "there is nothing to open: lambdas do no input or output"),
    ("yield", "collect in a list and return it"),
    ("del", "write d.pop(key), or build a new list or dict"),
    ("global", "return the value instead of changing a global"),
    ("nonlocal", "return the value instead of changing an outer variable"),
    ("async", "lambdas compute only"),
    ("await", "lambdas compute only"),
    ("as", "bind the value with `=` in a def"),
];

struct Finder<'a> {
    source: &'a str,
    tokens: &'a [Token],
    /// The bracket that each token stands in.
    inside: Vec<Option<usize>>,
    /// The token that closes each bracket.
    closing: HashMap<usize, usize>,
}

impl<'a> Finder<'a> {
    fn new(source: &'a str, tokens: &'a [Token]) -> Finder<'a> {
        let mut open = Vec::new();
        let mut inside = Vec::with_capacity(tokens.len());
        let mut closing = HashMap::new();
        for (idx, token) in tokens.iter().enumerate() {
            if matches!(token.kind, TokenKind::Close | TokenKind::FieldClose)
                && let Some(bracket) = open.pop()
            {
                closing.insert(bracket, idx);
            }
            inside.push(open.last().copied());
            if matches!(token.kind, TokenKind::Open | TokenKind::FieldOpen) {
                open.push(idx);
            }
        }
        Finder { source, tokens, inside, closing }
    }

    fn text(&self, idx: usize) -> &str {
        self.tokens.get(idx).and_then(|token| self.source.get(token.span.clone())).unwrap_or_default()
    }

    fn kind(&self, idx: usize) -> Option<TokenKind> {
        self.tokens.get(idx).map(|token| token.kind)
    }

    fn between(&self, first: usize, last: usize) -> &str {
        let (Some(first), Some(last)) = (self.tokens.get(first), self.tokens.get(last)) else { return "" };
        self.source.get(first.span.start..last.span.end).unwrap_or_default()
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Option<LambdaError> {
        Some(LambdaError { span, message: message.into(), hint: Some(hint.into()) })
    }

    fn at(&self, idx: usize) -> Option<LambdaError> {
        let token = self.tokens.get(idx)?;
        match token.kind {
            TokenKind::Name => self.word(idx, token.span.clone()),
            TokenKind::Operator => self.operator(idx, token.span.clone()),
            TokenKind::Open => self.bracket(idx),
            TokenKind::Text => self.adjacent_text(idx),
            TokenKind::Number => self.number(idx, token.span.clone()),
            _ => None,
        }
    }

    fn word(&self, idx: usize, span: Range<usize>) -> Option<LambdaError> {
        let word = self.text(idx);
        if idx > 0 && self.text(idx - 1) == "." {
            return None;
        }
        if word == "is" {
            let not = self.text(idx + 1) == "not";
            let (is, instead) = if not { ("is not", "!=") } else { ("is", "==") };
            let span = span.start..self.tokens.get(idx + usize::from(not)).map_or(span.end, |token| token.span.end);
            return self.error(span, format!("`{is}` is not known"), format!("write `{instead}`"));
        }
        if word == "lambda" && self.text(idx + 1) == "(" {
            let hint = "write one parameter and take its parts: `lambda kv: kv[0]`";
            return self.error(span, "a lambda does not unpack its parameter", hint);
        }
        if word == "print" && matches!(self.kind(idx + 1), Some(TokenKind::Name | TokenKind::Text)) {
            return self.error(span, "`print` is not known", "lambdas have no output: add a pprint step");
        }
        let (_, hint) = WORDS.iter().find(|(known, _)| *known == word)?;
        self.error(span, format!("`{word}` is not known"), *hint)
    }

    fn operator(&self, idx: usize, span: Range<usize>) -> Option<LambdaError> {
        match self.text(idx) {
            "**" | "**=" if self.ends_operand(idx) => {
                self.error(span, "`**` is not known", format!("write `pow({})`", self.operands(idx)))
            }
            ":=" => self.error(span, "`:=` is not known", "bind the value with `=` in a def of [functions]"),
            "<>" => self.error(span, "`<>` is not known", "write `!=`"),
            "@" => self.error(span, "`@` is not known", "there are no decorators and no matrix product"),
            "`" => self.error(span, "backquotes are not known", "write `repr(x)`"),
            "*" if !self.ends_operand(idx) && self.inside(idx).is_some_and(|open| self.displays(open)) => {
                self.error(span, "a list display does not unpack with `*`", "write `list(a) + list(b)`")
            }
            "**" if self.inside(idx).is_some_and(|open| self.text(open) == "{") => {
                self.error(span, "a dict display does not unpack with `**`", "write `a | b`")
            }
            "<" | "<=" | ">" | ">=" | "==" | "!=" if self.chained(idx) => {
                self.error(span, "comparisons cannot be chained", "write both: `a < b and b < c`")
            }
            "=" if self.inside(idx).is_none() && self.chained_assignment(idx) => {
                self.error(span, "assignments cannot be chained", "write one assignment a line")
            }
            _ => None,
        }
    }

    /// `a ** b`: "a, b" where both are single tokens.
    fn operands(&self, idx: usize) -> String {
        let simple = |idx| matches!(self.kind(idx), Some(TokenKind::Name | TokenKind::Number));
        let alone = idx > 0 && simple(idx - 1) && !(idx > 1 && self.text(idx - 2) == ".");
        match alone && simple(idx + 1) {
            true => format!("{}, {}", self.text(idx - 1), self.text(idx + 1)),
            false => "a, b".to_owned(),
        }
    }

    /// Whether the token before `idx` can end an operand.
    fn ends_operand(&self, idx: usize) -> bool {
        let Some(before) = idx.checked_sub(1) else { return false };
        const OPERATORS: [&str; 9] = ["and", "or", "not", "in", "if", "else", "return", "lambda", "is"];
        match self.kind(before) {
            Some(TokenKind::Name) => !OPERATORS.contains(&self.text(before)),
            Some(TokenKind::Number | TokenKind::Text | TokenKind::Close) => true,
            _ => false,
        }
    }

    fn inside(&self, idx: usize) -> Option<usize> {
        self.inside.get(idx).copied().flatten()
    }

    fn closing(&self, open: usize) -> Option<usize> {
        self.closing.get(&open).copied()
    }

    /// Tokens directly inside a bracket, not inside deeper ones.
    fn direct(&self, open: usize) -> Vec<usize> {
        let Some(close) = self.closing(open) else { return Vec::new() };
        let mut depth = 0;
        let mut found = Vec::new();
        for at in open + 1..close {
            match self.kind(at) {
                Some(TokenKind::Open | TokenKind::FieldOpen) => depth += 1,
                Some(TokenKind::Close | TokenKind::FieldClose) => depth -= 1,
                _ if depth == 0 => found.push(at),
                _ => {}
            }
        }
        found
    }

    /// Whether the bracket makes a list, tuple or set (and is no call or index).
    fn displays(&self, open: usize) -> bool {
        matches!(self.text(open), "[" | "(" | "{") && !self.ends_operand(open)
    }

    fn bracket(&self, idx: usize) -> Option<LambdaError> {
        let direct = self.direct(idx);
        let has = |text: &str| direct.iter().any(|at| self.text(*at) == text);
        let close = self.closing(idx)?;
        let span = self.tokens.get(idx)?.span.start..self.tokens.get(close)?.span.end;
        let body = if close > idx + 1 { self.between(idx + 1, close - 1) } else { "" };
        match self.text(idx) {
            "(" if has("for") => {
                let called = if self.ends_operand(idx) {
                    format!("{}([{body}])", self.callee(idx))
                } else {
                    format!("[{body}]")
                };
                self.error(span, "generator expressions are not known", format!("write `{called}`"))
            }
            "{" if has("=") && !has(":") => self.error(
                span,
                "a dict has `:` between key and value",
                "write `{\"key\": value}`, or `dict(key = value)`",
            ),
            "{" if !body.is_empty() && !has(":") && !has("**") => {
                let instead = if has("for") { "{x: True for x in ...}" } else { "{\"a\": True, \"b\": True}" };
                let hint = format!("write a dict, `{instead}`, or a list");
                self.error(span, "there are no sets", hint)
            }
            _ => None,
        }
    }

    /// `a.b` of `a.b(`
    fn callee(&self, open: usize) -> &str {
        let mut first = open.saturating_sub(1);
        while first >= 2 && self.text(first - 1) == "." && self.kind(first - 2) == Some(TokenKind::Name) {
            first -= 2;
        }
        self.between(first, open.saturating_sub(1))
    }

    fn adjacent_text(&self, idx: usize) -> Option<LambdaError> {
        if self.kind(idx + 1) != Some(TokenKind::Text) {
            return None;
        }
        let span = self.tokens.get(idx + 1)?.span.clone();
        self.error(span, "strings that follow each other are not joined", "write `+` between them")
    }

    fn number(&self, idx: usize, span: Range<usize>) -> Option<LambdaError> {
        let text = self.text(idx);
        if text.contains('_') {
            return self.error(span, "numbers have no underscores", format!("write {}", text.replace('_', "")));
        }
        if text.ends_with(['j', 'J']) && !text.starts_with("0x") {
            return self.error(span, "there are no complex numbers", "compute with two floats");
        }
        None
    }

    /// Whether another comparison follows before anything that binds looser.
    fn chained(&self, idx: usize) -> bool {
        let mut depth = 0;
        for at in idx + 1..self.tokens.len() {
            match self.kind(at) {
                Some(TokenKind::Open | TokenKind::FieldOpen) => depth += 1,
                Some(TokenKind::Close | TokenKind::FieldClose) if depth == 0 => return false,
                Some(TokenKind::Close | TokenKind::FieldClose) => depth -= 1,
                Some(TokenKind::Newline) if depth == 0 && self.inside(idx).is_none() => return false,
                _ if depth > 0 => {}
                _ => match self.text(at) {
                    "<" | "<=" | ">" | ">=" | "==" | "!=" | "in" => return true,
                    "and" | "or" | "not" | "if" | "else" | "for" | "," | ":" | ";" | "=" => return false,
                    _ => {}
                },
            }
        }
        false
    }

    fn chained_assignment(&self, idx: usize) -> bool {
        for at in idx + 1..self.tokens.len() {
            match (self.kind(at), self.text(at)) {
                (Some(TokenKind::Newline), _) | (_, ";" | "lambda") => return false,
                (_, "=") if self.inside(at).is_none() => return true,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::scan::MAX_LAMBDA_BYTES;

    #[test]
    fn the_form_to_write_instead_is_named() {
        for (source, spanned, hint) in [
            ("lambda x: x ** 2", "**", "write `pow(x, 2)`"),
            ("lambda x: x is None", "is", "write `==`"),
            ("lambda x: x is not None", "is not", "write `!=`"),
            ("lambda xs: sum(x for x in xs)", "(x for x in xs)", "write `sum([x for x in xs])`"),
            ("lambda xs: a.b(x for x in xs)", "(x for x in xs)", "write `a.b([x for x in xs])`"),
            ("lambda x: 0 < x < 10", "<", "write both: `a < b and b < c`"),
            ("lambda x: {1, 2}", "{1, 2}", "write a dict, `{\"a\": True, \"b\": True}`, or a list"),
            ("lambda x: {y for y in x}", "{y for y in x}", "write a dict, `{x: True for x in ...}`, or a list"),
            ("lambda (k, v): k", "lambda", "write one parameter and take its parts: `lambda kv: kv[0]`"),
            ("lambda x: (y := x)", ":=", "bind the value with `=` in a def of [functions]"),
            ("lambda x: [*x, 1]", "*", "write `list(a) + list(b)`"),
            ("lambda x: 'a' 'b'", "'b'", "write `+` between them"),
            ("lambda x: x + 1_000", "1_000", "write 1000"),
            ("lambda x: {'a' = 1}", "{'a' = 1}", "write `{\"key\": value}`, or `dict(key = value)`"),
            ("import json", "import", "json, re, math and time are there without import"),
            ("a = b = 1", "=", "write one assignment a line"),
        ] {
            let scan = Scan::new(source, MAX_LAMBDA_BYTES);
            let found = forms(source, &scan);
            assert_eq!(found.len(), 1, "{source}: {found:?}");
            assert_eq!(found[0].hint.as_deref(), Some(hint), "{source}");
            assert_eq!(&source[found[0].span.clone()], spanned, "{source}");
        }
    }

    #[test]
    fn known_forms_are_not_reported() {
        for source in [
            "lambda x: f(*x, **y)",
            "lambda x: [y for y in x if y < 1 and y > 0]",
            "lambda x: (x < 1, x > 2)",
            "lambda x: d.get(x, default=1)",
            "lambda x: {}",
            "lambda x, y=1: x[1:2] + (y)",
            "lambda x: x.is_ok and x.from_it",
        ] {
            let scan = Scan::new(source, MAX_LAMBDA_BYTES);
            assert_eq!(forms(source, &scan), [], "{source}");
        }
    }
}

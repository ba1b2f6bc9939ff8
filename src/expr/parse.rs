//! Text to syntax tree: the bounds of `scan`, then the parser of `starlark_syntax`, then the forms of `python` and the slips of
//! `slip`.

use std::{collections::HashMap, ops::Range};

use starlark_syntax::{
    codemap::Span as SourceSpan,
    syntax::{
        AstModule, Dialect, DialectTypes,
        ast::{AstExpr, AstStmt, Stmt},
        module::AstModuleFields,
    },
};

use super::{
    LambdaError, python,
    scan::{Field, MAX_LAMBDA_BYTES, MAX_LIBRARY_BYTES, Scan, TokenKind},
    slip,
};

/// A parsed text and how to read its positions.
pub struct Parsed<T> {
    pub tree: T,
    pub places: Places,
}

/// What was put into the text for the parser.
#[derive(Debug, Default)]
struct Shift {
    /// Bytes before the text.
    before: usize,
    /// Where the parser found one byte more, ascending.
    inserted: Vec<usize>,
}

impl Shift {
    /// Puts parentheses around bytes literals behind a comma: the parser takes a comma before such a one for the end of the
    /// tuple.
    fn around_bytes(text: &mut Vec<u8>, before: usize, scan: &Scan) -> Shift {
        let mut places = Vec::new();
        for pair in scan.tokens.windows(2) {
            let [comma, literal] = pair else { continue };
            let is = |span: &Range<usize>, test: fn(&[u8]) -> bool| scan.text.get(span.clone()).is_some_and(test);
            let is_bytes = |text: &[u8]| matches!(text, [b'b', b'"' | b'\'', ..] | [b'b', b'r', ..] | [b'r', b'b', ..]);
            if literal.kind == TokenKind::Text && is(&comma.span, |text| text == b",") && is(&literal.span, is_bytes) {
                places.extend([(literal.span.start, b'('), (literal.span.end, b')')]);
            }
        }
        let inserted = places.iter().enumerate().map(|(nth, (at, _))| before + at + nth).collect();
        for (at, bracket) in places.into_iter().rev() {
            text.insert(before + at, bracket);
        }
        Shift { before, inserted }
    }

    /// A place of the parser's text in the text that was given.
    fn back(&self, pos: usize) -> usize {
        let inserted = self.inserted.iter().filter(|at| **at < pos).count();
        pos.saturating_sub(self.before + inserted)
    }
}

/// Positions of a parsed text, as positions of the text that was given.
#[derive(Debug, Default)]
pub struct Places {
    shift: Shift,
    text: String,
    fields: HashMap<usize, Vec<Field>>,
}

impl Places {
    pub fn range(&self, span: SourceSpan) -> Range<usize> {
        let place = |pos: u32| self.shift.back(pos as usize).min(self.text.len());
        let range = place(span.begin().get())..place(span.end().get());
        // The parser counts the end of the line to a statement.
        match self.text.get(range.clone()) {
            Some(text) => range.start..range.start + text.trim_end().len(),
            None => range,
        }
    }

    /// The format specifications of the f-string at `span`, one a field.
    pub fn fields(&self, span: SourceSpan) -> &[Field] {
        self.fields.get(&self.range(span).start).map_or(&[], Vec::as_slice)
    }
}

const DIALECT: Dialect = Dialect {
    enable_def: true,
    enable_lambda: true,
    enable_load: true,
    enable_keyword_only_arguments: true,
    enable_positional_only_arguments: true,
    enable_types: DialectTypes::ParseOnly,
    enable_load_reexport: false,
    enable_top_level_stmt: true,
    enable_f_strings: true,
    _non_exhaustive: (),
};

/// Parses one expression, which may stand on several lines.
pub fn expression(source: &str) -> Result<Parsed<AstExpr>, Vec<LambdaError>> {
    let scan = scan(source, true)?;
    let mut text = Vec::with_capacity(source.len() + 3);
    text.push(b'(');
    text.extend_from_slice(&scan.text);
    text.extend_from_slice(b"\n)");
    let (statement, places) = parse(source, text, 1, scan, true)?;
    match statement.node {
        Stmt::Expression(tree) => Ok(Parsed { tree, places }),
        _ => {
            let span = places.range(statement.span);
            Err(vec![LambdaError { span, message: "expected a lambda".to_owned(), hint: None }])
        }
    }
}

/// Parses the statements of `[functions]`.
pub fn module(source: &str) -> Result<Parsed<AstStmt>, Vec<LambdaError>> {
    let scan = scan(source, false)?;
    let text = scan.text.clone();
    let (tree, places) = parse(source, text, 0, scan, false)?;
    Ok(Parsed { tree, places })
}

fn scan(source: &str, is_lambda: bool) -> Result<Scan, Vec<LambdaError>> {
    let mut scan = Scan::new(source, if is_lambda { MAX_LAMBDA_BYTES } else { MAX_LIBRARY_BYTES });
    if scan.errors.is_empty() {
        return Ok(scan);
    }
    let mut errors = std::mem::take(&mut scan.errors);
    errors.extend(foreign(source, &scan, is_lambda));
    errors.sort_by_key(|error| error.span.start);
    Err(errors)
}

/// What is of Python or of another language.
fn foreign(source: &str, scan: &Scan, is_lambda: bool) -> Vec<LambdaError> {
    let mut errors = python::forms(source, scan);
    errors.extend(slip::slips(source, scan, is_lambda));
    errors.sort_by_key(|error| error.span.start);
    errors
}

fn parse(
    source: &str,
    text: Vec<u8>,
    before: usize,
    scan: Scan,
    is_lambda: bool,
) -> Result<(AstStmt, Places), Vec<LambdaError>> {
    let mut text = text;
    let shift = Shift::around_bytes(&mut text, before, &scan);
    let whole = |message: String| vec![LambdaError { span: 0..source.len().min(1), message, hint: None }];
    let text = String::from_utf8(text).map_err(|_| whole("the text is not UTF-8".to_owned()))?;
    match AstModule::parse("lambda", text, &DIALECT) {
        Ok(module) => Ok((module.into_parts().1, Places { shift, text: source.to_owned(), fields: scan.fields })),
        Err(error) => {
            let forms = foreign(source, &scan, is_lambda);
            if !forms.is_empty() {
                return Err(forms);
            }
            let mut message = words(&error.without_diagnostic().to_string());
            let mut hint = hint(&message);
            let begin = shift.back(error.span().map_or(0, |span| span.span.begin().get() as usize));
            if is_lambda && source.len() <= begin {
                // The parser met the parenthesis that was put around the text.
                message = message.replace("symbol ')'", "end of the function");
                let bare = source.split_whitespace().eq(["lambda"]);
                hint = if bare { Some("write `lambda x: ...`".to_owned()) } else { hint };
            }
            let brackets = |bracket: char| source.get(..begin).unwrap_or(source).matches(bracket).count();
            if is_lambda && brackets('(') == brackets(')') {
                message = message.replace("expected symbol ')'", "expected the end of the function");
            }
            let places = Places { shift, text: source.to_owned(), fields: scan.fields };
            let span = error.span().map_or(0..0, |span| places.range(span.span));
            Err(vec![LambdaError { hint, span: visible(source, span), message }])
        }
    }
}

/// The parser's message in our form: lower case, no prefix, no period.
fn words(message: &str) -> String {
    let message = message.strip_prefix("Parse error: ").unwrap_or(message);
    let message = message.replace("end of file", "end of text").replace("new line", "end of line");
    let message = message.trim().trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        Some(first) if !message.starts_with("Args") => first.to_lowercase().chain(letters).collect(),
        _ => message.to_owned(),
    }
}

fn hint(message: &str) -> Option<String> {
    let hint = match message {
        m if m.contains("not associative") => "write both: `a < b and b < c`",
        m if m.contains("tabs are not allowed") => "indent with spaces, or with tabs alone",
        m if m.contains("incorrect indentation") => "indent the lines of a block alike",
        m if m.contains("trailing comma") => "put the tuple in parentheses",
        m if m.contains("keyword 'load'") => "`load` is a keyword: write `json.loads(x)`",
        m if m.contains("expected keyword 'else'") => "write `a if condition else b`",
        m if m.contains("unexpected keyword 'else'") => {
            "the choice stands first: `[a if condition else b for x in xs]`"
        }
        m if m.contains("unexpected symbol '='") => "compare with `==`; an expression assigns nothing",
        m if m.contains("unexpected end of line, expected symbol ':'") => "end the line with `:`",
        m if m.contains("expected new indentation block") => "indent the lines of the body by four spaces",
        m if m.contains("leading 0") => "write octal numbers as 0o17",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// An empty span is shown as the character at or before it.
fn visible(source: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() && source.get(span.clone()).is_some() {
        return span;
    }
    let end = source.trim_end().len();
    let start = span.start.min(end.saturating_sub(1));
    let start = (0..=start).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0);
    let len = source.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lambda_may_stand_on_several_lines() {
        let source = "\n  lambda x: # comment\n    (x,\n  1)  # end\n";
        let parsed = expression(source).map_err(|e| e[0].message.clone()).map(|p| p.places.range(p.tree.span));
        assert_eq!(parsed.map(|span| &source[span]), Ok("lambda x: # comment\n    (x,\n  1)"));
    }

    #[test]
    fn bytes_may_stand_anywhere_in_a_tuple() {
        for source in [
            "lambda p: (p, b'1')",
            "lambda p: [(p, B\"1\", rb'2')]",
            "lambda p: p, b'1', (b'', [p, b'2'])",
            "(b'a', f(1, b'b'), x)",
        ] {
            let parsed = expression(source)
                .map_err(|errors| errors[0].message.clone())
                .map(|parsed| parsed.places.range(parsed.tree.span));
            let whole = source.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(source);
            assert!(
                parsed.as_ref().is_ok_and(|span| &source[span.clone()] == source || &source[span.clone()] == whole),
                "{source}: {parsed:?}"
            );
        }
        let error = expression("lambda p: (p, b'1', b'2' +)").err().map(|errors| errors[0].span.clone());
        assert_eq!(error, Some(26..27));
    }

    #[test]
    fn parse_errors_point_into_the_given_text() {
        for (source, spanned, message) in [
            ("lambda x: x +", "+", "unexpected end of the function, expected"),
            ("lambda x:", ":", "unexpected end of the function, expected"),
            ("lambda", "a", "unexpected end of the function, expected"),
            ("lambda x # y", "y", "unexpected end of the function, expected"),
            ("lambda x: x y", "y", "unexpected identifier 'y', expected the end of the function"),
            ("lambda x: 012", "012", "integer cannot have leading 0, got `012`"),
        ] {
            let error = expression(source).err().map(|e| (source[e[0].span.clone()].to_owned(), e[0].message.clone()));
            assert_eq!(error.as_ref().map(|(span, _)| span.as_str()), Some(spanned), "{source} {error:?}");
            assert!(error.as_ref().is_some_and(|(_, told)| told.contains(message)), "{source} {error:?}");
        }
    }
}

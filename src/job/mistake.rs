//! A mistake in a job file: where it is, what is wrong, what to write instead; printed like rustc does.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::secret;

/// Bytes of one of the texts a job is made of (the file, an override, a function file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Index into the texts.
    pub origin: usize,
    pub range: Range<usize>,
}

impl Span {
    pub fn new(origin: usize, range: Range<usize>) -> Self {
        Self { origin, range }
    }
}

/// The job file itself; overrides and function files follow it.
pub const JOB_FILE: usize = 0;

/// Something the author of the job must change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub span: Span,
    /// Lower case, no final period.
    pub message: String,
    /// Stands beside the caret; may be empty.
    pub label: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Mistake {
    pub fn at(span: &Span, message: impl Into<String>) -> Self {
        Self { span: span.clone(), message: message.into(), label: String::new(), hint: None }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// One of the texts a job is made of, as messages show it: secrets in it are masked.
#[derive(Clone)]
pub struct Text {
    pub name: String,
    pub shown: String,
}

/// The name of a text that is a list of brokers.
pub const BROKERS_FLAG: &str = "--brokers";

impl Text {
    pub fn new(name: impl Into<String>, text: &str) -> Self {
        let name = name.into();
        let shown = if name == BROKERS_FLAG { secret::mask_login(text) } else { secret::mask(text) };
        Self { name, shown }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All mistakes of a job, in the order of the file.
#[derive(Debug, Clone)]
pub struct Mistakes {
    texts: Arc<[Text]>,
    mistakes: Vec<Mistake>,
}

impl Mistakes {
    pub fn new(texts: impl Into<Arc<[Text]>>, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| (mistake.span.origin, mistake.span.range.start));
        mistakes.dedup();
        Self { texts: texts.into(), mistakes }
    }

    pub fn len(&self) -> usize {
        self.mistakes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter()
    }

    /// One block a mistake, an empty line between them.
    pub fn render(&self, colour: Colour) -> String {
        let blocks = self.mistakes.iter().map(|mistake| render(&self.texts, mistake, Level::ERROR, colour));
        blocks.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

impl std::error::Error for Mistakes {}

/// Worth reading, but the job runs.
#[derive(Debug, Clone)]
pub struct Warning {
    texts: Arc<[Text]>,
    pub mistake: Mistake,
}

impl Warning {
    pub fn new(texts: Arc<[Text]>, mistake: Mistake) -> Self {
        Self { texts, mistake }
    }

    pub fn render(&self, colour: Colour) -> String {
        render(&self.texts, &self.mistake, Level::WARNING, colour)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Styled,
}

/// The lines of a text around a place, without a title: `--> FILE:LINE:COLUMN`, the line, the carets.
pub fn excerpt(texts: &[Text], span: &Span) -> String {
    let whole = render(texts, &Mistake::at(span, ""), Level::ERROR, Colour::Plain);
    whole.split_once('\n').map(|(_, excerpt)| excerpt.to_owned()).unwrap_or_default()
}

fn render(texts: &[Text], mistake: &Mistake, level: Level<'static>, colour: Colour) -> String {
    let renderer = match colour {
        Colour::Plain => Renderer::plain(),
        Colour::Styled => Renderer::styled(),
    };
    let (name, shown) = texts.get(mistake.span.origin).map_or(("", ""), |text| (&text.name, &text.shown));
    // Words of the text may have come into what is said of it.
    let (message, label, hint) =
        (secret::mask(&mistake.message), secret::mask(&mistake.label), mistake.hint.as_deref().map(secret::mask));
    let label = (!label.is_empty()).then_some(label.as_str());
    let annotation = AnnotationKind::Primary.span(within_one_line(shown, &mistake.span.range)).label(label);
    let snippet = Snippet::source(shown).path(name).annotation(annotation);
    let mut group = level.primary_title(message.as_str()).element(snippet);
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

/// Clips a span to the text, to whole characters and to its first line: a caret below one line reads best. What is said
/// of the whole text is shown at its first line that is not blank.
fn within_one_line(text: &str, range: &Range<usize>) -> Range<usize> {
    if range.start == 0 && text.starts_with(['\r', '\n', ' ']) {
        let begin = text.len() - text.trim_start().len();
        return within_one_line_from(text, &(begin..range.end.max(begin)));
    }
    within_one_line_from(text, range)
}

fn within_one_line_from(text: &str, range: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (floor(range.start), floor(range.end.max(range.start)));
    let line_end = text[start..].find(['\r', '\n']).map_or(text.len(), |length| start + length);
    start..end.min(line_end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, range: Range<usize>, expected: &str) {
        let mistake =
            Mistake { span: Span::new(JOB_FILE, range), message: "wrong".into(), label: "here".into(), hint: None };
        let mistakes = Mistakes::new([Text::new("j.toml", text)], vec![mistake]);
        assert_eq!(mistakes.to_string(), expected);
    }

    #[test]
    fn a_caret_stands_below_the_mistake() {
        check("", 0..0, "error: wrong\n --> j.toml:1:1\n  |\n1 |\n  | ^ here");
        check("a = 1\nb = 2", 10..11, "error: wrong\n --> j.toml:2:5\n  |\n2 | b = 2\n  |     ^ here");
        check("é = 1\n", 5..6, "error: wrong\n --> j.toml:1:5\n  |\n1 | é = 1\n  |     ^ here");
    }

    #[test]
    fn a_span_of_several_lines_is_clipped_to_its_first() {
        check("a = '''\nx'''", 4..12, "error: wrong\n --> j.toml:1:5\n  |\n1 | a = '''\n  |     ^^^ here");
        check("a", 40..50, "error: wrong\n --> j.toml:1:2\n  |\n1 | a\n  |  ^ here");
    }
}

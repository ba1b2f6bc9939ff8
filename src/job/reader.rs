//! Reads tables key by key: unknown keys, wrong types and missing keys become mistakes, and reading goes on.
//!
//! Every method that can fail reports its mistake itself and returns `None`; the caller goes on with a default, because
//! a job with any mistake is never returned.

use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
    path::PathBuf,
};

use jiff::tz::TimeZone;

use crate::expr::{Function, LambdaError, Library};

use super::{
    client::KafkaClient,
    content::InputFiles,
    mistake::{JOB_FILE, Mistake, Span},
    places::{Places, within},
    quantity,
    secret::stars,
    suggest::{closest, did_you_mean},
    tree::{Node, Table, Tree, parse_value},
    whereabouts::Ran,
};

/// A text as it was written, for positions within strings.
#[derive(Clone)]
pub struct Origin {
    pub name: String,
    pub raw: String,
}

pub struct Reader<'e> {
    environment: &'e dyn Fn(&str) -> Option<String>,
    /// Index 0 is the job file.
    pub origins: Vec<Origin>,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<Mistake>,
    /// The file has syntax errors: what is missing may only seem to be.
    pub torn: bool,
    /// What relative paths start from.
    pub directory: PathBuf,
    /// Where the job ran, if this is its text in a checkpoint.
    pub ran: Ran,
    pub library: Library,
    /// Names that `[functions]` defines with mistakes: they are not unknown.
    pub torn_functions: Vec<String>,
    pub time_zone: TimeZone,
    pub files: InputFiles,
    pub places: Places,
    /// Every file of dead letters, and where the job names it.
    pub letters: Vec<(PathBuf, Span)>,
    /// Every topic of dead letters.
    pub letter_topics: Vec<LetterTopic>,
    /// Every file that is read, and what reads it.
    pub inputs: Vec<(PathBuf, String)>,
    /// The directory of the checkpoint, as far as it is known.
    pub checkpoint: Option<PathBuf>,
    /// Looks at Kafka properties, where the job is going to be run.
    pub client: Option<&'e dyn KafkaClient>,
}

/// A topic that dead letters go to; without brokers, on those of the first source.
pub struct LetterTopic {
    pub topic: String,
    pub brokers: Option<String>,
    pub span: Span,
}

impl<'e> Reader<'e> {
    pub fn new(environment: &'e dyn Fn(&str) -> Option<String>, directory: PathBuf) -> Reader<'e> {
        Self {
            environment,
            origins: Vec::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            torn: false,
            directory,
            ran: Ran::default(),
            library: Library::default(),
            torn_functions: Vec::new(),
            time_zone: TimeZone::UTC,
            files: InputFiles::default(),
            places: Places::default(),
            letters: Vec::new(),
            letter_topics: Vec::new(),
            inputs: Vec::new(),
            checkpoint: None,
            client: None,
        }
    }

    pub fn report(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    pub fn warn(&mut self, warning: Mistake) {
        self.warnings.push(warning);
    }

    /// Reports what only counts if the whole file could be read.
    pub fn report_absence(&mut self, mistake: Mistake) {
        if !self.torn {
            self.mistakes.push(mistake);
        }
    }

    fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.wrong_type_with(node, expected, None)
    }

    pub fn wrong_type_with<T>(&mut self, node: &Node, expected: &str, hint: Option<String>) -> Option<T> {
        let found = match &node.tree {
            Tree::Untyped(text) => format!("`{text}`"),
            other => other.describe().to_owned(),
        };
        self.report(Mistake::at(&node.span, format!("expected {expected}, found {found}")).hint(hint));
        None
    }

    /// A string; `${NAME}` in it is replaced.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        match &node.tree {
            Tree::Text(text) => self.substitute(text, &node.span),
            Tree::Untyped(text) => {
                let text = unquoted(text, &node.span);
                self.substitute(&text, &node.span)
            }
            _ => self.wrong_type(node, "a string"),
        }
    }

    /// A string with something in it.
    pub fn nonempty(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() {
            self.report(Mistake::at(&node.span, "this string is empty"));
            return None;
        }
        Some(text)
    }

    pub fn path(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.nonempty(node)?;
        if text.contains('\0') {
            self.report(Mistake::at(&node.span, "a path cannot hold a null character"));
            return None;
        }
        Some(self.ran.read(PathBuf::from(text)))
    }

    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        match self.typed(node)?.tree {
            Tree::Bool(value) => Some(value),
            _ => self.wrong_type_with(node, "a boolean", bare(node, |text| matches!(text, "true" | "false"))),
        }
    }

    pub fn integer(&mut self, node: &Node, range: RangeInclusive<i128>) -> Option<i128> {
        let Tree::Integer(value) = self.typed(node)?.tree else {
            let hint = bare(node, |text| text.parse::<i128>().is_ok());
            return self.wrong_type_with(node, "an integer", hint);
        };
        if range.contains(&value) {
            return Some(value);
        }
        let (least, most) = (range.start(), range.end());
        let message = match value < *least {
            true => format!("{value} is too small, the least is {least}"),
            false => format!("{value} is too large, the most is {most}"),
        };
        self.report(Mistake::at(&node.span, message));
        None
    }

    pub fn count(&mut self, node: &Node) -> Option<u64> {
        self.integer(node, 0..=i128::from(i64::MAX)).and_then(|value| u64::try_from(value).ok())
    }

    /// A count of at least one.
    pub fn positive(&mut self, node: &Node) -> Option<u64> {
        self.integer(node, 1..=i128::from(i64::MAX)).and_then(|value| u64::try_from(value).ok())
    }

    pub fn partitions(&mut self, node: &Node) -> Option<u32> {
        self.integer(node, 1..=quantity::MOST_PARTITIONS).and_then(|value| u32::try_from(value).ok())
    }

    /// A finite number; integers count.
    pub fn number(&mut self, node: &Node) -> Option<f64> {
        match self.typed(node)?.tree {
            Tree::Integer(value) => Some(value as f64),
            Tree::Float(value) if value.is_finite() => Some(value),
            _ => self.wrong_type_with(node, "a number", bare(node, |text| text.parse::<f64>().is_ok())),
        }
    }

    /// A positive duration in milliseconds.
    pub fn duration_ms(&mut self, node: &Node) -> Option<i64> {
        let (Tree::Text(_) | Tree::Untyped(_)) = node.tree else {
            if let Tree::Integer(_) | Tree::Float(_) = node.tree {
                let number = self.written(node);
                let hint = format!("write it with its unit: \"{number}s\" or \"{number}ms\"");
                self.report(Mistake::at(&node.span, "a duration needs a unit").hint(hint));
                return None;
            }
            return self.wrong_type(node, "a duration like \"3s\" or \"500ms\"");
        };
        let text = self.text(node)?;
        self.parsed(node, quantity::duration_ms(&text))
    }

    /// A value as it stands in the file.
    fn written(&self, node: &Node) -> &str {
        let raw = self.origins.get(node.span.origin).and_then(|origin| origin.raw.get(node.span.range.clone()));
        raw.unwrap_or_default()
    }

    /// A positive size in bytes.
    pub fn size(&mut self, node: &Node) -> Option<u64> {
        let text = match &node.tree {
            Tree::Integer(value) => value.to_string(),
            Tree::Text(_) | Tree::Untyped(_) => self.text(node)?,
            _ => return self.wrong_type(node, "a size like \"64MiB\""),
        };
        self.parsed(node, quantity::size_bytes(&text))
    }

    /// Reports why a text could not be parsed.
    pub fn parsed<T>(&mut self, node: &Node, result: Result<T, quantity::Unfit>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(unfit) => {
                self.report(Mistake::at(&node.span, unfit.message).hint(unfit.hint));
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let (Tree::Text(_) | Tree::Untyped(_)) = node.tree else { return self.wrong_type(node, &expected) };
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let hint = did_you_mean(&text, words.iter().copied());
        self.report(Mistake::at(&node.span, format!("unknown value `{text}`")).label(expected).hint(hint));
        None
    }

    pub fn list(&mut self, node: &Node) -> Option<Vec<Node>> {
        let node = self.typed(node)?;
        match node.tree {
            Tree::List(items) => Some(items),
            Tree::Untyped(word) => Some(vec![Node { span: node.span, tree: Tree::Text(word) }]),
            _ => self.wrong_type(&node, "a list"),
        }
    }

    /// A list of strings, each with its position. `whole`: every one of them could be read.
    pub fn texts(&mut self, key: &str, node: &Node) -> Option<Texts> {
        let joined = match &node.tree {
            Tree::Text(text) => Some(text).filter(|text| !is_one_variable(text)),
            Tree::Untyped(word) => Some(word).filter(|word| word.contains(',')),
            _ => None,
        };
        if let Some(text) = joined {
            let names: Vec<String> = text.split(',').map(|name| format!("\"{}\"", name.trim())).collect();
            let mistake = Mistake::at(&node.span, "expected a list of strings, found a string");
            self.report(mistake.hint(format!("write `{key} = [{}]`", names.join(", "))));
            return None;
        }
        let items = self.list(node)?;
        let texts: Vec<_> = items.iter().filter_map(|item| Some((self.nonempty(item)?, item.span.clone()))).collect();
        Some(Texts { whole: texts.len() == items.len(), texts })
    }

    /// Lets no message show what stands there, unless that is only where it comes from.
    pub fn hide(&mut self, span: &Span) {
        let is_reference = |text: &&str| is_one_variable(text.trim_matches(['"', '\'']));
        if let Some(origin) = self.origins.get_mut(span.origin)
            && let Some(hidden) = origin.raw.get(span.range.clone()).filter(|text| !is_reference(text)).map(stars)
        {
            origin.raw.replace_range(span.range.clone(), &hidden);
        }
    }

    /// The place of a part of a string's text, where the text stands as it is meant.
    pub fn part_of(&self, node: &Node, text: &str, part: Range<usize>) -> Span {
        match &node.tree {
            Tree::Text(written) | Tree::Untyped(written) if written == text && !part.is_empty() => {
                let raw = self.origins.get(node.span.origin).map_or("", |origin| &origin.raw);
                within(&node.span, raw, &part)
            }
            _ => node.span.clone(),
        }
    }

    pub fn table(&mut self, node: &Node) -> Option<Table> {
        match self.typed(node)?.tree {
            Tree::Table(table) => Some(table),
            _ => self.wrong_type(node, "a table"),
        }
    }

    /// A node whose key takes several types: `--set` values and whole `${NAME}`s become what their text looks like.
    pub fn any(&mut self, node: &Node) -> Option<Node> {
        let typed = self.typed(node)?;
        Some(match typed.tree {
            Tree::Untyped(text) => Node { span: typed.span, tree: Tree::Text(text) },
            _ => typed,
        })
    }

    /// A lambda, or the name of a function; nothing in it is replaced.
    pub fn function(&mut self, node: &Node, arity: RangeInclusive<usize>) -> Option<Function> {
        let (Tree::Text(source) | Tree::Untyped(source)) = &node.tree else {
            let example = if *arity.start() < 2 { "lambda x: ..." } else { "lambda a, b: ..." };
            let hint = format!("write a function in quotes, like \"{example}\"");
            return self.wrong_type_with(node, "a function: a lambda or a name", Some(hint));
        };
        match Function::compile(source, &self.library, arity) {
            Ok(function) => {
                self.places.lambdas.push((source.as_str().into(), node.span.clone()));
                Some(function)
            }
            Err(mut errors) => {
                errors.retain(|error| !self.is_defined_by_torn_functions(source, error));
                self.report_lambda_errors(&node.span, errors);
                None
            }
        }
    }

    fn is_defined_by_torn_functions(&self, source: &str, error: &LambdaError) -> bool {
        let word = source.get(error.span.clone()).unwrap_or_default().trim();
        self.torn_functions.iter().any(|torn| torn == word)
    }

    /// Maps positions within a string of the job to positions in the text it stands in.
    pub fn report_lambda_errors(&mut self, string: &Span, errors: Vec<LambdaError>) {
        for error in errors {
            let raw = self.origins.get(string.origin).map_or("", |origin| &origin.raw);
            let span = within(string, raw, &error.span);
            self.report(Mistake::at(&span, error.message).hint(error.hint));
        }
    }

    /// `--set` values and strings that are nothing but `${NAME}`, read as TOML where they are TOML.
    fn typed(&mut self, node: &Node) -> Option<Node> {
        let text = match &node.tree {
            Tree::Untyped(text) => text.clone(),
            // What a variable stands for is not looked through for further variables.
            Tree::Text(text) if is_one_variable(text) => self.substitute(text, &node.span)?.replace('$', "$$"),
            _ => return Some(node.clone()),
        };
        let typed = parse_value(&text, &node.span);
        Some(typed.unwrap_or_else(|| Node { span: node.span.clone(), tree: Tree::Untyped(text) }))
    }

    /// The value of an environment variable, as it is.
    pub fn environment(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    /// Replaces `${NAME}`, `${NAME:-default}` and `$$`.
    fn substitute(&mut self, text: &str, span: &Span) -> Option<String> {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, variable) = rest.split_at(at);
            result.push_str(before);
            rest = if let Some(after) = variable.strip_prefix("$$") {
                result.push('$');
                after
            } else if let Some(after) = variable.strip_prefix("${") {
                let Some((inside, after)) = after.split_once('}') else {
                    self.report(Mistake::at(span, "`${` without `}`").hint("write `$$` for a `$`".to_owned()));
                    return None;
                };
                result.push_str(&self.variable(inside, span)?);
                after
            } else {
                result.push('$');
                variable.get(1..).unwrap_or_default()
            };
        }
        result.push_str(rest);
        Some(result)
    }

    fn variable(&mut self, inside: &str, span: &Span) -> Option<String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
            let hint = "write `${NAME}` or `${NAME:-default}`, and `$$` for a `$`";
            self.report(Mistake::at(span, format!("`${{{inside}}}` names no variable")).hint(hint.to_owned()));
            return None;
        }
        let value = (self.environment)(name).filter(|value| !(value.is_empty() && default.is_some()));
        if let Some(value) = value.or_else(|| default.map(str::to_owned)) {
            return Some(value);
        }
        let hint = format!("set {name}, or write `${{{name}:-default}}`");
        self.report(Mistake::at(span, format!("environment variable `{name}` is not set")).hint(hint));
        None
    }
}

/// What a list of strings holds.
pub struct Texts {
    pub texts: Vec<(String, Span)>,
    pub whole: bool,
}

/// What stands in quotes and should not.
fn bare(node: &Node, fits: impl Fn(&str) -> bool) -> Option<String> {
    match &node.tree {
        Tree::Text(text) if fits(text.trim()) => Some(format!("write `{}`, without quotes", text.trim())),
        _ => None,
    }
}

fn is_one_variable(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}

/// A `--set` value for a string key may be quoted.
fn unquoted(text: &str, span: &Span) -> String {
    let quoted = text.starts_with(['"', '\'']).then(|| parse_value(text, span)).flatten();
    match quoted.map(|node| node.tree) {
        Some(Tree::Text(inside)) => inside,
        _ => text.to_owned(),
    }
}

/// "`a`, `b` and `c`"
pub fn all_of(words: &[impl Display]) -> String {
    joined(words, "and")
}

/// "`a`, `b` or `c`"
pub fn one_of(words: &[impl Display]) -> String {
    joined(words, "or")
}

fn joined(words: &[impl Display], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Reports that `word` names nothing, with the closest of what it could name.
pub fn report_unknown_name<'c>(
    reader: &mut Reader<'_>,
    span: &Span,
    what: &str,
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) {
    let hint = closest(word, candidates).map(|close| format!("did you mean `{close}`?"));
    reader.report_absence(Mistake::at(span, format!("unknown {what} `{word}`")).hint(hint));
}

/// The start of the job file, for what the whole job lacks.
pub fn start_of_file() -> Span {
    Span::new(JOB_FILE, 0..0)
}

//! From a job file to a [`Job`]: reads the file, applies the overrides, reads every key, and collects all mistakes.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::expr::Library;

use super::{
    client::KafkaClient,
    destination::{report_no_directory, report_two_connections},
    fields::Fields,
    graph,
    input_file::{self, reason},
    mistake::{Colour, JOB_FILE, Mistake, Mistakes, Span, Text, Warning},
    on_error::job_errors,
    overrides::{Overrides, apply},
    quantity,
    reader::{Origin, Reader, start_of_file},
    recorded::Recorded,
    setting::OnError,
    source::sources,
    spec::{Job, KafkaSpec, Retention, SourceKind},
    step::steps,
    suggest::closest,
    syntax::Syntax,
    tree::{Entry, Node, Table, Tree, parse},
    written::{Defaults, ReadSource},
};

/// Larger files are no job files.
const MOST_BYTES: u64 = 4 << 20;
const LEAST_BATCH_INTERVAL_MS: i64 = 10;
const DEFAULT_MEMORY_LIMIT_BYTES: u64 = 1 << 30;
const DEFAULT_SHUFFLE_PARTITIONS: u32 = 8;
const DEFAULT_RETENTION_BATCHES: u64 = 1000;
const DEFAULT_RETENTION_BYTES: u64 = 1 << 30;
const LONGEST_NAME: usize = 100;

/// Why there is no job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file itself cannot be read.
    #[error("cannot read job file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String, hint: Option<String> },
    #[error("{0}")]
    Mistakes(Mistakes),
}

impl JobError {
    /// As it is printed on a terminal, hints included.
    pub fn render(&self, colour: Colour) -> String {
        match self {
            JobError::Mistakes(mistakes) => mistakes.render(colour),
            JobError::File { hint: Some(hint), .. } => format!("error: {self}\n  hint: {hint}"),
            JobError::File { .. } => format!("error: {self}"),
        }
    }
}

/// Reads and checks a job file. Paths of the job are relative to the working directory.
pub fn load(
    path: &Path,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Job, Vec<Warning>), JobError> {
    load_file(path, overrides, environment, None)
}

/// As [`load()`], for a job that is going to be run: its secrets are there, and `client` takes its properties.
pub fn load_for_run(
    path: &Path,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    client: &dyn KafkaClient,
) -> Result<(Job, Vec<Warning>), JobError> {
    load_file(path, overrides, environment, Some(client))
}

fn load_file(
    path: &Path,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    client: Option<&dyn KafkaClient>,
) -> Result<(Job, Vec<Warning>), JobError> {
    let directory = std::env::current_dir().map_err(|error| file_error(path, reason(&error), None))?;
    let text = read(path)?;
    let mut reader = Reader::new(environment, directory);
    reader.client = client;
    load_with(reader, &path.display().to_string(), text, overrides, None)
}

/// As [`load()`], for a job that stands in another file, which messages name.
pub fn load_inline(
    name: &str,
    text: String,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Job, Vec<Warning>), JobError> {
    let directory = std::env::current_dir().map_err(|error| file_error(Path::new(name), reason(&error), None))?;
    load_text(name, text, overrides, environment, directory, None)
}

/// Where a job stands.
pub enum JobText<'a> {
    File(&'a Path),
    /// In another file, which messages name.
    Inline {
        name: &'a str,
        text: String,
    },
}

/// As [`load()`], for a job whose sources are played: the files that they would read need not be there.
pub fn load_for_test(
    job: JobText<'_>,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Job, Vec<Warning>), JobError> {
    let (name, text) = match job {
        JobText::File(path) => (path.display().to_string(), read(path)?),
        JobText::Inline { name, text } => (name.to_owned(), text),
    };
    let directory = std::env::current_dir().map_err(|error| file_error(Path::new(&name), reason(&error), None))?;
    let mut reader = Reader::new(environment, directory);
    reader.files.played = true;
    load_with(reader, &name, text, overrides, None)
}

/// Checks the text of a job. `recorded` holds what a job text knows besides the job file.
pub fn load_text(
    name: &str,
    text: String,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    directory: PathBuf,
    recorded: Option<&Recorded<'_>>,
) -> Result<(Job, Vec<Warning>), JobError> {
    let reader = Reader::new(environment, directory);
    load_with(reader, name, text, overrides, recorded)
}

fn load_with(
    mut reader: Reader<'_>,
    name: &str,
    text: String,
    overrides: &Overrides,
    recorded: Option<&Recorded<'_>>,
) -> Result<(Job, Vec<Warning>), JobError> {
    let (mut root, syntax) = parse(&text, JOB_FILE);
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let mistake = Mistake::at(&start_of_file(), "the job file is empty");
        let hint = "a job has a `name`, a `batch_interval`, a `[source]` and `[[steps]]`".to_owned();
        return Err(JobError::Mistakes(Mistakes::new([Text::new(name, &text)], vec![mistake.hint(hint)])));
    }
    reader.origins.push(Origin { name: name.to_owned(), raw: text });
    if recorded.is_none() {
        reader.inputs.extend(Path::new(name).file_name().map(|file| (file.into(), "this is the job".to_owned())));
    }
    reader.torn = !syntax.mistakes.is_empty();
    apply(&mut reader, &mut root, overrides);
    let job = job(&mut reader, &root, recorded);
    finish(reader, syntax, job)
}

fn finish(reader: Reader<'_>, syntax: Syntax, job: Option<Job>) -> Result<(Job, Vec<Warning>), JobError> {
    let sound = |mistake: &Mistake| {
        mistake.span.origin != JOB_FILE || !syntax.torn.iter().any(|part| part.contains(&mistake.span.range.start))
    };
    let mut mistakes: Vec<Mistake> = reader.mistakes.iter().filter(|mistake| sound(mistake)).cloned().collect();
    mistakes.extend(syntax.mistakes);
    if job.is_none() && mistakes.is_empty() {
        mistakes.push(Mistake::at(&start_of_file(), "the job cannot be read"));
    }
    let texts: Arc<[Text]> = reader.origins.iter().map(|origin| Text::new(&origin.name, &origin.raw)).collect();
    match job {
        Some(mut job) if mistakes.is_empty() => {
            job.places.texts = texts.clone();
            let warnings = reader.warnings.into_iter().map(|warning| Warning::new(texts.clone(), warning));
            Ok((job, warnings.collect()))
        }
        _ => Err(JobError::Mistakes(Mistakes::new(texts, mistakes))),
    }
}

fn read(path: &Path) -> Result<String, JobError> {
    let fail = |error: &io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::IsADirectory => Some("Name one of the job files in it.".to_owned()),
            io::ErrorKind::NotFound => neighbour(path).map(|near| format!("Did you mean {}?", near.display())),
            _ => None,
        };
        file_error(path, reason(error), hint)
    };
    // A pipe will do: `kstream check <(sed ... job.toml)`.
    let file = std::fs::File::open(path).map_err(|error| fail(&error))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| MOST_BYTES < length) {
        let hint = "Data belongs into files that the job names.".to_owned();
        return Err(file_error(path, format!("it is larger than {} MiB", MOST_BYTES >> 20), Some(hint)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        let shown = String::from_utf8_lossy(error.as_bytes());
        let span = Span::new(JOB_FILE, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
        let mistake = Mistake::at(&span, "the job file is not UTF-8").label(format!("byte 0x{byte:02x}"));
        JobError::Mistakes(Mistakes::new([Text::new(path.display().to_string(), &shown)], vec![mistake]))
    })
}

/// The job file whose name is closest, in the same directory.
pub fn neighbour(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(directory).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    // Without the ending, which all of them have.
    let stem = |name: &str| name.strip_suffix(".toml").unwrap_or(name).to_owned();
    let stems: Vec<String> = names.iter().map(|name| stem(name)).collect();
    let near = closest(&stem(name), stems.iter().map(String::as_str))?;
    Some(path.with_file_name(format!("{near}.toml")))
}

fn file_error(path: &Path, reason: String, hint: Option<String>) -> JobError {
    JobError::File { path: path.to_owned(), reason, hint }
}

/// Reads every key of the job; `None` only together with a reported mistake.
fn job(reader: &mut Reader<'_>, root: &Table, recorded: Option<&Recorded<'_>>) -> Option<Job> {
    let mut fields = Fields::new(root);
    if let Some(recorded) = recorded {
        recorded.check(reader, fields.get("kstream"));
    }
    let name = fields.require("name", "\"...\"").and_then(|node| job_name(reader, node));
    let batch_interval = fields.require("batch_interval", "\"3s\"");
    let batch_interval_ms = batch_interval.and_then(|node| interval(reader, node));
    let checkpoint_node = fields.get("checkpoint_dir");
    let checkpoint_dir = match checkpoint_node {
        Some(node) => reader.path(node),
        None => name.as_ref().map(|name| Path::new(".kstream").join(name)),
    };
    reader.checkpoint.clone_from(&checkpoint_dir);
    let errors = job_errors(reader, &mut fields);
    let memory_limit = fields.get("memory_limit");
    let memory_limit_bytes = memory_limit.map_or(Some(DEFAULT_MEMORY_LIMIT_BYTES), |node| reader.size(node));
    let partitions = fields.get("shuffle_partitions");
    let partitions = partitions.map_or(Some(DEFAULT_SHUFFLE_PARTITIONS), |node| reader.partitions(node));
    if let Some(zone) = time_zone(reader, fields.get("time_zone")) {
        reader.time_zone = zone;
    }
    let retention = fields.get("retention").map_or(Some(default_retention()), |node| retention(reader, node));
    let mirror = match fields.get("mirror_offsets_to") {
        Some(node) => reader.nonempty(node).map(Some),
        None => Some(None),
    };
    let functions = fields.get("functions").and_then(|node| functions(reader, node));
    let sources = sources(reader, &mut fields, errors.dead_letter.as_ref());
    let defaults = Defaults {
        batch_interval_ms,
        partitions: partitions.unwrap_or(DEFAULT_SHUFFLE_PARTITIONS),
        dead_letter: errors.dead_letter.clone(),
        brokers: first_kafka(&sources).map(|kafka| kafka.brokers.clone()),
        sources_are_torn: sources.is_empty() || sources.iter().any(|source| source.spec.is_none()),
        properties: first_kafka(&sources).map(|kafka| kafka.properties.clone()).unwrap_or_default(),
    };
    let steps_node = fields.get("steps");
    if steps_node.is_none() {
        let mistake = Mistake::at(&start_of_file(), "nothing to execute: the job has no steps");
        fields.lacks(["steps"], mistake.hint("add steps, the last like `[[steps]]` with `pprint = 10`".to_owned()));
    }
    let read_steps = steps_node.and_then(|node| steps(reader, node, &defaults));
    fields.finish(reader);
    if let Some(read) = &read_steps {
        report_two_connections(reader, read, &defaults);
    }
    let steps = read_steps.map(|read| graph::resolve(reader, &sources, read, batch_interval_ms));
    warn_of_patterns(reader, root, &sources);
    if let (Some(node), Some(dir)) = (checkpoint_node, &checkpoint_dir) {
        report_no_directory(reader, &node.span, dir);
    }
    Some(Job {
        name: name?,
        batch_interval_ms: batch_interval_ms?,
        checkpoint_dir: checkpoint_dir?,
        on_error: errors.on_error.unwrap_or(OnError::Fail),
        memory_limit_bytes: memory_limit_bytes?,
        shuffle_partitions: partitions?,
        time_zone: reader.time_zone.clone(),
        sources: sources.into_iter().filter_map(|source| source.spec).collect(),
        library: reader.library.clone(),
        functions,
        steps: steps?,
        retention: retention?,
        mirror_offsets_to: mirror?,
        directory: reader.directory.clone(),
        ran: std::mem::take(&mut reader.ran),
        letters_at: std::collections::BTreeMap::new(),
        file_contents: reader.files.contents.clone(),
        places: std::mem::take(&mut reader.places),
    })
}

fn job_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.nonempty(node)?;
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if name.chars().all(legal) && !name.starts_with(['.', '-']) && name.len() <= LONGEST_NAME {
        return Some(name);
    }
    let mistake = Mistake::at(&node.span, format!("`{name}` cannot be the name of a job"));
    let hint = format!("use letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME}: directories are named after it");
    reader.report(mistake.hint(hint));
    None
}

fn interval(reader: &mut Reader<'_>, node: &Node) -> Option<i64> {
    let ms = reader.duration_ms(node)?;
    if ms < LEAST_BATCH_INTERVAL_MS {
        let message = format!("a batch interval is at least {LEAST_BATCH_INTERVAL_MS} ms");
        reader.report(Mistake::at(&node.span, message));
        return None;
    }
    Some(ms)
}

fn time_zone(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<jiff::tz::TimeZone> {
    if let Some(node) = node {
        let text = reader.nonempty(node)?;
        return reader.parsed(node, quantity::time_zone(&text));
    }
    let local = quantity::local_time_zone();
    if local.is_none() {
        let warning = Mistake::at(&start_of_file(), "the local time zone has no name; times are printed in UTC");
        reader.warn(warning.hint("add `time_zone = \"AREA/CITY\"`".to_owned()));
    }
    local
}

fn default_retention() -> Retention {
    Retention { batches: DEFAULT_RETENTION_BATCHES, age_ms: None, bytes: Some(DEFAULT_RETENTION_BYTES) }
}

fn retention(reader: &mut Reader<'_>, node: &Node) -> Option<Retention> {
    let hint = match &node.tree {
        Tree::Integer(batches) => Some(format!("write `retention = {{ batches = {batches} }}`")),
        Tree::Text(text) if quantity::duration_ms(text).is_ok() => {
            Some(format!("write `retention = {{ age = \"{text}\" }}`"))
        }
        Tree::Text(text) if quantity::size_bytes(text).is_ok() => {
            Some(format!("write `retention = {{ bytes = \"{text}\" }}`"))
        }
        _ => None,
    };
    if hint.is_some() {
        return reader.wrong_type_with(node, "a table", hint);
    }
    let table = reader.table(node)?;
    let mut fields = Fields::new(&table);
    let mut retention = default_retention();
    let batches = fields.get("batches").map_or(Some(retention.batches), |node| reader.positive(node));
    if let Some(node) = fields.get("age") {
        retention.age_ms = reader.duration_ms(node);
    }
    if let Some(node) = fields.get("bytes") {
        retention.bytes = reader.size(node);
    }
    fields.finish(reader);
    Some(Retention { batches: batches?, ..retention })
}

/// The text of `[functions]`; parses it into the reader's library.
fn functions(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let table = reader.table(node)?;
    let mut fields = Fields::new(&table);
    let (code, file) = (fields.get("code"), fields.get("file"));
    let strays = stray_functions(reader, &table);
    if !strays.is_empty() && code.is_none() && file.is_none() {
        return None;
    }
    let (text, span) = match (code, file) {
        (Some(code), None) => {
            let (Tree::Text(text) | Tree::Untyped(text)) = &code.tree else {
                reader.text(code);
                return None;
            };
            (text.clone(), code.span.clone())
        }
        (None, Some(file)) => function_file(reader, file)?,
        (Some(_), Some(file)) => {
            reader.report(Mistake::at(&file.span, "`code` and `file` exclude each other"));
            fields.finish(reader);
            return None;
        }
        (None, None) => {
            let mistake = Mistake::at(&table.span, "missing key `code` or `file`");
            fields.lacks(
                ["code", "file"],
                mistake.hint("add `code = '''...'''` or `file = \"functions.star\"`".to_owned()),
            );
            fields.finish(reader);
            return None;
        }
    };
    if strays.is_empty() {
        fields.finish(reader);
    }
    let reading = Library::read(&text);
    reader.library = reading.library;
    reader.torn_functions.extend(reading.torn);
    reader.report_lambda_errors(&span, reading.errors);
    reader.places.library = Some(span);
    Some(text)
}

/// Functions as keys of `[functions]`, or tables of it: they stand in one text.
fn stray_functions(reader: &mut Reader<'_>, table: &Table) -> Vec<String> {
    let is_stray = |entry: &&Entry| {
        let known = ["code", "file"];
        let text = match &entry.node.tree {
            Tree::Text(text) => text.contains("lambda") || text.contains("def "),
            Tree::Table(_) => true,
            _ => false,
        };
        text && closest(&entry.key, known.into_iter()).is_none()
    };
    let strays: Vec<&Entry> = table.entries.iter().filter(is_stray).collect();
    for entry in &strays {
        let name = &entry.key;
        let mistake = Mistake::at(&entry.key_span, format!("`{name}` is no key of `[functions]`"));
        let hint = format!(
            "functions stand in one text: `code = '''{name} = lambda x: ...'''`, with a line break between two"
        );
        reader.report(mistake.hint(hint));
    }
    let names: Vec<String> = strays.iter().map(|entry| entry.key.clone()).collect();
    reader.torn_functions.extend(names.iter().cloned());
    names
}

/// Its content, and a span over the whole of it.
fn function_file(reader: &mut Reader<'_>, node: &Node) -> Option<(String, Span)> {
    let path = reader.path(node)?;
    let file = input_file::open(&reader.absolute(&path));
    let mut bytes = Vec::new();
    let read = file.and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    let problem = match read {
        Err(error) => reason(&error),
        Ok(length) if u64::try_from(length).is_ok_and(|length| MOST_BYTES < length) => "it is too large".to_owned(),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => {
                let origin = Origin { name: path.display().to_string(), raw: text.clone() };
                reader.origins.push(origin);
                reader.inputs.push((path, "its functions stand there".to_owned()));
                let span = Span::new(reader.origins.len() - 1, 0..0);
                return Some((text, span));
            }
            Err(error) => format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()),
        },
    };
    reader.report(Mistake::at(&node.span, "cannot read this file").label(problem));
    None
}

fn first_kafka(sources: &[ReadSource]) -> Option<&KafkaSpec> {
    sources.iter().find_map(|source| match source.kind() {
        Some(SourceKind::Kafka(kafka)) => Some(kafka),
        _ => None,
    })
}

fn warn_of_patterns(reader: &mut Reader<'_>, root: &Table, sources: &[ReadSource]) {
    for source in sources {
        let Some(SourceKind::Kafka(kafka)) = source.kind() else { continue };
        let super::spec::TopicSelection::Pattern(pattern) = &kafka.topics else { continue };
        let text = super::topics::pattern_text(pattern);
        if text == regex::escape(text) {
            let message = format!("the pattern `{text}` can only match the topic of that name");
            let span = pattern_span(root, &source.name).unwrap_or_else(|| source.name_span.clone());
            reader.warn(Mistake::at(&span, message).hint(format!("write `topics = [\"{text}\"]`")));
        }
    }
}

fn pattern_span(root: &Table, source: &str) -> Option<Span> {
    let table = |node: &Node| match &node.tree {
        Tree::Table(table) => Some(table.clone()),
        _ => None,
    };
    let source = match root.get("source") {
        Some(entry) => table(&entry.node)?,
        None => table(&table(&root.get("sources")?.node)?.get(source)?.node)?,
    };
    Some(source.get("topic_pattern")?.node.span.clone())
}

//! Every kind of mistake in a job file, as its author sees it.
//!
//! `tests/job/NAME.toml` is loaded; what `check` would print must equal `tests/job/NAME.stderr`. With `KSTREAM_UPDATE=1`
//! the expectations are rewritten. A line `#! set KEY=VALUE`, `#! brokers VALUE` or `#! env NAME=VALUE` at the top of a
//! job gives it an override or an environment variable; a line `#! column TEXT` says that a mistake must point at TEXT.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use kstream::{
    job::{
        Begin, Colour, Job, JobError, Operator, Overrides, SourceKind, Start, TopicSelection, Warning, load,
        load_for_run,
    },
    source::kafka::properties::Librdkafka,
};

/// Overrides, environment and expected positions of a case.
#[derive(Default)]
struct Case {
    overrides: Overrides,
    environment: HashMap<String, String>,
    pointed_at: Vec<String>,
}

fn case(text: &str) -> Case {
    let mut case = Case::default();
    for directive in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
        let (word, rest) = directive.split_once(' ').unwrap();
        let pair = || rest.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
        match word {
            "set" => case.overrides.set.push(pair()),
            "brokers" => case.overrides.brokers = Some(rest.to_owned()),
            "env" => case.environment.extend([pair()]),
            "column" => case.pointed_at.push(rest.to_owned()),
            other => panic!("unknown directive {other}"),
        }
    }
    case
}

fn outcome(path: &Path, case: &Case) -> Result<(Job, Vec<Warning>), JobError> {
    load_for_run(path, &case.overrides, &|name| case.environment.get(name).cloned(), &Librdkafka)
}

fn shown(result: &Result<(Job, Vec<Warning>), JobError>) -> String {
    match result {
        Ok((_, warnings)) => warnings.iter().map(|warning| format!("{warning}\n")).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("{error}\n"),
    }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/job").unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    paths.sort();
    paths
}

#[test]
fn every_kind_of_mistake_is_shown_as_expected() {
    let update = std::env::var_os("KSTREAM_UPDATE").is_some();
    let mut differences = Vec::new();
    let paths = cases();
    assert!(50 < paths.len(), "{} cases", paths.len());
    for path in paths {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let shown = shown(&outcome(&path, &case(&text)));
        let expectation = path.with_extension("stderr");
        if update {
            fs::write(&expectation, &shown).unwrap();
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        if expected != shown {
            differences.push(format!("{}\nexpected:\n{expected}\ngot:\n{shown}", path.display()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The snapshots alone would also hold wrong positions still: these are checked against the text itself.
#[test]
fn carets_stand_below_the_text_that_is_wrong() {
    let mut checked = 0;
    for path in cases() {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let case = case(&text);
        let Err(JobError::Mistakes(mistakes)) = outcome(&path, &case) else {
            assert!(case.pointed_at.is_empty(), "{} has no mistakes", path.display());
            continue;
        };
        for expected in &case.pointed_at {
            let below = mistakes.iter().any(|mistake| {
                mistake.span.origin == 0 && text.get(mistake.span.range.clone()) == Some(expected.as_str())
            });
            assert!(below, "no mistake of {} points at {expected}:\n{mistakes}", path.display());
            checked += 1;
        }
    }
    assert!(30 < checked, "{checked} positions");
}

#[test]
fn a_file_that_is_no_job_file_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let error = outcome(path, &Case::default()).unwrap_err().render(Colour::Plain);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    };
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    check(directory.path(), "it is a directory");
    check(&directory.path().join("none.toml"), "no such file");
    check(&file("large.toml", &vec![b'#'; 10 << 20]), "it is larger than 4 MiB");
    check(&file("empty.toml", b""), ":1:1");
    check(&file("blank.toml", b" \n\n"), "the job file is empty");
    check(&file("latin.toml", b"name = 'x'\nbatch_interval = '\xe9s'\n"), "latin.toml:2:19");
    check(&file("nul.toml", b"name = 'a\0b'\n"), "nul.toml:1:10");
}

/// Jobs of the repository and the sound ones among the cases.
fn sound_jobs() -> Vec<(PathBuf, Job)> {
    let examples = fs::read_dir("jobs").into_iter().flatten().map(|entry| entry.unwrap().path());
    let examples = examples.filter(|path| path.extension().is_some_and(|ext| ext == "toml"));
    let mut jobs = Vec::new();
    for path in cases().into_iter().chain(examples) {
        let is_example = path.starts_with("jobs");
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        match outcome(&path, &case(&text)) {
            Ok((job, _)) => jobs.push((path, job)),
            Err(error) => assert!(!is_example, "{error}"),
        }
    }
    jobs
}

#[test]
fn a_job_comes_back_from_its_text() {
    let jobs = sound_jobs();
    assert!(5 < jobs.len());
    for (path, job) in jobs {
        let text = job.text();
        let again = Job::from_text(&text, &job).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
        assert_eq!(again.text(), text, "{}", path.display());
        assert_eq!(kstream::job::compare(&job, &again), [], "{}", path.display());
        assert_eq!(again.steps.len(), job.steps.len());
        for (a, b) in again.steps.iter().zip(&job.steps) {
            assert_eq!((&a.id, &a.inputs, a.operator.name()), (&b.id, &b.inputs, b.operator.name()));
        }
    }
}

#[test]
fn overrides_take_the_place_of_values_of_the_file() {
    let path = Path::new("tests/job/ok_set.toml");
    let (job, _) = outcome(path, &case(&fs::read_to_string(path).unwrap())).unwrap();
    assert_eq!(job.batch_interval_ms, 5000);
    let SourceKind::Kafka(kafka) = &job.sources[0].kind else { panic!("{:?}", job.sources) };
    assert_eq!((kafka.brokers.as_str(), kafka.max_records_per_partition), ("a:1,b:2", 7));
    assert!(matches!(&kafka.topics, TopicSelection::Topics(topics) if *topics == ["other".into()]));
    assert!(matches!(&kafka.start, Begin::At(Start::Offsets(offsets)) if offsets[0].1 == 5));
    assert!(matches!(&job.steps[0].operator, Operator::Map(func) if func.source() == "lambda x: x.lower()"));
    assert!(matches!(&job.steps[1].operator, Operator::Pprint { num: 3, to: Some(_) }));
}

#[test]
fn a_job_text_is_run_with_the_connection_of_the_current_start() {
    let path = Path::new("tests/job/ok_set.toml");
    let mut case = case(&fs::read_to_string(path).unwrap());
    let (old, _) = outcome(path, &case).unwrap();
    case.overrides.brokers = Some("moved:9092".to_owned());
    case.overrides.set.push(("memory_limit".to_owned(), "5MiB".to_owned()));
    case.overrides.set.push(("source.max_records_per_partition".to_owned(), "9".to_owned()));
    let (current, _) = outcome(path, &case).unwrap();
    let again = Job::from_text(&old.text(), &current).unwrap();
    let SourceKind::Kafka(kafka) = &again.sources[0].kind else { panic!("{:?}", again.sources) };
    assert_eq!((kafka.brokers.as_str(), kafka.max_records_per_partition), ("moved:9092", 7));
    assert_eq!(again.memory_limit_bytes, 5 << 20);
    let other = old.text().replace("kstream-value/1", "kstream-value/2");
    let refused = Job::from_text(&other, &current).unwrap_err().to_string();
    assert!(refused.contains("kstream-value/2"), "{refused}");
}

#[test]
fn a_file_of_dead_letters_in_two_spellings_is_one_place() {
    let path = Path::new("tests/job/ok_letters_spelled_twice.toml");
    let (job, _) = outcome(path, &Case::default()).unwrap();
    let [first, second, ..] = job.steps.as_slice() else { panic!("{:?}", job.steps) };
    assert!(first.on_error.is_some());
    assert_eq!(first.on_error, second.on_error);
}

#[test]
fn secrets_and_properties_are_looked_at_only_where_a_job_is_run() {
    let path = Path::new("tests/job/properties.toml");
    let alone = load(path, &Overrides::default(), &|_| None);
    assert!(alone.is_ok(), "{}", shown(&alone));
    assert!(outcome(path, &Case::default()).is_err());
}

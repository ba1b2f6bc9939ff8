//! One file of dead letters may have several names in a checkpoint: an edit writes its path otherwise, and earlier versions
//! knew a relative path by where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    dead_letters::{self, in_file},
    error::DriverError,
    stored::job_of,
};
use crate::{
    checkpoint::Archive,
    job::{Job, OnError},
    model::BatchId,
    protocol::{Facts, JobTextHash, SaidOfSink, SinkFacts},
};

/// The names of each file that has several.
#[derive(Debug, Default)]
pub struct LetterFiles(Vec<BTreeSet<String>>);

impl LetterFiles {
    /// Those of every job that the checkpoint keeps, and of `job`, the one at hand.
    pub fn of(archive: &Archive, facts: &Facts, job: &Job) -> Result<LetterFiles, DriverError> {
        if !facts.sinks.keys().any(|name| dead_letters::file_of(name).is_some()) {
            return Ok(LetterFiles::default());
        }
        let texts: BTreeSet<_> =
            facts.batches.values().filter_map(|row| Some(&row.plan.as_ref()?.job_text.0)).collect();
        let mut stored = Vec::with_capacity(texts.len());
        for text in texts {
            stored.push(job_of(archive, &JobTextHash(text.clone()), job)?);
        }
        Ok(LetterFiles::new(&stored.iter().collect::<Vec<_>>(), &facts.sinks, job))
    }

    pub fn new(stored: &[&Job], sinks: &BTreeMap<String, SaidOfSink>, job: &Job) -> LetterFiles {
        let jobs = || stored.iter().copied().chain([job]);
        let directories: BTreeSet<&Path> =
            jobs().flat_map(|job| [&*job.directory, &*job.ran.directory]).filter(|path| path.is_absolute()).collect();
        let named: BTreeSet<PathBuf> = jobs().flat_map(files).collect();
        let mut of_files = LetterFiles::default();
        for path in &named {
            let place = job.place(path);
            let mut names = BTreeSet::from([in_file(path)]);
            let relative = if path.is_relative() { Some(path.clone()) } else { job.relative(path) };
            if let Some(relative) = relative {
                names.insert(in_file(&relative));
                let earlier = directories.iter().map(|directory| (directory, directory.join(&relative)));
                // What a job means by an absolute path is another file, unless all of its directory was moved.
                let is_it = earlier.filter(|(directory, earlier)| {
                    job.place(earlier) == place || !(named.contains(earlier) && directory.exists())
                });
                names.extend(is_it.map(|(_, earlier)| in_file(&earlier)));
            }
            of_files.add(names);
        }
        // Earlier versions knew a path as it was written, with each `//` of it.
        for name in sinks.keys().filter(|name| dead_letters::file_of(name).is_some()) {
            let is_same = |known: &String| dead_letters::file_of(known) == dead_letters::file_of(name);
            if let Some(names) = of_files.0.iter_mut().find(|names| names.iter().any(is_same)) {
                names.insert(name.clone());
            }
        }
        of_files.0.retain(|names| names.len() > 1);
        of_files
    }

    fn add(&mut self, mut names: BTreeSet<String>) {
        let (same, others) = std::mem::take(&mut self.0).into_iter().partition(|known| !known.is_disjoint(&names));
        self.0 = others;
        let same: Vec<BTreeSet<String>> = same;
        names.extend(same.into_iter().flatten());
        self.0.push(names);
    }

    /// All names of the output that has this one.
    pub fn names<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n str> {
        let of_file = self.0.iter().find(|names| names.contains(name));
        of_file.into_iter().flatten().map(String::as_str).chain(of_file.is_none().then_some(name))
    }

    /// Lets a file be known by each of its names, as whichever was told of last.
    pub fn know_by_each(&self, sinks: &mut BTreeMap<String, SaidOfSink>) {
        for names in &self.0 {
            let known = names.iter().filter_map(|name| sinks.get(name));
            if let Some(last) = known.max_by_key(|(_, said_by)| *said_by).cloned() {
                sinks.extend(names.iter().map(|name| (name.clone(), last.clone())));
            }
        }
    }

    /// Gives each file one target under all of its names: what was told of it last. `None` where nobody knows.
    pub fn targets(&self, as_of: BTreeMap<String, Option<SaidOfSink>>) -> BTreeMap<String, Option<SinkFacts>> {
        let facts = |said: &Option<SaidOfSink>| said.as_ref().map(|(facts, _)| facts.clone());
        let mut targets: BTreeMap<_, _> = as_of.iter().map(|(name, said)| (name.clone(), facts(said))).collect();
        for names in &self.0 {
            let known: Vec<_> = names.iter().filter_map(|name| as_of.get(name)).collect();
            if known.is_empty() {
                continue;
            }
            let last = known.into_iter().flatten().max_by_key(|(_, said_by)| *said_by);
            let target = last.map(|(facts, _)| facts.clone());
            targets.extend(names.iter().map(|name| (name.clone(), target.clone())));
        }
        targets
    }

    /// A rewind that an earlier version began knows a file by one of its names only.
    pub fn complete(&self, targets: &mut BTreeMap<String, Option<SinkFacts>>) {
        for names in &self.0 {
            if let Some(target) = names.iter().find_map(|name| targets.get(name)).cloned() {
                for name in names {
                    targets.entry(name.clone()).or_insert_with(|| target.clone());
                }
            }
        }
    }
}

/// The last batch after `to` in which an earlier version wrote dead letters into a file that it knew by where it was. One file
/// may have had several such names, so that nobody knows which one told of what.
pub fn of_earlier_version(
    archive: &Archive,
    facts: &Facts,
    job: &Job,
    to: Option<BatchId>,
) -> Result<Option<BatchId>, DriverError> {
    let mut named: BTreeMap<&JobTextHash, BTreeSet<PathBuf>> = BTreeMap::new();
    for (&batch, row) in facts.batches.iter().rev().filter(|(batch, _)| to.is_none_or(|to| **batch > to)) {
        let (Some(plan), Some(commit)) = (&row.plan, &row.commit) else { continue };
        let files_told = commit.sinks.keys().filter_map(|name| dead_letters::file_of(name));
        let mut told = files_told.filter(|file| file.is_absolute()).peekable();
        if told.peek().is_none() {
            continue;
        }
        if !named.contains_key(&plan.job_text) {
            named.insert(&plan.job_text, files(&job_of(archive, &plan.job_text, job)?));
        }
        if told.any(|file| !named[&plan.job_text].contains(file)) {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

/// The files of dead letters of a job, as it names them.
fn files(job: &Job) -> BTreeSet<PathBuf> {
    let files = dead_letters::destinations(job).into_iter().filter_map(|to| match to {
        OnError::DeadLetterFile(path) => Some(job.as_named(&path)),
        _ => None,
    });
    files.collect()
}

//! One file has one writer, and nobody writes what the job reads.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    mistake::{Mistake, Span},
    operator::{LogSpec, Operator},
    reader::Reader,
    step::{ReadStep, title},
};

/// A file or directory that is written, and by whom.
struct Written {
    place: PathBuf,
    span: Span,
    by: String,
}

/// Compares the files and directories of all outputs, of dead letters and of inputs.
pub fn report_shared(reader: &mut Reader<'_>, read: &[ReadStep]) {
    let mut taken: HashMap<PathBuf, String> = HashMap::new();
    let mut written = Vec::new();
    for step in read {
        let Some((path, span)) = step.operator.as_ref().and_then(|operator| operator.output.as_ref()) else { continue };
        let place = reader.place(path);
        if let Some(earlier) = taken.get(&place) {
            let message = format!("{earlier} writes to the same place");
            reader.report(Mistake::at(span, message).label("two outputs cannot share it"));
        } else if let Some(reads) = read_by(reader, &place) {
            reader.report(Mistake::at(span, "an output cannot go into a file of the job itself").label(reads));
        } else {
            written.push(Written { place: place.clone(), span: span.clone(), by: title(step) });
            taken.insert(place, title(step));
        }
    }
    for (path, span) in std::mem::take(&mut reader.letters) {
        let place = reader.place(&path);
        if let Some(output) = taken.get(&place) {
            let mistake = Mistake::at(&span, "dead letters cannot go into the file of an output");
            reader.report(mistake.label(format!("{output} writes to it")));
        } else if let Some(reads) = read_by(reader, &place) {
            reader.report(Mistake::at(&span, "dead letters cannot go into a file of the job itself").label(reads));
        } else {
            written.push(Written { place, span, by: "dead letters".to_owned() });
        }
    }
    // A job that has run is taken as it is.
    if !reader.files.recorded {
        report_in_the_way(reader, read, &written);
    }
}

/// A log that rotates takes `LOG.1`, `LOG.2` and so on.
fn report_in_the_way(reader: &mut Reader<'_>, read: &[ReadStep], written: &[Written]) {
    for step in read {
        let Some(Operator::Pprint { to: Some(LogSpec { path, rotate_bytes: Some(_), .. }), .. }) =
            step.operator.as_ref().map(|operator| &operator.operator)
        else {
            continue;
        };
        let log = reader.place(path);
        for other in written.iter().filter(|other| is_rotation(&other.place, &log)) {
            let mistake = Mistake::at(&other.span, format!("the log of {} rotates into this file", title(step)));
            let mistake = mistake.label(format!("{} cannot be `{}.` and a number", other.by, path.display()));
            reader.report(mistake.hint("give one of them another name".to_owned()));
        }
        let inputs: Vec<_> = reader.inputs.iter().map(|(input, reads)| (reader.place(input), reads.clone())).collect();
        let span = written.iter().find(|other| other.place == log).map(|log| log.span.clone());
        if let (Some(span), Some((_, reads))) = (span, inputs.iter().find(|(input, _)| is_rotation(input, &log))) {
            let mistake = Mistake::at(&span, "a log cannot rotate into a file of the job itself");
            reader.report(mistake.label(reads.clone()));
        }
    }
}

fn is_rotation(place: &Path, log: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(log_name)) = (name(place), name(log)) else { return false };
    let number = name.strip_prefix(&log_name).and_then(|rest| rest.strip_prefix('.'));
    place.parent() == log.parent()
        && number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn read_by(reader: &Reader<'_>, place: &PathBuf) -> Option<String> {
    reader.inputs.iter().find(|(input, _)| reader.place(input) == *place).map(|(_, reads)| reads.clone())
}

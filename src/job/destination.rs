//! One file has one writer, and nobody writes what the job reads. Names that are links, hard ones too, are of one file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use super::{
    input_file::Spot,
    mistake::{Mistake, Span},
    operator::{Delivery, LogSpec, Operator},
    reader::Reader,
    setting::Setting,
    written::{Defaults, ReadStep, title},
};

/// A file or directory that is written, and by whom.
struct Written {
    place: PathBuf,
    spot: Spot,
    span: Span,
    by: String,
}

/// Compares the files and directories of all outputs, of dead letters and of inputs.
pub fn report_shared(reader: &mut Reader<'_>, read: &[ReadStep]) {
    let mut taken: HashMap<Spot, String> = HashMap::new();
    let mut written = Vec::new();
    for step in read {
        let Some((path, span)) = step.operator.as_ref().and_then(|operator| operator.output.as_ref()) else { continue };
        let place = reader.place(path);
        let spot = reader.spot(&place);
        if let Some(earlier) = taken.get(&spot) {
            let message = format!("{earlier} writes to the same place");
            reader.report(Mistake::at(span, message).label("two outputs cannot share it"));
        } else if let Some(reads) = own(reader, &place, &spot) {
            reader.report(Mistake::at(span, "an output cannot go into a file of the job itself").label(reads));
        } else {
            written.push(Written { place, spot: spot.clone(), span: span.clone(), by: title(step) });
            taken.insert(spot, title(step));
        }
    }
    for (path, span) in std::mem::take(&mut reader.letters) {
        let place = reader.place(&path);
        let spot = reader.spot(&place);
        if let Some(output) = taken.get(&spot) {
            let mistake = Mistake::at(&span, "dead letters cannot go into the file of an output");
            reader.report(mistake.label(format!("{output} writes to it")));
        } else if let Some(reads) = own(reader, &place, &spot) {
            reader.report(Mistake::at(&span, "dead letters cannot go into a file of the job itself").label(reads));
        } else {
            written.push(Written { place, spot, span, by: "dead letters".to_owned() });
        }
    }
    // A job that has run is taken as it is.
    if !reader.files.recorded {
        report_in_the_way(reader, read, &written);
    }
}

/// A batch is one transaction on one cluster, so one producer: outputs that name the same brokers differ in no property.
pub fn report_two_connections(reader: &mut Reader<'_>, read: &[ReadStep], defaults: &Defaults) {
    // A job that has run is taken as it is.
    if reader.files.recorded {
        return;
    }
    let mut known: Vec<(&str, BTreeMap<String, Setting>, String)> = Vec::new();
    for step in read {
        let Some(Operator::ToKafka(spec)) = step.operator.as_ref().map(|operator| &operator.operator) else { continue };
        let Some(brokers) = spec.brokers.as_ref().or(defaults.brokers.as_ref()) else { continue };
        if spec.delivery != Delivery::ExactlyOnce {
            continue;
        }
        let mut properties = if spec.brokers.is_none() { defaults.properties.clone() } else { BTreeMap::new() };
        properties.extend(spec.properties.clone());
        let Some((_, others, earlier)) = known.iter().find(|(other, ..)| *other == brokers.as_str()) else {
            known.push((brokers, properties, title(step)));
            continue;
        };
        if *others != properties {
            let names: BTreeSet<&str> = others.keys().chain(properties.keys()).map(String::as_str).collect();
            let other = names.into_iter().filter(|name| others.get(*name) != properties.get(*name));
            let message = format!("{earlier} writes to the same brokers with other properties");
            let mistake = Mistake::at(&step.key_span, message);
            let label = format!("they differ in {}", other.collect::<Vec<_>>().join(", "));
            let hint = "a batch is one transaction: give exactly-once outputs of one cluster the same `properties`";
            reader.report(mistake.label(label).hint(hint.to_owned()));
        }
    }
}

/// The directory of a checkpoint cannot be a file that the job reads. Whatever else is in its place the run says.
pub fn report_no_directory(reader: &mut Reader<'_>, span: &Span, dir: &Path) {
    let place = reader.place(dir);
    if reader.files.recorded || place.is_dir() {
        return;
    }
    if let Some(reads) = read_by(reader, &reader.spot(&place)) {
        reader.report(Mistake::at(span, "a checkpoint cannot go here: this is no directory").label(reads));
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
        let rotated = rotated(reader, &log);
        let clashes = |place: &Path, spot: &Spot| is_rotation(place, &log) || rotated.contains(spot);
        for other in written.iter().filter(|other| other.place != log && clashes(&other.place, &other.spot)) {
            let mistake = match is_rotation(&other.place, &log) {
                true => Mistake::at(&other.span, format!("the log of {} rotates into this file", title(step)))
                    .label(format!("{} cannot be `{}.` and a number", other.by, path.display())),
                false => Mistake::at(&other.span, format!("the log of {} has rotated into this file", title(step)))
                    .label(format!("a link to one of `{}.` and a number", path.display())),
            };
            reader.report(mistake.hint("give one of them another name".to_owned()));
        }
        let read = reader.inputs.iter().find(|(input, _)| {
            let place = reader.place(input);
            clashes(&place, &reader.spot(&place))
        });
        let reads = read.map(|(_, reads)| reads.clone());
        let span = written.iter().find(|other| other.place == log).map(|log| log.span.clone());
        if let (Some(span), Some(reads)) = (span, reads) {
            let mistake = Mistake::at(&span, "a log cannot rotate into a file of the job itself");
            reader.report(mistake.label(reads));
        }
    }
}

/// The files that `log` has rotated into so far.
fn rotated(reader: &Reader<'_>, log: &Path) -> Vec<Spot> {
    let entries = log.parent().and_then(|dir| dir.read_dir().ok()).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_rotation(path, log));
    paths.map(|path| reader.spot(&path)).collect()
}

/// Whether `place` is what a log of that name leaves when it rotates: its name, a point and a number.
pub fn is_rotation(place: &Path, log: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(log_name)) = (name(place), name(log)) else { return false };
    let number = name.strip_prefix(&log_name).and_then(|rest| rest.strip_prefix('.'));
    place.parent() == log.parent()
        && number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a file is to the job, that no output may go into.
fn own(reader: &Reader<'_>, place: &Path, spot: &Spot) -> Option<String> {
    let name = place.file_name().map(|name| name.to_string_lossy());
    let is_kept = name.is_some_and(|name| name.starts_with("checkpoint.") || name == "lock" || name == "holder.json");
    let checkpoint = reader.checkpoint.as_ref().filter(|_| is_kept && !reader.files.recorded);
    let in_checkpoint = checkpoint.is_some_and(|dir| place.parent() == Some(&*reader.place(dir)));
    if in_checkpoint { Some("the checkpoint keeps its own files there".to_owned()) } else { read_by(reader, spot) }
}

fn read_by(reader: &Reader<'_>, spot: &Spot) -> Option<String> {
    let is_it = |input: &Path| reader.spot(&reader.place(input)) == *spot;
    reader.inputs.iter().find(|(input, _)| is_it(input)).map(|(_, reads)| reads.clone())
}

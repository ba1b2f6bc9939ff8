//! One file has one writer, and nobody writes what the job reads.

use std::{collections::HashMap, path::PathBuf};

use super::{
    mistake::Mistake,
    reader::Reader,
    step::{ReadStep, title},
};

/// Compares the files and directories of all outputs, of dead letters and of inputs.
pub fn report_shared(reader: &mut Reader<'_>, read: &[ReadStep]) {
    let mut taken: HashMap<PathBuf, String> = HashMap::new();
    for step in read {
        let Some((path, span)) = step.operator.as_ref().and_then(|operator| operator.output.as_ref()) else { continue };
        let place = reader.place(path);
        if let Some(earlier) = taken.get(&place) {
            let message = format!("{earlier} writes to the same place");
            reader.report(Mistake::at(span, message).label("two outputs cannot share it"));
        } else if let Some(reads) = read_by(reader, &place) {
            reader.report(Mistake::at(span, "an output cannot go into a file of the job itself").label(reads));
        } else {
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
        }
    }
}

fn read_by(reader: &Reader<'_>, place: &PathBuf) -> Option<String> {
    reader.inputs.iter().find(|(input, _)| reader.place(input) == *place).map(|(_, reads)| reads.clone())
}

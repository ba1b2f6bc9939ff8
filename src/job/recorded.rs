//! What a job text holds besides what a job file holds: versions and what files held.

use std::path::PathBuf;

use crate::model::{encode::VALUE_ENCODING, key::PARTITIONING_HASH};

use super::{
    content::Content,
    fields::Fields,
    mistake::Mistake,
    reader::{Reader, start_of_file},
    spec::Job,
    tree::Node,
    whereabouts::Ran,
};

/// What a job text says besides what a job file says.
pub struct Recorded<'j> {
    pub connection: &'j Job,
}

impl Recorded<'_> {
    /// Refuses a text whose results this version could not repeat, and takes what it knows of files.
    pub fn check(&self, reader: &mut Reader<'_>, node: Option<&Node>) {
        reader.files.recorded = true;
        reader.directory.clone_from(&self.connection.directory);
        let Some(table) = node.and_then(|node| reader.table(node)) else {
            reader.report(Mistake::at(&start_of_file(), "this is no job text: it lacks `[kstream]`"));
            return;
        };
        let mut fields = Fields::new(&table);
        for (key, ours) in [("value_encoding", VALUE_ENCODING), ("partitioning_hash", PARTITIONING_HASH)] {
            let theirs = fields.require(key, ours).and_then(|node| Some((reader.text(node)?, node)));
            if let Some((theirs, node)) = theirs
                && theirs != ours
            {
                let message = format!("`{key}` is {theirs}, this version of kstream knows {ours}");
                reader.report(Mistake::at(&node.span, message));
            }
        }
        let directory = fields.get("directory").and_then(|node| reader.text(node));
        let relative = fields.get("relative").and_then(|node| reader.list(node));
        if let (Some(directory), Some(relative)) = (directory, relative) {
            let relative = relative.iter().filter_map(|node| reader.text(node)).collect();
            reader.ran = Ran::new(directory.into(), relative, &reader.directory);
        }
        reader.ran.checkpoint = fields.get("checkpoint").and_then(|node| reader.text(node)).map(PathBuf::from);
        let files = fields.get("files").and_then(|node| reader.table(node));
        for entry in files.iter().flat_map(|files| &files.entries) {
            let Some(text) = reader.text(&entry.node) else { continue };
            match Content::parse(&text) {
                Some(content) => {
                    let path = reader.absolute(&reader.ran.read(entry.key.clone().into()));
                    reader.files.contents.insert(path, content);
                }
                None => reader.report(Mistake::at(&entry.node.span, "expected HASH/BYTES of a file")),
            }
        }
        fields.finish(reader);
    }
}

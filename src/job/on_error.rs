//! The keys `on_error` and `dead_letter`, which a job, a source and a step may all have.

use std::path::{Path, PathBuf};

use super::{
    fields::Fields,
    mistake::{Mistake, Span},
    reader::{LetterTopic, Reader},
    setting::OnError,
    topics::topic_name,
    tree::{Node, Table, Tree},
};

#[derive(Clone, Copy)]
enum Choice {
    Fail,
    Skip,
    DeadLetter,
}

/// What a job says: how its errors are handled, and where the dead letters of its sources and steps go.
pub struct JobErrors {
    pub on_error: Option<OnError>,
    pub dead_letter: Option<OnError>,
}

/// Reads the keys of the job itself. Its dead letters may be there for single steps only.
pub fn job_errors(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> JobErrors {
    let keys = keys(reader, fields);
    let on_error = match keys.choice {
        Some(Choice::DeadLetter) => chosen_letter(reader, &keys, None),
        choice => choice.and_then(plain),
    };
    JobErrors { on_error, dead_letter: keys.letter }
}

/// Reads the keys of a source or step. `inherited` is where the dead letters of the job go.
pub fn on_error(reader: &mut Reader<'_>, fields: &mut Fields<'_>, inherited: Option<&OnError>) -> Option<OnError> {
    let keys = keys(reader, fields);
    if let Some(Choice::DeadLetter) = keys.choice {
        return chosen_letter(reader, &keys, inherited);
    }
    if let Some(unused) = keys.letter_node
        && (keys.choice.is_some() || keys.choice_node.is_none())
    {
        let mistake = Mistake::at(&unused.span, "`dead_letter` is not used here");
        reader.report(mistake.hint("add `on_error = \"dead_letter\"`".to_owned()));
    }
    keys.choice.and_then(plain)
}

struct Keys<'t> {
    choice_node: Option<&'t Node>,
    choice: Option<Choice>,
    letter_node: Option<&'t Node>,
    letter: Option<OnError>,
}

fn keys<'t>(reader: &mut Reader<'_>, fields: &mut Fields<'t>) -> Keys<'t> {
    let choices = [("fail", Choice::Fail), ("skip", Choice::Skip), ("dead_letter", Choice::DeadLetter)];
    let choice_node = fields.get("on_error");
    let choice = choice_node.and_then(|node| reader.choice(node, &choices));
    let letter_node = fields.get("dead_letter");
    let letter_table = letter_node.and_then(|node| match &node.tree {
        Tree::Text(place) => {
            let hint = format!("write `dead_letter = {{ file = \"{place}\" }}`, or `{{ topic = \"...\" }}`");
            reader.wrong_type_with(node, "a table", Some(hint))
        }
        _ => reader.table(node),
    });
    let letter = letter_table.and_then(|table| dead_letter(reader, &table));
    Keys { choice_node, choice, letter_node, letter }
}

fn plain(choice: Choice) -> Option<OnError> {
    match choice {
        Choice::Fail => Some(OnError::Fail),
        Choice::Skip => Some(OnError::Skip),
        Choice::DeadLetter => None,
    }
}

fn chosen_letter(reader: &mut Reader<'_>, keys: &Keys<'_>, inherited: Option<&OnError>) -> Option<OnError> {
    if let (None, None, Some(node)) = (keys.letter_node, inherited, keys.choice_node) {
        let mistake = Mistake::at(&node.span, "dead letters need a place to go");
        reader.report_absence(mistake.hint("add `dead_letter = { file = \"PATH\" }`".to_owned()));
    }
    match keys.letter_node {
        Some(_) => keys.letter.clone(),
        None => inherited.cloned(),
    }
}

fn dead_letter(reader: &mut Reader<'_>, table: &Table) -> Option<OnError> {
    let mut fields = Fields::new(table);
    let file = fields.get("file");
    let topic = fields.get("topic");
    let brokers = fields.get("brokers");
    let on_error = match (file, topic) {
        (Some(file), None) => {
            if let Some(brokers) = brokers {
                reader.report(Mistake::at(&brokers.span, "a file has no brokers"));
            }
            reader.path(file).map(|path| OnError::DeadLetterFile(letter_file(reader, path, &file.span)))
        }
        (None, Some(topic)) => {
            let span = topic.span.clone();
            let topic = topic_name(reader, topic);
            let brokers = brokers.map_or(Some(None), |node| super::topics::brokers(reader, node).map(Some));
            let (topic, brokers) = (topic?, brokers?);
            reader.letter_topics.push(LetterTopic { topic: topic.clone(), brokers: brokers.clone(), span });
            Some(OnError::DeadLetterTopic { topic, brokers })
        }
        (Some(_), Some(topic)) => {
            reader.report(Mistake::at(&topic.span, "dead letters go to a `file` or to a `topic`, not to both"));
            None
        }
        (None, None) => {
            fields.lacks(["file", "topic"], Mistake::at(&table.span, "missing key `file` or `topic`"));
            None
        }
    };
    fields.finish(reader);
    on_error
}

/// One file is one output, however often and in whatever spelling the job names it: by the first.
fn letter_file(reader: &mut Reader<'_>, path: PathBuf, span: &Span) -> PathBuf {
    let spot = |path: &Path| reader.spot(&reader.place(path));
    let earlier = reader.letters.iter().find(|(other, _)| spot(other) == spot(&path));
    let path = earlier.map_or(path, |(earlier, _)| earlier.clone());
    reader.letters.push((path.clone(), span.clone()));
    path
}

//! The keys `on_error` and `dead_letter`, which a job, a source and a step may all have.

use super::{
    mistake::Mistake,
    reader::{Fields, Reader},
    spec::OnError,
    tree::Table,
};

#[derive(Clone, Copy)]
enum Choice {
    Fail,
    Skip,
    DeadLetter,
}

/// `inherited` is the dead letter of the job, for sources and steps that name none.
pub fn on_error(reader: &mut Reader<'_>, fields: &mut Fields<'_>, inherited: Option<&OnError>) -> Option<OnError> {
    let choices = [("fail", Choice::Fail), ("skip", Choice::Skip), ("dead_letter", Choice::DeadLetter)];
    let node = fields.get("on_error");
    let choice = node.and_then(|node| reader.choice(node, &choices));
    let letter_node = fields.get("dead_letter");
    let letter = letter_node.and_then(|node| reader.table(node)).and_then(|mut table| {
        table.span = letter_node.map_or(table.span.clone(), |node| node.span.clone());
        dead_letter(reader, &table)
    });
    match (choice, letter_node) {
        (Some(Choice::DeadLetter), Some(_)) => letter,
        (Some(Choice::DeadLetter), None) => {
            let inherited = inherited.filter(|on_error| !matches!(on_error, OnError::Fail | OnError::Skip));
            if inherited.is_none()
                && let Some(node) = node
            {
                let mistake = Mistake::at(&node.span, "dead letters need a place to go");
                reader.report_absence(mistake.hint("add `dead_letter = { file = \"PATH\" }`".to_owned()));
            }
            inherited.cloned()
        }
        (choice, Some(unused)) => {
            if node.is_none() || choice.is_some() {
                let mistake = Mistake::at(&unused.span, "`dead_letter` is not used here");
                reader.report(mistake.hint("add `on_error = \"dead_letter\"`".to_owned()));
            }
            None
        }
        (Some(Choice::Fail), None) => Some(OnError::Fail),
        (Some(Choice::Skip), None) => Some(OnError::Skip),
        (None, None) => None,
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
            reader.path(file).map(OnError::DeadLetterFile)
        }
        (None, Some(topic)) => {
            let brokers = brokers.and_then(|brokers| reader.nonempty(brokers));
            super::source::topic_name(reader, topic).map(|topic| OnError::DeadLetterTopic { topic, brokers })
        }
        (Some(_), Some(topic)) => {
            reader.report(Mistake::at(&topic.span, "dead letters go to a `file` or to a `topic`, not to both"));
            None
        }
        (None, None) => {
            reader.report_absence(Mistake::at(&table.span, "missing key `file` or `topic`"));
            None
        }
    };
    fields.finish(reader);
    on_error
}

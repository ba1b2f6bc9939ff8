//! Where a source begins: `earliest`, `latest`, a time, "-10m", or offsets per partition.

use jiff::tz::TimeZone;

use crate::model::TopicPartition;

use super::{
    mistake::Mistake,
    quantity::{Unfit, duration_ms, time_ms},
    reader::Reader,
    spec::{Begin, Start},
    suggest::did_you_mean,
    tree::{Node, Table, Tree},
};

const FORMS: &str = "write earliest, latest, a time like 2026-11-20T10:00:00Z, or -10m";

/// `earliest`, `latest`, `-10m`, a time (without offset: in `zone`), or `topic:partition:offset,...`, as on the command
/// line.
pub fn parse_start(text: &str, zone: &TimeZone) -> Result<Begin, Unfit> {
    let text = text.trim();
    match text {
        "earliest" => return Ok(Begin::At(Start::Earliest)),
        "latest" => return Ok(Begin::At(Start::Latest)),
        _ => {}
    }
    if let Some(ago) = text.strip_prefix('-') {
        return duration_ms(ago).map(|ms| Begin::Ago { ms });
    }
    if let Some(ms) = time_ms(text, zone) {
        return Ok(Begin::At(Start::Time(ms)));
    }
    if let Some(offsets) = offsets(text) {
        return Ok(Begin::At(Start::Offsets(offsets)));
    }
    let hint = did_you_mean(text, ["earliest", "latest"].into_iter()).or_else(|| {
        let other = match text.to_lowercase().as_str() {
            "smallest" | "beginning" | "begin" | "start" | "first" | "oldest" => "earliest",
            "largest" | "end" | "newest" | "last" | "now" | "current" => "latest",
            _ => return None,
        };
        Some(format!("did you mean `{other}`?"))
    });
    Err(Unfit { message: format!("`{text}` is no place to start"), hint: hint.or_else(|| Some(FORMS.to_owned())) })
}

fn offsets(text: &str) -> Option<Vec<(TopicPartition, i64)>> {
    let one = |part: &str| {
        let mut fields = part.trim().rsplitn(3, ':');
        let offset = fields.next()?.parse().ok().filter(|offset| *offset >= 0)?;
        let partition = fields.next()?.parse().ok().filter(|partition| *partition >= 0)?;
        let topic = fields.next().filter(|topic| !topic.is_empty())?;
        Some((TopicPartition::new(topic, partition), offset))
    };
    text.split(',').map(one).collect()
}

/// Reads the key `start`.
pub fn start(reader: &mut Reader<'_>, node: &Node) -> Option<Begin> {
    let node = reader.any(node)?;
    match &node.tree {
        Tree::Table(table) => Some(Begin::At(Start::Offsets(offset_table(reader, table)))),
        Tree::Time(text) => {
            let zone = reader.time_zone.clone();
            let unfit = || Unfit { message: format!("`{text}` is no date and time"), hint: Some(FORMS.to_owned()) };
            let time = time_ms(text, &zone).ok_or_else(unfit);
            reader.parsed(&node, time).map(|ms| Begin::At(Start::Time(ms)))
        }
        Tree::Text(_) => {
            let text = reader.text(&node)?;
            let zone = reader.time_zone.clone();
            reader.parsed(&node, parse_start(&text, &zone))
        }
        other => {
            let hint = match other {
                Tree::Integer(offset) => {
                    format!("an offset is one of a partition: `start = {{ TOPIC = {{ \"0\" = {offset} }} }}`")
                }
                _ => FORMS.to_owned(),
            };
            let mistake = Mistake::at(&node.span, format!("expected a place to start, found {}", other.describe()));
            reader.report(mistake.hint(hint));
            None
        }
    }
}

/// `{ topic = { "0" = 1500 } }`, without what is reported.
fn offset_table(reader: &mut Reader<'_>, table: &Table) -> Vec<(TopicPartition, i64)> {
    let mut offsets = Vec::new();
    for topic in &table.entries {
        let Some(partitions) = reader.table(&topic.node) else { continue };
        for entry in &partitions.entries {
            let Ok(partition) = entry.key.parse::<u16>() else {
                let message = format!("`{}` is no partition number", entry.key);
                reader.report(Mistake::at(&entry.key_span, message));
                continue;
            };
            let offset = reader.count(&entry.node).and_then(|offset| i64::try_from(offset).ok());
            let tp = TopicPartition::new(topic.key.as_str(), i32::from(partition));
            offsets.extend(offset.map(|offset| (tp, offset)));
        }
        if partitions.entries.is_empty() {
            reader.report(Mistake::at(&topic.node.span, "no partition is named here"));
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Begin>) {
        assert_eq!(parse_start(text, &TimeZone::UTC).ok(), expected, "{text}");
    }

    #[test]
    fn every_form_of_a_start_is_read() {
        check("earliest", Some(Begin::At(Start::Earliest)));
        check("latest", Some(Begin::At(Start::Latest)));
        check("-10m", Some(Begin::Ago { ms: 600_000 }));
        check("1970-01-01T00:00:01Z", Some(Begin::At(Start::Time(1000))));
        check("1970-01-01T00:00:01", Some(Begin::At(Start::Time(1000))));
        let offsets = vec![(TopicPartition::new("a", 0), 5), (TopicPartition::new("b:c", 1), 6)];
        check("a:0:5,b:c:1:6", Some(Begin::At(Start::Offsets(offsets))));
        for text in ["", "earlist", "-", "-10", "a:0", "a:0:-1", "a:x:1"] {
            check(text, None);
        }
        assert_eq!(Begin::Ago { ms: 500 }.resolve(2000), Start::Time(1500));
    }
}

//! What a history leaves on its disk, as deliveries.

use std::{collections::BTreeMap, panic::catch_unwind};

use super::{
    super::support::{Block, blocks},
    history::World,
    oracle::{INTERVAL_MS, Row},
    sink::Delivery,
};

/// The blocks of the log; none where it is torn.
pub fn log_blocks(world: &World) -> Option<Vec<Block>> {
    let text = world.platter.file(&world.dir.join("out.log"));
    // A tear within the elements leaves what looks like a block but for its end.
    let is_whole = text.is_empty() || text.ends_with("\n\n");
    is_whole.then(|| catch_unwind(|| blocks(&text)).ok())?
}

/// The blocks of the first `batches` batches; none where one of them is torn.
pub fn log_of(world: &World, batches: usize) -> Option<Vec<Block>> {
    let mut text = world.platter.file(&world.dir.join("out.log"));
    let head = format!("{}\nTime: ", "-".repeat(43));
    let tail = text.match_indices(&head).nth(batches).map(|(at, _)| at).or_else(|| text.find('\0'));
    text.truncate(tail.unwrap_or(text.len()));
    text.truncate(text.rfind("\n\n").map_or(0, |at| at + 2));
    catch_unwind(|| blocks(&text)).ok()
}

/// The log as deliveries: its blocks are batches 0, 1, 2 and so on.
pub fn logged(blocks: Vec<Block>) -> Vec<Delivery> {
    let delivery = |(batch, block): (u64, Block)| Delivery {
        output: "log".to_owned(),
        batch,
        time_ms: time_ms(&block.time),
        lines: block.lines,
        torn: false,
    };
    (0..).zip(blocks).map(delivery).collect()
}

fn time_ms(text: &str) -> i64 {
    let civil: jiff::civil::DateTime = text.parse().expect("a time");
    civil.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_millisecond()
}

/// The directories as deliveries: their names are batch times.
pub fn saved(world: &World, ledger: &BTreeMap<u64, Row>) -> Vec<Delivery> {
    let files = world.platter.files();
    let mut lines: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (path, text) in &files {
        let Ok(below) = path.strip_prefix(world.dir.join("saved")) else { continue };
        let below = below.display().to_string();
        // Names with a dot are hidden: what is not published yet.
        let Some((time, part)) = below.strip_prefix("x-").and_then(|name| name.split_once('/')) else { continue };
        let lines = lines.entry(time.parse().expect("a time")).or_default();
        if part.starts_with("part-") {
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    let delivery = |(time_ms, lines)| Delivery {
        output: "files".to_owned(),
        batch: ledger.iter().find(|(_, row)| row.plan.time.0 == time_ms).map_or(u64::MAX, |(batch, _)| *batch),
        time_ms,
        lines,
        torn: false,
    };
    assert_eq!(INTERVAL_MS, 1000);
    lines.into_iter().map(delivery).collect()
}

//! The block that PySpark's `pprint` prints for a batch, byte for byte.

use jiff::{Timestamp, tz::TimeZone};

use crate::model::{BatchTime, Value, text};

/// 43 hyphens.
const RULE: &str = "-------------------------------------------";

/// ```text
/// -------------------------------------------
/// Time: 2026-11-20 23:02:39
/// -------------------------------------------
/// ('hello', 1)
/// ...
///
/// ```
/// The time is the batch time in `zone`, with microseconds only off whole seconds; `...` follows where there were more
/// elements than shown.
pub fn block(time: BatchTime, zone: &TimeZone, elements: &[Value], more: bool) -> String {
    let mut out = format!("{RULE}\nTime: {}\n{RULE}\n", time_text(time, zone));
    for element in elements {
        text::put_str(&mut out, element);
        out.push('\n');
    }
    if more {
        out.push_str("...\n");
    }
    out.push('\n');
    out
}

/// The text of Python's `datetime.fromtimestamp`.
fn time_text(time: BatchTime, zone: &TimeZone) -> String {
    let Ok(instant) = Timestamp::from_millisecond(time.0) else { return format!("{} ms", time.0) };
    let local = zone.to_datetime(instant);
    let seconds = local.strftime("%Y-%m-%d %H:%M:%S");
    match local.subsec_nanosecond() / 1000 {
        0 => seconds.to_string(),
        micros => format!("{seconds}.{micros:06}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time_ms: i64, elements: &[&str], more: bool, expected: &str) {
        let elements: Vec<Value> = elements.iter().map(Value::str).collect();
        assert_eq!(block(BatchTime(time_ms), &TimeZone::UTC, &elements, more), expected.replace("RULE", RULE));
    }

    #[test]
    fn blocks_are_those_that_pyspark_printed() {
        check(1_795_215_759_000, &["1", "2", "3"], false, "RULE\nTime: 2026-11-20 23:02:39\nRULE\n1\n2\n3\n\n");
        check(1_795_215_759_000, &["1", "2"], true, "RULE\nTime: 2026-11-20 23:02:39\nRULE\n1\n2\n...\n\n");
        check(1_795_215_764_000, &[], false, "RULE\nTime: 2026-11-20 23:02:44\nRULE\n\n");
        check(1_795_215_851_500, &["3"], false, "RULE\nTime: 2026-11-20 23:04:11.500000\nRULE\n3\n\n");
        assert_eq!(RULE.len(), 43);
    }

    #[test]
    fn times_are_local_to_the_zone() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        assert_eq!(time_text(BatchTime(1_544_462_481_000), &zone), "2018-12-11 01:21:21");
        assert_eq!(time_text(BatchTime(1), &zone), "1970-01-01 08:00:00.001000");
    }
}

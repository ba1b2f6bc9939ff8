//! `kstream batches`

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use clap::{Args, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{Failure, Session, args, failure, job_file};
use crate::{
    checkpoint::{Archive, LedgerRow},
    driver::{failed::checkpoint_failed, options::JobRef},
    model::{BatchId, OffsetRange},
    protocol::OutputRecord,
    telemetry::progress::VerbDurations,
};

/// Print the ledger: what each stored batch read, how long it took, and what it delivered.
///
/// Also while the job runs.
#[derive(Debug, Args)]
pub struct BatchesArgs {
    #[command(flatten)]
    job: args::JobArgs,
    /// How it is printed: for people, or one JSON object a line.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Json,
}

/// One batch of the ledger, as it is printed. The JSON form is this struct.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchRow {
    pub id: BatchId,
    /// Milliseconds since the epoch.
    pub time: i64,
    pub status: Status,
    /// Records read; none before the commit.
    pub records: Option<u64>,
    pub ranges: Vec<OffsetRange>,
    /// Offsets lost and skipped, as `topic/partition start..until (reason)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Elements dropped by `on_error`, by step.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub poison: BTreeMap<String, u64>,
    pub durations_ms: Option<VerbDurations>,
    /// Outputs and the digests of what they delivered, in the order of the job.
    pub outputs: Vec<OutputDigest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Planned,
    Committed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputDigest {
    pub output: String,
    pub count: u64,
    /// In hex.
    pub digest: String,
}

pub fn run(args: BatchesArgs, _session: &Session) -> Result<(), Failure> {
    let (rows, zone) = call(&args.job.into())?;
    failure::printed(print(&rows, args.output, &zone, &mut io::stdout().lock()))
}

/// The rows to print, oldest first, and the job's time zone.
fn call(job: &JobRef) -> Result<(Vec<BatchRow>, TimeZone), Failure> {
    let job = job_file::load_offline(job)?;
    let failed = |error| Failure::from(checkpoint_failed(&error));
    let archive = Archive::open(&job.absolute(&job.checkpoint_dir)).map_err(failed)?;
    let ledger = archive.ledger(BatchId::FIRST..=BatchId(u64::MAX)).map_err(failed)?;
    Ok((ledger.into_iter().map(row).collect(), job.time_zone))
}

fn row(row: LedgerRow) -> BatchRow {
    let verb = |name: &str| {
        let us = row.commit.as_ref().and_then(|commit| commit.durations_us.get(name).copied());
        us.unwrap_or_default() as f64 / 1000.0
    };
    let durations_ms = row.commit.as_ref().map(|_| VerbDurations {
        available: verb("available"),
        plan: verb("plan"),
        log_planned: verb("log_planned"),
        execute: verb("execute"),
        stage: verb("stage"),
        publish: verb("publish"),
        log_committed: 0.0,
        purge: 0.0,
    });
    BatchRow {
        id: row.plan.batch,
        time: row.plan.time.0,
        status: if row.commit.is_some() { Status::Committed } else { Status::Planned },
        records: row.commit.as_ref().map(|commit| commit.records_read),
        lost: row.plan.lost.iter().map(ToString::to_string).collect(),
        ranges: row.plan.ranges,
        poison: row.commit.iter().flat_map(|commit| &commit.poison).map(|p| (p.step.clone(), p.count)).collect(),
        durations_ms,
        outputs: row.commit.map_or(Vec::new(), |commit| {
            let digest = |output: OutputRecord| OutputDigest {
                output: output.name,
                count: output.digest.count,
                digest: format!("{:032x}", output.digest.hash),
            };
            commit.outputs.into_iter().map(digest).collect()
        }),
    }
}

fn print(rows: &[BatchRow], format: OutputFormat, zone: &TimeZone, out: &mut dyn Write) -> io::Result<()> {
    match format {
        OutputFormat::Table => out.write_all(table(rows, zone).as_bytes()),
        OutputFormat::Json => rows.iter().try_for_each(|row| {
            let line = serde_json::to_string(row).map_err(io::Error::from)?;
            writeln!(out, "{line}")
        }),
    }
}

const HEADS: [&str; 7] = ["ID", "TIME", "STATUS", "RECORDS", "MS", "RANGES", "DIGESTS"];

/// Columns whose numbers are aligned at their ends.
const RIGHT: [bool; 7] = [true, false, false, true, true, false, false];

fn table(rows: &[BatchRow], zone: &TimeZone) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row, zone)).collect();
    let heads = HEADS.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(&cells);
    let width = |column: usize| all().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
    let widths: Vec<usize> = (0..HEADS.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for ((cell, &width), right) in row.iter().zip(&widths).zip(RIGHT) {
            let gap = if line.is_empty() { "" } else { "  " };
            // Writing to a string does not fail.
            let _ = match right {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &BatchRow, zone: &TimeZone) -> [String; 7] {
    let total = |d: &VerbDurations| {
        d.available + d.plan + d.log_planned + d.execute + d.stage + d.publish + d.log_committed + d.purge
    };
    let digests: Vec<String> = row
        .outputs
        .iter()
        .map(|output| format!("{}={}", output.output, output.digest.get(..8).unwrap_or(&output.digest)))
        .collect();
    let lost: String = row.lost.iter().map(|lost| format!(" LOST {lost}")).collect();
    [
        row.id.to_string(),
        time(row.time, zone),
        match row.status {
            Status::Planned => "planned".to_owned(),
            Status::Committed => "committed".to_owned(),
        },
        row.records.map(|records| records.to_string()).unwrap_or_default(),
        row.durations_ms.as_ref().map(|durations| format!("{:.1}", total(durations))).unwrap_or_default(),
        ranges(&row.ranges) + &lost,
        digests.join(" "),
    ]
}

fn time(ms: i64, zone: &TimeZone) -> String {
    let Ok(timestamp) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let format = if ms.rem_euclid(1000) == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    timestamp.to_zoned(zone.clone()).strftime(format).to_string()
}

/// Each topic once, then its partitions: `words 0:5..9 1:3..7`.
fn ranges(ranges: &[OffsetRange]) -> String {
    let mut words = Vec::new();
    let mut topic = None;
    for range in ranges {
        if topic != Some(&range.tp.topic) {
            words.push(range.tp.topic.to_string());
            topic = Some(&range.tp.topic);
        }
        words.push(format!("{}:{}..{}", range.tp.partition, range.start, range.until));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::TopicPartition;

    fn range(topic: &str, partition: i32, start: i64, until: i64) -> OffsetRange {
        OffsetRange {
            source: Arc::from("source"),
            tp: TopicPartition::new(topic, partition),
            start,
            until,
            topic_id: None,
            leader_epoch: None,
            start_epoch: None,
        }
    }

    fn rows() -> Vec<BatchRow> {
        vec![
            BatchRow {
                id: BatchId(9),
                time: 1_544_491_881_000,
                status: Status::Committed,
                records: Some(1234),
                ranges: vec![range("words", 0, 5, 9), range("words", 1, 3, 7), range("other", 0, 0, 0)],
                lost: vec!["words/0 2..5 (retention)".to_owned()],
                poison: BTreeMap::new(),
                durations_ms: Some(VerbDurations { execute: 12.0, publish: 0.25, ..VerbDurations::default() }),
                outputs: vec![OutputDigest {
                    output: "pprint#1".to_owned(),
                    count: 10,
                    digest: "0123456789abcdef".to_owned(),
                }],
            },
            BatchRow {
                id: BatchId(10),
                time: 1_544_491_881_500,
                status: Status::Planned,
                records: None,
                ranges: vec![],
                lost: vec![],
                poison: BTreeMap::new(),
                durations_ms: None,
                outputs: vec![],
            },
        ]
    }

    fn printed(rows: &[BatchRow], format: OutputFormat) -> String {
        let mut out = Vec::new();
        print(rows, format, &TimeZone::get("Asia/Shanghai").unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_a_line_for_each_batch() {
        let expected = "\
ID  TIME                     STATUS     RECORDS    MS  RANGES                                                       DIGESTS
 9  2018-12-11 09:31:21      committed     1234  12.2  words 0:5..9 1:3..7 other 0:0..0 LOST words/0 2..5 (retention)  pprint#1=01234567
10  2018-12-11 09:31:21.500  planned
";
        let squeezed = |text: &str| -> Vec<Vec<String>> {
            text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        let table = printed(&rows(), OutputFormat::Table);
        assert_eq!(squeezed(&table), squeezed(expected));
        let column = |line: &str, word: &str| line.find(word).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(column(lines[0], "STATUS"), column(lines[1], "committed"));
        assert_eq!(column(lines[0], "DIGESTS"), column(lines[1], "pprint#1"));
        assert_eq!(column(lines[0], "RECORDS") + "RECORDS".len(), column(lines[1], "1234") + 4);
    }

    #[test]
    fn an_empty_ledger_is_a_head() {
        assert_eq!(printed(&[], OutputFormat::Table), "ID  TIME  STATUS  RECORDS  MS  RANGES  DIGESTS\n");
        assert_eq!(printed(&[], OutputFormat::Json), "");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let text = printed(&rows(), OutputFormat::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["id"], 9);
        assert_eq!(lines[0]["status"], "committed");
        assert_eq!(lines[0]["ranges"][1]["until"], 7);
        assert_eq!(lines[0]["outputs"][0]["digest"], "0123456789abcdef");
        assert_eq!(lines[0]["durations_ms"]["execute"], 12.0);
        assert_eq!(lines[1]["records"], serde_json::Value::Null);
    }
}

//! One record a batch: the INFO line, and the JSON line of `--progress FILE`.
//!
//! The record's fields are a public contract: they are added to, never renamed. Rates are per second, times are
//! milliseconds, and all numbers are of this one batch unless the name says otherwise.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::model::{BatchId, BatchTime, OffsetRange, RunEpoch, Timeline};

/// Everything worth knowing of one committed batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchProgress {
    pub job: String,
    pub batch: BatchId,
    pub time: BatchTime,
    pub timeline: Timeline,
    pub run_epoch: RunEpoch,
    pub origin: Origin,
    /// As read: a replaced plan shows its last ranges.
    pub ranges: Vec<OffsetRange>,
    /// Offsets lost and skipped (`on_data_loss = "skip"`), as `topic/partition start..until (reason)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Records read over all sources.
    pub input_rows: u64,
    /// Records read for each second since the batch before started; 0 for the first batch of a process.
    pub input_rows_per_second: f64,
    /// Records read for each second of work on this batch.
    pub processed_rows_per_second: f64,
    pub durations_ms: VerbDurations,
    /// Offsets behind the batch, of each topic partition, when it was planned.
    pub lag: Vec<PartitionLag>,
    pub state: Vec<StateSize>,
    /// Elements dropped by `on_error`, by step. Steps without any are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub poison: BTreeMap<String, u64>,
    /// From the tick at which the batch was due to its start.
    pub scheduling_delay_ms: f64,
    /// From its start to its commit.
    pub processing_delay_ms: f64,
    /// Both together.
    pub total_delay_ms: f64,
    pub batch_interval_ms: i64,
    /// Ticks that passed since the batch before in this process; where batches took them, it falls behind.
    pub missed_ticks: u64,
    /// How far the batch time is ahead of the clock.
    pub clock_distance_ms: i64,
}

/// Why the batch ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Planned and committed by this process.
    Fresh,
    /// Planned by an earlier process and finished by this one.
    Recovered,
    /// A skipped batch time whose windows still held records.
    CaughtUp,
}

/// What ticks were missed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Batches that take too long.
    ByBatches,
    /// No process: nothing ran.
    ByDowntime,
    /// They passed while the next one was waited for: the clock was set ahead, or the process or the machine stood still.
    ByClock,
    /// Brokers that were away, of which the log tells already.
    ByOutage,
}

/// How long each verb of a batch's life took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct VerbDurations {
    pub available: f64,
    pub plan: f64,
    pub log_planned: f64,
    pub execute: f64,
    pub stage: f64,
    pub publish: f64,
    pub log_committed: f64,
    pub purge: f64,
}

/// How far a topic partition is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLag {
    pub source: String,
    pub topic: String,
    pub partition: i32,
    pub latest: i64,
    pub lag: u64,
}

/// What one stateful step keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSize {
    pub step: String,
    pub rows: u64,
    pub bytes: u64,
}

/// Milliseconds to the microsecond, so that records stay readable.
pub fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Rows for each second of `duration`, 0 where there was none; one decimal.
pub fn rows_per_second(rows: u64, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 { (rows as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

impl BatchProgress {
    /// Offsets behind the batch over all topic partitions.
    pub fn total_lag(&self) -> u64 {
        self.lag.iter().map(|partition| partition.lag).sum()
    }

    /// The one INFO line of the batch, always with the same fields; WARN about what it says only where it is news.
    pub fn log(&self, missed: Missed) {
        tracing::info!(
            batch = self.batch.0,
            time = self.time.0,
            rows = self.input_rows,
            rows_per_second = self.processed_rows_per_second,
            processing_ms = self.processing_delay_ms,
            delay_ms = self.total_delay_ms,
            lag = self.total_lag(),
            state_rows = self.state.iter().map(|state| state.rows).sum::<u64>(),
            poison = self.poison.values().sum::<u64>(),
            "batch committed"
        );
        if self.missed_ticks == 0 || self.origin != Origin::Fresh {
            return;
        }
        if missed == Missed::ByDowntime {
            tracing::info!(missed_ticks = self.missed_ticks, "one batch stands for the ticks at which nothing ran");
        }
        if missed == Missed::ByClock {
            tracing::warn!(
                batch = self.batch.0,
                missed_ticks = self.missed_ticks,
                "the clock went ahead, or this process stood still: one batch stands for the ticks that passed"
            );
        }
        if missed == Missed::ByBatches {
            tracing::warn!(
                batch = self.batch.0,
                missed_ticks = self.missed_ticks,
                processing_ms = self.processing_delay_ms,
                batch_interval_ms = self.batch_interval_ms,
                "falling behind: batches take longer than the batch interval"
            );
        }
    }
}

/// The file of `--progress`: one JSON object a line, appended.
#[derive(Debug)]
pub struct ProgressFile {
    path: PathBuf,
    file: File,
}

/// The progress file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the progress file {}: {source}", path.display())]
pub struct ProgressError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl ProgressFile {
    pub fn open(path: &Path) -> Result<ProgressFile, ProgressError> {
        match OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => Ok(ProgressFile { path: path.to_owned(), file }),
            Err(source) => Err(ProgressError { path: path.to_owned(), source }),
        }
    }

    /// Appends one record with a single write, so that a reader never sees half a line of a live process.
    pub fn write(&mut self, progress: &BatchProgress) -> Result<(), ProgressError> {
        let line = serde_json::to_vec(progress).map_err(io::Error::from).map(|mut line| {
            line.push(b'\n');
            line
        });
        line.and_then(|line| self.file.write_all(&line))
            .map_err(|source| ProgressError { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::TopicPartition;

    fn lag(partition: i32, lag: u64) -> PartitionLag {
        PartitionLag { source: "source".to_owned(), topic: "words".to_owned(), partition, latest: 12, lag }
    }

    fn progress(batch: u64) -> BatchProgress {
        BatchProgress {
            job: "wordcount".to_owned(),
            batch: BatchId(batch),
            time: BatchTime(1_542_763_845_000),
            timeline: Timeline(0),
            run_epoch: RunEpoch(2),
            origin: Origin::Fresh,
            ranges: vec![OffsetRange {
                source: Arc::from("source"),
                tp: TopicPartition::new("words", 0),
                start: 5,
                until: 9,
                topic_id: None,
                leader_epoch: None,
                start_epoch: None,
            }],
            lost: Vec::new(),
            input_rows: 4,
            input_rows_per_second: 1.3,
            processed_rows_per_second: rows_per_second(4, Duration::from_millis(3)),
            durations_ms: VerbDurations { execute: ms(Duration::from_micros(1_234)), ..VerbDurations::default() },
            lag: vec![lag(0, 3), lag(1, 4)],
            state: vec![StateSize { step: "count".to_owned(), rows: 7, bytes: 100 }],
            poison: BTreeMap::from([("map#1".to_owned(), 2)]),
            scheduling_delay_ms: 1.0,
            processing_delay_ms: 3.0,
            total_delay_ms: 4.0,
            batch_interval_ms: 3000,
            missed_ticks: 0,
            clock_distance_ms: 0,
        }
    }

    #[test]
    fn a_record_is_one_line_with_these_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.jsonl");
        ProgressFile::open(&path).unwrap().write(&progress(0)).unwrap();
        ProgressFile::open(&path).unwrap().write(&progress(1)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "appended");
        assert_eq!(
            lines[0],
            concat!(
                r#"{"job":"wordcount","batch":0,"time":1542763845000,"timeline":0,"run_epoch":2,"origin":"fresh","#,
                r#""ranges":[{"source":"source","tp":{"topic":"words","partition":0},"start":5,"until":9}],"#,
                r#""input_rows":4,"input_rows_per_second":1.3,"processed_rows_per_second":1333.3,"#,
                r#""durations_ms":{"available":0.0,"plan":0.0,"log_planned":0.0,"execute":1.234,"stage":0.0,"#,
                r#""publish":0.0,"log_committed":0.0,"purge":0.0},"#,
                r#""lag":[{"source":"source","topic":"words","partition":0,"latest":12,"lag":3},"#,
                r#"{"source":"source","topic":"words","partition":1,"latest":12,"lag":4}],"#,
                r#""state":[{"step":"count","rows":7,"bytes":100}],"poison":{"map#1":2},"#,
                r#""scheduling_delay_ms":1.0,"processing_delay_ms":3.0,"total_delay_ms":4.0,"#,
                r#""batch_interval_ms":3000,"missed_ticks":0,"clock_distance_ms":0}"#,
            )
        );
        assert_eq!(serde_json::from_str::<BatchProgress>(lines[1]).unwrap(), progress(1));
    }

    /// The fields of each log line, as JSON.
    fn logged(progress: &BatchProgress) -> Vec<serde_json::Value> {
        logged_as(progress, Missed::ByBatches)
    }

    fn logged_as(progress: &BatchProgress, missed: Missed) -> Vec<serde_json::Value> {
        let log: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || Shared(writer.clone())).finish();
        tracing::subscriber::with_default(subscriber, || progress.log(missed));
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_batch_is_one_info_line_with_these_fields() {
        let lines = logged(&progress(7));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(
            lines[0]["fields"],
            serde_json::json!({
                "message": "batch committed", "batch": 7, "time": 1_542_763_845_000_i64, "rows": 4,
                "rows_per_second": 1333.3, "processing_ms": 3.0, "delay_ms": 4.0, "lag": 7, "state_rows": 7,
                "poison": 2,
            })
        );
    }

    #[test]
    fn falling_behind_is_a_warning_with_both_numbers() {
        let lines = logged(&BatchProgress { missed_ticks: 2, ..progress(7) });
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["level"], "WARN");
        assert_eq!(
            (&lines[1]["fields"]["missed_ticks"], &lines[1]["fields"]["processing_ms"]),
            (&2.into(), &3.0.into())
        );
        assert_eq!(logged(&BatchProgress { missed_ticks: 2, origin: Origin::Recovered, ..progress(7) }).len(), 1);
    }

    #[test]
    fn ticks_without_a_process_are_no_falling_behind() {
        let lines = logged_as(&BatchProgress { missed_ticks: 600_000, ..progress(7) }, Missed::ByDowntime);
        assert_eq!((lines.len(), &lines[1]["level"]), (2, &"INFO".into()));
        assert_eq!(lines[1]["fields"]["missed_ticks"], 600_000);
        assert_eq!(logged_as(&BatchProgress { missed_ticks: 2, ..progress(7) }, Missed::ByOutage).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = ProgressFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write the progress file {}: ", dir.path().display())), "{error}");
    }

    #[test]
    fn lag_is_summed_and_no_time_is_no_rate() {
        assert_eq!(progress(0).total_lag(), 7);
        assert_eq!(rows_per_second(10, Duration::ZERO), 0.0);
    }
}

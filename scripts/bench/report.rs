//! The results as a table with ratios, and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    idle::Idle,
    live::Live,
    measure::{Usage, median},
};

/// Median from produce to log that is asked for: so much, and so many times the disk's own time.
const LATENCY_BAR_MS: f64 = 35.0;
const LATENCY_BAR_FSYNCS: f64 = 6.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Bare,
    Reference,
    Kstream,
}

impl Program {
    pub const ALL: [Program; 3] = [Program::Bare, Program::Reference, Program::Kstream];

    pub fn name(self) -> &'static str {
        match self {
            Program::Bare => "bare",
            Program::Reference => "reference",
            Program::Kstream => "kstream",
        }
    }
}

/// One run of one program.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub workload: &'static str,
    pub program: Program,
    pub messages: u64,
    pub usage: Usage,
}

#[derive(Debug)]
pub struct Report {
    fsync_p50_ms: f64,
    threads: usize,
    rounds: u32,
    runs: Vec<Measured>,
    pub idle: Option<Idle>,
    /// From the start of a process to its first durable plan, each of several runs.
    pub start_ms: Vec<f64>,
    pub live: Vec<Live>,
}

/// All runs of one program on one workload.
struct Row {
    workload: &'static str,
    program: Program,
    messages: u64,
    cpu_a_million: f64,
    least_cpu_a_million: f64,
    wall_seconds: f64,
    peak_rss_mib: f64,
    /// Median CPU against the reference's.
    ratio: Option<f64>,
}

impl Report {
    pub fn new(fsync_p50_ms: f64, threads: usize, rounds: u32) -> Report {
        let idle = None;
        Report { fsync_p50_ms, threads, rounds, runs: Vec::new(), idle, start_ms: Vec::new(), live: Vec::new() }
    }

    pub fn add(&mut self, run: Measured) {
        self.runs.push(run);
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for run in &self.runs {
            if rows.iter().any(|row| row.workload == run.workload && row.program == run.program) {
                continue;
            }
            let cpu = |program| self.column(run.workload, program, |usage| usage.cpu_seconds);
            let millions = run.messages as f64 / 1e6;
            let (own, reference) = (cpu(run.program), cpu(Program::Reference));
            rows.push(Row {
                workload: run.workload,
                program: run.program,
                messages: run.messages,
                cpu_a_million: median(&own) / millions,
                least_cpu_a_million: own.first().copied().unwrap_or_default() / millions,
                wall_seconds: median(&self.column(run.workload, run.program, |usage| usage.wall_seconds)),
                peak_rss_mib: self
                    .column(run.workload, run.program, |usage| usage.peak_rss_mib)
                    .last()
                    .copied()
                    .unwrap_or_default(),
                ratio: Some(median(&reference)).filter(|all| 0.0 < *all).map(|all| median(&own) / all),
            });
        }
        rows
    }

    /// One figure of all runs of a program on a workload, least first.
    fn column(&self, workload: &str, program: Program, figure: impl Fn(&Usage) -> f64) -> Vec<f64> {
        let same = self.runs.iter().filter(|run| run.workload == workload && run.program == program);
        let mut column: Vec<f64> = same.map(|run| figure(&run.usage)).collect();
        column.sort_by(f64::total_cmp);
        column
    }

    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            json!({
                "workload": row.workload,
                "program": row.program.name(),
                "messages": row.messages,
                "cpu_seconds_per_million": row.cpu_a_million,
                "cpu_seconds_per_million_min": row.least_cpu_a_million,
                "wall_seconds": row.wall_seconds,
                "peak_rss_mib": row.peak_rss_mib,
                "cpu_ratio_to_reference": row.ratio,
            })
        });
        let runs = self.runs.iter().map(|run| {
            json!({ "workload": run.workload, "program": run.program.name(), "messages": run.messages, "usage": run.usage })
        });
        json!({
            "fsync_p50_ms": self.fsync_p50_ms,
            "threads": self.threads,
            "rounds": self.rounds,
            "idle": self.idle,
            "start": (!self.start_ms.is_empty()).then(|| json!({ "ms": self.start_ms })),
            "live": self.live,
            "rows": rows.collect::<Vec<_>>(),
            "runs": runs.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} threads, {} rounds, fsync p50 {:.2} ms", self.threads, self.rounds, self.fsync_p50_ms)?;
        writeln!(f)?;
        writeln!(f, "| workload | program | CPU-s per M (min) | of the reference | messages/s | peak RSS MiB |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for row in self.rows() {
            let ratio = row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let rate = row.messages as f64 / row.wall_seconds / 1e6;
            writeln!(
                f,
                "| {} | {} | {:.3} ({:.3}) | {ratio} | {rate:.2} M | {:.0} |",
                row.workload,
                row.program.name(),
                row.cpu_a_million,
                row.least_cpu_a_million,
                row.peak_rss_mib
            )?;
        }
        if let Some(idle) = self.idle {
            writeln!(f)?;
            writeln!(f, "idle, 1 s batches: {:.0} MiB RSS, {:.2} % of a core", idle.rss_mib, idle.percent_of_a_core)?;
        }
        let mut start_ms = self.start_ms.clone();
        start_ms.sort_by(f64::total_cmp);
        if let Some(least) = start_ms.first() {
            writeln!(f, "start to first planned batch: {:.0} ms ({least:.0} at least)", median(&start_ms))?;
        }
        if !self.live.is_empty() {
            writeln!(f)?;
            writeln!(
                f,
                "| live | of a core | batches | late | commit p50 ms | to log p50 / p99 ms | keys | peak RSS MiB |"
            )?;
            writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        }
        for live in &self.live {
            let latency = live.latency.map_or("-".to_owned(), |latency| {
                let bar = LATENCY_BAR_MS + LATENCY_BAR_FSYNCS * self.fsync_p50_ms;
                format!("{:.1} (bar {bar:.1}) / {:.1}", latency.p50_ms, latency.p99_ms)
            });
            writeln!(
                f,
                "| {} | {:.2} % | {} | {} | {:.1} | {latency} | {} | {:.0} |",
                live.workload,
                live.percent_of_a_core,
                live.batches,
                live.late,
                live.commit_p50_ms,
                live.state_keys,
                live.peak_rss_mib
            )?;
        }
        Ok(())
    }
}

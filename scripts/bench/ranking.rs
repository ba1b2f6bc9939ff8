//! The engines' rows as a table and as JSON, and kstream's against its bars.

use std::{fmt, fs, io};

use serde_json::{Value, json};

use crate::{
    engines::Engine,
    measure::{Watched, median},
    workload::Workload,
};

/// Most CPU-seconds for each million messages that kstream may take, its start included.
const BARS: [(Workload, f64); 2] = [(Workload::Words, 0.12), (Workload::Lines, 0.35)];

#[derive(Debug)]
pub struct Ranking {
    threads: usize,
    rounds: u32,
    /// How busy the machine was with others' work at the start.
    load_average: f64,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    workload: Workload,
    engine: Engine,
    version: String,
    messages: u64,
    runs: Vec<Watched>,
    fault: Option<String>,
}

/// What a row says: medians, the least CPU, the greatest memory.
#[derive(Debug, Clone, Copy)]
struct Figures {
    cpu_a_million: f64,
    least_cpu_a_million: f64,
    wall_seconds: f64,
    messages_a_second: f64,
    peak_rss_mib: f64,
    first_output_seconds: f64,
}

impl Row {
    /// Nothing where a run failed.
    fn figures(&self) -> Option<Figures> {
        if self.fault.is_some() || self.runs.is_empty() {
            return None;
        }
        let column = |figure: fn(&Watched) -> f64| {
            let mut column: Vec<f64> = self.runs.iter().map(figure).collect();
            column.sort_by(f64::total_cmp);
            column
        };
        let millions = self.messages as f64 / 1e6;
        let cpu = column(|run| run.usage.cpu_seconds);
        let wall_seconds = median(&column(|run| run.usage.wall_seconds));
        Some(Figures {
            cpu_a_million: median(&cpu) / millions,
            least_cpu_a_million: cpu.first().copied().unwrap_or_default() / millions,
            wall_seconds,
            messages_a_second: self.messages as f64 / wall_seconds,
            peak_rss_mib: column(|run| run.usage.peak_rss_mib).last().copied().unwrap_or_default(),
            first_output_seconds: median(&column(|run| run.first_output_seconds)),
        })
    }
}

impl Ranking {
    pub fn new(threads: usize, rounds: u32) -> io::Result<Ranking> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load_average = load.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or_default();
        Ok(Ranking { threads, rounds, load_average, rows: Vec::new() })
    }

    /// A row for an engine on a workload; its runs are added later.
    pub fn open(&mut self, workload: Workload, engine: Engine, version: String, messages: u64) {
        self.rows.push(Row { workload, engine, version, messages, runs: Vec::new(), fault: None });
    }

    pub fn add(&mut self, workload: Workload, engine: Engine, result: Result<Watched, String>) {
        let row = self.rows.iter_mut().find(|row| row.workload == workload && row.engine == engine);
        match (row, result) {
            (Some(row), Ok(run)) => row.runs.push(run),
            (Some(row), Err(fault)) => row.fault = Some(fault),
            (None, _) => {}
        }
    }

    pub fn has_failed(&self, workload: Workload, engine: Engine) -> bool {
        self.rows.iter().any(|row| row.workload == workload && row.engine == engine && row.fault.is_some())
    }

    pub fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.fault.is_some()).count()
    }

    fn kstream(&self, workload: Workload) -> Option<Figures> {
        self.rows.iter().find(|row| row.workload == workload && row.engine == Engine::Kstream)?.figures()
    }

    fn times_kstream(&self, row: &Row) -> Option<f64> {
        Some(row.figures()?.cpu_a_million / self.kstream(row.workload)?.cpu_a_million)
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let figures = row.figures();
            json!({
                "workload": row.workload.name(),
                "engine": row.engine.name(),
                "title": row.engine.title(&row.version),
                "version": row.version,
                "guarantee": row.engine.guarantee(),
                "messages": row.messages,
                "cpu_seconds_per_million": figures.map(|all| all.cpu_a_million),
                "cpu_seconds_per_million_min": figures.map(|all| all.least_cpu_a_million),
                "wall_seconds": figures.map(|all| all.wall_seconds),
                "peak_rss_mib": figures.map(|all| all.peak_rss_mib),
                "first_output_seconds": figures.map(|all| all.first_output_seconds),
                "cpu_times_kstream": self.times_kstream(row),
                "fault": row.fault,
                "runs": row.runs,
            })
        });
        json!({
            "threads": self.threads,
            "rounds": self.rounds,
            "load_average": self.load_average,
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} threads, {} rounds, load average {:.1}", self.threads, self.rounds, self.load_average)?;
        writeln!(f, "whole trees of processes, start included; counts equal the truth unless said otherwise\n")?;
        writeln!(
            f,
            "| topic | engine (guarantee) | CPU-s per M (min) | times kstream's | messages/s | peak RSS MiB | first output s |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let millions = row.messages as f64 / 1e6;
            let (title, guarantee) = (row.engine.title(&row.version), row.engine.guarantee());
            write!(f, "| {} {millions} M | {title} ({guarantee}) | ", row.workload.name())?;
            let Some(all) = row.figures() else {
                let fault = row.fault.as_deref().unwrap_or_default();
                writeln!(f, "**{}** | - | - | - | - |", fault.lines().next().unwrap_or_default())?;
                continue;
            };
            let times = self.times_kstream(row).map_or("-".to_owned(), |times| format!("{times:.1}"));
            writeln!(
                f,
                "{:.3} ({:.3}) | {times} | {:.3} M | {:.0} | {:.2} |",
                all.cpu_a_million,
                all.least_cpu_a_million,
                all.messages_a_second / 1e6,
                all.peak_rss_mib,
                all.first_output_seconds
            )?;
        }
        writeln!(f)?;
        for (workload, bar) in BARS {
            let Some(all) = self.kstream(workload) else { continue };
            let verdict = if all.cpu_a_million <= bar { "met" } else { "MISSED" };
            writeln!(
                f,
                "kstream, whole process: {:.3} CPU-s per M {}, at most {bar}: {verdict}",
                all.cpu_a_million,
                workload.name()
            )?;
        }
        Ok(())
    }
}

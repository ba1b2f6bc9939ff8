//! The table of the cases with their bars, and the same as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::case::{Bars, Case};
use crate::measure::median;

/// Time an element.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub cpu_ns: f64,
    pub wall_ns: f64,
}

#[derive(Debug, Default)]
pub struct Report {
    samples: Vec<(Case, Sample, Sample)>,
}

/// All rounds of a case. Ratios are those of the medians.
struct Row {
    case: Case,
    own_ns: f64,
    least_ns: f64,
    rival_ns: f64,
    /// kstream's CPU of the rival's; of the wall time where that is what the case is about.
    ratio: f64,
    is_held: bool,
    bar: String,
}

impl Report {
    pub fn add(&mut self, case: Case, own: Sample, rival: Sample) {
        self.samples.push((case, own, rival));
    }

    fn rows(&self) -> Vec<Row> {
        let mut cases: Vec<Case> = Vec::new();
        for (case, ..) in &self.samples {
            if !cases.contains(case) {
                cases.push(*case);
            }
        }
        cases.into_iter().map(|case| self.row(case)).collect()
    }

    fn row(&self, case: Case) -> Row {
        let column = |figure: fn(&(Case, Sample, Sample)) -> f64| {
            let mut column: Vec<f64> = self.samples.iter().filter(|(of, ..)| *of == case).map(figure).collect();
            column.sort_by(f64::total_cmp);
            column
        };
        let (own, rival) = match case.is_of_wall_time() {
            true => (column(|(_, own, _)| own.wall_ns), column(|(.., rival)| rival.wall_ns)),
            false => (column(|(_, own, _)| own.cpu_ns), column(|(.., rival)| rival.cpu_ns)),
        };
        let (own_ns, rival_ns) = (median(&own), median(&rival));
        let ratio = own_ns / rival_ns;
        let (is_held, bar) = judge(case.bars(), own_ns, ratio);
        Row { case, own_ns, least_ns: own.first().copied().unwrap_or_default(), rival_ns, ratio, is_held, bar }
    }

    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            json!({
                "case": row.case.name(),
                "rival": row.case.rival(),
                "time": if row.case.is_of_wall_time() { "wall" } else { "cpu" },
                "ns": row.own_ns,
                "ns_min": row.least_ns,
                "rival_ns": row.rival_ns,
                "ratio_to_rival": row.ratio,
                "bar": row.bar,
                "held": row.is_held,
            })
        });
        json!({ "compute": { "load_average": load_average(), "rows": rows.collect::<Vec<_>>() } })
    }
}

/// Whether all bars hold, and what they are.
fn judge(bars: Bars, own_ns: f64, ratio: f64) -> (bool, String) {
    let mut told = Vec::new();
    let mut is_held = true;
    let mut check = |bar: Option<f64>, holds: fn(f64, f64) -> bool, figure: f64, text: fn(f64) -> String| {
        if let Some(bar) = bar {
            is_held &= holds(figure, bar);
            told.push(text(bar));
        }
    };
    check(bars.most_ns, |ns, bar| ns <= bar, own_ns, |bar| format!("<= {bar:.0} ns"));
    check(bars.most_of_rival, |ratio, bar| ratio <= bar, ratio, |bar| format!("<= {bar:.1}x"));
    check(bars.least_cheaper, |ratio, bar| ratio * bar <= 1.0, ratio, |bar| format!("{bar:.0} times cheaper"));
    check(bars.least_faster, |ratio, bar| ratio * bar <= 1.0, ratio, |bar| format!("{bar:.1} times faster"));
    (is_held, told.join(", "))
}

/// Of the last minute, as the kernel tells it.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load) = load_average() {
            writeln!(f, "load average {load:.2}; wall times mean something on an idle machine only")?;
        }
        writeln!(f)?;
        writeln!(f, "| case | kstream ns (min) | rival | rival ns | of the rival | times better | bar | |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in self.rows() {
            let verdict = match (row.bar.is_empty(), row.is_held) {
                (true, _) => "",
                (false, true) => "holds",
                (false, false) => "MISSED",
            };
            writeln!(
                f,
                "| {} | {:.1} ({:.1}) | {} | {:.1} | {:.2} | {:.2} | {} | {verdict} |",
                row.case.name(),
                row.own_ns,
                row.least_ns,
                row.case.rival(),
                row.rival_ns,
                row.ratio,
                1.0 / row.ratio,
                row.bar
            )?;
        }
        Ok(())
    }
}

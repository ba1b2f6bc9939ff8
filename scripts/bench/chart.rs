//! `results.json` as an SVG: CPU for each million messages, a group of bars a workload; and the other engines' below, on
//! a scale of their own.

use std::{error::Error, fmt::Write as _, fs, path::PathBuf};

use clap::ValueEnum;
use serde_json::Value;

use crate::workload::Workload;

#[derive(Debug, clap::Args)]
pub struct Chart {
    #[arg(long, default_value = "target/bench/results.json")]
    results: PathBuf,
    #[arg(long, default_value = "scripts/bench/chart.svg")]
    out: PathBuf,
}

const WIDTH: f64 = 760.0;
const NUMBERS: f64 = 180.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
/// Where the labels of bars begin.
const LABEL_AT: f64 = 72.0;
const DARK: &str = "#222222";
const LIGHT: &str = "#444444";
/// Every program that the legend does not name.
const OTHER: &str = "#4f7cac";
/// Program, what the legend calls it, colour.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("bare", "librdkafka, only counting messages", "#b8bec8"),
    ("reference", "hand-written on librdkafka", "#7a8699"),
    ("kstream", "kstream", "#d9622b"),
];

/// Groups of bars that share a scale.
struct Section<'a> {
    title: &'a str,
    /// The width left of the bars.
    labels: f64,
    /// Whether bars are told apart by colour alone.
    legend: bool,
    groups: Vec<(&'a str, Vec<Bar<'a>>)>,
}

struct Bar<'a> {
    colour: &'a str,
    /// What stands before it.
    label: &'a str,
    cpu_seconds: f64,
    note: String,
}

pub fn chart(args: &Chart) -> Result<(), Box<dyn Error>> {
    let results: Value = serde_json::from_str(&fs::read_to_string(&args.results)?)?;
    let mut sections = vec![programs(&results), engines(&results)];
    sections.retain(|section| !section.groups.is_empty());
    if sections.is_empty() {
        return Err(format!("{} holds no rows", args.results.display()).into());
    }
    fs::write(&args.out, svg(&sections))?;
    println!("written to {}", args.out.display());
    Ok(())
}

fn programs(results: &Value) -> Section<'_> {
    let mut groups = Vec::new();
    for (workload, program, cpu_seconds, row) in rows(&results["rows"], "program") {
        let ratio = row["cpu_ratio_to_reference"].as_f64();
        let note = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2} of the reference)"));
        push(&mut groups, workload, Bar { colour: colour(program), label: "", cpu_seconds, note });
    }
    // What kstream does alone compares with nothing here, and its bars would dwarf the others.
    let compared = |name: &str| Workload::value_variants().iter().position(|w| w.is_compared() && w.name() == name);
    groups.retain(|(name, _)| compared(name).is_some());
    groups.sort_by_key(|(name, _)| compared(name));
    Section { title: "CPU-seconds per million messages (less is better)", labels: 120.0, legend: true, groups }
}

fn engines(results: &Value) -> Section<'_> {
    let mut groups = Vec::new();
    for (workload, engine, cpu_seconds, row) in rows(&results["peers"]["rows"], "engine") {
        let times = row["cpu_times_kstream"].as_f64().filter(|_| engine != "kstream");
        let note = times.map_or(String::new(), |times| format!(" ({times:.1} × kstream)"));
        let label = row["title"].as_str().unwrap_or(engine);
        push(&mut groups, workload, Bar { colour: colour(engine), label, cpu_seconds, note });
    }
    let title = "The same on other engines: CPU-seconds per million messages, start included";
    Section { title, labels: 300.0, legend: false, groups }
}

/// Rows that were measured: workload, who, CPU-seconds, the rest.
fn rows<'a>(rows: &'a Value, who: &'a str) -> impl Iterator<Item = (&'a str, &'a str, f64, &'a Value)> {
    rows.as_array().into_iter().flatten().filter_map(move |row| {
        Some((row["workload"].as_str()?, row[who].as_str()?, row["cpu_seconds_per_million"].as_f64()?, row))
    })
}

/// Groups and bars stay in the order of the file.
fn push<'a>(groups: &mut Vec<(&'a str, Vec<Bar<'a>>)>, workload: &'a str, bar: Bar<'a>) {
    match groups.iter_mut().find(|(known, _)| *known == workload) {
        Some((_, bars)) => bars.push(bar),
        None => groups.push((workload, vec![bar])),
    }
}

fn colour(program: &str) -> &'static str {
    PROGRAMS.iter().find(|(known, ..)| *known == program).map_or(OTHER, |known| known.2)
}

fn svg(sections: &[Section<'_>]) -> String {
    let height: f64 = sections.iter().map(Section::height).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 0.0;
    for section in sections {
        section.draw(&mut svg, y);
        y += section.height();
    }
    svg.push_str("</svg>\n");
    svg
}

impl Section<'_> {
    fn top(&self) -> f64 {
        if self.legend { 44.0 } else { 28.0 }
    }

    fn height(&self) -> f64 {
        let bars: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        self.top() + bars as f64 * BAR + self.groups.len() as f64 * GAP
    }

    fn draw(&self, svg: &mut String, top: f64) {
        text(svg, 8.0, top + 16.0, self.title, DARK);
        let mut x = 8.0;
        for (_, name, colour) in PROGRAMS.iter().filter(|_| self.legend) {
            rect(svg, (x, top + 24.0), (10.0, 10.0), colour);
            text(svg, x + 14.0, top + 33.0, name, DARK);
            x += 40.0 + 6.5 * name.len() as f64;
        }
        let bars = self.groups.iter().flat_map(|(_, bars)| bars);
        let most = bars.map(|bar| bar.cpu_seconds).fold(f64::MIN_POSITIVE, f64::max);
        let mut y = top + self.top();
        for (workload, bars) in &self.groups {
            text(svg, 8.0, y + BAR * 0.8, workload, DARK);
            for bar in bars {
                text(svg, LABEL_AT, y + BAR * 0.7, bar.label, LIGHT);
                let width = bar.cpu_seconds / most * (WIDTH - self.labels - NUMBERS);
                rect(svg, (self.labels, y), (width, BAR - 2.0), bar.colour);
                let digits = if bar.cpu_seconds < 1.0 { 3 } else { 1 };
                let number = format!("{:.digits$}{}", bar.cpu_seconds, bar.note);
                text(svg, self.labels + width + 4.0, y + BAR * 0.7, &number, LIGHT);
                y += BAR;
            }
            y += GAP;
        }
    }
}

fn rect(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, text: &str, colour: &str) {
    if text.is_empty() {
        return;
    }
    let safe = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{safe}</text>");
}

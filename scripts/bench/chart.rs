//! `results.json` as an SVG: CPU for each million messages, a group of bars a workload.

use std::{error::Error, fmt::Write as _, fs, path::PathBuf};

use serde_json::Value;

#[derive(Debug, clap::Args)]
pub struct Chart {
    #[arg(long, default_value = "target/bench/results.json")]
    results: PathBuf,
    #[arg(long, default_value = "target/bench/chart.svg")]
    out: PathBuf,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 120.0;
const NUMBERS: f64 = 150.0;
const TOP: f64 = 44.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
/// Program, what the legend calls it, colour.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("bare", "librdkafka, only counting messages", "#b8bec8"),
    ("reference", "hand-written on librdkafka", "#7a8699"),
    ("kstream", "kstream", "#d9622b"),
];

struct Bar<'a> {
    program: &'a str,
    cpu_seconds: f64,
    ratio: Option<f64>,
}

pub fn chart(args: &Chart) -> Result<(), Box<dyn Error>> {
    let results: Value = serde_json::from_str(&fs::read_to_string(&args.results)?)?;
    let groups = groups(&results);
    if groups.is_empty() {
        return Err(format!("{} holds no rows", args.results.display()).into());
    }
    fs::write(&args.out, svg(&groups))?;
    println!("written to {}", args.out.display());
    Ok(())
}

/// Rows by workload, both in the order of the file.
fn groups(results: &Value) -> Vec<(&str, Vec<Bar<'_>>)> {
    let mut groups: Vec<(&str, Vec<Bar<'_>>)> = Vec::new();
    for row in results["rows"].as_array().into_iter().flatten() {
        let (Some(workload), Some(program), Some(cpu_seconds)) =
            (row["workload"].as_str(), row["program"].as_str(), row["cpu_seconds_per_million"].as_f64())
        else {
            continue;
        };
        let bar = Bar { program, cpu_seconds, ratio: row["cpu_ratio_to_reference"].as_f64() };
        match groups.iter_mut().find(|(known, _)| *known == workload) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((workload, vec![bar])),
        }
    }
    groups
}

fn svg(groups: &[(&str, Vec<Bar<'_>>)]) -> String {
    let bars = || groups.iter().flat_map(|(_, bars)| bars);
    let most = bars().map(|bar| bar.cpu_seconds).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + bars().count() as f64 * BAR + groups.len() as f64 * GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 8.0, 16.0, "CPU-seconds per million messages (less is better)", "#222222");
    let mut x = 8.0;
    for (_, name, colour) in PROGRAMS {
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"24\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
        text(&mut svg, x + 14.0, 33.0, name, "#222222");
        x += 40.0 + 6.5 * name.len() as f64;
    }
    let mut y = TOP;
    for (workload, bars) in groups {
        text(&mut svg, 8.0, y + BAR * 0.8, workload, "#222222");
        for bar in bars {
            let colour =
                PROGRAMS.iter().find(|(program, ..)| *program == bar.program).map_or("#000000", |known| known.2);
            let width = bar.cpu_seconds / most * (WIDTH - LABELS - NUMBERS);
            let _ = writeln!(
                svg,
                "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                BAR - 2.0
            );
            let ratio = bar.ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2} of the reference)"));
            text(&mut svg, LABELS + width + 4.0, y + BAR * 0.7, &format!("{:.2}{ratio}", bar.cpu_seconds), "#444444");
            y += BAR;
        }
        y += GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, text: &str, colour: &str) {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{safe}</text>");
}

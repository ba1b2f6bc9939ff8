//! A process measured from outside: CPU of it and its children, wall time, peak memory. Linux only (`/proc`).

use std::{
    error::Error,
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

/// The kernel counts CPU in hundredths of a second in `/proc`, whatever its own tick is.
const TICKS_A_SECOND: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    pub peak_rss_mib: f64,
}

/// Runs a command to its end; it must succeed. One at a time: CPU is told by the sum over all ended children.
pub fn run(command: &mut Command) -> Result<Usage, Box<dyn Error>> {
    let before = cpu_of_ended_children()?;
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(status_kib(&child, "VmHWM:"));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(LOOK_EVERY);
    };
    let wall_seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    let cpu_seconds = cpu_of_ended_children()? - before;
    Ok(Usage { cpu_seconds, wall_seconds, peak_rss_mib: peak_kib as f64 / 1024.0 })
}

/// User and system seconds of a running process.
pub fn cpu_of(child: &Child) -> Result<f64, Box<dyn Error>> {
    ticks(&format!("/proc/{}/stat", child.id()), 11)
}

/// A line of `/proc/PID/status` in KiB; 0 where the process has ended.
pub fn status_kib(child: &Child, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn cpu_of_ended_children() -> Result<f64, Box<dyn Error>> {
    ticks("/proc/self/stat", 13)
}

/// The sum of two neighbouring fields of a `stat` file, counted from 0 after the command's name.
fn ticks(path: &str, first: usize) -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string(path)?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no command in stat")?;
    let two = fields.split(' ').skip(first).take(2).map(str::parse::<u64>);
    Ok(two.sum::<Result<u64, _>>()? as f64 / TICKS_A_SECOND)
}

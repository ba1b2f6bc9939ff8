//! A process measured from outside: CPU of it and its children, wall time, peak memory. Linux only (`/proc`).

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

/// The kernel counts CPU in hundredths of a second in `/proc`, whatever its own tick is.
const TICKS_A_SECOND: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOK_AT_TREE_EVERY: Duration = Duration::from_millis(200);

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

/// A run of a whole tree of processes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Watched {
    pub usage: Usage,
    /// From the start until its first output could be read.
    pub first_output_seconds: f64,
}

/// As `run`, for programs that start others: memory is that of the whole tree, `output` is the file where the first
/// output appears, and a program that does not end within `limit` is killed.
pub fn watch(command: &mut Command, output: &Path, limit: Duration) -> Result<Watched, Box<dyn Error>> {
    let before = cpu_of_ended_children()?;
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let (mut peak_kib, mut first, mut looked) = (0, None, begun);
    let status = loop {
        if first.is_none() && fs::metadata(output).is_ok_and(|file| 0 < file.len()) {
            first = Some(begun.elapsed());
        }
        peak_kib = peak_kib.max(status_kib(&child, "VmHWM:"));
        if LOOK_AT_TREE_EVERY <= looked.elapsed() {
            looked = Instant::now();
            peak_kib = peak_kib.max(tree_kib(child.id()));
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if limit < begun.elapsed() {
            child.kill()?;
            child.wait()?;
            return Err(format!("not at the end of the topic after {} s", limit.as_secs()).into());
        }
        thread::sleep(LOOK_EVERY);
    };
    let wall = begun.elapsed();
    if !status.success() {
        return Err(format!("ended with {status}").into());
    }
    let cpu_seconds = cpu_of_ended_children()? - before;
    let usage = Usage { cpu_seconds, wall_seconds: wall.as_secs_f64(), peak_rss_mib: peak_kib as f64 / 1024.0 };
    Ok(Watched { usage, first_output_seconds: first.unwrap_or(wall).as_secs_f64() })
}

/// The sum of what each living process of a tree has at most held.
fn tree_kib(root: u32) -> u64 {
    let parents = parents();
    let belongs = |pid: u32| {
        let mut at = pid;
        // A chain cannot be longer than there are processes; numbers that are used anew could close a circle.
        for _ in 0..=parents.len() {
            if at == root {
                return true;
            }
            match parents.iter().find(|(child, _)| *child == at) {
                Some(&(_, parent)) => at = parent,
                None => return false,
            }
        }
        false
    };
    let tree = parents.iter().map(|(pid, _)| *pid).filter(|pid| belongs(*pid));
    tree.map(|pid| kib_of(pid, "VmHWM:")).sum()
}

/// Each process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        Some((pid, fields.split(' ').nth(1)?.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}

/// User and system seconds of a running process.
pub fn cpu_of(child: &Child) -> Result<f64, Box<dyn Error>> {
    ticks(&format!("/proc/{}/stat", child.id()), 11)
}

/// A line of `/proc/PID/status` in KiB; 0 where the process has ended.
pub fn status_kib(child: &Child, field: &str) -> u64 {
    kib_of(child.id(), field)
}

fn kib_of(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
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

/// The middle of a sorted column; the lower one of two.
pub fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

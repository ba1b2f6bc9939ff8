//! What a job costs that has nothing to do: one-second batches on an empty topic.

use std::{
    error::Error,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::measure::{cpu_of, status_kib};

const SETTLE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(20);
const MOST_SHUTDOWN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Idle {
    pub rss_mib: f64,
    pub percent_of_a_core: f64,
}

/// Starts the job, lets it settle, watches it, and stops it with SIGTERM, which it must obey.
pub fn watch(command: &mut Command) -> Result<Idle, Box<dyn Error>> {
    let mut child = command.spawn()?;
    thread::sleep(SETTLE);
    let (cpu_before, begun) = (cpu_of(&child), Instant::now());
    thread::sleep(LOOK);
    let (cpu_after, seconds) = (cpu_of(&child), begun.elapsed().as_secs_f64());
    let rss_kib = status_kib(&child, "VmRSS:");
    stop(&mut child)?;
    let percent_of_a_core = (cpu_after? - cpu_before?) / seconds * 100.0;
    Ok(Idle { rss_mib: rss_kib as f64 / 1024.0, percent_of_a_core })
}

/// Ends a running job with SIGTERM, which it must obey and call a success.
pub fn stop(child: &mut Child) -> Result<(), Box<dyn Error>> {
    if let Some(status) = child.try_wait()? {
        return Err(format!("the job ended by itself with {status}").into());
    }
    Command::new("kill").arg(child.id().to_string()).status()?;
    let deadline = Instant::now() + MOST_SHUTDOWN;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if deadline < Instant::now() {
            child.kill()?;
            child.wait()?;
            return Err("SIGTERM was not obeyed".into());
        }
        thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        return Err(format!("after SIGTERM the job ended with {status}").into());
    }
    Ok(())
}

//! A job that runs while messages come: its CPU, whether its batches are on time, how long they take to become durable,
//! and how long a message takes from its producer to the job's log.

use std::{
    error::Error,
    fs::{self, File},
    io::Read,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rdkafka::producer::{BaseProducer, Producer};
use serde::Serialize;
use serde_json::Value;

use crate::{
    counts, fill, idle,
    measure::{cpu_of, median, status_kib},
    workload::{Messages, Pace, Workload},
};

const TICK: Duration = Duration::from_millis(1);
/// The job's first batches are not those that are watched.
const SETTLE: Duration = Duration::from_secs(3);
const MOST_WAIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Live {
    pub workload: &'static str,
    pub percent_of_a_core: f64,
    pub batches: usize,
    /// Ticks that passed without their batch.
    pub late: u64,
    pub commit_p50_ms: f64,
    pub processing_p50_ms: f64,
    pub processing_max_ms: f64,
    pub state_keys: u64,
    pub peak_rss_mib: f64,
    /// Where every message can be told from all others.
    pub latency: Option<Latency>,
}

/// From the call of the producer to the line in the log.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

pub struct Running<'a> {
    pub brokers: &'a str,
    pub topic: &'a str,
    pub workload: Workload,
    pub pace: Pace,
    pub log: &'a Path,
    pub progress: &'a Path,
}

impl Running<'_> {
    /// Starts the job, sends its messages, stops it, and compares its log with the truth.
    pub fn watch(&self, command: &mut Command) -> Result<Live, Box<dyn Error>> {
        let mut messages = Messages::new(self.workload);
        let producer = fill::producer(self.brokers, self.workload, 0)?;
        fill::create(self.brokers, self.topic, self.workload.partitions())?;
        let mut sent = 0;
        for _ in 0..self.pace.backlog {
            self.send(&producer, &mut messages, &mut sent)?;
        }
        producer.flush(MOST_WAIT)?;
        let mut child = command.spawn()?;
        let watched = self.run(&mut child, &producer, &mut messages, sent);
        if watched.is_err() {
            child.kill()?;
            child.wait()?;
            return watched;
        }
        idle::stop(&mut child)?;
        if let Some(difference) = counts::difference(&messages.truth(), &counts::read_log(self.log)?) {
            return Err(format!("kstream counted wrong on {}: {difference}", self.topic).into());
        }
        watched
    }

    fn run(
        &self,
        child: &mut Child,
        producer: &BaseProducer,
        messages: &mut Messages,
        mut sent: u64,
    ) -> Result<Live, Box<dyn Error>> {
        self.wait_for(child, sent)?;
        thread::sleep(SETTLE);
        let before = self.batches()?.len();
        let mut arrivals = Arrivals { log: File::open(self.log).ok(), rest: Vec::new(), seen_at: Vec::new() };
        let mut sent_at = Vec::new();
        let (begun, cpu_before) = (Instant::now(), cpu_of(child)?);
        let all = Duration::from_secs(self.pace.seconds);
        while begun.elapsed() < all {
            let due = self.pace.backlog + (begun.elapsed().as_secs_f64() * self.pace.messages_a_second as f64) as u64;
            while sent < due {
                sent_at.push(Instant::now());
                self.send(producer, messages, &mut sent)?;
            }
            producer.poll(Duration::ZERO);
            if self.workload == Workload::Fast50 {
                arrivals.look(self.log)?;
            }
            thread::sleep(TICK);
        }
        let (seconds, cpu_after) = (begun.elapsed().as_secs_f64(), cpu_of(child)?);
        producer.flush(MOST_WAIT)?;
        self.wait_for(child, sent)?;
        let batches = self.batches()?;
        let watched = batches.get(before..).unwrap_or_default();
        let last = batches.last().ok_or("no batch was told of")?;
        let processing = column(watched, "/processing_delay_ms");
        Ok(Live {
            workload: self.workload.name(),
            percent_of_a_core: (cpu_after - cpu_before) / seconds * 100.0,
            batches: watched.len(),
            late: watched.iter().filter_map(|batch| batch["missed_ticks"].as_u64()).sum(),
            commit_p50_ms: median(&column(watched, "/durations_ms/log_committed")),
            processing_p50_ms: median(&processing),
            processing_max_ms: processing.last().copied().unwrap_or_default(),
            state_keys: last["state"].as_array().into_iter().flatten().filter_map(|state| state["rows"].as_u64()).sum(),
            peak_rss_mib: status_kib(child, "VmHWM:") as f64 / 1024.0,
            latency: arrivals.latency(&sent_at),
        })
    }

    fn send(&self, producer: &BaseProducer, messages: &mut Messages, sent: &mut u64) -> Result<(), Box<dyn Error>> {
        let mut text = String::new();
        messages.next(&mut text);
        fill::send(producer, self.topic, (*sent % self.workload.partitions() as u64) as i32, &text)?;
        *sent += 1;
        Ok(())
    }

    /// Until the job has committed so many messages, and at least one batch.
    fn wait_for(&self, child: &mut Child, messages: u64) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + MOST_WAIT;
        loop {
            let batches = self.batches()?;
            let rows: u64 = batches.iter().filter_map(|batch| batch["input_rows"].as_u64()).sum();
            if !batches.is_empty() && messages <= rows {
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!("the job on {} ended by itself with {status}", self.topic).into());
            }
            if deadline < Instant::now() {
                return Err(format!("{rows} of {messages} messages of {} were committed in time", self.topic).into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The job's progress records so far.
    fn batches(&self) -> Result<Vec<Value>, Box<dyn Error>> {
        let text = fs::read_to_string(self.progress).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }
}

/// One number of every record, least first.
fn column(batches: &[Value], pointer: &str) -> Vec<f64> {
    let mut column: Vec<f64> = batches.iter().filter_map(|batch| batch.pointer(pointer)?.as_f64()).collect();
    column.sort_by(f64::total_cmp);
    column
}

/// The log as it grows: when the line of each message was there.
struct Arrivals {
    log: Option<File>,
    rest: Vec<u8>,
    seen_at: Vec<(usize, Instant)>,
}

impl Arrivals {
    fn look(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        if self.log.is_none() {
            self.log = File::open(path).ok();
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        log.read_to_end(&mut self.rest)?;
        let now = Instant::now();
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        for line in self.rest.drain(..=end).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
            let number = line.strip_prefix(b"('").and_then(|rest| rest.split(|byte| *byte == b'\'').next());
            if let Some(nth) = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()) {
                self.seen_at.push((nth, now));
            }
        }
        Ok(())
    }

    fn latency(&self, sent_at: &[Instant]) -> Option<Latency> {
        let took = self.seen_at.iter().filter_map(|(nth, at)| Some(at.duration_since(*sent_at.get(*nth)?)));
        let mut took_ms: Vec<f64> = took.map(|took| took.as_secs_f64() * 1_000.0).collect();
        took_ms.sort_by(f64::total_cmp);
        Some(Latency { p50_ms: median(&took_ms), p99_ms: *took_ms.get(took_ms.len() * 99 / 100)? })
    }
}

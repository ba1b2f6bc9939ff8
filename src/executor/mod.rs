//! Runs the stages of one batch: one rayon task a partition, wide operators in between; a batch of next to nothing
//! runs on the caller's thread.
//!
//! The driver calls [`Executor::execute`] with a planned batch. Nothing outside memory changes here: no output is
//! written, no state is touched (merges return deltas), no offset is stored; so a batch may be executed any number of
//! times, and gives the same each time, whatever the number of threads, the size of chunks or the order of arrival.
//! Results are joined by partition number, never by arrival. A panic inside a task fails the batch, not the process.

mod failure;
mod fan;
mod in_key_order;
mod lane;
mod poison;
mod shared;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

pub use failure::{BatchFailure, Held};
pub use poison::{DeadLetter, PoisonCount};

use crate::{
    expr::{EvalErrorKind, Evaluator, Limits, MAX_COLUMN_BYTES},
    job::Job,
    lineage::{Lineage, Root, Stage, Terminal},
    model::{BatchTime, Column, OffsetRange},
    operator::{
        Cause, Dataset, MergeContext, Partial, StepFailure, Wide,
        output::{Delivered, OutputOperator, output},
        wide,
    },
    source::{ReadOptions, Source},
    state::StepState,
};
use lane::{Lane, LaneResult};
use shared::Shared;

/// The results of one chunk take at most this part of a thread's share of the memory limit; else it goes in halves.
const CHUNK_SHARE: u64 = 4;
/// A batch of so few offsets over so little state runs on the caller's thread: waking others costs more than they save.
const SMALL_OFFSETS: u64 = 512;
const SMALL_STATE_BYTES: u64 = 256 << 10;
/// Unless the batch before took longer, so that much is done for each offset.
const SMALL_DURATION: Duration = Duration::from_millis(20);

/// Settings that change speed and memory, never results.
#[derive(Debug, Clone, Copy)]
pub struct ExecutorSettings {
    pub threads: usize,
    pub chunk_records: usize,
    pub stall_timeout_ms: u64,
    pub memory_limit_bytes: u64,
    /// Every lambda runs in the evaluator, none as a kernel.
    pub force_evaluator: bool,
    pub limits: Limits,
}

/// A job made ready to run: its lineage and the working parts of its wide steps and outputs.
pub struct Executor {
    pool: rayon::ThreadPool,
    settings: ExecutorSettings,
    job: Job,
    lineage: Lineage,
    wide: HashMap<usize, Box<dyn Wide>>,
    outputs: HashMap<usize, Box<dyn OutputOperator>>,
    /// How long the batch before took, in microseconds.
    last_us: AtomicU64,
}

/// What one batch reads.
pub struct BatchInput<'a> {
    pub time: BatchTime,
    /// The time before the first batch.
    pub zero: BatchTime,
    pub sources: &'a [Box<dyn Source>],
    /// In the order of the plan: sources as declared, then topic and partition.
    pub ranges: &'a [OffsetRange],
    /// State of stateful steps, by step.
    pub states: &'a HashMap<usize, Box<dyn StepState>>,
}

/// What one batch gave.
#[derive(Debug, Default)]
pub struct Executed {
    /// By output step, in the order of the job file; outputs of streams that yield nothing at this time are missing.
    pub outputs: Vec<(usize, Delivered)>,
    /// Records read, by range, in the order of the plan.
    pub records: Vec<u64>,
    pub poison: Vec<PoisonCount>,
    pub dead_letters: Vec<DeadLetter>,
    /// By stateful step.
    pub deltas: Vec<(usize, Vec<u8>)>,
    /// Most bytes that state, aggregates and results held at once.
    pub peak_bytes: u64,
    pub duration: Duration,
}

/// What tasks left behind for a terminal, with its bytes, in the order of partitions.
type Partials = HashMap<(Terminal, usize), Vec<(Partial, u64)>>;

impl Executor {
    pub fn new(job: Job, settings: ExecutorSettings) -> Result<Executor, BatchFailure> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(settings.threads)
            .thread_name(|idx| format!("task-{idx}"))
            .build()
            .map_err(|error| BatchFailure::Threads { threads: settings.threads, reason: error.to_string() })?;
        let lineage = Lineage::of(&job);
        let wide = lineage.wide.iter().filter_map(|&step| Some((step, wide(&job.steps[step].operator)?))).collect();
        let outputs =
            lineage.outputs.iter().filter_map(|&step| Some((step, output(&job.steps[step].operator)?))).collect();
        Ok(Executor { pool, settings, job, lineage, wide, outputs, last_us: AtomicU64::new(u64::MAX) })
    }

    pub fn job(&self) -> &Job {
        &self.job
    }

    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    fn evaluator(&self) -> Evaluator {
        let share = self.settings.memory_limit_bytes / (CHUNK_SHARE * self.settings.threads.max(1) as u64);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        // A kernel tells only once its column is made that the chunk is to be halved.
        let column_bytes = share.min(MAX_COLUMN_BYTES);
        let mut evaluator = Evaluator::new(Limits { column_bytes, ..self.settings.limits });
        evaluator.force_evaluator = self.settings.force_evaluator;
        evaluator.chunk_bytes = Some(share);
        evaluator
    }

    /// Runs all stages of one batch.
    pub fn execute(&self, input: &BatchInput<'_>) -> Result<Executed, BatchFailure> {
        let started = Instant::now();
        let shared = Shared::new(&self.job, input.states, self.settings.memory_limit_bytes)?;
        let ran = match self.is_small(input) {
            true => self.run(input, &shared),
            false => self.pool.install(|| self.run(input, &shared)),
        };
        let duration = started.elapsed();
        self.last_us.store(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(Executed { peak_bytes: shared.peak(), duration, ..ran? })
    }

    fn is_small(&self, input: &BatchInput<'_>) -> bool {
        Duration::from_micros(self.last_us.load(Ordering::Relaxed)) < SMALL_DURATION
            && input.ranges.iter().map(OffsetRange::len).sum::<u64>() <= SMALL_OFFSETS
            && input.states.values().map(|state| state.memory_bytes()).sum::<u64>() <= SMALL_STATE_BYTES
    }

    fn run(&self, input: &BatchInput<'_>, shared: &Shared) -> Result<Executed, BatchFailure> {
        let mut executed = Executed { records: vec![0; input.ranges.len()], ..Executed::default() };
        let mut partials = Partials::new();
        self.run_source_stages(input, shared, &mut executed, &mut partials)?;
        for &step in &self.lineage.wide {
            if let Some((dataset, bytes)) = self.merge(step, input, shared, &mut executed, &mut partials)? {
                for stage in self.lineage.stages.iter().filter(|stage| stage.root.step() == Some(step)) {
                    self.run_shuffled_stage(stage, &dataset, shared, &mut executed, &mut partials)?;
                }
                shared.release(bytes);
            }
        }
        for &step in &self.lineage.outputs {
            let Some((mut inputs, _)) = self.inputs(step, &mut partials) else { continue };
            let Some(output) = self.outputs.get(&step) else { continue };
            let delivered = output.deliver(inputs.remove(0)).map_err(|failure| self.step_failure(step, failure))?;
            executed.outputs.push((step, delivered));
        }
        poison::count_up(&mut executed.poison);
        Ok(executed)
    }

    /// One task a topic partition, over all sources together.
    fn run_source_stages(
        &self,
        input: &BatchInput<'_>,
        shared: &Shared,
        executed: &mut Executed,
        partials: &mut Partials,
    ) -> Result<(), BatchFailure> {
        let results = fan::each(input.ranges.len(), |idx| {
            let range = &input.ranges[idx];
            let source = self.job.sources.iter().position(|source| source.name == range.source);
            let stage = source.and_then(|source| self.stage(Root::Source(source)));
            let result = lane::contained(|| {
                let mut lane = Lane::new(self, stage, idx, shared);
                let Some(source) = source.and_then(|source| input.sources.get(source)) else {
                    return lane.finish();
                };
                let options = ReadOptions {
                    chunk_records: self.settings.chunk_records,
                    stall_timeout_ms: self.settings.stall_timeout_ms,
                };
                let failed = |error| BatchFailure::Source { range: range.clone(), error };
                if range.is_empty() {
                    return lane.finish();
                }
                // A read may wait long for nothing.
                if shared.is_moot(idx) {
                    return Err(BatchFailure::Moot);
                }
                let mut reader = source.read(range, options).map_err(failed)?;
                while let Some(chunk) = reader.next_chunk().map_err(failed)? {
                    lane.push(chunk)?;
                }
                lane.finish()
            });
            result.map(|result| (idx, result)).inspect_err(|_| shared.fail(idx))
        })?;
        for (idx, result) in results {
            executed.records[idx] = result.records;
            self.absorb(result, executed, partials);
        }
        // A source without partitions still gives an empty batch to what hangs on it.
        for (source, _) in self.job.sources.iter().enumerate() {
            if let Some(stage) = self.stage(Root::Source(source)) {
                Self::touch(stage, partials);
            }
        }
        Ok(())
    }

    fn run_shuffled_stage(
        &self,
        stage: &Stage,
        dataset: &Dataset,
        shared: &Shared,
        executed: &mut Executed,
        partials: &mut Partials,
    ) -> Result<(), BatchFailure> {
        let ordered;
        let partitions: &[Vec<Column>] = match stage.root {
            Root::InKeyOrder(step) => {
                let need = self.lineage.needs[step];
                ordered = vec![in_key_order::merge(dataset, &self.job.steps[step].operator, need)];
                &ordered
            }
            _ => &dataset.partitions,
        };
        let results = fan::each(partitions.len(), |idx| {
            lane::contained(|| {
                let mut lane = Lane::new(self, Some(stage), idx, shared);
                for column in &partitions[idx] {
                    for start in (0..column.len()).step_by(self.settings.chunk_records) {
                        let end = column.len().min(start + self.settings.chunk_records);
                        let whole = start == 0 && end == column.len();
                        lane.push(if whole { column.clone() } else { column.slice(start..end) })?;
                    }
                }
                lane.finish()
            })
            .inspect_err(|_| shared.fail(idx))
        })?;
        for result in results {
            self.absorb(result, executed, partials);
        }
        Self::touch(stage, partials);
        Ok(())
    }

    /// The dataset of a wide step, and its bytes, which are held until it is dropped.
    fn merge(
        &self,
        step: usize,
        input: &BatchInput<'_>,
        shared: &Shared,
        executed: &mut Executed,
        partials: &mut Partials,
    ) -> Result<Option<(Dataset, u64)>, BatchFailure> {
        let Some(((inputs, bytes), wide)) = self.inputs(step, partials).zip(self.wide.get(&step)) else {
            return Ok(None);
        };
        let mut merging = bytes.saturating_mul(wide.merge_factor());
        if let Some(state) = input.states.get(&step).filter(|_| wide.state_factor() > 0) {
            let beside = state.memory_bytes().saturating_mul(wide.state_factor());
            shared.room_beside_state(|| self.step_name(step), beside)?;
            merging = merging.saturating_add(beside);
        }
        shared.hold_for(|| self.step_name(step), 0, merging)?;
        let (more, beyond) = (AtomicU64::new(0), AtomicU64::new(0));
        let room = |bytes: u64| {
            more.fetch_add(bytes, Ordering::Relaxed);
            shared.hold(0, bytes).map_err(|held| {
                beyond.store(held, Ordering::Relaxed);
                StepFailure::element("the result does not fit")
            })
        };
        let context = MergeContext {
            room: &room,
            evaluator: &|| self.evaluator(),
            need: self.lineage.needs[step],
            batch_time_ms: input.time.0,
            zero_ms: input.zero.0,
            state: input.states.get(&step).map(|state| &**state),
        };
        let merged = lane::contained(|| {
            wide.merge(inputs, &context).map_err(|failure| match beyond.load(Ordering::Relaxed) {
                0 => self.step_failure(step, failure),
                held => shared.too_much(self.step_name(step), Held::Batch, held),
            })
        })?;
        shared.release(bytes + merging + more.load(Ordering::Relaxed));
        let delta = merged.delta.as_ref().map_or(0, Vec::len) as u64;
        let bytes = merged.dataset.as_ref().map_or(0, Dataset::memory_bytes) as u64;
        shared.hold_for(|| self.step_name(step), 0, bytes + delta)?;
        if let Some(delta) = merged.delta {
            // What cannot be read back must not be found out after the outputs are published.
            context.state.map_or(Ok(()), |state| state.check(&delta)).map_err(|error| {
                self.step_failure(
                    step,
                    crate::operator::StepFailure::element(format!("its state cannot be kept: {error}")),
                )
            })?;
            executed.deltas.push((step, delta));
        }
        Ok(merged.dataset.map(|dataset| (dataset, bytes)))
    }

    /// The parts of all inputs of a step, each in feed and partition order; `None` where an input yields nothing now.
    ///
    /// Their bytes stay held.
    fn inputs(&self, step: usize, partials: &mut Partials) -> Option<(Vec<Vec<Partial>>, u64)> {
        let (mut inputs, mut bytes) = (Vec::new(), 0);
        for (input, feeds) in self.lineage.feeds[step].iter().enumerate() {
            let mut parts = Vec::new();
            for feed in 0..feeds.len() {
                for (part, held) in partials.remove(&(Terminal { step, input }, feed))? {
                    parts.push(part);
                    bytes += held;
                }
            }
            inputs.push(parts);
        }
        Some((inputs, bytes))
    }

    fn stage(&self, root: Root) -> Option<&Stage> {
        self.lineage.stages.iter().find(|stage| stage.root == root)
    }

    fn absorb(&self, result: LaneResult, executed: &mut Executed, partials: &mut Partials) {
        for (terminal, feed, partial, bytes) in result.partials {
            partials.entry((terminal, feed)).or_default().push((partial, bytes));
        }
        executed.poison.extend(result.poison);
        executed.dead_letters.extend(result.dead_letters);
    }

    /// Every terminal of a stage that ran has an entry, also where the stage had no partition.
    fn touch(stage: &Stage, partials: &mut Partials) {
        for (terminal, feed) in stage.nodes.iter().flat_map(|node| &node.terminals) {
            partials.entry((*terminal, *feed)).or_default();
        }
    }

    fn step_name(&self, step: usize) -> String {
        self.job.steps.get(step).map_or_else(String::new, |step| step.id.to_string())
    }

    /// The failure that a call which met `memory_limit` is: no fault of the element.
    fn beyond_host(&self, step: usize, cause: &Cause) -> Option<BatchFailure> {
        let limit_bytes = self.settings.limits.host_bytes;
        let is_host = matches!(cause, Cause::Lambda(error) if error.kind == EvalErrorKind::Host);
        is_host.then(|| BatchFailure::Memory {
            step: self.step_name(step),
            what: Held::Element,
            bytes: limit_bytes,
            limit_bytes,
        })
    }

    fn step_failure(&self, step: usize, failure: StepFailure) -> BatchFailure {
        if let Some(failure) = self.beyond_host(step, &failure.cause) {
            return failure;
        }
        BatchFailure::Step { step: self.job.steps[step].id.to_string(), line: self.job.steps[step].line, failure }
    }
}

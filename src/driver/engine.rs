//! A job made ready to run batches: its executor, its states, its sinks.
//!
//! An engine belongs to one job text. A batch in flight is finished by an engine of the text that planned it; then the
//! current job gets an engine of its own.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use super::{
    dead_letters,
    edges::Edges,
    error::{Class, DriverError},
    failed::{no_threads, sink_failed},
    patience::{Patience, Peer},
    recorded,
    snapshot::Rolling,
};
use crate::{
    checkpoint::StateImage,
    executor::{Executor, ExecutorSettings},
    expr::Limits,
    job::{Job, OnError, Operator},
    model::{BatchTime, encode::DecodeError},
    operator,
    planner::WindowInput,
    protocol::{JobTextHash, PlanRecord, SaidOfSink, SinkFacts},
    sink::{Sink, Standing},
    state::{self, StepState, window::WindowState},
};

/// Records of a chunk: large enough to amortise a call, small enough to stay in the second-level cache.
const CHUNK_RECORDS: usize = 2048;

/// A read that brings no record for so long has failed: several such reads fit into `unreachable_limit`.
const STALL_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 2_000..=10_000;

pub struct Engine {
    pub job_text: JobTextHash,
    pub executor: Executor,
    pub states: HashMap<usize, Box<dyn StepState>>,
    /// Initial state that no commit has stored yet, by step.
    pub initial: HashMap<usize, Vec<u8>>,
    pub rolling: HashMap<usize, Rolling>,
    pub outputs: Vec<OutputSink>,
}

/// What an output gets of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivers {
    /// What an output step delivers.
    Step(usize),
    /// The dead letters for one place.
    DeadLetters(OnError),
}

/// An output and its sink.
pub struct OutputSink {
    pub of: Delivers,
    pub name: String,
    /// Hash of the settings that decide what the output's digest covers.
    pub settings: String,
    pub sink: Box<dyn Sink>,
}

/// Where the states of a batch come from, as its plan says or is going to.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// They begin anew.
    pub dropped: &'a [String],
    /// The name of each in the job, and where its state is found.
    pub renamed: &'a [(String, String)],
}

impl<'a> Origins<'a> {
    pub fn of_plan(plan: &'a PlanRecord) -> Origins<'a> {
        Origins { dropped: &plan.dropped_states, renamed: &plan.renamed_states }
    }

    /// Whether every state goes on as the batch before left it.
    pub fn is_the_batch_before(&self) -> bool {
        self.dropped.is_empty() && self.renamed.is_empty()
    }

    /// Whether the state of that name, of whichever step, ends here.
    pub fn ends(&self, state: &str) -> bool {
        self.drops(state) && self.renamed.iter().all(|(_, old)| *old != *state)
    }

    fn drops(&self, state: &str) -> bool {
        self.dropped.iter().any(|name| *name == *state)
    }

    /// The name under which the state of `step` is stored before the batch; `None` where it begins anew.
    pub fn of<'s>(&self, step: &'s str) -> Option<&'s str>
    where
        'a: 's,
    {
        let renamed = self.renamed.iter().find(|(new, _)| *new == *step).map(|(_, old)| old.as_str());
        renamed.or_else(|| (!self.drops(step)).then_some(step))
    }
}

/// Speed settings of this process: `--threads`, and variables that tests and comparisons set.
pub fn executor_settings(job: &Job, threads: Option<NonZeroUsize>) -> ExecutorSettings {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let stall_timeout_ms = u64::try_from(job.unreachable_limit().as_millis() / 4).unwrap_or(u64::MAX);
    let chunk_records = std::env::var("KSTREAM_CHUNK_RECORDS").ok().and_then(|text| text.parse().ok());
    ExecutorSettings {
        threads: threads.map_or(cores, NonZeroUsize::get),
        chunk_records: chunk_records.filter(|records| *records > 0).unwrap_or(CHUNK_RECORDS),
        stall_timeout_ms: stall_timeout_ms.clamp(*STALL_TIMEOUT_MS.start(), *STALL_TIMEOUT_MS.end()),
        memory_limit_bytes: job.memory_limit_bytes,
        force_evaluator: std::env::var("KSTREAM_LAMBDAS").is_ok_and(|value| value == "starlark"),
        limits: Limits { host_bytes: job.memory_limit_bytes, ..Limits::default() },
    }
}

impl Engine {
    /// Working parts without state and without sinks; `replay` needs no more.
    pub fn new(job: Job, job_text: JobTextHash, threads: Option<NonZeroUsize>) -> Result<Engine, DriverError> {
        let settings = executor_settings(&job, threads);
        let executor = Executor::new(job, settings).map_err(|failure| no_threads(&failure))?;
        Ok(Engine {
            job_text,
            executor,
            states: HashMap::new(),
            initial: HashMap::new(),
            rolling: HashMap::new(),
            outputs: Vec::new(),
        })
    }

    pub fn job(&self) -> &Job {
        self.executor.job()
    }

    /// Name under which the checkpoint knows the state of a step.
    pub fn state_name(&self, step: usize) -> String {
        self.job().steps[step].id.to_string()
    }

    /// The windows of the job, each with the time of the last batch that brought it records.
    pub fn windows(&self) -> Vec<WindowInput> {
        let steps = &self.job().steps;
        self.states
            .iter()
            .filter_map(|(&step, state)| {
                let window = steps[step].operator.window()?;
                let state = state.as_any().downcast_ref::<WindowState>()?;
                Some(WindowInput { window, last_records: state.last_records_ms().map(BatchTime) })
            })
            .collect()
    }

    /// Stateful steps that run.
    pub fn stateful_steps(&self) -> Vec<usize> {
        let steps = &self.job().steps;
        self.executor
            .lineage()
            .wide
            .iter()
            .copied()
            .filter(|&step| operator::state(&steps[step].operator).is_some())
            .collect()
    }

    /// Builds every state: from its image in the checkpoint (`image` gives it by name), else from its initial file.
    pub fn restore_states(
        &mut self,
        origins: Origins<'_>,
        mut image: impl FnMut(&str) -> Result<Option<StateImage>, DriverError>,
    ) -> Result<(), DriverError> {
        for step in self.stateful_steps() {
            let spec = self.job().steps[step].clone();
            let origin = origins.of(&spec.id);
            let named = origin.map_or(Ok(None), &mut image)?;
            let (found, is_own) = match (named, &spec.was) {
                // One that is replayed with a job of today, say.
                (None, Some(was)) if origin == Some(&*spec.id) && !origins.drops(was) => (image(was)?, false),
                (named, _) => (named, origin == Some(&*spec.id)),
            };
            let rolling = match &found {
                Some(_) if !is_own => Rolling::under_another_name(),
                found => Rolling::after(found.as_ref()),
            };
            self.rolling.insert(step, rolling);
            self.begin_state(step, found)?;
        }
        Ok(())
    }

    /// Begins the states of these steps anew.
    pub fn drop_states(&mut self, is_dropped: impl Fn(&str) -> bool) -> Result<(), DriverError> {
        let stateful = self.stateful_steps().into_iter();
        let dropped: Vec<usize> = stateful.filter(|&step| is_dropped(&self.job().steps[step].id)).collect();
        dropped.into_iter().try_for_each(|step| self.begin_state(step, None))
    }

    fn begin_state(&mut self, step: usize, found: Option<StateImage>) -> Result<(), DriverError> {
        let spec = self.job().steps[step].clone();
        let Some(mut state) = operator::state(&spec.operator) else { return Ok(()) };
        match found {
            Some(found) => restore(&mut *state, found).map_err(|error| {
                DriverError::new(Class::Refused, format!("the state of step {} cannot be read", spec.id))
                    .detail(format!("{error}."))
            })?,
            None => {
                if let Some(delta) = initial_delta(self.job(), &spec.operator)? {
                    state.apply(&delta).map_err(|error| {
                        DriverError::new(Class::Failed, format!("initial state of step {}: {error}", spec.id))
                    })?;
                    self.initial.insert(step, delta);
                }
            }
        }
        self.states.insert(step, state);
        Ok(())
    }

    /// Opens the sinks of all outputs and tells them what they remembered.
    pub fn open_sinks(&mut self, facts: &BTreeMap<String, SaidOfSink>, edges: &dyn Edges) -> Result<(), DriverError> {
        for &step in &self.executor.lineage().outputs {
            let job = self.executor.job();
            let spec = &job.steps[step];
            let name = spec.id.to_string();
            let mut sink = edges.sink(job, spec).map_err(|error| sink_failed(&name, &error))?;
            sink.restore(facts.get(&name).map(|(facts, _)| facts)).map_err(|error| sink_failed(&name, &error))?;
            let of = Delivers::Step(step);
            self.outputs.push(OutputSink { of, settings: output_settings(&spec.operator), name, sink });
        }
        for to in dead_letters::destinations(self.executor.job()) {
            let name = dead_letters::name(self.executor.job(), &to);
            let mut sink =
                edges.dead_letters(self.executor.job(), &name, &to).map_err(|error| sink_failed(&name, &error))?;
            sink.restore(facts.get(&name).map(|(facts, _)| facts)).map_err(|error| sink_failed(&name, &error))?;
            let settings = "dead letters".to_owned();
            self.outputs.push(OutputSink { of: Delivers::DeadLetters(to), settings, name, sink });
        }
        let has = |name: &String| self.outputs.iter().any(|output| output.name == *name);
        let beside: Vec<&SinkFacts> =
            facts.iter().filter(|(name, _)| !has(name)).map(|(_, (facts, _))| facts).collect();
        for output in &mut self.outputs {
            beside.iter().for_each(|facts| output.sink.restore_beside(facts));
        }
        Ok(())
    }

    /// Tells every sink who is asked while it waits inside a call.
    pub fn watch_sinks(&mut self, patience: &Patience) {
        let limit = self.job().unreachable_limit();
        for output in &mut self.outputs {
            output.sink.watched_by(&patience.watch(Peer::output(&output.name, limit)));
        }
    }

    /// Lets every sink look at what it holds and refuse.
    pub fn inspect_sinks(&mut self, standing: &Standing, patience: &mut Patience) -> Result<(), DriverError> {
        let limit = self.job().unreachable_limit();
        for output in &mut self.outputs {
            patience.ask_output(Peer::output(&output.name, limit), || output.sink.inspect(standing))?;
        }
        Ok(())
    }

    /// Lets every sink record what the user said of it.
    pub fn settle_sinks(&mut self, patience: &mut Patience) -> Result<(), DriverError> {
        let limit = self.job().unreachable_limit();
        for output in &mut self.outputs {
            patience.ask_output(Peer::output(&output.name, limit), || output.sink.settle())?;
        }
        Ok(())
    }

    /// Bases of sinks that the checkpoint does not know yet, for the plan of the first batch that writes to them.
    pub fn bases(
        &mut self,
        known: &BTreeMap<String, SaidOfSink>,
        patience: &mut Patience,
    ) -> Result<BTreeMap<String, SinkFacts>, DriverError> {
        let limit = self.job().unreachable_limit();
        let mut bases = BTreeMap::new();
        for output in self.outputs.iter_mut().filter(|output| !known.contains_key(&output.name)) {
            let peer = Peer::output(&output.name, limit);
            if let Some(base) = patience.ask_output(peer, || output.sink.base_facts())? {
                output.sink.restore(Some(&base)).map_err(|error| sink_failed(&output.name, &error))?;
                bases.insert(output.name.clone(), base);
            }
        }
        Ok(bases)
    }
}

/// Deltas and snapshots in the order of their batches: a snapshot makes its slot whole as of its batch.
pub(super) fn restore(state: &mut dyn StepState, image: StateImage) -> Result<(), DecodeError> {
    let mut snapshots: Vec<_> = image.snapshots.into_iter().collect();
    snapshots.sort_by_key(|snapshot| snapshot.batch);
    let mut snapshots = snapshots.into_iter().peekable();
    for (batch, delta) in image.deltas {
        while let Some(snapshot) = snapshots.next_if(|snapshot| snapshot.batch < batch) {
            state.restore(snapshot.slot, &snapshot.blob)?;
        }
        state.apply(&delta)?;
    }
    snapshots.try_for_each(|snapshot| state.restore(snapshot.slot, &snapshot.blob))
}

fn initial_delta(job: &Job, operator: &Operator) -> Result<Option<Vec<u8>>, DriverError> {
    let Some(path) = operator.initial() else { return Ok(None) };
    let text = recorded::initial(job, path)?;
    state::initial::read(&text).map(Some).map_err(|message| {
        DriverError::new(Class::Usage, format!("cannot read initial state {}", path.display())).detail(message)
    })
}

/// Digests are compared between equal settings only: what of an output decides the elements it covers.
pub fn output_settings(operator: &Operator) -> String {
    match operator {
        Operator::Pprint { num, .. } => format!("pprint {num}"),
        Operator::SaveAsTextFiles { .. } => "text".to_owned(),
        Operator::ToFile { format, layout, .. } => format!("file {format:?} {layout:?}"),
        Operator::ToKafka(_) => "kafka".to_owned(),
        Operator::Command { .. } => "command".to_owned(),
        other => other.name().to_owned(),
    }
}

//! One task: the fused steps of a stage over one partition, chunk by chunk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    BatchFailure, Executor, Held,
    poison::{DeadLetter, Origin, PoisonCount},
    shared::Shared,
};
use crate::{
    expr::{EvalErrorKind, Evaluator, element},
    job::{OnError, Operator},
    lineage::{Root, Stage, Terminal},
    model::{Column, text::repr},
    operator::{Cause, Collector, Narrow, Partial, PoisonElement, narrow},
};

/// Characters of an element's text that a message shows.
const SHOWN_CHARS: usize = 200;

/// The working parts of one stage for one partition.
pub(super) struct Lane<'a> {
    executor: &'a Executor,
    stage: Option<&'a Stage>,
    idx: usize,
    shared: &'a Shared,
    evaluator: Evaluator,
    nodes: Vec<LaneNode>,
    /// Bytes of collectors, steps and dead letters.
    held: u64,
    /// Bytes of dead letters.
    letters: u64,
    result: LaneResult,
    /// Poison of the chunk in hand that is to be kept: it is traced to its record.
    letters_due: Vec<DeadLetter>,
}

struct LaneNode {
    narrow: Option<Box<dyn Narrow>>,
    collectors: Vec<(Terminal, usize, Box<dyn Collector>)>,
}

/// What a task leaves behind.
#[derive(Default)]
pub(super) struct LaneResult {
    /// Each with its bytes, which stay held.
    pub partials: Vec<(Terminal, usize, Partial, u64)>,
    pub records: u64,
    pub poison: Vec<PoisonCount>,
    pub dead_letters: Vec<DeadLetter>,
}

/// Turns a panic into a failure of the batch.
pub(super) fn contained<T>(run: impl FnOnce() -> Result<T, BatchFailure>) -> Result<T, BatchFailure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(BatchFailure::Panicked { message })
    })
}

impl<'a> Lane<'a> {
    pub fn new(executor: &'a Executor, stage: Option<&'a Stage>, idx: usize, shared: &'a Shared) -> Self {
        let nodes = stage.map_or(Vec::new(), |stage| parts(executor, stage));
        Self {
            executor,
            stage,
            idx,
            shared,
            evaluator: executor.evaluator(),
            nodes,
            held: 0,
            letters: 0,
            result: LaneResult::default(),
            letters_due: Vec::new(),
        }
    }

    /// One chunk of the root, through all steps.
    pub fn push(&mut self, chunk: Column) -> Result<(), BatchFailure> {
        if self.shared.is_moot(self.idx) {
            return Err(BatchFailure::Moot);
        }
        self.result.records += chunk.len() as u64;
        if self.nodes.is_empty() || chunk.is_empty() {
            return Ok(());
        }
        let flowed = self.flow(0, chunk.clone());
        match flowed {
            Err(BatchFailure::Poison { step, line, cause, value, .. }) => {
                let traced = self.trace(&chunk);
                return Err(self.first_failure(&traced, (step, line, cause, value)));
            }
            other => other?,
        }
        let due = std::mem::take(&mut self.letters_due);
        if !due.is_empty() {
            let mut letters = self.trace(&chunk);
            letters.retain(|letter| !matches!(letter.to, OnError::Fail | OnError::Skip));
            self.keep_due(&mut letters, &due);
            self.letters += letters.iter().map(DeadLetter::memory_bytes).sum::<usize>() as u64;
            self.result.dead_letters.append(&mut letters);
        }
        self.account()
    }

    /// The end of the partition: what steps and collectors have kept.
    pub fn finish(mut self) -> Result<LaneResult, BatchFailure> {
        for at in 0..self.nodes.len() {
            let Some(mut narrow) = self.nodes[at].narrow.take() else { continue };
            let last = narrow.finish(&mut self.evaluator).map_err(|failure| self.failed(at, failure))?;
            if let Some(chunk) = last {
                self.hand_on(at, chunk)?;
            }
        }
        self.account()?;
        for node in self.nodes {
            for (terminal, feed, collector) in node.collectors {
                let bytes = collector.memory_bytes() as u64;
                self.result.partials.push((terminal, feed, collector.finish(), bytes));
            }
        }
        Ok(self.result)
    }

    /// `chunk` arrives at a node: its step, then everything behind it.
    fn flow(&mut self, at: usize, chunk: Column) -> Result<(), BatchFailure> {
        let Some(narrow) = &mut self.nodes[at].narrow else { return self.hand_on(at, chunk) };
        let applied = narrow.apply(chunk.clone(), &mut self.evaluator);
        if let Some(bytes) = self.evaluator.take_overflow() {
            return self.flow_in_halves(at, &chunk, bytes as u64);
        }
        let (applied, poison) = match applied {
            Ok(applied) => applied,
            Err(failure) => return Err(self.failed(at, failure)),
        };
        let bytes = applied.memory_bytes();
        if self.evaluator.chunk_bytes.is_some_and(|most| bytes > most) && chunk.len() > 1 {
            // A kernel makes its whole column at once.
            return self.flow_in_halves(at, &chunk, bytes as u64);
        }
        if !poison.is_empty() {
            let step = self.stage.and_then(|stage| stage.nodes[at].step);
            self.poisoned(step, &chunk, &poison)?;
        }
        let bytes = bytes as u64;
        let held = self.shared.hold(0, bytes);
        held.map_err(|held| self.shared.too_much(self.name(at), Held::Batch, held))?;
        let flowed = self.hand_on(at, applied);
        self.shared.release(bytes);
        flowed
    }

    /// What a step made of `chunk` was too large to be held at once.
    fn flow_in_halves(&mut self, at: usize, chunk: &Column, bytes: u64) -> Result<(), BatchFailure> {
        if chunk.len() < 2 {
            return Err(self.shared.too_much(self.name(at), Held::Element, bytes));
        }
        let middle = chunk.len() / 2;
        self.flow(at, chunk.slice(0..middle))?;
        self.account()?;
        self.flow(at, chunk.slice(middle..chunk.len()))
    }

    /// `chunk` leaves a node: to the terminals there, and to the steps behind.
    fn hand_on(&mut self, at: usize, chunk: Column) -> Result<(), BatchFailure> {
        if chunk.is_empty() {
            return Ok(());
        }
        for idx in 0..self.nodes[at].collectors.len() {
            let (terminal, _, collector) = &mut self.nodes[at].collectors[idx];
            let step = terminal.step;
            let poison = collector
                .push(chunk.clone(), &mut self.evaluator)
                .map_err(|failure| self.executor.step_failure(step, failure))?;
            if !poison.is_empty() {
                self.poisoned(Some(step), &chunk, &poison)?;
            }
        }
        let children = self.stage.map_or(&[][..], |stage| &stage.nodes[at].children);
        for (nth, &child) in children.iter().enumerate() {
            if nth + 1 == children.len() {
                return self.flow(child, chunk);
            }
            self.flow(child, chunk.clone())?;
        }
        Ok(())
    }

    /// What `on_error` says about elements that a step left out.
    fn poisoned(&mut self, step: Option<usize>, chunk: &Column, poison: &[PoisonElement]) -> Result<(), BatchFailure> {
        let Some(step) = step.filter(|step| *step < self.executor.job.steps.len()) else { return Ok(()) };
        for element in poison {
            let spec = &self.executor.job.steps[step];
            if let Some(failure) = self.executor.beyond_host(step, &element.cause) {
                return Err(failure);
            }
            match self.on_error(step, chunk, element) {
                OnError::Fail => {
                    return Err(BatchFailure::Poison {
                        step: spec.id.to_string(),
                        line: spec.line,
                        cause: element.cause.clone(),
                        value: shown(chunk, element.idx),
                        position: None,
                    });
                }
                OnError::Skip => {}
                OnError::DeadLetterFile(_) | OnError::DeadLetterTopic { .. } => {
                    let due = self.dead(step, chunk, element);
                    self.letters_due.push(due);
                }
            }
        }
        if !poison.is_empty() {
            let step = self.executor.job.steps[step].id.to_string();
            self.result.poison.push(PoisonCount { step, count: poison.len() as u64 });
        }
        Ok(())
    }

    /// The step's own word, else the source's for a record that cannot be decoded, else the job's.
    fn on_error(&self, step: usize, chunk: &Column, poison: &PoisonElement) -> &'a OnError {
        let job = &self.executor.job;
        let of_source = || match (self.stage?.root, &poison.cause) {
            (Root::Source(source), Cause::Lambda(error)) if error.kind == EvalErrorKind::Decode => {
                let undecodable = matches!(chunk, Column::Record(_)) && element(chunk, poison.idx as usize).is_err();
                job.sources.get(source)?.on_error.as_ref().filter(|_| undecodable)
            }
            _ => None,
        };
        job.steps[step].on_error.as_ref().or_else(of_source).unwrap_or(&job.on_error)
    }

    /// Runs the records of a chunk one by one, through fresh working parts, and says which record gave which poison.
    fn trace(&mut self, chunk: &Column) -> Vec<DeadLetter> {
        let Some(stage) = self.stage else { return Vec::new() };
        let mut letters = Vec::new();
        for row in 0..chunk.len() {
            let mut parts = parts(self.executor, stage);
            let record = chunk.slice(row..row + 1);
            let mut found = Vec::new();
            self.trace_node(stage, &mut parts, 0, record.clone(), &mut found);
            letters.extend(found.into_iter().map(|found| DeadLetter { origin: origin(&record), ..found }));
        }
        letters
    }

    /// The failure of the first record that has one, whatever the chunks are: a chunk meets that of the first step first,
    /// given here as `met`.
    fn first_failure(&self, traced: &[DeadLetter], met: (String, usize, Cause, String)) -> BatchFailure {
        let (step, line, cause, value) = met;
        let steps = &self.executor.job.steps;
        let of = |letter: &DeadLetter| steps.iter().find(|spec| *spec.id == *letter.step);
        // Alone, every record is the first of its key.
        let is_sure = |letter: &DeadLetter| {
            of(letter).is_some_and(|spec| !matches!(spec.operator, Operator::CombineByKey { .. }))
                || (letter.step == step && letter.value == value)
        };
        let first = traced.iter().find(|letter| letter.to == OnError::Fail && is_sure(letter));
        let position = |letter: &DeadLetter| {
            letter.origin.as_ref().map(|origin| format!("{} offset {}", origin.tp, origin.offset))
        };
        match first.and_then(|first| Some((first, of(first)?.line))) {
            Some((first, line)) => BatchFailure::Poison {
                step: first.step.clone(),
                line,
                cause: first.cause.clone(),
                value: first.value.clone(),
                position: position(first),
            },
            None => {
                let position = traced.iter().find(|letter| letter.step == step).and_then(position);
                BatchFailure::Poison { step, line, cause, value, position }
            }
        }
    }

    fn trace_node(
        &mut self,
        stage: &Stage,
        parts: &mut [LaneNode],
        at: usize,
        chunk: Column,
        found: &mut Vec<DeadLetter>,
    ) {
        let mut chunk = chunk;
        if let (Some(narrow), Some(step)) = (&mut parts[at].narrow, stage.nodes[at].step) {
            let Ok((applied, poison)) = narrow.apply(chunk.clone(), &mut self.evaluator) else { return };
            found.extend(poison.iter().map(|element| self.dead(step, &chunk, element)));
            chunk = applied;
        }
        if chunk.is_empty() {
            return;
        }
        for (terminal, _, collector) in &mut parts[at].collectors {
            let Ok(poison) = collector.push(chunk.clone(), &mut self.evaluator) else { continue };
            found.extend(poison.iter().map(|element| self.dead(terminal.step, &chunk, element)));
        }
        for &child in &stage.nodes[at].children {
            self.trace_node(stage, parts, child, chunk.clone(), found);
        }
    }

    /// Whether a step can take an element may hang on those before it: `create` of `combine_by_key` gets the first of a
    /// key, and a record that is run alone is always the first. What was not due is dropped; of two that look alike the
    /// first one is it, since only elements before the key's first combiner are left out.
    fn keep_due(&self, letters: &mut Vec<DeadLetter>, due: &[DeadLetter]) {
        let steps = &self.executor.job.steps;
        for step in steps.iter().filter(|step| matches!(step.operator, Operator::CombineByKey { .. })) {
            let mut due = due.iter().filter(|letter| *letter.step == *step.id).peekable();
            letters.retain(|letter| {
                *letter.step != *step.id
                    || due.next_if(|due| due.value == letter.value && due.cause == letter.cause).is_some()
            });
        }
    }

    fn dead(&self, step: usize, chunk: &Column, poison: &PoisonElement) -> DeadLetter {
        DeadLetter {
            to: self.on_error(step, chunk, poison).clone(),
            step: self.executor.job.steps[step].id.to_string(),
            cause: poison.cause.clone(),
            value: shown(chunk, poison.idx),
            origin: None,
        }
    }

    /// Adds what this lane holds to what all lanes hold, and compares with the limit.
    fn account(&mut self) -> Result<(), BatchFailure> {
        let (mut largest, mut now) = ((0, 0), self.letters);
        for (at, node) in self.nodes.iter().enumerate() {
            let narrow = node.narrow.as_ref().map(|narrow| (narrow.memory_bytes() as u64, self.step(at)));
            let collectors =
                node.collectors.iter().map(|(terminal, _, held)| (held.memory_bytes() as u64, terminal.step));
            for (bytes, step) in collectors.chain(narrow) {
                now += bytes;
                largest = largest.max((bytes, step));
            }
        }
        let before = std::mem::replace(&mut self.held, now);
        self.shared.hold_for(|| self.executor.step_name(largest.1), before, now)
    }

    /// The step of a node.
    fn step(&self, at: usize) -> usize {
        self.stage.and_then(|stage| stage.nodes.get(at)?.step).unwrap_or_default()
    }

    fn name(&self, at: usize) -> String {
        self.executor.step_name(self.step(at))
    }

    fn failed(&self, at: usize, failure: crate::operator::StepFailure) -> BatchFailure {
        self.executor.step_failure(self.step(at), failure)
    }
}

/// Fresh working parts of a stage.
fn parts(executor: &Executor, stage: &Stage) -> Vec<LaneNode> {
    let steps = &executor.job.steps;
    let collector = |terminal: &Terminal| match executor.wide.get(&terminal.step) {
        Some(wide) => Some(wide.collector(terminal.input)),
        None => executor.outputs.get(&terminal.step).map(|output| output.collector()),
    };
    stage
        .nodes
        .iter()
        .map(|node| LaneNode {
            narrow: node.step.and_then(|step| narrow(&steps[step].operator)),
            collectors: node
                .terminals
                .iter()
                .filter_map(|(terminal, feed)| Some((*terminal, *feed, collector(terminal)?)))
                .collect(),
        })
        .collect()
}

/// An element's text for a message; undecodable ones show their record's position only.
fn shown(chunk: &Column, idx: u32) -> String {
    let Ok(value) = element(chunk, idx as usize) else { return String::new() };
    let text = repr(&value);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn origin(record: &Column) -> Option<Origin> {
    let Column::Record(column) = record else { return None };
    Some(Origin {
        tp: column.tp.clone(),
        offset: *column.offsets.first()?,
        timestamp: column.timestamps.first().copied().unwrap_or(-1),
        headers: column
            .headers(0)
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_deref().map(<[u8]>::to_vec)))
            .collect(),
        key: column.keys.get(0).map(<[u8]>::to_vec),
        value: column.values.get(0).map(<[u8]>::to_vec),
    })
}

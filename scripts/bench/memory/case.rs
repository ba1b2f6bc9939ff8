//! The cases: what is computed, against what, and how good it must be.

use std::{error::Error, sync::Arc, thread};

use clap::ValueEnum;
use kstream::model::{Column, StrColumn, ValueFormat};

use super::{
    engine::Engine,
    source::{Memory, values},
};
use crate::{
    compute::{self, Reference},
    consume::Computation,
    counts::Counts,
    workload::{Messages, Workload},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Lines of ten words, split and counted; against a loop by hand.
    Lines,
    /// One word a record, counted; against a loop by hand.
    Words,
    /// JSON of 300 bytes, decoded by the source; filtered, summed by country; against serde_json by hand.
    Json,
    /// The same by `json.loads` in a lambda.
    JsonLoads,
    /// `line.split(" ")` as column kernel, against the evaluator.
    Split,
    /// `(word, 1)`
    Pair,
    /// `pair[0] * 3 + pair[1] % 7 - 1`
    Arithmetic,
    /// Lines on one thread and on two.
    Scaling,
    /// The loop by hand on one thread and on two: what the cores give at that moment.
    ScalingByHand,
}

/// What must hold of a case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars {
    /// CPU nanoseconds an element.
    pub most_ns: Option<f64>,
    /// CPU of the rival's.
    pub most_of_rival: Option<f64>,
    /// How many times the rival's CPU.
    pub least_cheaper: Option<f64>,
    /// How many times the rival's wall time.
    pub least_faster: Option<f64>,
}

/// One way to compute a case's result.
pub type Run = Box<dyn Fn() -> Result<Counts, Box<dyn Error>>>;

/// kstream and its rival on the same records, and the right answer.
pub struct Contest {
    pub elements: usize,
    pub own: Run,
    pub rival: Run,
    pub truth: Counts,
}

impl Case {
    pub fn name(self) -> &'static str {
        match self {
            Case::Lines => "lines",
            Case::Words => "words",
            Case::Json => "json",
            Case::JsonLoads => "json-loads",
            Case::Split => "split",
            Case::Pair => "pair",
            Case::Arithmetic => "arithmetic",
            Case::Scaling => "scaling",
            Case::ScalingByHand => "scaling by hand",
        }
    }

    pub fn rival(self) -> &'static str {
        match self {
            Case::Lines | Case::Words | Case::Json | Case::JsonLoads => "by hand",
            Case::Split | Case::Pair | Case::Arithmetic => "evaluator",
            Case::Scaling | Case::ScalingByHand => "one thread",
        }
    }

    pub fn bars(self) -> Bars {
        match self {
            Case::Lines => Bars { most_ns: Some(300.0), most_of_rival: Some(1.5), ..Bars::default() },
            Case::Words | Case::ScalingByHand => Bars::default(),
            Case::Json | Case::JsonLoads => Bars { most_of_rival: Some(1.3), ..Bars::default() },
            Case::Split | Case::Pair | Case::Arithmetic => Bars { least_cheaper: Some(5.0), ..Bars::default() },
            Case::Scaling => Bars { least_faster: Some(1.7), ..Bars::default() },
        }
    }

    /// Whether it is about the time that passes, not about the CPU's.
    pub fn is_of_wall_time(self) -> bool {
        matches!(self, Case::Scaling | Case::ScalingByHand)
    }

    pub fn contest(self, count: u64) -> Result<Contest, Box<dyn Error>> {
        match self {
            Case::Lines => by_hand("lines", Workload::Lines, ValueFormat::Utf8, count),
            Case::Words => by_hand("words", Workload::Words, ValueFormat::Utf8, count),
            Case::Json => by_hand("json", Workload::Json, ValueFormat::Json, count / 4),
            Case::JsonLoads => by_hand("json_loads", Workload::Json, ValueFormat::Utf8, count / 4),
            Case::Scaling => {
                let input = Memory::records(Workload::Lines, count, ValueFormat::Utf8);
                let (own, rival) = (Engine::new("lines", &input, 2, false)?, Engine::new("lines", &input, 1, false)?);
                Ok(Contest::of(&input, own, rival, truth(Workload::Lines, count)))
            }
            Case::ScalingByHand => {
                let input = Memory::records(Workload::Lines, count, ValueFormat::Utf8);
                let (elements, again) = (input.len(), input.clone());
                let own = move || Ok(loop_by_hand(Workload::Lines, &input, 2));
                let rival = move || Ok(loop_by_hand(Workload::Lines, &again, 1));
                let truth = truth(Workload::Lines, count);
                Ok(Contest { elements, own: Box::new(own), rival: Box::new(rival), truth })
            }
            Case::Split => by_evaluator("split", &texts(Workload::Lines, count / 4), truth_alone(count / 4 * 10)),
            Case::Pair => by_evaluator("pair", &texts(Workload::Words, count), truth_alone(count)),
            Case::Arithmetic => {
                let sum = (0..count).map(|nth| nth * 3 + (nth * 31 + 5) % 7 + 1).sum();
                by_evaluator("arithmetic", &number_pairs(count), truth_alone(sum))
            }
        }
    }
}

impl Contest {
    fn of(input: &Memory, own: Engine, rival: Engine, truth: Counts) -> Contest {
        Contest { elements: input.len(), own: Box::new(move || own.run()), rival: Box::new(move || rival.run()), truth }
    }
}

fn by_hand(job: &str, workload: Workload, format: ValueFormat, count: u64) -> Result<Contest, Box<dyn Error>> {
    let input = Memory::records(workload, count, format);
    let own = Engine::new(job, &input, 1, false)?;
    let elements = input.len();
    let rival = move || Ok(loop_by_hand(workload, &input, 1));
    Ok(Contest { elements, own: Box::new(move || own.run()), rival: Box::new(rival), truth: truth(workload, count) })
}

/// Each thread takes its part of the partitions.
fn loop_by_hand(workload: Workload, input: &Memory, threads: usize) -> Counts {
    let of_partitions = |partitions: &[Vec<Column>]| {
        let mut reference = Reference::new(workload);
        values(partitions).for_each(|value| reference.message(value));
        reference
    };
    let parts = input.partitions.chunks(input.partitions.len().div_ceil(threads));
    let tables = thread::scope(|scope| {
        let started: Vec<_> = parts.map(|part| scope.spawn(move || of_partitions(part))).collect();
        started.into_iter().map(|part| part.join().expect("no panic")).collect()
    });
    compute::merge(tables)
}

fn by_evaluator(job: &str, input: &Memory, truth: Counts) -> Result<Contest, Box<dyn Error>> {
    Ok(Contest::of(input, Engine::new(job, input, 1, false)?, Engine::new(job, input, 1, true)?, truth))
}

fn truth(workload: Workload, count: u64) -> Counts {
    let (mut messages, mut text) = (Messages::new(workload), String::new());
    (0..count).for_each(|_| messages.next(&mut text));
    messages.truth()
}

/// A result that is one number.
fn truth_alone(number: u64) -> Counts {
    Counts::from([(String::new(), number)])
}

/// The messages as text that is decoded already.
fn texts(workload: Workload, count: u64) -> Memory {
    let (mut messages, mut text) = (Messages::new(workload), String::new());
    Memory::fill(count, |_, _, size| {
        let column: StrColumn = (0..size)
            .map(|_| {
                messages.next(&mut text);
                text.clone()
            })
            .collect();
        Column::Str(column)
    })
}

/// Pairs of `n` and `n * 31 + 5`.
fn number_pairs(count: u64) -> Memory {
    let mut next = 0..count as i64;
    Memory::fill(count, |_, _, size| {
        let left: Vec<i64> = next.by_ref().take(size).collect();
        let right = left.iter().map(|nth| nth * 31 + 5).collect();
        Column::Tuple([Column::Int(Arc::new(left)), Column::Int(Arc::new(right))].into())
    })
}

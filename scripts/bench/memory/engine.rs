//! kstream's engine on one job text and one memory source, without driver, checkpoint and sinks.

use std::{collections::HashMap, error::Error, path::Path};

use kstream::{
    executor::{BatchInput, Executor, ExecutorSettings},
    expr::Limits,
    job::{self, Colour, Overrides},
    model::{BatchTime, OffsetRange, Value},
    sink::Content,
    source::Source,
};

use super::source::{CHUNK_RECORDS, Memory};
use crate::counts::Counts;

pub struct Engine {
    executor: Executor,
    sources: Vec<Box<dyn Source>>,
    ranges: Vec<OffsetRange>,
}

impl Engine {
    /// `job` is one of the files below `scripts/bench/jobs/`.
    pub fn new(job: &str, input: &Memory, threads: usize, force_evaluator: bool) -> Result<Engine, Box<dyn Error>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench/jobs").join(job).with_extension("toml");
        let environment = |name: &str| Some(name.to_lowercase());
        let (job, _) =
            job::load(&path, &Overrides::default(), &environment).map_err(|error| error.render(Colour::Plain))?;
        let settings = ExecutorSettings {
            threads,
            chunk_records: CHUNK_RECORDS,
            stall_timeout_ms: 1_000,
            memory_limit_bytes: job.memory_limit_bytes,
            force_evaluator,
            limits: Limits::default(),
        };
        let executor = Executor::new(job, settings).map_err(|failure| failure.to_string())?;
        Ok(Engine { executor, sources: vec![Box::new(input.clone())], ranges: input.ranges() })
    }

    /// One batch over all records; what its one output shows.
    pub fn run(&self) -> Result<Counts, Box<dyn Error>> {
        let input = BatchInput {
            time: BatchTime(1_000),
            zero: BatchTime(0),
            sources: &self.sources,
            ranges: &self.ranges,
            states: &HashMap::new(),
        };
        let executed = self.executor.execute(&input).map_err(|failure| failure.to_string())?;
        if !executed.poison.is_empty() {
            return Err(format!("records left out: {:?}", executed.poison).into());
        }
        let (_, delivered) = executed.outputs.into_iter().next().ok_or("no output")?;
        let Content::Shown { elements, more: false } = delivered.content else {
            return Err("the output shows only a part".into());
        };
        elements.iter().map(count).collect::<Option<_>>().ok_or_else(|| format!("no count: {elements:?}").into())
    }
}

/// `('key', number)`, or a number alone.
fn count(element: &Value) -> Option<(String, u64)> {
    let (name, number) = match element {
        Value::Int(number) => (String::new(), number),
        pair => match pair.as_pair()? {
            (Value::Str(key), Value::Int(number)) => (key.to_string(), number),
            _ => return None,
        },
    };
    Some((name, u64::try_from(*number).ok()?))
}

//! The text of `kstream explain`: stages, shuffles, outputs, state, and how each lambda runs.

use std::fmt::Write;

use super::{Lineage, Need, Node, Root, Stage};
use crate::{
    expr::{Function, Reducer},
    job::{Job, Operator, SourceKind, ToTopic, TopicSelection},
};

/// What a batch of `job` does, in the order in which it is done.
pub fn explain(job: &Job) -> String {
    let lineage = Lineage::of(job);
    let mut text = format!("{}: a batch every {} ms\n", job.name, job.batch_interval_ms);
    for (idx, stage) in lineage.stages.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\nstage {idx}: {}", root(job, stage.root));
        put_node(&mut text, job, stage, &stage.nodes[0], 1);
    }
    put_wide(&mut text, job, &lineage);
    put_lambdas(&mut text, job);
    text
}

fn root(job: &Job, root: Root) -> String {
    match root {
        Root::Source(source) => {
            let spec = &job.sources[source];
            let what = match &spec.kind {
                SourceKind::Queue { path, .. } => format!("queue {}", path.display()),
                SourceKind::Kafka(kafka) => match &kafka.topics {
                    TopicSelection::Topics(topics) => format!("topics {}", topics.join(", ")),
                    TopicSelection::Pattern(pattern) => format!("topics like {pattern}"),
                    TopicSelection::Assign(partitions) => {
                        partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                    }
                },
            };
            format!("source {} ({what}), one task a topic partition", spec.name)
        }
        Root::Shuffled(step) => format!("result of {}, one task a partition", job.steps[step].id),
        Root::InKeyOrder(step) => format!("result of {}, in key order", job.steps[step].id),
    }
}

fn put_node(text: &mut String, job: &Job, stage: &Stage, node: &Node, depth: usize) {
    let indent = "  ".repeat(depth);
    for (terminal, _) in &node.terminals {
        let step = &job.steps[terminal.step];
        let kind = if step.operator.is_output() { "output" } else { "shuffle to" };
        let _ = writeln!(text, "{indent}-> {kind} {}", step.id);
    }
    for &child in &node.children {
        let child = &stage.nodes[child];
        if let Some(step) = child.step {
            let _ = writeln!(text, "{indent}{}", job.steps[step].id);
        }
        put_node(text, job, stage, child, depth + 1);
    }
}

fn put_wide(text: &mut String, job: &Job, lineage: &Lineage) {
    for &step in &lineage.wide {
        let spec = &job.steps[step];
        let partitions = spec.operator.partitions().map_or("1 partition".to_owned(), |n| format!("{n} partitions"));
        let need = match lineage.needs[step] {
            Need::Any => "in any order",
            Need::First(_) => "first keys only",
            Need::Sorted => "sorted by key",
        };
        let need = if super::keyed(&spec.operator) { format!(", {need}") } else { String::new() };
        let state = if spec.operator.is_stateful() { ", keeps state" } else { "" };
        let _ = writeln!(text, "\nshuffle {}: {partitions}{need}{state}", spec.id);
    }
}

fn put_lambdas(text: &mut String, job: &Job) {
    let mut first = true;
    for step in &job.steps {
        for (function, role) in functions(&step.operator) {
            if std::mem::take(&mut first) {
                text.push_str("\nlambdas:\n");
            }
            let source = function.source().split_whitespace().collect::<Vec<_>>().join(" ");
            let runs = match (role, function.reducer()) {
                (Role::Fold, Reducer::Other) => {
                    "starlark: of folds, `a + b`, `a * b`, minimum, maximum, `a` and `b` are native".to_owned()
                }
                (Role::Fold, Reducer::MinOfInts | Reducer::MaxOfInts) => "native for ints".to_owned(),
                (Role::Fold, Reducer::First | Reducer::Last) => "native".to_owned(),
                (Role::Fold, _) => "native for ints and floats".to_owned(),
                (Role::Inverse, _) if function.is_difference() => "native for ints and floats".to_owned(),
                (Role::Inverse, _) => "starlark: of inverse functions, `a - b` is native".to_owned(),
                (Role::Plain, _) => match function.native() {
                    Ok(()) => "native".to_owned(),
                    Err(why) => format!("starlark: because it {why}"),
                },
            };
            let _ = writeln!(text, "  {} `{source}`: {runs}", step.id);
        }
    }
}

/// What a step does with a function.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// Calls it for each element.
    Plain,
    /// Makes one value of two.
    Fold,
    /// Takes a value out of a fold.
    Inverse,
}

/// The functions of a step.
fn functions(operator: &Operator) -> Vec<(&Function, Role)> {
    let plain = |function| (function, Role::Plain);
    let inverse_of = |function| (function, Role::Inverse);
    match operator {
        Operator::Reduce(func) | Operator::ReduceByKey { func, .. } => vec![(func, Role::Fold)],
        Operator::CombineByKey { create, merge_value, merge_combiners, .. } => {
            [create, merge_value, merge_combiners].map(plain).to_vec()
        }
        Operator::ReduceByWindow { func, inverse, .. } => {
            std::iter::once((func, Role::Fold)).chain(inverse.as_ref().map(inverse_of)).collect()
        }
        Operator::ReduceByKeyAndWindow { func, inverse, filter, .. } => {
            let others = inverse.as_ref().map(inverse_of).into_iter().chain(filter.as_ref().map(plain));
            std::iter::once((func, Role::Fold)).chain(others).collect()
        }
        Operator::ToKafka(spec) => {
            let by = match &spec.topic {
                ToTopic::By(function) => Some(function),
                ToTopic::Name(_) => None,
            };
            let others = [&spec.key, &spec.value, &spec.headers, &spec.partition].into_iter().flatten();
            by.into_iter().chain(others).map(plain).collect()
        }
        other => other.function().map(plain).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Overrides, load};

    /// The lambdas of a job with these steps, and how each runs.
    fn verdicts(steps: &str) -> String {
        let text = format!(
            "name = 'a'\nbatch_interval = '1s'\n[source]\nkind = 'kafka'\ntopics = ['t']\nbrokers = 'b:9092'\n{steps}"
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        let (job, _) = load(&path, &Overrides::default(), &|_| None).unwrap();
        explain(&job).split_once("lambdas:\n").map(|(_, verdicts)| verdicts.to_owned()).unwrap_or_default()
    }

    #[test]
    fn how_each_lambda_runs_is_told() {
        let steps = [
            "map = 'lambda r: (r.value, 1)'",
            "reduce_by_key = 'lambda a, b: a + b'",
            "reduce_by_key = 'lambda a, b: a if a < b else b'",
            "reduce_by_key = 'lambda a, b: b'",
            "reduce_by_key = 'lambda a, b: a - b'",
            "reduce_by_key_and_window = { func = 'lambda a, b: a + b', inverse = 'lambda a, b: a - b', length = '2s' }",
            "reduce = 'max'",
            "flat_map = 'lambda x: [y for y in x for z in y]'",
            "to_kafka = { topic_by = 'lambda x: str(x)', commit_topic = 'c', value = 'lambda x: str(x)' }",
        ];
        let steps: String = steps.iter().map(|step| format!("[[steps]]\n{step}\n")).collect();
        let expected = "  map#1 `lambda r: (r.value, 1)`: native
  reduce_by_key#1 `lambda a, b: a + b`: native for ints and floats
  reduce_by_key#2 `lambda a, b: a if a < b else b`: native for ints
  reduce_by_key#3 `lambda a, b: b`: native
  reduce_by_key#4 `lambda a, b: a - b`: starlark: of folds, `a + b`, `a * b`, minimum, maximum, `a` and `b` are native
  reduce_by_key_and_window#1 `lambda a, b: a + b`: native for ints and floats
  reduce_by_key_and_window#1 `lambda a, b: a - b`: native for ints and floats
  reduce#1 `max`: native for ints and floats
  flat_map#1 `lambda x: [y for y in x for z in y]`: starlark: because it has a comprehension of several loops
  to_kafka#1 `lambda x: str(x)`: native
  to_kafka#1 `lambda x: str(x)`: native
";
        assert_eq!(verdicts(&steps), expected);
    }
}

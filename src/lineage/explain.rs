//! The text of `kstream explain`: stages, shuffles, outputs, state, and how each lambda runs.

use std::fmt::Write;

use super::{Lineage, Need, Node, Root, Stage};
use crate::{
    expr::Function,
    job::{Job, Operator, SourceKind, TopicSelection},
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
        for function in functions(&step.operator) {
            if std::mem::take(&mut first) {
                text.push_str("\nlambdas:\n");
            }
            let source = function.source().split_whitespace().collect::<Vec<_>>().join(" ");
            let runs = match function.native() {
                Ok(()) => "native".to_owned(),
                Err(why) => format!("starlark: because {why}"),
            };
            let _ = writeln!(text, "  {} `{source}`: {runs}", step.id);
        }
    }
}

fn functions(operator: &Operator) -> Vec<&Function> {
    match operator {
        Operator::CombineByKey { create, merge_value, merge_combiners, .. } => {
            vec![create, merge_value, merge_combiners]
        }
        Operator::ReduceByWindow { func, inverse, .. } => {
            [Some(func), inverse.as_ref()].into_iter().flatten().collect()
        }
        Operator::ReduceByKeyAndWindow { func, inverse, filter, .. } => {
            [Some(func), inverse.as_ref(), filter.as_ref()].into_iter().flatten().collect()
        }
        Operator::ToKafka(spec) => {
            [&spec.key, &spec.value, &spec.headers, &spec.partition].into_iter().flatten().collect()
        }
        other => other.function().into_iter().collect(),
    }
}

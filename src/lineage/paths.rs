//! Walks from every terminal back to its roots and lays the paths into one tree a root.

use super::{Lineage, Need, Node, Root, Shape, Stage, Terminal, keyed, resolve, shape};
use crate::job::{Input, Job, Operator};

/// A way from a root to a terminal: the narrow steps on it, in order.
#[derive(Debug, Clone)]
struct Path {
    root: Root,
    steps: Vec<usize>,
}

pub(super) fn stages(job: &Job) -> Lineage {
    let wide = wide_order(job);
    let outputs: Vec<usize> = (0..job.steps.len()).filter(|&step| job.steps[step].operator.is_output()).collect();
    let mut stages: Vec<Stage> = Vec::new();
    let mut feeds = vec![Vec::new(); job.steps.len()];
    for &step in wide.iter().chain(&outputs) {
        for (input, &from) in job.steps[step].inputs.iter().enumerate() {
            let paths = paths(job, from);
            let roots = paths.iter().map(|path| root_for(job, step, path)).collect();
            feeds[step].push(roots);
            for (feed, path) in paths.iter().enumerate() {
                let root = root_for(job, step, path);
                let stage = find_or_add(&mut stages, root);
                let node = stage.grow(&path.steps);
                stage.nodes[node].terminals.push((Terminal { step, input }, feed));
            }
        }
    }
    let order = |root: Root| root.step().map(|step| wide.iter().position(|&other| other == step));
    stages.sort_by_key(|stage| (order(stage.root), stage.root));
    let needs = vec![Need::Any; job.steps.len()];
    Lineage { stages, wide, outputs, needs, feeds }
}

fn find_or_add(stages: &mut Vec<Stage>, root: Root) -> &mut Stage {
    let at = stages.iter().position(|stage| stage.root == root).unwrap_or_else(|| {
        stages.push(Stage { root, nodes: vec![Node { step: None, children: Vec::new(), terminals: Vec::new() }] });
        stages.len() - 1
    });
    &mut stages[at]
}

impl Stage {
    /// The node at the end of `steps`, added where it is missing.
    fn grow(&mut self, steps: &[usize]) -> usize {
        let mut at = 0;
        for &step in steps {
            let child = self.nodes[at].children.iter().copied().find(|&child| self.nodes[child].step == Some(step));
            at = child.unwrap_or_else(|| {
                self.nodes.push(Node { step: Some(step), children: Vec::new(), terminals: Vec::new() });
                let child = self.nodes.len() - 1;
                self.nodes[at].children.push(child);
                child
            });
        }
        at
    }
}

/// All ways from roots to the stream that `input` names, in the order of its partitions.
fn paths(job: &Job, input: Input) -> Vec<Path> {
    match resolve(job, input) {
        Input::Source(source) => vec![Path { root: Root::Source(source), steps: Vec::new() }],
        Input::Step(step) => match shape(&job.steps[step].operator) {
            Shape::Wide => vec![Path { root: Root::Shuffled(step), steps: Vec::new() }],
            Shape::Union => job.steps[step].inputs.iter().flat_map(|&input| paths(job, input)).collect(),
            Shape::Narrow | Shape::Output => {
                let mut paths = paths(job, job.steps[step].inputs[0]);
                paths.iter_mut().for_each(|path| path.steps.push(step));
                paths
            }
        },
    }
}

/// Consumers that look at a batch as one sequence see a keyed result in key order over all its partitions.
fn root_for(job: &Job, consumer: usize, path: &Path) -> Root {
    let one_sequence = matches!(
        job.steps[consumer].operator,
        Operator::Pprint { .. } | Operator::Take(_) | Operator::Transform(_) | Operator::SortBy { .. }
    );
    let by_partition = |step: &usize| matches!(job.steps[*step].operator, Operator::MapPartitions(_) | Operator::Glom);
    match path.root {
        Root::Shuffled(step)
            if one_sequence && keyed(&job.steps[step].operator) && !path.steps.iter().any(by_partition) =>
        {
            Root::InKeyOrder(step)
        }
        root => root,
    }
}

/// Wide steps that an output needs, each after those it reads.
fn wide_order(job: &Job) -> Vec<usize> {
    let mut order = Vec::new();
    for (step, _) in job.steps.iter().enumerate().filter(|(_, step)| step.operator.is_output()) {
        visit(job, Input::Step(step), &mut order);
    }
    order
}

fn visit(job: &Job, input: Input, order: &mut Vec<usize>) {
    let Input::Step(step) = input else { return };
    if order.contains(&step) {
        return;
    }
    job.steps[step].inputs.iter().for_each(|&input| visit(job, input, order));
    if shape(&job.steps[step].operator) == Shape::Wide {
        order.push(step);
    }
}

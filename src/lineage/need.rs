//! How much of a keyed result anyone looks at, and whether its order can be seen.

use super::{Lineage, Root, Terminal};
use crate::job::{Job, Operator};

/// Which keys of a wide step's result the stages after it look at, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// All, in no order that anyone can see.
    Any,
    /// The first so many in key order; nothing else.
    First(usize),
    /// All, in key order.
    Sorted,
}

impl Need {
    fn and(self, other: Need) -> Need {
        match (self, other) {
            (Need::First(a), Need::First(b)) => Need::First(a.max(b)),
            (Need::Any, Need::Any) => Need::Any,
            _ => Need::Sorted,
        }
    }
}

pub(super) fn needs(job: &Job, lineage: &Lineage) -> Vec<Need> {
    (0..job.steps.len()).map(|step| need(job, lineage, step)).collect()
}

fn need(job: &Job, lineage: &Lineage, step: usize) -> Need {
    let mut needs = Vec::new();
    for stage in lineage.stages.iter().filter(|stage| stage.root.step() == Some(step)) {
        for (at, node) in stage.nodes.iter().enumerate() {
            for (terminal, _) in &node.terminals {
                needs.push(of_terminal(job, stage.root, at == 0, *terminal));
            }
        }
    }
    match (needs.into_iter().reduce(Need::and).unwrap_or(Need::Any), &job.steps[step].operator) {
        // A key of a join gives any number of pairs, also none.
        (Need::First(_), Operator::Join { .. }) => Need::Sorted,
        (need, _) => need,
    }
}

/// What a terminal needs of its root; `direct` where no narrow step stands between.
fn of_terminal(job: &Job, root: Root, direct: bool, terminal: Terminal) -> Need {
    match (&job.steps[terminal.step].operator, root) {
        (Operator::Pprint { num, .. }, Root::InKeyOrder(_)) if direct => {
            Need::First(usize::try_from(*num).unwrap_or(usize::MAX).saturating_add(1))
        }
        (Operator::Take(count), Root::InKeyOrder(_)) if direct => {
            Need::First(usize::try_from(*count).unwrap_or(usize::MAX))
        }
        (Operator::Count | Operator::CountByWindow(_), _) => Need::Any,
        _ => Need::Sorted,
    }
}

//! What an edit of the job means for its checkpoint: which differences may stand, which drop something, which may not be.

mod source;
mod state;
#[cfg(test)]
mod tests;

pub use state::{heirs, taken_over};

use std::collections::BTreeMap;

use super::{
    operator::{Operator, Step},
    quantity::{duration_text, time_zone_text},
    spec::Job,
    text::on_error_table,
};

/// One difference between the job of the checkpoint and the job that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Lower case, no final period.
    pub text: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Goes on only where the user agrees to lose exactly this.
    NeedsAcceptance {
        drops: Vec<Dropped>,
    },
    Refused {
        hint: String,
    },
}

/// A part of the checkpoint that an edit leaves without an owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// State of the step with this id.
    State { step: String },
    /// Offsets of all partitions of a source.
    Source { source: String },
    /// Offsets of one topic of a source.
    Topic { source: String, topic: String },
    /// Offsets of one partition of a source.
    Partition { source: String, topic: String, partition: i32 },
    /// Offsets of those topics of a source that its new selection does not name.
    Unmatched { source: String },
}

/// All differences that matter to a checkpoint, and the harmless ones for the log. Pure.
pub fn compare(old: &Job, new: &Job) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare_names(old, new, &mut differences);
    compare_intervals(old, new, &mut differences);
    source::compare_sources(old, new, &mut differences);
    state::compare_unnamed_state(old, new, &mut differences);
    state::compare_state(old, new, &mut differences);
    compare_other_steps(old, new, &mut differences);
    compare_settings(old, new, &mut differences);
    differences
}

fn allowed(text: String) -> Difference {
    Difference { text, verdict: Verdict::Allowed }
}

fn drops(text: String, drops: Vec<Dropped>) -> Difference {
    Difference { text, verdict: Verdict::NeedsAcceptance { drops } }
}

fn state_of(step: &Step) -> Dropped {
    Dropped::State { step: step.id.to_string() }
}

fn compare_names(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    if old.name != new.name {
        let text = format!("the checkpoint belongs to job `{}`, this is job `{}`", old.name, new.name);
        let hint = format!("keep the name `{}`, or give this job a `checkpoint_dir` of its own", old.name);
        differences.push(Difference { text, verdict: Verdict::Refused { hint } });
    }
}

/// Whether a state counts time, so that it means nothing to another batch interval.
fn is_timed(operator: &Operator) -> bool {
    operator.window().is_some() || matches!(operator, Operator::MapWithState { timeout_ms: Some(_), .. })
}

fn compare_intervals(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    if old.batch_interval_ms == new.batch_interval_ms {
        return;
    }
    let (before, after) = (duration_text(old.batch_interval_ms), duration_text(new.batch_interval_ms));
    let text = format!("`batch_interval` was {before}, is {after}");
    let lost: Vec<Dropped> = old.steps.iter().filter(|step| is_timed(&step.operator)).map(state_of).collect();
    differences.push(match lost.is_empty() {
        true => allowed(text),
        false => drops(text, lost),
    });
}

/// Steps by id, as text: functions, parameters and inputs.
fn step_texts(job: &Job) -> BTreeMap<String, String> {
    let text = |(idx, step): (usize, &Step)| (step.id.to_string(), job.step_table(idx, step).to_string());
    job.steps.iter().enumerate().map(text).collect()
}

fn compare_other_steps(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let (before, after) = (step_texts(old), step_texts(new));
    let keeps_state = |job: &Job, id: &str| job.steps.iter().any(|step| *step.id == *id && step.operator.is_stateful());
    for (id, text) in &before {
        match after.get(id) {
            None if !keeps_state(old, id) => differences.push(allowed(format!("step `{id}` is gone"))),
            Some(current) if current != text => differences.push(allowed(format!("step `{id}` has changed"))),
            _ => {}
        }
    }
    for id in after.keys().filter(|id| !before.contains_key(*id) && !keeps_state(new, id)) {
        differences.push(allowed(format!("step `{id}` is new")));
    }
}

fn compare_settings(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let zone = |job: &Job| time_zone_text(&job.time_zone);
    let changed = [
        ("on_error", on_error_table(old) != on_error_table(new)),
        ("shuffle_partitions", old.shuffle_partitions != new.shuffle_partitions),
        ("time_zone", zone(old) != zone(new)),
        ("retention", old.retention != new.retention),
        ("mirror_offsets_to", old.mirror_offsets_to != new.mirror_offsets_to),
        ("functions", old.functions != new.functions),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        differences.push(allowed(format!("`{key}` has changed")));
    }
}

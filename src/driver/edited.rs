//! A job that was edited since its checkpoint was written: what it may change, and what goes with the user's consent.

use std::path::Path;

use super::{
    engine::Origins,
    error::{Class, DriverError},
    failed::sentence,
    inputs::Positions,
    options::{AcceptChanges, RunOptions},
};
use crate::{
    job::{self, Dropped, Job, SourceKind, Verdict},
    model::TopicPartition,
    planner::Position,
    protocol::DroppedPartition,
};

/// What the user agreed to lose, and what is known by another name; goes into the next plan.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether the user was asked, and agreed. The next run asks again, unless a plan holds it.
    pub consented: bool,
    /// Parts of sources whose positions go.
    no_longer_read: Vec<Dropped>,
    /// Topic partitions whose positions the next plan gives up.
    pub partitions: Vec<DroppedPartition>,
    /// States that begin anew.
    pub states: Vec<String>,
    /// States that go on under another name: the new one and the old. Those names begin anew, too.
    pub renamed_states: Vec<(String, String)>,
}

impl Accepted {
    /// Where the states of the next batch come from.
    pub fn origins(&self) -> Origins<'_> {
        Origins { dropped: &self.states, renamed: &self.renamed_states }
    }

    /// Takes out of `positions` what `job` no longer reads: for this run it is gone from the start.
    pub fn give_up(&self, job: &Job, positions: &mut Positions) -> Vec<(Position, DroppedPartition)> {
        let mut given_up = Vec::new();
        for (source, of_source) in positions {
            let gone = of_source.extract_if(.., |tp, _| self.goes(job, source, tp));
            let dropped = |(tp, position)| (position, DroppedPartition { source: Some(source.clone()), tp });
            given_up.extend(gone.map(dropped));
        }
        given_up
    }

    /// For the checkpoint it is gone with the next plan.
    pub fn note(&mut self, given_up: Vec<(Position, DroppedPartition)>) {
        for (Position { offset, .. }, dropped) in given_up {
            let source = dropped.source.as_deref().unwrap_or_default();
            tracing::warn!(source, partition = %dropped.tp, offset, "dropping the position of what is no longer read");
            self.partitions.push(dropped);
        }
    }

    /// Besides what the user let go, a rewind may have left positions of an edit that has been taken back.
    fn goes(&self, job: &Job, source: &str, tp: &TopicPartition) -> bool {
        let is_dropped = self.no_longer_read.iter().any(|dropped| match dropped {
            Dropped::Source { source: of } => of == source,
            Dropped::Topic { source: of, topic } => of == source && **topic == *tp.topic,
            Dropped::Partition { source: of, topic, partition } => {
                of == source && **topic == *tp.topic && *partition == tp.partition
            }
            Dropped::State { .. } | Dropped::Unmatched { .. } => false,
        });
        is_dropped || !reads(job, source, tp)
    }
}

/// Compares the job with the one that ran last: refuses, or says what goes.
pub fn edited(dir: &Path, last: &Job, job: &Job, options: &RunOptions) -> Result<Accepted, DriverError> {
    let (mut refused, mut needs, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for difference in job::compare(last, job) {
        match difference.verdict {
            Verdict::Allowed => tracing::info!(change = %difference.text, "the job has changed"),
            Verdict::NeedsAcceptance { drops } => {
                needs.push(difference.text);
                dropped.extend(drops);
            }
            Verdict::Refused { hint } => refused.push((difference.text, hint)),
        }
    }
    let base = || DriverError::new(Class::Refused, format!("the edited job does not fit checkpoint {}", dir.display()));
    if let Some((_, hint)) = refused.first() {
        let hint = sentence(hint);
        let error = refused.iter().fold(base(), |error, (text, _)| error.detail(sentence(text)));
        return Err(error.hint(hint));
    }
    if !needs.is_empty() && options.accept_changes == AcceptChanges::Refuse {
        let error = needs.iter().fold(base(), |error, text| error.detail(sentence(text)));
        return Err(error.hint("Run with --accept-changes to drop exactly this, or take the edit back.".to_owned()));
    }
    let mut accepted = accepted(dropped);
    accepted.consented = !needs.is_empty();
    let goes_on = |(_, old): &(String, String)| !accepted.states.contains(old);
    accepted.renamed_states = job::taken_over(last, job).into_iter().filter(goes_on).collect();
    for name in accepted.renamed_states.iter().flat_map(|(new, old)| [new, old]) {
        if !accepted.states.contains(name) {
            accepted.states.push(name.clone());
        }
    }
    Ok(accepted)
}

/// What exactly goes: states by name, and parts of sources.
fn accepted(dropped: Vec<Dropped>) -> Accepted {
    let mut accepted = Accepted::default();
    for drop in dropped {
        match drop {
            Dropped::State { step } => {
                tracing::warn!(state = %step, "dropping state");
                accepted.states.push(step);
            }
            of_source => accepted.no_longer_read.push(of_source),
        }
    }
    accepted
}

fn reads(job: &Job, source: &str, tp: &TopicPartition) -> bool {
    job.sources.iter().filter(|spec| &*spec.name == source).any(|spec| match &spec.kind {
        // To the rest of the program it is a topic of its own name.
        SourceKind::Queue { partitions, .. } => {
            *tp.topic == *spec.name && u32::try_from(tp.partition).is_ok_and(|at| at < *partitions)
        }
        SourceKind::Kafka(kafka) => kafka.topics.reads_partition(tp),
    })
}

//! A job that was edited since its checkpoint was written: what it may change, and what goes with the user's consent.

use std::path::Path;

use super::{
    engine::Origins,
    error::{Class, DriverError},
    failed::sentence,
    options::{AcceptChanges, RunOptions},
};
use crate::{
    job::{self, Dropped, Job, Verdict},
    model::TopicPartition,
    protocol::Facts,
};

/// What the user agreed to lose, and what is known by another name; goes into the next plan.
#[derive(Debug, Default)]
pub struct Accepted {
    pub partitions: Vec<TopicPartition>,
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
}

/// Compares the job with the one that ran last: refuses, or says what goes.
pub fn edited(dir: &Path, facts: &Facts, last: &Job, job: &Job, options: &RunOptions) -> Result<Accepted, DriverError> {
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
    let mut accepted = accepted(facts, job, &dropped);
    let goes_on = |(_, old): &(String, String)| !accepted.states.contains(old);
    accepted.renamed_states = job::taken_over(last, job).into_iter().filter(goes_on).collect();
    for name in accepted.renamed_states.iter().flat_map(|(new, old)| [new, old]) {
        if !accepted.states.contains(name) {
            accepted.states.push(name.clone());
        }
    }
    Ok(accepted)
}

/// What exactly goes: topic partitions and states by name.
fn accepted(facts: &Facts, job: &Job, dropped: &[Dropped]) -> Accepted {
    let mut accepted = Accepted::default();
    for drop in dropped {
        let gone = |source: &str, tp: &TopicPartition| match drop {
            Dropped::State { .. } => false,
            Dropped::Source { source: of } => of == source,
            Dropped::Topic { source: of, topic } => of == source && **topic == *tp.topic,
            Dropped::Partition { source: of, topic, partition } => {
                of == source && **topic == *tp.topic && *partition == tp.partition
            }
            Dropped::Unmatched { source: of } => of == source && !selects(job, source, tp),
        };
        if let Dropped::State { step } = drop {
            tracing::warn!(state = %step, "dropping state");
            accepted.states.push(step.clone());
        }
        for position in facts.positions.iter().filter(|position| gone(&position.source, &position.tp)) {
            tracing::warn!(partition = %position.tp, offset = position.offset, "dropping the position of a removed topic");
            accepted.partitions.push(position.tp.clone());
        }
    }
    accepted
}

fn selects(job: &Job, source: &str, tp: &TopicPartition) -> bool {
    job.sources.iter().filter(|spec| &*spec.name == source).any(|spec| match &spec.kind {
        job::SourceKind::Queue { .. } => true,
        job::SourceKind::Kafka(kafka) => match &kafka.topics {
            job::TopicSelection::Topics(topics) => topics.contains(&tp.topic),
            job::TopicSelection::Pattern(pattern) => pattern.is_match(&tp.topic),
            job::TopicSelection::Assign(partitions) => partitions.contains(tp),
        },
    })
}

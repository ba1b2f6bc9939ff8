//! What a cluster says of the job, held against the checkpoint, and the refusals that come of it.

use super::{
    super::{
        entry::{Delivered, Home, Refusal, judge},
        ledger::{Found, LEAVE_ALONE},
    },
    Cluster,
};
use crate::{
    model::BatchIdentity,
    sink::{Assume, Published, SinkError, SinkErrorKind},
};

impl Cluster {
    /// What another run of this job has left where this checkpoint has delivered nothing: its own delivery, if any.
    pub(super) fn begun(&self, found: &Found) -> Result<Option<Delivered>, SinkError> {
        let ours = |delivered: &Delivered| {
            self.standing.as_ref().is_some_and(|standing| standing.next.checkpoint == delivered.checkpoint)
        };
        let what = match found {
            Found::Entry(None) => return Ok(None),
            Found::Entry(Some(entry)) => match &entry.batch {
                None => return Ok(None),
                Some(delivered) if ours(delivered) => return Ok(Some(delivered.clone())),
                Some(delivered) => {
                    format!("Batch {} of checkpoint {} is delivered", delivered.batch, delivered.checkpoint)
                }
            },
            Found::Other(what) => format!("There is {what}"),
        };
        let way_on = match self.appends {
            Some(true) => return Ok(None),
            Some(false) => {
                "Put back that checkpoint, give the job another name, or set append = true on its outputs to write behind it."
            }
            None => "Put back that checkpoint, or give the job another name.",
        };
        let message = format!(
            "this job, or another named {}, has written to Kafka cluster {} with another checkpoint",
            self.job,
            self.id_or_brokers()
        );
        Err(SinkError::new(SinkErrorKind::Refused, message).with(format!("{what} (group '{}').", self.group()), way_on))
    }

    pub(super) fn judged(
        &self,
        found: Found,
        home: &Home,
        batch: &BatchIdentity,
        digest: Option<&str>,
    ) -> Result<Published, SinkError> {
        let entry = match found {
            Found::Entry(entry) => entry,
            Found::Other(what) => return Err(self.taken(&what)),
        };
        let assume = self.standing.as_ref().and_then(|standing| standing.assume);
        match (judge(entry.as_ref(), home.delivered.as_ref(), batch, digest), assume) {
            (Ok(published), _) => Ok(published),
            (Err(Refusal::Lost), Some(Assume::Unpublished)) => Ok(Published::No),
            (Err(Refusal::Lost), Some(Assume::Published)) => {
                let in_flight = self.standing.as_ref().is_some_and(|s| s.in_flight && s.next.batch == batch.batch);
                Ok(if in_flight { Published::Whole } else { Published::No })
            }
            (Err(Refusal::Lost), None) => {
                let message = format!("Kafka cluster {} has forgotten what this job delivered", self.id_or_brokers());
                Err(SinkError::new(SinkErrorKind::Refused, message).with(
                    format!(
                        "Group '{}' has no offset for topic partition {}-{}, where the last delivered batch is recorded.",
                        self.group(),
                        home.topic,
                        home.partition
                    ),
                    "Look at the end of the output topic, then run with --assume-published or --assume-unpublished, \
                     which say whether the batch in flight is there.",
                ))
            }
            (Err(Refusal::Contradiction(what)), _) => Err(self.contradicted(&what)),
        }
    }

    fn contradicted(&self, detail: &str) -> SinkError {
        let message =
            format!("what Kafka cluster {} says of this job does not fit the checkpoint", self.id_or_brokers());
        SinkError::new(SinkErrorKind::Refused, message).with(
            format!("{detail} (group '{}')", self.group()),
            "Put back the newest checkpoint; or start anew: another checkpoint_dir with append = true on its outputs. Each \
             `kstream rewind JOB --to ID --leave-published` begins a higher timeline: above that of the output the job goes on, \
             and delivers again what it takes back.",
        )
    }

    /// The group is this job's own, and something else has written there.
    pub(super) fn taken(&self, what: &str) -> SinkError {
        let message = format!("group '{}' does not say what this job delivered", self.group());
        let detail = format!("On brokers {} it has {what}.", self.settings.brokers);
        SinkError::new(SinkErrorKind::Refused, message).with(detail, LEAVE_ALONE)
    }
}

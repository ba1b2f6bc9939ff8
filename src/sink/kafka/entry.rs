//! What a batch's transaction leaves behind for recovery: an offset of the job's own group whose metadata names the batch.
//!
//! The offset becomes visible with the transaction's commit and only with it, so a look at it says whether the batch was
//! published. [`judge`] is the decision, a pure function of what was found and what the checkpoint remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::row::Row;
use crate::{
    model::{BatchId, BatchIdentity, RunEpoch, Timeline, digest::Digest},
    sink::{Published, SinkFacts},
};

/// Version of the metadata text.
const VERSION: u32 = 1;

/// Partition of the home topic whose offset carries the entry.
pub const HOME_PARTITION: i32 = 0;

/// The metadata of the group's offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    kstream: u32,
    /// None: the job has begun to write here, and nothing is published yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Delivered>,
}

/// A batch whose transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    pub checkpoint: String,
    pub timeline: Timeline,
    pub batch: BatchId,
    pub run_epoch: RunEpoch,
    /// Over all Kafka outputs of the batch on this cluster.
    pub digest: String,
}

impl Entry {
    pub const NOTHING: Entry = Entry { kstream: VERSION, batch: None };

    pub fn of(batch: Delivered) -> Entry {
        Entry { kstream: VERSION, batch: Some(batch) }
    }

    /// The offset that carries it: one past the batch, 0 for nothing.
    pub fn offset(&self) -> i64 {
        self.batch.as_ref().map_or(0, |delivered| i64::try_from(delivered.batch.0 + 1).unwrap_or(i64::MAX))
    }

    pub fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Errors with what was found instead.
    pub fn decode(metadata: &str) -> Result<Entry, String> {
        match serde_json::from_str::<Entry>(metadata) {
            Ok(entry) if entry.kstream == VERSION => Ok(entry),
            Ok(entry) => Err(format!("an entry of version {}, which is newer than this program", entry.kstream)),
            Err(_) => Err(format!("an offset that kstream did not write (metadata {metadata:?})")),
        }
    }
}

/// What the checkpoint remembers of an output cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Kafka's own id of the cluster.
    pub cluster: String,
    /// Topic and partition whose offset carries the entry; fixed when the output was first planned.
    pub topic: String,
    pub partition: i32,
    /// The last batch delivered there, as of the last commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
}

impl Home {
    pub fn encode(&self) -> Option<SinkFacts> {
        serde_json::to_value(self).ok().map(SinkFacts)
    }

    pub fn decode(facts: &SinkFacts) -> Result<Home, String> {
        Home::deserialize(&facts.0).map_err(|error| error.to_string())
    }
}

/// One digest over all outputs of a batch, by their names.
pub fn digest_of(staged: &BTreeMap<String, (Vec<Row>, Digest)>) -> String {
    let mut hash = Xxh3::new();
    let mut count = 0;
    for (name, (_, digest)) in staged {
        hash.update(name.as_bytes());
        hash.update(&digest.hash.to_le_bytes());
        hash.update(&digest.count.to_le_bytes());
        count += digest.count;
    }
    Digest { hash: hash.digest128(), count }.to_string()
}

/// Whether `batch` is published, by the entry that was found (none: the group has no offset there). `digest` is that of
/// what is staged; none where nothing is staged yet. Errors with why the job must not go on.
pub fn judge(
    found: Option<&Entry>,
    remembered: Option<&Delivered>,
    batch: &BatchIdentity,
    digest: Option<&str>,
) -> Result<Published, Refusal> {
    let Some(entry) = found else { return Err(Refusal::Lost) };
    let Some(delivered) = &entry.batch else {
        return match remembered {
            // A rewind to before the first delivery forgets it; a cluster does not.
            Some(remembered) => Err(Refusal::Contradiction(format!(
                "It says that nothing was delivered; the checkpoint knows that batch {} was.",
                remembered.batch
            ))),
            None => Ok(Published::No),
        };
    };
    let refuse = |what: String| Err(Refusal::Contradiction(what));
    if delivered.checkpoint != batch.checkpoint {
        return refuse(format!(
            "It is of another checkpoint ({}); this one is {}.",
            delivered.checkpoint, batch.checkpoint
        ));
    }
    if delivered.timeline > batch.timeline {
        return refuse(format!(
            "It is of timeline {}, this checkpoint is at {}: an older copy of it was put back.",
            delivered.timeline.0, batch.timeline.0
        ));
    }
    if delivered.timeline < batch.timeline {
        return Ok(Published::No);
    }
    if delivered.batch > batch.batch {
        return refuse(format!(
            "Batch {} is delivered; this checkpoint is about to run batch {}: an older copy of it was put back.",
            delivered.batch, batch.batch
        ));
    }
    if delivered.batch == batch.batch {
        return match digest {
            Some(digest) if digest != delivered.digest => refuse(format!(
                "Batch {} is delivered with digest {}; executed again it gives {digest}.",
                batch.batch, delivered.digest
            )),
            _ => Ok(Published::Whole),
        };
    }
    match remembered {
        Some(remembered) if remembered.timeline < delivered.timeline || remembered.batch == delivered.batch => {
            Ok(Published::No)
        }
        Some(remembered) => refuse(format!(
            "Batch {} is the last one delivered; the checkpoint knows batch {}.",
            delivered.batch, remembered.batch
        )),
        None => refuse(format!("Batch {} is delivered; the checkpoint knows of no delivery.", delivered.batch)),
    }
}

/// Why the entry forbids the job to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is none, where the checkpoint says there was one.
    Lost,
    Contradiction(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BatchTime;

    fn delivered(timeline: u64, batch: u64, digest: &str) -> Delivered {
        Delivered {
            checkpoint: "ours".into(),
            timeline: Timeline(timeline),
            batch: BatchId(batch),
            run_epoch: RunEpoch(1),
            digest: digest.into(),
        }
    }

    fn identity(timeline: u64, batch: u64) -> BatchIdentity {
        BatchIdentity {
            checkpoint: "ours".into(),
            timeline: Timeline(timeline),
            batch: BatchId(batch),
            time: BatchTime(1000),
        }
    }

    #[test]
    fn an_entry_says_whether_the_batch_is_published() {
        let check = |found: Option<Entry>, remembered: Option<Delivered>, expected: &str| {
            let answer = match judge(found.as_ref(), remembered.as_ref(), &identity(1, 7), Some("d")) {
                Ok(published) => format!("{published:?}"),
                Err(Refusal::Lost) => "Lost".into(),
                Err(Refusal::Contradiction(what)) => what,
            };
            assert!(answer.starts_with(expected), "{answer} is not {expected}");
        };
        let at = |timeline, batch| Some(Entry::of(delivered(timeline, batch, "d")));
        let knows = |timeline, batch| Some(delivered(timeline, batch, "x"));
        check(Some(Entry::NOTHING), None, "No");
        check(at(1, 6), knows(1, 6), "No");
        check(at(1, 3), knows(1, 3), "No"); // the batches between had nothing to deliver
        check(at(1, 7), knows(1, 6), "Whole");
        check(at(1, 7), None, "Whole");
        check(at(0, 9), knows(0, 6), "No"); // rewound: what was delivered later is of the old timeline
        check(None, knows(1, 6), "Lost");
        check(None, None, "Lost");
        check(Some(Entry::NOTHING), knows(1, 6), "It says that nothing was delivered");
        check(at(1, 8), knows(1, 6), "Batch 8 is delivered; this checkpoint is about to run batch 7");
        check(at(2, 5), knows(1, 6), "It is of timeline 2");
        check(at(1, 5), knows(1, 6), "Batch 5 is the last one delivered");
        check(at(1, 6), knows(1, 5), "Batch 6 is the last one delivered");
        check(at(1, 6), None, "Batch 6 is delivered; the checkpoint knows of no delivery");
        check(Some(Entry::of(delivered(1, 7, "other"))), knows(1, 6), "Batch 7 is delivered with digest other");
        let foreign = Delivered { checkpoint: "theirs".into(), ..delivered(1, 6, "d") };
        check(Some(Entry::of(foreign)), knows(1, 6), "It is of another checkpoint (theirs)");
    }

    #[test]
    fn before_execution_only_the_identity_is_compared() {
        let found = Entry::of(delivered(1, 7, "other"));
        assert_eq!(judge(Some(&found), None, &identity(1, 7), None), Ok(Published::Whole));
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        for entry in [Entry::NOTHING, Entry::of(delivered(3, 12, "00ff:7"))] {
            assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
        }
        assert_eq!(Entry::of(delivered(0, 12, "d")).offset(), 13);
        assert_eq!(Entry::NOTHING.offset(), 0);
        assert!(Entry::decode("").unwrap_err().contains("did not write"));
        assert!(Entry::decode(r#"{"kstream":2}"#).unwrap_err().contains("version 2"));
        assert!(Entry::decode(r#"{"kstream":1,"more":0}"#).unwrap_err().contains("did not write"));
    }
}

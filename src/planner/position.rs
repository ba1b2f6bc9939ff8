//! Where a topic partition continues.

use serde::{Deserialize, Serialize};

use crate::model::{AvailablePartition, OffsetRange};

/// Where a topic partition continues: the end of the last committed range, and what was known of the log then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
}

impl Position {
    pub fn at(offset: i64) -> Position {
        Position { offset, ..Position::default() }
    }

    /// Whether it is one in the topic that there is `now`, as far as ids tell.
    pub fn is_of(&self, now: &AvailablePartition) -> bool {
        !matches!((&self.topic_id, &now.topic_id), (Some(own), Some(now)) if own != now)
    }

    /// Where the batch after `range` continues.
    pub fn after(range: &OffsetRange) -> Position {
        Position { offset: range.until, topic_id: range.topic_id.clone(), leader_epoch: range.leader_epoch }
    }
}

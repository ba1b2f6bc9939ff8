//! Data loss: offsets that were to be read and are gone, named exactly.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::position::Position;
use crate::model::{AvailablePartition, OffsetRange, TopicPartition};

/// Why records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The log now starts after the committed offset: retention, or `DeleteRecords`.
    Retention,
    /// The log now ends before the committed offset and goes on there: an unclean leader election, or a power cut.
    Truncated,
    /// Another log under the same name.
    Recreated,
    /// The topic or the partition does not exist any more.
    Deleted,
}

/// Offsets of one topic partition that no batch will read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostRange {
    pub source: Arc<str>,
    pub tp: TopicPartition,
    pub start: i64,
    /// Exclusive; `None` where nobody can know how far the lost log went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Where reading goes on; `None` where the topic partition is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<i64>,
    pub reason: LossReason,
    /// The id of the topic that they were offsets of, where reading goes on in another one and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Retention => "retention",
            LossReason::Truncated => "log truncated",
            LossReason::Recreated => "topic recreated",
            LossReason::Deleted => "topic or partition deleted",
        })
    }
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}..", self.tp, self.start)?;
        self.until.map_or(Ok(()), |until| write!(f, "{until}"))?;
        write!(f, " ({})", self.reason)
    }
}

impl LostRange {
    /// One sentence with the numbers.
    pub fn detail(&self) -> String {
        let LostRange { tp, start, resumes_at, .. } = self;
        let resumes_at = resumes_at.unwrap_or(0);
        match (self.reason, self.until) {
            (LossReason::Retention, until) => {
                let until = until.unwrap_or(resumes_at);
                let gone = until.saturating_sub(*start);
                format!(
                    "topic partition {tp} now starts at offset {resumes_at}; the job needs {start}..{until}. {gone} {} gone.",
                    if gone == 1 { "offset is" } else { "offsets are" }
                )
            }
            (LossReason::Truncated, until) => format!(
                "topic partition {tp} now ends at offset {start}, but was read up to {}: its log was truncated.",
                until.unwrap_or(*start)
            ),
            (LossReason::Recreated, _) => format!(
                "topic {} was deleted and created again; what partition {} held from offset {start} on is gone.",
                tp.topic, tp.partition
            ),
            (LossReason::Deleted, _) => {
                format!("topic partition {tp} does not exist any more; the job needs it from offset {start} on.")
            }
        }
    }
}

/// What was planned or committed cannot be read, and the job does not skip it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("offsets that the job still has to read are gone")]
pub struct DataLoss {
    /// Never empty.
    pub lost: Vec<LostRange>,
}

impl DataLoss {
    /// A sentence for each lost range.
    pub fn detail(&self) -> String {
        self.lost.iter().map(LostRange::detail).collect::<Vec<_>>().join("\n")
    }

    pub fn hint(&self) -> String {
        let ways_on = match self.lost.iter().find_map(|lost| lost.resumes_at) {
            Some(offset) if self.lost.len() == 1 => format!("continue from offset {offset}"),
            _ => "continue with what is there".to_owned(),
        };
        match self.lost.iter().all(|lost| lost.reason == LossReason::Retention) {
            true => {
                format!("Set on_data_loss = \"skip\" to {ways_on} and record the loss, or raise the topic's retention.")
            }
            false => format!("Set on_data_loss = \"skip\" to {ways_on} and record the loss."),
        }
    }
}

pub(super) fn vanished(source: &Arc<str>, tp: &TopicPartition, position: &Position) -> LostRange {
    LostRange {
        source: source.clone(),
        tp: tp.clone(),
        start: position.offset,
        until: None,
        resumes_at: None,
        reason: LossReason::Deleted,
        topic_id: None,
    }
}

/// What a topic partition has lost since `position` was committed, if anything.
pub(super) fn find(source: &Arc<str>, position: &Position, now: &AvailablePartition) -> Option<LostRange> {
    let offset = position.offset;
    let lost = |reason, start, until, resumes_at| LostRange {
        source: source.clone(),
        tp: now.tp.clone(),
        start,
        until,
        resumes_at: Some(resumes_at),
        reason,
        topic_id: None,
    };
    if !position.is_of(now) {
        let topic_id = position.topic_id.clone();
        return Some(LostRange { topic_id, ..lost(LossReason::Recreated, offset, None, now.earliest) });
    }
    if offset < now.earliest {
        return Some(lost(LossReason::Retention, offset, Some(now.earliest), now.earliest));
    }
    if now.latest < offset {
        return Some(match truncated(position, now) {
            true => lost(LossReason::Truncated, now.latest, Some(offset), now.latest),
            false => lost(LossReason::Recreated, offset, None, now.earliest),
        });
    }
    None
}

fn differ<T: PartialEq>(before: &Option<T>, now: &Option<T>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

/// A log that ends before the committed offset is either the same log, cut by an unclean leader election or a power cut
/// (then what is left of it was read already), or another one (then nothing of it was). The topic id tells; without one, a truncation
/// raises the leader epoch and a new topic begins at a low one. Where neither is known it counts as a new topic:
/// topics are recreated far more often than logs are truncated.
fn truncated(position: &Position, now: &AvailablePartition) -> bool {
    let same_id = position.topic_id.is_some() && position.topic_id == now.topic_id;
    let epoch_raised = matches!((position.leader_epoch, now.leader_epoch), (Some(before), Some(now)) if before < now);
    same_id || epoch_raised
}

/// What of a planned batch can still be read, for a plan that may be replaced: the ranges, shortened, and what of them
/// is lost. `None` where nothing is lost. `now` tells what a range's topic partition holds, none where it is gone.
///
/// A range whose topic partition is gone, or is another log, keeps its place as an empty range at its start.
pub fn readable_rest(
    planned: &[OffsetRange],
    now: impl Fn(&OffsetRange) -> Option<AvailablePartition>,
) -> Option<(Vec<OffsetRange>, Vec<LostRange>)> {
    let mut lost = Vec::new();
    let mut rest = Vec::with_capacity(planned.len());
    for range in planned {
        let (kept, gone) = readable(range, now(range).as_ref());
        rest.push(OffsetRange { start: kept.0, until: kept.1, ..range.clone() });
        lost.extend(gone);
    }
    if lost.is_empty() { None } else { Some((rest, lost)) }
}

/// As [`readable_rest`] for one range, `cut`, whose log was cut at `end` and has grown again: the offsets alone do not
/// show it. Reading goes on at the cut, so that nothing of the new log is passed over. `None` where `end` is no cut of the
/// range.
pub fn rest_after_cut(
    planned: &[OffsetRange],
    cut: &OffsetRange,
    end: i64,
    now: &AvailablePartition,
) -> Option<(Vec<OffsetRange>, Vec<LostRange>)> {
    let mut rest = planned.to_vec();
    let range = rest.iter_mut().find(|range| *range == cut && end < range.until && now.earliest <= end)?;
    let lost = |start, until| LostRange {
        source: range.source.clone(),
        tp: cut.tp.clone(),
        start,
        until: Some(until),
        resumes_at: Some(end),
        reason: LossReason::Truncated,
        topic_id: None,
    };
    let lost = match end < range.start {
        true => lost(end, range.start),
        false => lost(end, range.until),
    };
    if end < range.start {
        (range.start, range.until) = (end, range.until.min(now.latest).max(end));
        range.leader_epoch = now.leader_epoch;
    } else {
        range.until = end;
    }
    range.start_epoch = None;
    Some((rest, vec![lost]))
}

/// The part of `range` that can be read, and the loss. Only offsets below `range.until` count: what lies behind them is
/// the business of the next plan.
fn readable(range: &OffsetRange, now: Option<&AvailablePartition>) -> ((i64, i64), Option<LostRange>) {
    let whole = (range.start, range.until);
    if range.is_empty() {
        return (whole, None);
    }
    let lost = |start, resumes_at, reason| LostRange {
        source: range.source.clone(),
        tp: range.tp.clone(),
        start,
        until: Some(range.until),
        resumes_at,
        reason,
        topic_id: None,
    };
    let nothing = (range.start, range.start);
    let Some(now) = now else { return (nothing, Some(lost(range.start, None, LossReason::Deleted))) };
    if differ(&range.topic_id, &now.topic_id) {
        return (nothing, Some(lost(range.start, Some(now.earliest), LossReason::Recreated)));
    }
    if range.start < now.earliest {
        let start = now.earliest.min(range.until);
        // What is gone behind the range is the next plan's loss: this one goes on where the range ends.
        let gone = LostRange { until: Some(start), ..lost(range.start, Some(start), LossReason::Retention) };
        let until = range.until.min(now.latest).max(start);
        return ((start, until), Some(gone));
    }
    if now.latest < range.until {
        let until = now.latest.max(range.start);
        return ((range.start, until), Some(lost(until, Some(until), LossReason::Truncated)));
    }
    (whole, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(earliest: i64, latest: i64, id: Option<&str>, epoch: Option<i32>) -> AvailablePartition {
        AvailablePartition {
            tp: TopicPartition::new("a", 0),
            earliest,
            latest,
            topic_id: id.map(str::to_owned),
            leader_epoch: epoch,
        }
    }

    #[test]
    fn a_log_that_ends_early_is_truncated_or_recreated() {
        let check = |id: Option<&str>, before: Option<i32>, after: Option<i32>, reason, resumes_at| {
            let position = Position { offset: 9, topic_id: id.map(str::to_owned), leader_epoch: before };
            let lost = find(&Arc::from("s"), &position, &available(1, 4, id, after)).unwrap();
            assert_eq!((lost.reason, lost.resumes_at), (reason, Some(resumes_at)), "{id:?} {before:?} {after:?}");
            assert_eq!(lost.topic_id, None, "that of the offsets is that of the log");
        };
        check(None, None, None, LossReason::Recreated, 1);
        check(None, Some(3), Some(0), LossReason::Recreated, 1);
        check(None, Some(0), Some(0), LossReason::Recreated, 1);
        check(None, Some(3), Some(4), LossReason::Truncated, 4);
        check(Some("id"), None, None, LossReason::Truncated, 4);
    }

    #[test]
    fn lost_offsets_of_another_topic_keep_its_id() {
        let position = Position { offset: 2, topic_id: Some("old".to_owned()), leader_epoch: None };
        let lost = find(&Arc::from("s"), &position, &available(0, 4, Some("new"), None)).unwrap();
        let expected = (LossReason::Recreated, 2, Some(0), Some("old".to_owned()));
        assert_eq!((lost.reason, lost.start, lost.resumes_at, lost.topic_id), expected);
    }

    #[test]
    fn a_position_within_the_log_has_lost_nothing() {
        for offset in [2, 5, 9] {
            assert_eq!(find(&Arc::from("s"), &Position::at(offset), &available(2, 9, Some("id"), Some(1))), None);
        }
    }

    fn range(start: i64, until: i64) -> OffsetRange {
        OffsetRange {
            source: Arc::from("s"),
            tp: TopicPartition::new("a", 0),
            start,
            until,
            topic_id: Some("id".to_owned()),
            leader_epoch: None,
            start_epoch: None,
        }
    }

    #[test]
    fn the_readable_rest_of_a_planned_batch() {
        let check = |range: OffsetRange, now: &[AvailablePartition], expected: Option<(&str, &str)>| {
            let rest = readable_rest(std::slice::from_ref(&range), |_| now.first().cloned());
            if let Some((rest, lost)) = &rest
                && lost[0].reason == LossReason::Retention
            {
                assert_eq!(lost[0].resumes_at, Some(rest[0].start), "the ranges meet over the loss");
            }
            let shown = rest.map(|(rest, lost)| (rest[0].to_string(), lost[0].to_string()));
            assert_eq!(shown.as_ref().map(|(rest, lost)| (rest.as_str(), lost.as_str())), expected);
        };
        check(range(5, 9), &[available(0, 20, None, None)], None);
        check(range(5, 5), &[], None);
        check(range(5, 9), &[available(7, 20, None, None)], Some(("a/0 7..9", "a/0 5..7 (retention)")));
        check(range(5, 9), &[available(12, 20, None, None)], Some(("a/0 9..9", "a/0 5..9 (retention)")));
        check(range(5, 9), &[available(0, 6, None, None)], Some(("a/0 5..6", "a/0 6..9 (log truncated)")));
        check(range(5, 9), &[available(0, 2, None, None)], Some(("a/0 5..5", "a/0 5..9 (log truncated)")));
        check(range(5, 9), &[available(0, 20, Some("x"), None)], Some(("a/0 5..5", "a/0 5..9 (topic recreated)")));
        check(range(5, 9), &[], Some(("a/0 5..5", "a/0 5..9 (topic or partition deleted)")));
    }

    #[test]
    fn a_log_that_was_cut_and_has_grown_again_is_read_from_the_cut_on() {
        let check = |end, expected: Option<(&str, &str)>| {
            let now = available(2, 20, Some("id"), Some(4));
            let planned = [OffsetRange { start_epoch: Some(3), ..range(5, 9) }];
            let rest = rest_after_cut(&planned, &planned[0], end, &now);
            if let Some((rest, _)) = &rest {
                assert_eq!(rest[0].start_epoch, None, "what was lost is not compared again");
            }
            let shown = rest.map(|(rest, lost)| (rest[0].to_string(), lost[0].to_string()));
            assert_eq!(shown.as_ref().map(|(rest, lost)| (rest.as_str(), lost.as_str())), expected);
        };
        check(9, None);
        check(7, Some(("a/0 5..7", "a/0 7..9 (log truncated)")));
        check(5, Some(("a/0 5..5", "a/0 5..9 (log truncated)")));
        check(3, Some(("a/0 3..9", "a/0 3..5 (log truncated)")));
        check(1, None);
    }

    #[test]
    fn the_message_names_range_count_and_way_on() {
        let loss = DataLoss {
            lost: vec![find(&Arc::from("s"), &Position::at(1500), &available(1900, 5000, None, None)).unwrap()],
        };
        assert_eq!(
            loss.detail(),
            "topic partition a/0 now starts at offset 1900; the job needs 1500..1900. 400 offsets are gone."
        );
        assert_eq!(
            loss.hint(),
            "Set on_data_loss = \"skip\" to continue from offset 1900 and record the loss, or raise the topic's retention."
        );
    }
}

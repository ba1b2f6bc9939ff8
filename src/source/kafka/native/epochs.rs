//! What is known of a lane's log, compared with its leader each time that is another one.
//!
//! A new leader may have a shorter log than the one before (an unclean election, a power cut), and may have grown past the
//! place since: offsets alone do not show it, leader epochs do.

use super::{
    connection::Connection,
    fetch,
    known::EpochCheck,
    lane::{Content, Lane},
    settings::Settings,
};
use crate::source::SourceError;

/// What comes of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub enum Compared {
    /// The lane may be fetched for, or has been parked.
    Done,
    /// The reader knows a newer leader than this broker: metadata decides which of the two is out of date.
    LeaderIsOlder,
}

/// Asks the leader of `lane`, unless it has been asked, whether its log holds all that is known of it.
pub fn compare(lane: &mut Lane, connection: &mut Connection, settings: &Settings) -> Result<Compared, SourceError> {
    if lane.is_parked || lane.compared_with == Some(lane.leader_epoch) {
        return Ok(Compared::Done);
    }
    if lane.leader_epoch < lane.known.newest_epoch(!lane.topic_id.is_nil()) {
        return Ok(Compared::LeaderIsOlder);
    }
    lane.note_asked(true);
    let cut = find_cut(lane, connection, settings);
    lane.note_asked(false);
    match cut? {
        Some(end) => truncated(lane, connection, end),
        None => {
            lane.compared_with = Some(lane.leader_epoch);
            lane.shared.change_facts(|facts| facts.compared_epoch = lane.compared_with);
        }
    }
    Ok(Compared::Done)
}

/// Where the log was cut, if it was.
fn find_cut(lane: &Lane, connection: &mut Connection, settings: &Settings) -> Result<Option<i64>, SourceError> {
    let mut cut = None;
    let planned = lane.known.end.filter(|end| lane.position < end.until);
    let mut confirmed = None;
    // One leader cuts nothing of its own epoch.
    let may_be_cut = |check: &EpochCheck| check.epoch < lane.leader_epoch;
    for check in [lane.known.start, planned].into_iter().flatten().filter(may_be_cut) {
        let found = fetch::epoch_end(connection, settings, lane, check)?;
        confirmed = found.filter(|found| check.until <= found.end && Some(check) == planned).map(|_| check.until);
        cut = earlier(cut, found.map(|found| found.end).filter(|&end| end < check.until));
    }
    lane.shared.change_facts(|facts| facts.held_until = confirmed);
    if let Some(read) = lane.read.filter(may_be_cut)
        && let Some(found) = fetch::epoch_end(connection, settings, lane, read)?
    {
        // A log without that epoch does not hold what was read in it, however long it is.
        let is_missing = (0..read.epoch).contains(&found.epoch);
        cut = earlier(cut, Some(found.end.min(read.until)).filter(|&end| is_missing || end < read.until));
    }
    Ok(cut)
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// Ends the lane: its log was cut at `end_offset`, or before it where the log has grown since.
pub fn truncated(lane: &mut Lane, connection: &Connection, end_offset: i64) {
    let earliest = lane.shared.facts().earliest().min(end_offset.max(0));
    lane.shared.change_facts(|facts| facts.compared_epoch = None);
    let message = format!(
        "broker {}: the log of {} was cut at offset {end_offset}, before {}, by an unclean leader election or a power cut",
        connection.endpoint(),
        lane.tp(),
        lane.position
    );
    lane.park_for_good(Content::Lost { earliest, latest: end_offset.max(0), message });
}

//! What the fetching side last heard of a partition beside its records; for messages and decisions of its reader.
//!
//! Each thing heard holds for a while only: from a broker that has fallen silent since, nothing follows about the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// How long an answer holds behind the time at which the next one is due.
const HOLDS_FOR: Duration = Duration::from_secs(2);

/// Whether two topic ids are known, nil being unknown, and of two topics.
pub fn are_of_two_topics(one: Uuid, other: Uuid) -> bool {
    !one.is_nil() && !other.is_nil() && one != other
}

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The leader that was asked last.
    pub broker: Option<Arc<str>>,
    /// What goes wrong at present.
    pub trouble: Option<String>,
    /// When a quota last held the source back, until then.
    pub throttled_until: Option<Instant>,
    pub topic_id: Uuid,
    /// Of the leader, as soon as it is known.
    pub leader_epoch: Option<i32>,
    /// Of the leader whose log has been compared with what was fetched; none where that was cut.
    pub compared_epoch: Option<i32>,
    /// The leader's log holds all that was planned below this, whether or not it may be read yet.
    pub held_until: Option<i64>,
    /// Since when no broker knows the partition, and how long the last such answer holds.
    unknown: Option<(Instant, Instant)>,
    earliest: Option<i64>,
    /// One past the last readable offset, and how long the answer holds.
    latest: Option<(i64, Instant)>,
}

impl Facts {
    /// The reader wants the topic of this id: of another one's log nothing holds.
    pub fn go_over_to(&mut self, topic_id: Uuid) {
        if are_of_two_topics(self.topic_id, topic_id) {
            let (broker, throttled_until) = (self.broker.take(), self.throttled_until);
            *self = Facts { broker, throttled_until, topic_id, ..Facts::default() };
        }
    }

    /// The offsets that exist, by an answer after which the next is due within `pause`; negative ones are not known.
    pub fn heard_bounds(&mut self, earliest: i64, latest: i64, pause: Duration) {
        let holds_until = Instant::now() + pause + HOLDS_FOR;
        self.earliest = Some(earliest).filter(|&earliest| earliest >= 0);
        self.latest = Some(latest).filter(|&latest| latest >= 0).map(|latest| (latest, holds_until));
    }

    /// A broker does not know the partition; the next answer is due within `pause`.
    pub fn heard_unknown(&mut self, pause: Duration) {
        let now = Instant::now();
        let since = self.unknown.map_or(now, |(since, _)| since);
        self.unknown = Some((since, now + pause + HOLDS_FOR));
    }

    /// A broker knows it, or none could be asked.
    pub fn forget_unknown(&mut self) {
        self.unknown = None;
    }

    pub fn earliest(&self) -> i64 {
        self.earliest.unwrap_or(0)
    }

    /// One past the last readable offset, by an answer that holds at `now`.
    pub fn latest(&self, now: Instant) -> Option<i64> {
        self.latest.filter(|(_, holds_until)| now <= *holds_until).map(|(latest, _)| latest)
    }

    /// Whether no broker has known the partition for `limit`. One that has only just come up may not know its topics yet.
    pub fn is_unknown(&self, now: Instant, limit: Duration) -> bool {
        let holds = |(since, holds_until): (Instant, Instant)| limit <= now - since && now <= holds_until;
        self.unknown.is_some_and(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_nothing_of_the_time_after_it() {
        let (now, limit) = (Instant::now(), Duration::from_secs(5));
        let mut facts = Facts::default();
        assert_eq!((facts.latest(now), facts.is_unknown(now, limit)), (None, false));
        facts.heard_bounds(3, 9, Duration::from_millis(500));
        facts.heard_unknown(Duration::from_millis(500));
        assert_eq!(facts.latest(now + Duration::from_secs(2)), Some(9));
        assert_eq!(facts.latest(now + Duration::from_secs(9)), None, "the broker may have fallen silent");
        assert!(!facts.is_unknown(now + Duration::from_secs(2), limit), "not yet for long");
        assert!(!facts.is_unknown(now + Duration::from_secs(9), limit), "nobody has said so since");
        facts.heard_unknown(Duration::from_secs(9));
        assert!(facts.is_unknown(now + Duration::from_secs(9), limit), "said twice, with that time between");
        facts.forget_unknown();
        assert!(!facts.is_unknown(now + Duration::from_secs(9), limit));
        facts.heard_bounds(-1, -1, Duration::ZERO);
        assert_eq!((facts.earliest(), facts.latest(now)), (0, None));
    }
}

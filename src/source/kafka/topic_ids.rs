//! Which topic each name stands for, by Kafka's topic ids.
//!
//! Metadata comes from any broker, and one that was cut off or has just come up is behind for a while: it names the id of a
//! topic that was deleted since, or fewer partitions than there are. An id that is not the known one is therefore believed
//! only once it has stood alone for a while, the known one after that only likewise. Answers that can only be of the past
//! are asked for again, and count for nothing: an id that this process has seen a name leave, as Kafka gives an id once
//! (KIP-516), or fewer partitions than an id had before, as Kafka takes none away.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::raw::Described;

/// How long one id must be named, and no other, once two were heard; less where less is waited for brokers.
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// A topic partition of which something is stored, by topic name and number, and the id of its topic.
type Stored<'a> = (&'a Arc<str>, i32, &'a str);

#[derive(Debug)]
pub struct TopicIds {
    believed_after: Duration,
    known: HashMap<Arc<str>, String>,
    /// Topics whose known id brokers have named to this process; the others are by what is stored.
    heard: HashSet<Arc<str>>,
    /// Ids that names stood for before.
    left: HashMap<Arc<str>, HashSet<String>>,
    /// Where two ids were heard: the last one that may be so now, and since when no other was.
    news: HashMap<Arc<str>, (String, Instant)>,
    /// Numbers of partitions, by id.
    partitions: HashMap<String, i32>,
}

/// What became of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Topics that were made again.
    pub made_again: Vec<Arc<str>>,
    /// Topics of which the answer is doubted: brokers must be asked again.
    pub doubted: Vec<Arc<str>>,
}

impl TopicIds {
    /// By what is stored of topic partitions; no id is known where it is of two minds. Brokers are waited for up to
    /// `unreachable_limit`.
    pub fn new<'a>(stored: impl Iterator<Item = Stored<'a>>, unreachable_limit: Duration) -> TopicIds {
        let mut ids: HashMap<Arc<str>, HashSet<String>> = HashMap::new();
        let mut partitions = HashMap::new();
        for (topic, partition, id) in stored {
            ids.entry(topic.clone()).or_default().insert(id.to_owned());
            let most = partitions.entry(id.to_owned()).or_insert(0);
            *most = (*most).max(partition.saturating_add(1));
        }
        let only = |ids: HashSet<String>| ids.into_iter().next();
        let known =
            ids.into_iter().filter(|(_, ids)| ids.len() == 1).filter_map(|(topic, ids)| Some((topic, only(ids)?)));
        TopicIds {
            believed_after: BELIEVED_AFTER.min(unreachable_limit / 2),
            known: known.collect(),
            heard: HashSet::new(),
            left: HashMap::new(),
            news: HashMap::new(),
            partitions,
        }
    }

    /// As brokers have named it; what is stored may be older than the plan of a batch in flight.
    pub fn get(&self, topic: &str) -> Option<&String> {
        self.known.get(topic).filter(|_| self.heard.contains(topic))
    }

    /// Takes what brokers answer at `now`.
    pub fn hear(&mut self, found: impl Iterator<Item = (Arc<str>, Described)>, now: Instant) -> Heard {
        let mut heard = Heard::default();
        for (topic, Described { id, partitions }) in found {
            let is_left = self.left.get(&topic).is_some_and(|left| left.contains(&id));
            let most = self.partitions.entry(id.clone()).or_insert(partitions);
            if is_left || partitions < *most {
                heard.doubted.push(topic);
                continue;
            }
            *most = partitions;
            let known = self.known.entry(topic.clone()).or_insert_with(|| id.clone());
            if *known != id || self.news.contains_key(&topic) {
                let news = self.news.entry(topic.clone()).or_insert_with(|| (id.clone(), now));
                if news.0 != id {
                    *news = (id.clone(), now);
                }
                if now.duration_since(news.1) < self.believed_after {
                    heard.doubted.push(topic);
                    continue;
                }
                self.news.remove(&topic);
            }
            if *known != id {
                self.left.entry(topic.clone()).or_default().insert(std::mem::replace(known, id));
                heard.made_again.push(topic.clone());
            }
            self.heard.insert(topic);
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(id: &str, partitions: i32) -> Described {
        Described { id: id.to_owned(), partitions }
    }

    /// What becomes of ids heard at seconds.
    fn check(ids: &mut TopicIds, start: Instant, answers: &[(u64, &str, &str)]) {
        for &(second, id, expected) in answers {
            let heard = ids.hear([("t".into(), described(id, 1))].into_iter(), start + Duration::from_secs(second));
            let shown = match (&*heard.made_again, &*heard.doubted) {
                ([], []) => "as known",
                ([_], []) => "made again",
                ([], [_]) => "doubted",
                other => panic!("{other:?}"),
            };
            assert_eq!(shown, expected, "{id} at {second} s");
        }
    }

    #[test]
    fn another_id_is_believed_once_nothing_else_is_heard_for_a_while() {
        let start = Instant::now();
        let mut ids = TopicIds::new(std::iter::empty(), Duration::from_secs(120));
        check(
            &mut ids,
            start,
            &[(0, "a", "as known"), (1, "b", "doubted"), (3, "b", "doubted"), (4, "b", "made again")],
        );
        assert_eq!(ids.get("t").map(String::as_str), Some("b"));
        // What was left is not gone back to, however long a broker names it.
        check(&mut ids, start, &[(5, "a", "doubted"), (60, "a", "doubted"), (61, "b", "as known")]);
        // A broker that is behind in between begins the wait anew, and so does a third id; neither ends the doubt at once.
        check(
            &mut ids,
            start,
            &[(70, "c", "doubted"), (72, "b", "doubted"), (74, "c", "doubted"), (76, "d", "doubted")],
        );
        check(&mut ids, start, &[(78, "d", "doubted"), (79, "d", "made again"), (80, "d", "as known")]);
        // It was a mistake: the known id is believed again once it has stood alone as long.
        check(
            &mut ids,
            start,
            &[(81, "e", "doubted"), (82, "d", "doubted"), (84, "d", "doubted"), (85, "d", "as known")],
        );
    }

    #[test]
    fn fewer_partitions_than_before_are_doubted_until_the_topic_is_another() {
        let start = Instant::now();
        let topic: Arc<str> = "t".into();
        let mut ids = TopicIds::new([(&topic, 2, "a")].into_iter(), Duration::from_secs(2));
        let mut hear = |second, id, partitions| {
            let found = [(topic.clone(), described(id, partitions))];
            let heard = ids.hear(found.into_iter(), start + Duration::from_secs(second));
            (heard.made_again.len(), heard.doubted.len())
        };
        assert_eq!(hear(0, "a", 2), (0, 1), "partition 2 is stored");
        assert_eq!(hear(60, "a", 2), (0, 1));
        assert_eq!(hear(61, "a", 3), (0, 0));
        assert_eq!(hear(62, "a", 4), (0, 0));
        assert_eq!(hear(63, "a", 3), (0, 1));
        assert_eq!((hear(64, "b", 1), hear(65, "b", 1), hear(66, "b", 1)), ((0, 1), (1, 0), (0, 0)));
    }

    #[test]
    fn who_waits_a_short_time_for_brokers_believes_sooner() {
        let start = Instant::now();
        let mut ids = TopicIds::new(std::iter::empty(), Duration::from_secs(2));
        check(&mut ids, start, &[(0, "a", "as known"), (1, "b", "doubted"), (2, "b", "made again")]);
    }

    #[test]
    fn what_is_stored_is_known_where_it_is_of_one_mind() {
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        let stored = [(&one, 0, "a"), (&one, 1, "a"), (&two, 0, "a"), (&two, 0, "b")];
        let mut ids = TopicIds::new(stored.into_iter(), Duration::from_secs(120));
        assert_eq!(ids.get("one"), None, "a batch in flight may be planned for a newer one");
        let found = [(one.clone(), described("b", 2)), (two.clone(), described("c", 2))];
        let heard = ids.hear(found.into_iter(), Instant::now());
        assert_eq!((heard.made_again, heard.doubted), (Vec::new(), vec![one.clone()]));
        assert_eq!((ids.get("one"), ids.get("two").map(String::as_str)), (None, Some("c")));
        let later = Instant::now() + 2 * BELIEVED_AFTER;
        let found = [(one.clone(), described("a", 2))];
        assert_eq!(ids.hear(found.clone().into_iter(), later).doubted, [one]);
        assert_eq!(ids.hear(found.into_iter(), later + BELIEVED_AFTER), Heard::default());
        assert_eq!(ids.get("one").map(String::as_str), Some("a"));
    }
}

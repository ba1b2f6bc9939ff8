//! Which topic each name stands for, by Kafka's topic ids.
//!
//! Metadata comes from any broker, and one that was cut off or has just come up is behind for a while: it names the id of a
//! topic that was deleted since. An id that is not the known one is therefore believed only once nothing else has been heard
//! for a while; and none that a name has left is ever believed again, as Kafka gives an id once (KIP-516).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long another id must be named, and nothing else, until the topic counts as made again; less where less is waited for
/// brokers.
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct TopicIds {
    believed_after: Duration,
    known: HashMap<Arc<str>, String>,
    /// Topics whose known id brokers have named to this process; the others are by what is stored.
    heard: HashSet<Arc<str>>,
    /// Ids that names stood for before.
    left: HashMap<Arc<str>, HashSet<String>>,
    /// Ids that are not believed yet, and when they were first heard.
    news: HashMap<Arc<str>, (String, Instant)>,
}

/// What became of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Topics that were made again.
    pub made_again: Vec<Arc<str>>,
    /// Topics whose ids are doubted: brokers must be asked again.
    pub doubted: Vec<Arc<str>>,
}

impl TopicIds {
    /// By what is stored of topic partitions; nothing where it is of two minds. Brokers are waited for up to
    /// `unreachable_limit`.
    pub fn new<'a>(stored: impl Iterator<Item = (&'a Arc<str>, &'a str)>, unreachable_limit: Duration) -> TopicIds {
        let mut ids: HashMap<Arc<str>, HashSet<String>> = HashMap::new();
        for (topic, id) in stored {
            ids.entry(topic.clone()).or_default().insert(id.to_owned());
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
        }
    }

    /// As brokers have named it; what is stored may be older than the plan of a batch in flight.
    pub fn get(&self, topic: &str) -> Option<&String> {
        self.known.get(topic).filter(|_| self.heard.contains(topic))
    }

    /// Takes what brokers answer at `now`.
    pub fn hear(&mut self, found: impl Iterator<Item = (Arc<str>, String)>, now: Instant) -> Heard {
        let mut heard = Heard::default();
        for (topic, id) in found {
            let known = self.known.entry(topic.clone()).or_insert_with(|| id.clone());
            if *known == id {
                self.news.remove(&topic);
                self.heard.insert(topic);
            } else if self.left.get(&topic).is_some_and(|left| left.contains(&id)) {
                heard.doubted.push(topic);
            } else {
                let news = self.news.entry(topic.clone()).or_insert_with(|| (id.clone(), now));
                if news.0 != id {
                    *news = (id, now);
                }
                if now.duration_since(news.1) < self.believed_after {
                    heard.doubted.push(topic);
                } else if let Some((id, _)) = self.news.remove(&topic) {
                    self.left.entry(topic.clone()).or_default().insert(std::mem::replace(known, id));
                    self.heard.insert(topic.clone());
                    heard.made_again.push(topic);
                }
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of ids heard at seconds.
    fn check(ids: &mut TopicIds, start: Instant, answers: &[(u64, &str, &str)]) {
        for &(second, id, expected) in answers {
            let heard = ids.hear([("t".into(), id.to_owned())].into_iter(), start + Duration::from_secs(second));
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
        // A broker that is behind in between begins the wait anew, and so does a third id.
        check(
            &mut ids,
            start,
            &[(70, "c", "doubted"), (72, "b", "as known"), (74, "c", "doubted"), (76, "d", "doubted")],
        );
        check(
            &mut ids,
            start,
            &[(78, "d", "doubted"), (79, "d", "made again"), (80, "c", "doubted"), (90, "c", "made again")],
        );
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
        let stored = [(&one, "a"), (&one, "a"), (&two, "a"), (&two, "b")];
        let mut ids = TopicIds::new(stored.into_iter(), Duration::from_secs(120));
        assert_eq!(ids.get("one"), None, "a batch in flight may be planned for a newer one");
        let found = [(one.clone(), "b".to_owned()), (two.clone(), "c".to_owned())];
        let heard = ids.hear(found.into_iter(), Instant::now());
        assert_eq!((heard.made_again, heard.doubted), (Vec::new(), vec![one.clone()]));
        assert_eq!((ids.get("one"), ids.get("two").map(String::as_str)), (None, Some("c")));
        assert_eq!(ids.hear([(one, "a".to_owned())].into_iter(), Instant::now()), Heard::default());
        assert_eq!(ids.get("one").map(String::as_str), Some("a"));
    }
}

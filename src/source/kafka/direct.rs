//! [`Source`] on Kafka: the two planes together, and what is known of topics that come and go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::Offset;

use super::{
    DataPlane, Opening,
    control::{Control, Located},
    mirror::Mirror,
    raw::Described,
    settings::ClientSettings,
    topic_ids::TopicIds,
    topics::Selection,
};
use crate::{
    job::{KafkaSpec, TopicSelection},
    model::{OffsetRange, TopicPartition},
    source::{
        Available, AvailablePartition, RangeReader, ReadOptions, Source, SourceError, SourceErrorKind, Start,
        watch::Watch,
    },
};

/// A topic that is not there may have been created, or its broker restarted, a moment ago. No longer than half of what is
/// waited for brokers.
const GRACE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(200);

/// How old may be what is remembered of topics, their ids, partitions and first offsets, so that batches many times a
/// second do not ask for all of it. Their last offsets are asked for each batch.
const REMEMBERED_FOR: Duration = Duration::from_millis(500);

/// Topics that exist, with their numbers of partitions.
type Found = BTreeMap<Arc<str>, i32>;

pub struct KafkaSource {
    name: String,
    brokers: String,
    selection: TopicSelection,
    settings: ClientSettings,
    control: Arc<Control>,
    plane: Box<dyn DataPlane>,
    mirror_group: Option<String>,
    mirror: Option<Mirror>,
    /// Topics that exist or existed.
    seen: HashSet<Arc<str>>,
    /// Topics that ought to be there and are not, since when by every look.
    missing: HashMap<Arc<str>, Instant>,
    /// Topics that existed and were missing for the whole grace time.
    vanished: HashSet<Arc<str>>,
    grace: Duration,
    ids: TopicIds,
    /// Partitions that were found at any look.
    known: HashSet<TopicPartition>,
    /// Partitions of which something is stored.
    stored: HashSet<TopicPartition>,
    looked: Option<Looked>,
}

/// What was found at the last look, and the last offsets that were found since.
struct Looked {
    at: Instant,
    partitions: Vec<TopicPartition>,
    earliest: Vec<i64>,
    latest: Vec<i64>,
}

impl KafkaSource {
    pub fn new(
        spec: &KafkaSpec,
        opening: Opening<'_>,
        settings: ClientSettings,
        control: Arc<Control>,
        plane: Box<dyn DataPlane>,
    ) -> KafkaSource {
        let unreachable_limit = Duration::from_millis(spec.unreachable_limit_ms);
        let ids = opening.stored.iter().filter_map(|(tp, id)| Some((&tp.topic, tp.partition, id.as_deref()?)));
        KafkaSource {
            name: opening.source_name.to_owned(),
            brokers: opening.brokers.to_owned(),
            selection: spec.topics.clone(),
            settings,
            control,
            plane,
            mirror_group: opening.mirror_offsets_to.map(str::to_owned),
            mirror: None,
            // What is stored of topics that an edit has taken out is none of this source's any more.
            seen: opening
                .stored
                .iter()
                .map(|(tp, _)| &tp.topic)
                .filter(|topic| spec.topics.reads(topic))
                .cloned()
                .collect(),
            missing: HashMap::new(),
            vanished: HashSet::new(),
            grace: GRACE.min(unreachable_limit / 2),
            ids: TopicIds::new(ids, unreachable_limit),
            known: HashSet::new(),
            stored: opening.stored.iter().map(|(tp, _)| tp.clone()).collect(),
            looked: None,
        }
    }

    /// Which partitions exist, and their first offsets.
    fn look_around(&mut self, deadline: Instant) -> Result<Looked, SourceError> {
        let selection = Selection::new(&self.selection)?;
        let (at, topics) = self.identified(&selection, deadline)?;
        let partitions = selection.partitions(&topics);
        self.known.extend(partitions.iter().cloned());
        // Before the ends: a log that is trimmed in between still ends behind what it begins with.
        let earliest = self.control.locate(&partitions, Offset::Beginning, deadline)?;
        let earliest = earliest.into_iter().map(|located| located.map_or(0, |located| located.offset)).collect();
        Ok(Looked { at, partitions, earliest, latest: Vec::new() })
    }

    /// The selected topics that exist, with ids that are believed, and when they were asked for.
    fn identified(&mut self, selection: &Selection, deadline: Instant) -> Result<(Instant, Found), SourceError> {
        loop {
            let at = Instant::now();
            let mut topics = self.topics(selection, deadline)?;
            let names: Vec<Arc<str>> = topics.keys().cloned().collect();
            let described = self.control.describe(&names, deadline)?;
            let described = names.into_iter().zip(described).filter_map(|(name, topic)| Some((name, topic?)));
            let described: Vec<_> = described.collect();
            // A number of partitions is of the topic that it was named with.
            topics.extend(described.iter().map(|(name, topic)| (name.clone(), topic.partitions)));
            let heard = self.ids.hear(described.into_iter(), Instant::now());
            if !heard.made_again.is_empty() {
                self.plane.forget(&heard.made_again);
                self.control.watched.is_settled();
            }
            let Some(doubted) = heard.doubted.first() else {
                self.check_assigned(selection, &topics)?;
                return Ok((at, topics));
            };
            if Instant::now() + PAUSE >= deadline || self.control.watched.is_stopping() {
                return Err(self.doubtful(doubted));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// With the offsets at which partitions end now.
    fn with_ends(&self, looked: &Looked, deadline: Instant) -> Result<Available, SourceError> {
        let latest = self.control.locate(&looked.partitions, Offset::End, deadline)?;
        let found = looked.partitions.iter().zip(&looked.earliest).zip(latest);
        let partitions = found.map(|((tp, &earliest), latest)| {
            let Located { offset, leader_epoch } = latest.unwrap_or(Located { offset: earliest, leader_epoch: None });
            let topic_id = self.ids.get(&tp.topic).cloned();
            AvailablePartition { tp: tp.clone(), earliest, latest: offset.max(earliest), topic_id, leader_epoch }
        });
        Ok(Available { partitions: partitions.collect() })
    }

    fn doubtful(&self, topic: &str) -> SourceError {
        SourceError::unreachable(format!(
            "brokers {} give topic '{topic}' another id than before, or fewer partitions: it was made again, or a broker is \
             behind",
            self.brokers
        ))
    }

    /// The selected topics that exist, with their numbers of partitions.
    fn topics(&mut self, selection: &Selection, deadline: Instant) -> Result<Found, SourceError> {
        loop {
            let (found, missing) = self.look(selection, deadline).inspect_err(|_| self.missing.clear())?;
            self.missing.retain(|topic, _| missing.contains(topic));
            self.vanished.retain(|topic| !found.contains_key(topic));
            let now = Instant::now();
            let mut waits_for = None;
            for topic in missing {
                let since = *self.missing.entry(topic.clone()).or_insert(now);
                match now.duration_since(since) < self.grace {
                    _ if self.vanished.contains(&topic) => {}
                    true => waits_for = Some(topic),
                    false if !self.seen.contains(&topic) => return Err(self.no_such_topic(&topic)),
                    false => {
                        tracing::warn!(source = self.name, topic = &*topic, "the topic does not exist any more");
                        self.vanished.insert(topic);
                        self.control.watched.is_settled();
                    }
                }
            }
            let Some(topic) = waits_for else {
                self.seen.extend(found.keys().cloned());
                return Ok(found);
            };
            if now + PAUSE >= deadline || self.control.watched.is_stopping() {
                let message = format!("brokers {} do not know topic '{topic}' of source {}", self.brokers, self.name);
                return Err(SourceError::unreachable(message));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Topics found, and topics that ought to be there but are not.
    fn look(&self, selection: &Selection, deadline: Instant) -> Result<(Found, Vec<Arc<str>>), SourceError> {
        let Some(named) = selection.named() else {
            let found = selection.matching(self.control.topics(false, deadline)?);
            let missing = self.seen.iter().filter(|topic| !found.contains_key(*topic)).cloned().collect();
            return Ok((found, missing));
        };
        let (mut found, mut missing) = (Found::new(), Vec::new());
        for topic in named {
            match self.control.partitions(&topic, deadline)? {
                Some(partitions) => drop(found.insert(topic, partitions)),
                None => missing.push(topic),
            }
        }
        Ok((found, missing))
    }

    fn no_such_topic(&self, topic: &str) -> SourceError {
        SourceError::refused(
            format!("topic '{topic}' does not exist on brokers {}", self.brokers),
            format!("Correct the name, or create it: kstream topics create {topic} --brokers {}", self.brokers),
        )
    }

    /// A partition that `start` names and this source does not read: most likely a slip of the pen.
    fn check_named(&self, offsets: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        let found = |topic: &Arc<str>| self.known.iter().any(|tp| tp.topic == *topic);
        let deleted = |topic: &Arc<str>| self.seen.contains(topic) && !found(topic);
        let stray = offsets.iter().map(|(tp, _)| tp).find(|tp| !self.known.contains(tp) && !deleted(&tp.topic));
        stray.map_or(Ok(()), |tp| {
            let message = match found(&tp.topic) {
                true => format!("`start` names {tp}; topic '{}' has no such partition", tp.topic),
                false => format!("`start` names {tp}; source {} does not read topic '{}'", self.name, tp.topic),
            };
            Err(SourceError::usage(message, "Correct `start`."))
        })
    }

    /// A partition assigned by hand that never existed, as far as anybody knows.
    fn check_assigned(&self, selection: &Selection, topics: &Found) -> Result<(), SourceError> {
        let Selection::Assign(wanted) = selection else { return Ok(()) };
        let beyond = wanted
            .iter()
            .filter(|tp| !self.known.contains(*tp) && !self.stored.contains(*tp))
            .find_map(|tp| topics.get(&tp.topic).filter(|count| tp.partition >= **count).map(|count| (tp, count)));
        beyond.map_or(Ok(()), |(tp, count)| {
            let message = format!("topic '{}' has {count} partitions; there is no {tp}", tp.topic);
            Err(SourceError::usage(message, "Correct `assign`, or add partitions to the topic."))
        })
    }
}

impl Looked {
    /// Takes new ends; whether none of them lies before the last one.
    fn goes_on_to(&mut self, available: &Available) -> bool {
        let latest: Vec<i64> = available.partitions.iter().map(|partition| partition.latest).collect();
        let goes_on = self.latest.iter().zip(&latest).all(|(before, now)| before <= now);
        self.latest = latest;
        goes_on
    }
}

impl Source for KafkaSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn watched_by(&mut self, watch: &Arc<dyn Watch>) {
        self.control.watched.by(watch);
        self.plane.watched_by(watch);
    }

    fn available(&mut self, deadline: Instant) -> Result<Available, SourceError> {
        self.control.poll();
        self.plane.poll();
        // A plane that sees recreated topics only through us must not be told of a topic that is gone.
        let remembered = self.looked.take().filter(|looked| looked.at.elapsed() < REMEMBERED_FOR);
        if let Some(mut looked) = remembered.filter(|_| self.plane.compares_topic_ids()) {
            match self.with_ends(&looked, deadline) {
                Ok(available) if looked.goes_on_to(&available) => {
                    self.looked = Some(looked);
                    return Ok(available);
                }
                // An end that goes back may be that of another topic.
                Ok(_) => {}
                Err(error) if deadline <= Instant::now() => return Err(error),
                Err(_) => {}
            }
        }
        let mut looked = self.look_around(deadline)?;
        let available = self.with_ends(&looked, deadline)?;
        looked.goes_on_to(&available);
        self.looked = Some(looked);
        Ok(available)
    }

    fn distrust(&mut self) {
        self.looked = None;
    }

    fn start_offsets(
        &mut self,
        partitions: &[AvailablePartition],
        start: &Start,
        deadline: Instant,
    ) -> Result<Vec<i64>, SourceError> {
        match start {
            Start::Earliest => Ok(partitions.iter().map(|partition| partition.earliest).collect()),
            Start::Latest => Ok(partitions.iter().map(|partition| partition.latest).collect()),
            Start::Time(time_ms) => {
                let names: Vec<TopicPartition> = partitions.iter().map(|partition| partition.tp.clone()).collect();
                let at = self.control.locate(&names, Offset::Offset((*time_ms).max(0)), deadline)?;
                let resolved = partitions.iter().zip(at).map(|(partition, at)| {
                    at.map_or(partition.latest, |at| at.offset.clamp(partition.earliest, partition.latest))
                });
                Ok(resolved.collect())
            }
            Start::Offsets(offsets) => {
                self.check_named(offsets)?;
                partitions.iter().map(|partition| named_offset(partition, offsets)).collect()
            }
        }
    }

    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        self.plane.assign(positions)
    }

    fn read(&self, range: &OffsetRange, options: ReadOptions) -> Result<Box<dyn RangeReader + '_>, SourceError> {
        match (&range.topic_id, self.ids.get(&range.tp.topic)) {
            (Some(planned), Some(now)) if planned != now && !range.is_empty() => Err(recreated(range, now)),
            _ => self.plane.read(range, options),
        }
    }

    /// A plane that fetches by name may have fetched of a topic that was made again meanwhile.
    fn confirm(&self, ranges: &[OffsetRange], deadline: Instant) -> Result<(), SourceError> {
        let planned = ranges.iter().filter(|range| !range.is_empty() && !self.plane.compares_topic_ids());
        let planned: BTreeSet<_> =
            planned.filter_map(|range| Some((range.tp.topic.clone(), range.topic_id.as_ref()?))).collect();
        let names: Vec<Arc<str>> = planned.iter().map(|(topic, _)| topic.clone()).collect();
        let found = self.control.describe(&names, deadline)?;
        // Of a topic that is gone, another one may have had the name before that.
        let differs =
            |now: Option<&Described>, id: &str| now.is_none_or(|now| now.id != id) && self.control.knows_ids();
        let of_another = planned.iter().zip(found).find(|((_, id), now)| differs(now.as_ref(), id));
        of_another.map_or(Ok(()), |((topic, id), _)| {
            let what = format!("topic '{topic}' was made again while it was read, or a broker is behind");
            Err(SourceError::unreachable(format!(
                "brokers {} do not give it the id {id} any more: {what}",
                self.brokers
            )))
        })
    }

    fn mirror(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), SourceError> {
        let Some(group) = &self.mirror_group else { return Ok(()) };
        if self.mirror.is_none() {
            let connected = Mirror::connect(&self.settings, &self.name, group);
            if connected.is_err() {
                // No connection is made yet: the next try would fail alike.
                self.mirror_group = None;
            }
            self.mirror = Some(connected?);
        }
        self.mirror.as_mut().map_or(Ok(()), |mirror| mirror.write(positions))
    }

    fn settle_mirror(&mut self, deadline: Instant) {
        if let Some(mirror) = &mut self.mirror {
            mirror.settle(deadline);
        }
    }
}

/// The offset the job names for a partition, if it exists; earliest for the others.
fn named_offset(partition: &AvailablePartition, offsets: &[(TopicPartition, i64)]) -> Result<i64, SourceError> {
    let AvailablePartition { tp, earliest, latest, .. } = partition;
    let Some((_, offset)) = offsets.iter().find(|(named, _)| named == tp) else {
        return Ok(*earliest);
    };
    if (*earliest..=*latest).contains(offset) {
        return Ok(*offset);
    }
    let (message, hint) = match offset < earliest {
        true => (
            format!("start offset {offset} of {tp} does not exist any more; the log holds {earliest}..{latest}"),
            format!("Begin at {earliest} or later, or at \"earliest\"."),
        ),
        false => (
            format!("start offset {offset} of {tp} does not exist yet; the log holds {earliest}..{latest}"),
            format!("Begin at {latest} or before: {latest} is what the next record will have."),
        ),
    };
    Err(SourceError::usage(message, hint))
}

fn recreated(range: &OffsetRange, id: &str) -> SourceError {
    let OffsetRange { tp, start, until, .. } = range;
    SourceError {
        kind: SourceErrorKind::Recreated,
        message: format!(
            "topic '{}' was deleted and created again (id {id}); the plan needs {start}..{until}",
            tp.topic
        ),
        hint: Some("Set on_data_loss = \"skip\" to go on with the new topic and record the loss.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_start_offset_must_exist() {
        let partition = AvailablePartition {
            tp: TopicPartition::new("words", 0),
            earliest: 10,
            latest: 20,
            topic_id: None,
            leader_epoch: None,
        };
        let named = |offset| named_offset(&partition, &[(TopicPartition::new("words", 0), offset)]);
        assert_eq!(named(10).unwrap(), 10);
        assert_eq!(named(20).unwrap(), 20);
        assert_eq!(named_offset(&partition, &[]).unwrap(), 10);
        for (gone, expected) in [(9, "does not exist any more"), (21, "does not exist yet")] {
            let error = named(gone).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Usage);
            let expected = format!("words/0 {expected}; the log holds 10..20");
            assert!(error.message.contains(&expected), "{error}");
        }
    }
}

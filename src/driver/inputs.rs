//! The sources of a run: opened, asked with patience, told what will be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    error::{Class, DriverError},
    failed::source_failed,
    patience::{Patience, Peer, Refusal},
};
use crate::{
    executor::BatchFailure,
    job::{BackPressure, DEFAULT_UNREACHABLE_LIMIT_MS, Job, OnDataLoss, SourceKind, Start, TopicSelection},
    model::{AvailablePartition, OffsetRange, TopicPartition},
    planner::{
        Interval, Limits, PidEstimator, Position, Ranges, Rate, SourceState, batches_needed, end_offsets, plan_ranges,
    },
    protocol::PlanRecord,
    source::{Available, Source, queue::LINES_PER_BATCH},
};

/// At the end of a run, a group that lag tools look at is waited for so long.
const MIRROR_DEADLINE: Duration = Duration::from_secs(2);

/// How long what is published may wait for the plan of the next batch, to be committed together with it.
const AT_ONCE: Duration = Duration::from_secs(2);

/// All sources of a job, with what planning needs of each.
pub struct Inputs {
    pub sources: Vec<Box<dyn Source>>,
    settings: Vec<Settings>,
    /// Where each topic partition continues after the last batch that was planned or committed.
    pub positions: Positions,
    /// Whether the job names a group that lag tools look at.
    mirrors: bool,
    /// Records a partition of the largest batch that is known to fit in memory, where one did not.
    fit: Option<u64>,
}

struct Settings {
    name: Arc<str>,
    start: Start,
    /// Whether its partitions are assigned by hand: one that the job names later begins at `start`.
    by_hand: bool,
    max_records_per_partition: u64,
    on_data_loss: OnDataLoss,
    unreachable_limit: Duration,
    estimator: Option<PidEstimator>,
    /// Where partitions without a committed offset begin, as far as it has been resolved.
    starts: BTreeMap<TopicPartition, Position>,
    /// Partitions the data plane was told of.
    assigned: BTreeSet<TopicPartition>,
    /// Whether this process has planned from this source before: partitions found later begin at their earliest offset.
    planned: bool,
    /// What the last run read by this name: a topic that it would have found begins at its earliest offset, too.
    read_before: Option<TopicSelection>,
}

/// Where a bounded run ends, by source name.
pub type Ends = BTreeMap<Arc<str>, BTreeMap<TopicPartition, i64>>;

/// Committed positions by source name.
pub type Positions = BTreeMap<Arc<str>, BTreeMap<TopicPartition, Position>>;

/// After a batch that did not fit in memory, batches grow by this part of their size, until one does not fit again.
const GROWTH_SHARE: u64 = 8;

/// How a batch is limited besides its static bound.
pub enum Bound<'a> {
    /// Back-pressure, where the job asks for it.
    Live,
    /// A bounded run reads up to these offsets.
    Ends(&'a Ends),
}

impl Inputs {
    /// `start` overrides where partitions without stored offset begin; `now_ms` resolves times relative to now.
    pub fn new(
        job: &Job,
        sources: Vec<Box<dyn Source>>,
        positions: Positions,
        start: Option<&Start>,
        now_ms: i64,
    ) -> Inputs {
        let settings = job
            .sources
            .iter()
            .map(|spec| {
                let common =
                    |start, max_records_per_partition, on_data_loss, limit_ms, back_pressure: Option<BackPressure>| {
                        Settings {
                            name: spec.name.clone(),
                            start,
                            by_hand: selects_by_hand(&spec.kind),
                            max_records_per_partition,
                            on_data_loss,
                            unreachable_limit: Duration::from_millis(limit_ms),
                            estimator: back_pressure.map(|settings| PidEstimator::new(settings, job.batch_interval_ms)),
                            starts: BTreeMap::new(),
                            assigned: BTreeSet::new(),
                            planned: false,
                            read_before: None,
                        }
                    };
                match &spec.kind {
                    SourceKind::Kafka(kafka) => common(
                        start.cloned().unwrap_or_else(|| kafka.start.resolve(now_ms)),
                        kafka.max_records_per_partition,
                        kafka.on_data_loss,
                        kafka.unreachable_limit_ms,
                        kafka.back_pressure,
                    ),
                    // A queue is always there.
                    SourceKind::Queue { .. } => {
                        common(Start::Earliest, LINES_PER_BATCH, OnDataLoss::Fail, DEFAULT_UNREACHABLE_LIMIT_MS, None)
                    }
                }
            })
            .collect();
        Inputs { sources, settings, positions, mirrors: job.mirror_offsets_to.is_some(), fit: None }
    }

    /// A checkpoint goes on behind `last`: a topic that was made since then is no news to what selected it already.
    pub fn ran_before(&mut self, last: &Job) {
        for settings in &mut self.settings {
            let before = last.sources.iter().find(|source| source.name == settings.name);
            settings.read_before = before.and_then(|source| match &source.kind {
                SourceKind::Kafka(kafka) => Some(kafka.topics.clone()),
                SourceKind::Queue { .. } => None,
            });
        }
    }

    /// Tells every source who is asked while it waits inside a call.
    pub fn watched_by(&mut self, patience: &Patience) {
        for (source, settings) in self.sources.iter_mut().zip(&self.settings) {
            source.watched_by(&patience.watch(settings.peer()));
        }
    }

    /// Plans of batches that did not fit in memory went down to these ranges: the next ones begin no larger.
    pub fn shrink_to(&mut self, ranges: &[OffsetRange]) {
        self.fit = ranges.iter().map(OffsetRange::len).max();
    }

    /// A batch fit as it was planned: the next one may be a little larger.
    pub fn grow(&mut self) {
        self.fit = self.fit.map(|fit| fit.saturating_add(fit / GROWTH_SHARE + 1));
    }

    /// Whether batches follow each other without waiting for the clock: every source says so.
    pub fn on_logical_clock(&self) -> bool {
        self.sources.iter().all(|source| source.on_logical_clock())
    }

    /// What can be read of every source now. Waits for brokers that are away, up to the source's limit; `None` when
    /// asked to drain meanwhile.
    pub fn available(&mut self, patience: &mut Patience) -> Result<Option<Vec<Available>>, DriverError> {
        let mut available = Vec::with_capacity(self.sources.len());
        for (source, settings) in self.sources.iter_mut().zip(&self.settings) {
            let ask = |deadline| source.available(deadline).map_err(|error| Refusal::of_source(&error));
            match patience.ask(settings.peer(), ask)? {
                Some(found) => available.push(found),
                None => return Ok(None),
            }
        }
        Ok(Some(available))
    }

    /// What there is now of the topic partition that `range` reads: topics of one name in two clusters are two.
    pub fn find<'a>(&self, available: &'a [Available], range: &OffsetRange) -> Option<&'a AvailablePartition> {
        let source = self.settings.iter().position(|settings| settings.name == range.source)?;
        available.get(source)?.partitions.iter().find(|partition| partition.tp == range.tp)
    }

    /// As [`Inputs::available`], where little may be waited for: `None` where a source does not answer by then. What that
    /// means is for the next ordinary question.
    pub fn available_at_once(&mut self) -> Option<Vec<Available>> {
        let deadline = Instant::now() + AT_ONCE;
        self.sources.iter_mut().map(|source| source.available(deadline).ok()).collect()
    }

    /// Whether what was read of `ranges` is of the topics they were planned for. Else a failure of one of the ranges.
    pub fn confirm(&self, ranges: &[OffsetRange]) -> Result<(), BatchFailure> {
        for (source, settings) in self.sources.iter().zip(&self.settings) {
            let own = ranges.iter().filter(|range| range.source == settings.name && !range.is_empty());
            let own: Vec<OffsetRange> = own.cloned().collect();
            let Some(first) = own.first() else { continue };
            // What was read is kept meanwhile: only another id has it read again.
            let deadline = Instant::now() + settings.unreachable_limit / 2;
            let failed = |error| BatchFailure::Source { range: first.clone(), error };
            source.confirm(&own, deadline).map_err(failed)?;
        }
        Ok(())
    }

    /// Where a bounded run that starts now ends.
    pub fn ends(&self, available: &[Available]) -> Ends {
        let of_sources = self.settings.iter().zip(available);
        of_sources.map(|(settings, now)| (settings.name.clone(), end_offsets(&now.partitions))).collect()
    }

    /// Whether topics without a committed position begin where they stand at some moment.
    pub fn may_begin_at_a_moment(&self) -> bool {
        self.settings.iter().any(Settings::begins_at_a_moment)
    }

    /// Whether `ranges` hold the first position in a topic that begins where it stands at some moment: unless it is
    /// committed, the next run finds another one.
    pub fn begin_at_a_moment(&self, ranges: &[OffsetRange]) -> bool {
        ranges.iter().any(|range| {
            let begins = |settings: &Settings| {
                let known = self.positions.get(&range.source);
                let is_known = known.is_some_and(|known| known.keys().any(|tp| settings.grow_together(tp, &range.tp)));
                settings.name == range.source && settings.begins_at_a_moment() && !is_known
            };
            self.settings.iter().any(begins)
        })
    }

    /// Resolves where partitions without a committed offset begin.
    pub fn resolve_starts(&mut self, available: &[Available], patience: &mut Patience) -> Result<bool, DriverError> {
        let nothing = BTreeMap::new();
        for ((source, settings), available) in self.sources.iter_mut().zip(&mut self.settings).zip(available) {
            let committed = self.positions.get(&settings.name).unwrap_or(&nothing);
            // Where a partition began is of no use once it has a position: a topic made under its name later begins anew.
            settings.starts.retain(|tp, _| !committed.contains_key(tp));
            let unknown = |partition: &&AvailablePartition| {
                !committed.contains_key(&partition.tp) && !settings.starts.contains_key(&partition.tp)
            };
            let new: Vec<AvailablePartition> = available.partitions.iter().filter(unknown).cloned().collect();
            let before = settings.read_before.as_ref();
            let is_later = |partition: &AvailablePartition| {
                settings.planned
                    || committed.keys().any(|tp| settings.grow_together(tp, &partition.tp))
                    || before.is_some_and(|before| before.reads_partition(&partition.tp))
            };
            let (later, first): (Vec<_>, Vec<_>) = new.into_iter().partition(is_later);
            for (partitions, start) in [(later, Start::Earliest), (first, settings.start.clone())] {
                if partitions.is_empty() {
                    continue;
                }
                let ask = |deadline| {
                    source.start_offsets(&partitions, &start, deadline).map_err(|error| Refusal::of_source(&error))
                };
                let Some(offsets) = patience.ask(settings.peer(), ask)? else { return Ok(false) };
                let starts =
                    partitions.into_iter().zip(offsets).map(|(AvailablePartition { tp, topic_id, .. }, offset)| {
                        (tp, Position { topic_id, ..Position::at(offset) })
                    });
                settings.starts.extend(starts);
            }
            if !settings.planned && available.partitions.is_empty() {
                tracing::warn!(source = %settings.name, "there is no topic to read yet; one that appears is read from its beginning");
            }
            settings.planned = true;
        }
        Ok(true)
    }

    /// The offset ranges of the next batch. Pure, but for the state of back-pressure.
    pub fn plan(&self, available: &[Available], bound: &Bound<'_>, interval: Interval) -> Result<Ranges, DriverError> {
        let nothing = BTreeMap::new();
        let no_ends = BTreeMap::new();
        let states: Vec<SourceState<'_>> = self
            .settings
            .iter()
            .zip(available)
            .map(|(settings, available)| {
                let rate = settings.estimator.as_ref().and_then(PidEstimator::records_per_second);
                let (rate, ends) = match bound {
                    Bound::Live => (rate, None),
                    Bound::Ends(ends) => (None, Some(ends.get(&settings.name).unwrap_or(&no_ends))),
                };
                let rate = rate.map(|records_per_second| Rate { records_per_second, batch_interval_ms: interval.ms() });
                let fit = self.fit.unwrap_or(u64::MAX).max(1);
                let max_records_per_partition = settings.max_records_per_partition.min(fit);
                SourceState {
                    source: &settings.name,
                    committed: self.positions.get(&settings.name).unwrap_or(&nothing),
                    available: &available.partitions,
                    starts: &settings.starts,
                    limits: Limits { max_records_per_partition, rate, ends },
                    on_data_loss: settings.on_data_loss,
                }
            })
            .collect();
        plan_ranges(&states).map_err(|loss| {
            DriverError::new(Class::DataLoss, "cannot plan the next batch: offsets are gone")
                .detail(loss.detail())
                .hint(Some(loss.hint()))
        })
    }

    /// Batches that are needed to read up to `ends` at the static limits.
    pub fn batches_needed(&self, ends: &Ends) -> u64 {
        let nothing = BTreeMap::new();
        let needed = self.settings.iter().filter_map(|settings| {
            let ends = ends.get(&settings.name)?;
            let committed = self.positions.get(&settings.name).unwrap_or(&nothing);
            let own = |tp: &TopicPartition| committed.contains_key(tp) || settings.starts.contains_key(tp);
            let ends = ends.iter().filter(|(tp, _)| own(tp)).map(|(tp, end)| (tp.clone(), *end)).collect();
            Some(batches_needed(committed, &settings.starts, &ends, settings.max_records_per_partition))
        });
        needed.max().unwrap_or(0)
    }

    /// Tells the data planes which partitions a batch reads, where that has changed.
    pub fn assign(&mut self, ranges: &[crate::model::OffsetRange]) -> Result<(), DriverError> {
        for (source, settings) in self.sources.iter_mut().zip(&mut self.settings) {
            let own = || ranges.iter().filter(|range| range.source == settings.name);
            let partitions: BTreeSet<TopicPartition> = own().map(|range| range.tp.clone()).collect();
            if partitions != settings.assigned {
                let positions: Vec<_> = own().map(|range| (range.tp.clone(), range.start)).collect();
                source.assign(&positions).map_err(|error| source_failed(&error))?;
                settings.assigned = partitions;
            }
        }
        Ok(())
    }

    /// After a failed read: the data planes begin anew at the next batch's offsets, and all that exists is asked for anew.
    pub fn forget_assignment(&mut self) {
        self.settings.iter_mut().for_each(|settings| settings.assigned.clear());
        self.sources.iter_mut().for_each(|source| source.distrust());
    }

    /// Whether a loss of offsets is skipped in this source.
    pub fn skips_data_loss(&self, source: &str) -> bool {
        self.settings.iter().any(|settings| &*settings.name == source && settings.on_data_loss == OnDataLoss::Skip)
    }

    /// The brokers of `source`.
    pub fn peer<'a>(&self, source: &'a str) -> Peer<'a> {
        let own = self.settings.iter().find(|settings| &*settings.name == source);
        Peer::source(source, own.map_or(Duration::ZERO, |settings| settings.unreachable_limit))
    }

    /// Positions as they are once `plan` is committed. Done twice, it changes nothing more.
    pub fn advance(&mut self, plan: &PlanRecord) {
        for (source, of_source) in &mut self.positions {
            of_source.retain(|tp, _| !plan.drops(source, tp));
        }
        for range in &plan.ranges {
            let of_source = self.positions.entry(range.source.clone()).or_default();
            of_source.insert(range.tp.clone(), Position::after(range));
        }
        for lost in plan.lost.iter().filter(|lost| lost.resumes_at.is_none()) {
            if let Some(of_source) = self.positions.get_mut(&lost.source) {
                of_source.remove(&lost.tp);
            }
        }
    }

    /// Shows committed positions to lag tools. That may fail: nothing is ever read back.
    pub fn mirror(&mut self) {
        if !self.mirrors {
            return;
        }
        for (source, settings) in self.sources.iter_mut().zip(&self.settings) {
            let own = self.positions.get(&settings.name).into_iter().flatten();
            let own: Vec<_> = own.map(|(tp, position)| (tp.clone(), position.offset)).collect();
            if let Err(error) = source.mirror(&own) {
                tracing::warn!(source = &*settings.name, error = %error, "offsets are not mirrored");
            }
        }
    }

    /// Waits a moment for what was mirrored last.
    pub fn settle_mirrors(&mut self) {
        let deadline = Instant::now() + MIRROR_DEADLINE;
        self.sources.iter_mut().for_each(|source| source.settle_mirror(deadline));
    }

    /// The back-pressure estimators, by source name.
    pub fn estimators(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut PidEstimator)> {
        self.settings.iter_mut().filter_map(|settings| Some((&settings.name, settings.estimator.as_mut()?)))
    }
}

fn selects_by_hand(source: &SourceKind) -> bool {
    matches!(source, SourceKind::Kafka(kafka) if matches!(kafka.topics, TopicSelection::Assign(_)))
}

impl Settings {
    fn begins_at_a_moment(&self) -> bool {
        matches!(self.start, Start::Latest | Start::Time(_))
    }

    /// Whether `later` is found where `known` is read already: another partition of its topic, unless each is assigned by
    /// hand.
    fn grow_together(&self, known: &TopicPartition, later: &TopicPartition) -> bool {
        if self.by_hand { known == later } else { known.topic == later.topic }
    }

    fn peer(&self) -> Peer<'_> {
        Peer::source(&self.name, self.unreachable_limit)
    }
}

//! One output cluster of a job: its producer, and the one transaction of a batch over all outputs there.

mod judged;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    entry::{Delivered, Entry, HOME_PARTITION, Home, digest_of},
    explain::Lack,
    identity::Identity,
    ledger::{Found, Ledger, carrier, from_source},
    row::Row,
    topics::{TopicsGone, no_topic},
    writer::Writer,
};
use crate::{
    crash,
    job::Isolation,
    model::{BatchId, BatchIdentity, RunEpoch, digest::Digest},
    sink::{
        Holds, Published, SinkError, SinkErrorKind, Standing,
        watch::{SLICE, Silence, Watch},
    },
    source::kafka::{control::Control, settings::ClientSettings},
};

/// Brokers forget the offset of a group without members after `offsets.retention.minutes` (a week): a job that delivers
/// nothing renews it in time.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// Ids of the clusters that are in use, each with the brokers it was reached by.
pub type ClusterIds = Arc<Mutex<BTreeMap<String, String>>>;

pub struct Cluster {
    job: String,
    settings: ClientSettings,
    transaction_timeout: Duration,
    silence: Silence,
    in_use: ClusterIds,
    /// Kafka's own id of the cluster, once it was asked.
    id: Option<String>,
    control: Option<Control>,
    /// Partitions of the topics that were asked for.
    partitions: HashMap<String, i32>,
    standing: Option<Standing>,
    /// Whether all outputs that may say so write behind what another checkpoint has delivered; `None`: none may.
    appends: Option<bool>,
    /// Nothing of another checkpoint is in the way of a job that has no entry yet.
    is_free: bool,
    /// Ids of the clusters that the outputs here have written to, by the checkpoint.
    written: BTreeSet<String>,
    home: Option<Home>,
    session: Option<Session>,
    /// Whether there was one before, in this process.
    had_session: bool,
    /// Rows and digest of each output that has something staged, by the output's name.
    staged: BTreeMap<String, (Vec<Row>, Digest)>,
    /// The batch that had nothing to deliver, so that no transaction was made.
    skipped: Option<BatchId>,
    /// The batch that is delivered and not committed.
    delivered: Option<Delivered>,
}

/// An initialised producer. It goes with the first error, and with it what was known of the entry.
struct Session {
    writer: Writer,
    ledger: Ledger,
    entry: Option<Entry>,
    transaction_at: Option<Instant>,
}

impl Cluster {
    pub fn new(
        job: &str,
        settings: ClientSettings,
        transaction_timeout: Duration,
        silence: Silence,
        in_use: ClusterIds,
    ) -> Cluster {
        Cluster {
            job: job.to_owned(),
            settings,
            transaction_timeout,
            silence,
            in_use,
            id: None,
            control: None,
            partitions: HashMap::new(),
            standing: None,
            appends: None,
            is_free: false,
            written: BTreeSet::new(),
            home: None,
            session: None,
            had_session: false,
            staged: BTreeMap::new(),
            skipped: None,
            delivered: None,
        }
    }

    /// What one more output says of `append`.
    pub fn one_appends(&mut self, appends: bool) {
        self.appends = Some(appends && self.appends.unwrap_or(true));
    }

    pub fn watched_by(&mut self, watch: Arc<dyn Watch>) {
        self.silence.watched_by(watch);
    }

    /// What the last commit remembered, from any of the outputs: the one with the latest delivery tells.
    pub fn remember(&mut self, home: Home) {
        self.written.insert(home.cluster.clone());
        let rank = |home: &Home| home.delivered.as_ref().map(|delivered| (delivered.timeline, delivered.batch));
        if self.home.as_ref().is_none_or(|known| rank(known) < rank(&home)) {
            self.home = Some(home);
        }
        (self.delivered, self.skipped) = (None, None);
        self.staged.clear();
    }

    /// As [`Cluster::remember`], of an output that had the same entry as those that the job still has: it may tell of a later
    /// delivery, where the others were away for a while.
    pub fn remember_beside(&mut self, home: Home) {
        fn place(home: &Home) -> (&str, &str, i32) {
            (&home.cluster, &home.topic, home.partition)
        }
        if self.home.as_ref().is_some_and(|known| place(known) == place(&home)) {
            self.remember(home);
        }
    }

    pub fn home(&self) -> Option<Home> {
        let mut home = self.home.clone()?;
        home.delivered = self.delivered.clone().or(home.delivered);
        Some(home)
    }

    /// Looks without touching anything, and refuses what the job must not write behind.
    pub fn inspect(&mut self, standing: &Standing) -> Result<(), SinkError> {
        self.standing = Some(standing.clone());
        let Some(home) = self.home.clone() else { return Ok(()) };
        self.check_entry(&home, &standing.next)
    }

    /// As [`Cluster::inspect`], for a job that has no entry on this cluster yet.
    pub fn inspect_before_first(&mut self, topic: &str) -> Result<(), SinkError> {
        if self.is_free {
            return Ok(());
        }
        let home = self.new_home(topic)?;
        let ledger = Ledger::open(&self.settings, &self.group(), Isolation::ReadUncommitted, self.silence.clone())?;
        self.begun(&ledger.look(&home)?)?;
        if self.standing.as_ref().is_some_and(|standing| standing.next.checkpoint.is_empty()) {
            // A fresh one; the one before may have begun with another output.
            let mut beside = ledger.look_beside(&home)?.into_iter().map(|entry| Found::Entry(Some(entry)));
            beside.try_for_each(|found| self.begun(&found).map(drop))?;
        }
        self.is_free = true;
        Ok(())
    }

    fn new_home(&mut self, topic: &str) -> Result<Home, SinkError> {
        let cluster = self.connect()?;
        Ok(Home { cluster, topic: topic.to_owned(), partition: HOME_PARTITION, delivered: None })
    }

    /// The home of the entry for a job that has none on this cluster yet; the first transaction says "nothing yet".
    pub fn settle(&mut self, topic: &str) -> Result<Home, SinkError> {
        if let Some(home) = self.home() {
            return Ok(home);
        }
        let mut home = self.new_home(topic)?;
        // Refused before anybody is fenced.
        let seen = self.peek(&home, Isolation::ReadUncommitted)?;
        self.begun(&seen)?;
        self.begin(&home)?;
        crash::point("kafka: begun");
        // Only now, with everybody else fenced, is the answer final: another process may have delivered meanwhile.
        let Some(session) = &mut self.session else { return Err(self.lost_session()) };
        let found = session.ledger.look(&home)?;
        home.delivered = self.begun(&found)?;
        match (&mut self.session, found) {
            (Some(session), Found::Entry(Some(entry))) if entry.batch == home.delivered => session.entry = Some(entry),
            _ => self.transact(&home, &[], Entry::NOTHING)?,
        }
        self.home = Some(home.clone());
        Ok(home)
    }

    /// Without a batch in flight there is nothing to publish or not: the entry that was forgotten is written again, with the
    /// last batch that the checkpoint knows of.
    pub fn settle_assumed(&mut self) -> Result<(), SinkError> {
        let (Some(standing), Some(home)) = (self.standing.clone(), self.home.clone()) else { return Ok(()) };
        if standing.assume.is_none() || standing.in_flight {
            return Ok(());
        }
        self.ready(&home, &standing.next)?;
        if self.session.as_ref().is_some_and(|session| session.entry.is_none()) {
            let entry = home.delivered.clone().map_or(Entry::NOTHING, Entry::of);
            self.transact(&home, &[], entry)?;
        }
        self.standing = Some(Standing { assume: None, ..standing });
        Ok(())
    }

    /// Rows of one output.
    pub fn stage(&mut self, output: &str, rows: Vec<Row>, digest: Digest) -> Result<(), SinkError> {
        (self.skipped, self.delivered) = (None, None);
        self.check_topics(&rows)?;
        self.staged.insert(output.to_owned(), (rows, digest));
        Ok(())
    }

    pub fn discard(&mut self) {
        self.staged.clear();
    }

    pub fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        if self.skipped == Some(batch.batch) {
            return Ok(Published::Whole);
        }
        let digest = self.digest();
        self.asked(batch, Some(&digest))
    }

    pub fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(match self.asked(batch, None)? {
            Published::No => Holds::Nothing,
            Published::Whole => Holds::Something,
            Published::Unknown => Holds::Unknown,
        })
    }

    fn asked(&mut self, batch: &BatchIdentity, digest: Option<&str>) -> Result<Published, SinkError> {
        let home = self.home.clone().ok_or_else(|| self.lost_session())?;
        self.ready(&home, batch)?;
        let found = self.session.as_ref().and_then(|session| session.entry.clone());
        let missing = found.is_none();
        let published = self.judged(Found::Entry(found), &home, batch, digest)?;
        if published == Published::Whole {
            if let (true, Some(digest)) = (missing, digest) {
                // Told by the user: from now on the entry says it.
                let entry = self.entry_of(batch, RunEpoch(0), digest);
                self.transact(&home, &[], entry)?;
            }
            self.delivered = self.session.as_ref().and_then(|session| session.entry.clone()?.batch);
        }
        Ok(published)
    }

    /// All rows of the batch and its identity, in one transaction. The first output's call delivers those of all.
    pub fn publish(&mut self, batch: &BatchIdentity, run_epoch: RunEpoch) -> Result<(), SinkError> {
        let home = self.home.clone().ok_or_else(|| self.lost_session())?;
        self.ready(&home, batch)?;
        let staged = std::mem::take(&mut self.staged);
        let digest = digest_of(&staged);
        let fresh = |session: &Session| session.transaction_at.is_some_and(|at| at.elapsed() < RENEWAL);
        if staged.values().all(|(rows, _)| rows.is_empty()) && self.session.as_ref().is_some_and(fresh) {
            self.skipped = Some(batch.batch);
            self.staged = staged;
            return Ok(());
        }
        let entry = self.entry_of(batch, run_epoch, &digest);
        let rows: Vec<&[Row]> = staged.values().map(|(rows, _)| &**rows).collect();
        let done = self.transact(&home, &rows, entry.clone());
        self.staged = staged;
        done?;
        self.delivered = entry.batch;
        Ok(())
    }

    /// The batch is committed: what it delivered is what the checkpoint remembers.
    pub fn committed(&mut self) {
        if let (Some(home), Some(delivered)) = (&mut self.home, self.delivered.take()) {
            home.delivered = Some(delivered);
        }
        if let Some(standing) = &mut self.standing {
            standing.assume = None;
        }
        self.skipped = None;
        self.staged.clear();
    }

    fn entry_of(&self, batch: &BatchIdentity, run_epoch: RunEpoch, digest: &str) -> Entry {
        Entry::of(Delivered {
            checkpoint: batch.checkpoint.clone(),
            timeline: batch.timeline,
            batch: batch.batch,
            run_epoch,
            digest: digest.to_owned(),
        })
    }

    fn digest(&self) -> String {
        digest_of(&self.staged)
    }

    fn transact(&mut self, home: &Home, rows: &[&[Row]], entry: Entry) -> Result<(), SinkError> {
        let Some(session) = &mut self.session else { return Err(self.lost_session()) };
        let done = carrier(home, &entry).and_then(|offset| {
            let (group, right) = (session.ledger.group()?, Lack::to_record(&home.topic));
            let identity = Arc::new(Identity { offset, group, right });
            let mut topics = TopicsGone::new(&self.settings, &self.job, rows).and(&home.topic);
            session.writer.transact(rows, &identity, self.transaction_timeout, &mut || topics.look())
        });
        match done {
            Ok(()) => {
                (session.entry, session.transaction_at) = (Some(entry), Some(Instant::now()));
                Ok(())
            }
            Err(error) => {
                // They may have been deleted.
                self.partitions.clear();
                (self.session, self.had_session) = (None, true);
                // Of an offset for a topic that is gone brokers say only that they do not take it.
                let gone =
                    (error.kind == SinkErrorKind::Transient).then(|| self.check_topic(&home.topic, HOME_PARTITION));
                match gone {
                    Some(Err(gone)) if gone.kind == SinkErrorKind::Failed => Err(gone),
                    _ => Err(error),
                }
            }
        }
    }

    /// A producer that nobody else's can disturb, and the entry as it is from then on.
    fn ready(&mut self, home: &Home, batch: &BatchIdentity) -> Result<(), SinkError> {
        if self.session.as_ref().is_some_and(|session| session.entry.is_some()) {
            return Ok(());
        }
        if self.session.is_none() && self.had_session {
            // Brokers were away, or seemed so: another process may have gone on meanwhile, and is not to be fenced then.
            self.check_entry(home, batch)?;
        }
        self.begin(home)?;
        let Some(session) = &mut self.session else { return Err(self.lost_session()) };
        match session.ledger.look(home)? {
            Found::Entry(entry) => session.entry = entry,
            Found::Other(what) => return Err(self.taken(&what)),
        }
        Ok(())
    }

    fn begin(&mut self, home: &Home) -> Result<(), SinkError> {
        if self.session.is_some() {
            return Ok(());
        }
        self.check_cluster(home)?;
        let id = self.group();
        let mut config = self.settings.producing();
        config.set("transactional.id", &id);
        config.set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string());
        for (name, value) in [("linger.ms", "0"), ("retry.backoff.ms", "10"), ("partitioner", "murmur2_random")] {
            if !self.settings.sets(name) {
                config.set(name, value);
            }
        }
        let writer = Writer::connect(&config, &self.settings, &id, self.silence.clone())?;
        writer.init()?;
        let ledger = Ledger::open(&self.settings, &id, Isolation::ReadCommitted, self.silence.clone())?;
        self.session = Some(Session { writer, ledger, entry: None, transaction_at: None });
        Ok(())
    }

    /// The entry as it is now, without fencing anybody. A committed one is waited for while a transaction over it is open.
    fn peek(&mut self, home: &Home, isolation: Isolation) -> Result<Found, SinkError> {
        self.check_cluster(home)?;
        Ledger::open(&self.settings, &self.group(), isolation, self.silence.clone())?.look(home)
    }

    /// Refuses, without fencing anybody, where the entry does not fit the checkpoint.
    fn check_entry(&mut self, home: &Home, batch: &BatchIdentity) -> Result<(), SinkError> {
        let seen = self.peek(home, Isolation::ReadUncommitted)?;
        match self.judged(seen, home, batch, None) {
            // What a transaction recorded shows a moment after its commit was confirmed, once the group's log has the
            // marker; until then the entry before it is there.
            Err(error) if error.kind == SinkErrorKind::Refused => {
                let seen = self.peek(home, Isolation::ReadCommitted)?;
                self.judged(seen, home, batch, None).map(drop)
            }
            judged => judged.map(drop),
        }
    }

    fn lost_session(&self) -> SinkError {
        SinkError::new(SinkErrorKind::Failed, format!("output cluster {} was never prepared", self.settings.brokers))
    }

    /// Group and transactional id.
    fn group(&self) -> String {
        format!("kstream-{}-{}", self.job, self.id.as_deref().unwrap_or_default())
    }

    fn id_or_brokers(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.settings.brokers)
    }

    fn check_cluster(&mut self, home: &Home) -> Result<(), SinkError> {
        let id = self.connect()?;
        let Some(other) = self.written.iter().chain([&home.cluster]).find(|known| **known != id) else { return Ok(()) };
        let message =
            format!("brokers {} are of another Kafka cluster than this checkpoint wrote to", self.settings.brokers);
        Err(SinkError::new(SinkErrorKind::Refused, message).with(
            format!("Found cluster {id}; the checkpoint knows {other}."),
            "Correct `brokers`; to write to another cluster, give the output another `name`.",
        ))
    }

    /// The cluster's id.
    fn connect(&mut self) -> Result<String, SinkError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let silence = self.silence.clone();
        let control = self.control()?;
        let id = silence.ask(2 * SLICE, |deadline| control.cluster_id(deadline).map_err(from_source))?;
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(brokers) = in_use.get(&id) {
            let message = format!("two outputs write to Kafka cluster {id} through different connections");
            return Err(SinkError::new(SinkErrorKind::Failed, message).with(
                format!("One names brokers {brokers}, one {}.", self.settings.brokers),
                "Give all outputs to one cluster the same `brokers` and `properties`.",
            ));
        }
        in_use.insert(id.clone(), self.settings.brokers.clone());
        drop(in_use);
        self.id = Some(id.clone());
        Ok(id)
    }

    fn control(&mut self) -> Result<&Control, SinkError> {
        if self.control.is_none() {
            let name = format!("{} (output)", self.job);
            let control = Control::connect(&self.settings, Isolation::ReadUncommitted, &name, false);
            self.control = Some(control.map_err(from_source)?);
        }
        self.control.as_ref().ok_or_else(|| {
            SinkError::new(SinkErrorKind::Failed, format!("brokers {} were never connected", self.settings.brokers))
        })
    }

    /// Every topic exists, and every chosen partition: a producer would wait for them in vain.
    fn check_topics(&mut self, rows: &[Row]) -> Result<(), SinkError> {
        let mut needed: BTreeMap<&str, i32> = BTreeMap::new();
        for row in rows {
            let most = needed.entry(&row.topic).or_default();
            *most = (*most).max(row.partition.unwrap_or(0));
        }
        for (topic, most) in needed {
            if self.partitions.get(topic).is_none_or(|partitions| *partitions <= most) {
                self.check_topic(topic, most)?;
            }
        }
        Ok(())
    }

    pub fn check_topic(&mut self, topic: &str, most: i32) -> Result<(), SinkError> {
        let brokers = self.settings.brokers.clone();
        let silence = self.silence.clone();
        let control = self.control()?;
        let known = silence.ask(2 * SLICE, |deadline| control.partitions(topic, deadline).map_err(from_source))?;
        let Some(partitions) = known else {
            return Err(no_topic(topic, &brokers, "Nothing was written."));
        };
        if most >= partitions {
            let message = format!("topic '{topic}' has {partitions} partitions; there is no partition {most}");
            return Err(SinkError::new(SinkErrorKind::Failed, message)
                .with("Nothing of the batch was written.", "Correct the output's `partition` function."));
        }
        self.partitions.insert(topic.to_owned(), partitions);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
    }
}

//! The thread that knows who leads: takes lanes without a leader, asks for metadata, hands them to the leader's thread.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use super::{
    backoff::Backoff,
    connection::Dialer,
    facts::are_of_two_topics,
    failure::{is_refused, of_another_topic},
    fetcher::{Assignment, Fetcher},
    lane::{Content, Lane},
    memory::Memory,
    metadata::{Cluster, Directory, Leader, Place},
};

/// Where brokers know no topic ids: metadata answers with an older leader epoch than one known before, and for how long,
/// until the topic counts as another one. A broker that was cut off, or has just come up, says so for a while.
const STALE_EPOCHS_MAX: u32 = 5;
const STALE_EPOCHS_FOR: Duration = Duration::from_secs(3);
const IDLE_WAIT: Duration = Duration::from_secs(1);

pub struct Router {
    dialer: Arc<Dialer>,
    memory: Arc<Memory>,
    cluster: Cluster,
    /// New lanes, and those that a leader's thread gave back. Bounded by the number of lanes.
    orphans: Receiver<Lane>,
    orphaned: Sender<Lane>,
    bell: Receiver<()>,
    ringer: Sender<()>,
    leaders: HashMap<i32, Sender<Assignment>>,
    waiting: Vec<Waiting>,
    backoff: Backoff,
    not_before: Instant,
    /// Held by each thread; the plane waits until all are gone.
    alive: Sender<()>,
}

struct Waiting {
    lane: Lane,
    ready_at: Instant,
    stale_epochs: u32,
    stale_since: Option<Instant>,
}

impl Router {
    /// Lanes are sent to `orphaned`, whose other end is `orphans`.
    pub fn new(
        dialer: Arc<Dialer>,
        memory: Arc<Memory>,
        orphaned: Sender<Lane>,
        orphans: Receiver<Lane>,
        alive: Sender<()>,
    ) -> Self {
        let (ringer, bell) = bounded(1);
        let cluster = Cluster::new(dialer.clone());
        let backoff = Backoff::new(dialer.settings.retry);
        Self {
            dialer,
            memory,
            cluster,
            orphans,
            orphaned,
            bell,
            ringer,
            leaders: HashMap::new(),
            waiting: Vec::new(),
            backoff,
            not_before: Instant::now(),
            alive,
        }
    }

    /// What wakes the router when the plane stops.
    pub fn ringer(&self) -> Sender<()> {
        self.ringer.clone()
    }

    pub fn run(mut self) {
        while !self.dialer.stop.is_set() {
            self.take_news();
            self.waiting.retain(|waiting| !waiting.lane.is_closed());
            self.waiting.iter_mut().for_each(|waiting| waiting.lane.take_order());
            let now = Instant::now();
            if self.not_before <= now && self.waiting.iter().any(|waiting| waiting.is_ready(now)) {
                self.place_lanes(now);
            }
        }
    }

    fn take_news(&mut self) {
        let now = Instant::now();
        let active = self.waiting.iter().filter(|waiting| !waiting.lane.is_parked);
        let next = active.map(|waiting| waiting.ready_at.max(self.not_before)).min();
        let wait = next.map_or(IDLE_WAIT, |next| next.saturating_duration_since(now).min(IDLE_WAIT));
        let first = select! {
            recv(self.orphans) -> lane => lane.ok(),
            recv(self.bell) -> _ => None,
            default(wait) => None,
        };
        let rest: Vec<Lane> = self.orphans.try_iter().collect();
        for mut lane in first.into_iter().chain(rest) {
            lane.listen(&self.ringer);
            // Without a leader yet: at once. Given back: after a pause, so that nothing spins.
            let pause = if lane.leader_epoch < 0 { Duration::ZERO } else { lane.backoff.fail() };
            let ready_at = Instant::now() + pause;
            self.waiting.push(Waiting { lane, ready_at, stale_epochs: 0, stale_since: None });
        }
    }

    fn place_lanes(&mut self, now: Instant) {
        let ready = self.waiting.iter().filter(|waiting| waiting.is_ready(now));
        let topics: BTreeSet<Arc<str>> = ready.map(|waiting| waiting.lane.tp().topic.clone()).collect();
        let directory = match self.cluster.look_up(&topics) {
            Ok(directory) => directory,
            Err(error) => {
                self.not_before = Instant::now() + self.backoff.fail();
                for waiting in self.waiting.iter_mut().filter(|waiting| waiting.is_ready(now)) {
                    waiting.lane.shared.change_facts(|facts| {
                        facts.trouble = Some(error.message.clone());
                        facts.forget_unknown();
                    });
                    if is_refused(&error) {
                        waiting.lane.park(Content::Failed(error.clone()));
                    }
                }
                return;
            }
        };
        self.backoff.reset();
        let mut doubtful = false;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.is_ready(now) {
                true => doubtful |= self.place(waiting, &directory),
                false => self.waiting.push(waiting),
            }
        }
        if doubtful {
            self.cluster.ask_another();
        }
    }

    /// Hands a lane to its leader, parks it, or keeps it waiting; whether another broker may know better.
    fn place(&mut self, mut waiting: Waiting, directory: &Directory) -> bool {
        let lane = &mut waiting.lane;
        let doubtful = match directory.place(lane.tp()) {
            Place::At(leader) => {
                let known_id = if lane.topic_id.is_nil() { lane.planned_id } else { lane.topic_id };
                // The plan has just told another id than the lane had: a broker may be behind.
                let is_news = lane.leader_epoch < 0 && lane.topic_id == lane.planned_id;
                if are_of_two_topics(known_id, leader.topic_id) {
                    let since = *waiting.stale_since.get_or_insert_with(Instant::now);
                    waiting.stale_epochs += 1;
                    let is_old =
                        is_news && (waiting.stale_epochs <= STALE_EPOCHS_MAX || since.elapsed() < STALE_EPOCHS_FOR);
                    if is_old {
                        let trouble = format!("broker {} says {} has another topic id", directory.asked(), lane.tp());
                        lane.shared.change_facts(|facts| {
                            facts.trouble = Some(trouble);
                            facts.forget_unknown();
                        });
                        waiting.ready_at = Instant::now() + lane.backoff.fail();
                    } else {
                        lane.park(Content::Failed(of_another_topic(lane.tp())));
                    }
                    is_old
                } else if known_epoch(lane, &leader) <= leader.epoch {
                    self.hand_over(waiting.lane, leader);
                    return false;
                } else {
                    let since = *waiting.stale_since.get_or_insert_with(Instant::now);
                    waiting.stale_epochs += 1;
                    // The id that was known together with the newer epoch: the lane's own, or the plan's.
                    let id = if leader.epoch < lane.leader_epoch { known_id } else { lane.planned_id };
                    let is_same = !id.is_nil() && !leader.topic_id.is_nil();
                    let is_another =
                        !is_same && waiting.stale_epochs > STALE_EPOCHS_MAX && since.elapsed() >= STALE_EPOCHS_FOR;
                    if is_another {
                        lane.park(recreated(lane));
                    } else {
                        let trouble = format!(
                            "broker {} says {} is at leader epoch {}, which was at {} before",
                            directory.asked(),
                            lane.tp(),
                            leader.epoch,
                            known_epoch(lane, &leader)
                        );
                        lane.shared.change_facts(|facts| {
                            facts.trouble = Some(trouble);
                            facts.forget_unknown();
                        });
                        waiting.ready_at = Instant::now() + lane.backoff.fail();
                    }
                    !is_another
                }
            }
            Place::Nowhere(trouble) => {
                lane.shared.change_facts(|facts| {
                    facts.trouble = Some(trouble);
                    facts.forget_unknown();
                });
                waiting.ready_at = Instant::now() + lane.backoff.fail();
                true
            }
            Place::Unknown(trouble) => {
                let pause = lane.backoff.fail();
                lane.shared.change_facts(|facts| {
                    facts.trouble = Some(trouble);
                    facts.heard_unknown(pause);
                });
                waiting.ready_at = Instant::now() + pause;
                true
            }
            Place::Refused(error) => {
                lane.shared.change_facts(|facts| facts.forget_unknown());
                lane.park(Content::Failed(error));
                false
            }
        };
        self.waiting.push(waiting);
        doubtful
    }

    fn hand_over(&mut self, lane: Lane, leader: Leader) {
        lane.shared.change_facts(|facts| {
            facts.forget_unknown();
            facts.topic_id = leader.topic_id;
            facts.leader_epoch = Some(leader.epoch);
        });
        let node = leader.node;
        let mut assignment = Assignment { lane, leader };
        if let Some(sender) = self.leaders.get(&node) {
            match sender.send(assignment) {
                Ok(()) => return,
                Err(returned) => assignment = returned.0,
            }
        }
        let (sender, adopted) = unbounded();
        let _ = sender.send(assignment);
        let fetcher = Fetcher::new(self.dialer.clone(), self.memory.clone(), adopted, self.orphaned.clone());
        let alive = self.alive.clone();
        let name = format!("fetch-{}-{node}", self.dialer.settings.source);
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            fetcher.run();
            drop(alive);
        });
        match spawned {
            Ok(_) => {
                self.leaders.insert(node, sender);
            }
            Err(error) => tracing::error!(%error, "cannot start a fetch thread"),
        }
    }
}

impl Waiting {
    fn is_ready(&self, now: Instant) -> bool {
        !self.lane.is_parked && self.ready_at <= now
    }
}

/// The newest epoch known of the partition: from its leader, or from the plan that is being read.
fn known_epoch(lane: &Lane, leader: &Leader) -> i32 {
    let has_id = !lane.topic_id.is_nil() || !leader.topic_id.is_nil();
    lane.leader_epoch.max(lane.known.newest_epoch(has_id))
}

fn recreated(lane: &Lane) -> Content {
    let topic = &lane.tp().topic;
    let message = format!("topic {topic} was deleted and made again: it went back to an older leader epoch");
    Content::Lost { earliest: 0, latest: 0, message }
}

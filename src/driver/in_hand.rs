//! What a run works with, and what belongs to the batch it has in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    bounded::Bounded,
    clock::Clock,
    edited::Accepted,
    engine::Engine,
    inputs::Inputs,
    patience::Patience,
    reporter::{Durations, Reporter},
    trigger::{Ticks, Trigger},
};
use crate::{
    checkpoint::Checkpoint, kafka_admin::embedded::EmbeddedBroker, model::BatchTime, planner::Interval,
    protocol::SaidOfSink,
};

/// Everything a run works with.
pub struct Run<'a> {
    pub(super) engine: Engine,
    pub(super) inputs: Inputs,
    pub(super) checkpoint: Checkpoint,
    pub(super) clock: &'a dyn Clock,
    /// Requests to drain, and the wait for brokers that are away.
    pub(super) patience: Patience,
    pub(super) interval: Interval,
    pub(super) zero: BatchTime,
    pub(super) ticks: Ticks,
    /// A run that ends where input was available when it began; none for a live one.
    pub(super) bounded: Option<Bounded>,
    pub(super) max_batches: Option<u64>,
    pub(super) reporter: Reporter,
    pub(super) last_time: Option<BatchTime>,
    /// What sinks remembered, by output.
    pub(super) known_sinks: BTreeMap<String, SaidOfSink>,
    /// What the user let go, for the next plan.
    pub(super) accepted: Accepted,
    pub(super) hand: Hand,
    /// Batches this process has planned and committed.
    pub(super) committed_batches: u64,
    /// Outlives the sources that read from it.
    pub(super) _brokers: Vec<EmbeddedBroker>,
}

/// What belongs to the batch in hand.
#[derive(Default)]
pub(super) struct Hand {
    /// Whether an earlier process planned it.
    pub recovering: bool,
    /// Whether it stands for a batch time that was skipped.
    pub catching_up: bool,
    pub trigger: Option<Trigger>,
    /// The ticks that were missed before it are no news: brokers were away, and that has been told.
    pub after_outage: bool,
    pub began: Option<Instant>,
    pub took: Durations,
    /// Outputs that have something staged, by name.
    pub staged: BTreeSet<String>,
    /// Outputs that this process has let publish it, whatever came of that.
    pub tried: BTreeSet<String>,
    /// Records read, by range.
    pub records: Vec<u64>,
}

/// Whether the batch after this one may be planned together with its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    IfDue,
    Never,
}

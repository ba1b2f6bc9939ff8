//! The states of a batch. Each step consumes the state before it, so that the wrong order does not compile.

use super::{CommitRecord, LossReason, PlanRecord, StateWrites, Store};
use crate::model::{BatchId, BatchIdentity, OffsetRange, RunEpoch};

/// A batch that is decided and not durable: nothing may happen for it yet.
///
/// ```compile_fail
/// # use kstream::protocol::*;
/// fn too_early(plan: BatchPlan) { plan.execute(|_| Ok::<_, ()>(())); } // it is not logged
/// ```
/// ```compile_fail
/// # use kstream::protocol::*;
/// fn unpublished(batch: StagedBatch<()>, commit: CommitRecord, store: &mut MemoryStore) {
///     batch.log_committed(commit, StateWrites::default(), None, store); // nobody published it
/// }
/// ```
/// ```compile_fail
/// # use kstream::protocol::*;
/// fn forged() -> PublishPermit { PublishPermit { identity: todo!(), run_epoch: todo!() } } // fields are private
/// ```
#[derive(Debug)]
pub struct BatchPlan {
    record: PlanRecord,
    checkpoint: String,
}

impl BatchPlan {
    /// `checkpoint` is the uuid of the checkpoint the plan is for.
    pub fn new(record: PlanRecord, checkpoint: impl Into<String>) -> Self {
        Self { record, checkpoint: checkpoint.into() }
    }

    pub fn record(&self) -> &PlanRecord {
        &self.record
    }

    /// Makes the plan durable.
    pub fn log_planned<S: Store>(self, store: &mut S) -> Result<PlannedBatch, S::Error> {
        store.log_planned(&self.record)?;
        Ok(self.now_planned())
    }

    fn now_planned(self) -> PlannedBatch {
        PlannedBatch { plan: Box::new(self.record), checkpoint: self.checkpoint, exposure: Exposure::None }
    }
}

/// Whether output of a batch may be visible already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// No attempt has published any of it.
    None,
    /// An attempt, in this process or before, may have.
    Possible,
}

/// What a sink can say of a batch that is not staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nothing of the batch is visible.
    Nothing,
    /// Some or all of it is.
    Something,
    /// The sink cannot say.
    Unknown,
}

/// A batch whose plan is durable. It may be executed any number of times.
#[derive(Debug)]
pub struct PlannedBatch {
    plan: Box<PlanRecord>,
    checkpoint: String,
    exposure: Exposure,
}

impl PlannedBatch {
    /// The batch in flight that recovery found: logged by a process before this one, which may have published it.
    pub(super) fn recovered(plan: PlanRecord, checkpoint: String) -> Self {
        Self { plan: Box::new(plan), checkpoint, exposure: Exposure::Possible }
    }

    pub fn plan(&self) -> &PlanRecord {
        &self.plan
    }

    pub fn identity(&self) -> BatchIdentity {
        self.plan.identity(&self.checkpoint)
    }

    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    /// Takes the answers of all sinks of the batch: if each holds nothing of it, its plan may be replaced again.
    pub fn asked(&mut self, answers: impl IntoIterator<Item = Holds>) {
        let nothing = answers.into_iter().all(|answer| answer == Holds::Nothing);
        self.exposure = if nothing { Exposure::None } else { Exposure::Possible };
    }

    /// Reads the ranges and runs the stages; `run` has no effects outside memory.
    pub fn execute<T, E>(self, run: impl FnOnce(&PlanRecord) -> Result<T, E>) -> Result<ExecutedBatch<T>, Failed<E>> {
        match run(&self.plan) {
            Ok(result) => Ok(ExecutedBatch { batch: self, result }),
            Err(error) => Err(Failed { batch: self, error }),
        }
    }

    /// Durably replaces the plan by `record`: the same batch with less to read. Refused once any of it may be visible.
    pub fn replace<S: Store>(
        self,
        mut record: PlanRecord,
        store: &mut S,
    ) -> Result<PlannedBatch, Failed<ReplaceError<S::Error>>> {
        record.replaced = self.plan.replaced + 1;
        let verdict = match self.exposure {
            Exposure::Possible => Err(ReplaceError::Exposed(self.plan.batch)),
            Exposure::None if !lies_within(&record, &self.plan) => Err(ReplaceError::NotSmaller(self.plan.batch)),
            Exposure::None => store.replace_plan(&record).map_err(ReplaceError::Store),
        };
        match verdict {
            Ok(()) => Ok(PlannedBatch { plan: Box::new(record), ..self }),
            Err(error) => Err(Failed { batch: self, error }),
        }
    }
}

/// Same batch, and no offset that the old plan does not have, unless what it held before was lost with a declared loss: a
/// log that was cut and has grown again is read from the cut on.
fn lies_within(new: &PlanRecord, old: &PlanRecord) -> bool {
    let same = new.batch == old.batch
        && new.time == old.time
        && new.timeline == old.timeline
        && new.job_text == old.job_text
        && new.ranges.len() <= old.ranges.len();
    let inside = |range: &OffsetRange| {
        let within = |old: &&OffsetRange| old.source == range.source && old.tp == range.tp;
        old.ranges.iter().find(within).is_some_and(|old| {
            let starts = old.start <= range.start || goes_back_to_a_cut(range, old.start, new);
            starts && range.until <= old.until
        })
    };
    same && new.ranges.iter().all(inside)
}

/// Whether `plan` declares that the log was cut where `range` starts and had been read up to `planned_start`.
fn goes_back_to_a_cut(range: &OffsetRange, planned_start: i64, plan: &PlanRecord) -> bool {
    plan.lost.iter().any(|lost| {
        lost.source == range.source
            && lost.tp == range.tp
            && lost.reason == LossReason::Truncated
            && lost.start == range.start
            && lost.until == Some(planned_start)
            && lost.resumes_at == Some(range.start)
    })
}

#[derive(Debug, thiserror::Error)]
pub enum ReplaceError<E> {
    #[error("the plan of batch {0} cannot be replaced: some of its output may be visible already")]
    Exposed(BatchId),
    #[error("the plan of batch {0} cannot be replaced by one that reads something else")]
    NotSmaller(BatchId),
    #[error(transparent)]
    Store(E),
}

/// A step failed; the batch is still planned and may be executed again.
#[derive(Debug)]
pub struct Failed<E> {
    pub batch: PlannedBatch,
    pub error: E,
}

/// A batch whose results are in memory.
#[derive(Debug)]
pub struct ExecutedBatch<T> {
    batch: PlannedBatch,
    result: T,
}

impl<T> ExecutedBatch<T> {
    pub fn plan(&self) -> &PlanRecord {
        &self.batch.plan
    }

    pub fn result(&self) -> &T {
        &self.result
    }

    /// Lets every sink write where nobody looks. `stage` gives what the commit will need of the result.
    pub fn stage<R, E>(
        self,
        stage: impl FnOnce(&BatchIdentity, T) -> Result<R, E>,
    ) -> Result<StagedBatch<R>, Failed<E>> {
        match stage(&self.batch.identity(), self.result) {
            Ok(result) => Ok(StagedBatch { batch: self.batch, result }),
            Err(error) => Err(Failed { batch: self.batch, error }),
        }
    }
}

/// A batch of which every output is complete and invisible.
#[derive(Debug)]
pub struct StagedBatch<R> {
    batch: PlannedBatch,
    result: R,
}

impl<R> StagedBatch<R> {
    pub fn plan(&self) -> &PlanRecord {
        &self.batch.plan
    }

    /// Asks each sink, and lets those publish that have not; `publish` gets the permit for this batch.
    pub fn publish<E>(
        mut self,
        publish: impl FnOnce(&PublishPermit, &R) -> Result<(), E>,
    ) -> Result<PublishedBatch<R>, Failed<E>> {
        let permit = PublishPermit { identity: self.batch.identity(), run_epoch: self.batch.plan.run_epoch };
        self.batch.exposure = Exposure::Possible;
        match publish(&permit, &self.result) {
            Ok(()) => Ok(PublishedBatch { batch: self.batch, result: self.result }),
            Err(error) => Err(Failed { batch: self.batch, error }),
        }
    }
}

/// Proof that the batch's plan is durable and all of its outputs are staged; only the protocol builds one.
#[derive(Debug)]
pub struct PublishPermit {
    identity: BatchIdentity,
    run_epoch: RunEpoch,
}

impl PublishPermit {
    /// The batch that may be published.
    pub fn identity(&self) -> &BatchIdentity {
        &self.identity
    }

    /// The run that planned it.
    pub fn run_epoch(&self) -> RunEpoch {
        self.run_epoch
    }

    /// For the tests of sinks, which have no protocol around them.
    #[cfg(test)]
    pub fn for_test(identity: BatchIdentity) -> Self {
        Self { identity, run_epoch: RunEpoch(1) }
    }
}

/// A batch whose output is visible at every sink.
#[derive(Debug)]
pub struct PublishedBatch<R> {
    batch: PlannedBatch,
    result: R,
}

impl<R> PublishedBatch<R> {
    pub fn plan(&self) -> &PlanRecord {
        &self.batch.plan
    }

    pub fn result(&self) -> &R {
        &self.result
    }

    /// Makes the batch done: state, digests and offsets in one transaction, and the plan of the next batch with them
    /// where that is due already.
    ///
    /// An error leaves it unknown whether the batch is committed, so there is no way back: the process ends.
    pub fn log_committed<S: Store>(
        self,
        commit: CommitRecord,
        state: StateWrites,
        next: Option<BatchPlan>,
        store: &mut S,
    ) -> Result<CommittedBatch, S::Error> {
        store.log_committed(&commit, &state, next.as_ref().map(BatchPlan::record))?;
        Ok(CommittedBatch { plan: *self.batch.plan, commit, next: next.map(BatchPlan::now_planned) })
    }
}

/// A batch that is done.
#[derive(Debug)]
pub struct CommittedBatch {
    pub plan: PlanRecord,
    pub commit: CommitRecord,
    /// The next batch, where its plan became durable with this commit.
    pub next: Option<PlannedBatch>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{BatchTime, TopicPartition},
        protocol::{LostRange, MemoryStore, memory::tests_support::*},
    };

    #[test]
    fn a_batch_goes_through_all_its_states() {
        let mut store = MemoryStore::new("job");
        let planned = BatchPlan::new(plan(0, &[(0, 0, 10)]), "uuid").log_planned(&mut store).unwrap();
        let executed = planned.execute(|plan| Ok::<_, ()>(plan.ranges.len())).unwrap();
        let staged = executed.stage(|identity, ranges| Ok::<_, ()>((identity.batch, ranges))).unwrap();
        let published = staged.publish(|permit, _| {
            assert_eq!(permit.identity().time, BatchTime(1000));
            Ok::<_, ()>(())
        });
        let next = BatchPlan::new(plan(1, &[(0, 10, 20)]), "uuid");
        let done = published.unwrap().log_committed(commit(0), StateWrites::default(), Some(next), &mut store).unwrap();
        assert_eq!(done.plan.batch, BatchId(0));
        assert_eq!(done.next.unwrap().plan().batch, BatchId(1));
        assert_eq!(store.facts().in_flight().unwrap().batch, BatchId(1));
    }

    #[test]
    fn a_failed_batch_may_be_executed_again_and_replaced_until_it_was_published() {
        let mut store = MemoryStore::new("job");
        let planned = BatchPlan::new(plan(0, &[(0, 0, 10)]), "uuid").log_planned(&mut store).unwrap();
        let failed = planned.execute(|_| Err::<(), _>("no memory")).unwrap_err();
        let halved = failed.batch.replace(plan(0, &[(0, 0, 5)]), &mut store).unwrap();
        assert_eq!((halved.plan().replaced, halved.plan().ranges[0].until), (1, 5));
        let staged = halved.execute(|_| Ok::<_, ()>(())).unwrap().stage(|_, ()| Ok::<_, ()>(())).unwrap();
        let mut failed = staged.publish(|_, ()| Err("disk full")).unwrap_err().batch;
        assert_eq!(failed.exposure(), Exposure::Possible);
        let refused = failed.replace(plan(0, &[(0, 0, 2)]), &mut store).unwrap_err();
        assert!(matches!(refused.error, ReplaceError::Exposed(BatchId(0))));
        failed = refused.batch;
        failed.asked([Holds::Nothing, Holds::Nothing]);
        assert!(failed.replace(plan(0, &[(0, 0, 2)]), &mut store).is_ok());
    }

    #[test]
    fn a_sink_that_holds_something_or_cannot_say_forbids_another_plan() {
        for answer in [Holds::Something, Holds::Unknown] {
            let mut batch = PlannedBatch::recovered(plan(0, &[(0, 0, 10)]), "uuid".to_owned());
            batch.asked([Holds::Nothing, answer]);
            assert_eq!(batch.exposure(), Exposure::Possible);
        }
    }

    #[test]
    fn a_plan_is_only_replaced_by_less_of_the_same() {
        let old = plan(3, &[(0, 5, 10), (1, 0, 4)]);
        let check = |change: fn(&mut PlanRecord), expected: bool| {
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(lies_within(&new, &old), expected, "{new:?}");
        };
        check(|_| {}, true);
        check(|plan| plan.ranges[0].until = 7, true);
        check(|plan| plan.ranges[0].start = 8, true);
        check(|plan| plan.ranges[0].until = 11, false);
        check(|plan| plan.ranges[0].start = 4, false);
        check(|plan| plan.ranges[0].tp = TopicPartition::new("words", 7), false);
        check(|plan| plan.time = BatchTime(0), false);
        check(|plan| plan.batch = BatchId(4), false);
    }

    #[test]
    fn a_range_goes_back_only_to_where_its_log_was_cut() {
        let old = plan(3, &[(0, 5, 10), (1, 0, 4)]);
        let check = |change: fn(&mut LostRange), expected: bool| {
            let mut new = old.clone();
            let range = &mut new.ranges[0];
            range.start = 3;
            let mut lost = LostRange {
                source: range.source.clone(),
                tp: range.tp.clone(),
                start: 3,
                until: Some(5),
                resumes_at: Some(3),
                reason: LossReason::Truncated,
                topic_id: None,
            };
            change(&mut lost);
            new.lost.push(lost);
            assert_eq!(lies_within(&new, &old), expected, "{new:?}");
        };
        check(|_| {}, true);
        check(|lost| lost.reason = LossReason::Retention, false);
        check(|lost| lost.start = 4, false);
        check(|lost| lost.until = Some(9), false);
        check(|lost| lost.resumes_at = Some(4), false);
        check(|lost| lost.tp = TopicPartition::new("words", 1), false);
        check(|lost| lost.source = "other".into(), false);
    }
}

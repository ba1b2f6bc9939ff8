//! What goes wrong, and when: drawn from the seed, noted in the history, counted.

use std::{collections::BTreeMap, panic};

use super::super::support::Random;

/// A process that dies: unwinding that no code of the engine may stop, as a kill cannot be stopped.
pub struct Crash;

pub fn crash() -> ! {
    // Without the panic hook: a crash is no bug, and says nothing.
    panic::resume_unwind(Box::new(Crash))
}

macro_rules! faults {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($name),* }
        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$name),*];
        }
    };
}

faults! {
    CrashBeforePlan, CrashAfterPlan, CrashInRecovery, CrashWhileStaging, CrashBeforePublish, CrashWithinPublish,
    CrashAfterPublish, CrashBeforeCommit, CrashAfterCommit, CrashWhileWaiting,
    PlanNotStored, CommitNotStored,
    StageTransient, StageFailed, PublishTransient, PublishedAndTransient, PublishedAndFailed, PublishedPartly,
    AvailableUnreachable, ReadUnreachable, ReadTorn, ReadRefused,
    RetentionBeforePlan, RetentionBeforeRead, Recreated,
    CrashOnDisk, CrashWithinWrite, PowerLoss, DiskFull, DiskReadFails, ShortWrite, SyncFails,
    ClockBack, ClockAhead, ClockJumpsWithinBatch, DrainRequested,
}

/// The dice of one history.
pub struct Faults {
    random: Random,
    /// No faults any more: the history is brought to its end.
    calm: bool,
    met: BTreeMap<Fault, u64>,
    pub events: Vec<String>,
}

impl Faults {
    pub fn new(random: Random) -> Faults {
        Faults { random, calm: false, met: BTreeMap::new(), events: Vec::new() }
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Whether `fault` happens now, one time in `odds`.
    pub fn strikes(&mut self, fault: Fault, odds: u64) -> bool {
        let strikes = self.random.below(odds) == 0 && !self.calm;
        if strikes {
            self.meet(fault);
        }
        strikes
    }

    pub fn meet(&mut self, fault: Fault) {
        *self.met.entry(fault).or_default() += 1;
        self.events.push(format!("{fault:?}"));
    }

    pub fn note(&mut self, event: String) {
        self.events.push(event);
    }

    pub fn calm_down(&mut self) {
        self.calm = true;
    }

    pub fn is_calm(&self) -> bool {
        self.calm
    }

    pub fn met(&self) -> &BTreeMap<Fault, u64> {
        &self.met
    }
}

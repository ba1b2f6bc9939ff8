//! A clock that is set forward and back, also in the middle of a batch, and brings new records with every tick.

use std::sync::{Arc, Mutex};

use crossbeam_channel::Receiver;
use kstream::driver::clock::{Clock, Woken};

use super::{
    faults::{Fault, crash},
    history::World,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub struct SimClock {
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    now_ms: i64,
    /// Ticks until this process is asked to drain.
    ticks: u64,
}

impl SimClock {
    pub fn new(world: Arc<World>, now_ms: i64) -> SimClock {
        SimClock { world, state: Mutex::new(State { now_ms, ticks: 0 }) }
    }

    pub fn load(&self, ticks: u64) {
        self.state.lock().expect("no panic").ticks = ticks;
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        let mut state = self.state.lock().expect("no panic");
        let mut faults = self.world.faults();
        if faults.strikes(Fault::ClockJumpsWithinBatch, 60) {
            state.now_ms += faults.random().below(20_000) as i64 - 10_000;
        }
        state.now_ms
    }

    fn wait_until(&self, at_ms: i64, _cancel: &Receiver<()>) -> Woken {
        if self.world.faults().strikes(Fault::CrashWhileWaiting, 80) {
            crash();
        }
        let mut state = self.state.lock().expect("no panic");
        if state.ticks == 0 {
            self.world.faults().meet(Fault::DrainRequested);
            return Woken::Cancelled;
        }
        state.ticks -= 1;
        self.world.more_records();
        let mut faults = self.world.faults();
        if faults.strikes(Fault::ClockBack, 25) {
            state.now_ms -= faults.random().below(DAY_MS) as i64;
            return Woken::SetBack;
        }
        state.now_ms = at_ms;
        if faults.strikes(Fault::ClockAhead, 25) {
            state.now_ms += faults.random().below(DAY_MS) as i64;
        }
        Woken::Due
    }
}

//! Sinks of the simulation: one in memory that tells what it was given, and a shell around any sink that fails.

use std::sync::Arc;

use kstream::{
    model::{BatchIdentity, Value, text},
    protocol::PublishPermit,
    sink::{Content, Holds, Output, Published, Sink, SinkError, SinkErrorKind, SinkFacts},
};

use super::{
    faults::{Fault, crash},
    history::{Planted, World},
};

/// What one output shows of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub output: String,
    pub batch: u64,
    pub time_ms: i64,
    pub lines: Vec<String>,
    /// Only a beginning is there.
    pub torn: bool,
}

pub fn lines_of(content: &Content) -> Vec<String> {
    match content {
        Content::Shown { elements, .. } | Content::Elements(elements) => elements
            .iter()
            .map(|element| match element {
                Value::Str(text) => text.to_string(),
                other => text::repr(other),
            })
            .collect(),
        Content::Parts(parts) => {
            let texts = parts.iter().map(|part| String::from_utf8_lossy(part).into_owned());
            texts.flat_map(|part| part.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        }
        Content::Rows(rows) => rows.iter().map(|row| text::repr(row.parts())).collect(),
    }
}

/// Keeps what is published. One that remembers can say later what it has; one that does not is a console.
pub struct MemorySink {
    name: String,
    world: Arc<World>,
    remembers: bool,
    staged: Option<Delivery>,
}

impl MemorySink {
    pub fn new(name: &str, world: Arc<World>, remembers: bool) -> MemorySink {
        MemorySink { name: name.to_owned(), world, remembers, staged: None }
    }

    fn found(&self, batch: &BatchIdentity) -> Option<Delivery> {
        let delivered = self.world.delivered();
        delivered.iter().find(|own| own.output == self.name && own.batch == batch.batch.0).cloned()
    }

    /// Makes a beginning of the staged output visible, and leaves it at that.
    pub fn publish_partly(&mut self) {
        let Some(staged) = &self.staged else { return };
        let half = staged.lines.len() / 2;
        let part = Delivery { lines: staged.lines[..half].to_vec(), torn: true, ..staged.clone() };
        self.show(part);
    }

    fn show(&self, delivery: Delivery) {
        let mut delivered = self.world.delivered();
        let torn =
            |own: &Delivery| self.remembers && own.torn && own.output == self.name && own.batch == delivery.batch;
        match delivered.iter().position(torn) {
            Some(at) => delivered[at] = delivery,
            None => delivered.push(delivery),
        }
    }
}

impl Sink for MemorySink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        u8::from(self.remembers)
    }

    fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(match (self.remembers, self.found(batch)) {
            (false, _) => Holds::Unknown,
            (true, None) => Holds::Nothing,
            (true, Some(_)) => Holds::Something,
        })
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        self.staged = Some(Delivery {
            output: self.name.clone(),
            batch: batch.batch.0,
            time_ms: batch.time.0,
            lines: lines_of(&output.content),
            torn: false,
        });
        Ok(())
    }

    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        match self.world.planted {
            Planted::SinkForgetsWhatItPublished => return Ok(Published::No),
            Planted::SinkClaimsWhatItHasNot if self.remembers => return Ok(Published::Whole),
            _ => {}
        }
        Ok(match (self.remembers, self.found(batch)) {
            (false, _) => Published::Unknown,
            (true, Some(found)) if !found.torn => Published::Whole,
            (true, _) => Published::No,
        })
    }

    fn publish(&mut self, _permit: &PublishPermit) -> Result<(), SinkError> {
        let staged = self.staged.clone();
        self.show(staged.ok_or_else(|| SinkError::new(SinkErrorKind::Failed, "nothing has been staged"))?);
        Ok(())
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        self.staged = None;
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// The sinks that can be wrapped: a real one, or one in memory, which can also publish by half.
pub enum Inner {
    Real(Box<dyn Sink>),
    Memory(MemorySink),
}

impl Inner {
    fn sink(&mut self) -> &mut dyn Sink {
        match self {
            Inner::Real(sink) => &mut **sink,
            Inner::Memory(sink) => sink,
        }
    }

    fn as_sink(&self) -> &dyn Sink {
        match self {
            Inner::Real(sink) => &**sink,
            Inner::Memory(sink) => sink,
        }
    }
}

/// A sink whose calls fail before they do anything, after they did it, or halfway.
pub struct FaultySink {
    inner: Inner,
    world: Arc<World>,
}

impl FaultySink {
    pub fn new(inner: Inner, world: Arc<World>) -> FaultySink {
        FaultySink { inner, world }
    }

    fn crash(&self, fault: Fault, odds: u64) {
        if self.world.faults().strikes(fault, odds) {
            crash();
        }
    }

    fn fails(&self, fault: Fault, odds: u64, kind: SinkErrorKind) -> Result<(), SinkError> {
        match self.world.faults().strikes(fault, odds) {
            true => Err(SinkError::new(kind, "injected: the sink fails")),
            false => Ok(()),
        }
    }
}

impl Sink for FaultySink {
    fn name(&self) -> &str {
        self.inner.as_sink().name()
    }

    fn publication_order(&self) -> u8 {
        self.inner.as_sink().publication_order()
    }

    fn holds(&mut self, batch: &BatchIdentity) -> Result<Holds, SinkError> {
        self.crash(Fault::CrashInRecovery, 60);
        self.inner.sink().holds(batch)
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        self.inner.sink().base_facts()
    }

    fn restore(&mut self, facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        self.crash(Fault::CrashInRecovery, 60);
        self.inner.sink().restore(facts)
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        self.crash(Fault::CrashWhileStaging, 300);
        self.fails(Fault::StageTransient, 1200, SinkErrorKind::Transient)?;
        self.inner.sink().stage(batch, output)?;
        self.fails(Fault::StageFailed, 500, SinkErrorKind::Failed)
    }

    fn published(&mut self, batch: &BatchIdentity) -> Result<Published, SinkError> {
        self.crash(Fault::CrashBeforePublish, 200);
        self.inner.sink().published(batch)
    }

    fn publish(&mut self, permit: &PublishPermit) -> Result<(), SinkError> {
        self.crash(Fault::CrashBeforePublish, 200);
        self.fails(Fault::PublishTransient, 1200, SinkErrorKind::Transient)?;
        if let Inner::Memory(memory) = &mut self.inner
            && memory.remembers
        {
            let (crashes, fails) = {
                let mut faults = self.world.faults();
                (faults.strikes(Fault::CrashWithinPublish, 60), faults.strikes(Fault::PublishedPartly, 200))
            };
            if crashes || fails {
                memory.publish_partly();
            }
            if crashes {
                crash();
            }
            if fails {
                return Err(SinkError::new(SinkErrorKind::Failed, "injected: half of it is out"));
            }
        }
        self.inner.sink().publish(permit)?;
        self.crash(Fault::CrashAfterPublish, 100);
        self.fails(Fault::PublishedAndTransient, 500, SinkErrorKind::Transient)?;
        self.fails(Fault::PublishedAndFailed, 300, SinkErrorKind::Failed)?;
        self.world.store_fails("commits", Fault::CommitNotStored, 150);
        Ok(())
    }

    fn facts(&self) -> Option<SinkFacts> {
        self.crash(Fault::CrashBeforeCommit, 300);
        self.inner.as_sink().facts()
    }

    fn discard(&mut self) {
        self.inner.sink().discard();
    }

    fn committed(&mut self, batch: &BatchIdentity) -> Result<(), SinkError> {
        // Before the purge that follows.
        self.world.remember_ledger();
        self.crash(Fault::CrashAfterCommit, 200);
        self.inner.sink().committed(batch)
    }

    fn takes_back(&self) -> bool {
        self.inner.as_sink().takes_back()
    }

    fn take_back(&mut self, target: Option<&SinkFacts>) -> Result<(), SinkError> {
        self.inner.sink().take_back(target)
    }
}

//! Standard output: pprint blocks, at least once. The batch time in a block lets a reader drop a repeat.

use std::io::{ErrorKind, Write};

use jiff::tz::TimeZone;

use super::{Holds, Output, PublishPermit, Published, Sink, SinkError, SinkErrorKind, SinkFacts, log::rendered};
use crate::model::BatchIdentity;

/// Writes each batch to `out` when it is published.
pub struct ConsoleSink {
    name: String,
    zone: TimeZone,
    out: Box<dyn Write + Send>,
    staged: Vec<u8>,
}

impl ConsoleSink {
    pub fn new(name: impl Into<String>, zone: TimeZone, out: Box<dyn Write + Send>) -> Self {
        Self { name: name.into(), zone, out, staged: Vec::new() }
    }
}

impl Sink for ConsoleSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn publication_order(&self) -> u8 {
        0
    }

    fn base_facts(&mut self) -> Result<Option<SinkFacts>, SinkError> {
        Ok(None)
    }

    fn restore(&mut self, _facts: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, batch: &BatchIdentity, output: Output) -> Result<(), SinkError> {
        self.staged = rendered(&self.name, batch, &output.content, &self.zone)?;
        Ok(())
    }

    fn published(&mut self, _batch: &BatchIdentity) -> Result<Published, SinkError> {
        Ok(Published::Unknown)
    }

    fn holds(&mut self, _batch: &BatchIdentity) -> Result<Holds, SinkError> {
        Ok(Holds::Unknown)
    }

    fn publish(&mut self, _permit: &PublishPermit) -> Result<(), SinkError> {
        let written = self.out.write_all(&self.staged).and_then(|()| self.out.flush());
        self.staged.clear();
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => SinkError::new(SinkErrorKind::ReaderGone, "the reader of stdout has gone"),
            _ => SinkError::new(SinkErrorKind::Failed, format!("cannot write to stdout: {error}")),
        })
    }

    fn facts(&self) -> Option<SinkFacts> {
        None
    }

    fn discard(&mut self) {
        self.staged.clear();
    }

    fn takes_back(&self) -> bool {
        // What was printed stays printed, and nobody expects otherwise.
        true
    }

    fn take_back(&mut self, _target: Option<&SinkFacts>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        model::Value,
        sink::{Content, log::tests_support::*},
    };

    struct Pipe(io::Result<usize>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.as_ref().map(|_| bytes.len()).map_err(|error| error.kind().into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_told_from_other_failures() {
        for (failure, expected) in
            [(ErrorKind::BrokenPipe, SinkErrorKind::ReaderGone), (ErrorKind::StorageFull, SinkErrorKind::Failed)]
        {
            let mut sink = ConsoleSink::new("pprint#1", TimeZone::UTC, Box::new(Pipe(Err(failure.into()))));
            let content = Content::Shown { elements: vec![Value::str("a")], more: false };
            sink.stage(&identity(0), output(content)).unwrap();
            assert_eq!(sink.published(&identity(0)).unwrap(), Published::Unknown);
            assert_eq!(sink.publish(&PublishPermit::for_test(identity(0))).unwrap_err().kind, expected);
        }
    }
}

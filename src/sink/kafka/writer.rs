//! A producer: what it writes, and how long it waits for brokers.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, PurgeConfig},
    types::RDKafkaErrorCode as Code,
};

use super::{
    deliveries::{Deliveries, Undelivered},
    explain::{Lack, Told, code, told},
    identity::{self, Identity},
    row::Row,
};
use crate::{
    crash,
    sink::{
        SinkError, SinkErrorKind,
        watch::{Listening, SLICE, Silence},
    },
    source::kafka::{
        error::{code_of, without_secrets, words},
        events::Events,
        settings::ClientSettings,
    },
};

/// An abort is a courtesy to readers: without it the brokers end the transaction at its timeout. Those that were silent
/// are not waited for long.
const ABORT: Duration = Duration::from_secs(5);
const ABORT_AT_SILENT: Duration = Duration::from_millis(500);

/// A call that cannot be resumed has longer than a slice: what it began must be begun anew where it runs out of time.
const LONG_SLICE: Duration = Duration::from_secs(5);

/// Between two looks at a call on a thread of its own.
const GLANCE: Duration = Duration::from_millis(100);

/// The second of the calls that a transaction is made of.
const ADDING: &str = "add the batch's identity to the transaction";

/// Between two polls of the delivery reports; also how late their end is noticed. The longer a silence, the longer: up to
/// the second of these. The pauses are ours: a poll of rdkafka's with a timeout spins through the last millisecond of it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

fn pause(listening: &Listening<'_>) {
    std::thread::sleep((listening.silent() / 16).clamp(PAUSES.0, PAUSES.1));
}

pub struct Writer {
    producer: Arc<BaseProducer<Deliveries>>,
    brokers: String,
    /// Who writes: of an exactly-once output its transactional id, which is its group too.
    name: String,
    silence: Silence,
}

/// Told while records wait for their acknowledgements; an error ends the wait.
pub type Meanwhile<'a> = dyn FnMut() -> Result<(), SinkError> + 'a;

impl Writer {
    /// `config` is that of `settings` and what its owner adds. No connection is waited for.
    pub fn connect(
        config: &ClientConfig,
        settings: &ClientSettings,
        name: &str,
        silence: Silence,
    ) -> Result<Writer, SinkError> {
        let context = Deliveries::new(Events::new(name.to_owned(), settings.token.clone()));
        let producer: BaseProducer<Deliveries> = config.create_with_context(context).map_err(|error| {
            let message = format!("librdkafka refuses the producer's properties: {}", without_secrets(&error));
            SinkError::new(SinkErrorKind::Denied, message).with("No connection was tried.", "Correct `properties`.")
        })?;
        // Lets it ask for its first OAuth token.
        producer.poll(Duration::ZERO);
        Ok(Writer { producer: Arc::new(producer), brokers: settings.brokers.clone(), name: name.to_owned(), silence })
    }

    /// Hands over every row and waits until the brokers have them all.
    pub fn write(&self, rows: &[&[Row]], meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        self.write_within(self.silence.listen(), rows, meanwhile)?;
        self.producer.context().events.recovered();
        Ok(())
    }

    fn write_within(
        &self,
        mut listening: Listening<'_>,
        rows: &[&[Row]],
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        for row in rows.iter().copied().flatten() {
            self.send(row, &mut listening, meanwhile)?;
        }
        self.drain(&mut listening, meanwhile)
    }

    fn send(&self, row: &Row, listening: &mut Listening<'_>, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&row.topic);
        (record.key, record.payload, record.partition) = (row.key(), row.value(), row.partition);
        let headers = row.headers();
        if !headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(headers.len());
            record =
                record.headers(headers.into_iter().fold(all, |all, (key, value)| all.insert(Header { key, value })));
        }
        while let Err((error, again)) = self.producer.send(record) {
            let doing = format!("write to topic '{}'", row.topic);
            if !matches!(error, KafkaError::MessageProduction(Code::QueueFull)) {
                return Err(self.undelivered(&Undelivered { error, topic: row.topic.to_string() }));
            }
            self.poll(listening, &doing, meanwhile)?;
            record = again;
        }
        Ok(())
    }

    /// Commit waits in steps of 100 ms where this was not done before.
    fn drain(&self, listening: &mut Listening<'_>, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        loop {
            let left = self.producer.in_flight_count();
            if left <= 0 {
                return self.check_deliveries();
            }
            self.poll(listening, &format!("have {left} records acknowledged"), meanwhile)?;
        }
    }

    /// Serves delivery reports for a moment. Every acknowledgement ends a silence.
    fn poll(&self, listening: &mut Listening<'_>, doing: &str, meanwhile: &mut Meanwhile<'_>) -> Result<(), SinkError> {
        let before = self.producer.context().reports();
        self.producer.poll(Duration::ZERO);
        self.check_deliveries()?;
        if self.producer.context().reports() > before {
            listening.heard();
            return Ok(());
        }
        let timed_out = || self.explain(doing, &KafkaError::MessageProduction(Code::MessageTimedOut));
        if listening.is_time_to_look() {
            meanwhile()?;
        }
        if !listening.goes_on(|| timed_out().on_one_line()) {
            return Err(timed_out());
        }
        pause(listening);
        Ok(())
    }

    fn check_deliveries(&self) -> Result<(), SinkError> {
        match self.producer.context().failure() {
            Some(failed) => Err(self.undelivered(&failed)),
            None => Ok(()),
        }
    }

    /// Fences every producer of the same id and ends what it left open.
    pub fn init(&self) -> Result<(), SinkError> {
        let mut listening = self.silence.listen();
        self.again(&mut listening, "begin to write transactions", |slice| {
            let outcome = self.producer.init_transactions(slice);
            self.producer.poll(Duration::ZERO);
            outcome
        })?;
        self.producer.context().events.recovered();
        Ok(())
    }

    /// A call that ran into its deadline is resumed by the same call.
    fn again(
        &self,
        listening: &mut Listening<'_>,
        doing: &str,
        mut call: impl FnMut(Duration) -> Result<(), KafkaError>,
    ) -> Result<(), SinkError> {
        loop {
            let Err(error) = call(SLICE.min(listening.left())) else { return Ok(()) };
            let again = is_passing(&error);
            let error = self.explain(doing, &error);
            let goes_on = again && error.kind == SinkErrorKind::Unreachable;
            if !goes_on || !listening.goes_on(|| error.on_one_line()) {
                return Err(error);
            }
            pause(listening);
        }
    }

    /// One transaction: the rows, and the offset that says so. `limit` is its timeout at the brokers. Every error but
    /// a denial leaves its outcome open, so the caller drops the writer, and asks before it tries again.
    pub fn transact(
        &self,
        rows: &[&[Row]],
        identity: &Arc<Identity>,
        limit: Duration,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        let began = Instant::now();
        self.transaction(rows, identity, limit, meanwhile).map_err(|error| {
            // Brokers that end a transaction at its timeout shut its producer out as if another had come.
            match error.kind {
                SinkErrorKind::Fenced if limit <= began.elapsed() => self.overdue(began.elapsed(), limit),
                _ => error,
            }
        })
    }

    fn overdue(&self, took: Duration, limit: Duration) -> SinkError {
        let (took, limit) = (took.as_millis(), limit.as_millis());
        SinkError::new(SinkErrorKind::Transient, format!("a transaction on brokers {} took too long", self.brokers))
            .with(
                format!("After {took} ms it was ended; its timeout is {limit} ms."),
                "Raise \"transaction.timeout.ms\" in the output's `properties`, or bound the batch.",
            )
    }

    fn transaction(
        &self,
        rows: &[&[Row]],
        identity: &Arc<Identity>,
        limit: Duration,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        self.producer.begin_transaction().map_err(|error| self.explain("begin a transaction", &error))?;
        let written = self.write_within(self.silence.at_most(limit), rows, meanwhile).and_then(|()| {
            crash::point("kafka: written");
            self.add(identity, self.silence.at_most(limit), meanwhile)
        });
        if let Err(error) = written {
            self.abort(if error.kind == SinkErrorKind::Unreachable { ABORT_AT_SILENT } else { ABORT });
            return Err(error);
        }
        crash::point("kafka: offset sent");
        let mut listening = self.silence.at_most(limit);
        self.again(&mut listening, "commit the transaction", |slice| self.producer.commit_transaction(slice))?;
        crash::point("kafka: committed");
        self.producer.context().events.recovered();
        Ok(())
    }

    /// Adds the batch's identity. Where the wait ends before the call does, the call is left to itself.
    fn add(
        &self,
        identity: &Arc<Identity>,
        mut listening: Listening<'_>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<(), SinkError> {
        loop {
            let limit = LONG_SLICE.min(listening.left());
            let answer = identity::add(&self.producer, identity, limit).map_err(|error| {
                SinkError::new(SinkErrorKind::Transient, format!("cannot {ADDING} on brokers {}", self.brokers))
                    .with(format!("There is no thread for it: {error}."), "Let this user start more threads.")
            })?;
            let Err(error) = self.answered(&answer, &mut listening, meanwhile)? else { return Ok(()) };
            let again = is_passing(&error);
            let error = self.explain_lack(ADDING, &error, Some(&identity.right));
            let goes_on = again && error.kind == SinkErrorKind::Unreachable;
            if !goes_on || !listening.goes_on(|| error.on_one_line()) {
                return Err(error);
            }
            pause(&listening);
        }
    }

    /// Waits for the answer of a call, for as long as it is worth waiting.
    fn answered(
        &self,
        answer: &Receiver<Result<(), KafkaError>>,
        listening: &mut Listening<'_>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<Result<(), KafkaError>, SinkError> {
        let silent = || self.explain(ADDING, &KafkaError::MessageProduction(Code::OperationTimedOut));
        loop {
            match answer.recv_timeout(GLANCE) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(silent()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.producer.poll(Duration::ZERO);
            if listening.is_time_to_look() {
                meanwhile()?;
            }
            if !listening.goes_on(|| silent().on_one_line()) {
                return Err(silent());
            }
        }
    }

    /// Ends the transaction where nothing of it is under way. A record that arrived after its end would begin one that
    /// nobody ends, and the next would take it along: that is left to the next producer, which is above this one's epoch.
    fn abort(&self, limit: Duration) {
        self.producer.purge(PurgeConfig::default().queue());
        let deadline = Instant::now() + limit.min(self.silence.longest);
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(PAUSES.0);
        }
        self.producer.context().failure();
        let left = deadline.saturating_duration_since(Instant::now()).max(PAUSES.0);
        let under_way = self.producer.in_flight_count();
        if under_way > 0 {
            tracing::debug!(brokers = self.brokers, under_way, "the transaction is left to the next producer");
        } else if let Err(error) = self.producer.abort_transaction(left) {
            tracing::debug!(brokers = self.brokers, %error, "the transaction is left to its timeout");
        }
    }

    fn explain(&self, doing: &str, error: &KafkaError) -> SinkError {
        self.explain_lack(doing, error, None)
    }

    /// As [`Writer::explain`]; `lack` is what the user would lack if brokers deny a topic.
    fn explain_lack(&self, doing: &str, error: &KafkaError, lack: Option<&Lack>) -> SinkError {
        let events = &self.producer.context().events;
        let fatal = self.producer.client().fatal_error();
        let (code, reason) = match fatal.or_else(|| self.cause(error)).or_else(|| events.refusal()) {
            Some(known) => known,
            None => {
                let last = events.explanation().map(|(_, reason)| reason);
                let known = last.filter(|last| *last != words(error)).map_or(String::new(), |last| format!("; {last}"));
                (code(error), format!("{}{known}", words(error)))
            }
        };
        told(Told { doing, code, reason: &reason, lack, brokers: &self.brokers, id: &self.name })
    }

    /// A record that was not delivered. Where the brokers refuse a topic of a transaction, all its records are given back.
    fn undelivered(&self, failed: &Undelivered) -> SinkError {
        let denied = self.producer.context().denied();
        let topics = if denied.is_empty() { BTreeSet::from([failed.topic.clone()]) } else { denied };
        let lack = Lack::to_write(topics);
        self.explain_lack(&format!("write to {}", lack.topics()), &failed.error, Some(&lack))
    }

    /// Why the transaction failed, where an error says only that it did.
    fn cause(&self, error: &KafkaError) -> Option<(Code, String)> {
        if !matches!(code(error), Code::PurgeQueue | Code::PurgeInflight | Code::State) {
            return None;
        }
        // No other call says it and does nothing besides: one that failed cannot begin anew.
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(native)) if native.txn_requires_abort() => {
                Some((native.code(), native.string()))
            }
            _ => None,
        }
    }
}

/// Whether the same call may go well the next time.
fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(native) => native.is_retriable() && !native.txn_requires_abort(),
        // The wait for acknowledgements before a commit.
        other => code_of(other) == Code::OperationTimedOut,
    }
}
